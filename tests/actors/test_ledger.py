from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from wavebreak.actors.ledger import START, Ledger, records_of
from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.call import ToolCall
from wavebreak.tools.tool import tool

from .attempts import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FINAL,
    RETRYABLE,
    SKIPPED,
    UNKNOWN,
    Attempts,
    Got,
    book,
    look,
    put,
)

GoOn = Callable[[Attempts], None]
"""How an attempt ends, and the next begins."""


def stay(attempts: Attempts) -> None:
    """Stay within the attempt."""


# What makes calls equal.


@tool(effect="read")
async def find(where: dict[str, int], when: date | None = None, *, beds: int = 2) -> str:
    raise NotImplementedError


@tool(name="find", effect="read", version="2")
async def find_2(where: dict[str, int], when: date | None = None, *, beds: int = 2) -> str:
    raise NotImplementedError


@tool(name="find", effect="read")
async def find_renamed(where: dict[str, int], when: date | None = None, *, beds: int = 2) -> str:
    raise NotImplementedError


def test_calls_are_equal_by_tool_and_canonical_arguments() -> None:
    attempts = Attempts()
    first = attempts.one(find({"x": 1, "y": 2}, date(2026, 5, 1)))
    attempts.crash()
    equal = find_renamed(when=date(2026, 5, 1), beds=2, where={"y": 2, "x": 1})
    assert attempts.one(equal).answered_from == first.call_id


def test_a_version_is_answered_by_its_own_results() -> None:
    ways: tuple[GoOn, ...] = (Attempts.crash, Attempts.interrupt)
    for go_on in ways:
        attempts = Attempts()
        first, second = attempts.wave(find({}), find_2({}))
        go_on(attempts)
        answers = attempts.wave(find_2({}), find({}))
        assert [got.answered_from for got in answers] == [second.call_id, first.call_id]


@pytest.mark.parametrize(
    "other",
    [
        find({"x": 1, "y": 3}),
        find({"x": 1}),
        find({"x": 1, "y": 2}, beds=3),
        find({"x": 1, "y": 2}, date(2026, 5, 1)),
        find_2({"x": 1, "y": 2}),
        look(1),
    ],
    ids=repr,
)
def test_another_argument_tool_or_version_is_another_call(other: ToolCall[str]) -> None:
    for go_on in (Attempts.crash, Attempts.interrupt):
        attempts = Attempts()
        attempts.one(find({"x": 1, "y": 2}))
        go_on(attempts)
        assert attempts.one(other).was_started


def test_the_place_of_a_call_does_not_matter() -> None:
    attempts = Attempts()
    one, two = attempts.wave(book(1), book(2))
    three = attempts.one(book(3))
    attempts.crash()
    attempts.one(look(7))
    answers = attempts.wave(book(3), book(2), book(1))
    assert [got.answered_from for got in answers] == [three.call_id, two.call_id, one.call_id]


def test_without_anything_before_it_every_call_is_started() -> None:
    attempts = Attempts()
    assert attempts.ledger.answer(book(1), 0.0) is START
    assert all(got.was_started for got in attempts.wave(book(1), book(1), look(1)))


# Within a turn: a new attempt.


def results(got: list[Got]) -> list[str | None]:
    return [one.result for one in got]


def test_on_a_new_attempt_the_nth_equal_call_takes_the_nth_result() -> None:
    for again in (Attempts.crash, Attempts.recover):
        attempts = Attempts()
        before = attempts.wave(book(1), book(1))
        before.append(attempts.one(book(1)))
        again(attempts)
        after = [attempts.one(book(1))]
        after += attempts.wave(book(1), book(1))
        assert results(after) == results(before)
        assert not any(got.was_started for got in after)
        assert attempts.one(book(1)).was_started


def test_an_attempt_takes_the_results_of_all_attempts_before_it() -> None:
    attempts = Attempts()
    one = attempts.one(book(1))
    attempts.crash()
    attempts.one(book(1))
    two = attempts.one(book(1))
    attempts.crash()
    again = [attempts.one(book(1)), attempts.one(book(1))]
    assert [got.answered_from for got in again] == [one.call_id, two.call_id]
    assert attempts.one(book(1)).was_started


def test_a_call_that_failed_for_good_fails_again_and_is_not_started() -> None:
    for make in (book, put, look):
        attempts = Attempts()
        failed = attempts.one(make(1), FINAL)
        attempts.crash()
        got = attempts.one(make(1))
        assert (got.status, got.answered_from) == (FAILED, failed.call_id)
        attempts.crash()
        assert attempts.one(make(1)).answered_from == failed.call_id


