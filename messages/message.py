"""What users and programs send to a session, and what goes back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from .ids import DeliveryId
from .model import Frozen
from .reasons import DeliveryKind, MessageStatus, Reason


class Attachment(Frozen):
    """A file that travels beside a text: by address, or by the channel's own id.

    Args:
        url: where it can be fetched; or
        media_id: the channel's id for it. One of the two is required.
        mime: its media type.
        size: bytes.
        name: the file's name.
    """

    url: str | None = None
    media_id: str | None = None
    mime: str = "application/octet-stream"
    size: int | None = Field(default=None, ge=0)
    name: str | None = None

    @model_validator(mode="after")
    def _found_somewhere(self) -> Self:
        if not self.url and not self.media_id:
            msg = "an attachment needs a url or a media_id"
            raise ValueError(msg)
        return self


class SessionMessage(Frozen):
    """A durable message to a session; subclass it for messages of your own.

    A subclass is journaled, so its fields must survive JSON, and the system must be told of it:
    ``ActorSystem(..., message_types=(OrderShipped,))``.

    Args:
        message_id: de-duplicates the message within its session; made up when empty.
        sender: who sent it, if that matters.
        received_at: seconds since the epoch; set on acceptance when 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: str = ""
    sender: str | None = None
    received_at: float = 0.0

    def as_text(self) -> str:
        """What ``turn.text`` shows of this message; nothing unless a subclass says so."""
        return ""


def note_receipt(message: SessionMessage, at: float) -> None:
    """Say when a message was accepted, unless it says so; only of one that nobody else has.

    In place, although it is frozen: it is what is still made, and a copy takes 0.5 µs.
    """
    if not message.received_at:
        vars(message)["received_at"] = at


class UserMessage(SessionMessage):
    """What a person wrote.

    Args:
        text: may be empty when there is an attachment.
        attachments: files that came with it.
        metadata: whatever the channel wants back; must survive JSON.
    """

    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)

    def as_text(self) -> str:
        """The text itself."""
        return self.text


def of_its_class(message: object, name: str, info: ValidationInfo) -> object:
    """A message that comes out of a journal, as one of the class of that name.

    Who decodes gives classes of their own as ``context={"message_types": {name: class}}``.

    Raises:
        ValueError: no class of that name is known.
    """
    if isinstance(message, SessionMessage):
        return message
    context = cast("Mapping[str, Mapping[str, type[SessionMessage]]]", info.context or {})
    kind = context.get("message_types", {}).get(name) or _OUR_MESSAGES.get(name)
    if kind is None:
        msg = f"no class {name!r} is known: ActorSystem(..., message_types=({name},))"
        raise ValueError(msg)
    return kind.model_validate(message, context=info.context)


def _with_its_name(pair: object, info: ValidationInfo) -> object:
    if isinstance(pair, list | tuple):
        name, message = cast("tuple[str, object]", pair)
        return of_its_class(message, name, info)
    return pair


NamedMessage = Annotated[SessionMessage, BeforeValidator(_with_its_name)]
"""A message that is stored beside the name of its class: ``[name, message]``."""

_OUR_MESSAGES: Mapping[str, type[SessionMessage]] = MappingProxyType(
    {kind.__name__: kind for kind in (SessionMessage, UserMessage)}
)


class Reply(Frozen):
    """What an agent answers.

    Args:
        text: the whole reply in words.
        attachments: files to send with it.
        data: anything else for the channel; must survive JSON.
    """

    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    data: dict[str, Any] = Field(default_factory=dict)


class Delivery(Frozen):
    """Something on its way to the user: a reply, or words said during a turn.

    Outcomes are for knowing, deliveries are for speaking: there is one delivery for each reply
    or word said, however many messages it answers.

    Args:
        delivery_id: stable over retries and restarts; hand it to the channel to de-duplicate.
        answers: the ids of the messages that a reply answers; empty for words said.
    """

    delivery_id: DeliveryId
    kind: DeliveryKind
    tenant: str
    session_id: str
    turn: int
    reply: Reply
    answers: tuple[str, ...] = ()


class MessageOutcome(Frozen):
    """How an accepted message ended.

    Args:
        status: answered, expired, dropped, cancelled or failed.
        turn: the turn it ended in, if it was in one.
        reply: the reply, when it was answered.
        reason: why, when it was not.
        error: the failure in words, when there was one.
    """

    message_id: str
    status: MessageStatus
    turn: int | None = None
    reply: Reply | None = None
    reason: Reason | None = None
    error: str = ""
