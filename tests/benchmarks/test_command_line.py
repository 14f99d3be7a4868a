from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from wavebreak.benchmarks.comparing.running import BENCHMARKS

SCRIPTS = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if "app_of(" in path.read_text("utf-8")
)
SCRIPTS.remove("command_line")


def script(name: str) -> Any:
    return import_module(f"wavebreak.benchmarks.{name}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_tells_what_it_does_and_every_option_that_it_names(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(name).main(["--help"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {name}.py")
    named = set(re.findall(r"\[(--[a-z-]+)", script(name).__doc__))
    _, _, options = shown.partition("Parameters")
    assert sorted(option for option in named if option not in options) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_option_that_is_not_there_ends_with_status_2(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(name).main(["--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.slow
def test_a_script_runs_by_its_path() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "guard.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
