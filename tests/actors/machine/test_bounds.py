from __future__ import annotations

import pytest

from wavebreak.actors.machine.state import Rules, Status, due
from wavebreak.messages.errors import MailboxFull
from wavebreak.messages.events import MessageAccepted, MessageEnded
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    Now,
    Policy,
    Steer,
)
from wavebreak.messages.reasons import Backlog, Overflow, Reason

from .driving import Driver, classes, opened, running

TWO = Rules(capacity=2)
DROPS = Rules(capacity=2, overflow=Overflow.DROP_OLDEST)


def full(rules: Rules = TWO) -> Driver:
    """Give a session with a turn, behind which as many messages wait as may."""
    driver = running(rules)
    driver.send("m2", Enqueue())
    driver.send("m3", Enqueue())
    return driver


@pytest.mark.parametrize(
    "policy", [AfterWave(), Now(), Steer(), Collect(), Enqueue()], ids=lambda policy: policy.kind
)
def test_a_message_for_which_there_is_no_room_is_refused_and_its_id_is_not_used_up(
    policy: Policy,
) -> None:
    driver = full()
    before = driver.state
    with pytest.raises(MailboxFull, match=r"2 messages wait in session 'acme/s1'"):
        driver.send("m4", policy)
    assert driver.state is before
    driver.exit("done")
    driver.send("m4", policy)
    assert driver.outcome("m4") is None


def test_a_message_that_is_known_is_confirmed_however_full_it_is() -> None:
    driver = full()
    assert driver.send("m3", Enqueue()) == []


def test_the_oldest_that_waits_makes_room_when_it_is_to() -> None:
    driver = full(DROPS)
    events = driver.send("m4", Enqueue(), priority=1)
    assert classes(events) == [MessageAccepted, MessageEnded]
    assert driver.ended("m2") == "dropped overflow"
    assert driver.waiting == ["m4", "m3"]
    assert driver.in_turn == ["m1"]


def test_the_messages_of_the_turn_do_not_count_nor_what_is_answered_beside_it() -> None:
    driver = running(TWO._replace(aside=True))
    driver.send("a1", Aside())
    driver.send("m2", Enqueue())
    driver.send("a2", Aside())
    with pytest.raises(MailboxFull):
        driver.send("a3", Aside())
    driver.answer_aside("a1")
    driver.send("a3", Aside())
    with pytest.raises(MailboxFull):
        driver.send("m3", Enqueue())


def test_what_comes_back_from_a_turn_is_never_dropped() -> None:
    driver = running(DROPS._replace(survives=True))
    driver.shut_down()
    driver.exit()
    assert driver.state.waiting[0].was_in_turn
    driver.crash_and_open()
    for number in range(2, 6):
        driver.send(f"m{number}", Enqueue())
    assert driver.in_turn == ["m1"]
    assert driver.waiting == ["m4", "m5"]


def came_back(driver: Driver) -> Driver:
    """Give the session with all that waits as if it came back from a turn."""
    waiting = tuple(each._replace(was_in_turn=True) for each in driver.state.waiting)
    driver.state = driver.state._replace(waiting=waiting)
    return driver


def test_what_comes_back_does_not_count_and_no_priority_is_before_it() -> None:
    for rules in (TWO, DROPS):
        driver = came_back(full(rules))
        driver.send("m4", Enqueue())
        driver.send("m5", Enqueue(), priority=9)
        assert driver.waiting == ["m2", "m3", "m5", "m4"]


def test_what_is_parked_counts() -> None:
    driver = full(DROPS)
    driver.stop(backlog=Backlog.PARK)
    driver.exit()
    driver.send("m4")
    driver.send("m5", Enqueue())
    assert driver.ended("m2") == "dropped overflow"
    assert (driver.parked, driver.waiting) == (["m3"], ["m5"])


