# ruff: noqa: INP001 - a script
"""Draw what the benchmarks have measured, from the figures that ``make bench-full`` has written.

    python docs/draw_benchmarks.py [--check] [--plots]

Whatever stands between ``<!-- measured: NAME -->`` and ``<!-- end of NAME -->`` in README.md and
docs/*.md is written anew from docs/benchmarks.json and docs/where_time_goes.json; with --check
nothing is written, and the status is 1 if something would be. --plots draws docs/plots/*.svg.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.comparing.cases import CASES
from wavebreak.benchmarks.comparing.plots import draw
from wavebreak.benchmarks.comparing.report import Part, Report
from wavebreak.benchmarks.comparing.systems import CANCELLING, SYSTEMS
from wavebreak.benchmarks.comparing.tables import (
    in_markdown,
    markdown,
    reach_in_markdown,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FIGURES: Final = ROOT / "docs" / "benchmarks.json"
TIMES: Final = ROOT / "docs" / "where_time_goes.json"
PLOTS: Final = ROOT / "docs" / "plots"
MEASURED: Final = re.compile(
    r"(?P<begin><!-- measured: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)
"""One that is written anew."""

SUMMARY: Final = (
    ("no-op turns", "F", "no-op turns"),
    ("interrupted turns", "D after_wave, 100", "CPU a call"),
    ("durable turns", "E interrupted", "turns"),
    ("tells", "A loop", "tells"),
    ("asks", "B", "asks"),
    ("starts of actors", "C actors, 10,000", "starts"),
)
"""Columns of the short table: head, case, number."""

MODULES: Final = 20
"""Rows of the table of where the time goes."""


def summary(report: Report) -> str:
    """How many times as fast as asyncio by hand each system is."""
    columns = [_speeds(report, case, name) for _, case, name in SUMMARY]
    systems = [name for name in SYSTEMS if any(name in column for column in columns)]
    rows = [
        [name, *(short(column[name]) if name in column else "–" for column in columns)]
        for name in systems
    ]
    return "\n".join(markdown(["× by hand", *(head for head, _, _ in SUMMARY)], rows))


def _speeds(report: Report, case: str, name: str) -> dict[str, float]:
    parts = report.cases.get(case, {})
    numbers = {system: p.numbers[name] for system, p in parts.items() if name in p.numbers}
    if not numbers:
        return {}
    base = next(iter(numbers.values()))
    return {
        system: number.median / base.median if base.more_is_better else base.median / number.median
        for system, number in numbers.items()
    }


def cases(report: Report, letter: str) -> str:
    """The tables of the cases of a letter."""
    return "\n\n".join(
        f"**{case.name}**\n\n{in_markdown(report.cases[case.name])}"
        for case in CASES
        if case.name.startswith(letter) and case.name in report.cases
    )


def growth(report: Report) -> str:
    """The cases of H: a table for each thing that grows, a row for each size."""
    families: dict[str, dict[str, dict[str, Part]]] = {}
    for name, parts in report.cases.items():
        if name.startswith("H "):
            family, _, size = name.partition(", ")
            families.setdefault(family.removeprefix("H "), {})[size] = parts
    return "\n\n".join(_grown(family, sizes) for family, sizes in families.items())


def _grown(family: str, sizes: dict[str, dict[str, Part]]) -> str:
    columns = list(
        dict.fromkeys(
            (name, system, number.unit)
            for parts in sizes.values()
            for system, part in parts.items()
            for name, number in part.numbers.items()
        )
    )
    columns.sort(key=lambda column: column[0])
    rows = [
        [size, *(_cell(parts.get(system, Part()), name) for name, system, _ in columns)]
        for size, parts in sizes.items()
    ]
    head = [family, *(f"{system}: {name}, {unit}" for name, system, unit in columns)]
    return "\n".join(markdown(head, rows))


def _cell(part: Part, name: str) -> str:
    return short(part.numbers[name].median) if name in part.numbers else "–"


def replay(report: Report) -> str:
    """The counts of the recorded conversations."""
    names = list(dict.fromkeys(name for found in report.replay.values() for name in found))
    rows = [
        [name, *(f"{found[name]:,g}" if name in found else "–" for found in report.replay.values())]
        for name in names
    ]
    return "\n".join(markdown(["", *report.replay], rows))


REPLAYED: Final = {
    "tool seconds": "tool_seconds",
    "of these wasted": "tool_seconds_wasted",
    "replies": "replies",
    "of these behind": "replies_behind",
    "answered after, mean, s": "answered_mean_s",
    "p50": "answered_p50_s",
    "p90": "answered_p90_s",
}
"""What the policies differ in: heads of columns, and fields."""


def policies(report: Report) -> str:
    """What each policy wastes of the recorded conversations, and how long people wait."""
    other = report.replay.get(CANCELLING, {}).get("tool_seconds_wasted", 0)
    rows: list[list[str]] = []
    for name, found in report.replay.items():
        row = [f"{found.get(field, 0):,g}" for field in REPLAYED.values()]
        row.insert(2, short(found.get("tool_seconds_wasted", 0) / other) if other else "–")
        rows.append([name, *row])
    heads = list(REPLAYED)
    return "\n".join(markdown(["", *heads[:2], "×", *heads[2:]], rows))


def machine(report: Report) -> str:
    """Where and when it was measured, and what took part."""
    where = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    return (
        f"Measured {where.began[:10]} at {where.began[11:16]} UTC: Python {where.python}, "
        f"{where.system}, {where.cores} cores; {where.load:g} processes wanted one of them when it "
        f"began, in the mean of a minute. Medians of {_several(report.runs)} runs. With {versions}."
    )


def _several(numbers: set[int]) -> str:
    few, many = min(numbers), max(numbers)
    return str(few) if few == many else f"{few} to {many}"


def times(kept: dict[str, Any]) -> str:
    """Where the time goes, by module."""
    rows = [
        # A library's file is no link to one of ours.
        [f"`{name}`" if (ROOT / name).exists() else name, f"{share:.1%}"]
        for name, share in list(kept["modules"].items())[:MODULES]
    ]
    return "\n".join(markdown([f"module ({kept['how']}, case {kept['case']})", "share"], rows))


def drawings() -> dict[str, Callable[[], str]]:
    """What can be drawn, by the name that a page gives it."""
    report = Report.read(FIGURES)
    kept: dict[str, Any] = json.loads(TIMES.read_text("utf-8"))
    return {
        "machine": partial(machine, report),
        "summary": partial(summary, report),
        "reach": partial(reach_in_markdown, report),
        **{f"case-{c.lower()}": partial(cases, report, c) for c in "ABCDEF"},
        "replay": partial(replay, report),
        "policies": partial(policies, report),
        "growth": partial(growth, report),
        "times": partial(times, kept),
    }


def redrawn(text: str) -> str:
    """A page with everything that was measured drawn anew.

    Raises:
        KeyError: there is no drawing of that name.
    """
    found = drawings()

    def drawing(match: re.Match[str]) -> str:
        return f"{match['begin']}{found[match['name']]()}\n{match['end']}"

    return MEASURED.sub(drawing, text)


def _differing() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = redrawn(before)
        if after != before:
            yield page, after


app = app_of("draw_benchmarks.py", __doc__)


@app.default
def draw_benchmarks(*, check: Flag = False, plots: Flag = False) -> int:
    """Draw.

    Args:
        check: write nothing, only say what differs.
        plots: draw the plots, too.
    """
    status = 0
    for page, after in _differing():
        name = page.relative_to(ROOT)
        if check:
            status = 1
            sys.stderr.write(f"{name} differs from the figures: make docs\n")
        else:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"drawn anew: {name}\n")
    if plots and not check:
        PLOTS.mkdir(exist_ok=True)
        draw(Report.read(FIGURES), PLOTS)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