@pytest.mark.parametrize("end", [RETRYABLE, SKIPPED], ids=["retryable", "skipped"])
def test_what_did_not_happen_is_made_anew_with_the_old_key(end: CallStatus) -> None:
    for make in (book, put):
        attempts = Attempts()
        before = attempts.one(make(1), end)
        attempts.crash()
        after = attempts.one(make(1))
        assert after.was_started
        assert after.key == before.key


def test_a_read_that_was_cancelled_or_may_be_retried_is_made_anew() -> None:
    for end in (CANCELLED, RETRYABLE, SKIPPED):
        attempts = Attempts()
        before = attempts.one(look(1), end)
        attempts.crash()
        after = attempts.one(look(1))
        assert after.was_started
        assert after.key != before.key


def test_what_is_there_answers_before_anything_is_made_anew() -> None:
    # Else an agent that had tried again by itself would have it done twice.
    for end in (RETRYABLE, SKIPPED):
        for make in (book, put, look):
            attempts = Attempts()
            first = attempts.one(make(1), end)
            second = attempts.one(make(1))
            attempts.crash()
            assert attempts.one(make(1)).answered_from == second.call_id
            anew = attempts.one(make(1))
            assert anew.was_started
            assert make is look or anew.key == first.key
            attempts.crash()
            one, two, three = attempts.wave(make(1), make(1), make(1))
            assert (one.answered_from, two.answered_from) == (second.call_id, anew.call_id)
            assert three.was_started


def test_a_later_attempts_result_is_not_undone_by_an_earlier_failure() -> None:
    attempts = Attempts()
    attempts.one(book(1), RETRYABLE)
    attempts.crash()
    good = attempts.one(book(1))
    attempts.crash()
    assert attempts.one(book(1)).answered_from == good.call_id
    attempts.crash()
    attempts.crash()
    assert attempts.one(book(1)).answered_from == good.call_id


def test_within_a_turn_neither_carry_nor_age_nor_writes_nor_fresh_matter() -> None:
    @tool(effect="read", carry=False)
    async def peek() -> str:
        raise NotImplementedError

    attempts = Attempts()
    seen = attempts.one(peek())
    attempts.one(book(1))
    attempts.session.at += 1e9
    attempts.crash()
    assert attempts.one(peek().fresh()).answered_from == seen.call_id


def test_a_failure_without_an_error_is_for_good() -> None:
    attempts = Attempts()
    failed = attempts.one(book(1), FAILED)
    attempts.crash()
    assert attempts.one(book(1)).answered_from == failed.call_id


def test_a_refused_result_answers_a_later_attempt_that_does_not_refuse_it() -> None:
    attempts = Attempts()
    first = attempts.one(book(1))
    attempts.interrupt()
    skipped = attempts.one(book(1).fresh(), SKIPPED)
    attempts.crash()
    assert attempts.one(book(1)).answered_from == first.call_id
    assert attempts.one(book(1)).key == skipped.key


def test_a_call_whose_end_is_not_in_the_log_is_not_in_the_ledger() -> None:
    attempts = Attempts()
    ((flying, _),) = attempts.open_wave(book(1))
    running = attempts.session.running
    assert running.open == (flying,)
    assert list(records_of(running.log, ())) == []


# Within a turn: unknown.


def test_an_unknown_once_call_is_not_started_again_by_a_new_attempt() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    for _ in range(3):
        attempts.crash()
        got = attempts.one(book(1))
        assert (got.status, got.answered_from) == (UNKNOWN, unknown.call_id)


def test_a_call_in_flight_when_the_attempt_died_is_unknown() -> None:
    attempts = Attempts()
    ((flying, _),) = attempts.open_wave(book(1))
    attempts.recover()
    got = attempts.one(book(1))
    assert (got.status, got.answered_from) == (UNKNOWN, flying.call_id)


def test_an_unknown_call_is_not_started_within_its_own_attempt_either() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    assert attempts.one(book(1)).answered_from == unknown.call_id
    assert all(not got.was_started for got in attempts.wave(book(1), book(1)))


def test_again_starts_an_unknown_call_with_its_old_key() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    again = attempts.one(book(1).again())
    assert again.was_started
    assert again.key == unknown.key
    more = attempts.one(book(1))
    assert more.was_started
    assert more.key not in {unknown.key, again.key} - {more.key}
    assert more.key != unknown.key


