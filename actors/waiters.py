"""Who waits for something of a session: for outcomes, for the end of a stop, for rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages.errors import Detached
from .mailbox import Envelope, Lane
from .requests import (
    OutcomeRequest,
    RollbackAgain,
    RollbackRequest,
    RollbackResult,
    ShutdownRequest,
    StopAgain,
    StopRequest,
    StopResult,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messages.events import TurnEnded
    from ..messages.ids import SessionKey
    from ..messages.message import MessageOutcome
    from .future import Future
    from .mailbox import Mailbox


class Waiters:
    """Everyone whom a session still owes an answer; they outlive a crash of its actor."""

    __slots__ = ("_outcomes", "_rollbacks", "_stops", "shutdown")

    def __init__(self) -> None:
        # By message: hardly ever more than one waits for it.
        self._outcomes: dict[str, Future[MessageOutcome] | list[Future[MessageOutcome]]] = {}
        self._stops: tuple[StopAgain, ...] = ()
        self._rollbacks: tuple[RollbackAgain, ...] = ()
        self.shutdown: ShutdownRequest | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not (self._outcomes or self._stops) and self.shutdown is None

    def add_outcome(self, request: OutcomeRequest) -> None:
        """Somebody waits for the end of a message."""
        message_id, outcome = request
        before = self._outcomes.setdefault(message_id, outcome)
        if isinstance(before, list):
            before.append(outcome)
        elif before is not outcome:
            self._outcomes[message_id] = [before, outcome]

    def add_stop(self, request: StopRequest, stamp: int, turn: int) -> None:
        """Somebody waits for the running turn, ``turn``, to end."""
        self._stops += (StopAgain(request, request.stopped, stamp, turn),)

    def add_rollback(self, request: RollbackRequest, turn: int) -> None:
        """Somebody waits for the running turn, ``turn``, to be undone."""
        self._rollbacks += (RollbackAgain(request, request.rolled_back, turn),)

    def tell_outcome(self, message_id: str, outcome: MessageOutcome) -> None:
        """Answer those who wait for this message."""
        for waiter in _each(self._outcomes.pop(message_id, [])):
            waiter.try_set(outcome)

    def waits_for(self, message_id: str) -> bool:
        """Whether anybody waits for this message."""
        return message_id in self._outcomes

    def tell_turn_ended(self, event: TurnEnded) -> None:
        """Answer those who wait for the turn's end."""
        stops, self._stops = self._stops, ()
        for stop in stops:
            stop.stopped.try_set(StopResult(event.turn, event.outcome))
        rollbacks, self._rollbacks = self._rollbacks, ()
        for asked in rollbacks:
            asked.rolled_back.try_set(RollbackResult(event.turn, event.outcome, event.detail))

    def tell_quiet(self) -> None:
        """Answer who waits for the session to come to rest."""
        if self.shutdown is not None:
            self.shutdown.quiet.try_set(None)

    def pass_on(self, mailbox: Mailbox) -> None:
        """Leave everyone to the next incarnation of the session's actor."""
        for message_id, waiting in self._outcomes.items():
            for waiter in _each(waiting):
                mailbox.put(Envelope(OutcomeRequest(message_id, waiter)), bounded=False)
        for stop in self._stops:
            mailbox.put(Envelope(stop), Lane.CONTROL)
        for asked in self._rollbacks:
            mailbox.put(Envelope(asked), bounded=False)
        if self.shutdown is not None:
            mailbox.put(Envelope(self.shutdown), Lane.CONTROL)

    def detach(self, key: SessionKey) -> None:
        """There is no next incarnation in this process: nobody is left waiting."""
        detached = Detached(
            f"session {str(key)!r} was shut down before the outcome was known: after a restart, "
            "session.outcome(message_id) tells it"
        )
        for waiting in self._outcomes.values():
            for waiter in _each(waiting):
                waiter.try_set_error(detached)
        for stop in self._stops:
            stop.stopped.try_set(StopResult(None, None))
        for asked in self._rollbacks:
            asked.rolled_back.try_set(RollbackResult(asked.turn, None, "the system was closed"))
        self.tell_quiet()


def _each(
    waiting: Future[MessageOutcome] | list[Future[MessageOutcome]],
) -> Iterable[Future[MessageOutcome]]:
    return waiting if isinstance(waiting, list) else (waiting,)
