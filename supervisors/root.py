"""The tree of a system: what runs under its root, how that is started, and how it ends."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pykka
from loguru import logger

from ..actors.exit import Exit
from ..actors.outbound import Finish
from ..messages.errors import (
    ChildNotFound,
    ChildRestarting,
    ChildStartFailed,
    Shutdown,
    SystemClosed,
)
from .child_spec import ChildSpec, Restart
from .children import ChildState, Report, ReportKind
from .door import CLOSED
from .policy import Budget
from .settings import AutoShutdown, Settings, Strategy
from .supervisor import Supervisor
from .tree import Draughtsman, NodeKind, NodeState, TreeNode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from ..actors.exit import Notice
    from ..actors.outbound import Outbound
    from .children import Child
    from .door import Door
    from .runtimes import Runtimes
    from .supervisor_ref import SupervisorRef

ROOT_BUDGET = Budget(3, 60.0)
"""How often the supervisor of a program's own children is started again, as a whole."""

OUR_BUDGET = Budget(10, 60.0)
"""How often what sessions are made of (directory, runtimes, deliveries) is started again."""

ROOT = "root"
OWN = "children"
CONVERSATIONS = "conversations"


def check_children(children: Iterable[ChildSpec]) -> tuple[ChildSpec, ...]:
    """Give a program's own children, if the root can have them.

    Raises:
        InvalidChildSpec: an id that is there twice, or a child that cannot be had.
    """
    specs = tuple(children)
    Settings(Strategy.ONE_FOR_ONE, Budget(), AutoShutdown.NEVER, None, 1).check(specs)
    return specs


class Kept(NamedTuple):
    """What outlives the actors that look after it."""

    door: Door
    runtimes: Runtimes
    outbound: Outbound


