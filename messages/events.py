"""What happens in a session: the journal's entries, and what subscribers see.

The state of a session is a fold over these. Their meaning is part of the public interface: later
versions add events and fields, and change none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .event import Event
from .ids import DeliveryId
from .message_events import (
    MessageAccepted,
    MessageDue,
    MessageEdited,
    MessageEnded,
    Resumed,
    WindowExtended,
)
from .reasons import CourtesyKind, DeliveryStatus
from .stop_events import (
    CancellationHandled,
    CompensationEnded,
    CompensationStarted,
    ExecutionCancelled,
    RollbackRefused,
    RollbackStarted,
    StopRequested,
)
from .turn_events import (
    CallEnded,
    Delta,
    MessagesTaken,
    Said,
    Saved,
    StepEnded,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)

__all__ = [
    "AnyEvent",
    "CallEnded",
    "CancellationHandled",
    "CompensationEnded",
    "CompensationStarted",
    "CourtesySaid",
    "DeliveryEnded",
    "Delta",
    "Event",
    "ExecutionCancelled",
    "Heard",
    "MessageAccepted",
    "MessageDue",
    "MessageEdited",
    "MessageEnded",
    "MessagesTaken",
    "Resumed",
    "RollbackRefused",
    "RollbackStarted",
    "Said",
    "Saved",
    "SessionDeleted",
    "SessionOpened",
    "StepEnded",
    "StopRequested",
    "TurnEnded",
    "TurnRestarted",
    "TurnStarted",
    "WaveEnded",
    "WaveStarted",
    "WindowExtended",
]


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
