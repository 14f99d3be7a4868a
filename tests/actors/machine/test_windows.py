from __future__ import annotations

import pytest

from wavebreak.actors.machine.state import Rules, Status, due
from wavebreak.messages.events import MessageAccepted, TurnStarted, WindowExtended
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    Now,
    Policy,
    Reject,
    Steer,
)
from wavebreak.messages.reasons import Backlog, Reason

from .driving import COLLECTS, LASTING, classes, collecting, opened

COLLECTED: tuple[Policy, ...] = (AfterWave(), Steer(), Collect())


@pytest.mark.parametrize("policy", COLLECTED, ids=lambda policy: policy.kind)
def test_with_debounce_a_message_opens_the_window_and_the_turn_starts_when_it_closes(
    policy: Policy,
) -> None:
    driver = opened(COLLECTS)
    assert classes(driver.send("m1", policy)) == [MessageAccepted, WindowExtended]
    assert driver.state.status is Status.COLLECTING
    assert due(driver.state) == driver.at + 2.0
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1"]
    assert driver.state.window is None


@pytest.mark.parametrize("policy", [Enqueue(), Now(), Reject()], ids=lambda policy: policy.kind)
def test_with_debounce_a_message_that_does_not_collect_starts_at_once(policy: Policy) -> None:
    driver = opened(COLLECTS)
    driver.send("m1", policy)
    assert driver.in_turn == ["m1"]


def test_each_message_makes_the_window_quiet_anew_and_the_burst_is_one_turn() -> None:
    driver = collecting()
    for number in range(2, 5):
        driver.at += 1.9
        driver.send(f"m{number}")
    assert driver.state.status is Status.COLLECTING
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1", "m2", "m3", "m4"]


def test_an_endless_stream_starts_its_turn_when_the_window_has_waited_for_long_enough() -> None:
    driver = collecting()
    for number in range(100):
        driver.send(f"n{number}")
        driver.pass_time(0.5)
        if driver.state.running is not None:
            break
    assert driver.at == driver.entries[1].at + 10.0
    assert len(driver.in_turn) == 21


@pytest.mark.parametrize("policy", [Now(), Reject()], ids=lambda policy: policy.kind)
def test_a_message_that_cannot_wait_closes_the_window_and_takes_all_with_it(
    policy: Policy,
) -> None:
    driver = collecting()
    driver.send("m2", Enqueue())
    assert classes(driver.send("m3", policy)) == [MessageAccepted, TurnStarted]
    assert driver.in_turn == ["m1", "m2", "m3"]


def test_a_queued_message_has_its_own_turn_after_the_batch() -> None:
    driver = collecting()
    driver.send("m2", Enqueue())
    driver.send("m3", Collect())
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1", "m3"]
    driver.exit("done")
    assert driver.in_turn == ["m2"]


def test_a_queued_message_does_not_keep_the_window_open() -> None:
    driver = collecting()
    before = driver.state.window
    driver.at += 1.0
    driver.send("m2", Enqueue())
    assert driver.state.window == before


def test_no_window_opens_between_two_turns() -> None:
    driver = collecting()
    driver.pass_time_until_due()
    driver.send("m2", Collect())
    driver.exit("done")
    assert driver.in_turn == ["m2"]


@pytest.mark.parametrize("backlog", Backlog)
def test_a_stop_closes_the_window_and_goes_by_the_backlog(backlog: Backlog) -> None:
    driver = collecting()
    driver.send("m2", Enqueue())
    driver.stop(backlog=backlog)
    assert driver.state.window is None
    if backlog is Backlog.KEEP:
        assert driver.in_turn == ["m1"]
        assert driver.waiting == ["m2"]
        return
    assert driver.state.status is Status.IDLE
    if backlog is Backlog.PARK:
        assert driver.parked == ["m1", "m2"]
    else:
        assert driver.ended("m1") == driver.ended("m2") == "dropped stopped"


@pytest.mark.parametrize("backlog", Backlog)
def test_a_message_that_a_stop_of_a_window_covers_goes_by_the_backlog_too(
    backlog: Backlog,
) -> None:
    driver = collecting()
    driver.stamp = 9
    driver.stop(backlog=backlog)
    driver.send("m2", stamp=5)
    if backlog is Backlog.KEEP:
        assert driver.outcome("m2") is None
    elif backlog is Backlog.PARK:
        assert driver.parked == ["m1", "m2"]
    else:
        assert driver.ended("m2") == "dropped stopped"


def test_a_message_that_is_withdrawn_as_the_last_one_closes_the_window() -> None:
    driver = collecting()
    driver.withdraw("m1")
    assert driver.state.status is Status.IDLE
    assert due(driver.state) is None


def test_what_was_parked_joins_the_window() -> None:
    driver = opened(COLLECTS)
    driver.send("m1")
    driver.stop(backlog=Backlog.PARK)
    driver.send("m2")
    driver.resume()
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1", "m2"]


def test_a_window_outlives_the_incarnation_that_opened_it() -> None:
    driver = collecting()
    driver.crash_and_open()
    assert driver.state.status is Status.COLLECTING
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1"]


def test_a_window_that_is_open_closes_when_it_was_to_if_the_system_has_none_any_more() -> None:
    driver = collecting()
    driver.rules = Rules()
    driver.crash_and_open()
    before = driver.state.window
    driver.at += 1.0
    driver.send("m2")
    assert driver.state.window == before
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1", "m2"]


def test_a_shutdown_closes_the_window_and_starts_nothing() -> None:
    driver = collecting(LASTING._replace(debounce=Debounce(2.0, 10.0)))
    driver.shut_down()
    assert driver.state.status is Status.CLOSING
    assert due(driver.state) is None
    assert driver.waiting == ["m1"]
    driver.crash_and_open()
    assert driver.in_turn == ["m1"]


def test_a_shutdown_with_a_memory_journal_ends_what_was_collected() -> None:
    driver = collecting()
    driver.shut_down()
    assert driver.ended("m1") == f"cancelled {Reason.SHUTDOWN}"


def test_a_message_for_the_handler_leaves_the_window_alone() -> None:
    driver = collecting(COLLECTS._replace(aside=True))
    before = driver.state.window
    driver.send("m2", Aside())
    assert driver.state.window == before
    assert driver.asides == ["m2"]
