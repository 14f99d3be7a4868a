"""The hot path beside bare asyncio: what a turn costs here, and what it costs written by hand.

    python benchmarks/hotpath.py [--quick] [--check] [--json PATH]

interrupted   100 sessions that run turns of 5 waves of 2 calls of 10 ms; a second message after
              25 ms stops the turn after its wave, and the next one starts with what was finished
no-op         100 sessions that run turns of 5 waves of 2 calls that do nothing
many          10,000 sessions with one turn of 5 waves each, all at the same time

Processor microseconds for each turn, from the first message to the last reply: each run in a fresh
process, the two systems by turns, medians. Shared machines swing, so only the ratio holds. The
other system is raw_asyncio.py, whose file is frozen.

--check prints the three ratios, and fails when that of *many* is over 1.5: the bar is set for ten
thousand sessions with a turn of 5 waves each. There is none yet for the other two, where so few
sessions are at work, or so little is done in a call, that hardly anything but the framework is
measured.
"""

from __future__ import annotations

import json as json_of
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.hotpath_job import CALLS, WAVES, Case, Measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT = 1.5
"""The ratio of the many sessions above which --check fails."""

HERE = Path(__file__).resolve().parent
SYSTEMS = {"wavebreak": HERE / "hotpath_wavebreak.py", "raw_asyncio": HERE / "hotpath_raw.py"}
GIVE_UP_AFTER = 600.0
"""Seconds for one run."""

Runs = dict[str, list[Measured]]


class Size(NamedTuple):
    """How much to measure.

    Args:
        runs: of each of the two compared cases and of each system.
        interrupted: rounds of each session.
        no_op: rounds of each session.
        many: sessions.
        many_runs: of that case and of each system.
    """

    runs: int
    interrupted: int
    no_op: int
    many: int
    many_runs: int


FULL = Size(runs=7, interrupted=20, no_op=40, many=10_000, many_runs=3)
QUICK = Size(runs=5, interrupted=6, no_op=15, many=3_000, many_runs=1)


class Compared(NamedTuple):
    """How a case compares.

    Args:
        wavebreak: median of the processor microseconds of a turn.
        raw_asyncio: the same, written by hand.
        ratio: of these two.
        lowest: ratio of two runs beside each other.
        highest: the same.
    """

    wavebreak: float
    raw_asyncio: float
    ratio: float
    lowest: float
    highest: float


class Odd(RuntimeError):
    """A run did not do what it should have done, so its figures say nothing."""


app = app_of("hotpath.py", __doc__)


@app.default
def hotpath(*, quick: Flag = False, check: Flag = False, json: Path | None = None) -> int:
    """Measure, and tell.

    Args:
        quick: in under a minute.
        check: fail above 1.5 times bare asyncio (many).
        json: where to write the figures.
    """
    size = QUICK if quick else FULL
    interrupted = measure(Case(100, size.interrupted, busy=True, interrupts=True), size.runs)
    no_op = measure(Case(100, size.no_op, busy=False, interrupts=False), size.runs)
    many = measure(Case(size.many, 1, busy=True, interrupts=False), size.many_runs)
    cases = {
        "many": compare(many),
        "interrupted": compare(interrupted),
        "no-op": compare(no_op),
    }
    _show(cases, many, size)
    if json is not None:
        found = {
            **{name: case._asdict() for name, case in cases.items()},
            "many_runs": {name: [run._asdict() for run in runs] for name, runs in many.items()},
        }
        json.write_text(json_of.dumps(found, indent=2) + "\n")
    if not check:
        return 0
    ratios = ", ".join(f"{name} {case.ratio:.2f}" for name, case in cases.items())
    fails = cases["many"].ratio > LIMIT
    verdict = "more than" if fails else "within"
    print(f"times bare asyncio: {ratios}; many is {verdict} the limit of {LIMIT}")
    return int(fails)


def measure(case: Case, times: int, systems: Sequence[str] = tuple(SYSTEMS)) -> Runs:
    """Run a case on both systems, by turns, each time in a fresh process.

    Args:
        case: what to measure.
        times: runs of each system.
        systems: which ones.

    Raises:
        Odd: a run did not do what it should have done.
    """
    runs: Runs = {system: [] for system in systems}
    words = "interrupted" if case.interrupts else "many" if case.busy else "no-op"
    for number in track(range(times), words, console=Console(stderr=True), transient=True):
        # The first one of a pair has another machine than the second: by turns, too.
        for system in list(systems)[:: 1 if number % 2 else -1]:
            runs[system].append(_run(system, case))
    return runs


def compare(runs: Mapping[str, Sequence[Measured]]) -> Compared:
    """Compare the medians, and say how far single pairs of runs are from them."""
    ours, theirs = ([run.micros_a_turn for run in runs[system]] for system in SYSTEMS)
    pairs = [one / other for one, other in zip(ours, theirs, strict=True)]
    mine, other = median(ours), median(theirs)
    return Compared(
        round(mine, 1), round(other, 1), round(mine / other, 3), round(min(pairs), 3),
        round(max(pairs), 3),
    )  # fmt: skip


def _run(system: str, case: Case) -> Measured:
    ended = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, str(SYSTEMS[system]), json_of.dumps(case)],
        capture_output=True,
        text=True,
        timeout=GIVE_UP_AFTER,
        check=False,
    )
    if ended.returncode:
        msg = f"{system} failed with status {ended.returncode}:\n{ended.stderr}"
        raise Odd(msg)
    run = Measured(*json_of.loads(ended.stdout))
    rounds = case.sessions * case.rounds
    # A machine under load may take both messages into one turn, or answer the first before the
    # second comes; but nothing is left unanswered, or started twice for one reply.
    if run.replies < rounds or run.runs < rounds or run.calls != run.replies * WAVES * CALLS:
        msg = f"{system} was to answer {rounds} times, and came to {run}"
        raise Odd(msg)
    return run


def _show(cases: Mapping[str, Compared], many: Runs, size: Size) -> None:
    console = Console()
    table = Table(
        title=f"processor microseconds a turn, medians of {size.runs} (many: {size.many_runs}) runs"
    )
    for name in ("", *SYSTEMS, "ratio", "single pairs"):
        table.add_column(name, justify="right" if name else "left")
    for name, case in cases.items():
        table.add_row(
            name,
            f"{case.wavebreak:.1f}",
            f"{case.raw_asyncio:.1f}",
            f"{case.ratio:.2f}",
            f"{case.lowest:.2f} to {case.highest:.2f}",
        )
    console.print(table)
    for name, (run, *_) in many.items():
        console.print(
            f"{run.replies:,} sessions with a turn of {WAVES} waves each on {name}: "
            f"{run.seconds:.1f} s, {run.peak_mb:.0f} MB at most",
            highlight=False,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
