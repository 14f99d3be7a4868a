from __future__ import annotations

import json
from pathlib import Path

import pytest

from wavebreak.benchmarks import hotpath
from wavebreak.benchmarks.hotpath_job import Case, Measured


def run(cpu: float, runs: int = 1) -> Measured:
    return Measured(cpu, 1.0, runs, 10, 1, 50.0)


def test_medians_are_compared_and_the_spread_is_that_of_runs_beside_each_other() -> None:
    found = hotpath.compare(
        {
            "wavebreak": [run(3e-6), run(2e-6), run(30e-6)],
            "raw_asyncio": [run(2e-6), run(2e-6), run(2e-6)],
        }
    )

    assert found == (3.0, 2.0, 1.5, 1.0, 15.0)


def test_costs_are_for_each_turn() -> None:
    assert run(1.0, runs=4).micros_a_turn == 250_000.0


@pytest.mark.slow
@pytest.mark.parametrize("busy", [True, False])
def test_both_systems_do_the_whole_job_and_nothing_twice(*, busy: bool) -> None:
    for runs in hotpath.measure(Case(3, 2, busy=busy, interrupts=busy), 1).values():
        (one,) = runs
        assert one.replies >= 6
        assert one.calls == one.replies * 10


@pytest.mark.slow
def test_a_ratio_over_the_limit_fails_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = 2.0

    def measured(case: Case, times: int) -> hotpath.Runs:
        ratio = many if case.busy and not case.interrupts else 4.0
        return {"wavebreak": [run(ratio)] * times, "raw_asyncio": [run(1.0)] * times}

    monkeypatch.setattr(hotpath, "measure", measured)
    file = tmp_path / "hotpath.json"

    assert hotpath.main(["--json", str(file)]) == 0
    assert hotpath.main(["--check"]) == 1
    assert "many 2.00, interrupted 4.00, no-op 4.00; many is more than" in capsys.readouterr().out
    assert json.loads(file.read_text())["many"]["ratio"] == 2.0
    many = 1.5
    assert hotpath.main(["--check"]) == 0
    assert "many 1.50, interrupted 4.00, no-op 4.00; many is within" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ten_thousand_sessions_fit_one_loop_in_30_seconds_and_500_megabytes() -> None:
    case = Case(10_000, 1, busy=True, interrupts=False)
    runs = hotpath.measure(case, 1, systems=("wavebreak",))
    (one,) = runs["wavebreak"]

    assert one.replies == 10_000
    assert one.calls == 100_000
    assert one.cpu < 30  # and so are the seconds, where nobody else takes the processor
    assert one.peak_mb < 500
