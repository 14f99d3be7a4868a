"""The plots of a report, for the pages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .systems import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report

BARS: Final = {
    "no-op-turns": ("F", "no-op turns", "no-op turns each second of CPU"),
    "interrupted-turns": (
        "D after_wave, 100",
        "CPU a call",
        "CPU of a call, 100 sessions that are interrupted, µs",
    ),
    "waits": ("D light", "wait p50", "from the end of the wave to the next turn, p50, ms"),
}
"""By the name of the file: case, number, title."""

GROWTHS: Final = {
    "H sessions": "sessions",
    "H events": "events",
    "H durable events": "events, durable",
}
"""Families of cases, by what grows."""

OF_OURS, OF_OTHERS = "#2563eb", "#9ca3af"


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw all plots that the report has numbers for, as SVG files.

    Needs matplotlib, which is in the extra ``bench``.
    """
    mpl: Any = import_module("matplotlib")  # heavy, and needed for plots alone

    # The same report gives the same files: no time, and no random names.
    settings = {"svg.hashsalt": "wavebreak", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(settings):
        drawn = [_bars(report, folder / f"{file}.svg", what) for file, what in BARS.items()]
        drawn.append(_growth(report, folder))
    return [path for path in drawn if path is not None]


def _bars(report: Report, path: Path, what: tuple[str, str, str]) -> Path | None:
    case, name, title = what
    parts = report.cases.get(case, {})
    numbers = {system: p.numbers[name] for system, p in parts.items() if name in p.numbers}
    if not numbers:
        return None
    figure, axes = _figure(0.6 + 0.28 * len(numbers))
    for place, (system, number) in enumerate(reversed(numbers.items())):
        colour = OF_OURS if system.startswith(OURS) else OF_OTHERS
        axes.errorbar(number.median, place, xerr=number.mad, fmt="o", color=colour)
    axes.set_yticks(range(len(numbers)), list(numbers)[::-1])
    axes.set_xscale("log")
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_title(title)
    return _save(figure, path)


def _growth(report: Report, folder: Path) -> Path | None:
    figure, axes = _figure(2.6)
    drawn = False
    for family, label in GROWTHS.items():
        sizes: dict[int, float] = {}
        for case in report.cases:
            median = report.number(case, "CPU a turn", OURS)
            if case.startswith(f"{family}, ") and median is not None:
                sizes[int(case.removeprefix(f"{family}, ").replace(",", ""))] = median
        if sizes:
            axes.plot(list(sizes), list(sizes.values()), marker="o", label=label)
            drawn = True
    if not drawn:
        return None
    axes.set_xscale("log")
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
    axes.set_title("CPU of a turn as sessions, or one session's events, grow, µs")
    axes.legend(frameon=False, loc="lower right")
    return _save(figure, folder / "growth.svg")


def _figure(height: float) -> tuple[Any, Any]:
    figure: Any = import_module("matplotlib.figure").Figure(
        figsize=(6.5, height), layout="constrained"
    )
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
