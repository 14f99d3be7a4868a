from __future__ import annotations

from typing import Any

import pytest

from wavebreak.actors.machine import state as machine_state
from wavebreak.actors.machine.state import SessionState, Status, due
from wavebreak.actors.machine.view import view_of
from wavebreak.messages.ids import CallId, Fence
from wavebreak.messages.policies import AfterWave, Enqueue, Now

from .driving import KEY, call, done, opened, running


def test_a_session_begins_before_it_is_opened() -> None:
    state = SessionState(KEY)
    assert state.status is Status.RECOVERING
    assert state.fence == Fence(0, 0, 0)
    assert (state.covers.stamp, state.turn, state.epoch, state.position) == (0, 0, 0, 0)
    assert due(state) is None


def test_the_fence_of_a_session_without_a_turn_is_that_of_no_attempt() -> None:
    driver = running()
    assert driver.fence == Fence(1, 1, 1)
    driver.crash()
    assert driver.fence == Fence(1, 1, 2)
    driver.exit("done")
    assert driver.fence == Fence(1, 1, 0)


def test_the_timer_is_the_next_thing_that_the_state_waits_for() -> None:
    driver = opened()
    assert due(driver.state) is None
    driver.send("m1", deadline=60.0)
    assert due(driver.state) == driver.at + 60.0
    driver.send("m2", AfterWave(patience=90.0))
    assert due(driver.state) == driver.at + 60.0
    driver.stop(AfterWave(patience=30.0))
    assert due(driver.state) == driver.at + 30.0
    driver.stop(Now(grace=80.0))
    assert due(driver.state) == driver.at + 80.0


def test_the_senders_of_a_turn_are_each_told_once() -> None:
    driver = opened()
    driver.send("m1", sender="zoe")
    driver.send("m2", sender="ann")
    driver.send("m3", sender="zoe")
    driver.send("m4")
    driver.exit()
    assert set(driver.running.senders) == {None, "ann", "zoe"}
    assert len(driver.running.senders) == 3
    before = driver.running.senders
    driver.send("m5", sender="ann")
    driver.exit()
    assert driver.running.senders == before


def test_a_view_says_what_a_chooser_may_know() -> None:
    driver = opened()
    idle = view_of(driver.state)
    assert (idle.tenant, idle.session_id) == ("acme", "s1")
    assert (idle.status, idle.turn, idle.messages, idle.wave) == ("idle", 0, (), 0)
    driver.send("m1")
    driver.run_wave(call(), call())
    driver.begin_wave(call())
    driver.send("m2", Enqueue())
    view = view_of(driver.state)
    assert (view.status, view.turn, view.wave) == ("running", 1, 2)
    assert [message.message_id for message in view.messages] == ["m1"]
    assert (view.calls_completed, view.waiting) == (2, 1)


def test_a_turn_knows_when_its_last_wave_began_and_what_of_it_is_open() -> None:
    driver = running()
    assert not driver.running.open
    assert driver.running.wave_started_at == 0.0
    driver.run_wave(call())
    driver.at += 5.0
    began = driver.at
    first, second = driver.begin_wave(call(), call())
    driver.at += 5.0
    driver.report(done(first))
    driver.say("one moment")
    driver.step("model", "words")
    assert driver.running.wave_started_at == began
    assert driver.running.open == (second,)


def test_what_is_replaced_by_hand_for_speed_is_what_replace_does() -> None:
    driver = running()
    state = driver.state
    changed = driver.running._replace(wave=7)
    assert state.got_further(99, changed) == state._replace(position=99, running=changed)
    fields: dict[str, Any] = {"batch": 3, "last_reply": None, "waiting": ()}
    assert state.changed(99) == state._replace(position=99)
    assert state.changed(99, **fields) == state._replace(position=99, **fields)
    with pytest.raises(KeyError):
        state.changed(99, no_such_field=1)


def test_the_places_of_the_fields_are_those_that_they_have_in_a_state() -> None:
    for place, name in enumerate(SessionState._fields):
        known = {name.upper(), f"_{name.upper()}"} & vars(machine_state).keys()
        assert [getattr(machine_state, one) for one in known] == [place]


def test_only_the_fence_of_the_running_attempt_is_current() -> None:
    driver = running()
    epoch, turn, attempt = fence = driver.fence
    assert driver.state.is_current(fence)
    for other in (
        Fence(epoch + 1, turn, attempt),
        Fence(epoch, turn + 1, attempt),
        Fence(epoch, turn, attempt + 1),
    ):
        assert not driver.state.is_current(other)
    driver.exit("done")
    assert not driver.state.is_current(fence)
    assert not driver.state.is_current(driver.fence)


def test_how_many_calls_have_completed_is_counted_as_it_would_be_looked_up() -> None:
    driver = running()

    def counted(expected: int) -> None:
        turn = driver.state.running
        assert turn is not None
        assert turn.completed == turn._replace(completions=None).completed == expected

    counted(0)
    driver.run_wave(call(), call())
    counted(2)
    driver.begin_wave(call())
    counted(2)
    driver.crash_and_open()
    counted(2)
    driver.run_wave(call(answered_from=CallId("1.1.1.1")))
    counted(2)
    driver.run_wave(call())
    counted(3)
    driver.send("m2")
    driver.exit()
    counted(0)
