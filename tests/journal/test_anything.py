from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel

from wavebreak import SessionMessage, UserMessage
from wavebreak.actors.machine.state import SessionState, Waiting
from wavebreak.actors.machine.stored import StateForm
from wavebreak.journal.anything import AnyMessages
from wavebreak.messages.policies import AfterWave

from .writing import ANN


class Item(BaseModel):
    name: str
    price: float


class Ordered(SessionMessage):
    text: str
    items: tuple[Item, ...]
    paid: datetime | None = None


def test_a_message_of_a_class_that_is_not_there_is_written_as_it_was_read() -> None:
    messages = (
        Ordered(
            message_id="m1",
            text="two of them",
            items=(Item(name="ü", price=1.5), Item(name="", price=2.0)),
            paid=datetime(2026, 1, 2, tzinfo=UTC),
        ),
        Ordered(message_id="m2", text="", items=()),
        UserMessage(message_id="m3", text="and a note", metadata={"a": [1, None]}),
    )
    waiting = tuple(Waiting(message, AfterWave(), None) for message in messages)
    state = SessionState(ANN, 3)._replace(waiting=waiting)
    data = StateForm({"Ordered": Ordered}).dump(state)
    stranger = StateForm(AnyMessages())
    read = stranger.load(data)
    assert stranger.dump(read) == data
    assert [one.message.as_text() for one in read.waiting] == ["two of them", "", "and a note"]
    assert StateForm({"Ordered": Ordered}).load(stranger.dump(read)) == state
