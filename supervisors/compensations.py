"""Who undoes what: the part of the runtime supervisor that runs compensations."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from ..actors.compensating import CompensatingActor, StillRuns
from ..actors.exit import Exit
from ..actors.failures import as_error
from ..messages.commands import CompensationDone

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..actors.exit import Notice
    from ..actors.reference import LoopActorRef
    from ..actors.requests import StartCompensation
    from ..actors.turn_engine import Environment
    from ..messages.ids import CallId, IdempotencyKey, SessionKey
    from .restart_policy import RestartPolicy

    Named = tuple[SessionKey, CallId, IdempotencyKey]


class CompensationDown(NamedTuple):
    """A try to undo a call is over; to the supervisor, from its death watch."""

    undoing: Undoing
    ended: Exit


class Undoing:
    """A call that is being undone, over its tries; its own watcher."""

    __slots__ = ("attempt", "order", "ref", "tell", "timer")

    def __init__(self, order: StartCompensation, tell: Callable[[object], None]) -> None:
        self.order = order
        self.tell = tell
        self.attempt = 1
        self.ref: LoopActorRef[CompensatingActor] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def __call__(self, notice: Notice) -> None:
        """Be told by the actor's reference."""
        if isinstance(notice, Exit):
            self.tell(CompensationDown(self, notice))


class Compensations:
    """The calls that are being undone; each is tried again after whatever it raised.

    Args:
        running: those that there are, over all lives of the supervisor.
        environment: what all turns share.
        policy: how often it is tried.
        timeout: seconds a try may take, where the tool has no timeout of its own.
        tell: hands a message to the supervisor, whichever life of it that is.
    """

    def __init__(
        self,
        running: dict[Named, Undoing],
        environment: Environment,
        policy: RestartPolicy,
        timeout: float,
        tell: Callable[[object], None],
    ) -> None:
        self._environment = environment
        self._policy = policy
        self._timeout = timeout
        self._tell = tell
        self._running = running

    def start(self, order: StartCompensation) -> None:
        """Undo a call; if it is being undone for an earlier incarnation, that goes on."""
        name = _name_of(order)
        running = self._running.get(name)
        if running is not None:
            running.order = order
            return
        self._running[name] = undoing = Undoing(order, self._tell)
        self._try(undoing)

    def _try(self, undoing: Undoing) -> None:
        undoing.timer = None
        order = undoing.order
        undoing.ref = CompensatingActor.start(
            order.key, order.call, self._environment, self._timeout
        )
        undoing.ref.watch(undoing)

    def down(self, message: CompensationDown, loop: asyncio.AbstractEventLoop) -> None:
        """A try is over: tell the session, or try once more."""
        undoing, error = message.undoing, message.ended.cause
        order = undoing.order
        undoing.ref = None
        if error is not None:
            again = None
            if not isinstance(error, StillRuns):
                again = self._policy.retry_after(undoing.attempt, random.random())  # noqa: S311
            if again is not None:
                undoing.attempt += 1
                undoing.timer = loop.call_later(again, self._try, undoing)
                return
            logger.error("call {} of session {} is not undone", order.call.call_id, order.key)
        del self._running[_name_of(order)]
        kept = None if error is None else as_error(error)
        call = order.call
        done = CompensationDone(self._environment.now(), call.call_id, kept, call.idempotency_key)
        order.report(done)


def _name_of(order: StartCompensation) -> Named:
    """What is undone; a session that was deleted may have had a call of the same id."""
    return order.key, order.call.call_id, order.call.idempotency_key


def forget(running: dict[Named, Undoing], key: SessionKey) -> None:
    """Tell a session no more of the calls that are being undone; that goes on."""
    for undoing in running.values():
        if undoing.order.key == key:
            undoing.order = undoing.order._replace(report=_to_nobody)


def _to_nobody(_done: CompensationDone) -> None:
    """Nobody wants to know."""


def give_up(running: dict[Named, Undoing]) -> list[LoopActorRef[Any]]:
    """The system closes: try no more; give the actors that have to end."""
    left = tuple(running.values())
    running.clear()
    for undoing in left:
        order = undoing.order
        logger.warning("session {} closes while call {} is undone", order.key, order.call.call_id)
        if undoing.timer is not None:
            undoing.timer.cancel()
    return [undoing.ref for undoing in left if undoing.ref is not None]
