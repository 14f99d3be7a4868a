from __future__ import annotations

import pytest

from wavebreak.actors.machine.state import Rules, Status
from wavebreak.messages.events import (
    CancellationHandled,
    ExecutionCancelled,
    MessageEnded,
    TurnEnded,
    TurnStarted,
)
from wavebreak.messages.message import Attachment, Reply
from wavebreak.messages.policies import AfterWave, Enqueue, Now
from wavebreak.messages.reasons import (
    CallStatus,
    DeliveryKind,
    Effect,
    Reason,
)

from .driving import LASTING, Driver, Move, call, classes, done, opened, running, stopping

# How turns begin.


def test_turns_are_numbered_from_one_and_know_the_version() -> None:
    driver = opened(Rules(version="7"))
    for number in (1, 2, 3):
        started = driver.send(f"m{number}")[-1]
        assert isinstance(started, TurnStarted)
        assert (started.turn, started.version) == (number, "7")
        driver.exit("done")


def test_queued_messages_have_a_turn_each_in_order() -> None:
    driver = running()
    for message_id in ("m2", "m3", "m4"):
        driver.send(message_id, Enqueue())
    turns: list[list[str]] = []
    while driver.state.running is not None:
        turns.append(driver.in_turn)
        driver.exit("done")
    assert turns == [["m1"], ["m2"], ["m3"], ["m4"]]


def test_an_interrupting_message_takes_along_what_came_before_it_and_nothing_after_it() -> None:
    # Kept behind a stop, they are no batch of an interruption: the policies decide.
    driver = running()
    driver.send("m2", Enqueue())
    driver.stop()
    for message_id, policy in (("m3", AfterWave()), ("m4", Enqueue()), ("m5", Enqueue())):
        driver.send(message_id, policy)
    turns: list[list[str]] = []
    driver.exit()
    while driver.state.running is not None:
        turns.append(driver.in_turn)
        driver.exit("done")
    assert turns == [["m2", "m3"], ["m4"], ["m5"]]


def test_a_turn_after_a_failure_takes_what_waits_by_its_policies() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3", Enqueue())
    driver.exit(cause="ValueError: no")
    assert driver.in_turn == ["m2"]


# How they end.


def test_a_reply_answers_every_message_of_the_turn_once_and_is_delivered_once() -> None:
    driver = stopping()
    driver.exit()
    events = driver.exit("here you are")
    assert classes(events) == [TurnEnded, MessageEnded, MessageEnded]
    ended = events[0]
    assert isinstance(ended, TurnEnded)
    assert ended.reply == Reply(text="here you are")
    assert (ended.reason, ended.partial_results) == (None, None)
    assert ended.delivery_id == f"uid-{ended.position}"
    for message_id in ("m1", "m2"):
        outcome = driver.outcome(message_id)
        assert outcome is not None
        assert (str(outcome.status), outcome.turn) == ("answered", 2)
        assert outcome.reply == Reply(text="here you are")
    (delivery,) = driver.state.outbox
    assert (delivery.kind, delivery.turn) == (DeliveryKind.REPLY, 2)
    assert (delivery.tenant, delivery.session_id) == ("acme", "s1")
    assert (delivery.delivery_id, delivery.answers) == (ended.delivery_id, ("m1", "m2"))
    assert delivery.reply == Reply(text="here you are")


def test_a_reply_without_content_answers_and_delivers_nothing() -> None:
    driver = running()
    driver.exit("")
    assert driver.ended("m1") == "answered"
    assert driver.state.outbox == ()
    assert [entry.kind for entry in driver.history] == ["message"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="words"),
        Reply(attachments=(Attachment(url="http://a/b"),)),
        Reply(data={"card": 1}),
    ],
    ids=["text", "attachment", "data"],
)
def test_a_reply_with_any_content_is_delivered(reply: Reply) -> None:
    driver = running()
    driver.exit(reply)
    assert [delivery.reply for delivery in driver.state.outbox] == [reply]


def test_where_nobody_delivers_there_is_no_delivery() -> None:
    driver = running(Rules(delivers=False))
    driver.say("one moment")
    driver.exit("done")
    assert driver.state.outbox == ()
    assert driver.ended("m1") == "answered"


