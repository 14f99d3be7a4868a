from __future__ import annotations

from wavebreak.actors.machine.state import Rules, Status, due
from wavebreak.messages.events import MessageEnded, StopRequested, TurnEnded, TurnStarted
from wavebreak.messages.policies import AfterWave, Enqueue, Now, Way
from wavebreak.messages.reasons import Backlog, CallStatus, Effect, Reason

from .driving import LASTING, Driver, Move, call, classes, closing, done, opened, running, stopping

# Stop.


def test_a_stop_cancels_the_messages_of_the_turn_and_keeps_what_waits() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    (requested,) = driver.stop(AfterWave(patience=3.0), detail="the user pressed stop")
    assert isinstance(requested, StopRequested)
    assert (requested.backlog, requested.covers) == (Backlog.KEEP, driver.stamp)
    assert (requested.how, requested.reason) == (AfterWave(patience=3.0), Reason.STOPPED)
    assert requested.detail == "the user pressed stop"
    assert driver.ended("m1") == ""
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.ended("m1") == "cancelled stopped"
    outcome = driver.outcome("m1")
    assert outcome is not None
    assert outcome.turn == 1
    assert driver.in_turn == ["m2"]


def test_a_stop_drops_what_waits_when_it_is_told_to() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Enqueue())
    driver.stop(backlog=Backlog.DROP)
    driver.exit()
    assert driver.ended("m1") == "cancelled stopped"
    assert driver.ended("m2") == driver.ended("m3") == "dropped stopped"
    assert driver.state.status is Status.IDLE


def test_a_stop_drops_nothing_that_was_sent_after_it() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.DROP)
    driver.send("m3", Enqueue())
    driver.exit()
    assert driver.ended("m2") == "dropped stopped"
    assert driver.in_turn == ["m3"]


def test_the_words_of_the_last_who_asked_count() -> None:
    driver = running()
    driver.cancel_token("enough")
    for detail, words in (("", "enough"), ("really enough", "really enough")):
        driver.stop(detail=detail)
        stop = driver.running.stop
        assert stop is not None
        assert stop.detail == words
        assert stop.by == ()


def test_a_stop_keeps_its_own_reason() -> None:
    driver = running()
    driver.stop(reason=Reason.DISCONNECT)
    driver.exit()
    assert driver.turn_ends == ["1 stopped disconnect"]
    assert driver.ended("m1") == "cancelled disconnect"


def test_a_stop_of_an_idle_session_leaves_it_idle() -> None:
    driver = opened()
    (requested,) = driver.stop(backlog=Backlog.DROP)
    assert isinstance(requested, StopRequested)
    assert requested.turn is None
    assert driver.state.status is Status.IDLE
    assert due(driver.state) is None
    driver.send("m1")
    assert driver.in_turn == ["m1"]


def test_a_stop_while_stopping_cancels_the_messages_that_interrupted_too() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3")
    driver.send("m4")
    driver.stop()
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.ended("m1") == driver.ended("m3") == "cancelled stopped"
    assert driver.outcome("m2") is None
    assert driver.outcome("m4") is None
    assert driver.in_turn == ["m2", "m4"]


def test_a_stop_while_stopping_drops_the_rest_of_what_waits() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Now())
    driver.stop(backlog=Backlog.DROP)
    driver.exit()
    assert driver.ended("m3") == "cancelled stopped"
    assert driver.ended("m2") == "dropped stopped"
    assert driver.state.status is Status.IDLE


def test_a_message_that_hardens_a_stop_is_not_cancelled_by_it() -> None:
    driver = running()
    driver.stop()
    driver.send("m2", Now())
    stop = driver.running.stop
    assert stop is not None
    assert stop.fenced
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.in_turn == ["m2"]


def test_a_stop_is_still_one_when_it_was_a_deadline_before() -> None:
    driver = opened()
    driver.send("m1", deadline=1.0)
    driver.pass_time(1.0)
    driver.stop()
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.ended("m1") == "cancelled stopped"


def told(driver: Driver) -> tuple[Way, float]:
    stop = driver.running.stop
    assert stop is not None
    return stop.how, stop.until - driver.at