def test_what_was_made_again_answers_for_the_call_that_was_unknown() -> None:
    for make in (book, put):
        attempts = Attempts()
        unknown = attempts.one(make(1), UNKNOWN)
        again = attempts.one(make(1).again())
        for _ in range(2):
            attempts.crash()
            assert attempts.one(make(1)).answered_from == again.call_id
            more = attempts.one(make(1), FINAL)
            assert more.key != unknown.key


def test_what_was_made_again_in_a_later_turn_answers_for_the_unknown_call_too() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    assert attempts.one(book(1)).status is UNKNOWN
    again = attempts.one(book(1).again())
    assert again.key == unknown.key
    attempts.crash()
    assert attempts.one(book(1).again()).answered_from == again.call_id


def test_again_takes_the_key_of_the_call_that_is_unknown_and_not_of_one_it_answered() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.crash()
    assert attempts.one(book(1)).status is UNKNOWN
    attempts.crash()
    assert attempts.one(book(1).again()).key == unknown.key
    other = Attempts()
    unknown = other.one(book(1), UNKNOWN)
    other.interrupt()
    other.one(book(1))
    other.open_wave(book(1).again())
    other.recover()
    assert other.one(book(1).again()).key == unknown.key


def test_an_idempotent_unknown_call_runs_again_with_its_old_key() -> None:
    for go_on in (stay, Attempts.crash, Attempts.interrupt, Attempts.finish):
        attempts = Attempts()
        unknown = attempts.one(put(1), UNKNOWN)
        go_on(attempts)
        again = attempts.one(put(1))
        assert again.was_started
        assert again.key == unknown.key
        assert attempts.one(put(1)).key != unknown.key


def test_in_a_wave_one_call_takes_the_old_key_and_the_next_has_its_own() -> None:
    for make, go_on in (
        (put, Attempts.crash),
        (put, Attempts.interrupt),
        (put, Attempts.finish),
        (book, Attempts.interrupt),
    ):
        attempts = Attempts()
        unknown = attempts.one(make(1), UNKNOWN)
        go_on(attempts)
        one, two = attempts.wave(make(1).again(), make(1).again())
        assert one.key == unknown.key
        assert two.was_started
        assert two.key != unknown.key
    attempts = Attempts()
    unknown = attempts.one(put(1), UNKNOWN)
    one, two = attempts.wave(put(1), put(1))
    assert one.key == unknown.key
    assert two.key != unknown.key


def test_each_old_key_of_several_is_given_once_in_a_wave() -> None:
    attempts = Attempts()
    unknown = attempts.wave(put(1), put(1), ends=[UNKNOWN, UNKNOWN])
    attempts.finish()
    one, two, three = attempts.wave(put(1), put(1), put(1))
    assert [one.key, two.key] == [got.key for got in unknown]
    assert three.key not in {one.key, two.key}


def test_an_old_key_is_given_once_although_its_place_comes_later() -> None:
    @tool(effect="idempotent", carry=60.0)
    async def store() -> str:
        raise NotImplementedError

    attempts = Attempts()
    attempts.one(store())
    attempts.interrupt()
    _, (flying, _) = attempts.open_wave(store(), store())
    attempts.session.at += 61.0
    attempts.recover()
    one, two = attempts.wave(store(), store())
    assert one.key == flying.idempotency_key
    assert two.key != one.key


def test_in_a_wave_with_again_a_plain_call_does_not_start_what_is_unknown() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    one, two = attempts.wave(book(1).again(), book(1))
    assert one.key == unknown.key
    assert (two.status, two.answered_from) == (UNKNOWN, unknown.call_id)


def test_again_that_was_never_started_can_be_said_again_in_the_same_attempt() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.one(book(1).again(), SKIPPED)
    assert attempts.one(book(1)).status is UNKNOWN
    assert attempts.one(book(1).again()).key == unknown.key


def test_again_that_was_never_started_is_not_again() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    attempts.one(book(1).again(), SKIPPED)
    got = attempts.one(book(1))
    assert (got.status, got.answered_from) == (UNKNOWN, unknown.call_id)
    attempts.crash()
    assert attempts.one(book(1)).status is UNKNOWN
    again = attempts.one(book(1).again())
    assert again.was_started
    assert again.key == unknown.key