def test_an_error_of_the_agent_fails_the_turn_and_its_messages() -> None:
    driver = running()
    driver.run_wave(call())
    events = driver.exit(cause="ValueError: no room")
    assert classes(events) == [TurnEnded, MessageEnded]
    ended = events[0]
    assert isinstance(ended, TurnEnded)
    assert (ended.reason, ended.detail) == (Reason.ERROR, "ValueError: no room")
    assert ended.partial_results is not None
    assert len(ended.partial_results.completed) == 1
    assert driver.turn_ends == ["1 failed error"]
    outcome = driver.outcome("m1")
    assert outcome is not None
    assert (str(outcome.status), outcome.turn) == ("failed", 1)
    assert (outcome.reason, outcome.error) == (Reason.ERROR, "ValueError: no room")
    assert driver.state.status is Status.IDLE


def test_a_message_that_was_not_answered_has_no_reply() -> None:
    driver = running()
    driver.exit("done")
    driver.send("m2")
    driver.exit(cause="ValueError")
    outcome = driver.outcome("m2")
    assert outcome is not None
    assert outcome.reply is None


def test_a_crash_over_the_budget_fails_the_turn() -> None:
    driver = running()
    driver.crash(retry_after=None)
    assert driver.turn_ends == ["1 failed crashed"]
    assert driver.ended("m1") == "failed crashed"


def test_a_turn_that_was_told_to_stop_is_interrupted_however_it_ended() -> None:
    ways: tuple[Move, ...] = (
        lambda d: d.exit(),
        lambda d: d.exit("too late"),
        lambda d: d.exit(cause="ValueError: no"),
        lambda d: d.crash(),
        lambda d: d.crash(retry_after=None),
    )
    for end in ways:
        driver = stopping()
        end(driver)
        assert driver.turn_ends == ["1 interrupted superseded"]
        assert driver.in_turn == ["m1", "m2"]
        assert driver.ended("m1") == driver.ended("m2") == ""
        assert driver.state.outbox == ()


def test_the_reply_of_a_turn_that_was_overtaken_is_a_draft_for_the_next() -> None:
    driver = stopping()
    driver.exit("too late")
    previous = driver.state.previous
    assert previous is not None
    assert previous.draft == Reply(text="too late")
    assert previous.reason is Reason.SUPERSEDED
    driver.send("m3")
    driver.exit()
    later = driver.state.previous
    assert later is not None
    assert later.draft == Reply(text="too late")
    driver.send("m4")
    driver.exit("later still")
    newest = driver.state.previous
    assert newest is not None
    assert newest.draft == Reply(text="later still")
    driver.exit("at last")
    assert driver.state.previous is None


def test_what_a_turn_left_passes_on_out_of_every_end_but_the_finished_one() -> None:
    ways: tuple[tuple[str, Move], ...] = (
        ("interrupted", lambda d: (d.send("m2"), d.exit())),
        ("stopped", lambda d: (d.stop(), d.exit(), d.send("m2"))),
        ("timed_out", lambda d: (d.pass_time(60.0), d.exit(), d.send("m2"))),
        ("failed", lambda d: (d.exit(cause="ValueError"), d.send("m2"))),
    )
    for ends_as, end in ways:
        driver = opened()
        driver.send("m1", deadline=60.0)
        driver.run_wave(call("book", Effect.ONCE))
        driver.say("one moment")
        driver.save({"n": 1})
        end(driver)
        assert ends_as in driver.turn_ends[0]
        previous = driver.state.previous
        assert previous is not None
        assert [record.tool for record in previous.completed] == ["book"]
        assert previous.said == ("one moment",)
        assert previous.state == {"n": 1}
        driver.exit("done")
        assert driver.state.previous is None


def test_partial_results_add_up_over_a_chain() -> None:
    driver = running()
    driver.run_wave(call("a"))
    driver.say("first")
    driver.save({"n": 1})
    driver.send("m2")
    driver.exit()
    driver.run_wave(call("b"))
    driver.say("second")
    driver.stop()
    driver.exit()
    previous = driver.state.previous
    assert previous is not None
    assert [record.tool for record in previous.calls] == ["a", "b"]
    assert [(record.turn, record.wave) for record in previous.calls] == [(1, 1), (2, 1)]
    assert previous.said == ("first", "second")
    assert previous.state == {"n": 1}
    assert previous.reason is Reason.STOPPED


