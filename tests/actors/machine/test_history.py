from __future__ import annotations

import gc
import weakref

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_json

from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.history import InterruptedHistory, finished, interrupted, unfinished
from wavebreak.actors.machine.reading import readable
from wavebreak.actors.machine.state import Rules, SessionState
from wavebreak.messages.errors import InvalidMessage
from wavebreak.messages.events import TurnEnded
from wavebreak.messages.history import HistoryEntry, HistoryKind, WrittenHistory
from wavebreak.messages.message import Attachment, Reply, SessionMessage
from wavebreak.messages.policies import Aside, Enqueue, Now, Steer
from wavebreak.messages.reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    Effect,
    Reason,
    TurnOutcome,
)
from wavebreak.messages.records import CallError

from .driving import KEY, LASTING, Driver, Move, call, done, opened, running

NOW = Now()
CANCELLED_ERROR = CallError(type="CancelledError", message="cancelled while it ran")
TIMEOUT_ERROR = CallError(type="TimeoutError", message="it took too long")


def lines(entries: list[HistoryEntry]) -> list[str]:
    """What each entry says, as ``turn kind: text``, with a mark for what was interrupted."""
    return [f"{e.turn} {e.kind}{'!' * e.interrupted}: {e.text}" for e in entries]


def test_a_finished_turn_adds_its_messages_what_it_said_and_its_reply() -> None:
    driver = opened()
    driver.send("m1")
    driver.send("m2", Enqueue())
    driver.at += 1.0
    driver.exit("first")
    driver.say("one moment")
    driver.say("and another")
    driver.at += 1.0
    driver.exit("done")
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 reply: first",
        "2 message: text of m2",
        "2 said: one moment",
        "2 said: and another",
        "2 reply: done",
    ]
    _, _, first, said, _, reply = driver.read()
    assert first.message is not None
    assert first.message.message_id == "m2"
    assert [entry.at for entry in (first, said, reply)] == [1000.0, 1001.0, 1002.0]
    assert reply.reply == Reply(text="done")


def test_a_reply_without_words_is_in_the_history_when_it_has_anything() -> None:
    for reply in (Reply(attachments=(Attachment(media_id="7"),)), Reply(data={"card": 1})):
        driver = running()
        driver.exit(reply)
        assert driver.read()[-1] == HistoryEntry(
            kind=HistoryKind.REPLY, turn=1, text="", reply=reply, at=driver.at
        )


@pytest.mark.parametrize("reply", ["", " \n"])
def test_an_empty_word_of_the_assistant_never_appears(reply: str) -> None:
    driver = running()
    driver.streamed = " "
    driver.say("")
    driver.send("m2")
    driver.exit()
    driver.say("  ")
    driver.exit(reply)
    assert [entry.kind for entry in driver.read()] == ["message", "ended", "message"]


def test_a_chain_of_interruptions_is_told_in_order_and_each_message_once() -> None:
    driver = running()
    driver.run_wave(call("search"))
    driver.say("one moment")
    driver.streamed = "I have fou"
    driver.send("m2")
    driver.exit()
    driver.streamed = ""
    driver.send("m3")
    driver.exit("a draft that nobody saw")
    assert driver.history == [], "what is unanswered is not over"
    driver.exit("done")
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 call: search({})",
        "1 result: result of 1.1.1.1",
        "1 said!: one moment",
        "1 streamed!: I have fou",
        "1 ended!: the user wrote again",
        "2 message: text of m2",
        "2 ended!: the user wrote again",
        "3 message: text of m3",
        "3 reply: done",
    ]


def test_what_is_unanswered_can_be_read_as_it_stands_and_so_exactly_once() -> None:
    driver = running()
    driver.send("m2")
    driver.exit()
    driver.run_wave(call("search"))
    driver.begin_wave(call("price"))
    driver.streamed = "It is"
    assert lines(driver.read(all_=True)) == [
        "1 message: text of m1",
        "1 ended!: the user wrote again",
        "2 message: text of m2",
        "2 call: search({})",
        "2 result: result of 2.1.1.1",
        "2 streamed: It is",
    ], "a call without an end is not in it: each has exactly one result"
    driver.report(done(driver.running.open[0]), wave_done=2)
    driver.exit("done")
    assert lines(driver.read()) == lines(driver.read(all_=True))


ENDS: list[tuple[Move, str]] = [
    (lambda d: d.stop(detail="enough"), "it was stopped on request (enough)"),
    (lambda d: d.stop(reason=Reason.DISCONNECT), "the connection to the user was lost"),
    (lambda d: d.pass_time(60.0), "its time was over (Operation timeout)"),
]


