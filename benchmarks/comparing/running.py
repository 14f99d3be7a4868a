"""Runs the programs: each run in a fresh process, the systems of a case by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from wavebreak.benchmarks.programs.measuring import CALLS, WAVES

from .environments import python_of
from .systems import OURS, OURS_UVLOOP, RAW, SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak.benchmarks.programs.measuring import Figures, Order

    from .cases import Case
    from .systems import System

BENCHMARKS: Final = Path(__file__).resolve().parent.parent
GIVE_UP_AFTER: Final = 600.0
"""Seconds for one run."""

MUST_WORK: Final = frozenset({OURS, OURS_UVLOOP, RAW})
"""Those without whose figures a run says nothing."""


class Odd(RuntimeError):
    """A run did not do what it should have done, so its figures say nothing."""


class Runs(NamedTuple):
    """What came of a case on one system.

    Args:
        order: what it did.
        figures: of each run.
        why_not: why there are none; "" if there are.
    """

    order: Order
    figures: list[Figures]
    why_not: str = ""


def size_of(order: Order, system: System, case: str) -> Order:
    """Give the order as this system can do it."""
    order = replace(order, loop=system.loop)
    for key, most in system.at_most.items():
        if case.startswith(key):
            order = replace(order, count=min(order.count, most), rounds=min(order.rounds, most))
    return order


def measure(
    case: Case,
    order: Order,
    times: int,
    *,
    wanted: Callable[[System], str],
    after_each: Callable[[], object],
) -> dict[str, Runs]:
    """Run a case on its systems, by turns.

    Args:
        case: what to measure.
        order: in which size.
        times: runs of each system.
        wanted: says of a system why it is left out; "" if it is not.
        after_each: is called after every run.

    Raises:
        Odd: one of those that must work did not do what it should have done.
    """
    runs: dict[str, Runs] = {}
    for name in case.systems:
        system = SYSTEMS[name]
        size = size_of(order, system, case.name)
        runs[name] = Runs(size, [], system.why_not(case.name) or wanted(system))
    for number in range(times):
        # The first one of a pair has another machine than the second: by turns, too.
        for name in list(runs)[:: 1 if number % 2 else -1]:
            one = runs[name]
            if not one.why_not:
                try:
                    one.figures.append(run(SYSTEMS[name], one.order))
                except (Odd, subprocess.TimeoutExpired) as error:
                    if name in MUST_WORK:
                        raise
                    runs[name] = one._replace(why_not=_in_short(error))
            after_each()
    return runs


def run(system: System, order: Order) -> Figures:
    """Run a program once, in a fresh process.

    Raises:
        Odd: it failed, or left something undone.
        subprocess.TimeoutExpired: it took too long.
    """
    found = start(
        python_of(system), BENCHMARKS / "programs" / f"{system.program}.py", _as_json(order)
    )
    figures: Figures = json.loads(found.splitlines()[-1])
    _check(system, order, figures)
    return figures


def start(python: Path, program: Path, *arguments: str) -> str:
    """Run a file of ours, and give what it printed.

    Raises:
        Odd: it failed.
        subprocess.TimeoutExpired: it took too long.
    """
    ended = subprocess.run(  # noqa: S603 - our own file
        [python, program, *arguments],
        capture_output=True,
        text=True,
        timeout=GIVE_UP_AFTER,
        check=False,
        env=environ(),
    )
    if ended.returncode or not ended.stdout.strip():
        msg = f"{program.name} failed with status {ended.returncode}:\n{ended.stderr}"
        raise Odd(msg)
    return ended.stdout


def environ() -> dict[str, str]:
    """Give the environment of a program: it finds its neighbours by their bare names."""
    paths = (str(BENCHMARKS), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _as_json(order: Order) -> str:
    return json.dumps(asdict(order))


def _check(system: System, order: Order, figures: Figures) -> None:
    # A machine under load may take both messages into one turn, or answer the first before the
    # second comes; but nothing is left unanswered.
    if order.case != "turns":
        return
    least = order.sessions * order.rounds
    replies, calls = figures["replies"], figures["calls"]
    if replies < least or calls < replies * WAVES * CALLS:
        msg = f"{system.name} was to answer {least} times, and came to {figures}"
        raise Odd(msg)


def _in_short(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took more than {GIVE_UP_AFTER:g} s"
    return f"failed: {str(error).strip().splitlines()[-1]}"


def python_version() -> str:
    """Name the Python that runs this, and the programs of our own environment."""
    return ".".join(map(str, sys.version_info[:3]))
