"""What is remembered of a session for models and people: who said what, in order."""

from __future__ import annotations

from enum import StrEnum

from pydantic import SerializeAsAny, ValidationInfo, field_validator

from .message import Reply, SessionMessage, of_its_class
from .model import Frozen


class HistoryKind(StrEnum):
    """What a history entry is."""

    MESSAGE = "message"
    SAID = "said"
    REPLY = "reply"


class HistoryEntry(Frozen):
    """One entry of a session's history.

    Args:
        turn: the turn it belongs to.
        text: its words, as a model should read them.
        message_type: the name of the message's class; empty if there is none.
        message: the message, for a ``message``.
        reply: the reply, for a ``reply``.
        interrupted: whether it comes from a turn that was interrupted after it.
        at: seconds since the epoch.
    """

    kind: HistoryKind
    turn: int
    text: str
    message_type: str = ""
    message: SerializeAsAny[SessionMessage] | None = None
    reply: Reply | None = None
    interrupted: bool = False
    at: float

    @field_validator("message", mode="before")
    @classmethod
    def _of_its_class(cls, message: object, info: ValidationInfo) -> object:
        if message is None:
            return None
        return of_its_class(message, info.data.get("message_type", ""), info)