@pytest.mark.parametrize(("end", "told"), ENDS)
def test_a_turn_without_a_reply_is_told_with_its_reason(end: Move, told: str) -> None:
    driver = opened()
    driver.send("m1", deadline=60.0)
    driver.say("one moment")
    end(driver)
    driver.exit()
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 said!: one moment",
        f"1 ended!: {told}",
    ]
    ended = driver.read()[-1]
    assert ended.outcome in {TurnOutcome.STOPPED, TurnOutcome.TIMED_OUT}
    assert ended.reason is not None


def test_the_messages_that_end_with_a_stopped_turn_are_told_with_it_and_others_are_not() -> None:
    driver = running()
    driver.send("m2", Enqueue())
    driver.send("m3")
    driver.stop(backlog=Backlog.DROP)
    driver.exit()
    assert driver.ended("m2") == "dropped stopped"
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 message: text of m3",
        "1 ended!: it was stopped on request",
    ]


def test_a_message_that_the_turn_took_later_is_told_in_its_place_and_once() -> None:
    driver = running()
    driver.run_wave(call("search"))
    driver.send("m2", Steer())
    driver.take()
    driver.say("I see")
    driver.send("m3")
    driver.exit()
    driver.exit("done")
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 call: search({})",
        "1 result: result of 1.1.1.1",
        "1 message: text of m2",
        "1 said!: I see",
        "1 ended!: the user wrote again",
        "2 message: text of m3",
        "2 reply: done",
    ]


def test_what_was_answered_beside_a_turn_is_told_when_it_was() -> None:
    driver = running(Rules(aside=True, courteous=True))
    driver.send("m2", Aside())
    driver.send("m3", Aside())
    driver.answer_aside("m2", "still here")
    driver.answer_aside("m3", error="ValueError")
    assert driver.wishes == [(CourtesyKind.FAILED, 1)]
    driver.exit("done")
    assert lines(driver.read()) == [
        "0 message: text of m2",
        "0 aside: still here",
        "0 message: text of m3",
        "1 message: text of m1",
        "1 reply: done",
    ]


def test_what_was_said_by_an_attempt_that_died_is_in_the_history_once() -> None:
    driver = running()
    driver.say("one moment")
    driver.crash()
    driver.exit("done")
    assert [entry.text for entry in driver.read()] == ["text of m1", "one moment", "done"]


# --- calls and the truth about them ---


def results(driver: Driver) -> dict[str, str]:
    """What is told of each call; each has one result, behind it."""
    called: list[str] = []
    told: dict[str, str] = {}
    for entry in driver.read():
        if entry.kind is HistoryKind.CALL:
            assert entry.call is not None
            called.append(entry.call.call_id)
        if entry.kind is HistoryKind.RESULT:
            assert entry.call is not None
            assert entry.call.call_id in called
            assert entry.call.call_id not in told
            told[entry.call.call_id] = entry.text
            assert entry.interrupted == (
                entry.call.status not in {CallStatus.COMPLETED, CallStatus.FAILED}
            )
    assert sorted(told) == sorted(called)
    return told


def test_each_call_has_one_result_behind_the_calls_of_its_wave() -> None:
    driver = running()
    driver.run_wave(call("search", arguments={"city": "Rome"}), call("price"))
    one, two = driver.begin_wave(call("book", Effect.ONCE), call("mail", Effect.ONCE))
    driver.say("words in the middle of a wave")
    driver.report(done(two, CallStatus.FAILED), done(one, result={"code": 7}), wave_done=2)
    driver.exit("done")
    assert lines(driver.read())[1:-1] == [
        '1 call: search({"city":"Rome"})',
        "1 call: price({})",
        "1 result: result of 1.1.1.1",
        "1 result: result of 1.1.1.2",
        "1 call: book({})",
        "1 call: mail({})",
        '1 result: {"code":7}',
        "1 result: failed",
        "1 said: words in the middle of a wave",
    ]