def test_a_skipped_repetition_within_the_turn_does_not_make_an_unknown_call_startable() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.crash()
    attempts.one(book(1).again(), SKIPPED)
    attempts.crash()
    assert attempts.one(book(1)).answered_from == unknown.call_id


def test_again_of_a_call_that_completed_is_answered() -> None:
    for go_on in (Attempts.crash, Attempts.interrupt):
        attempts = Attempts()
        first = attempts.one(book(1))
        go_on(attempts)
        assert attempts.one(book(1).again()).answered_from == first.call_id


# Into the next turn: carry-over.


def carried_over(attempts: Attempts, go_on: str) -> None:
    {
        "interrupted": attempts.interrupt,
        "stopped": attempts.stop,
        "failed": attempts.fail,
    }[go_on]()


every_unfinished_end = pytest.mark.parametrize("end", ["interrupted", "stopped", "failed"])


@every_unfinished_end
def test_completed_calls_of_an_unfinished_turn_answer_each_once_in_order(end: str) -> None:
    attempts = Attempts()
    before = attempts.wave(book(1), put(1), look(2), book(1))
    carried_over(attempts, end)
    after = attempts.wave(book(1), book(1), put(1))
    assert [got.answered_from for got in after] == [
        before[0].call_id,
        before[3].call_id,
        before[1].call_id,
    ]
    assert attempts.one(book(1)).was_started
    assert attempts.one(put(1)).was_started


@every_unfinished_end
def test_what_did_not_complete_is_not_carried(end: str) -> None:
    attempts = Attempts()
    for status in (FINAL, RETRYABLE, SKIPPED):
        attempts.one(book(1), status)
        attempts.one(look(1), status)
    attempts.one(look(1), CANCELLED)
    keys = {got.key for got in attempts.began}
    carried_over(attempts, end)
    for call in (book(1), look(1)):
        got = attempts.one(call)
        assert got.was_started
        assert got.key not in keys


def test_results_are_carried_over_a_chain_used_or_unused_until_a_turn_finishes() -> None:
    attempts = Attempts()
    used, unused = attempts.wave(book(1), book(2))
    for _ in range(3):
        attempts.interrupt()
        assert attempts.one(book(1)).answered_from == used.call_id
    attempts.interrupt()
    own = attempts.one(book(3))
    attempts.stop()
    answers = attempts.wave(book(3), book(2), book(1))
    assert [got.answered_from for got in answers] == [own.call_id, unused.call_id, used.call_id]
    attempts.finish()
    assert all(got.was_started for got in attempts.wave(book(1), book(2), book(3)))


def test_a_carried_result_is_used_once_over_attempts_too() -> None:
    attempts = Attempts()
    first = attempts.one(book(1))
    attempts.interrupt()
    attempts.one(book(1))
    attempts.crash()
    assert attempts.one(book(1)).answered_from == first.call_id
    second = attempts.one(book(1))
    assert second.was_started
    attempts.interrupt()
    answers = attempts.wave(book(1), book(1), book(1))
    assert [got.answered_from for got in answers] == [first.call_id, second.call_id, None]


def test_a_carried_result_whose_use_was_not_recorded_is_there_for_the_next_attempt() -> None:
    for make in (book, put, look):
        attempts = Attempts()
        first = attempts.one(make(1))
        attempts.interrupt()
        attempts.open_wave(make(1))
        attempts.recover()
        assert attempts.one(make(1)).answered_from == first.call_id
        attempts.interrupt()
        assert attempts.one(make(1)).answered_from == first.call_id


def test_a_call_that_takes_the_place_of_an_unused_result_is_not_started() -> None:
    attempts = Attempts()
    first = attempts.one(book(1))
    attempts.interrupt()
    _, (flying, _) = attempts.open_wave(book(1), book(1))
    attempts.recover()
    one, two = attempts.wave(book(1), book(1))
    assert one.answered_from == first.call_id
    assert (two.status, two.answered_from) == (UNKNOWN, flying.call_id)


def test_a_call_whose_answer_was_settled_otherwise_takes_the_next_result() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    attempts.open_wave(book(1))
    attempts.recover()
    again = attempts.one(book(1).again())
    assert again.key == unknown.key
    attempts.crash()
    assert attempts.one(book(1)).answered_from == again.call_id


def test_a_final_failure_answers_still_when_the_record_of_its_use_was_lost() -> None:
    attempts = Attempts()
    failed = attempts.one(book(1), FINAL)
    attempts.crash()
    attempts.open_wave(book(1))
    attempts.recover()
    got = attempts.one(book(1))
    assert (got.status, got.answered_from) == (FAILED, failed.call_id)


