from __future__ import annotations

import asyncio

import pytest

from wavebreak.benchmarks.replaying.tape import Tape


async def test_calls_that_overlap_are_one_wave_and_the_next_one_is_the_next() -> None:
    tape = Tape()

    with tape.running(1, ["m0"]):
        await asyncio.gather(
            tape.work("a", once=False, seconds=1.0, speed=1.0),
            tape.work("b", once=True, seconds=3.0, speed=1.0),
        )
        await tape.work("c", once=False, seconds=1.0, speed=1.0)

    assert [(start.key, start.wave, start.turn) for start in tape.starts] == [
        ("a", 1, 1),
        ("b", 1, 1),
        ("c", 2, 1),
    ]


async def test_a_call_that_is_cut_off_has_no_end_and_counts_what_it_worked() -> None:
    tape = Tape()
    task = asyncio.create_task(tape.work("a", once=False, seconds=100.0, speed=10.0))
    await asyncio.sleep(2.0)
    task.cancel()
    await asyncio.wait([task])

    (start,) = tape.starts
    assert start.ended is None
    assert start.spent == pytest.approx(20.0)


async def test_a_call_that_ends_worked_its_recorded_seconds() -> None:
    tape = Tape()
    await tape.work("a", once=False, seconds=100.0, speed=10.0)

    (start,) = tape.starts
    assert start.ended == pytest.approx(start.began + 10.0)
    assert start.spent == 100.0


def test_runs_that_overlap_are_counted_and_one_that_raises_did_not_return() -> None:
    tape = Tape()
    with tape.running(1, ["m0"]), pytest.raises(KeyError), tape.running(2, ["m0"]):
        raise KeyError

    assert tape.max_runtimes == 2
    assert [(run.turn, run.returned) for run in tape.runs] == [(1, True), (2, False)]


def test_a_message_lands_in_a_turn_while_an_earlier_one_is_unanswered() -> None:
    tape = Tape()
    tape.note_sent("m0", 1.0)
    tape.note_sent("m1", 2.0)
    tape.note_outcome("m0", "answered")
    tape.note_outcome("m1", "answered")
    tape.note_sent("m2", 3.0)

    assert tape.landed == 1
