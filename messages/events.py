"""What happens in a session: the journal's entries, and what subscribers see.

The state of a session is a fold over these. Their meaning is part of the public interface: later
versions add events and fields, and change none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
)

from .ids import CallId, DeliveryId, IdempotencyKey
from .message import Reply, SessionMessage, of_its_class
from .model import Frozen
from .policies import Policy, Way
from .reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    DeliveryStatus,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from .records import CallError, CallStarted, PartialResults


class Event(Frozen):
    """Something that happened in a session.

    Args:
        tenant: the session's tenant.
        session_id: the session's id.
        turn: the turn it belongs to, if it belongs to one.
        position: its place in the session's journal, from 1 without gaps; None for what is only
            streamed (``delta``).
        at: seconds since the epoch.
    """

    tenant: str
    session_id: str
    turn: int | None
    position: int | None = None
    at: float


class SessionOpened(Event):
    """An incarnation of the session's actor took over.

    Args:
        epoch: the incarnation's number; whatever carries an older one is refused.
        uid: made up once for a session; part of every idempotency key and delivery id, so that
            a session that is deleted and begun anew does not use old ones.
        covers: whether it reads the same mailbox as the incarnation before it, so that a stop
            still covers what waits in it.
        aside: whether there is a handler for messages that wait to be answered beside the turns;
            if not they wait for a turn.
    """

    kind: Literal["session_opened"] = "session_opened"
    turn: int | None = None
    epoch: int
    uid: str
    covers: bool = False
    aside: bool = True


class MessageAccepted(Event):
    """A message is the session's responsibility from here on.

    Args:
        message: the message; its class is named by ``message_type``.
        policy: the policy that was chosen for it.
        deadline_at: seconds since the epoch at which a turn on it times out.
        fingerprint: of the content, to notice an id that is used again for something else.
        expires_at: seconds since the epoch at which it ends if it still waits then.
        priority: those with a higher one are before it as long as they wait.
        parked: whether a stop that covers it has parked it.
        due_at: of a scheduled message, seconds since the epoch at which it enters the session;
            until then it does nothing.
        choose: whether the policy of a scheduled message is chosen when it is due.
    """

    kind: Literal["message_accepted"] = "message_accepted"
    turn: int | None = None
    message_type: str
    message: SerializeAsAny[SessionMessage]
    policy: Policy
    deadline_at: float | None = None
    fingerprint: str = ""
    expires_at: float | None = None
    priority: int = 0
    parked: bool = False
    due_at: float | None = None
    choose: bool = False

    @field_validator("message", mode="before")
    @classmethod
    def _of_its_class(cls, message: object, info: ValidationInfo) -> object:
        return of_its_class(message, info.data.get("message_type", ""), info)


class MessageDue(Event):
    """The time of a scheduled message has come: from here on it is as any other.

    Args:
        message_id: which.
        accepted: the position of its acceptance.
        policy: the policy that was chosen for it.
        expires_at: seconds since the epoch at which it ends if it still waits then.
    """

    kind: Literal["message_due"] = "message_due"
    turn: int | None = None
    message_id: str
    accepted: int
    policy: Policy
    expires_at: float | None = None


class TurnStarted(Event):
    """A turn begins, with its first attempt.

    Args:
        message_ids: the messages it works on, oldest first.
        version: the agent's version.
        deadline_at: seconds since the epoch at which it times out, whatever its messages say.
    """

    kind: Literal["turn_started"] = "turn_started"
    turn: int
    message_ids: tuple[str, ...]
    version: str = ""
    deadline_at: float | None = None


class TurnRestarted(Event):
    """A turn's runtime died, and its next attempt begins.

    Args:
        attempt: the new attempt.
        cause: what ended the one before, in words.
        version: the agent's version.
        delay: seconds to wait before it starts.
        discard: whether clients must throw away the deltas shown so far.
    """

    kind: Literal["turn_restarted"] = "turn_restarted"
    turn: int
    attempt: int
    cause: str
    version: str = ""
    delay: float = 0.0
    discard: bool = False


def _call_as_object(call: CallStarted) -> dict[str, Any]:
    return call._asdict()


StartedCall = Annotated[CallStarted, PlainSerializer(_call_as_object)]
"""A call within an event: an object with named fields in JSON, not the array of a tuple."""


class WaveStarted(Event):
    """A wave of calls begins.

    Args:
        attempt: the attempt it belongs to.
        wave: its number, from 1 within the attempt.
        calls: the calls, in the order in which they were given.
    """

    kind: Literal["wave_started"] = "wave_started"
    turn: int
    attempt: int
    wave: int
    calls: tuple[StartedCall, ...]


class CallEnded(Event):
    """A call of a wave ended; each does exactly once, but an unknown one may complete late.

    Args:
        call_id: which call.
        tool: its tool.
        attempt: the attempt it belongs to.
        wave: its wave.
        status: how it ended.
        result: what it returned, in its JSON form.
        error: what it raised.
        answered_from: the call whose result answered it.
        late: whether this is the end, seen at last, of a call that was unknown.
    """

    kind: Literal["call_ended"] = "call_ended"
    turn: int
    call_id: CallId
    tool: str
    attempt: int
    wave: int
    status: CallStatus
    result: Any = None
    error: CallError | None = None
    answered_from: CallId | None = None
    late: bool = False


class WaveEnded(Event):
    """Every call of a wave has ended."""

    kind: Literal["wave_ended"] = "wave_ended"
    turn: int
    attempt: int
    wave: int


class StepEnded(Event):
    """A piece of work other than a tool call ended, and its result is remembered.

    Args:
        key: what it was.
        result: what it returned, in its JSON form.
    """

    kind: Literal["step_ended"] = "step_ended"
    turn: int
    attempt: int
    key: str
    result: Any = None


class Said(Event):
    """The turn said something to the user before its reply.

    Args:
        text: the words.
        delivery_id: the delivery that carries them; None when nothing delivers.
    """

    kind: Literal["said"] = "said"
    turn: int
    attempt: int
    text: str
    delivery_id: DeliveryId | None = None


class Saved(Event):
    """The turn saved the session's state; it becomes the session's when the turn finishes."""

    kind: Literal["saved"] = "saved"
    turn: int
    attempt: int
    state: Any


class Delta(Event):
    """A piece of the reply's preview; streamed, not journaled.

    Args:
        start: characters of the preview before this piece.
    """

    kind: Literal["delta"] = "delta"
    turn: int
    attempt: int
    text: str
    start: int = 0


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


class TurnEnded(Event):
    """A turn ended; each does exactly once.

    Args:
        outcome: how.
        reason: why, unless it finished.
        detail: words of whoever stopped it, or the failure's.
        partial_results: what it leaves to the next turn, unless it finished.
        reply: the reply, when it finished.
        delivery_id: the delivery that carries the reply; None when nothing delivers.
        streamed: what was streamed of a reply before the turn was cut short.
        wave_num: the wave before which it was cut short; None when it finished.
    """

    kind: Literal["turn_ended"] = "turn_ended"
    turn: int
    outcome: TurnOutcome
    reason: Reason | None = None
    detail: str = ""
    partial_results: PartialResults | None = None
    reply: Reply | None = None
    delivery_id: DeliveryId | None = None
    streamed: str = ""
    wave_num: int | None = None


class MessagesTaken(Event):
    """The running turn took messages that it was offered; they are its own from here on.

    Args:
        message_ids: which.
    """

    kind: Literal["messages_taken"] = "messages_taken"
    turn: int
    attempt: int
    message_ids: tuple[str, ...]


class WindowExtended(Event):
    """A quiet window was opened or extended: the next turn starts when it closes.

    Args:
        until: seconds since the epoch at which it closes, unless more comes.
        latest: seconds since the epoch at which it closes in any case.
    """

    kind: Literal["window_extended"] = "window_extended"
    turn: int | None = None
    until: float
    latest: float


class MessageEdited(Event):
    """The words of a message that waits were replaced by others.

    Args:
        message_id: which.
        text: the words that count.
    """

    kind: Literal["message_edited"] = "message_edited"
    turn: int | None = None
    message_id: str
    text: str


class Resumed(Event):
    """What was parked waits for its turn again."""

    kind: Literal["resumed"] = "resumed"
    turn: int | None = None


class MessageEnded(Event):
    """An accepted message ended; each does exactly once.

    Args:
        message_id: which.
        status: how.
        reason: why, unless it was answered.
        detail: the failure in words.
        reply: the answer of the ``aside`` handler; the reply of a turn is in ``turn_ended``.
        delivery_id: the delivery that carries that answer; None when nothing delivers.
        scheduled: the position of its acceptance, if it was not due yet.
    """

    kind: Literal["message_ended"] = "message_ended"
    turn: int | None = None
    message_id: str
    status: MessageStatus
    reason: Reason | None = None
    detail: str = ""
    reply: Reply | None = None
    delivery_id: DeliveryId | None = None
    scheduled: int | None = None


class CourtesySaid(Event):
    """The session itself said something to the user, about a turn.

    Args:
        courtesy: the occasion.
        text: the words; empty when the program had none for ``still_working``.
        delivery_id: the delivery that carries them; None when nothing delivers.
    """

    kind: Literal["courtesy_said"] = "courtesy_said"
    turn: int
    courtesy: CourtesyKind
    text: str
    delivery_id: DeliveryId | None = None


class Heard(Event):
    """The channel said how much of a turn's words the user has heard.

    Args:
        characters: of the preview that was streamed, or of the reply.
    """

    kind: Literal["heard"] = "heard"
    turn: int
    characters: int


class DeliveryEnded(Event):
    """A delivery was acknowledged by its channel, or given up after its attempts."""

    kind: Literal["delivery_ended"] = "delivery_ended"
    turn: int | None = None
    delivery_id: DeliveryId
    status: DeliveryStatus
    detail: str = ""


class SessionDeleted(Event):
    """The session was forgotten, with everything that it had; the last that is told of it.

    No journal has it. What is begun under the key later is a new session, whose positions go on.
    """

    kind: Literal["session_deleted"] = "session_deleted"
    turn: int | None = None


AnyEvent = Annotated[
    SessionOpened
    | MessageAccepted
    | MessageDue
    | TurnStarted
    | TurnRestarted
    | WaveStarted
    | CallEnded
    | WaveEnded
    | StepEnded
    | Said
    | Saved
    | Delta
    | StopRequested
    | RollbackStarted
    | RollbackRefused
    | CompensationStarted
    | CompensationEnded
    | ExecutionCancelled
    | CancellationHandled
    | TurnEnded
    | MessagesTaken
    | WindowExtended
    | MessageEdited
    | Resumed
    | MessageEnded
    | CourtesySaid
    | Heard
    | DeliveryEnded
    | SessionDeleted,
    Field(discriminator="kind"),
]
"""Any event, told apart by ``kind``; for decoding."""