def test_failures_and_skipped_calls_are_visible_and_are_told_as_they_were() -> None:
    attempts = Attempts()
    attempts.one(book(1), FINAL)
    attempts.crash()
    attempts.one(book(1))
    attempts.one(book(2), SKIPPED)
    attempts.one(look(1), CANCELLED)
    attempts.stop()
    previous = attempts.session.state.previous
    assert previous is not None
    told = [(record.tool, record.status, record.error) for record in previous.calls]
    assert told == [("book", FAILED, FINAL), ("book", SKIPPED, None), ("look", CANCELLED, None)]


def test_a_call_that_was_only_to_be_answered_leaves_nothing_behind() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.finish()
    attempts.late(unknown)
    attempts.open_wave(book(1))
    attempts.recover()
    attempts.interrupt()
    previous = attempts.session.state.previous
    assert previous is not None
    assert previous.calls == ()


def test_what_is_carried_without_a_limit_is_never_too_old() -> None:
    attempts = Attempts()
    first = attempts.one(book(1))
    attempts.session.at += 1e9
    attempts.interrupt()
    assert attempts.one(book(1)).answered_from == first.call_id


def test_what_is_not_carried_is_not_within_the_same_moment_either() -> None:
    @tool(carry=False)
    async def pay() -> str:
        raise NotImplementedError

    attempts = Attempts()
    attempts.one(pay())
    attempts.interrupt()
    assert attempts.one(pay()).was_started


@pytest.mark.parametrize("carry", [False, 0.0])
def test_what_is_not_to_be_carried_is_not(carry: bool | float) -> None:
    @tool(carry=carry)
    async def pay() -> str:
        raise NotImplementedError

    attempts = Attempts()
    attempts.one(pay())
    attempts.session.at += 0.1
    attempts.interrupt()
    assert attempts.one(pay()).was_started


def test_a_result_is_carried_as_long_as_its_tool_says() -> None:
    @tool(carry=timedelta(seconds=60))
    async def price() -> str:
        raise NotImplementedError

    attempts = Attempts()
    first = attempts.one(price())
    attempts.interrupt()
    attempts.session.at += 60.0
    assert attempts.one(price()).answered_from == first.call_id
    attempts.interrupt()
    attempts.session.at += 0.1
    assert attempts.one(price()).was_started


def test_an_old_result_does_not_keep_a_younger_one_from_being_used() -> None:
    @tool(carry=60.0)
    async def price() -> str:
        raise NotImplementedError

    attempts = Attempts()
    attempts.one(price())
    attempts.session.at += 61.0
    young = attempts.one(price())
    attempts.interrupt()
    assert attempts.one(price()).answered_from == young.call_id


def test_a_result_is_not_carried_to_other_senders() -> None:
    attempts = Attempts()
    attempts.finish("ann")
    first = attempts.one(book(1))
    attempts.stop()
    assert attempts.one(book(1)).was_started
    attempts.session.stop()
    attempts.session.exit()
    attempts.begin("ann")
    assert attempts.one(book(1)).answered_from == first.call_id
    attempts.interrupt("bob")
    assert attempts.one(book(1)).was_started


def test_results_made_for_several_senders_are_carried_to_the_same() -> None:
    attempts = Attempts()
    attempts.finish("bob")
    attempts.interrupt("ann")
    first = attempts.one(book(1))
    attempts.interrupt("ann")
    assert attempts.one(book(1)).answered_from == first.call_id


def test_fresh_refuses_the_carried_result_of_its_place_and_no_other() -> None:
    attempts = Attempts()
    attempts.one(book(1))
    second = attempts.one(book(1))
    attempts.interrupt()
    assert attempts.one(book(1).fresh()).was_started
    assert attempts.one(book(1)).answered_from == second.call_id
    assert attempts.one(book(1)).was_started


# Stale reads.


def test_a_carried_read_answers_as_long_as_nothing_else_was_started() -> None:
    attempts = Attempts()
    read = attempts.one(look(1))
    attempts.one(look(2))
    attempts.interrupt()
    attempts.one(look(3))
    assert attempts.one(look(1)).answered_from == read.call_id