def test_a_call_that_was_cut_off_by_the_user_says_so() -> None:
    driver = running()
    read, once, none = driver.begin_wave(call(), call("book", Effect.ONCE), call("mail"))
    driver.send("m2", NOW)
    driver.report(
        done(read, CallStatus.CANCELLED, error=CANCELLED_ERROR),
        done(once, CallStatus.UNKNOWN, error=CANCELLED_ERROR),
        done(none, CallStatus.SKIPPED),
    )
    driver.exit()
    driver.exit("done")
    assert list(results(driver).values()) == [
        "was cut off; it only reads, so it has changed nothing: the user wrote again",
        "was started and its end was not seen, so it may have happened: the user wrote again",
        "was not started: the user wrote again",
    ]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_call_that_was_cut_off_by_a_crash_never_says_that_the_user_did_it(stopped: bool) -> None:
    driver = running()
    driver.begin_wave(call("book", Effect.ONCE))
    if stopped:
        driver.send("m2")
    driver.crash(retry_after=0.0)
    if not stopped:
        driver.stop()
        driver.exit()
    else:
        driver.exit("done")
    assert results(driver)["1.1.1.1"] == (
        "was started and its end was not seen, so it may have happened: "
        "the work on it crashed (SystemExit: 1)"
    )


def test_a_call_that_a_recovery_found_open_says_so() -> None:
    driver = running()
    driver.begin_wave(call())
    driver.crash_and_open()
    driver.exit("done")
    assert "the session was recovered" in results(driver)["1.1.1.1"]


def test_a_call_that_a_dying_attempt_cancelled_was_not_cancelled_by_the_user() -> None:
    driver = running()
    (one,) = driver.begin_wave(call())
    driver.report(done(one, CallStatus.CANCELLED, error=CANCELLED_ERROR))
    driver.crash()
    driver.send("m2")
    driver.exit()
    driver.exit("done")
    assert results(driver)["1.1.1.1"].endswith(": it crashed")


def test_a_call_that_the_agent_itself_gave_up_before_a_stop_has_nothing_to_do_with_it() -> None:
    driver = running()
    (one,) = driver.begin_wave(call())
    driver.report(done(one, CallStatus.CANCELLED, error=CANCELLED_ERROR), wave_done=1)
    driver.run_wave(call("price"))
    (last,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(last, CallStatus.UNKNOWN, error=TIMEOUT_ERROR), wave_done=3)
    driver.at += 1.0
    driver.stop()
    driver.exit()
    told = results(driver)
    assert told["1.1.1.1"] == "was cut off; it only reads, so it has changed nothing"
    assert told["1.1.3.1"].endswith("may have happened: TimeoutError: it took too long")


def test_a_call_that_the_agent_gave_up_long_before_it_failed_did_not_fail_with_it() -> None:
    driver = running()
    (one,) = driver.begin_wave(call())
    driver.report(done(one, CallStatus.CANCELLED, error=CANCELLED_ERROR), wave_done=1)
    (last,) = driver.begin_wave(call("price"))
    driver.exit(cause="ValueError", ended=(done(last, CallStatus.CANCELLED),))
    assert list(results(driver).values()) == [
        "was cut off; it only reads, so it has changed nothing",
        "was cut off; it only reads, so it has changed nothing: it failed",
    ]


def test_a_call_that_was_given_up_in_the_last_wave_before_the_stop_is_not_told_as_stopped() -> None:
    driver = running()
    (one,) = driver.begin_wave(call())
    driver.report(done(one, CallStatus.CANCELLED, error=CANCELLED_ERROR), wave_done=1)
    driver.at += 1.0
    driver.stop()
    driver.exit()
    assert results(driver)["1.1.1.1"] == "was cut off; it only reads, so it has changed nothing"


def test_a_call_that_an_earlier_attempt_answers_is_told_once() -> None:
    driver = running()
    (first,) = driver.run_wave(call())
    driver.crash()
    (again,) = driver.begin_wave(call(answered_from=first.call_id))
    driver.report(done(again, result="result of 1.1.1.1"), wave_done=1)
    driver.exit("done")
    assert results(driver) == {"1.1.1.1": "result of 1.1.1.1"}


def test_a_late_end_corrects_what_was_told_of_a_call() -> None:
    driver = running()
    (once,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(once, CallStatus.UNKNOWN, error=CANCELLED_ERROR), wave_done=1)
    driver.send("m2")
    driver.exit()
    driver.report(done(once, result="booked")._replace(late=True))
    driver.exit("done")
    assert results(driver)["1.1.1.1"] == "booked", "it was known before the chain was over"

    driver = running()
    (once,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(once, CallStatus.UNKNOWN), wave_done=1)
    driver.exit("done")
    assert "may have happened" in results(driver)["1.1.1.1"]
    driver.report(done(once, result="booked")._replace(late=True))
    assert results(driver)["1.1.1.1"] == "booked", "it became known long after"


