from __future__ import annotations

import pytest

from wavebreak.actors.machine.state import Status
from wavebreak.messages.errors import MessageIdReused, SessionFailed, SystemClosed
from wavebreak.messages.events import (
    MessageAccepted,
    MessageEnded,
    StopRequested,
    TurnStarted,
)
from wavebreak.messages.policies import AfterWave, Enqueue, Now, Policy
from wavebreak.messages.reasons import Backlog, Reason

from .driving import Driver, classes, closing, failed, opened, running, stopping

POLICIES: tuple[Policy, ...] = (AfterWave(), Now(), Enqueue())
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)


@every_policy
def test_a_message_to_an_idle_session_starts_a_turn_with_it(policy: Policy) -> None:
    driver = opened()
    accepted, started = driver.send("m1", policy, deadline=60.0)
    assert isinstance(accepted, MessageAccepted)
    assert (accepted.message_type, accepted.message.message_id) == ("UserMessage", "m1")
    assert (accepted.policy, accepted.deadline_at) == (policy, driver.at + 60.0)
    assert accepted.fingerprint == "fingerprint of m1"
    assert isinstance(started, TurnStarted)
    assert (started.turn, started.message_ids) == (1, ("m1",))
    assert driver.waiting == []


def test_a_message_tells_a_running_turn_to_stop_in_its_own_way() -> None:
    ways: tuple[AfterWave | Now, ...] = (AfterWave(patience=7.0), Now(grace=2.0))
    for how in ways:
        driver = running()
        requested = driver.send("m2", how)[1]
        assert isinstance(requested, StopRequested)
        assert (requested.how, requested.reason) == (how, Reason.SUPERSEDED)
        assert (requested.turn, requested.by, requested.backlog) == (1, "m2", None)
        assert driver.waiting == ["m2"]


def test_a_queued_message_leaves_the_running_turn_alone() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Enqueue())
    assert driver.running.stop is None
    assert driver.waiting == ["m2", "m3"]


def test_a_message_that_joins_a_stop_makes_it_no_softer_and_no_longer() -> None:
    driver = running()
    driver.send("m2", Now(grace=1.0))
    before = driver.running.stop
    driver.at += 0.5
    driver.send("m3", AfterWave())
    driver.send("m4", Enqueue())
    driver.send("m5", Now(grace=60.0))
    assert driver.running.stop == before
    assert driver.waiting == ["m2", "m3", "m4", "m5"]


def test_a_message_by_now_makes_a_patient_stop_harder() -> None:
    driver = stopping()
    requested = driver.send("m3", Now(grace=2.0))[1]
    assert isinstance(requested, StopRequested)
    assert (requested.how, requested.reason, requested.by) == (
        Now(grace=2.0),
        Reason.SUPERSEDED,
        "m3",
    )
    stop = driver.running.stop
    assert stop is not None
    assert stop.fenced
    assert stop.until == driver.at + 2.0
    assert stop.by == ("m2", "m3")


def test_what_came_during_an_interruption_is_in_the_next_turn_queued_messages_too() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3")
    driver.send("m4", Enqueue())
    driver.exit()
    assert driver.in_turn == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize("status", ["idle", "running", "stopping", "closing"])
def test_a_message_that_comes_twice_is_accepted_once_in_every_state(status: str) -> None:
    driver = {"idle": opened, "running": running, "stopping": stopping, "closing": closing}[
        status
    ]()
    if status == "idle":
        driver.send("m1")
        driver.exit("done")
    state = driver.state
    assert driver.send("m1", Now()) == []
    assert driver.state is state


def test_a_message_id_is_not_used_twice_for_different_contents() -> None:
    driver = running()
    state = driver.state
    with pytest.raises(MessageIdReused, match=r"'m1'.*'acme/s1'.*choose a new id"):
        driver.send("m1", fingerprint="of something else")
    assert driver.state is state


def test_a_refused_message_has_not_used_its_id() -> None:
    driver = closing()
    with pytest.raises(SystemClosed, match="send the message again"):
        driver.send("m2")
    assert "m2" not in driver.state.remembered


def test_a_closing_session_tells_a_reused_id_from_a_new_message() -> None:
    with pytest.raises(MessageIdReused):
        closing().send("m1", fingerprint="of something else")


def test_a_failed_session_refuses_all_messages_and_says_what_to_do() -> None:
    driver = failed()
    for message_id in ("m1", "m2"):
        with pytest.raises(SessionFailed, match=r"'acme/s1' is corrupt: repair it"):
            driver.send(message_id)


# A stop is read first, but covers what was put before it.


def stopped_with_later_stamp(backlog: Backlog) -> Driver:
    """Give a session that was stopped with a stamp of 10, before older messages were handled."""
    driver = running()
    driver.stamp = 9
    driver.stop(backlog=backlog)
    return driver


@pytest.mark.parametrize("backlog", Backlog)
@pytest.mark.parametrize("policy", [AfterWave(), Now()], ids=lambda policy: policy.kind)
def test_a_message_put_before_a_stop_and_handled_after_it_is_cancelled(
    policy: Policy, backlog: Backlog
) -> None:
    driver = stopped_with_later_stamp(backlog)
    stop = driver.running.stop
    events = driver.send("m2", policy, stamp=9)
    assert classes(events) == [MessageAccepted, MessageEnded]
    assert driver.ended("m2") == "cancelled stopped"
    assert driver.waiting == []
    assert driver.running.stop == stop


def test_a_queued_message_put_before_a_stop_goes_by_its_backlog() -> None:
    kept = stopped_with_later_stamp(Backlog.KEEP)
    kept.send("m2", Enqueue(), stamp=9)
    assert kept.waiting == ["m2"]
    dropped = stopped_with_later_stamp(Backlog.DROP)
    dropped.send("m2", Enqueue(), stamp=9)
    assert dropped.ended("m2") == "dropped stopped"
    assert dropped.waiting == []


@every_policy
def test_a_message_put_after_a_stop_is_not_covered_by_it(policy: Policy) -> None:
    for backlog in Backlog:
        driver = stopped_with_later_stamp(backlog)
        driver.send("m2", policy, stamp=11)
        driver.exit()
        assert driver.turn_ends == ["1 stopped stopped"]
        assert driver.in_turn == ["m2"]


def test_a_stop_covers_the_stamps_below_its_own() -> None:
    driver = stopped_with_later_stamp(Backlog.DROP)
    driver.send("m2", stamp=10)
    assert driver.waiting == ["m2"]


def test_a_stop_of_an_idle_session_covers_what_was_put_before_it() -> None:
    driver = opened()
    driver.stamp = 9
    driver.stop()
    assert classes(driver.send("m1", stamp=9)) == [MessageAccepted, MessageEnded]
    assert driver.ended("m1") == "cancelled stopped"
    assert driver.state.status is Status.IDLE
    driver.send("m2", stamp=11)
    assert driver.in_turn == ["m2"]


def test_a_covered_message_is_cancelled_whatever_runs_when_it_is_handled() -> None:
    driver = stopped_with_later_stamp(Backlog.KEEP)
    driver.exit()
    driver.send("m2", stamp=11)
    driver.send("m3", stamp=9)
    assert driver.in_turn == ["m2"]
    assert driver.running.stop is None
    assert driver.ended("m3") == "cancelled stopped"


def test_stamps_begin_anew_with_an_incarnation() -> None:
    driver = opened()
    driver.stamp = 9
    driver.stop()
    driver.crash_and_open()
    assert driver.state.covers.stamp == 0
    driver.send("m1", stamp=1)
    assert driver.in_turn == ["m1"]
