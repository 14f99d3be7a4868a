from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavebreak.benchmarks import guard
from wavebreak.benchmarks.comparing.systems import OURS, RAW, System
from wavebreak.benchmarks.programs.measuring import Order

if TYPE_CHECKING:
    from collections.abc import Callable

Ratios = dict[str, list[float]]
"""By case, what each run of ours costs as a multiple of one of raw; the last one for all others."""


@pytest.fixture
def guarded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Ratios], tuple[int, Counter[str]]]:
    """Run the guard beside a baseline of 2.0, and give its status and how often who ran."""
    file = tmp_path / "guard.json"
    file.write_text('{"D": 2.0, "F": 2.0}', "utf-8")
    monkeypatch.setattr(guard, "BASELINE", file)

    def play(ratios: Ratios, *options: str) -> tuple[int, Counter[str]]:
        ran: Counter[str] = Counter()

        def run(system: System, order: Order) -> dict[str, float]:
            case = "D" if order.interrupts else "F"
            ran[f"{case} {system.name}"] += 1
            several = ratios[case]
            number = min(ran[f"{case} {OURS}"], len(several)) - 1
            return {
                "cpu": several[number] if system.name == OURS else 1.0,
                "turns": 1,
                "calls": 1,
            }

        monkeypatch.setattr(guard, "run", run)
        return guard.main(["--runs", "3", *options]), ran

    return play


def test_what_costs_as_much_as_it_did_passes(
    guarded: Callable[..., tuple[int, Counter[str]]],
) -> None:
    status, ran = guarded({"D": [2.0], "F": [2.6]})
    assert status == 0
    assert set(ran.values()) == {3}


@pytest.mark.parametrize("case", ["D", "F"])
def test_what_costs_more_than_a_third_more_fails(
    guarded: Callable[..., tuple[int, Counter[str]]],
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    status, _ = guarded({"D": [2.0], "F": [2.0], case: [2.0 * 1.4]})
    assert status == 1
    assert f"{case}: 2.80 times asyncio by hand, was 2.00; over 2.67" in capsys.readouterr().out


def test_a_moment_of_the_machine_is_measured_once_more(
    guarded: Callable[..., tuple[int, Counter[str]]],
) -> None:
    status, ran = guarded({"D": [9.0, 9.0, 9.0, 2.0], "F": [9.0, 2.0]})
    assert status == 0
    assert ran[f"D {OURS}"] == ran[f"D {RAW}"] == 6
    assert ran[f"F {OURS}"] == 3


def test_a_new_baseline_is_what_was_measured(
    guarded: Callable[..., tuple[int, Counter[str]]],
) -> None:
    assert guarded({"D": [1.5], "F": [3.0]}, "--update")[0] == 0
    assert guarded({"D": [1.9], "F": [3.9]})[0] == 0
    assert guarded({"D": [2.1], "F": [3.0]})[0] == 1


def test_the_baseline_is_there_and_what_it_guards_are_the_cases_of_the_goals() -> None:
    file = Path(guard.__file__).parent / "guard.json"
    baseline = guard.Baseline.model_validate_json(file.read_bytes())
    assert baseline.D > 0
    assert baseline.F > 0
    assert guard.GUARDED.keys() == guard.Baseline.model_fields.keys()
