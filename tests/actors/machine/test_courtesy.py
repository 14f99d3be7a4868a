from __future__ import annotations

from collections.abc import Callable

import pytest

from wavebreak.actors.machine.history import WHY
from wavebreak.actors.machine.state import Rules
from wavebreak.messages.commands import Courtesy
from wavebreak.messages.events import CourtesySaid, Event
from wavebreak.messages.policies import Enqueue, Now
from wavebreak.messages.reasons import CourtesyKind, DeliveryKind, Reason

from .driving import Driver, running

COURTEOUS = Rules(courteous=True)
PATIENT = COURTEOUS._replace(notify_after=10.0, notify_times=2)


def courteous(rules: Rules = COURTEOUS) -> Driver:
    """Give a session whose turn 1 works on message m1, and that says what it is asked for."""
    driver = running(rules)
    driver.courtesy = lambda kind, turn: f"{kind} {turn}"
    return driver


def said(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, CourtesySaid)]


def test_an_interruption_is_answered_once_however_many_messages_follow() -> None:
    driver = courteous()
    assert said(driver.send("m2")) == ["interrupted 1"]
    assert said(driver.send("m3")) == []
    assert said(driver.send("m4", Now())) == []
    assert said(driver.exit()) == []
    assert said(driver.send("m5")) == ["interrupted 2"], "another turn, another interruption"
    assert said(driver.exit("done")) == []


def test_where_the_program_has_no_words_an_interruption_does_not_ask_for_any() -> None:
    driver = courteous(COURTEOUS._replace(own_words=False))
    assert said(driver.send("m2")) == []
    assert driver.wishes == []


def test_what_interrupts_nothing_is_not_answered() -> None:
    driver = courteous()
    assert said(driver.send("m2", Enqueue())) == []
    driver.exit("done")
    assert driver.wishes == []


ENDS: list[tuple[Callable[[Driver], list[Event]], str]] = [
    (lambda d: [*d.stop(), *d.exit()], "cancelled 1"),
    (lambda d: [*d.cancel_token(), *d.exit()], "cancelled 1"),
    (lambda d: d.exit(cause="ValueError"), "failed 1"),
    (lambda d: d.crash(retry_after=None), "failed 1"),
    (lambda d: [*d.pass_time(60.0), *d.exit()], "timed_out 1"),
    (lambda d: [*d.shut_down(), *d.exit()], "cancelled 1"),
]


@pytest.mark.parametrize(("end", "words"), ENDS)
def test_a_turn_that_ends_without_a_reply_is_answered_in_the_same_commit(
    end: Callable[[Driver], list[Event]], words: str
) -> None:
    driver = Driver(COURTEOUS)
    driver.open()
    driver.send("m1", deadline=60.0)
    driver.courtesy = lambda kind, turn: f"{kind} {turn}"
    assert said(end(driver)) == [words]
    (delivery,) = driver.state.outbox
    assert delivery.kind is DeliveryKind.COURTESY
    assert (delivery.turn, delivery.reply.text) == (1, words)
    assert (delivery.tenant, delivery.session_id) == driver.state.key
    assert delivery.answers == ()
    assert driver.read()[-1].text == words


def test_a_turn_that_lives_on_after_a_shutdown_is_not_answered() -> None:
    driver = courteous(COURTEOUS._replace(survives=True))
    driver.shut_down()
    driver.exit()
    assert driver.wishes == []


def test_a_turn_that_fails_at_a_recovery_is_answered() -> None:
    driver = courteous(COURTEOUS._replace(max_attempts=1))
    assert said(driver.crash_and_open()) == ["failed 1"]


def test_the_session_says_nothing_when_nobody_delivers_and_no_words_were_given() -> None:
    driver = running()
    driver.courtesy = lambda kind, turn: "words"
    driver.stop()
    driver.exit()
    assert driver.wishes == []


def test_no_words_are_no_event() -> None:
    driver = running(COURTEOUS)
    driver.stop()
    driver.exit()
    assert driver.wishes == [(CourtesyKind.CANCELLED, 1)]
    assert said(driver.events) == []
    assert driver.state.outbox == ()


def test_a_turn_that_takes_long_is_told_so_and_at_most_so_often() -> None:
    driver = courteous(PATIENT)
    assert said(driver.pass_time(9.0)) == []
    assert said(driver.pass_time_until_due()) == ["still_working 1"]
    assert driver.at == 1010.0
    driver.crash()
    assert said(driver.pass_time_until_due()) == ["still_working 1"], "a new attempt is no new turn"
    assert driver.at == 1020.0
    with pytest.raises(AssertionError, match="nothing is waited for"):
        driver.pass_time_until_due()
    driver.exit("done")
    assert [entry.text for entry in driver.read()][1:] == ["still_working 1"] * 2 + ["done"]


def test_a_notice_without_words_is_counted_so_that_it_is_not_asked_for_at_once_again() -> None:
    driver = courteous(PATIENT)
    driver.courtesy = lambda kind, turn: ""
    driver.pass_time_until_due()
    driver.pass_time_until_due()
    assert driver.at == 1020.0
    assert driver.state.outbox == ()
    assert driver.wishes == [(CourtesyKind.STILL_WORKING, 1)] * 2


def test_a_turn_that_was_told_to_stop_is_not_told_to_go_on() -> None:
    driver = courteous(PATIENT)
    driver.stop()
    driver.pass_time(15.0)
    late = Courtesy(driver.at, CourtesyKind.STILL_WORKING, 1, "still here")
    assert driver.decide(late) == []
    driver.exit()
    driver.send("m2")
    assert driver.decide(late) == [], "nor after its end"


def test_a_recovered_session_has_said_what_it_said() -> None:
    driver = courteous(PATIENT._replace(survives=True))
    driver.pass_time_until_due()
    (delivery,) = driver.state.outbox
    driver.crash_and_open()
    assert driver.state.outbox == (delivery,)
    assert driver.running.words.notices == 1


OF_NO_TURN = {
    Reason.EXPIRED,
    Reason.OVERFLOW,
    Reason.REJECTED,
    Reason.WITHDRAWN,
    Reason.DELETED,
}
"""Why messages end that are in no turn; and of a session that is deleted there is no history."""


def test_every_reason_of_a_turns_end_has_words() -> None:
    assert set(WHY) == set(Reason) - OF_NO_TURN