class Root:
    """What runs while a system does.

    The program's own children have a supervisor of their own, and so has what sessions are made
    of: neither spends the other's budget. What a session is made of may die and is started again;
    more often than its budget allows, and the root ends, and the system with it.

    Args:
        loop: where it lives.
        kept: sessions, runtimes and deliveries.
        ours: what starts the actors that look after these.
        children: the program's own.
        tell: told of every end, see ``Report``.
        ended: called when the root ended by itself, with the reason.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kept: Kept,
        *,
        ours: Iterable[ChildSpec],
        children: tuple[ChildSpec, ...],
        tell: Callable[[Report], None],
        ended: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self._kept = kept
        self.door, self.runtimes, self.outbound = kept
        self._ours = tuple(ours)
        self._children = children
        self._tell = tell
        self._ended = ended
        self._ends = False
        self._why = ""
        self.supervisor: SupervisorRef[Supervisor] | None = None

    # --- life ---

    async def start(self) -> None:
        """Start it all, from left to right.

        Raises:
            ChildStartFailed: a child did not start, and nothing is left; it says which.
        """
        # Stopped in reverse: sessions may need the program's own actors to the last.
        specs = (
            ChildSpec(OWN, self._start_own),
            ChildSpec(CONVERSATIONS, self._start_ours, restart=Restart.TEMPORARY, significant=True),
        )
        self.supervisor = root = Supervisor.start(
            specs,
            intensity=ROOT_BUDGET.intensity,
            period=ROOT_BUDGET.period,
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        )
        root.subscribe(self._note)
        try:
            await root.started()
        except ChildStartFailed as error:
            inner = _innermost(error)
            raise inner from inner.__cause__
        root.watch(self._noticed)

    def _start_own(self) -> SupervisorRef[Supervisor]:
        ref = Supervisor.start(self._children)
        ref.subscribe(self._tell)
        return ref

    def _start_ours(self) -> SupervisorRef[Supervisor]:
        ref = Supervisor.start(self._ours, intensity=OUR_BUDGET.intensity, period=OUR_BUDGET.period)
        ref.subscribe(self._tell)
        return ref

    def _note(self, report: Report) -> None:
        if report.kind is ReportKind.EXCEEDED:
            self._why = (
                f"child {report.child_id!r} was restarted more than {ROOT_BUDGET.intensity} times"
            )
        elif isinstance(report.cause, Shutdown):
            self._why = f"{report.child_id!r} has ended: {report.cause.reason}"
        elif report.kind is ReportKind.ENDED and report.cause is not None:
            self._why = f"{report.child_id!r} has ended: {report.cause!r}"
        self._tell(report)

    def _noticed(self, notice: Notice) -> None:
        if isinstance(notice, Exit) and not self._ends:
            self._ends = True
            self._ended(self._why or f"the root has ended: {notice.cause!r}")

    async def stop(self, bound: float) -> None:
        """End it all, from right to left; also what a root that ended by itself has left.

        Args:
            bound: seconds that deliveries have left.
        """
        runs = not self._ends
        self._ends = True
        places = (self.outbound.place, self.door.place, self.runtimes.place)
        for place in places:
            place.ends = True
        if self.supervisor is not None:
            if runs and self.outbound.place.is_alive():
                await self._finish(bound)
            await self.supervisor.stop(block=False)
        await self.outbound.end()
        await self.door.end()
        await self.runtimes.end()
        closed = SystemClosed(CLOSED)
        for place in places:
            place.close(closed)

    async def _finish(self, bound: float) -> None:
        actor = self.outbound.place.actor
        if actor is not None:
            with contextlib.suppress(pykka.ActorDeadError):
                await actor.actor_ref.ask(Finish(bound), block=False)

    # --- the face ---

    def own(self) -> SupervisorRef[Any]:
        """The supervisor of the program's own children.

        Raises:
            ChildRestarting: it is between two lives.
        """
        child = self._child_of(self.supervisor, OWN)
        if child is None or child.life is None or child.state is not ChildState.RUNNING:
            msg = "the supervisor of the program's children is about to be started again"
            raise ChildRestarting(msg)
        return cast("SupervisorRef[Any]", child.life.ref)

    def child(self, child_id: object) -> pykka.ActorRef[Any]:
        """One of the program's own children, as it is now.

        Raises:
            ChildNotFound: there is none of that id, or it is down.
            ChildRestarting: it is about to be started again.
        """
        child = self._child_of(self.own(), child_id)
        if child is None:
            msg = (
                f"no child {child_id!r}: ActorSystem(..., children=(ChildSpec({child_id!r}, ...),))"
            )
            raise ChildNotFound(msg)
        if child.state is ChildState.RESTARTING:
            raise ChildRestarting(f"child {child_id!r} is about to be started again: wait for it")
        if child.life is None or child.state is ChildState.DOWN:
            msg = f"child {child_id!r} is down: system.children.restart_child({child_id!r})"
            raise ChildNotFound(msg)
        return child.life.ref

    def tree(self, limit: int | None) -> TreeNode:
        """The tree as it is now, see ``ActorSystem.tree``."""
        if self.supervisor is None:
            return TreeNode(id=ROOT, kind=NodeKind.SUPERVISOR, state=NodeState.STARTING)
        return Draughtsman(self._kept, limit).supervisor(ROOT, self.supervisor)

    @staticmethod
    def _child_of(ref: SupervisorRef[Any] | None, child_id: object) -> Child | None:
        actor = None if ref is None else ref._actor  # noqa: SLF001 - one of ours
        return None if actor is None else actor.find(child_id)


def forever(child_id: str, start: Any, *args: Any, **kwargs: Any) -> ChildSpec:
    """The spec of one of our own actors, which bound their end by themselves."""
    return ChildSpec(child_id, start, args=args, kwargs=kwargs, shutdown=math.inf)


def _innermost(error: ChildStartFailed) -> ChildStartFailed:
    """The child that did not start, rather than the supervisors above it."""
    while isinstance(error.__cause__, ChildStartFailed):
        error = error.__cause__
    logger.debug("{}", error)
    return error
