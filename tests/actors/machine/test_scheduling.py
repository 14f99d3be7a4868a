"""Messages that are accepted now, and enter the session at their time."""

from __future__ import annotations

from typing import get_args

import pytest

from wavebreak.actors.machine.scheduling import due_with_scheduled, next_due
from wavebreak.actors.machine.state import Rules, Status
from wavebreak.actors.machine.view import view_of
from wavebreak.messages.errors import InvalidMessage, MailboxFull, MessageIdReused
from wavebreak.messages.events import Event, MessageAccepted, MessageDue, MessageEnded
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Enqueue,
    Now,
    Policy,
    Reject,
    Steer,
)
from wavebreak.messages.reasons import Backlog, Overflow

from .driving import COLLECTS, LASTING, START, Driver, classes, opened, running
from .test_table import session_in

LIVE = [Status.IDLE, Status.COLLECTING, Status.RUNNING, Status.STOPPING]


def due_now(driver: Driver, message_id: str = "later", policy: Policy = AfterWave()) -> list[Event]:  # noqa: B008
    """Schedule a message for this moment, and let it in."""
    driver.schedule(message_id, 0.0)
    return driver.let_in(message_id, policy)


def test_a_scheduled_message_is_accepted_and_does_nothing_until_it_is_due() -> None:
    driver = opened()
    assert classes(driver.schedule("later", 60.0)) == [MessageAccepted]
    assert driver.state.status is Status.IDLE
    assert driver.scheduled == ["later"]
    assert due_with_scheduled(driver.state, None) == START + 60.0
    driver.send("m1")
    assert driver.in_turn == ["m1"]
    assert driver.waiting == []
    assert driver.exit("done")
    assert driver.outcome("later") is None
    assert driver.state.status is Status.IDLE


def test_what_is_due_first_is_first_and_of_two_at_once_the_one_that_was_accepted_first() -> None:
    driver = opened()
    for message_id, after in (("c", 30.0), ("a", 10.0), ("d", 30.0), ("b", 20.0)):
        driver.schedule(message_id, after)
    assert driver.scheduled == ["a", "b", "c", "d"]
    first = next_due(driver.state)
    assert first is not None
    assert first.message.message_id == "a"
    assert due_with_scheduled(driver.state, START + 5.0) == START + 5.0


@pytest.mark.parametrize(
    ("policy", "status"),
    # With `Reject` there would be somebody to be refused; see below.
    [(p, s) for p in get_args(Policy) for s in LIVE if p is not Reject or s in LIVE[:2]],
    ids=str,
)
def test_what_is_due_does_what_a_message_that_is_sent_then_does(
    policy: type[Policy], status: Status
) -> None:
    sent, due = session_in(status), session_in(status)
    told = sent.send("new", policy(), stamp=1_000)
    happened = due_now(due, "new", policy())
    assert classes(told)[0] is MessageAccepted
    assert classes(happened) == [MessageDue, *classes(told)[1:]]
    assert due.state.status is sent.state.status
    assert due.waiting == sent.waiting
    assert due.asides == sent.asides
    assert due.scheduled == []
    if sent.state.running is not None:
        assert due.in_turn == sent.in_turn


@pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPING], ids=str)
def test_one_that_would_be_rejected_is_dropped_since_it_was_accepted_long_ago(
    status: Status,
) -> None:
    driver = session_in(status)
    assert classes(due_now(driver, policy=Reject())) == [MessageEnded]
    assert driver.ended("later") == "dropped rejected"


def test_a_closing_session_leaves_it_to_the_next_start() -> None:
    driver = running(LASTING)
    driver.schedule("later", 1.0)
    driver.shut_down()
    assert driver.state.status is Status.CLOSING
    assert next_due(driver.state) is None
    assert due_with_scheduled(driver.state, None) is None
    assert driver.let_in("later") == []
    driver.exit()
    driver.crash_and_open()
    assert driver.scheduled == ["later"]
    assert driver.let_in("later")


def test_with_the_journal_in_memory_it_ends_with_the_session() -> None:
    idle, busy, collects = opened(), running(), opened(COLLECTS)
    collects.send("m1")
    for driver in (idle, busy, collects):
        driver.schedule("later")
        driver.shut_down()
    busy.exit()
    for driver in (idle, busy, collects):
        assert driver.ended("later") == "cancelled shutdown"
        assert driver.scheduled == []


def test_the_same_message_again_is_known_and_keeps_its_time() -> None:
    driver = opened()
    driver.schedule("later", 60.0)
    assert driver.schedule("later", 5.0) == []
    assert driver.send("later") == [], "whether it is sent or scheduled"
    assert [one.due_at for one in driver.state.scheduled] == [START + 60.0]
    with pytest.raises(MessageIdReused):
        driver.schedule("later", fingerprint="another")
    driver.let_in("later")
    assert driver.schedule("later") == [], "after it was due, too"
    assert driver.let_in("later") == []


def test_it_is_withdrawn_and_then_is_not_due() -> None:
    driver = opened()
    driver.schedule("later")
    (ended,) = driver.withdraw("later")
    assert isinstance(ended, MessageEnded)
    assert ended.scheduled == 2, "where it was accepted"
    assert driver.ended("later") == "cancelled withdrawn"
    assert driver.scheduled == []
    assert driver.let_in("later") == []


