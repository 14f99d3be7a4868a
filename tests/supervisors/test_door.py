from __future__ import annotations

import asyncio

from wavebreak.actors.counters import Counters
from wavebreak.actors.mailbox import Envelope
from wavebreak.messages.ids import SessionKey
from wavebreak.supervisors.door import Cell, Door, StartSession

ANN = SessionKey("", "ann")


def door() -> Door:
    return Door(asyncio.get_running_loop(), 10, lambda _key, _message: None, Counters())


def put(into: Door, message: str) -> int:
    envelope = Envelope(message)
    into.put(ANN, envelope)
    return envelope.stamp


async def test_stamps_go_on_in_the_mailbox_that_follows_one_that_was_closed() -> None:
    way = door()
    assert [put(way, "a"), put(way, "b")] == [1, 2]
    before = way.cells[ANN]
    before.mailbox.close()
    assert put(way, "c") == 3
    assert way.cells[ANN] is not before


async def test_the_first_message_of_a_session_has_the_directory_start_it_once() -> None:
    way = door()
    put(way, "a")
    put(way, "b")
    envelope = way.place.mailbox.pop()
    assert envelope is not None
    assert isinstance(envelope.message, StartSession)
    assert envelope.message.cell is way.cells[ANN]
    assert way.place.mailbox.pop() is None


async def test_an_ending_incarnation_never_takes_a_newer_one_out() -> None:
    way = door()
    put(way, "a")
    old = way.cells[ANN]
    way.forget(old)
    put(way, "b")
    new = way.cells[ANN]
    assert isinstance(new, Cell)
    way.forget(old)
    assert way.cells[ANN] is new


async def test_what_waits_for_a_session_that_ended_is_forwarded_to_the_next_in_its_order() -> None:
    way = door()
    for message in "abc":
        put(way, message)
    old = way.cells[ANN]
    way.forward(old)
    new = way.cells[ANN]
    assert new is not old
    read = [new.mailbox.pop() for _ in range(3)]
    assert [one.message for one in read if one is not None] == ["a", "b", "c"]
    assert new.mailbox.pop() is None
