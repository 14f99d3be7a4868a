from __future__ import annotations

from typing import get_args

import pytest

from wavebreak.actors.machine.evolve import _FOLD, REMEMBERED, evolve, fold
from wavebreak.actors.machine.state import SessionState
from wavebreak.messages.errors import MessageIdReused
from wavebreak.messages.events import (
    AnyEvent,
    CallEnded,
    Delta,
    Event,
    Progressed,
    Saved,
    TurnEnded,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.ids import Fence
from wavebreak.messages.policies import Enqueue
from wavebreak.messages.reasons import TurnOutcome

from .driving import KEY, Driver, opened, running


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


def answered(driver: Driver, message_id: str) -> None:
    driver.send(message_id)
    driver.exit("done")


def test_old_messages_are_forgotten_but_never_one_that_has_not_ended() -> None:
    driver = running()
    for number in range(REMEMBERED - 1):
        driver.send(f"n{number}", Enqueue())
    driver.exit("done")
    for number in range(10):
        driver.send(f"o{number}", Enqueue())
    remembered = driver.state.remembered
    assert len(remembered) == REMEMBERED - 1 + 10
    assert "m1" not in remembered
    assert all(f"n{number}" in remembered for number in range(REMEMBERED - 1))


def test_a_message_that_was_forgotten_may_come_again_and_one_that_was_not_may_not() -> None:
    driver = opened()
    for number in range(REMEMBERED + 1):
        answered(driver, f"n{number}")
    assert len(driver.state.remembered) == REMEMBERED
    with pytest.raises(MessageIdReused):
        driver.send("n1", fingerprint="of something else")
    answered(driver, "n0")
    assert driver.ended("n0") == "answered"
