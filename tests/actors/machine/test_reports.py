from __future__ import annotations

import pytest

from wavebreak.actors.machine.reports import advance
from wavebreak.actors.machine.state import Rules, Status
from wavebreak.messages.commands import DeliveryDone, Open, Progress
from wavebreak.messages.entries import Progressed
from wavebreak.messages.events import (
    CallEnded,
    DeliveryEnded,
    Event,
    Said,
    StepEnded,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.ids import CallId, DeliveryId, Fence
from wavebreak.messages.policies import Enqueue, Now
from wavebreak.messages.reasons import CallStatus, DeliveryKind, DeliveryStatus, Effect
from wavebreak.messages.records import CallDone, CallError, CallStarted

from .driving import (
    LASTING,
    Driver,
    Move,
    call,
    classes,
    closing,
    done,
    opened,
    running,
    stopping,
)

ERROR = CallError(type="ValueError", message="no room")

# Waves and their calls.


def test_the_end_of_a_wave_and_the_start_of_the_next_are_one_entry() -> None:
    driver = running()
    (first,) = driver.begin_wave(call())
    before = driver.state.position
    second = call()._replace(call_id=CallId("1.1.2.1"))
    happened = driver.report(done(first, result=7), wave_done=1, wave=2, calls=(second,))
    entry = driver.entries[-1]
    assert isinstance(entry, Progressed)
    assert entry.span == 3
    assert classes(happened) == [CallEnded, WaveEnded, WaveStarted]
    assert [event.position for event in happened] == [before + 1, before + 2, before + 3]
    assert driver.state.position == before + 3
    assert driver.running.wave == 2
    assert driver.running.open == (second,)


def test_calls_end_in_the_order_in_which_they_are_reported() -> None:
    driver = running()
    one, two, three = driver.begin_wave(call(), call(), call())
    driver.report(done(two))
    assert driver.running.open == (one, three)
    happened = driver.report(done(three, CallStatus.FAILED, error=ERROR), done(one, result="x"))
    assert not driver.running.open
    ends = [event for event in happened if isinstance(event, CallEnded)]
    assert [(e.call_id, e.status, e.result, e.error) for e in ends] == [
        (three.call_id, CallStatus.FAILED, None, ERROR),
        (one.call_id, CallStatus.COMPLETED, "x", None),
    ]
    assert {(e.turn, e.attempt, e.wave, e.late) for e in ends} == {(1, 1, 1, False)}


def test_the_way_of_a_turn_as_it_goes_is_short_and_no_other_is() -> None:
    # Where it is taken, the driver holds it to the long one.
    driver = running()
    (first,) = driver.begin_wave(call("book", Effect.ONCE))
    second = call()._replace(call_id=CallId("1.1.2.1"))
    usual = Progress(driver.at, driver.fence, (done(first),), 1, 2, (second,))
    assert advance(driver.state, usual) is not None
    assert advance(driver.state, usual._replace(done=())) is not None
    unusual = (
        usual._replace(fence=Fence(1, 1, 2)),
        usual._replace(done=(done(first, CallStatus.UNKNOWN),)),
        usual._replace(done=(done(first)._replace(late=True),)),
        Progress(driver.at, driver.fence),
    )
    for report in unusual:
        assert advance(driver.state, report) is None
    driver.report(done(first, CallStatus.UNKNOWN), wave_done=1)
    assert advance(driver.state, usual._replace(done=())) is None
    for other in (opened(), stopping(), closing()):
        assert advance(other.state, usual._replace(fence=other.fence)) is None


def test_an_empty_report_is_no_entry() -> None:
    driver = running()
    state = driver.state
    assert driver.report() == []
    assert driver.state is state


@pytest.mark.parametrize("closes", [False, True], ids=["stopping", "closing"])
def test_a_turn_that_is_stopping_finishes_its_wave_and_begins_no_other(*, closes: bool) -> None:
    driver = running()
    (open_call,) = driver.begin_wave(call())
    if closes:
        driver.shut_down()
    else:
        driver.send("m2")
    assert classes(driver.report(done(open_call))) == [CallEnded]
    assert classes(driver.report(wave_done=1, wave=2, calls=(call(),))) == [WaveEnded]
    entry = driver.entries[-1]
    assert isinstance(entry, Progressed)
    assert entry.calls == ()
    assert driver.running.wave == 1
    assert not driver.running.open


def old_fences(driver: Driver) -> list[Fence]:
    epoch, turn, attempt = driver.fence
    return [
        Fence(epoch - 1, turn, attempt),
        Fence(epoch, turn - 1, attempt),
        Fence(epoch, turn, attempt - 1),
    ]


def test_nothing_that_carries_an_old_fence_is_recorded_but_late_ends() -> None:
    driver = running()
    driver.exit("done")
    driver.send("m2")
    driver.crash()
    driver.begin_wave(call())
    state = driver.state
    for fence in old_fences(driver):
        (open_call,) = driver.running.open
        assert driver.report(done(open_call), wave_done=1, wave=2, fence=fence) == []
        assert driver.say("old", fence) == []
        assert driver.step("model", "old", fence) == []
        assert driver.save({"old": 1}, fence) == []
        assert driver.cancel_token(fence=fence) == []
        assert driver.exit("old", fence=fence) == []
        assert driver.exit(cause="old", crashed=True, fence=fence) == []
    assert driver.state is state


def test_an_old_runtimes_exit_does_not_end_a_turn_that_is_stopping() -> None:
    driver = running()
    driver.crash()
    driver.send("m2")
    for fence in old_fences(driver):
        assert driver.exit("old", fence=fence) == []
    assert driver.turn_ends == []


# What was not seen to end.


def test_only_a_crash_is_followed_by_another_attempt() -> None:
    driver = running()
    driver.exit(cause="ValueError", retry_after=1.0)
    assert driver.turn_ends == ["1 failed error"]


def test_a_new_attempt_knows_the_version() -> None:
    driver = running(Rules(version="7"))
    restarted = driver.crash()[-1]
    assert isinstance(restarted, TurnRestarted)
    assert restarted.version == "7"


def test_a_runtime_that_died_leaves_reads_cancelled_and_the_rest_unknown() -> None:
    driver = running()
    read, once, idempotent, ended = driver.begin_wave(
        call(), call("book", Effect.ONCE), call("put", Effect.IDEMPOTENT), call()
    )
    happened = driver.exit(
        cause="SystemExit", crashed=True, retry_after=1.5, ended=(done(ended, result="r"),)
    )
    ends = [event for event in happened if isinstance(event, CallEnded)]
    assert [(e.call_id, e.status) for e in ends] == [
        (ended.call_id, CallStatus.COMPLETED),
        (read.call_id, CallStatus.CANCELLED),
        (once.call_id, CallStatus.UNKNOWN),
        (idempotent.call_id, CallStatus.UNKNOWN),
    ]
    restarted = happened[-1]
    assert isinstance(restarted, TurnRestarted)
    assert (restarted.attempt, restarted.delay, restarted.discard) == (2, 1.5, False)
    assert restarted.cause == "SystemExit"
    assert driver.running.attempt == 2
    assert driver.running.wave == 0
    assert not driver.running.open
    assert [(r.call_id, r.tool, r.status) for r in driver.state.unknown] == [
        (once.call_id, "book", CallStatus.UNKNOWN),
        (idempotent.call_id, "put", CallStatus.UNKNOWN),
    ]


def test_a_call_that_an_earlier_one_answered_is_no_unknown_when_its_end_is_lost() -> None:
    driver = running()
    (first,) = driver.run_wave(call("book", Effect.ONCE))
    driver.crash()
    driver.begin_wave(call("book", Effect.ONCE, answered_from=first.call_id))
    happened = driver.crash()
    end = happened[0]
    assert isinstance(end, CallEnded)
    assert (end.status, end.answered_from) == (CallStatus.SKIPPED, first.call_id)
    assert not driver.state.unknown


def test_an_unknown_call_that_answers_another_is_unknown_once() -> None:
    driver = running()
    (first,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.crash()
    (second,) = driver.begin_wave(call("book", Effect.ONCE, answered_from=first.call_id))
    driver.report(done(second, CallStatus.UNKNOWN), wave_done=1)
    assert [record.call_id for record in driver.state.unknown] == [first.call_id]


def unknown_after_turn() -> tuple[Driver, CallStarted]:
    """Give an idle session with an unknown call."""
    driver = running()
    (booking,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(booking, CallStatus.UNKNOWN), wave_done=1)
    driver.exit("I do not know")
    return driver, booking


def late(
    booking: CallStarted, status: CallStatus = CallStatus.COMPLETED, result: object = 7
) -> CallDone:
    seen = result if status is CallStatus.COMPLETED else None
    error = ERROR if status is CallStatus.FAILED else None
    return done(booking, status, seen, error)._replace(late=True)


def test_the_late_end_of_an_unknown_call_is_recorded_once_in_every_state() -> None:
    ways: tuple[Move, ...] = (
        lambda d: None,
        lambda d: d.send("m2"),
        lambda d: (d.send("m2"), d.send("m3")),
        lambda d: (d.send("m2"), d.shut_down()),
        lambda d: (d.send("m2"), d.shut_down(), d.exit()),
        lambda d: (d.send("m2"), d.begin_wave(call())),
    )
    for go_on in ways:
        driver, booking = unknown_after_turn()
        go_on(driver)
        driver.at += 60.0
        log = driver.state.running.log if driver.state.running is not None else ()
        (end,) = driver.report(late(booking), fence=Fence(1, 1, 1))
        assert isinstance(end, CallEnded)
        assert (end.call_id, end.turn, end.attempt, end.wave) == ("1.1.1.1", 1, 1, 1)
        assert (end.late, end.status, end.result) == (True, CallStatus.COMPLETED, 7)
        (record,) = driver.state.unknown
        assert (record.status, record.result, record.ended_at) == (
            CallStatus.COMPLETED,
            7,
            driver.at,
        )
        now = driver.state.running
        assert (now.log if now is not None else ()) == log
        assert driver.report(late(booking), fence=Fence(1, 1, 1)) == []


def test_a_late_end_that_is_no_end_is_not_recorded() -> None:
    driver, booking = unknown_after_turn()
    for status in (CallStatus.UNKNOWN, CallStatus.CANCELLED, CallStatus.SKIPPED):
        assert driver.report(late(booking, status), fence=Fence(1, 1, 1)) == []


def test_a_late_failure_leaves_nothing_unknown() -> None:
    driver, booking = unknown_after_turn()
    (end,) = driver.report(late(booking, CallStatus.FAILED), fence=Fence(1, 1, 1))
    assert isinstance(end, CallEnded)
    assert end.error == ERROR
    assert not driver.state.unknown
    assert driver.report(late(booking), fence=Fence(1, 1, 1)) == []


def test_a_late_failure_is_known_until_the_end_of_its_turn() -> None:
    ways: tuple[Move, ...] = (
        lambda d: d.exit("done"),
        lambda d: d.exit(cause="ValueError: no"),
        lambda d: (d.send("m2"), d.exit()),
    )
    for end in ways:
        driver = running()
        (booking,) = driver.begin_wave(call("book", Effect.ONCE))
        driver.crash_and_open()
        driver.report(late(booking, CallStatus.FAILED), fence=Fence(1, 1, 1))
        (record,) = driver.state.unknown
        assert (record.call_id, record.status) == (booking.call_id, CallStatus.FAILED)
        assert record.error == ERROR
        assert driver.report(late(booking), fence=Fence(1, 1, 1)) == []
        end(driver)
        assert not driver.state.unknown


def test_a_failure_that_comes_after_its_turn_is_not_known_in_the_next() -> None:
    driver = running()
    (booking,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.send("m2", Now(grace=1.0))
    driver.pass_time(1.0)
    assert driver.running.number == 2
    driver.report(late(booking, CallStatus.FAILED), fence=Fence(1, 1, 1))
    assert not driver.state.unknown


def test_late_ends_come_within_the_attempt_that_made_the_call_too() -> None:
    driver = running()
    (booking,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(booking, CallStatus.UNKNOWN), wave_done=1)
    driver.begin_wave(call())
    (end,) = driver.report(late(booking))
    assert isinstance(end, CallEnded)
    assert end.late
    assert [record.status for record in driver.state.unknown] == [CallStatus.COMPLETED]
    assert len(driver.running.open) == 1


def test_a_late_end_of_a_call_that_was_seen_to_end_is_not_recorded() -> None:
    driver = running()
    (read, book) = driver.begin_wave(call(), call("book", Effect.ONCE))
    driver.report(done(read, CallStatus.CANCELLED), done(book), wave_done=1)
    assert driver.report(late(read)) == []
    assert driver.report(late(book)) == []


def test_an_abandoned_runtime_hands_over_what_it_knows_when_it_ends_at_last() -> None:
    ways: tuple[Move, ...] = (
        lambda d: None,
        lambda d: d.send("m3"),
        lambda d: d.shut_down(),
    )
    for go_on in ways:
        driver = running()
        (booking,) = driver.begin_wave(call("book", Effect.ONCE))
        driver.send("m2", Now(grace=1.0))
        old = driver.fence
        driver.pass_time(1.0)
        driver.exit("done")
        go_on(driver)
        (end,) = driver.exit(fence=old, ended=(done(booking, result=7),))
        assert isinstance(end, CallEnded)
        assert end.late
        assert [record.result for record in driver.state.unknown] == [7]


# Until when a call is unknown.


def begin_again(
    driver: Driver, booking: CallStarted, *, old_key: bool = True, late_result: bool = False
) -> CallStarted:
    key = booking.idempotency_key if old_key else ""
    answered_from = booking.call_id if late_result else None
    (again,) = driver.begin_wave(call("book", Effect.ONCE, key=key, answered_from=answered_from))
    return again


@pytest.mark.parametrize("status", [CallStatus.COMPLETED, CallStatus.FAILED])
def test_a_call_is_unknown_no_longer_when_it_was_made_again_with_its_key(
    status: CallStatus,
) -> None:
    driver, booking = unknown_after_turn()
    driver.send("m2")
    again = begin_again(driver, booking)
    driver.report(done(again, status), wave_done=1)
    assert not driver.state.unknown


def test_a_call_that_is_unknown_again_is_unknown_once() -> None:
    driver, booking = unknown_after_turn()
    driver.send("m2")
    again = begin_again(driver, booking)
    driver.report(done(again, CallStatus.UNKNOWN), wave_done=1)
    assert [record.call_id for record in driver.state.unknown] == [again.call_id]


def test_a_call_that_was_to_be_made_again_and_never_started_is_still_unknown() -> None:
    driver, booking = unknown_after_turn()
    driver.send("m2")
    again = begin_again(driver, booking)
    driver.report(done(again, CallStatus.SKIPPED), wave_done=1)
    assert [record.call_id for record in driver.state.unknown] == [booking.call_id]


def test_another_call_of_the_tool_does_not_make_it_known() -> None:
    driver, booking = unknown_after_turn()
    driver.send("m2")
    other = begin_again(driver, booking, old_key=False)
    driver.report(done(other), wave_done=1)
    assert [record.call_id for record in driver.state.unknown] == [booking.call_id]


def test_a_late_result_is_used_up_when_it_has_answered() -> None:
    driver, booking = unknown_after_turn()
    driver.report(late(booking), fence=Fence(1, 1, 1))
    driver.send("m2")
    answered = begin_again(driver, booking, late_result=True)
    assert len(driver.state.unknown) == 1
    driver.report(done(answered, result=7), wave_done=1)
    assert not driver.state.unknown


def test_a_late_result_whose_use_was_not_recorded_is_kept() -> None:
    driver, booking = unknown_after_turn()
    driver.report(late(booking), fence=Fence(1, 1, 1))
    driver.send("m2")
    begin_again(driver, booking, late_result=True)
    driver.crash()
    assert [record.result for record in driver.state.unknown] == [7]


def test_other_calls_stay_unknown_when_one_is_settled() -> None:
    for come_late in (False, True):
        for status in (CallStatus.COMPLETED, CallStatus.FAILED, CallStatus.UNKNOWN):
            driver = running()
            other, booking = driver.begin_wave(call("pay", Effect.ONCE), call("book", Effect.ONCE))
            unseen = [done(each, CallStatus.UNKNOWN) for each in (other, booking)]
            driver.report(*unseen, wave_done=1)
            again = begin_again(driver, booking)
            if come_late:
                driver.report(late(booking))
            driver.report(done(again, status), wave_done=2)
            left = [record.tool for record in driver.state.unknown]
            stays = status is not CallStatus.COMPLETED and (come_late or status is unseen[0].status)
            assert left == (["pay", "book"] if stays else ["pay"])


def test_a_result_that_came_late_is_not_lost_to_a_repetition_that_is_unknown() -> None:
    driver, booking = unknown_after_turn()
    driver.send("m2")
    again = begin_again(driver, booking)
    driver.report(late(booking), fence=Fence(1, 1, 1))
    driver.report(done(again, CallStatus.UNKNOWN), wave_done=1)
    assert [(r.call_id, r.result) for r in driver.state.unknown] == [(booking.call_id, 7)]


# Steps, words, state.


def test_a_step_is_remembered_also_while_the_turn_stops() -> None:
    for make in (running, stopping, closing):
        driver = make()
        (ended,) = driver.step("model", {"words": 1})
        assert isinstance(ended, StepEnded)
        assert (ended.key, ended.result, ended.attempt) == ("model", {"words": 1}, 1)
        assert driver.running.log == (ended,)


def test_words_are_a_delivery_of_their_own_each_time() -> None:
    driver = running()
    said = [driver.say("one moment")[0], driver.say("one moment")[0]]
    deliveries = driver.state.outbox
    assert [delivery.kind for delivery in deliveries] == [DeliveryKind.SAID] * 2
    assert [delivery.reply.text for delivery in deliveries] == ["one moment"] * 2
    assert [delivery.answers for delivery in deliveries] == [(), ()]
    assert [d.delivery_id for d in deliveries] == [f"uid-{event.position}" for event in said]
    assert driver.running.log == tuple(said)


def test_a_turn_that_was_told_to_stop_says_nothing_more() -> None:
    for driver in (stopping(), closing()):
        assert driver.say("still here") == []
        assert not any(isinstance(event, Said) for event in driver.events)


def test_a_turn_that_is_fenced_saves_nothing_more() -> None:
    driver = stopping()
    driver.save({"n": 1})
    assert driver.running.saved == {"n": 1}
    driver.send("m3", Now())
    assert driver.save({"n": 2}) == []
    shut = closing()
    shut.pass_time(30.0)
    assert shut.save({"n": 2}) == []


# Deliveries.


def test_a_delivery_ends_once_and_the_others_stay() -> None:
    driver = running()
    driver.say("one moment")
    driver.exit("done")
    first, second = (delivery.delivery_id for delivery in driver.state.outbox)
    command = DeliveryDone(driver.at, first, DeliveryStatus.DEAD_LETTERED, "no such chat")
    (ended,) = driver.decide(command)
    assert isinstance(ended, DeliveryEnded)
    assert ended.detail == "no such chat"
    assert (ended.delivery_id, ended.status) == (first, DeliveryStatus.DEAD_LETTERED)
    assert [delivery.delivery_id for delivery in driver.state.outbox] == [second]
    assert driver.deliver(first) == []
    assert driver.deliver(DeliveryId("never made")) == []
    driver.deliver(second)
    assert not driver.state.outbox


# A new incarnation.


def test_the_first_start_gives_the_session_its_uid_and_an_epoch() -> None:
    driver = opened()
    assert driver.state.status is Status.IDLE
    assert (driver.state.uid, driver.state.epoch, driver.state.position) == ("uid", 1, 1)
    driver.crash_and_open()
    driver.rules = LASTING
    assert (driver.state.uid, driver.state.epoch, driver.state.position) == ("uid", 2, 2)


def test_an_epoch_is_above_every_other_that_was_in_use() -> None:
    driver = Driver()
    driver.decide(Open(driver.at, "uid", above=6))
    assert driver.state.epoch == 7
    driver.state = driver.state._replace(status=Status.RECOVERING)
    driver.decide(Open(driver.at, "uid", above=3))
    assert driver.state.epoch == 8


def test_a_session_keeps_its_uid_over_incarnations() -> None:
    driver = opened()
    driver.state = driver.state._replace(status=Status.RECOVERING, uid="an older one")
    driver.open()
    assert driver.state.uid == "an older one"


def test_a_turn_that_was_running_goes_on_as_its_next_attempt() -> None:
    driver = running()
    driver.run_wave(call("book", Effect.ONCE))
    read, once = driver.begin_wave(call(), call("pay", Effect.ONCE))
    driver.send("m2", Enqueue())
    old = driver.fence
    happened = driver.crash_and_open()
    ends = [event for event in happened if isinstance(event, CallEnded)]
    assert [(e.call_id, e.status) for e in ends] == [
        (read.call_id, CallStatus.CANCELLED),
        (once.call_id, CallStatus.UNKNOWN),
    ]
    restarted = happened[-1]
    assert isinstance(restarted, TurnRestarted)
    assert (restarted.turn, restarted.attempt, restarted.delay) == (1, 2, 0.0)
    assert restarted.discard
    assert driver.state.status is Status.RUNNING
    assert driver.fence == Fence(2, 1, 2)
    assert driver.in_turn == ["m1"]
    assert driver.waiting == ["m2"]
    assert driver.exit("of the old incarnation", fence=old) == []


def test_a_turn_whose_attempts_are_used_up_fails_at_recovery() -> None:
    driver = running()
    driver.crash()
    driver.crash_and_open()
    assert driver.running.attempt == 3
    driver.send("m2", Enqueue())
    driver.crash_and_open()
    assert driver.turn_ends == ["1 failed crashed"]
    assert driver.ended("m1") == "failed crashed"
    outcome = driver.outcome("m1")
    assert outcome is not None
    assert outcome.error == "attempt 3 did not end"
    assert driver.in_turn == ["m2"]


def test_a_stop_that_was_under_way_ends_the_turn_at_recovery_by_what_it_was_for() -> None:
    ways: tuple[tuple[Move, str, list[str]], ...] = (
        (lambda d: d.send("m3"), "1 interrupted superseded", ["m1", "m2", "m3"]),
        (lambda d: d.send("m3", Now()), "1 interrupted superseded", ["m1", "m2", "m3"]),
        (lambda d: d.stop(), "1 stopped stopped", ["m2"]),
        (lambda d: d.cancel_token(), "1 stopped stopped", ["m2"]),
        (lambda d: d.pass_time(60.0), "1 timed_out deadline", ["m2"]),
        (lambda d: d.shut_down(), "1 interrupted shutdown", ["m1"]),
    )
    for told, end, next_turn in ways:
        driver = opened(LASTING)
        driver.send("m1", deadline=60.0)
        driver.send("m2", Enqueue())
        (once,) = driver.begin_wave(call("book", Effect.ONCE))
        told(driver)
        driver.crash_and_open()
        assert driver.turn_ends == [end]
        assert driver.in_turn == next_turn
        assert driver.state.epoch == 2
        assert [record.call_id for record in driver.state.unknown] == [once.call_id]


def test_what_waited_when_the_session_was_closed_goes_on_at_recovery() -> None:
    driver = running(LASTING)
    driver.send("m2", Enqueue())
    driver.stop()
    driver.shut_down()
    driver.exit()
    assert driver.waiting == ["m2"]
    happened = driver.crash_and_open()
    assert classes(happened)[-1] is TurnStarted
    assert driver.in_turn == ["m2"]
    assert driver.state.status is Status.RUNNING


def test_deliveries_that_had_not_ended_are_there_after_recovery() -> None:
    driver = running()
    driver.exit("done")
    outbox = driver.state.outbox
    driver.crash_and_open()
    assert driver.state.outbox == outbox


def ended_turns(events: list[Event]) -> int:
    return sum(isinstance(event, TurnEnded) for event in events)


def test_every_end_of_a_runtime_ends_its_turn_at_most_once() -> None:
    driver = running()
    fence = driver.fence
    driver.exit("done")
    for _ in range(2):
        assert driver.exit("done", fence=fence) == []
        assert driver.exit(cause="ValueError", fence=fence) == []
        assert driver.crash() == []
    assert ended_turns(driver.events) == 1
