"""What happens in a session: its turns, their calls, steps and words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainSerializer

from .event import Event
from .ids import CallId, DeliveryId
from .message import Reply
from .reasons import CallStatus, Reason, TurnOutcome
from .records import CallError, CallStarted, PartialResults


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
