from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavebreak.benchmarks.replaying.audit import (
    calls_rerun,
    interrupt_latencies,
    once_duplicates,
    percentile,
    problems,
    replies_behind,
    report,
    useful_seconds,
)
from wavebreak.benchmarks.replaying.tape import Run, Start, Tape

if TYPE_CHECKING:
    from collections.abc import Callable


def start(
    key: str, turn: int, wave: int, *, once: bool = False, cut: bool = False, spent: float = 1.0
) -> Start:
    """A call that took the whole of its wave; wave n is from second n to n + 1."""
    return Start(key, once, turn, wave, float(wave), None if cut else wave + 1.0, spent)


def tape_of(*starts: Start, finished: set[int] | None = None) -> Tape:
    tape = Tape(starts=list(starts), finished=finished or set())
    tape.interrupted = {one.turn for one in starts} - tape.finished
    return tape


def clean() -> Tape:
    """A session in which a second message interrupted the first turn, and all went well."""
    tape = tape_of(start("a", 1, 1), start("b", 2, 2), finished={2})
    tape.sent = {"m0": 1.0, "m1": 1.5}
    tape.accepted = 2
    tape.outcomes = {"m0": ["answered"], "m1": ["answered"]}
    tape.runs = [Run(1, ("m0",)), Run(2, ("m0", "m1"), returned=True)]
    tape.carried[2, "a"] = 1
    tape.note_reply("r1", ("m0", "m1"), 4.0)
    tape.max_runtimes = 1
    return tape


def test_a_start_although_a_result_was_there_is_a_rerun() -> None:
    assert calls_rerun(tape_of(start("a", 1, 1), start("a", 2, 2), finished={2})) == 1


def test_a_carried_result_answers_one_call_and_the_second_equal_call_is_no_rerun() -> None:
    tape = tape_of(start("a", 1, 1), start("a", 2, 2), finished={2})
    tape.carried[2, "a"] = 1

    assert calls_rerun(tape) == 0


def test_one_spare_result_makes_one_rerun_of_two_equal_calls() -> None:
    twice = (start("a", 2, 2), start("a", 2, 2))

    assert calls_rerun(tape_of(start("a", 1, 1), *twice, finished={2})) == 1
    assert calls_rerun(tape_of(start("a", 1, 1), start("a", 1, 1), *twice, finished={2})) == 2


def test_a_result_answers_once_in_each_turn_of_a_chain() -> None:
    tape = tape_of(start("a", 1, 1), start("b", 2, 2), start("a", 3, 3))
    tape.carried[2, "a"] = 1

    assert calls_rerun(tape) == 1
    tape.carried[3, "a"] = 1
    assert calls_rerun(tape) == 0


def test_a_result_of_a_finished_turn_answers_nothing_later() -> None:
    assert calls_rerun(tape_of(start("a", 1, 1), start("a", 2, 2), finished={1, 2})) == 0


def test_a_call_that_was_cut_off_has_nothing_to_carry() -> None:
    assert calls_rerun(tape_of(start("a", 1, 1, cut=True), start("a", 2, 2))) == 0


def test_a_read_is_stale_once_something_was_booked_beside_or_after_it() -> None:
    booking = start("book", 1, 2, once=True)

    assert calls_rerun(tape_of(start("a", 1, 1), booking, start("a", 2, 3))) == 0
    assert calls_rerun(tape_of(start("a", 1, 2), booking, start("a", 2, 3))) == 0
    assert calls_rerun(tape_of(booking, start("a", 1, 3), start("a", 2, 4))) == 1


def test_a_booking_is_never_stale() -> None:
    tape = tape_of(
        start("x", 1, 1, once=True), start("y", 1, 2, once=True), start("x", 2, 3, once=True)
    )

    assert calls_rerun(tape) == 1


def test_bookings_beyond_those_recorded_are_duplicates_and_reads_are_not() -> None:
    tape = tape_of(*(start("x", 1, n, once=True, cut=n == 1) for n in (1, 2, 3)))
    tape.starts += [start("a", 1, 4), start("a", 1, 5)]

    assert once_duplicates(tape, {"x": 1}) == 2
    assert once_duplicates(tape, {"x": 3}) == 0


def test_seconds_are_useful_when_they_went_into_a_reply_directly_or_carried() -> None:
    tape = tape_of(
        start("a", 1, 1, spent=1.0),
        start("draft", 1, 2, spent=10.0),
        start("b", 2, 3, spent=100.0),
        start("c", 2, 3, spent=1000.0, cut=True),
        finished={2},
    )
    tape.carried[2, "a"] = 1

    assert useful_seconds(tape) == 101.0


