"""A service in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator

BOT = f"{Path(__file__).with_name('bot.py')}:agent"


class Served(NamedTuple):
    """A service that runs."""

    url: str
    token: str
    process: subprocess.Popen[str]

    @property
    def environment(self) -> dict[str, str]:
        """For the command line against it."""
        return {**clean(), "WAVEBREAK_URL": self.url, "WAVEBREAK_TOKEN": self.token}


def clean() -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("WAVEBREAK_")}


def wavebreak(*arguments: str, environment: dict[str, str] | None = None, given: str = "") -> str:
    """Run the command line, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "wavebreak.cli", *arguments],
        env=environment or clean(),
        input=given,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def served(*options: str, target: str = BOT, **settings: str) -> Generator[Served]:
    """Serve the bot on any free port; ended in any case."""
    environment = clean() | {f"WAVEBREAK_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "wavebreak.cli",
            "serve",
            target,
            "--port",
            "0",
            "--json",
            *(options or ("--memory",)),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=20)[1]
        told = json.loads(line)
        yield Served(told["url"], told["token"] or "", process)
    finally:
        process.kill()
        process.communicate(timeout=20)
