from __future__ import annotations

from typing import get_args

import pytest

from wavebreak.actors.machine.evolve import _FOLD, evolve, fold
from wavebreak.actors.machine.remembering import KEPT_FOR, REMEMBERED
from wavebreak.actors.machine.state import SessionState, Status
from wavebreak.messages.entries import Progressed
from wavebreak.messages.errors import JournalCorrupt, MessageIdReused
from wavebreak.messages.events import (
    AnyEvent,
    CallEnded,
    Delta,
    Event,
    MessageEnded,
    Saved,
    SessionOpened,
    TurnEnded,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.ids import Fence
from wavebreak.messages.policies import Enqueue
from wavebreak.messages.reasons import MessageStatus, TurnOutcome

from .driving import KEY, LASTING, Driver, call, closing, opened, running, stopping


def test_the_fold_knows_every_event_that_is_journaled() -> None:
    everything = set(get_args(get_args(AnyEvent)[0]))
    in_progressed: set[type[Event]] = {CallEnded, WaveStarted, WaveEnded}
    assert set(_FOLD) == everything - in_progressed - {Delta}


def test_an_event_that_is_only_streamed_is_not_folded() -> None:
    delta = Delta(tenant="acme", session_id="s1", turn=1, at=1.0, attempt=1, text="wo")
    with pytest.raises(KeyError):
        evolve(SessionState(KEY), delta)


def test_an_event_of_a_turn_without_a_turn_is_a_corrupt_journal() -> None:
    saved = Saved(tenant="acme", session_id="s1", turn=1, at=1.0, position=1, attempt=1, state={})
    ended = TurnEnded(
        tenant="acme",
        session_id="s1",
        turn=1,
        at=1.0,
        position=1,
        outcome=TurnOutcome.FINISHED,
    )
    for entry in (saved, ended, Progressed(1, 1.0, Fence(1, 1, 1), (), 1)):
        with pytest.raises(ValueError, match=r"'acme/s1' is corrupt: position 1"):
            evolve(SessionState(KEY), entry)


def test_folding_nothing_changes_nothing() -> None:
    state = opened().state
    assert fold(state, ()) is state


def test_a_gap_or_a_repetition_is_a_corrupt_journal() -> None:
    driver = running()
    driver.run_wave(call())
    entries = driver.entries
    assert fold(SessionState(KEY), entries) == driver.state
    for broken in (entries[1:], [*entries[:2], *entries[3:]], [*entries[:2], *entries[1:]]):
        with pytest.raises(JournalCorrupt, match=r"'acme/s1' has position \d+ where \d+ should be"):
            fold(SessionState(KEY), broken)


def test_a_new_incarnation_finds_the_turn_as_it_was() -> None:
    opened_again = SessionOpened(
        tenant="acme", session_id="s1", position=99, at=1.0, epoch=2, uid="uid"
    )
    states = (opened(), running(), stopping(), closing())
    statuses = [evolve(driver.state, opened_again).status for driver in states]
    assert statuses == [Status.IDLE, Status.RUNNING, Status.STOPPING, Status.STOPPING]


def test_a_message_that_ends_leaves_the_batch_it_was_in() -> None:
    driver = running(LASTING)
    for message_id in ("m2", "m3", "m4"):
        driver.send(message_id, Enqueue())
    state = driver.state._replace(batch=2)
    for message_id, batch in (("m2", 1), ("m3", 1), ("m4", 2)):
        ended = MessageEnded(
            tenant="acme",
            session_id="s1",
            position=99,
            at=1.0,
            message_id=message_id,
            status=MessageStatus.DROPPED,
        )
        after = evolve(state, ended)
        assert after.batch == batch
        assert message_id not in [each.message.message_id for each in after.waiting]
        assert len(after.waiting) == 2


def answered(driver: Driver, message_id: str) -> None:
    driver.send(message_id)
    driver.exit("done")


def test_old_messages_are_forgotten_but_never_one_that_has_not_ended() -> None:
    driver = running()
    for number in range(REMEMBERED - 1):
        driver.send(f"n{number}", Enqueue())
    driver.exit("done")
    driver.at += KEPT_FOR
    for number in range(10):
        driver.send(f"o{number}", Enqueue())
    remembered = driver.state.remembered
    assert len(remembered) == REMEMBERED - 1 + 10
    assert "m1" not in remembered
    assert all(f"n{number}" in remembered for number in range(REMEMBERED - 1))


def test_a_message_that_was_forgotten_may_come_again_and_one_that_was_not_may_not() -> None:
    driver = opened()
    for number in range(REMEMBERED):
        answered(driver, f"n{number}")
    driver.at += KEPT_FOR
    answered(driver, "last")
    assert len(driver.state.remembered) == REMEMBERED
    with pytest.raises(MessageIdReused):
        driver.send("n1", fingerprint="of something else")
    answered(driver, "n0")
    assert driver.ended("n0") == "answered"