def test_a_running_stop_only_ever_rises() -> None:
    driver = running()
    driver.stop(AfterWave(patience=20.0))
    assert told(driver) == (AfterWave(patience=20.0), 20.0)
    driver.stop(AfterWave(patience=30.0))
    assert told(driver) == (AfterWave(patience=30.0), 20.0)
    driver.stop(AfterWave(patience=10.0))
    assert told(driver) == (AfterWave(patience=10.0), 10.0)
    driver.stop(Now(grace=15.0))
    assert told(driver) == (Now(grace=15.0), 15.0)
    driver.stop(Now(grace=60.0))
    assert told(driver)[1] == 15.0
    driver.stop(AfterWave(patience=1.0))
    how, left = told(driver)
    assert isinstance(how, Now)
    assert left == 15.0
    driver.stop(Now(grace=1.0))
    assert told(driver) == (Now(grace=1.0), 1.0)


def test_the_patience_of_a_stop_while_stopping_counts() -> None:
    driver = stopping()
    driver.stop(AfterWave(patience=2.0))
    driver.pass_time(1.9)
    assert told(driver)[0] == AfterWave(patience=2.0)
    driver.pass_time(0.1)
    assert isinstance(told(driver)[0], Now)
    driver.pass_time(5.0)
    assert driver.turn_ends == ["1 stopped stopped"]


def test_a_second_stop_by_keep_does_not_bring_back_what_the_first_dropped() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.stop(backlog=Backlog.DROP)
    driver.stop(backlog=Backlog.KEEP)
    driver.exit()
    assert driver.ended("m2") == "dropped stopped"


# The token.


def test_a_cancelled_token_is_a_stop_after_the_wave_that_keeps_what_waits() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    (requested,) = driver.cancel_token("enough")
    assert isinstance(requested, StopRequested)
    assert (requested.how, requested.reason) == (AfterWave(), Reason.STOPPED)
    assert (requested.backlog, requested.detail) == (Backlog.KEEP, "enough")
    driver.exit()
    assert driver.turn_ends == ["1 stopped stopped"]
    assert driver.ended("m1") == "cancelled stopped"
    assert driver.in_turn == ["m2"]


def test_a_cancelled_token_covers_no_message() -> None:
    driver = running()
    driver.stamp = 9
    driver.cancel_token()
    driver.send("m2", stamp=5)
    assert driver.waiting == ["m2"]


def test_the_token_of_another_attempt_stops_nothing() -> None:
    driver = running()
    fence = driver.fence
    driver.crash()
    assert driver.cancel_token(fence=fence) == []


# Time.


def test_patience_that_is_over_makes_a_stop_harder_and_then_grace_ends_it() -> None:
    driver = running()
    driver.begin_wave(call(), call("book", Effect.ONCE))
    driver.send("m2", AfterWave(patience=30.0))
    assert driver.pass_time(29.9) == []
    (requested,) = driver.pass_time(0.1)
    assert isinstance(requested, StopRequested)
    assert (requested.how, requested.reason, requested.by) == (Now(), Reason.SUPERSEDED, None)
    assert driver.pass_time(4.9) == []
    driver.pass_time(0.1)
    assert driver.turn_ends == ["1 interrupted superseded"]
    assert driver.in_turn == ["m1", "m2"]


def test_the_deadline_stops_a_turn_now_and_it_times_out() -> None:
    driver = opened()
    driver.send("m1", deadline=60.0)
    assert driver.pass_time(59.9) == []
    (requested,) = driver.pass_time(0.1)
    assert isinstance(requested, StopRequested)
    assert (requested.how, requested.reason) == (Now(), Reason.DEADLINE)
    assert requested.detail == "Operation timeout"
    driver.send("m2")
    driver.exit()
    assert driver.turn_ends == ["1 timed_out deadline"]
    assert driver.ended("m1") == "failed deadline"
    outcome = driver.outcome("m1")
    assert outcome is not None
    assert outcome.turn == 1
    assert driver.in_turn == ["m2"]


def test_the_deadline_of_a_turn_is_that_of_its_newest_message() -> None:
    driver = opened()
    driver.send("m1", deadline=10.0)
    driver.send("m2", deadline=60.0)
    driver.exit()
    assert due(driver.state) == driver.at + 60.0
    driver.send("m3")
    driver.exit()
    assert due(driver.state) is None


def test_the_deadline_while_stopping_makes_the_stop_harder_and_keeps_its_outcome() -> None:
    ways: tuple[Move, ...] = (lambda d: d.send("m2"), lambda d: d.stop())
    for stop_it in ways:
        driver = opened()
        driver.send("m1", deadline=10.0)
        stop_it(driver)
        assert due(driver.state) == driver.at + 10.0
        reason = told_reason(driver)
        driver.pass_time_until_due()
        assert isinstance(told(driver)[0], Now)
        assert told_reason(driver) is reason
        driver.exit()
        assert reason in driver.turn_ends[0]
        assert "timed_out" not in driver.turn_ends[0]