@pytest.mark.parametrize("write", [book(9), put(9)], ids=repr)
@pytest.mark.parametrize("end", [COMPLETED, UNKNOWN, FINAL, RETRYABLE])
def test_a_carried_read_is_stale_once_a_call_that_is_no_read_was_started(
    write: ToolCall[str], end: CallStatus
) -> None:
    attempts = Attempts()
    attempts.one(look(1))
    attempts.one(write, end)
    young = attempts.one(look(2))
    attempts.interrupt()
    assert attempts.one(look(1)).was_started
    assert attempts.one(look(2)).answered_from == young.call_id


def test_a_read_of_the_same_wave_as_a_write_is_stale() -> None:
    for wave in ((look(1), book(9)), (book(9), look(1))):
        attempts = Attempts()
        attempts.wave(*wave)
        attempts.interrupt()
        assert attempts.one(look(1)).was_started


def test_a_write_of_the_new_turn_makes_carried_reads_stale() -> None:
    for end in (COMPLETED, FINAL, UNKNOWN):
        attempts = Attempts()
        attempts.one(look(1))
        attempts.interrupt()
        attempts.one(book(9), end)
        assert attempts.one(look(1)).was_started


def test_a_write_of_an_earlier_attempt_makes_carried_reads_stale() -> None:
    attempts = Attempts()
    attempts.one(look(1))
    attempts.interrupt()
    attempts.open_wave(book(9))
    attempts.recover()
    assert attempts.one(look(1)).was_started


def test_a_write_of_the_turn_between_makes_carried_reads_stale() -> None:
    attempts = Attempts()
    attempts.one(look(1))
    attempts.interrupt()
    attempts.one(book(9))
    attempts.interrupt()
    assert attempts.one(look(1)).was_started


def test_a_carried_use_and_a_skipped_call_are_no_starts() -> None:
    attempts = Attempts()
    attempts.one(book(9))
    read = attempts.one(look(1))
    attempts.one(book(8), SKIPPED)
    attempts.interrupt()
    assert attempts.one(book(9)).answered_from is not None
    assert attempts.one(look(1)).answered_from == read.call_id
    attempts.interrupt()
    assert attempts.one(book(9)).answered_from is not None
    attempts.crash()
    assert attempts.one(look(1)).answered_from == read.call_id


def test_an_unknown_call_that_is_not_started_again_is_no_start() -> None:
    attempts = Attempts()
    attempts.one(book(9), UNKNOWN)
    read = attempts.one(look(1))
    attempts.interrupt()
    assert attempts.one(book(9)).status is UNKNOWN
    assert attempts.one(look(1)).answered_from == read.call_id


def test_writes_do_not_make_other_writes_stale() -> None:
    attempts = Attempts()
    first = attempts.one(book(1))
    attempts.one(book(2))
    attempts.interrupt()
    attempts.one(book(3))
    assert attempts.one(book(1)).answered_from == first.call_id


def test_a_stale_read_does_not_keep_a_younger_one_from_being_used() -> None:
    attempts = Attempts()
    attempts.one(look(1))
    attempts.one(book(9))
    young = attempts.one(look(1))
    attempts.interrupt()
    assert attempts.one(look(1)).answered_from == young.call_id
    assert attempts.one(look(1)).was_started


# Unknown over the ends of turns.


@pytest.mark.parametrize(
    "go_on", [Attempts.interrupt, Attempts.stop, Attempts.fail, Attempts.finish]
)
def test_unknown_survives_the_end_of_a_turn(go_on: GoOn) -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    for _ in range(2):
        go_on(attempts)
        got = attempts.one(book(1))
        assert (got.status, got.answered_from) == (UNKNOWN, unknown.call_id)
    assert attempts.one(book(1).fresh()).status is UNKNOWN
    again = attempts.one(book(1).again())
    assert again.was_started
    assert again.key == unknown.key
    attempts.finish()
    assert attempts.one(book(1)).was_started


def test_unknown_is_unknown_whoever_asks() -> None:
    attempts = Attempts()
    attempts.finish("ann")
    attempts.one(book(1), UNKNOWN)
    attempts.finish("bob")
    assert attempts.one(book(1)).status is UNKNOWN


@pytest.mark.parametrize("go_on", [Attempts.crash, Attempts.interrupt, Attempts.finish])
def test_a_late_result_answers_the_first_later_equal_call_and_no_other(
    go_on: GoOn,
) -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    go_on(attempts)
    attempts.late(unknown)
    one, two = attempts.wave(book(1), book(1))
    assert (one.status, one.result) == (COMPLETED, unknown.call_id)
    assert one.answered_from == unknown.call_id
    assert two.was_started
    assert two.key != unknown.key
    attempts.finish()
    assert attempts.one(book(1)).was_started


