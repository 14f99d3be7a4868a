from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wavebreak.benchmarks import where_time_goes
from wavebreak.benchmarks.where_time_goes import Spent, module_of, shares, stacks


def test_only_the_loops_own_time_counts_and_waiting_does_not() -> None:
    root = Path(where_time_goes.__file__).resolve().parents[1]
    loop = "main (a.py:1);_run_once (asyncio/base_events.py:1900)"
    lines = [
        "<module> (a.py:1);compile (import.py:2) 70",
        f"{loop};select (selectors.py:3) 50",
        f"{loop};wave ({root}/actors/turn.py:10) 2",
        f"{loop};wave ({root}/actors/turn.py:11) 1",
        f"{loop};dump ({root}/.venv/lib/python3.11/site-packages/pydantic/main.py:5) 1",
    ]
    times = stacks(lines)
    assert times[Spent("actors/turn.py", "wave")] == 3
    assert sum(times.values()) == 4
    modules, functions = shares(times)
    assert modules == {"actors/turn.py": 0.75, "pydantic/main.py": 0.25}
    assert functions["actors/turn.py wave"] == 0.75


def test_modules_are_named_from_our_root_or_from_their_library() -> None:
    assert module_of("~") == "C code"
    assert module_of("/lib/python3.11/asyncio/events.py") == "asyncio/events.py"
    assert module_of("/v/site-packages/pydantic/main.py") == "pydantic/main.py"
    assert module_of("/v/path/wavebreak/actors/turn.py") == "actors/turn.py"


@pytest.mark.slow
def test_a_short_run_is_counted_told_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = {name: replace(o, sessions=2, rounds=1) for name, o in where_time_goes.ORDERS.items()}
    monkeypatch.setattr(where_time_goes, "ORDERS", tiny)
    file = tmp_path / "times.json"
    assert where_time_goes.main(["--json", str(file)]) == 0
    kept = json.loads(file.read_text("utf-8"))
    assert kept["case"] == "F"
    assert 0.9 < sum(kept["modules"].values()) <= 1.01
    assert any(name.startswith("actors/") for name in kept["modules"])
    assert "F on wavebreak: functions" in capsys.readouterr().out


def test_without_py_spy_the_command_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    def make(*_: Any) -> str:
        return "cannot be installed: offline"

    monkeypatch.setattr(where_time_goes, "make", make)
    assert where_time_goes.main(["--sampled"]) == 2
    assert "py-spy cannot be installed: offline" in capsys.readouterr().err