# --- what was streamed and heard ---


def test_what_was_streamed_is_kept_with_the_turns_end_and_only_then() -> None:
    driver = running()
    driver.streamed = "I have fou"
    driver.stop()
    driver.exit()
    ended = [event for event in driver.events if isinstance(event, TurnEnded)]
    assert [(event.streamed, event.wave_num) for event in ended] == [("I have fou", 1)]
    driver.streamed = ""
    driver.send("m2")
    driver.streamed = "I have found it"
    driver.exit("I have found it")
    assert driver.read()[-1].text == "I have found it"
    assert [e.kind for e in driver.read()].count(HistoryKind.STREAMED) == 1


def test_words_are_kept_as_far_as_the_channel_says_that_they_were_heard() -> None:
    driver = running()
    driver.streamed = "I have found a room"
    driver.heard(1, 6)
    assert lines(driver.read(all_=True))[-1] == "1 streamed: I have found a room", "it goes on"
    driver.send("m2")
    driver.exit()
    driver.streamed = ""
    assert lines(driver.read(all_=True))[1] == "1 streamed!: I have"
    driver.heard(1, 1)
    assert lines(driver.read(all_=True))[1] == "1 streamed!: I", "the last word counts"
    driver.exit("done")
    assert lines(driver.read())[1] == "1 streamed!: I"


def test_a_reply_that_was_not_heard_to_its_end_is_cut_and_marked() -> None:
    driver = running()
    driver.exit("I have found a room")
    driver.heard(1, 6)
    assert lines(driver.read()) == ["1 message: text of m1", "1 reply!: I have"]
    assert driver.read()[-1].reply == Reply(text="I have found a room")
    driver.heard(1, 100)
    assert lines(driver.read())[-1] == "1 reply: I have found a room"
    driver.heard(1, 0)
    assert lines(driver.read()) == ["1 message: text of m1"], "nobody heard anything"


def test_a_reply_of_which_the_end_was_known_before_is_cut_too() -> None:
    driver = running()
    driver.heard(1, 6)
    driver.exit("I have found a room")
    assert lines(driver.read())[-1] == "1 reply!: I have"


@pytest.mark.parametrize("turn", [0, 2])
def test_nothing_is_heard_of_a_turn_that_there_was_not(turn: int) -> None:
    with pytest.raises(InvalidMessage, match=f"turn={turn}"):
        running().heard(turn, 1)


# --- reading ---


def test_a_result_of_which_the_call_is_further_back_is_left_out() -> None:
    driver = running()
    driver.run_wave(call("search"), call("price"))
    driver.exit("done")
    assert lines(driver.read(limit=4)) == [
        "1 call: price({})",
        "1 result: result of 1.1.1.2",
        "1 reply: done",
    ]
    assert lines(driver.read(limit=1)) == ["1 reply: done"]
    assert driver.read(limit=0) == []


def test_what_is_stored_survives_json_and_is_read_as_before() -> None:
    class Shipped(SessionMessage):
        order: int

        def as_text(self) -> str:
            return f"order {self.order}"

    driver = opened(LASTING)
    send = driver.message("m1")
    driver.decide(send._replace(message=Shipped(order=5, message_id="m1")))
    driver.run_wave(call("search", arguments={"city": "Rome"}))
    driver.begin_wave(call("book", Effect.ONCE))
    driver.streamed = "I ha"
    driver.send("m2", NOW)
    driver.pass_time_until_due()
    adapter = TypeAdapter(HistoryEntry)
    context = {"message_types": {"Shipped": Shipped}}
    chain = driver.state.unsettled
    again = [adapter.validate_json(e.model_dump_json(), context=context) for e in chain]
    assert again == list(chain)
    driver.exit("done")
    driver.heard(2, 1)
    stored = [adapter.validate_json(e.model_dump_json(), context=context) for e in driver.history]
    assert stored == driver.history
    shown = list(readable(stored, 99).entries)
    assert shown == driver.read()
    assert isinstance(shown[0].message, Shipped)
    assert [adapter.validate_json(e.model_dump_json(), context=context) for e in shown] == shown