def test_a_late_result_answers_within_the_attempt_that_made_the_call() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.late(unknown)
    assert attempts.one(book(1)).result == unknown.call_id
    assert attempts.one(book(1)).was_started


def test_within_its_turn_a_late_result_answers_a_fresh_call_too() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1).fresh(), UNKNOWN)
    attempts.late(unknown)
    attempts.crash()
    assert attempts.one(book(1).fresh()).result == unknown.call_id


def test_a_late_result_answers_an_attempt_that_had_asked_before() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.crash()
    assert attempts.one(book(1)).status is UNKNOWN
    attempts.crash()
    attempts.late(unknown)
    got = attempts.one(book(1))
    assert (got.result, got.answered_from) == (unknown.call_id, unknown.call_id)


@pytest.mark.parametrize("first", [Attempts.crash, Attempts.interrupt, Attempts.finish])
@pytest.mark.parametrize("then", [Attempts.crash, Attempts.interrupt, Attempts.stop])
def test_a_late_result_that_was_used_is_carried_like_any_other(first: GoOn, then: GoOn) -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    first(attempts)
    attempts.late(unknown)
    attempts.one(book(1))
    for _ in range(3):
        then(attempts)
        one, two = attempts.wave(book(1), book(1), ends=[FINAL])
        assert (one.result, one.answered_from) == (unknown.call_id, unknown.call_id)
        assert two.result != unknown.call_id


def test_a_late_result_whose_use_was_not_recorded_answers_once_more() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    attempts.late(unknown)
    attempts.open_wave(book(1))
    attempts.recover()
    assert attempts.one(book(1)).result == unknown.call_id
    assert attempts.one(book(1)).was_started


def test_a_late_result_answers_nobody_else_and_no_fresh_call() -> None:
    attempts = Attempts()
    attempts.finish("ann")
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.late(unknown)
    attempts.finish("bob")
    assert attempts.one(book(1)).was_started
    attempts.finish("ann")
    assert attempts.one(book(1).fresh()).was_started
    assert attempts.one(book(1)).result == unknown.call_id


def test_a_late_result_does_not_hide_another_call_that_is_unknown() -> None:
    attempts = Attempts()
    one, two = attempts.wave(book(1), book(1), ends=[UNKNOWN, UNKNOWN])
    attempts.finish()
    attempts.late(one)
    assert attempts.one(book(1).fresh()).answered_from == two.call_id
    assert attempts.one(book(1)).result == one.call_id
    assert attempts.one(book(1)).status is UNKNOWN


def test_a_late_failure_answers_the_attempts_of_its_turn_and_starts_nothing() -> None:
    for make in (book, put):
        for recovers in (Attempts.crash, Attempts.recover):
            attempts = Attempts()
            unknown = attempts.one(make(1), UNKNOWN)
            recovers(attempts)
            attempts.late(unknown, FINAL)  # when the ledger of the new attempt is there already
            for _ in range(3):
                got = attempts.one(make(1))
                assert (got.status, got.answered_from) == (FAILED, unknown.call_id)
                attempts.crash()


def test_a_late_failure_answers_its_own_place_only() -> None:
    attempts = Attempts()
    one, two = attempts.wave(book(1), book(1), ends=[UNKNOWN])
    attempts.late(one, FINAL)
    attempts.crash()
    got = attempts.wave(book(1), book(1), book(1))
    assert [each.answered_from for each in got] == [one.call_id, two.call_id, None]


def test_a_late_failure_answers_an_attempt_that_had_asked_before() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.crash()
    assert attempts.one(book(1)).status is UNKNOWN
    attempts.late(unknown, FINAL)
    attempts.crash()
    got = attempts.one(book(1))
    assert (got.status, got.answered_from) == (FAILED, unknown.call_id)


def test_after_a_late_failure_that_may_be_retried_the_call_is_made_anew_with_its_key() -> None:
    for make in (book, put):
        attempts = Attempts()
        unknown = attempts.one(make(1), UNKNOWN)
        attempts.late(unknown, RETRYABLE)
        attempts.crash()
        anew = attempts.one(make(1))
        assert anew.was_started
        assert anew.key == unknown.key
        assert attempts.one(make(1)).key != unknown.key
        attempts.crash()
        assert attempts.one(make(1)).answered_from == anew.call_id