def test_an_endless_stream_that_drops_the_oldest_does_not_keep_a_window_open() -> None:
    driver = opened(DROPS._replace(capacity=1, debounce=None))
    driver.rules = driver.rules._replace(debounce=Debounce(2.0, 10.0))
    number = 0
    while driver.state.running is None:
        number += 1
        driver.send(f"m{number}")
        driver.pass_time(1.0)
    assert number == 10
    assert driver.in_turn == ["m10"]
    assert {driver.ended(f"m{n}") for n in range(1, 10)} == {"dropped overflow"}


# How long.

EXPIRES = Rules(expires_after=5.0)


def test_a_message_that_waits_for_too_long_ends_as_expired() -> None:
    driver = running(EXPIRES)
    driver.send("m2", Enqueue())
    driver.at += 1.0
    driver.send("m3", Enqueue(), priority=1)
    assert due(driver.state) == driver.at + 4.0
    driver.pass_time_until_due()
    assert driver.ended("m2") == "expired expired"
    assert driver.waiting == ["m3"]
    assert due(driver.state) == driver.at + 1.0
    driver.pass_time_until_due()
    assert driver.ended("m3") == "expired expired"
    assert due(driver.state) is None


def test_a_message_of_a_turn_does_not_expire_also_when_it_comes_back() -> None:
    driver = running(EXPIRES)
    driver.send("m2")
    driver.exit()
    driver.send("m3", AfterWave(patience=60.0))
    driver.at += 5.0
    driver.pass_time(0.0)
    assert driver.ended("m3") == "expired expired", "it never was in a turn"
    driver.exit()
    assert driver.in_turn == ["m1", "m2"]
    driver.pass_time(100.0)
    assert driver.in_turn == ["m1", "m2"]


def test_what_expired_while_nobody_was_there_is_not_begun_after_a_restart() -> None:
    driver = running(EXPIRES._replace(survives=True))
    driver.send("m2", Enqueue())
    driver.shut_down()
    driver.exit()
    driver.at += 100.0
    driver.crash_and_open()
    assert driver.ended("m2") == "expired expired"
    assert driver.in_turn == ["m1"]


def test_what_waited_for_its_turn_and_was_in_it_does_not_expire_when_the_system_closes() -> None:
    driver = running(EXPIRES._replace(survives=True))
    driver.send("m2", Enqueue())
    driver.exit("done")
    driver.send("m3", Enqueue())
    driver.shut_down()
    driver.exit()
    driver.at += 100.0
    driver.crash_and_open()
    assert driver.in_turn == ["m2"]
    assert driver.ended("m3") == "expired expired"


def test_what_is_parked_does_not_expire_also_when_it_is_resumed() -> None:
    driver = running(EXPIRES)
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.exit()
    driver.pass_time(100.0)
    driver.send("m3")
    driver.resume()
    driver.pass_time(100.0)
    assert driver.waiting == ["m2"]


def test_a_message_expires_in_a_window_which_is_closed_by_that() -> None:
    driver = opened(EXPIRES._replace(debounce=Debounce(9.0, 90.0)))
    driver.send("m1")
    driver.pass_time_until_due()
    assert driver.ended("m1") == "expired expired"
    assert driver.state.status is Status.IDLE


def test_a_message_expires_while_a_turn_is_stopping() -> None:
    driver = running(EXPIRES)
    driver.stop()
    driver.send("m3")
    driver.pass_time(5.0)
    assert driver.ended("m3") == "expired expired"
    assert driver.state.status is Status.STOPPING


def test_a_turn_times_out_by_the_systems_deadline_or_by_its_messages_whichever_is_first() -> None:
    driver = opened(Rules(turn_deadline=10.0))
    driver.send("m1", deadline=60.0)
    assert due(driver.state) == driver.at + 10.0
    driver.pass_time_until_due()
    driver.exit()
    assert driver.turn_ends == [f"1 timed_out {Reason.DEADLINE}"]
    assert driver.ended("m1") == "failed deadline"
    driver.send("m2", deadline=3.0)
    assert due(driver.state) == driver.at + 3.0
    driver.crash()
    assert due(driver.state) == driver.at + 3.0, "another attempt has no more time"
