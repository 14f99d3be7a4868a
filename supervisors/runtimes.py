"""The runtimes of all sessions, over all lives of the actor that supervises them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from ..actors.exit import Exit
from ..actors.future import Future
from ..actors.mailbox import Lane
from ..actors.requests import StartCompensation
from ..actors.runtime import Abandon
from ..actors.standing import Standing
from ..messages.policies import Now
from ..messages.reasons import Reason
from .compensations import forget, give_up

if TYPE_CHECKING:
    from ..actors.attempt_input import TurnInput
    from ..actors.control import RuntimeControl
    from ..actors.exit import Notice
    from ..actors.reference import LoopActorRef
    from ..actors.requests import AbandonRuntime, EndRuntime
    from ..actors.runtime import RuntimeActor
    from ..actors.turn_engine import TurnEngine
    from ..messages.ids import SessionKey
    from .compensations import Named, Undoing
    from .runtime_supervisor import RuntimeSupervisor


class Child:
    """A runtime under supervision, from the order to start it until its end.

    It is that order, its own watcher, and what the supervisor is told when it has ended.

    Args:
        given: what the attempt begins with.
        control: the line to its session.
        delay: seconds until it is to begin.
    """

    __slots__ = (
        "at_once",
        "control",
        "delay",
        "ended",
        "engine",
        "given",
        "is_down",
        "key",
        "over",
        "runtime",
        "successor",
        "supervisor",
        "timer",
    )

    supervisor: RuntimeSupervisor
    """The one that has started it, or has taken it over."""

    def __init__(self, given: TurnInput, control: RuntimeControl, delay: float) -> None:
        self.key = given.key
        self.given = given
        self.control = control
        self.delay = delay
        self.at_once = False
        """Whether who hands it on begins the attempt, and the supervisor only prepares it."""
        self.engine: TurnEngine | None = None
        self.runtime: RuntimeActor | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.successor: Child | None = None
        self.ended: Exit | None = None
        """How it ended, once the supervisor is told; ..."""
        self.is_down = False
        """... and whether that was dealt with."""
        self.over: Callable[[], object] | None = None
        """Told when it has ended, or nobody waits for that any more."""

    def __call__(self, notice: Notice) -> None:
        """Be told by the runtime, or its reference."""
        if isinstance(notice, Exit):
            self.ended = notice
            self.supervisor.told(self)


class RuntimeId(NamedTuple):
    """Names a runtime in reports: one attempt of one turn."""

    tenant: str
    session_id: str
    turn: int
    attempt: int


class Runtimes:
    """The runtimes of all sessions, over all lives of the actor that supervises them.

    So are the calls that are being undone.

    Args:
        loop: where they live.
    """

    __slots__ = ("abandoned", "children", "orders", "place", "undoings")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.place: Standing[RuntimeSupervisor] = Standing(loop)
        self.orders: list[Any] | None = None
        """What is ordered in the go in which a runtime has ended; None at other times."""
        self.children: dict[SessionKey, Child] = {}
        self.abandoned: set[Child] = set()
        self.undoings: dict[Named, Undoing] = {}

    def hand(self, message: object) -> None:
        """Tell the supervisor, or the next one; when the system has closed, nobody."""
        try:
            self.place.hand(message)
        except pykka.ActorDeadError:  # not by suppress(), which takes 0.4 µs, twice a turn
            return

    def start(self, given: TurnInput, control: RuntimeControl, delay: float) -> None:
        """Have the supervisor run an attempt, see :meth:`order`."""
        self.order(Child(given, control, delay))

    def order(self, order: Child | AbandonRuntime | EndRuntime | StartCompensation) -> None:
        """Have the supervisor do something for a session.

        One that hears of its runtime's end orders the next: that begins in the same go. By the
        mailbox it would begin a turn of the loop later, and all ends and starts of other sessions
        would queue up behind it: with 1,000 sessions for up to 29 turns of the loop.

        Raises:
            ActorDeadError: the system was closed.
        """
        if self.orders is None or self.place.mailbox.pending:
            self.place.hand(order)
        else:
            self.orders.append(order)

    def has(self, key: SessionKey) -> bool:
        """Whether a runtime of this session has not ended, be it abandoned or not."""
        return key in self.children or any(child.key == key for child in self.abandoned)

    def forget(self, key: SessionKey) -> None:
        """The session was deleted: none of its runtimes tells anybody anything from here on."""
        for child in (*self.children.values(), *self.abandoned):
            if child.key == key:
                child.control.forget()
                if child.successor is not None:
                    child.successor.control.forget()
        forget(self.undoings, key)
        self.place.mailbox.sift(
            lambda envelope: (
                not (
                    isinstance(envelope.message, StartCompensation) and envelope.message.key == key
                )
            )
        )

    async def end(self) -> None:
        """Fence and abandon what still runs; the sessions have ended their turns before."""
        left: list[Future[Any]] = []
        for undoing in give_up(self.undoings):
            left.append(_end_of(undoing))
            undoing.stop(block=False)
        for child in (*self.children.values(), *self.abandoned):
            child.successor = None
            if child.timer is not None:
                child.timer.cancel()
            child.control.tell_stop(Now(), Reason.SHUTDOWN)
            ref = None if child.runtime is None else child.runtime.actor_ref
            if ref is not None and ref.exit is None:
                left.append(_end_of(ref))
                if ref.is_alive():
                    ref.put(Abandon(), Lane.CONTROL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                for end in left:
                    await end
        for child in (*self.children.values(), *self.abandoned):
            if child.over is not None:
                child.over()


def _end_of(ref: LoopActorRef[Any]) -> Future[Any]:
    end: Future[Any] = Future(ref.loop)
    ref.watch(lambda notice: isinstance(notice, Exit) and end.try_set())
    return end


_LAST = 1.0
"""Seconds that agents have to end in when the system is closed over them."""
