from __future__ import annotations

import pytest
from pydantic import ValidationError

from wavebreak.messages.ids import DeliveryId
from wavebreak.messages.message import (
    Attachment,
    Delivery,
    MessageOutcome,
    Reply,
    SessionMessage,
    UserMessage,
)
from wavebreak.messages.reasons import DeliveryKind, MessageStatus, Reason


class OrderShipped(SessionMessage):
    order: int

    def as_text(self) -> str:
        return f"order {self.order} was shipped"


def test_an_attachment_is_found_somewhere() -> None:
    assert Attachment(url="http://a/b").mime == "application/octet-stream"
    assert Attachment(media_id="7").url is None
    with pytest.raises(ValidationError, match="needs a url or a media_id"):
        Attachment(name="picture")
    with pytest.raises(ValidationError, match="needs a url or a media_id"):
        Attachment(url="", media_id="")


def test_an_attachment_has_no_negative_size() -> None:
    assert Attachment(url="x", size=0).size == 0
    with pytest.raises(ValidationError):
        Attachment(url="x", size=-1)


def test_a_message_says_in_its_own_words_what_it_is() -> None:
    assert UserMessage(text="hello").as_text() == "hello"
    assert OrderShipped(order=7).as_text() == "order 7 was shipped"
    assert SessionMessage().as_text() == ""


def test_a_message_takes_no_field_that_it_does_not_have() -> None:
    with pytest.raises(ValidationError):
        UserMessage(test="hello")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        OrderShipped(order=7, text="hello")  # type: ignore[call-arg]


def test_a_message_cannot_be_changed() -> None:
    message = UserMessage(text="hello")
    with pytest.raises(ValidationError):
        message.text = "good bye"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        OrderShipped(order=7).order = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    "value",
    [
        Attachment(media_id="7", mime="image/png", size=3, name="p.png"),
        UserMessage(
            message_id="m",
            sender="ann",
            received_at=1.5,
            text="hällo 🌍",
            attachments=(Attachment(url="u"),),
            metadata={"a": [1, None, {"b": True}]},
        ),
        Reply(text="t", attachments=(Attachment(url="u"),), data={"card": 1}),
        Delivery(
            delivery_id=DeliveryId("d"),
            kind=DeliveryKind.REPLY,
            tenant="t",
            session_id="s",
            turn=1,
            reply=Reply(text="t"),
            answers=("m1", "m2"),
        ),
        MessageOutcome(
            message_id="m",
            status=MessageStatus.FAILED,
            turn=1,
            reason=Reason.ERROR,
            error="ValueError",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_stored_or_sent_survives_json(value: Reply) -> None:
    assert type(value).model_validate_json(value.model_dump_json()) == value