def told_reason(driver: Driver) -> Reason:
    stop = driver.running.stop
    assert stop is not None
    return stop.reason


def test_time_that_brings_neither_patience_nor_deadline_does_nothing_to_a_stop() -> None:
    driver = opened()
    driver.send("m1", deadline=10.0)
    driver.send("m2")
    assert driver.pass_time(9.9) == []


def test_a_deadline_does_not_shorten_the_grace_of_a_turn_that_is_fenced() -> None:
    driver = opened()
    driver.send("m1", deadline=10.0)
    driver.send("m2", Now(grace=20.0))
    assert due(driver.state) == driver.at + 20.0
    assert driver.pass_time(10.0) == []


def test_without_a_deadline_time_does_nothing_to_a_running_turn() -> None:
    driver = running()
    assert due(driver.state) is None
    assert driver.pass_time(1e6) == []


def test_grace_that_is_over_abandons_open_calls() -> None:
    driver = running()
    read, once, idempotent, ended = driver.begin_wave(
        call(), call("book", Effect.ONCE), call("put", Effect.IDEMPOTENT), call()
    )
    driver.send("m2", Now(grace=3.0))
    driver.report(done(ended))
    driver.pass_time(3.0)
    previous = driver.state.previous
    assert previous is not None
    assert [(record.call_id, record.status) for record in previous.calls] == [
        (read.call_id, CallStatus.CANCELLED),
        (once.call_id, CallStatus.UNKNOWN),
        (idempotent.call_id, CallStatus.UNKNOWN),
        (ended.call_id, CallStatus.COMPLETED),
    ]
    unknown = [record.call_id for record in driver.state.unknown]
    assert unknown == [once.call_id, idempotent.call_id]


def test_a_stop_waits_for_protected_calls_as_long_as_they_may_take() -> None:
    driver = running()
    driver.begin_wave(call("pay", Effect.ONCE, protected_for=20.0), call("x", protected_for=10.0))
    driver.at += 4.0
    driver.send("m2", Now(grace=5.0))
    assert told(driver)[1] == 16.0
    patient = running()
    patient.begin_wave(call("pay", Effect.ONCE, protected_for=20.0))
    patient.send("m2", AfterWave(patience=3.0))
    assert told(patient)[1] == 3.0
    patient.pass_time(3.0)
    assert told(patient)[1] == 17.0


def test_a_stop_waits_no_longer_than_its_grace_for_calls_that_are_not_protected() -> None:
    driver = running()
    driver.begin_wave(call("slow")._replace(timeout=100.0))
    driver.send("m2", Now(grace=5.0))
    assert told(driver)[1] == 5.0


def test_no_stop_is_without_bound() -> None:
    ways: tuple[Move, ...] = (
        lambda d: d.send("m2"),
        lambda d: d.stop(),
        lambda d: d.cancel_token(),
        lambda d: d.shut_down(),
    )
    for stop_it in ways:
        driver = running()
        driver.begin_wave(call("pay", Effect.ONCE, protected_for=50.0))
        stop_it(driver)
        for _ in range(2):
            driver.pass_time_until_due()
        assert len(driver.turn_ends) == 1


# Shutdown.


def test_a_shutdown_ends_the_turn_as_interrupted_and_with_a_memory_journal_all_is_cancelled() -> (
    None
):
    driver = running()
    driver.send("m2", Enqueue())
    (requested,) = driver.shut_down(AfterWave(patience=2.0))
    assert isinstance(requested, StopRequested)
    assert (requested.how, requested.reason) == (AfterWave(patience=2.0), Reason.SHUTDOWN)
    driver.exit()
    assert driver.turn_ends == ["1 interrupted shutdown"]
    assert driver.ended("m1") == driver.ended("m2") == "cancelled shutdown"
    turns = [outcome.turn for outcome in map(driver.outcome, ("m1", "m2")) if outcome is not None]
    assert turns == [1, None]
    assert driver.state.status is Status.CLOSING
    assert driver.waiting == []
    assert driver.state.batch == 0


def test_a_shutdown_with_a_lasting_journal_ends_the_turn_and_no_message() -> None:
    driver = running(LASTING)
    driver.send("m2", Enqueue())
    driver.shut_down()
    driver.exit()
    assert driver.turn_ends == ["1 interrupted shutdown"]
    assert driver.waiting == ["m1", "m2"]
    assert not any(isinstance(event, MessageEnded) for event in driver.events)
    assert driver.state.status is Status.CLOSING


