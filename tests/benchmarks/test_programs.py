from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from wavebreak.benchmarks.comparing.running import run
from wavebreak.benchmarks.comparing.systems import OURS, RAW, SYSTEMS
from wavebreak.benchmarks.programs import measuring
from wavebreak.benchmarks.programs.measuring import BURST, Meter, Order, Talks

DO_ALL = {
    "tell": Order("tell", count=BURST),
    "tell from a thread": Order("tell", count=BURST, from_thread=True, sessions=3),
    "ask": Order("ask", count=10),
    "spawn": Order("spawn", count=10),
    "growth": Order("growth", sessions=3, count=6),
}
TALKS = {
    "interrupted": Order("turns", sessions=3, rounds=2, busy=True, interrupts=True),
    "no-op": Order("turns", sessions=3, rounds=2),
    "now": Order("turns", sessions=3, busy=True, interrupts=True, policy="now"),
}


@pytest.mark.slow
@pytest.mark.parametrize("system", [OURS, RAW])
@pytest.mark.parametrize("case", DO_ALL)
def test_wavebreak_and_raw_do_the_cases_of_actors_and_of_many_sessions(
    case: str, system: str
) -> None:
    figures = run(SYSTEMS[system], DO_ALL[case])
    assert figures.get("cpu", 1.0) > 0
    assert figures["peak_mb"] > 1
    if case == "growth":
        assert figures["turns"] == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "case"),
    [
        *((system, "interrupted") for system in (OURS, RAW, "floor", "Pykka")),
        *((system, "no-op") for system in (OURS, RAW, "floor", "promises", "restart", "Pykka")),
        *((system, "now") for system in (OURS, "restart")),
    ],
)
def test_whoever_needs_no_environment_answers_every_message(case: str, system: str) -> None:
    order = TALKS[case]
    figures = run(SYSTEMS[system], order)
    assert figures["replies"] >= order.sessions * order.rounds
    assert ("p50" in figures) is order.interrupts


@pytest.mark.slow
@pytest.mark.parametrize("system", [OURS, "raw durable"])
def test_both_durable_ones_answer_every_message(system: str) -> None:
    order = Order("turns", sessions=3, busy=True, interrupts=True, durable=True)
    figures = run(SYSTEMS[system], order)
    assert figures["replies"] >= 3
    assert figures["calls"] == figures["replies"] * 10


@pytest.mark.slow
def test_sessions_at_rest_and_long_histories_are_measured() -> None:
    assert "bytes" in run(SYSTEMS[OURS], Order("rest", count=20, durable=True))
    found = run(SYSTEMS[OURS], Order("history", sessions=500, count=4))
    assert found["turns"] >= 4
    assert found["events_a_turn"] > 5
    found = run(SYSTEMS[OURS], Order("history", sessions=300, count=100, durable=True))
    assert found["turns"] == 100
    assert found["beside_short"] > 0


def test_a_wait_begins_when_the_wave_has_ended_or_with_the_message_if_that_is_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([1.0, 1.010, 1.012, 2.0, 2.003])
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    talks = Talks(1)
    talks.second_message(0)
    talks.call_ends(0)
    talks.turn_begins(0)
    talks.second_message(0)
    talks.turn_begins(0)
    assert [round(wait, 6) for wait in talks.waits] == [0.002, 0.003]


def test_a_wave_is_late_when_its_calls_run_though_the_stop_was_told_before() -> None:
    talks = Talks(2)
    talks.wave_begins(0)
    talks.second_message(0)
    talks.call_begins(0, 0)
    assert talks.late == 0  # it was begun before
    talks.wave_begins(0)
    assert talks.late == 0  # nothing of it runs
    for place in range(2):
        talks.call_begins(0, place)
    assert talks.late == 1
    talks.turn_begins(0)
    talks.wave_begins(0)
    talks.call_begins(0, 0)
    assert talks.late == 1


@pytest.mark.slow
def test_the_meter_counts_the_processor_time_of_threads_and_children() -> None:
    def spin() -> None:
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass

    child = "import time\ninput()\nwhile time.process_time() < 0.4: pass\nprint(1)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-uc", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        with Meter() as meter:
            thread = threading.Thread(target=spin)
            thread.start()
            thread.join()
            running.stdin.write("\n")
            running.stdin.flush()
            running.stdout.readline()
        running.communicate("\n")
    assert meter.cpu > 0.35
