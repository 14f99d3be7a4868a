from __future__ import annotations

import pytest

from wavebreak.actors.machine.state import Rules, Status, due
from wavebreak.messages.errors import InvalidMessage, MessageRejected, SessionFailed, SystemClosed
from wavebreak.messages.events import MessagesTaken, TurnEnded
from wavebreak.messages.message import SessionMessage
from wavebreak.messages.policies import AfterWave, Aside, Collect, Enqueue, Now, Reject, Steer
from wavebreak.messages.reasons import Backlog, DeliveryKind

from .driving import LASTING, Driver, closing, opened, running, stopping

ASIDE = Rules(aside=True)

# Steer: what is offered, and taken.


def test_a_turn_takes_what_it_is_offered_and_answers_that_too() -> None:
    driver = running()
    driver.send("m2", Steer())
    assert driver.state.status is Status.RUNNING
    (taken,) = driver.take()
    assert isinstance(taken, MessagesTaken)
    assert taken.message_ids == ("m2",)
    assert driver.in_turn == ["m1", "m2"]
    driver.exit("done")
    assert driver.ended("m1") == driver.ended("m2") == "answered"
    assert driver.state.outbox[-1].answers == ("m1", "m2")
    assert [entry.text for entry in driver.history][:2] == ["text of m1", "text of m2"]


def test_a_turn_is_offered_nothing_but_what_was_meant_for_it() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Collect())
    assert driver.take() == []
    assert driver.take(fence=driver.fence._replace(attempt=7)) == []


def test_what_is_not_taken_goes_to_the_front_as_one_turn() -> None:
    driver = running()
    driver.send("m2", Enqueue(), priority=9)
    driver.send("m3", Steer())
    driver.send("m4", Steer())
    driver.exit("done")
    assert driver.in_turn == ["m3", "m4"]
    driver.exit("done")
    assert driver.in_turn == ["m2"]


def test_what_was_taken_is_the_turns_own_whatever_becomes_of_it() -> None:
    crashed = running()
    crashed.send("m2", Steer())
    crashed.take()
    crashed.crash()
    assert crashed.in_turn == ["m1", "m2"], "the next attempt has it among its messages"
    crashed.crash_and_open()
    assert crashed.in_turn == ["m1", "m2"]
    crashed.send("m3", AfterWave())
    crashed.exit()
    assert crashed.in_turn == ["m1", "m2", "m3"]
    crashed.exit(cause="ValueError")
    assert crashed.ended("m2") == "failed error"


def test_a_crash_between_the_offer_and_its_taking_leaves_it_on_offer() -> None:
    driver = running()
    driver.send("m2", Steer())
    driver.crash()
    assert driver.in_turn == ["m1"]
    driver.take()
    assert driver.in_turn == ["m1", "m2"]


def test_a_turn_that_is_told_to_stop_takes_nothing_more() -> None:
    driver = running()
    driver.send("m2", Steer())
    driver.send("m3", AfterWave())
    assert driver.take() == []
    driver.exit()
    assert driver.in_turn == ["m1", "m2", "m3"]


def test_the_deadline_of_a_turn_is_that_of_its_newest_message_also_if_it_was_taken() -> None:
    driver = opened(Rules(turn_deadline=50.0))
    driver.send("m1", deadline=30.0)
    driver.send("m2", Steer(), deadline=40.0)
    driver.take()
    assert due(driver.state) == driver.at + 40.0
    driver.send("m3", Steer())
    driver.take()
    assert due(driver.state) == driver.at + 50.0


# Collect, Reject and the order of what waits.


def test_all_that_was_collected_behind_a_turn_becomes_one() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Collect())
    driver.send("m4", Enqueue())
    driver.send("m5", Collect())
    turns: list[list[str]] = []
    while driver.state.running is not None:
        turns.append(driver.in_turn)
        driver.exit("done")
    assert turns == [["m1"], ["m2"], ["m3", "m5"], ["m4"]]


def test_a_message_that_will_not_wait_is_refused_and_its_id_is_not_used_up() -> None:
    for driver in (running(), stopping()):
        with pytest.raises(MessageRejected, match=r"'acme/s1' works on a turn"):
            driver.send("new", Reject())
        assert "new" not in driver.state.remembered
        assert driver.send("m1", Reject()) == [], "what is known is confirmed"


def test_priority_orders_what_waits_and_nothing_else() -> None:
    driver = running()
    for message_id, priority in (("m2", 0), ("m3", 5), ("m4", 0), ("m5", 5), ("m6", -1)):
        driver.send(message_id, Enqueue(), priority=priority)
    assert driver.waiting == ["m3", "m5", "m2", "m4", "m6"]
    driver.send("m7", AfterWave())
    driver.exit()
    assert driver.in_turn == ["m1", "m2", "m3", "m4", "m5", "m6", "m7"], "merged by admission"