def test_a_closing_session_starts_nothing() -> None:
    stopped: list[Driver] = []
    ways: tuple[Move, ...] = (
        lambda d: d.send("m3"),
        lambda d: d.stop(),
        lambda d: d.stop(Now()),
        lambda d: d.pass_time(60.0),
        lambda d: None,
    )
    for rules in (LASTING, Rules()):
        for stop_it in ways:
            driver = opened(rules)
            driver.send("m1", deadline=60.0)
            driver.send("m2", Enqueue())
            stop_it(driver)
            driver.shut_down()
            assert driver.state.status is Status.CLOSING
            driver.exit()
            assert driver.state.status is Status.CLOSING
            stopped.append(driver)
    assert all(classes(d.events).count(TurnStarted) == 1 for d in stopped)
    assert all(classes(d.events).count(TurnEnded) == 1 for d in stopped)


def test_a_turn_that_was_stopped_before_the_shutdown_stays_stopped() -> None:
    driver = running(LASTING)
    driver.send("m2", Enqueue())
    driver.stop(reason=Reason.DISCONNECT)
    driver.shut_down()
    driver.exit()
    assert driver.turn_ends == ["1 stopped disconnect"]
    assert driver.ended("m1") == "cancelled disconnect"
    assert driver.waiting == ["m2"]


def test_a_turn_that_was_over_its_deadline_before_the_shutdown_has_timed_out() -> None:
    driver = opened(LASTING)
    driver.send("m1", deadline=1.0)
    driver.pass_time(1.0)
    driver.shut_down()
    driver.exit()
    assert driver.turn_ends == ["1 timed_out deadline"]
    assert driver.ended("m1") == "failed deadline"


def test_a_turn_that_was_overtaken_before_the_shutdown_comes_back_after_it() -> None:
    driver = stopping(LASTING)
    driver.shut_down()
    driver.exit()
    assert driver.turn_ends == ["1 interrupted shutdown"]
    assert driver.waiting == ["m1", "m2"]


def test_a_shutdown_bounds_a_stop_and_never_makes_it_softer() -> None:
    driver = running()
    driver.stop(AfterWave(patience=30.0))
    driver.shut_down(AfterWave(patience=2.0))
    assert told(driver) == (AfterWave(patience=2.0), 2.0)
    hard = running()
    hard.stop(Now(grace=30.0))
    hard.shut_down(AfterWave(patience=1.0))
    assert told(hard) == (Now(grace=30.0), 30.0)
    hard.shut_down(Now(grace=1.0))
    bounded = running()
    bounded.stop(Now(grace=30.0))
    bounded.shut_down(Now(grace=1.0))
    assert told(bounded) == (Now(grace=1.0), 1.0)


def test_a_closing_session_stays_closing_when_a_stop_rises() -> None:
    driver = running()
    driver.stop(AfterWave(patience=2.0))
    driver.shut_down()
    driver.pass_time(2.0)
    assert isinstance(told(driver)[0], Now)
    assert driver.state.status is Status.CLOSING


def test_time_goes_on_in_a_closing_session() -> None:
    driver = running()
    driver.begin_wave(call())
    driver.shut_down(AfterWave(patience=2.0))
    driver.pass_time(2.0)
    assert isinstance(told(driver)[0], Now)
    assert driver.state.status is Status.CLOSING
    driver.pass_time(5.0)
    assert driver.turn_ends == ["1 interrupted shutdown"]


def test_what_comes_late_to_a_closed_session_does_nothing() -> None:
    driver = closing()
    fence = driver.fence
    driver.exit()
    state = driver.state
    driver.pass_time(100.0)
    driver.save({"n": 1}, fence)
    driver.say("late", fence)
    driver.step("model", "late", fence)
    driver.report(wave_done=1, wave=2, calls=(call(),), fence=fence)
    driver.exit("late", fence=fence)
    driver.shut_down()
    driver.stop()
    assert driver.state is state


def test_an_idle_session_is_shut_down_without_a_word() -> None:
    driver = opened()
    assert driver.shut_down() == []


def test_what_waits_in_an_idle_session_ends_with_a_journal_that_does_not_last() -> None:
    # By the table nothing does; this is for what will be put aside there.
    for rules, end in ((Rules(), "cancelled shutdown"), (LASTING, "")):
        driver = running(rules)
        driver.send("m2", Enqueue())
        driver.state = driver.state._replace(status=Status.IDLE, running=None)
        driver.shut_down()
        assert driver.ended("m2") == end
        assert driver.state.status is Status.IDLE
