"""The guard of the hot path: fails when it has become dearer, beside asyncio by hand.

    python benchmarks/guard.py [--update]

D  100 sessions whose turns are stopped by a second message: CPU a call
F  turns whose calls do nothing: CPU a turn

Both as a multiple of what raw_asyncio.py costs in the same run, each run a fresh process, the two
by turns; the mean of the cheaper half of each counts, since whatever else a machine does only ever
adds. It is compared with guard.json: a multiple that is more than a third above fails. Before it
fails it is measured once more, with as many runs again: a machine has moments, a regression stays.

--update writes guard.json anew. Do that when the hot path has become cheaper, so that what was won
is held; and when it has become dearer for a reason, say that in the commit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import BaseModel
from rich.console import Console
from rich.progress import track

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.comparing.running import run
from wavebreak.benchmarks.comparing.systems import OURS, RAW, SYSTEMS
from wavebreak.benchmarks.programs.measuring import Order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wavebreak.benchmarks.programs.measuring import Figures

BASELINE: Final = Path(__file__).resolve().parent / "guard.json"
MORE_BY: Final = 4 / 3
"""The factor that is one too many."""

RUNS: Final = 6
"""Of each system and case, before it is looked at; as many again if it is over."""


class Guarded(NamedTuple):
    """What is guarded.

    Args:
        order: what is done.
        each: by what the processor seconds are divided.
    """

    order: Order
    each: str

    def cost(self, figures: Figures) -> float:
        """Processor seconds of one."""
        return figures["cpu"] / figures[self.each]


GUARDED: Final = {
    "D": Guarded(Order("turns", sessions=100, rounds=4, busy=True, interrupts=True), "calls"),
    "F": Guarded(Order("turns", sessions=100, rounds=10), "turns"),
}

app = app_of("guard.py", __doc__)


class Baseline(BaseModel):
    """What the hot path cost when it was last looked at, as multiples of asyncio by hand."""

    D: float
    F: float

    def limit(self, name: str) -> float:
        """The multiple above which it fails."""
        was: float = getattr(self, name)
        return was * MORE_BY


class Costs:
    """The runs of one guarded case."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._costs: dict[str, list[float]] = {OURS: [], RAW: []}

    def measure(self, runs: int) -> None:
        """Run both, by turns."""
        guarded = GUARDED[self.name]
        for number in _shown(range(runs), self.name):
            for system in (OURS, RAW) if number % 2 else (RAW, OURS):
                figures = run(SYSTEMS[system], guarded.order)
                self._costs[system].append(guarded.cost(figures))

    @property
    def ratio(self) -> float:
        """What it costs here, as a multiple of what it costs by hand."""
        ours, raw = (fmean(sorted(c)[: (len(c) + 1) // 2]) for c in self._costs.values())
        return ours / raw


def _shown(numbers: range, name: str) -> Iterable[int]:
    return track(numbers, f"guard {name}", console=Console(stderr=True), transient=True)


@app.default
def guard(*, update: Flag = False, runs: int = RUNS) -> int:
    """Measure, and compare.

    Args:
        update: write what was measured instead.
        runs: of each system and case.
    """
    console = Console(highlight=False)
    costs = {name: Costs(name) for name in GUARDED}
    for one in costs.values():
        one.measure(runs)
    if update:
        found = Baseline(D=round(costs["D"].ratio, 2), F=round(costs["F"].ratio, 2))
        BASELINE.write_text(found.model_dump_json(indent=1) + "\n", "utf-8")
        console.print(f"guard.json: {found}")
        return 0
    baseline = Baseline.model_validate_json(BASELINE.read_bytes())
    dearer = False
    for name, one in costs.items():
        limit = baseline.limit(name)
        if one.ratio > limit:
            one.measure(runs)
        over = one.ratio > limit
        dearer |= over
        console.print(
            f"{name}: {one.ratio:.2f} times asyncio by hand, was {getattr(baseline, name):.2f}; "
            f"{'[red]over' if over else '[green]within'} {limit:.2f}[/]"
        )
    return int(dearer)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
