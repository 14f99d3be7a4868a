"""Environments for what others made: one for each, made on demand, in a folder git does not see.

``peers.txt`` has the versions of everything that is installed there, and nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .systems import System

FOLDER: Final = Path(__file__).resolve().parents[2] / ".venv-peers"
PINS: Final = Path(__file__).resolve().parent.parent / "peers.txt"
NEWEST: Final = 15
"""Minor versions of Python up to which one is looked for."""


def python_of(system: System, folder: Path = FOLDER) -> Path:
    """Give the interpreter that a system's program runs on."""
    if not system.environment:
        return Path(sys.executable)
    return folder / system.environment / "bin" / "python"


def install(system: System, folder: Path = FOLDER) -> str:
    """Make a system's environment if it is not there, and say why that cannot be done.

    Returns:
        the reason, in a line; "" when it is there.
    """
    return make(system.environment, system.needs, system.python, folder)


def make(
    name: str,
    needs: tuple[str, ...],
    python: tuple[int, int] = (3, 11),
    folder: Path = FOLDER,
) -> str:
    """Make an environment of that name if it is not there, and say why that cannot be done.

    Returns:
        the reason, in a line; "" when it is there.
    """
    place = folder / name
    made = place / "made"
    wanted = " ".join(needs)
    if made.exists() and made.read_text("utf-8") == wanted:
        return ""
    base = _python_for(python)
    if base is None:
        return f"needs Python {python[0]}.{python[1]}, and there is none"
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    steps: tuple[list[str | Path], ...] = (
        [base, "-m", "venv", place],
        [place / "bin" / "python", "-m", "pip", "install", "-q", "-c", PINS, *needs],
    )
    for step in steps:
        ended = subprocess.run(  # noqa: S603 - our own words
            step, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            last = (ended.stderr.strip() or "no word of why").splitlines()[-1]
            return f"cannot be installed: {last}"
    made.write_text(wanted, "utf-8")
    return ""


def _python_for(python: tuple[int, int]) -> str | None:
    if sys.version_info[:2] >= python:
        return sys.executable
    for minor in range(python[1], NEWEST):
        for found in (shutil.which(f"python3.{minor}"), _of_pyenv(minor)):
            if found is not None and _works(found):
                return found
    return None


def _works(python: str) -> bool:
    """Whether it is an interpreter, and not pyenv's word that one would have to be chosen first."""
    tried = subprocess.run(  # noqa: S603 - our own words
        [python, "-c", "import ensurepip, venv"], capture_output=True, check=False
    )
    return not tried.returncode


def _of_pyenv(minor: int) -> str | None:
    """Find one that pyenv has installed and not put on the path."""
    names = (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3.{minor}")
    return next((str(name) for name in sorted(names)), None)