def test_a_record_says_all_there_is_to_know_of_a_call() -> None:
    driver = opened()
    driver.send("m1", sender="ann")
    started = driver.begin_wave(call("find", arguments={"what": "room"}))[0]
    began = driver.at
    driver.at += 2.0
    driver.report(done(started, result=[1, 2]), wave_done=1)
    driver.stop()
    driver.exit()
    previous = driver.state.previous
    assert previous is not None
    (record,) = previous.calls
    assert record.call_id == started.call_id == "1.1.1.1"
    assert (record.tool, record.arguments) == ("find", {"what": "room"})
    assert (record.turn, record.attempt, record.wave) == (1, 1, 1)
    assert (record.status, record.result) == (CallStatus.COMPLETED, [1, 2])
    assert (record.started_at, record.ended_at) == (began, began + 2.0)
    assert record.senders == ("ann",)
    assert record.idempotency_key == "uid-1.1.1.1"


def test_a_turn_that_was_cut_short_tells_so_once_with_what_it_had() -> None:
    driver = running()
    driver.run_wave(call(), call())
    driver.begin_wave(call())
    driver.send("m2", Now())
    events = driver.exit(total_waves=5)
    told = [event for event in events if isinstance(event, ExecutionCancelled)]
    handled = [event for event in events if isinstance(event, CancellationHandled)]
    assert [(e.turn, e.wave_num, e.total_waves, e.partial_results_count) for e in told] == [
        (1, 3, 5, 2)
    ]
    assert told[0].cancel_reason == "superseded"
    assert [(e.turn, e.wave_num, e.partial_results_count) for e in handled] == [(1, 3, 2)]
    assert handled[0].message == "turn 1 was stopped before wave 3: superseded"


def test_the_words_of_who_stopped_a_turn_are_told() -> None:
    driver = running()
    driver.cancel_token("the user hung up")
    driver.stop(Now())
    events = driver.exit()
    told = next(event for event in events if isinstance(event, ExecutionCancelled))
    assert told.cancel_reason == "the user hung up"
    ended = next(event for event in events if isinstance(event, TurnEnded))
    assert ended.detail == "the user hung up"


def test_results_that_are_answered_from_an_earlier_attempt_count_once() -> None:
    driver = running()
    (first,) = driver.run_wave(call())
    driver.crash()
    (second,) = driver.begin_wave(call(answered_from=first.call_id))
    driver.report(done(second), wave_done=1)
    driver.send("m2")
    events = driver.exit()
    told = next(event for event in events if isinstance(event, ExecutionCancelled))
    assert told.partial_results_count == 1


# The session's own state.


def test_what_a_turn_saved_is_the_sessions_when_it_has_finished() -> None:
    driver = running()
    driver.save({"n": 1})
    driver.save({"n": 2})
    assert driver.state.saved is None
    driver.exit("done")
    assert driver.state.saved == {"n": 2}
    driver.send("m2")
    driver.exit("nothing saved")
    assert driver.state.saved == {"n": 2}


def test_what_an_unfinished_turn_saved_is_not_the_sessions() -> None:
    driver = running()
    driver.save({"n": 1})
    driver.stop()
    driver.exit()
    assert driver.state.saved is None
    driver.send("m2")
    driver.exit("done")
    assert driver.state.saved is None


def test_what_an_attempt_saved_that_died_is_not_the_sessions() -> None:
    driver = running()
    driver.save({"n": 1})
    driver.crash()
    assert driver.running.saved is None
    driver.exit("done, without saving")
    assert driver.state.saved is None


# After a shutdown.


def test_after_a_shutdown_the_turn_is_one_again_and_then_what_waited_by_its_policies() -> None:
    driver = running(LASTING)
    driver.send("m2")
    driver.exit()
    driver.run_wave(call())
    driver.send("m3", Enqueue())
    driver.send("m4", Enqueue())
    driver.shut_down()
    driver.exit("a draft")
    driver.crash_and_open()
    assert driver.in_turn == ["m1", "m2"]
    previous = driver.state.previous
    assert previous is not None
    assert previous.reason is Reason.SHUTDOWN
    assert len(previous.completed) == 1
    assert previous.draft == Reply(text="a draft")
    driver.exit("done")
    assert driver.in_turn == ["m3"]
    driver.exit("done")
    assert driver.in_turn == ["m4"]


def ends(driver: Driver) -> list[str]:
    return [
        f"{event.message_id} {event.status}"
        for event in driver.events
        if isinstance(event, MessageEnded)
    ]


def test_messages_end_in_the_order_in_which_they_were_accepted() -> None:
    driver = stopping()
    driver.exit()
    driver.exit("done")
    assert ends(driver) == ["m1 answered", "m2 answered"]
