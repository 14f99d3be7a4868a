"""What happens in a session: to its messages, from their acceptance to their end."""

from __future__ import annotations

from typing import Literal

from pydantic import SerializeAsAny, ValidationInfo, field_validator

from .event import Event
from .ids import DeliveryId
from .message import Reply, SessionMessage, of_its_class
from .policies import Policy
from .reasons import MessageStatus, Reason


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
