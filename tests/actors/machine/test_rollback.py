"""A turn that is undone: what is compensated, what refuses it, and what comes between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wavebreak.actors.machine.state import Rules, Status, due
from wavebreak.messages.events import (
    CompensationEnded,
    CompensationStarted,
    MessageEnded,
    RollbackRefused,
    RollbackStarted,
    StopRequested,
    TurnEnded,
    TurnStarted,
)
from wavebreak.messages.history import HistoryKind
from wavebreak.messages.ids import CallId
from wavebreak.messages.policies import AfterWave, Enqueue, Now, Rollback
from wavebreak.messages.reasons import Backlog, CallStatus, Effect, TurnOutcome

from .driving import LASTING, Driver, call, classes, done, opened, running, stopping

if TYPE_CHECKING:
    from wavebreak.messages.events import Event
    from wavebreak.messages.records import CallStarted


def booking(text: str = "hotel") -> CallStarted:
    return call("book", Effect.ONCE, arguments={"text": text}, compensated=True)


def undone(driver: Driver) -> list[str]:
    """The calls that were begun to be undone, in order."""
    return [e.call_id for e in driver.events if isinstance(e, CompensationStarted)]


def refused(driver: Driver) -> list[str]:
    return [event.detail for event in driver.events if isinstance(event, RollbackRefused)]


def last_end(driver: Driver) -> TurnEnded:
    return [event for event in driver.events if isinstance(event, TurnEnded)][-1]


def undo_all(driver: Driver) -> list[Event]:
    events: list[Event] = []
    while driver.state.undoing is not None:
        events += driver.compensate()
    return events


def compensating(*calls: CallStarted, rules: Rules = LASTING) -> Driver:
    """Give a session whose turn 1 completed ``calls``, and is being undone for message m2."""
    driver = running(rules)
    driver.run_wave(*(calls or (booking(),)))
    driver.send("m2", Rollback())
    driver.exit()
    return driver


def test_the_completed_calls_are_undone_in_reverse_order_one_after_the_other() -> None:
    driver = running()
    driver.run_wave(booking("a"), booking("b"))
    driver.run_wave(booking("c"))
    driver.send("m2", Rollback())
    events = driver.exit()
    assert classes(events)[-2:] == [RollbackStarted, CompensationStarted]
    assert undone(driver) == ["1.1.2.1"]
    assert driver.state.status is Status.STOPPING
    assert classes(driver.compensate()) == [CompensationEnded, CompensationStarted]
    driver.compensate()
    assert undone(driver) == ["1.1.2.1", "1.1.1.2", "1.1.1.1"]
    events = driver.compensate()
    assert classes(events) == [CompensationEnded, TurnEnded, MessageEnded, TurnStarted]
    assert driver.turn_ends == ["1 rolled_back superseded"]
    assert driver.ended("m1") == "cancelled rollback"
    assert driver.in_turn == ["m2"]


def test_the_whole_chain_of_interruptions_is_undone_and_all_its_messages_are_cancelled() -> None:
    driver = running()
    driver.run_wave(booking("a"))
    driver.send("m2")
    driver.exit()
    driver.run_wave(booking("b"))
    driver.send("m3", Now())
    driver.exit()
    driver.run_wave(booking("c"))
    driver.send("m4", Rollback())
    driver.exit()
    undo_all(driver)
    assert undone(driver) == ["3.1.1.1", "2.1.1.1", "1.1.1.1"]
    assert [driver.ended(f"m{n}") for n in (1, 2, 3)] == ["cancelled rollback"] * 3
    assert driver.in_turn == ["m4"]
    assert [(entry.kind, entry.outcome) for entry in driver.history] == [
        (HistoryKind.ENDED, TurnOutcome.ROLLED_BACK)
    ]


def test_a_call_that_was_carried_is_undone_once() -> None:
    driver = running()
    (first,) = driver.run_wave(booking())
    driver.send("m2")
    driver.exit()
    carried = booking()._replace(answered_from=first.call_id)
    driver.run_wave(carried)
    driver.roll_back()
    driver.exit()
    undo_all(driver)
    assert undone(driver) == [first.call_id]


def test_each_undoing_has_a_key_of_its_own_that_is_the_same_at_every_try() -> None:
    driver = compensating()
    driver.crash_and_open()
    keys = [e.idempotency_key for e in driver.events if isinstance(e, CompensationStarted)]
    assert keys == ["uid-1.1.1.1-undo"] * 2


def test_what_has_no_effect_to_undo_is_passed_over() -> None:
    driver = running()
    read, set_ = call("look"), call("set", Effect.IDEMPOTENT)
    (reading, setting, failing) = driver.begin_wave(read, set_, booking())
    driver.report(done(reading), done(setting), done(failing, CallStatus.FAILED), wave_done=1)
    driver.send("m2", Rollback())
    driver.exit()
    assert undone(driver) == []
    assert driver.turn_ends == ["1 rolled_back superseded"]
    assert driver.in_turn == ["m2"]


def test_a_completed_once_call_that_nothing_undoes_refuses_it() -> None:
    driver = running()
    driver.run_wave(booking(), call("pay", Effect.ONCE))
    driver.send("m2", Rollback())
    events = driver.exit()
    assert RollbackRefused in classes(events)
    assert CompensationStarted not in classes(events)
    assert refused(driver) == ["call 1.1.1.2 of 'pay' has happened, and nothing undoes it"]
    assert driver.turn_ends == ["1 interrupted superseded"]
    assert last_end(driver).detail == f"not rolled back: {refused(driver)[0]}"
    assert driver.in_turn == ["m1", "m2"]
    assert driver.state.previous is not None
    assert len(driver.state.previous.completed) == 2


def test_a_call_that_may_have_happened_refuses_it() -> None:
    driver = running()
    driver.begin_wave(booking())
    driver.send("m2", Rollback(grace=2.0))
    driver.pass_time(2.0)
    assert refused(driver) == ["call 1.1.1.1 of 'book' may have happened"]
    assert driver.in_turn == ["m1", "m2"]


def test_a_refusal_in_an_earlier_turn_of_the_chain_refuses_it_as_well() -> None:
    driver = running()
    driver.run_wave(call("pay", Effect.ONCE))
    driver.send("m2")
    driver.exit()
    driver.run_wave(booking())
    driver.roll_back()
    driver.exit()
    assert driver.turn_ends[-1] == "2 interrupted rollback"
    assert driver.in_turn == ["m1", "m2"]


def test_an_unknown_call_of_which_a_late_end_was_seen_is_undone() -> None:
    driver = running()
    (cut,) = driver.begin_wave(booking())
    driver.send("m2", Now(grace=0.0))
    driver.pass_time_until_due()
    late = done(cut, result="booked")._replace(late=True)
    driver.report(late, fence=driver.fence._replace(turn=1))
    driver.send("m3", Rollback())
    driver.exit()
    undo_all(driver)
    assert undone(driver) == [cut.call_id]
    assert driver.state.unknown == (), "its result answers no later call"


def test_an_unknown_call_that_failed_late_does_not_refuse_it() -> None:
    driver = running()
    (cut,) = driver.begin_wave(booking())
    driver.send("m2", Now(grace=0.0))
    driver.pass_time_until_due()
    late = done(cut, CallStatus.FAILED)._replace(late=True)
    driver.report(late, fence=driver.fence._replace(turn=1))
    driver.roll_back()
    driver.exit()
    assert driver.turn_ends[-1] == "2 rolled_back rollback"


def test_nothing_of_a_chain_that_was_undone_answers_any_more() -> None:
    driver = compensating(booking(), call("look"))
    undo_all(driver)
    assert driver.state.previous is None
    assert driver.state.unknown == ()


def test_what_could_not_be_undone_is_reported_and_the_rest_still_is() -> None:
    driver = compensating(booking("a"), booking("b"))
    driver.compensate(error="the hotel does not answer")
    assert undone(driver) == ["1.1.1.2", "1.1.1.1"]
    driver.compensate()
    assert driver.turn_ends == ["1 rollback_failed superseded"]
    assert last_end(driver).detail == "'book' (1.1.1.2) is not undone"
    (left,) = driver.state.unknown
    assert (left.call_id, left.status) == ("1.1.1.2", CallStatus.UNKNOWN)
    assert driver.ended("m1") == "cancelled rollback"


def test_the_calls_that_run_have_their_grace_and_the_undoing_none() -> None:
    driver = running()
    driver.run_wave(booking())
    driver.begin_wave(booking("b"))
    driver.send("m2", Rollback(grace=7.0))
    assert due(driver.state) == driver.at + 7.0
    assert driver.running.stop is not None
    assert driver.running.stop.fenced
    driver.report(done(driver.running.open[0]), wave_done=2)
    driver.exit()
    assert due(driver.state) is None
    assert driver.pass_time(1e6) == []


@pytest.mark.parametrize("how", [AfterWave(), Now()])
def test_a_turn_that_is_stopping_rises_to_a_rollback(how: AfterWave | Now) -> None:
    driver = running()
    driver.run_wave(booking())
    driver.send("m2", how)
    driver.send("m3", Rollback(grace=1.0))
    driver.exit()
    undo_all(driver)
    assert driver.turn_ends == ["1 rolled_back superseded"]
    assert driver.in_turn == ["m2", "m3"]


def test_rolling_back_a_turn_that_is_stopping_needs_no_message() -> None:
    driver = stopping()
    driver.roll_back(detail="never mind")
    driver.exit()
    assert driver.turn_ends == ["1 rolled_back superseded"]
    assert last_end(driver).detail == "never mind"
    assert driver.in_turn == ["m2"]


def test_a_turn_that_was_timed_out_can_be_rolled_back_and_keeps_its_reason() -> None:
    driver = opened()
    driver.send("m1", deadline=10.0)
    driver.begin_wave(call("pay", Effect.ONCE))
    driver.pass_time_until_due()
    driver.roll_back()
    driver.report(done(driver.running.open[0]), wave_done=1)
    driver.exit()
    assert driver.turn_ends == ["1 timed_out deadline"], "it was refused"
    assert driver.ended("m1") == "failed deadline"


@pytest.mark.parametrize("how", [AfterWave(), Now()])
def test_a_rollback_does_not_rise_over_a_stop(how: AfterWave | Now) -> None:
    driver = running()
    driver.run_wave(booking())
    driver.stop(how)
    assert StopRequested not in classes(driver.send("m2", Rollback()))
    assert driver.roll_back() == []
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert undone(driver) == []
    assert driver.in_turn == ["m2"]


@pytest.mark.parametrize("how", [AfterWave(), Now()])
def test_a_stop_before_the_calls_have_ended_outranks_a_rollback(how: AfterWave | Now) -> None:
    driver = running()
    driver.run_wave(booking())
    driver.begin_wave(booking("b"))
    driver.send("m2", Rollback())
    driver.stop(how)
    driver.report(done(driver.running.open[0]), wave_done=2)
    driver.exit()
    assert undone(driver) == []
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.ended("m2") == "cancelled stopped"


@pytest.mark.parametrize("how", [AfterWave(), Now(grace=0.0)])
@pytest.mark.parametrize("backlog", Backlog)
def test_a_stop_does_not_cut_what_is_being_undone(how: AfterWave | Now, backlog: Backlog) -> None:
    driver = compensating(booking("a"), booking("b"))
    driver.send("m3", Enqueue())
    driver.stop(how, backlog)
    assert driver.pass_time(1e6) == []
    undo_all(driver)
    assert len(undone(driver)) == 2
    assert driver.turn_ends == ["1 rolled_back stopped"]
    assert driver.ended("m1") == "cancelled rollback"
    assert driver.ended("m2") == "cancelled stopped", "it asked for the rollback"
    if backlog is Backlog.DROP:
        assert driver.ended("m3") == "dropped stopped"
    if backlog is Backlog.KEEP:
        assert driver.in_turn == ["m3"]


@pytest.mark.parametrize("policy", [AfterWave(), Now(), Enqueue(), Rollback()])
def test_a_message_while_calls_are_undone_waits_for_the_end(
    policy: AfterWave | Now | Enqueue | Rollback,
) -> None:
    driver = compensating()
    driver.send("m3", policy)
    assert driver.waiting == ["m2", "m3"]
    assert driver.state.undoing is not None
    undo_all(driver)
    assert "m2" in driver.in_turn
    assert driver.turn_ends == ["1 rolled_back superseded"]


def test_asking_again_while_calls_are_undone_changes_nothing() -> None:
    driver = compensating()
    assert driver.roll_back() == []


def test_reports_of_the_runtime_come_too_late_while_calls_are_undone() -> None:
    driver = compensating()
    fence = driver.fence
    assert driver.exit("a reply", fence=fence) == []
    assert driver.say("words", fence) == []
    assert driver.save({"n": 1}, fence) == []
    assert driver.cancel_token(fence=fence) == []


def test_a_compensation_that_is_told_twice_counts_once() -> None:
    driver = compensating(booking("a"), booking("b"))
    driver.compensate()
    assert driver.compensate(CallId("1.1.1.2")) == []
    driver.compensate()
    assert driver.compensate(CallId("1.1.1.1")) == []
    assert driver.turn_ends == ["1 rolled_back superseded"]


def test_a_new_incarnation_goes_on_with_what_has_no_end() -> None:
    driver = compensating(booking("a"), booking("b"), booking("c"))
    driver.compensate()
    events = driver.crash_and_open()
    assert classes(events)[1:] == [CompensationStarted]
    assert undone(driver) == ["1.1.1.3", "1.1.1.2", "1.1.1.2"]
    undo_all(driver)
    assert undone(driver)[3:] == ["1.1.1.1"]
    assert driver.turn_ends == ["1 rolled_back superseded"]


def test_a_new_incarnation_decides_on_a_rollback_of_which_the_calls_had_not_ended() -> None:
    driver = running()
    driver.run_wave(booking())
    driver.begin_wave(call())
    driver.send("m2", Rollback())
    events = driver.crash_and_open()
    assert RollbackStarted in classes(events)
    assert undone(driver) == ["1.1.1.1"], "the read that was cut off does not refuse it"


def test_a_shutdown_lets_the_undoing_go_on_and_what_is_left_lives_on() -> None:
    driver = compensating(booking("a"), booking("b"))
    driver.shut_down()
    assert driver.state.status is Status.CLOSING
    driver.compensate()
    assert driver.state.undoing is not None
    driver.crash_and_open()
    assert undone(driver)[-1] == "1.1.1.1"
    undo_all(driver)
    assert driver.turn_ends == ["1 rolled_back superseded"]
    assert driver.in_turn == ["m2"]


def test_a_shutdown_may_see_the_end_of_the_undoing() -> None:
    driver = compensating()
    driver.shut_down()
    undo_all(driver)
    assert driver.state.status is Status.CLOSING
    assert driver.waiting == ["m2"]
    driver.crash_and_open()
    assert driver.in_turn == ["m2"]


def test_with_a_journal_that_does_not_last_a_shutdown_ends_what_waits() -> None:
    driver = compensating(rules=Rules())
    driver.shut_down()
    undo_all(driver)
    assert driver.ended("m2") == "cancelled shutdown"


def test_a_shutdown_before_the_calls_have_ended_does_not_soften_a_rollback() -> None:
    driver = running(LASTING)
    driver.run_wave(booking())
    driver.send("m2", Rollback())
    driver.shut_down()
    driver.exit()
    assert driver.state.undoing is not None
    undo_all(driver)
    assert driver.turn_ends == ["1 rolled_back superseded"]


def test_with_nothing_running_there_is_nothing_to_undo() -> None:
    driver = opened()
    assert driver.roll_back() == []
    driver.send("m1", Rollback())
    assert driver.in_turn == ["m1"]


def test_the_state_of_a_session_that_was_rolled_back_is_that_of_before() -> None:
    driver = running()
    driver.save({"n": 1})
    driver.send("m2", Rollback())
    driver.exit()
    assert driver.state.saved is None
    assert driver.state.ended is not None
    assert driver.state.ended.turn == 1
    assert driver.running.stop is None
