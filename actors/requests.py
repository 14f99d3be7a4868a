"""What the outside asks of a session, and what a session asks of the runtime supervisor."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pykka

from .mailbox import Envelope

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from ..messages.commands import CompensationDone
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.message import MessageOutcome, SessionMessage
    from ..messages.policies import Chooser, How, Policy
    from ..messages.reasons import Backlog, Reason, TurnOutcome
    from ..messages.records import CallRecord
    from ..messages.view import ScheduledMessage
    from .control import RuntimeControl
    from .future import Future
    from .machine.state import Remembered, SessionState
    from .session_face import Receipt


class StopResult(NamedTuple):
    """What a stop came to.

    Args:
        turn: the turn that was stopped, or None when none ran.
        outcome: how that turn ended; None when none ran, or when it was stopped from within
            itself and so has not ended yet.
    """

    turn: int | None
    outcome: TurnOutcome | None


class SendRequest(NamedTuple):
    """Accept a message; ``deadline`` is in seconds from its acceptance."""

    message: SessionMessage
    policy: Policy | Chooser | None
    deadline: float | None
    fingerprint: str
    receipt: Receipt
    accepted: Future[Receipt]
    priority: int = 0


class ScheduleRequest(NamedTuple):
    """Accept a message, and let it into the session at its time.

    Args:
        policy: None for what is chosen then.
        when: seconds since the epoch; or from now, if it ``is_delay``.
        deadline: seconds from when it is due.
    """

    message: SessionMessage
    policy: Policy | None
    when: float
    is_delay: bool
    deadline: float | None
    fingerprint: str
    receipt: Receipt
    accepted: Future[Receipt]
    priority: int = 0


class ScheduledRequest(NamedTuple):
    """Tell the messages that are not due yet."""

    answer: Future[tuple[ScheduledMessage, ...]]


class StopRequest(NamedTuple):
    """Stop the running turn; from within that turn the answer does not wait for its end."""

    how: How
    backlog: Backlog
    reason: Reason
    detail: str
    from_within: bool
    stopped: Future[StopResult]


class StopAgain(NamedTuple):
    """A stop that an earlier incarnation was told, and that was to be answered at the turn's end.

    Args:
        stamp: of the request, when it was put.
        turn: the turn that was stopped.
    """

    request: StopRequest
    stopped: Future[StopResult]
    stamp: int
    turn: int


class RollbackResult(NamedTuple):
    """What a rollback came to.

    Args:
        turn: the turn that was to be undone, or None when none ran.
        outcome: how it ended: rolled back, or not, because something stood in the way; None when
            none ran, or when it was asked for within the turn itself, which has not ended yet.
        detail: what stood in the way, or could not be undone, in words.
    """

    turn: int | None
    outcome: TurnOutcome | None
    detail: str = ""


class RollbackRequest(NamedTuple):
    """Undo the running turn; from within that turn the answer does not wait for its end."""

    grace: float
    detail: str
    from_within: bool
    rolled_back: Future[RollbackResult]


class RollbackAgain(NamedTuple):
    """A rollback that an earlier incarnation was asked for, of turn ``turn``."""

    request: RollbackRequest
    rolled_back: Future[RollbackResult]
    turn: int


class DeleteResult(NamedTuple):
    """What was given up for a session to be deleted.

    Args:
        turn: the turn that ran, or None when none ran.
        message_ids: the messages that had not ended; they are cancelled, with the reason deleted.
    """

    turn: int | None
    message_ids: tuple[str, ...]


class DeleteRequest(NamedTuple):
    """Forget the session; from within its turn the answer does not wait for the turn's end.

    Args:
        ends: how messages have ended, if all was erased at the first try, which nobody confirmed.
    """

    grace: float
    from_within: bool
    deleted: Future[DeleteResult]
    ends: Mapping[str, Remembered] = MappingProxyType({})


class OutcomeRequest(NamedTuple):
    """Tell how a message ended, when it has."""

    message_id: str
    outcome: Future[MessageOutcome]


class ReadRequest(NamedTuple):
    """Tell the session's own state, as of its last finished turn."""

    model: type[BaseModel]
    state: Future[Any]


class HeardRequest(NamedTuple):
    """Keep in mind how much of a turn's words the user has heard."""

    turn: int
    characters: int
    heard: Future[None]


class HistoryRequest(NamedTuple):
    """Tell the last entries of the history; ``unanswered`` ones too, as they stand."""

    limit: int
    unanswered: bool
    entries: Future[tuple[HistoryEntry, ...]]


class Look(NamedTuple):
    """A session as it is: what it says is durable.

    Args:
        state: all that is known of it.
        preview: what the running attempt has shown of its reply so far.
    """

    state: SessionState
    preview: str


class LookRequest(NamedTuple):
    """Tell how the session is."""

    seen: Future[Look]


class Barrier(NamedTuple):
    """Tell when everything that was put before has been handled."""

    reached: asyncio.Future[None]


class ShutdownRequest(NamedTuple):
    """The system closes; the session says when it is quiet."""

    how: How
    quiet: Future[None]


def futures_of(message: object) -> list[object]:
    """The futures that a request carries, for who has to refuse it."""
    if not isinstance(message, tuple):
        return []
    fields = cast("tuple[object, ...]", message)
    return [field for field in fields if isinstance(field, pykka.Future)]


class Told(Envelope):
    """A program's own message to a session's actor, for which nobody waits."""

    __slots__ = ()


class StartCompensation(NamedTuple):
    """To the runtime supervisor: undo a completed call, and tell the session by ``report``."""

    key: SessionKey
    call: CallRecord
    report: Callable[[CompensationDone], object]


class EndRuntime(NamedTuple):
    """To the runtime supervisor: the runtime of this attempt was told to end, at once.

    Args:
        within: seconds that it has for that; then it is abandoned.
        over: told when it has ended, or is abandoned.
    """

    key: SessionKey
    control: RuntimeControl
    within: float
    over: Callable[[], object]


class AbandonRuntime(NamedTuple):
    """To the runtime supervisor: nobody waits any more for the runtime of this attempt."""

    key: SessionKey
    control: RuntimeControl
