"""The ledger's entries: calls, steps, and what an unfinished turn left behind."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .ids import CallId, IdempotencyKey
from .message import Reply
from .model import Frozen
from .reasons import CallStatus, Effect, Reason

CRASHED: Final = "Crashed"
"""The type of the error of a call whose runtime was no more when it should have ended."""


class CallError(Frozen):
    """What is left of a tool's exception once it has been journaled.

    Args:
        type: the exception's class name.
        message: its words.
        retryable: whether ``retry_on`` names it, so that a new attempt makes the call again.
    """

    type: str
    message: str
    retryable: bool = False


class CallStarted(NamedTuple):
    """A call as a wave began it.

    Args:
        call_id: unique within the session: turn, attempt, wave and place.
        tool: the tool's name.
        version: the tool's version; another one is another tool to the ledger.
        arguments: validated, in their JSON form.
        effect: read, idempotent or once.
        protected: whether a cancellation leaves it alone.
        timeout: seconds, or None.
        carry: whether its result may answer an equal call of the next turn, or for how many
            seconds.
        idempotency_key: what the tool hands to foreign systems; an old one after a retry.
        answered_from: the call whose result answers this one, which is then not started.
        compensated: whether its tool has a function that undoes it in a rollback.
        same_as: what the tool's ``same_as`` says of the arguments, as JSON; it stands for them
            when calls are compared.
    """

    call_id: CallId
    tool: str
    version: str
    arguments: dict[str, Any]
    effect: Effect
    protected: bool
    timeout: float | None
    carry: bool | float
    idempotency_key: IdempotencyKey
    answered_from: CallId | None = None
    compensated: bool = False
    same_as: str | None = None


class CallDone(NamedTuple):
    """How a call of a wave ended.

    Args:
        wave: its wave.
        status: how it ended.
        result: what it returned, in its JSON form.
        error: what it raised.
        answered_from: the call whose result answered it.
        late: whether this is the end, seen at last, of a call that nobody waits for any more.
    """

    wave: int
    call_id: CallId
    tool: str
    status: CallStatus
    result: Any = None
    error: CallError | None = None
    answered_from: CallId | None = None
    late: bool = False


class CallRecord(Frozen):
    """One tool call and how it ended.

    Args:
        turn: the turn that made it; 0 outside a session.
        attempt: the attempt that made it.
        wave: its wave, from 1 within the attempt.
        result: what it returned, in its JSON form; None unless completed.
        error: what it raised.
        started_at: seconds since the epoch.
        ended_at: seconds since the epoch.
        senders: whose messages the turn worked on; a result is not carried to other people.
        compensated: whether its tool has a function that undoes it in a rollback.
        same_as: what the tool's ``same_as`` says of the arguments, as JSON.
    """

    call_id: CallId
    tool: str
    version: str = ""
    arguments: dict[str, Any]
    effect: Effect
    carry: bool | float = True
    idempotency_key: IdempotencyKey
    answered_from: CallId | None = None
    turn: int = 0
    attempt: int = 1
    wave: int
    status: CallStatus
    result: Any = None
    error: CallError | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    senders: tuple[str | None, ...] = ()
    compensated: bool = False
    same_as: str | None = None

    @property
    def origin(self) -> CallId:
        """The call that did the work: this one, or the one whose result answered it."""
        return self.answered_from or self.call_id


class PartialResults(Frozen):
    """What a turn, and the chain of interrupted turns before it, leaves to the next one.

    Args:
        calls: every call that ended, oldest first.
        said: what was said to the user meanwhile.
        draft: the reply of a turn that was overtaken just before it could speak.
        state: the session state that the unfinished turn had saved, in its JSON form.
        reason: why the last of these turns ended.
    """

    calls: tuple[CallRecord, ...] = ()
    said: tuple[str, ...] = ()
    draft: Reply | None = None
    state: Any = None
    reason: Reason = Reason.SUPERSEDED

    @property
    def completed(self) -> tuple[CallRecord, ...]:
        """The calls that completed."""
        return tuple(call for call in self.calls if call.status is CallStatus.COMPLETED)