def test_the_latency_is_what_the_new_turn_took_beyond_the_running_wave() -> None:
    tape = clean()  # m1 came at 1.5, the wave ended at 2.0, and the next one began with it
    tape.starts[1].began = 2.25

    assert list(interrupt_latencies(tape)) == [0.25]


def test_the_latency_counts_from_the_message_when_the_running_wave_was_cut_off() -> None:
    tape = clean()
    tape.starts[0].ended = None

    assert list(interrupt_latencies(tape)) == [0.5]


def test_a_turn_after_a_finished_one_has_no_latency() -> None:
    tape = clean()
    tape.interrupted = set()

    assert list(interrupt_latencies(tape)) == []


def test_a_message_was_answered_when_the_first_reply_to_it_was_delivered() -> None:
    tape = clean()
    tape.note_reply("r1", ("m0", "m1"), 9.0)
    tape.sent["m2"] = 3.0

    figures = report([tape], [{}], speed=2.0)

    assert (figures.replies, figures.answered_mean_s) == (2, 5.5)
    assert (figures.answered_p50_s, figures.answered_p90_s) == (5.0, 6.0)


def test_a_reply_is_behind_when_a_later_message_was_sent_before_it_and_not_answered() -> None:
    tape = Tape()
    for number in range(3):
        tape.note_sent(f"m{number}", number * 10.0)
    tape.note_reply("r0", ["m0"], 5.0)
    assert replies_behind(tape) == 0
    tape.note_reply("r1", ["m1"], 21.0)
    tape.note_reply("r2", ["m2"], 30.0)
    assert replies_behind(tape) == 1


def test_a_clean_session_has_no_problems_and_adds_up() -> None:
    figures = report([clean()], [{}])

    assert problems({"s": clean()}, figures) == []
    assert figures.messages_sent == figures.messages_answered == 2
    assert (figures.calls_completed, figures.calls_carried) == (2, 1)
    assert (figures.turns_finished, figures.turns_interrupted) == (1, 1)
    assert (figures.tool_seconds, figures.tool_seconds_wasted) == (2.0, 0.0)
    assert figures.interrupt_latency_p50_ms == 0.0


def lose(tape: Tape) -> None:
    del tape.outcomes["m1"]


def end_twice(tape: Tape) -> None:
    tape.outcomes["m1"].append("answered")


def fail(tape: Tape) -> None:
    tape.outcomes["m1"] = ["failed: no"]


def deliver_twice(tape: Tape) -> None:
    tape.replies.append(tape.replies[0])


def keep_silent(tape: Tape) -> None:
    tape.replies.clear()


def run_two(tape: Tape) -> None:
    tape.max_runtimes = 2


def refuse(tape: Tape) -> None:
    tape.accepted = 1


def run_again(tape: Tape) -> None:
    tape.carried.clear()
    tape.starts.append(start("a", 2, 3))


def mix_up(tape: Tape) -> None:
    tape.wrong.append("SearchHotel was answered with []")


def book_again(tape: Tape) -> None:
    tape.starts.append(start("x", 2, 3, once=True))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lose, "1 messages lost"),
        (end_twice, "message m1 ended 2 times"),
        (fail, "1 messages not answered"),
        (fail, "message m1 ended as failed: no"),
        (deliver_twice, "reply r1 was delivered 2 times"),
        (keep_silent, "message m0 was answered by 0 replies"),
        (keep_silent, "1 turns finished, 0 replies delivered"),
        (run_two, "2 runtimes of one session"),
        (refuse, "1 messages not accepted"),
        (run_again, "1 calls run"),
        (mix_up, "session s: SearchHotel was answered with []"),
        (book_again, "1 bookings started"),
    ],
)
def test_everything_that_must_not_happen_is_found(
    spoil: Callable[[Tape], None], words: str
) -> None:
    tape = clean()
    spoil(tape)

    found = problems({"s": tape}, report([tape], [{}]))

    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (1, 1.0), (50, 2.0), (75, 3.0), (76, 4.0), (100, 4.0)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == value


@given(st.lists(st.floats(allow_nan=False), min_size=1).map(sorted), st.integers(1, 100))
def test_at_least_so_many_percent_of_the_values_are_at_or_below(
    ordered: list[float], percent: int
) -> None:
    value = percentile(ordered, percent)

    assert value in ordered
    assert sum(one <= value for one in ordered) * 100 >= percent * len(ordered)
    assert sum(one < value for one in ordered) * 100 < percent * len(ordered)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