def test_it_is_edited_until_it_is_due() -> None:
    driver = opened()
    driver.schedule("later")
    driver.schedule("other")
    assert driver.edit("later", "other words")
    assert [one.message.as_text() for one in driver.state.scheduled] == [
        "other words",
        "text of other",
    ]
    with pytest.raises(InvalidMessage):
        driver.edit("later", " ")
    driver.let_in("later")
    assert driver.running.messages[0].message.as_text() == "other words"
    assert driver.edit("later", "too late") == []


@pytest.mark.parametrize("backlog", Backlog)
def test_a_stop_does_not_touch_what_is_scheduled(backlog: Backlog) -> None:
    for driver in (opened(), running()):
        driver.schedule("later")
        driver.stop(backlog=backlog)
        assert driver.scheduled == ["later"]
        if driver.state.running is not None:
            driver.exit()
        assert driver.let_in("later"), "nor is it covered by one"
        assert driver.in_turn == ["later"]


def test_the_stop_of_an_idle_session_is_not_used_up_by_what_is_withdrawn() -> None:
    driver = opened()
    driver.schedule("later")
    driver.stop()
    driver.withdraw("later")
    assert driver.state.covers.idle


def test_deadline_and_expiry_count_from_when_it_is_due() -> None:
    driver = running(Rules(expires_after=10.0))
    driver.schedule("later", 60.0, deadline=5.0)
    driver.at += 63.0  # the timer was late
    driver.let_in("later", Enqueue())
    (waiting,) = driver.state.waiting
    assert waiting.deadline_at == START + 65.0
    assert waiting.expires_at == START + 70.0
    assert waiting.message.received_at == START + 63.0


def test_one_that_was_due_for_too_long_has_expired() -> None:
    driver = opened(Rules(expires_after=10.0, survives=True))
    driver.schedule("later", 60.0)
    driver.at += 71.0  # the process was down
    assert classes(driver.let_in("later")) == [MessageEnded]
    assert driver.ended("later") == "expired expired"
    assert driver.scheduled == []
    assert driver.state.status is Status.IDLE


def test_as_many_may_be_scheduled_as_may_wait_and_neither_counts_for_the_other() -> None:
    driver = running(Rules(capacity=2))
    for message_id in ("a", "b"):
        driver.schedule(message_id)
        driver.send(f"{message_id} waits", Enqueue())
    with pytest.raises(MailboxFull, match="2 messages are scheduled"):
        driver.schedule("c")
    with pytest.raises(MailboxFull):
        driver.send("c waits", Enqueue())
    assert driver.let_in("a", Enqueue())
    assert driver.waiting == ["a waits", "b waits", "a"], "it was accepted: there is room"
    driver.schedule("c")


def test_what_is_due_takes_the_place_of_the_oldest_if_that_is_the_rule() -> None:
    driver = running(Rules(capacity=2, overflow=Overflow.DROP_OLDEST))
    driver.schedule("later")
    for message_id in ("a", "b"):
        driver.send(message_id, Enqueue())
    driver.let_in("later", Enqueue())
    assert driver.waiting == ["b", "later"]
    assert driver.ended("a") == "dropped overflow"


def test_it_waits_in_the_order_in_which_it_was_due_and_by_its_priority() -> None:
    driver = running()
    driver.schedule("later")
    driver.schedule("urgent", priority=1)
    driver.send("m2", Enqueue())
    driver.let_in("later", Enqueue())
    driver.let_in("urgent", Enqueue())
    assert driver.waiting == ["urgent", "m2", "later"]
    driver.send("m3", AfterWave())
    driver.exit()
    assert driver.in_turn == ["m1", "m2", "later", "urgent", "m3"]


def test_with_a_quiet_window_it_is_part_of_a_burst() -> None:
    driver = opened(COLLECTS)
    driver.send("m1")
    due_now(driver, "later", Collect())
    assert driver.state.status is Status.COLLECTING
    driver.pass_time_until_due()
    assert driver.in_turn == ["m1", "later"]


def test_a_turn_takes_one_that_it_is_offered() -> None:
    driver = running()
    due_now(driver, "later", Steer())
    driver.take()
    assert driver.in_turn == ["m1", "later"]


def test_one_beside_the_turn_is_answered_there() -> None:
    driver = running(Rules(aside=True))
    due_now(driver, "later", Aside())
    assert driver.asides == ["later"]
    driver.answer_aside("later")
    assert driver.ended("later") == "answered"


def test_it_survives_a_crash_with_its_time_and_its_policy() -> None:
    driver = opened(LASTING)
    driver.schedule("chosen then", 60.0)
    driver.schedule("now", 70.0, Now(grace=1.0), deadline=9.0, priority=2)
    before = driver.state.scheduled
    assert [one.policy for one in before] == [None, Now(grace=1.0)]
    driver.crash_and_open()
    assert driver.state.scheduled == before
    assert driver.state.status is Status.IDLE


def test_it_can_be_seen() -> None:
    driver = opened()
    driver.schedule("later", 60.0)
    (seen,) = view_of(driver.state).scheduled
    assert (seen.message.message_id, seen.due_at) == ("later", START + 60.0)
    driver.let_in("later")
    assert view_of(driver.state).scheduled == ()


def test_there_is_no_due_message_without_one_that_is_scheduled() -> None:
    driver = opened()
    assert next_due(driver.state) is None
    driver.send("m1")
    assert driver.let_in("m1") == [], "it is in its turn"
