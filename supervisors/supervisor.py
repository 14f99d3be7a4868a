"""The supervisor: starts its children in order, starts again what ends, stops them in reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import pykka
from loguru import logger

from ..actors.actor import AsyncioActor
from ..actors.exit import AskFailed, Exit, ExitKind
from ..messages.errors import ChildStartFailed, Shutdown, TooManyAbandoned
from .child_spec import ChildSpec, Restart
from .children import Child, ChildState, Report, ReportKind
from .life import Life, end
from .operations import Operations
from .policy import Action, Budget, Stamps
from .restarts import ChildDown, Restarts, Retry
from .settings import AutoShutdown, Settings, Strategy
from .supervisor_ref import SupervisorRef

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from ..actors.exit import Notice
    from ..actors.mailbox import Envelope
    from .child_spec import Started


class Supervisor(Operations, Restarts, AsyncioActor):
    """Supervises any Pykka actors by the rules of OTP, on a loop and without any system.

    Children are started from left to right, each waited for, and stopped in reverse. A child
    that ends is started again as its spec says, at most ``intensity`` times within ``period``;
    one more, and the supervisor stops the others and ends itself, so that its own supervisor can
    try. Its ``start`` gives a ``SupervisorRef``.

    Args:
        children: what is started with it; for a pool exactly one spec, of which none is started.
        strategy: who is started again when one has ended.
        intensity: restarts within ``period``; those by hand are not counted.
        period: seconds.
        auto_shutdown: whether the end of significant children ends it.
        max_children: how many a pool may have at a time; None for no bound.
        max_abandoned: how many threads that do not end it puts up with; as long as there are as
            many, it starts none.

    Raises:
        InvalidSetting: a value that cannot be used; the message names it.
        InvalidChildSpec: an id that is there twice, or a child it cannot have.
    """

    supervises: ClassVar[bool] = True
    capacity = None

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 1,
        period: float = 5.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        max_children: int | None = None,
        max_abandoned: int = 16,
    ) -> None:
        super().__init__()
        self._actor_ref = SupervisorRef(self, self.actor_inbox)
        specs = tuple(children)
        self._settings = Settings(
            strategy, Budget(intensity, period), auto_shutdown, max_children, max_abandoned
        ).check(specs)
        self._stamps: Stamps = ()
        self._children: dict[Any, Child] = {}
        self._template: Child | None = None
        self._abandoned: set[Life] = set()
        self._held_back: list[Retry] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._shutdown: Shutdown | None = None
        if self._settings.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            self._template = Child(specs[0])
        else:
            self._children.update((spec.id, Child(spec)) for spec in specs)

    @classmethod
    def start(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, *args: Any, **kwargs: Any
    ) -> SupervisorRef[Self]:
        """Start a supervisor on the running loop, see ``AsyncioActor.start``.

        ``await ref.started()`` waits for its children, and fails as the first of them that did.
        """
        return cast("SupervisorRef[Self]", super().start(*args, **kwargs))

    @classmethod
    def start_on(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any
    ) -> SupervisorRef[Self]:
        """Start a supervisor on a loop, from any thread, see ``AsyncioActor.start_on``."""
        return cast("SupervisorRef[Self]", super().start_on(loop, *args, **kwargs))

    @property
    def abandoned(self) -> int:
        """How many of its children were given up and have not ended."""
        return len(self._abandoned)

    # --- messages -------------------------------------------------------------------------------

    def handle(self, envelope: Envelope) -> Any:
        """Take note of a child's end, or try to start one again."""
        message = envelope.message
        if isinstance(message, ChildDown):
            return self._down(message.life)
        if isinstance(message, Retry):
            return self._retry(message)
        return super().handle(envelope)

    def dead_letter(self, envelope: Envelope) -> None:
        """Leave out what it told itself."""
        if not isinstance(envelope.message, ChildDown | Retry):
            super().dead_letter(envelope)

    def _tell_self(self, message: ChildDown | Retry) -> None:
        try:
            self._actor_ref.put(message, bounded=False)
        except pykka.ActorDeadError:
            logger.debug("{} has ended before {}", self._actor_ref, message)

    def _told(self, life: Life, notice: Notice) -> None:
        """Hear of a life, on the loop, in the middle of whatever is done there."""
        if isinstance(notice, AskFailed):
            self._report(ReportKind.ASK_FAILED, life.child, life, cause=notice.cause)
        elif life.abandoned:
            self._abandoned.discard(life)
            self._report(ReportKind.ENDED, life.child, life)
            while self._held_back:
                self._tell_self(self._held_back.pop())
        elif not life.expected:
            self._tell_self(ChildDown(life))

    # --- starting -------------------------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]
        """Start the children from left to right; stop them again if one does not start."""
        try:
            for child in tuple(self._children.values()):
                await self._start(child)
        except BaseException:
            await self._stop_all()
            raise

    async def _start(self, child: Child) -> Started:
        """Start a child; a temporary one that chose not to run is forgotten."""
        stuck = sum(life.child.on_thread for life in self._abandoned) if child.on_thread else 0
        if stuck >= self._settings.max_abandoned:
            raise TooManyAbandoned(
                f"{stuck} threads that were given up have not ended, so child"
                f" {child.spec.id!r} is not started: make them end, or raise max_abandoned"
            )
        try:
            started = await child.start(self._loop, self._told)
        except ChildStartFailed as error:
            logger.opt(exception=error).debug("{} of {}", error, self._actor_ref)
            self._report(ReportKind.START_FAILED, child, None, cause=error.__cause__)
            raise
        life = child.life
        if life is None or child.state is ChildState.DOWN:
            if child.spec.restart is Restart.TEMPORARY or self._template is not None:
                self._remove(child)
            return started
        if child.spec.restart is Restart.TEMPORARY:
            child.forget_arguments()
        if self._template is not None:
            # By its reference: so a pool's children are told apart.
            self._remove(child)
            child.key = life.ref
            self._children[child.key] = child
        life.expected = False
        if life.ended is not None:
            self._tell_self(ChildDown(life))
        return started

    # --- stopping -------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        self._shutdown = Shutdown(reason)
        self._stop()

    async def on_stop(self) -> None:  # type: ignore[override]
        """Stop the children in reverse; those of a pool all at once."""
        await self._stop_all()

    async def on_failure(  # type: ignore[override]
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Stop the children; whoever ended the supervisor without asking does not wait for it."""
        await self._stop_all()

    async def _stop_all(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        everyone = list(self._children.values())
        try:
            if self._template is not None:
                await self._stop_now(everyone, self._template.patience)
            else:
                await self._stop_in_reverse(everyone)
        except BaseException:
            # It is ended by force itself: nobody may be left without a supervisor.
            for child in everyone:
                if child.life is not None:
                    child.life.force()
            raise

    async def _stop_in_reverse(self, children: Sequence[Child]) -> None:
        for child in reversed(children):
            await self._stop_now([child], child.patience)

    async def _stop_now(self, children: Sequence[Child], patience: float | str) -> None:
        """Stop children under one timer; afterwards they are down, or forgotten."""
        lives = [child.life for child in children if child.life is not None]
        if lives:
            await end(lives, patience, self._loop)
        for life in lives:
            if life.abandoned:
                self._abandoned.add(life)
            kind = ReportKind.ABANDONED if life.abandoned else ReportKind.ENDED
            self._report(kind, life.child, life)
        for child in children:
            self._drop(child)

    def _actor_loop_teardown(
        self, ended: Exit | None = None, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if ended is None or (self._shutdown is not None and ended.kind is ExitKind.NORMAL):
            ended = Exit(ExitKind.NORMAL, self._shutdown, "stop")
        super()._actor_loop_teardown(ended, envelope, result)

    def _report(
        self,
        kind: ReportKind,
        child: Child,
        life: Life | None,
        *,
        cause: BaseException | None = None,
        action: Action | None = None,
    ) -> None:
        ended = life.ended if life is not None else None
        ref = life.ref if life is not None else None
        why = cause if ended is None else ended.cause
        left = life.partial_results if life is not None else None
        report = Report(kind, child.spec.id, ref, ended, why, action, left)
        cast("SupervisorRef[Self]", self._actor_ref).report(report)
