"""Durable turns beside a plain SQLite group-commit writer: what nothing being lost costs.

    python benchmarks/durable.py [--quick] [--at-rest N] [--json PATH]

interrupted   100 sessions that run turns of 5 waves of 2 calls of 10 ms; a second message after
              25 ms stops the turn after its wave, and the next one starts with what was finished
no-op         100 sessions that run turns of 5 waves of 2 calls that do nothing
recovery      1,000 sessions with 300 events each in one journal: until all of them run again
at rest       N conversations in one journal: to start with them, and to be answered in one

Processor microseconds for each turn, both with one commit for each wave and a sync for each
commit: each run in a fresh process, the two systems by turns, medians. The other system is
raw_durable.py, whose file is frozen.
"""

from __future__ import annotations

import json as json_of
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.hotpath_job import Case, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
SYSTEMS = {"wavebreak": HERE / "durable_wavebreak.py", "raw_durable": HERE / "raw_durable.py"}
AT_REST = HERE / "durable_at_rest.py"


app = app_of("durable.py", __doc__)


@app.default
def durable(*, quick: Flag = False, at_rest: int = 10_000, json: Path | None = None) -> int:
    """Measure, and tell.

    Args:
        quick: in some seconds.
        at_rest: conversations.
        json: where to write the figures.
    """
    rounds, runs = (3, 1) if quick else (20, 5)
    cases = {
        "interrupted": Case(100, rounds, busy=True, interrupts=True),
        "no-op": Case(100, 2 * rounds, busy=False, interrupts=False),
    }
    found: dict[str, Any] = {name: _compare(name, case, runs) for name, case in cases.items()}
    found["recovery"] = _start(100 if quick else 1_000, 300)
    found["at rest"] = _start(at_rest, 0)
    _show(found)
    if json is not None:
        json.write_text(json_of.dumps(found, indent=2) + "\n")
    return 0


def _compare(name: str, case: Case, times: int) -> dict[str, float]:
    runs: dict[str, list[float]] = {system: [] for system in SYSTEMS}
    for number in track(range(times), name, console=Console(stderr=True), transient=True):
        for system in list(SYSTEMS)[:: 1 if number % 2 else -1]:
            run = Measured(*_run(SYSTEMS[system], json_of.dumps(case)))
            runs[system].append(run.micros_a_turn)
    ours, theirs = (median(runs[system]) for system in SYSTEMS)
    return {
        "wavebreak": round(ours, 1),
        "raw_durable": round(theirs, 1),
        "ratio": round(ours / theirs, 2),
    }


def _start(sessions: int, events: int) -> dict[str, float]:
    with Console(stderr=True).status(f"a journal of {sessions:,} conversations"):
        found: dict[str, float] = _run(AT_REST, str(sessions), str(events))
    return found


def _run(file: Path, *arguments: str) -> Any:
    ended = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, str(file), *arguments], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        msg = f"{file.name} failed with status {ended.returncode}:\n{ended.stderr}"
        raise RuntimeError(msg)
    return json_of.loads(ended.stdout)


def _show(found: dict[str, Any]) -> None:
    console = Console()
    for name, figures in found.items():
        table = Table(title=name)
        for column in figures:
            table.add_column(column.replace("_", " "), justify="right")
        table.add_row(*(f"{value:,}" for value in figures.values()))
        console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