def test_a_chain_is_told_as_a_whole_when_the_session_was_recovered_in_its_middle() -> None:
    driver = running(LASTING)
    driver.streamed = "I ha"
    driver.send("m2")
    driver.exit()
    driver.streamed = ""
    driver.crash_and_open()
    assert driver.state.unsettled == fold(SessionState(KEY), driver.entries).unsettled
    driver.exit("done")
    assert lines(driver.read()) == [
        "1 message: text of m1",
        "1 streamed!: I ha",
        "1 ended!: the user wrote again",
        "2 message: text of m2",
        "2 reply: done",
    ]


def test_what_is_known_of_a_chain_is_made_when_somebody_reads_it() -> None:
    driver = running(LASTING)
    driver.run_wave(call("search"), call("book"))
    before = driver.state.running
    assert before is not None
    driver.send("m2")
    stopped = driver.state.running
    (ended,) = [event for event in driver.exit() if isinstance(event, TurnEnded)]
    chain = driver.state.unsettled
    assert isinstance(chain, InterruptedHistory)
    at_once = tuple(unfinished(stopped or before, (), ended))
    assert [entry.kind for entry in chain] == ["message", "work", "ended"]
    assert (len(chain), chain[0], chain[1:]) == (3, at_once[0], at_once[1:])
    assert chain == at_once
    assert at_once == chain
    assert chain != at_once[1:]
    assert to_json(list(chain)) == to_json(list(at_once))


def test_what_is_known_of_a_chain_keeps_none_of_the_records_of_its_calls() -> None:
    driver = running(LASTING)
    driver.run_wave(call("search"))
    driver.send("m2")
    (ended,) = [event for event in driver.exit() if isinstance(event, TurnEnded)]
    left = ended.partial_results
    assert left is not None
    record, chain = weakref.ref(left.calls[0]), driver.state.unsettled
    del driver, ended, left
    gc.collect()
    assert record() is None
    assert [entry.kind for entry in chain] == ["message", "work", "ended"]


def test_a_chain_of_several_turns_is_known_whatever_they_did() -> None:
    driver = running(LASTING)
    known: tuple[HistoryEntry, ...] = ()
    for number in range(2, 8):
        if number % 3:
            driver.run_wave(call("search"))
        if not number % 2:
            driver.say(f"said {number}")
        driver.send(f"m{number}")
        stopped = driver.state.running
        assert stopped is not None
        (ended,) = [event for event in driver.exit() if isinstance(event, TurnEnded)]
        known = (*known, *unfinished(stopped, known, ended))
        assert len(driver.state.unsettled) == len(known)
        assert driver.state.unsettled == known
        assert interrupted(stopped, known[:0], ended) == tuple(unfinished(stopped, (), ended))
    driver.exit("done")
    told = [e.message.message_id for e in driver.read() if e.message is not None]
    assert told == [f"m{number}" for number in range(1, 8)]


def test_a_turn_that_a_shutdown_ends_for_good_is_told_and_one_that_lives_on_is_not_yet() -> None:
    for rules, told in ((LASTING, 0), (LASTING._replace(survives=False), 2)):
        driver = running(rules)
        driver.shut_down()
        driver.exit()
        assert len(driver.history) == told
        assert bool(driver.state.unsettled) == (not told)


class Order(SessionMessage):
    """A message of the program's own."""

    items: tuple[str, ...] = ()
    price: float | None = 1.5

    def as_text(self) -> str:
        return f'ordered: {", ".join(self.items)} "%b" ü'


@pytest.mark.parametrize("waves", [0, 1, 3])
@pytest.mark.parametrize("is_chain", [False, True])
def test_what_a_plain_turn_adds_is_written_as_its_entries_would_be_one_by_one(
    waves: int, is_chain: bool
) -> None:
    driver = opened()
    driver.send("m1")
    for _ in range(waves):
        driver.at += 0.25
        driver.run_wave(call("look", arguments={"said": 'a "b"\n'}))
    order = Order(message_id="m2", received_at=3.5, sender="ann", items=("tea", "%d"))
    (waiting,) = driver.running.messages
    running = driver.running._replace(messages=(waiting, waiting._replace(message=order)))
    reply = Reply(text='done "so"', attachments=(Attachment(media_id="7"),), data={"card": [1]})
    known = list(finished(running, (), Reply(text="before"), 16.0))[:1] if is_chain else ()
    added = finished(running, known, reply, 17.0)
    assert isinstance(added, WrittenHistory)
    context = {"message_types": {"Order": Order}}
    history = TypeAdapter(list[HistoryEntry])
    read = history.validate_json(added.as_json(), context=context)
    assert read == history.validate_json(to_json(list(added)), context=context) == list(added)
    assert len(added) == 3 + bool(waves)