def test_what_comes_back_from_the_turn_goes_before_any_priority() -> None:
    driver = running(LASTING)
    driver.send("m2", Enqueue(), priority=9)
    driver.shut_down()
    driver.exit()
    driver.crash_and_open()
    assert driver.in_turn == ["m1"]
    assert driver.waiting == ["m2"]


# Park and resume.


def test_a_stop_parks_what_waits_until_it_is_resumed() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Collect())
    driver.stop(backlog=Backlog.PARK)
    driver.send("m4", Enqueue())
    driver.exit()
    assert driver.ended("m1") == "cancelled stopped"
    assert driver.in_turn == ["m4"], "it was sent after the stop"
    assert driver.parked == ["m2", "m3"]
    driver.send("m5", Now())
    driver.exit()
    assert driver.in_turn == ["m4", "m5"], "an interruption leaves them parked"
    driver.crash_and_open()
    assert driver.parked == ["m2", "m3"]
    driver.exit("done")
    assert driver.state.status is Status.IDLE
    driver.resume()
    assert (driver.in_turn, driver.waiting) == (["m2"], ["m3"])


def test_what_interrupted_the_turn_is_cancelled_with_it_and_not_parked() -> None:
    driver = stopping()
    driver.send("m3", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.exit()
    assert driver.ended("m1") == driver.ended("m2") == "cancelled stopped"
    assert driver.parked == ["m3"]


def test_what_is_resumed_waits_before_what_was_sent_later() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.exit()
    driver.send("m3")
    driver.send("m4", Enqueue())
    driver.resume()
    assert driver.waiting == ["m2", "m4"]


def test_what_was_parked_for_the_turn_is_offered_to_the_one_that_runs_when_it_is_resumed() -> None:
    driver = running()
    driver.send("m2", Steer())
    driver.stop(backlog=Backlog.PARK)
    driver.exit()
    driver.send("m3")
    driver.resume()
    driver.take()
    assert driver.in_turn == ["m2", "m3"]


def test_a_stop_that_drops_drops_what_is_parked_too() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.stop(backlog=Backlog.DROP)
    assert driver.ended("m2") == "dropped stopped"


def test_to_resume_what_was_not_parked_does_nothing() -> None:
    assert running().resume() == []
    with pytest.raises(SystemClosed, match="closing"):
        closing().resume()


# What a stop covers.


def test_a_stop_of_an_idle_session_cancels_what_would_have_been_the_turn() -> None:
    driver = opened()
    driver.stamp = 9
    driver.stop()
    driver.send("m1", Enqueue(), stamp=5)
    driver.send("m2", Enqueue(), stamp=6)
    assert driver.ended("m1") == "cancelled stopped"
    assert driver.in_turn == ["m2"], "the rest goes by the backlog"


def test_a_stop_that_keeps_softens_none_that_dropped_before() -> None:
    driver = running()
    driver.stamp = 9
    driver.stop(backlog=Backlog.DROP)
    driver.stamp = 19
    driver.stop(backlog=Backlog.PARK)
    driver.stop(backlog=Backlog.KEEP)
    driver.send("m2", Enqueue(), stamp=9)
    driver.send("m3", Enqueue(), stamp=15)
    driver.send("m4", Enqueue(), stamp=20)
    assert driver.ended("m2") == "dropped stopped"
    assert driver.parked == ["m3"]
    assert driver.waiting == ["m4"]


def test_a_covered_message_that_would_have_been_refused_is() -> None:
    driver = running()
    driver.stamp = 9
    driver.stop()
    driver.exit()
    with pytest.raises(MessageRejected):
        driver.send("m2", Reject(), stamp=5)


def test_a_stop_covers_what_is_in_the_mailbox_for_the_next_incarnation_that_reads_it() -> None:
    driver = running()
    driver.stamp = 9
    driver.stop(backlog=Backlog.DROP)
    driver.crash_and_open(above=driver.state.epoch)
    driver.send("m2", Enqueue(), stamp=5)
    assert driver.ended("m2") == "dropped stopped"
    driver.crash_and_open()
    driver.send("m3", Enqueue(), stamp=6)
    assert driver.in_turn == ["m3"], "a new process counts its stamps anew"


# Withdraw and edit.


def test_a_message_that_waits_is_taken_back() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.withdraw("m2")
    assert driver.ended("m2") == "cancelled withdrawn"
    assert driver.withdraw("m2") == []
    assert driver.withdraw("m1") == [], "it is in the turn"
    assert driver.withdraw("m9") == []


def test_a_message_that_interrupted_and_is_taken_back_leaves_the_interruption() -> None:
    driver = stopping()
    driver.withdraw("m2")
    driver.exit()
    assert driver.in_turn == ["m1"]


def test_a_message_that_was_parked_or_waits_aside_is_taken_back_too() -> None:
    driver = running(ASIDE)
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.send("a1", Aside())
    driver.withdraw("m2")
    driver.withdraw("a1")
    assert driver.parked == driver.asides == []


def test_the_words_of_a_message_that_no_turn_has_seen_may_be_replaced() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.edit("m2", "other words")
    assert driver.edit("m1", "too late") == []
    driver.exit("done")
    assert driver.running.messages[0].message.as_text() == "other words"
    assert driver.send("m2", Enqueue()) == [], "the same message again is a repetition"


def test_the_words_of_a_message_that_comes_back_from_a_turn_stay() -> None:
    driver = running(LASTING)
    driver.shut_down()
    driver.exit()
    assert driver.waiting == ["m1"]
    assert driver.edit("m1", "too late") == []


def test_a_message_without_a_text_is_not_edited() -> None:
    driver = running()
    bare = SessionMessage(message_id="m2", received_at=driver.at)
    driver.decide(driver.message("m2", Enqueue())._replace(message=bare))
    with pytest.raises(InvalidMessage, match="withdraw it"):
        driver.edit("m2", "words")


# Aside.


def test_a_message_is_answered_beside_the_turn_which_does_not_notice() -> None:
    driver = running(ASIDE)
    before = driver.running
    driver.send("a1", Aside())
    driver.send("a2", Aside())
    assert driver.running is before
    driver.answer_aside("a1", "still here")
    outcome = driver.outcome("a1")
    assert outcome is not None
    assert outcome.reply is not None
    assert (outcome.reply.text, outcome.turn) == ("still here", None)
    (delivery,) = driver.state.outbox
    assert (delivery.kind, delivery.answers) == (DeliveryKind.ASIDE, ("a1",))
    assert driver.asides == ["a2"]
    driver.exit("done")
    driver.answer_aside("a2", error="ValueError: no")
    assert driver.ended("a2") == "failed error"
    outcome = driver.outcome("a2")
    assert outcome is not None
    assert outcome.error == "ValueError: no"


def test_an_answer_to_a_message_that_has_ended_is_none() -> None:
    driver = running(ASIDE)
    driver.send("a1", Aside())
    driver.withdraw("a1")
    assert driver.answer_aside("a1") == []


def test_what_is_answered_aside_is_still_to_be_answered_after_a_crash() -> None:
    driver = running(ASIDE)
    driver.send("a1", Aside())
    driver.crash_and_open()
    assert driver.asides == ["a1"]
    driver.rules = Rules()
    driver.crash_and_open()
    assert driver.asides == []
    assert driver.waiting == ["a1"], "there is no handler any more: it waits for a turn"


def test_without_a_handler_it_is_a_message_like_a_queued_one() -> None:
    driver = opened()
    driver.send("a1", Aside())
    assert driver.in_turn == ["a1"]
    driver.send("a2", Aside())
    assert driver.waiting == ["a2"]
    driver.exit("done")
    assert driver.in_turn == ["a2"]


def test_a_stop_is_none_of_its_business() -> None:
    driver = running(ASIDE)
    driver.send("a1", Aside())
    driver.stop(backlog=Backlog.DROP)
    driver.exit()
    assert driver.asides == ["a1"]


def test_a_shutdown_with_a_memory_journal_ends_what_waits_anywhere() -> None:
    driver = running(ASIDE)
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.PARK)
    driver.send("a1", Aside())
    driver.exit()
    driver.shut_down()
    assert driver.ended("m2") == driver.ended("a1") == "cancelled shutdown"


def test_a_session_that_has_failed_refuses_what_it_could_not_record() -> None:
    driver = running()
    driver.state = driver.state._replace(status=Status.FAILED)
    asked = (
        driver.stop,
        driver.resume,
        lambda: driver.withdraw("m1"),
        lambda: driver.edit("m1", ""),
    )
    for ask in asked:
        with pytest.raises(SessionFailed):
            ask()


def test_nothing_is_accepted_in_silence_before_an_incarnation_has_taken_over() -> None:
    with pytest.raises(SessionFailed, match="being recovered"):
        Driver().send("m1")


def test_a_turn_that_was_taken_from_ends_once() -> None:
    driver = running()
    driver.send("m2", Steer())
    driver.take()
    driver.stop()
    driver.exit()
    assert [type(event) for event in driver.events].count(TurnEnded) == 1
    assert driver.ended("m1") == driver.ended("m2") == "cancelled stopped"
