"""What happens in a session: the journal's entries, and what subscribers see.

The state of a session is a fold over these. Their meaning is part of the public interface: later
versions add events and fields, and change none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, NewType

from pydantic import (
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    SerializeAsAny,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import core_schema, from_json

from .ids import CallId, DeliveryId, Fence, IdempotencyKey, SessionKey
from .lines import writer_of
from .message import Reply, SessionMessage, of_its_class
from .model import Frozen
from .policies import Policy, Way
from .reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    DeliveryStatus,
    Effect,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from .records import CallDone, CallError, CallStarted, PartialResults


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


class _Progress(NamedTuple):
    position: int
    at: float
    fence: Fence
    done: tuple[CallDone, ...] = ()
    wave_done: int = 0
    wave: int = 0
    calls: tuple[CallStarted, ...] = ()


_COMPLETED = CallStatus.COMPLETED

Line = NewType("Line", bytes)
"""A ``Progressed`` as a journal on disk has it; see :attr:`Progressed.line`."""

_write = writer_of(_Progress)


class Progressed(_Progress):
    """A journal entry that stands for several events: what happened to calls in one go.

    Most of what a busy session does is this, so it is kept in the form in which it is reported;
    :meth:`events` says the same in events, for those who look.

    Args:
        position: of its first event; it takes :attr:`span` positions.
        at: seconds since the epoch.
        fence: the attempt it belongs to.
        done: the calls that ended; in an entry of late ends there is nothing else.
        wave_done: the wave of which every call has ended, or 0.
        wave: the wave that begins, or 0.
        calls: the calls of that wave.
    """

    @property
    def line(self) -> Line:
        """The entry as JSON, made once: for the journal, and for who keeps it in memory.

        As bytes they are nothing that the garbage collector has to walk over, again and again: of
        a turn of 5 waves of 2 calls the named tuples would be 37 objects.
        """
        line: Line | None = self.__dict__.get("_line")
        if line is None:
            line = self.__dict__["_line"] = Line(_write(self))
        return line

    @property
    def span(self) -> int:
        """How many events it stands for."""
        return len(self.done) + bool(self.wave_done) + bool(self.wave)

    @property
    def is_late(self) -> bool:
        """Whether it tells of calls that nobody waited for any more."""
        return bool(self.done) and self.done[0].late

    def events(self, key: SessionKey) -> list[Event]:
        """The events it stands for, in order."""
        _, turn, attempt = self.fence
        told: list[tuple[type[Event], dict[str, Any]]] = [
            (
                CallEnded,
                {
                    "call_id": done.call_id,
                    "tool": done.tool,
                    "wave": done.wave,
                    "status": done.status,
                    "result": done.result,
                    "error": done.error,
                    "answered_from": done.answered_from,
                    "late": done.late,
                },
            )
            for done in self.done
        ]
        if self.wave_done:
            told.append((WaveEnded, {"wave": self.wave_done}))
        if self.wave:
            told.append((WaveStarted, {"wave": self.wave, "calls": self.calls}))
        common = {**key._asdict(), "turn": turn, "attempt": attempt, "at": self.at}
        return [
            kind(**common, **fields, position=position)
            for position, (kind, fields) in enumerate(told, self.position)
        ]


Entry = Event | Progressed
"""What a journal records."""


def entry_of(line: Line) -> Progressed:
    """The entry that a line is of."""
    position, at, fence, done, wave_done, wave, calls = from_json(line, cache_strings="keys")
    ends = tuple([_ending(values) for values in done])
    begun = tuple([_beginning(values) for values in calls])
    return Progressed(position, at, _new(Fence, fence), ends, wave_done, wave, begun)


def rows_of(entries: Sequence[Progressed | Line]) -> Sequence[Sequence[Any]]:
    """What entries consist of, field by field: as JSON has it for those that are lines.

    For who takes out of them what it needs, and no objects; all lines are read in one go.
    """
    lines = [entry for entry in entries if isinstance(entry, bytes)]
    if len(lines) < len(entries):
        return [from_json(one) if isinstance(one, bytes) else one for one in entries]
    rows: list[list[Any]] = from_json(b"[%b]" % b",".join(lines), cache_strings="keys")
    return rows


def read_entry(line: Line) -> Progressed | None:
    """The entry that a line is of, which it keeps; None if that is not for sure.

    A row of a journal is mostly one of these, and has a checksum: in half the time that it takes
    to validate it, and nobody has to write it down again. What an older version wrote, with fewer
    values, is another's to read.
    """
    try:
        entry = entry_of(line)
    except (ValueError, TypeError, LookupError):
        return None
    if len(entry.fence) != _FENCE or any(len(end) != _ENDING for end in entry.done):
        return None
    if any(len(call) != _BEGINNING for call in entry.calls):
        return None
    entry.__dict__["_line"] = line
    return entry


_FENCE: Final = len(Fence._fields)
_ENDING: Final = len(CallDone._fields)
_BEGINNING: Final = len(CallStarted._fields)
_STATUSES: Final = {str(status): status for status in CallStatus}
_EFFECTS: Final = {str(effect): effect for effect in Effect}
_new = tuple[Any, ...].__new__  # 0.1 instead of the 0.3 µs of a named tuple's own, 300 in a turn


def _ending(values: list[Any]) -> CallDone:
    """A call's end, of fields as JSON has them."""
    values[3] = _STATUSES[values[3]]
    if values[5] is not None:
        values[5] = CallError(**values[5])
    return _new(CallDone, values)


def _beginning(values: list[Any]) -> CallStarted:
    values[4] = _EFFECTS[values[4]]
    return _new(CallStarted, values)


def completed_by(line: Line) -> list[CallId]:
    """The calls that completed by the entry of a line; of one that was answered, the other."""
    ends = from_json(line, cache_strings="keys")[3]
    return [end[6] or end[1] for end in ends if end[3] == _COMPLETED]


def time_of(line: Line) -> float:
    """When the entry of a line was recorded, in seconds since the epoch."""
    return float(line.split(b",", 2)[1])


def _sort_of(entry: object) -> str:
    return "progressed" if isinstance(entry, list | tuple) else "event"


_KnownEntry = Annotated[
    Annotated[Progressed, Tag("progressed")] | Annotated[AnyEvent, Tag("event")],
    Discriminator(_sort_of),
]


class _AsKnown:
    """To pydantic an event is one of those that there are; to a type checker it is an event."""

    def __get_pydantic_core_schema__(
        self, _: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return handler.generate_schema(_KnownEntry)


AnyEntry = Annotated[Entry, _AsKnown()]
"""Any entry; for decoding. In JSON a ``Progressed`` is an array, an event an object."""


def _as_logged(entry: Entry) -> Event | Line:
    return entry.line if isinstance(entry, Progressed) else entry


class _AsLogged:
    """To pydantic it is any entry of a journal, of which it keeps the line."""

    def __get_pydantic_core_schema__(
        self, _: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            _as_logged, handler.generate_schema(AnyEntry)
        )


Logged = Annotated[Event | Line, _AsLogged()]
"""An entry in a turn's log; in JSON it is that of the journal."""


def idempotency_key(uid: str, call_id: CallId) -> IdempotencyKey:
    """The key that a call hands to foreign systems: unique over sessions, stable over retries."""
    return IdempotencyKey(f"{uid}-{call_id}")
