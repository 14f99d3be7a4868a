"""What happens in a session: its turns are told to stop, cut short, and undone."""

from __future__ import annotations

from typing import Literal

from .event import Event
from .ids import CallId, IdempotencyKey
from .policies import Way
from .reasons import Backlog, CallStatus, Reason
from .records import CallError


class StopRequested(Event):
    """The running turn was told to stop, or the stop rose to a harder one.

    Args:
        how: the way.
        reason: why.
        detail: words of whoever asked for it.
        by: the message that asked for it, if one did.
        backlog: for a stop, what happens to the messages that wait.
        covers: the stamp below which messages that are still in the mailbox are covered.
    """

    kind: Literal["stop_requested"] = "stop_requested"
    turn: int | None = None
    how: Way
    reason: Reason
    detail: str = ""
    by: str | None = None
    backlog: Backlog | None = None
    covers: int | None = None


class RollbackStarted(Event):
    """The calls of the running turn have ended, and are undone now.

    Args:
        calls: those that are compensated, in that order: the last one that was begun first. With
            none the turn ends at once.
    """

    kind: Literal["rollback_started"] = "rollback_started"
    turn: int
    calls: tuple[CallId, ...]


class RollbackRefused(Event):
    """The running turn cannot be undone: it ends as if it had been told to by ``Now``.

    Args:
        call_id: the call that stands in the way; one of several.
        tool: its tool.
        detail: why it does, in words.
    """

    kind: Literal["rollback_refused"] = "rollback_refused"
    turn: int
    call_id: CallId
    tool: str
    detail: str


class CompensationStarted(Event):
    """A completed call is being undone; told again by an incarnation that does not know its end.

    Args:
        call_id: the call that is undone.
        tool: its tool.
        idempotency_key: what the undoing hands to foreign systems, the same at every try.
    """

    kind: Literal["compensation_started"] = "compensation_started"
    turn: int
    call_id: CallId
    tool: str
    idempotency_key: IdempotencyKey


class CompensationEnded(Event):
    """A completed call was undone, or could not be after every try.

    Args:
        call_id: the call.
        tool: its tool.
        status: completed, or failed.
        error: what the last try raised.
    """

    kind: Literal["compensation_ended"] = "compensation_ended"
    turn: int
    call_id: CallId
    tool: str
    status: CallStatus
    error: CallError | None = None


class ExecutionCancelled(Event):
    """A boundary stopped the turn before the wave ``wave_num``."""

    kind: Literal["execution_cancelled"] = "execution_cancelled"
    turn: int | None = None
    wave_num: int
    total_waves: int | None = None
    partial_results_count: int
    cancel_reason: str


class CancellationHandled(Event):
    """A cancellation was turned into an orderly end."""

    kind: Literal["cancellation_handled"] = "cancellation_handled"
    turn: int | None = None
    message: str
    wave_num: int
    partial_results_count: int