def test_what_is_there_answers_before_what_failed_late_is_made_anew() -> None:
    for end in (COMPLETED, UNKNOWN, FINAL):
        attempts = Attempts()
        unknown = attempts.one(book(1), UNKNOWN)
        attempts.late(unknown, RETRYABLE)
        second = attempts.one(book(1), end)
        attempts.crash()
        assert attempts.one(book(1)).answered_from == second.call_id
        if end is not UNKNOWN:
            assert attempts.one(book(1)).key == unknown.key


def test_after_a_late_failure_the_agent_may_call_once_more_as_after_any_other() -> None:
    ways: tuple[GoOn, ...] = (stay, Attempts.interrupt, Attempts.finish)
    for go_on in ways:
        for end in (FINAL, RETRYABLE):
            attempts = Attempts()
            unknown = attempts.one(book(1), UNKNOWN)
            attempts.late(unknown, end)
            go_on(attempts)
            assert attempts.one(book(1)).was_started


def test_completed_and_unknown_calls_answer_in_the_order_in_which_they_were_made() -> None:
    attempts = Attempts()
    done = attempts.one(book(1))
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    assert attempts.one(book(1)).answered_from == done.call_id
    assert attempts.one(book(1)).answered_from == unknown.call_id


def test_of_a_wave_the_completed_call_answers_before_the_one_that_is_unknown() -> None:
    for ends in ([COMPLETED, UNKNOWN], [UNKNOWN, COMPLETED]):
        attempts = Attempts()
        attempts.wave(book(1), book(1), ends=ends)
        attempts.interrupt()
        assert attempts.one(book(1)).status is COMPLETED
        assert attempts.one(book(1)).status is UNKNOWN


def test_a_result_that_cannot_be_used_does_not_hide_that_another_call_is_unknown() -> None:
    @tool(carry=60.0)
    async def pay() -> str:
        raise NotImplementedError

    attempts = Attempts()
    attempts.wave(pay(), pay(), ends=[COMPLETED, UNKNOWN])
    attempts.interrupt()
    assert attempts.one(pay().fresh()).status is UNKNOWN
    attempts.crash()
    attempts.session.at += 61.0
    attempts.interrupt()
    assert attempts.one(pay()).status is UNKNOWN


def test_a_late_result_answers_before_what_was_completed_after_it() -> None:
    attempts = Attempts()
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.late(unknown)
    attempts.finish()
    done = attempts.one(book(1).fresh())
    attempts.interrupt()
    assert attempts.one(book(1)).answered_from == unknown.call_id
    assert attempts.one(book(1)).answered_from == done.call_id


def test_again_asks_for_the_unknown_call_first() -> None:
    attempts = Attempts()
    done = attempts.one(book(1))
    unknown = attempts.one(book(1), UNKNOWN)
    attempts.interrupt()
    assert attempts.one(book(1).again()).key == unknown.key
    assert attempts.one(book(1)).answered_from == done.call_id


# Steps and words.


def test_steps_are_remembered_within_their_turn_by_key_and_occurrence() -> None:
    attempts = Attempts()
    for key, result in (("model", 1), ("clock", 2), ("model", None)):
        attempts.session.step(key, result)
    assert attempts.ledger.step("model") is None
    attempts.crash()
    ledger = attempts.ledger
    assert [ledger.step("model"), ledger.step("clock"), ledger.step("model")] == [
        (1,),
        (2,),
        (None,),
    ]
    assert ledger.step("model") is None
    assert ledger.step("draw") is None


def test_a_step_is_never_carried_into_another_turn() -> None:
    attempts = Attempts()
    attempts.session.step("model", 1)
    attempts.interrupt()
    assert attempts.ledger.step("model") is None


def test_words_are_said_once_over_attempts_each_time_counts() -> None:
    attempts = Attempts()
    attempts.session.say("one moment")
    attempts.session.say("one moment")
    assert not attempts.ledger.was_said("one moment")
    attempts.crash()
    said = [attempts.ledger.was_said("one moment") for _ in range(3)]
    assert said == [True, True, False]
    assert not attempts.ledger.was_said("something else")
    attempts.interrupt()
    assert not attempts.ledger.was_said("one moment")


def test_a_ledger_can_stand_alone() -> None:
    ledger = Ledger((), None, tuple, ())
    assert ledger.answer(book(1), 0.0) is START
    assert ledger.step("model") is None
    assert not ledger.was_said("words")
