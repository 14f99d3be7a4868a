"""What goes in and out over HTTP."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ..messages.history import HistoryEntry
from ..messages.ids import CallId
from ..messages.message import Attachment, MessageOutcome, Reply
from ..messages.policies import AfterWave, How, Policy
from ..messages.reasons import Backlog, CallStatus, Effect, Reason, TurnOutcome
from ..messages.records import CallError, PartialResults

Name = Annotated[str, Field(min_length=1, max_length=512)]
AnyPolicy = Annotated[Policy, Field(discriminator="kind")]
AnyHow = Annotated[How, Field(discriminator="kind")]


class Body(BaseModel):
    """What a client sends; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class MessageIn(Body):
    """A message to a session.

    Args:
        text: what is said; may be empty when there is an attachment.
        attachments: files that go with it.
        sender: who says it.
        metadata: whatever the channel wants back.
        message_id: de-duplicates; or the header ``Idempotency-Key``.
        policy: what it does to a running turn; by default the session's choice.
        deadline: seconds after which a turn on it times out.
        priority: those with a higher one are before it as long as they wait.
        at: when it enters the session, with a time zone or in seconds since the epoch; by default
            now. It is accepted now all the same.
    """

    text: str = Field(default="", max_length=1_000_000)
    attachments: list[Attachment] = Field(default=[], max_length=100)
    sender: Name | None = None
    metadata: dict[str, Any] = {}
    message_id: Name | None = None
    policy: AnyPolicy | None = None
    deadline: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    at: AwareDatetime | None = None


class Accepted(BaseModel):
    """That a message is the session's responsibility.

    Args:
        duplicate: whether it was accepted before, under the same id.
        outcome: how it ended, if that was waited for and came in time.
    """

    tenant: str
    session_id: str
    message_id: str
    duplicate: bool
    outcome: MessageOutcome | None = None


class EditIn(Body):
    """Other words for a message that waits."""

    text: str = Field(max_length=1_000_000)


class Changed(BaseModel):
    """What changing a message that waits came to.

    Args:
        done: whether it was changed.
        turn: the turn that has it, when it was too late.
        outcome: how it had ended before, when it had.
    """

    done: bool
    turn: int | None = None
    outcome: MessageOutcome | None = None


class StopIn(Body):
    """How to stop a turn.

    Args:
        how: after its wave, or now.
        backlog: what happens to the messages that wait.
        reason: in words.
    """

    how: AnyHow = Field(default=AfterWave())
    backlog: Backlog = Backlog.KEEP
    reason: str = Field(default="", max_length=2_000)


class Stopped(BaseModel):
    """What a stop came to.

    Args:
        turn: the turn that was stopped; None when none ran.
        outcome: how it ended; None when none ran.
    """

    tenant: str
    session_id: str
    turn: int | None
    outcome: TurnOutcome | None


class Deleted(BaseModel):
    """What was given up for a session to be forgotten.

    Args:
        turn: the turn that ran; None when none did.
        message_ids: the messages that had not ended; they are cancelled.
    """

    tenant: str
    session_id: str
    turn: int | None
    message_ids: list[str]


class StopManyIn(Body):
    """Which turns to stop, and how; without a filter all of the tenant that run.

    Args:
        session_ids: those of these sessions.
        prefix: those of sessions whose id begins so.
        older_than: those that began more than so many seconds ago.
    """

    how: AnyHow = Field(default=AfterWave())
    backlog: Backlog = Backlog.KEEP
    reason: str = Field(default="", max_length=2_000)
    session_ids: list[Name] | None = Field(default=None, max_length=10_000)
    prefix: str = Field(default="", max_length=512)
    older_than: Annotated[float, Field(ge=0, lt=inf, allow_inf_nan=False)] = 0.0


class StoppedMany(BaseModel):
    """What each of many stops came to."""

    stopped: list[Stopped]


class SessionSummary(BaseModel):
    """A session in a list.

    Args:
        status: its state, or "resting" when it is in the journal only.
        turn: the running turn, or the last one; None when the session rests.
        wave: the last wave of the running turn.
        calls_completed: of the running turn.
        waiting: messages that wait.
    """

    tenant: str
    session_id: str
    status: str
    turn: int | None = None
    wave: int = 0
    calls_completed: int = 0
    waiting: int = 0


class SessionPage(BaseModel):
    """Some sessions.

    Args:
        next: what ``after`` is for the next ones; None when these were the last.
    """

    sessions: list[SessionSummary]
    next: str | None = None


class PendingMessage(BaseModel):
    """A message that was accepted and has not ended.

    Args:
        policy: what it does to a running turn; None if that is chosen when it is due.
        due_at: of one that is scheduled, when it enters the session.
    """

    message_type: str
    message: dict[str, Any]
    policy: dict[str, Any] | None = None
    deadline_at: float | None = None
    due_at: float | None = None


class SessionDetail(SessionSummary):
    """A session in full.

    Args:
        position: of its last event; where to go on listening from.
        running: the messages of the running turn.
        queue: the messages that wait for a turn.
        parked: the messages that wait to be resumed.
        asides: the messages that are answered beside the turns.
        scheduled: the messages that are not due yet, the next one first.
        preview: what the running turn has shown of its reply.
        previous: what the turns since the last finished one have left.
    """

    position: int
    running: list[PendingMessage]
    queue: list[PendingMessage]
    parked: list[PendingMessage]
    asides: list[PendingMessage]
    scheduled: list[PendingMessage]
    preview: str = ""
    previous: PartialResults | None = None


class CallDetail(BaseModel):
    """A call of a turn.

    Args:
        status: how it ended; None while it has not.
        answered_from: the call whose result answered it: it was carried over, or an earlier
            attempt's.
        late: whether its end was seen only after it had been given up.
    """

    call_id: CallId
    tool: str
    arguments: dict[str, Any]
    effect: Effect
    attempt: int
    wave: int
    status: CallStatus | None = None
    result: Any = None
    error: CallError | None = None
    answered_from: CallId | None = None
    started_at: float
    ended_at: float | None = None
    late: bool = False


class TurnDetail(BaseModel):
    """A turn: its ledger, and what came of it.

    Args:
        message_ids: the messages it worked on.
        calls: its ledger.
        said: the words said before the reply.
        outcome: how it ended; None while it runs.
        partial_results: what it left to the next turn.
    """

    number: int
    attempt: int
    message_ids: list[str]
    started_at: float
    ended_at: float | None = None
    outcome: TurnOutcome | None = None
    reason: Reason | None = None
    detail: str = ""
    calls: list[CallDetail] = []
    said: list[str] = []
    preview: str = ""
    reply: Reply | None = None
    partial_results: PartialResults | None = None


class History(BaseModel):
    """The end of a session's history, oldest first."""

    entries: list[HistoryEntry]


class Health(BaseModel):
    """Whether the service is there, and takes messages."""

    status: Literal["ok", "closing"]


class Login(Body):
    """A token, in exchange for a cookie."""

    token: Annotated[str, Field(min_length=1, max_length=1_000)]


class Whoami(BaseModel):
    """What a token allows."""

    name: str
    scopes: list[str]
    tenants: list[str]
