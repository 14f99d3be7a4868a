"""The suite of benchmarks: wavebreak beside asyncio by hand, and beside what one would use instead.

    python benchmarks/suite.py [--full] [--case A] [--peers] [--runs N] [--json PATH] [--check]

A  tells, in the loop and from a thread       B  asks
C  many actors, and many sessions: to start them, to keep them, to stop them
D  turns of 5 waves of 2 calls of 10 ms; a second message after 25 ms stops the first turn
E  the same, and turns that do nothing, on the disk
F  turns whose calls do nothing               G  recorded conversations (replay.py, virtual time)
H  turns beside more and more sessions, and behind longer and longer histories

Each run is a fresh process, the systems of a case run by turns, and what is told is the median with
the median deviation. Machines swing, so only the ratios of one run hold. CPU is the processor time
of the process with its threads and children. A wait is what passes between the end of the wave that
ran when the second message was sent, or that message if none ran, and the next turn; a wave is late
when its calls ran although it was begun after that message was given away.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.comparing.cases import CASES
from wavebreak.benchmarks.comparing.environments import install
from wavebreak.benchmarks.comparing.report import Part, Report, part_of, this_machine, versions
from wavebreak.benchmarks.comparing.running import BENCHMARKS, Odd, measure, start
from wavebreak.benchmarks.comparing.systems import CANCELLING, OURS, SYSTEMS, by_policy
from wavebreak.benchmarks.comparing.tables import in_terminal, missed, reach_in_terminal
from wavebreak.benchmarks.replaying.on_wavebreak import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wavebreak.benchmarks.comparing.cases import Case
    from wavebreak.benchmarks.comparing.systems import System

DATA = BENCHMARKS.parent.parent / "shared" / "data"

app = app_of("suite.py", __doc__)


@app.default
def suite(
    *,
    full: Flag = False,
    peers: Flag = False,
    case: tuple[str, ...] = (),
    system: tuple[str, ...] = (),
    runs: int | None = None,
    json: Path | None = None,
    merge: Flag = False,
    check: Flag = False,
    replay: Path = DATA / "sgd_dev_a.jsonl.gz",
    timing: Path = DATA / "slack_timing_a.csv.gz",
) -> int:
    """Measure, and tell.

    Args:
        full: the long form, in all sizes; else the short one, in about a minute.
        peers: what others made, too; it is installed under .venv-peers when it is not there.
        case: only cases whose names begin so; may be given several times.
        system: only these systems; may be given several times.
        runs: of each system and case, instead of the form's own number.
        json: where to write the figures.
        merge: keep what the file has of the cases that are not measured now.
        check: end with status 1 if a bar was measured and is not reached.
        replay: the recorded conversations.
        timing: when people wrote, CSV.
    """
    errors = Console(stderr=True)
    cases = [one for one in CASES if not case or one.name.startswith(case)]
    if not full:
        cases = [one for one in cases if one.quick is not None]
    before = Report.read(json) if json is not None and merge and json.exists() else None
    report = Report(
        form="full" if full else "quick", machine=this_machine(), versions=versions(), cases={}
    )

    def keep(new: Report) -> Report:
        if json is not None:  # after each case, so that a run that is broken off is not lost
            (new if before is None else new.over(before)).write(json)
        return new

    left_out = _left_out(peers=peers, only=system, console=errors)
    try:
        for name, parts in _measure(cases, left_out, full=full, runs=runs, console=errors):
            report = keep(report.with_case(name, parts))
        if not case or "G" in case:
            report = keep(report.with_replay(_replay(replay, timing, full=full)))
    except Odd as odd:
        errors.print(f"[red]{odd}[/]", highlight=False)
        return 2
    _show(report)
    return int(check and bool(missed(report)))


def _left_out(*, peers: bool, only: Sequence[str], console: Console) -> dict[str, str]:
    """Say of each system that does not take part why."""
    found: dict[str, str] = {}
    for name, system in SYSTEMS.items():
        if only and name not in only:
            found[name] = "not asked for"
        elif system.environment and not peers:
            found[name] = "only with --peers"
        elif system.environment:
            with console.status(f"an environment for {name}"):
                found[name] = install(system)
        else:
            found[name] = ""
    return found


def _measure(
    cases: Sequence[Case],
    left_out: dict[str, str],
    *,
    full: bool,
    runs: int | None,
    console: Console,
) -> Iterator[tuple[str, dict[str, Part]]]:
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    times = {case.name: runs or (case.runs if full else case.quick_runs) for case in cases}

    def why(system: System) -> str:
        return left_out[system.name]

    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=sum(times[c.name] * len(c.systems) for c in cases))
        for case in cases:
            progress.update(bar, description=case.name)
            order = case.full if full or case.quick is None else case.quick
            measured = measure(
                case,
                order,
                times[case.name],
                wanted=why,
                after_each=lambda: progress.advance(bar),
            )
            yield (
                case.name,
                {name: part_of(case, runs_of, order) for name, runs_of in measured.items()},
            )


def _replay(conversations: Path, timing: Path, *, full: bool) -> dict[str, dict[str, float]]:
    if not conversations.exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "replay.json")
        options = ["--virtual", "--json", str(kept)]
        if timing.exists():
            options += ["--timing", str(timing)]
        if not full:
            options += ["--sessions", "200"]
        for policy in POLICIES:
            options += ["--policy", policy]
        start(Path(sys.executable), BENCHMARKS / "replay.py", str(conversations), *options)
        found: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    first, *others = POLICIES
    names = {OURS: by_policy(first), **{by_policy(name): by_policy(name) for name in others}}
    return {
        name: {field: value for field, value in found[system].items() if value is not None}
        for system, name in {**names, CANCELLING: CANCELLING}.items()
    }


def _show(report: Report) -> None:
    console = Console()
    for name, parts in report.cases.items():
        console.print(in_terminal(name, parts))
    if report.replay:
        numbers = ("once_duplicates", "tool_seconds_wasted", "replies_behind", "answered_mean_s")
        for system, found in report.replay.items():
            told = ", ".join(f"{name} {found.get(name, 0):,g}" for name in numbers)
            console.print(f"G  {system}: {told}", highlight=False)
    console.print(reach_in_terminal(report))
    runs = report.runs
    console.print(
        f"{report.form} form, medians of {min(runs)} to {max(runs)} runs" if runs else "no runs",
        highlight=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
