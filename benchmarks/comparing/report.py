"""What a run of the suite found, as data: kept as JSON, and drawn as tables and plots."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from .cases import CASES
from .environments import PINS
from .running import python_version
from .systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from wavebreak.benchmarks.programs.measuring import Order

    from .cases import Case
    from .running import Runs


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class Number(_Kept):
    """One number of a case on one system.

    Args:
        unit: of it.
        median: of the runs.
        mad: median of the absolute deviations from the median.
        runs: each run's.
        more_is_better: whether a higher one is.
    """

    unit: str
    median: float
    mad: float
    runs: tuple[float, ...]
    more_is_better: bool = False

    @property
    def noise(self) -> float:
        """The deviation as a share of the median; 0 where there is none to share."""
        return self.mad / abs(self.median) if self.median else 0.0


class Part(_Kept):
    """A case on one system.

    Args:
        numbers: by name.
        count: how many things or rounds it did, where that is fewer than the others did.
        why_not: why there are no numbers.
    """

    numbers: dict[str, Number] = {}
    count: int | None = None
    why_not: str = ""


class Machine(_Kept):
    """Where and when it ran."""

    python: str
    system: str
    cores: int
    began: str
    load: float
    """Average number of processes that wanted a core, in the minute before it began."""


class Report(_Kept):
    """What a run found.

    Args:
        form: whether it was the long or the short one.
        machine: where it ran.
        versions: of what took part.
        cases: by name, each by system.
        replay: the counts of the recorded conversations, by system.
    """

    form: Literal["full", "quick"]
    machine: Machine
    versions: dict[str, str]
    cases: dict[str, dict[str, Part]]
    replay: dict[str, dict[str, float]] = {}

    def number(self, case: str, name: str, system: str) -> float | None:
        """Find a median; None if it was not measured."""
        part = self.cases.get(case, {}).get(system, Part())
        found = part.numbers.get(name)
        return None if found is None else found.median

    @property
    def runs(self) -> set[int]:
        """Of how many runs its medians are."""
        parts = [part for parts in self.cases.values() for part in parts.values()]
        return {len(number.runs) for part in parts for number in part.numbers.values()}

    def with_case(self, name: str, parts: dict[str, Part]) -> Self:
        """Give this one with one case more."""
        return self.model_copy(update={"cases": {**self.cases, name: parts}})

    def with_replay(self, replay: dict[str, dict[str, float]]) -> Self:
        """Give this one with what the recorded conversations came to."""
        return self.model_copy(update={"replay": replay})

    def over(self, before: Self) -> Self:
        """Give this one with those cases of an earlier one that it has not."""
        cases = {**before.cases, **self.cases}
        named = [case.name for case in CASES if case.name in cases]
        return self.model_copy(
            update={
                "cases": {name: cases[name] for name in named},
                "replay": self.replay or before.replay,
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one that was written."""
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(self.model_dump_json(indent=1, exclude_defaults=True) + "\n", "utf-8")


def part_of(case: Case, runs: Runs, asked: Order) -> Part:
    """Read the numbers of a case from the runs of one system."""
    if runs.why_not:
        return Part(why_not=runs.why_not)
    numbers: dict[str, Number] = {}
    for value in case.values:
        found = [value.read(figures, runs.order) for figures in runs.figures]
        there = [one for one in found if one is not None]
        if there:
            numbers[value.name] = number_of(there, value.unit, more_is_better=value.more_is_better)
    fewer = runs.order.count < asked.count or runs.order.rounds < asked.rounds
    return Part(numbers=numbers, count=(runs.order.count or runs.order.rounds) if fewer else None)


def number_of(runs: Sequence[float], unit: str = "", *, more_is_better: bool = False) -> Number:
    """Make one number of several runs."""
    middle = median(runs)
    return Number(
        unit=unit,
        median=_short(middle),
        mad=_short(median(abs(run - middle) for run in runs)),
        runs=tuple(_short(run) for run in runs),
        more_is_better=more_is_better,
    )


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def this_machine() -> Machine:
    """Say where this runs."""
    return Machine(
        python=python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        began=datetime.now(UTC).isoformat(timespec="minutes"),
        load=round(os.getloadavg()[0], 2),
    )


def versions() -> dict[str, str]:
    """Give the versions of what took part: what is installed here, and the pins of the others."""
    pins = dict(line.split("==") for line in PINS.read_text("utf-8").split())
    wanted = {need for system in SYSTEMS.values() for need in system.needs}
    found = {name: version(name) for name in ("pykka", "apsw", "uvloop")}
    return {**found, **{name: pins[name] for name in sorted(wanted)}}


def ratios(parts: Mapping[str, Part], name: str) -> dict[str, float]:
    """Divide a number by that of the first system that has one.

    Args:
        parts: a case by system.
        name: the number's.
    """
    numbers = {system: part.numbers[name] for system, part in parts.items() if name in part.numbers}
    if not numbers:
        return {}
    base = next(iter(numbers.values())).median
    return {system: number.median / base for system, number in numbers.items() if base}
