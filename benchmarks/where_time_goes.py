"""Where the time goes on the hot path: by module and by function.

    python benchmarks/where_time_goes.py [--case F] [--system wavebreak] [--sampled] [--json PATH]

D  100 sessions whose turns are stopped by a second message
F  turns whose calls do nothing
E  the same with SQLite

Counted by cProfile, which makes small functions look dearer than they are; --sampled asks py-spy
instead, which is installed on demand under .venv-peers and looks 1,000 times a second from outside.
Either way it is the share of the loop's time that a function spends by itself: what is told of a
function that calls others is not theirs. C code counts for the function that calls it when sampled,
and for itself when counted.
"""

from __future__ import annotations

import asyncio
import cProfile
import json as json_of
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.comparing.environments import FOLDER, make
from wavebreak.benchmarks.comparing.running import BENCHMARKS, environ
from wavebreak.benchmarks.comparing.systems import OURS, SYSTEMS
from wavebreak.benchmarks.programs.measuring import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ORDERS: Final = {
    "D": Order("turns", sessions=100, rounds=20, busy=True, interrupts=True),
    "E": Order("turns", sessions=100, rounds=20, durable=True),
    "F": Order("turns", sessions=100, rounds=50),
}
A_SECOND: Final = 1_000
"""Looks that py-spy takes."""

NEEDED_TIME: Final = 3
"""Times as many rounds when sampled, so that there is something to look at."""

app = app_of("where_time_goes.py", __doc__)


class Spent(NamedTuple):
    """Where time was spent.

    Args:
        module: its file, from the package or the library on.
        function: its name.
    """

    module: str
    function: str


Times = dict[Spent, float]


@app.default
def where_time_goes(
    *,
    case: Literal["D", "E", "F"] = "F",
    system: str = OURS,
    sampled: Flag = False,
    rows: int = 30,
    json: Path | None = None,
) -> int:
    """Measure, and tell.

    Args:
        case: what is done.
        system: who does it; one that needs no environment of its own.
        sampled: by py-spy.
        rows: of the table of functions.
        json: where to write the shares.
    """
    program, order = SYSTEMS[system].program, replace(ORDERS[case], loop=SYSTEMS[system].loop)
    errors = Console(stderr=True)
    if sampled:
        why_not = make("py-spy", ("py-spy",))
        if why_not:
            errors.print(f"py-spy {why_not}", highlight=False)
            return 2
        times = _sampled(program, order)
    else:
        times = _counted(program, order)
    modules, functions = shares(times)
    console = Console()
    console.print(_table(f"{case} on {system}: modules", modules, len(modules)))
    console.print(_table(f"{case} on {system}: functions", functions, rows))
    if json is not None:
        kept = {"case": case, "how": "py-spy" if sampled else "cProfile", "modules": modules}
        json.write_text(json_of.dumps(kept, indent=1) + "\n", "utf-8")
    return 0


def shares(times: Mapping[Spent, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Give the shares of the modules, and of the functions, the dearest first."""
    whole = sum(times.values())
    modules, functions = Counter[str](), Counter[str]()
    for spent, seconds in times.items():
        modules[spent.module] += seconds / whole  # type: ignore[assignment] # floats do as well
        functions[f"{spent.module} {spent.function}"] += seconds / whole  # type: ignore[assignment]
    return (
        {name: round(share, 4) for name, share in modules.most_common()},
        {name: round(share, 4) for name, share in functions.most_common()},
    )


def _counted(program: str, order: Order) -> Times:
    # Programs find their neighbours by bare names, as they do when they are started.
    sys.path.insert(0, str(BENCHMARKS))
    turns: Any = import_module(f"programs.{program}").turns
    profile = cProfile.Profile()
    profile.runcall(asyncio.run, turns(order))
    stats: Any = pstats.Stats(profile)
    return {
        Spent(module_of(file), function): own
        for (file, _, function), (_, _, own, _, _) in stats.stats.items()
        # The profiler counts what the loop waits for, too.
        if "select" not in function and "poll" not in function
    }


def _sampled(program: str, order: Order) -> Times:
    order = replace(order, rounds=NEEDED_TIME * order.rounds)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "stacks")
        program_file = BENCHMARKS / "programs" / f"{program}.py"
        command: list[str | Path] = [
            *(FOLDER / "py-spy" / "bin" / "py-spy", "record", "--format", "raw"),
            *("--full-filenames", "--rate", str(A_SECOND), "--output", out, "--"),
            *(sys.executable, program_file, json_of.dumps(asdict(order))),
        ]
        subprocess.run(  # noqa: S603 - our own words
            command,
            check=True,
            capture_output=True,
            env=environ(),
        )
        return stacks(out.read_text("utf-8").splitlines())


def stacks(lines: Iterable[str]) -> Times:
    """Read what py-spy wrote: frames by ``;``, and how often they were seen."""
    times: Times = {}
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if "_run_once" not in stack and "run_forever" not in stack:
            continue  # it was importing still
        function, _, where = stack.rpartition(";")[2].partition(" (")
        if function == "select":
            continue
        spent = Spent(module_of(where.rpartition(":")[0]), function)
        times[spent] = times.get(spent, 0.0) + int(count)
    return times


def module_of(file: str) -> str:
    """Name a file from our root, or from the library that it is of."""
    if file in {"~", ""}:
        return "C code"
    path = Path(file)
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    if path.is_relative_to(BENCHMARKS.parent):
        return path.relative_to(BENCHMARKS.parent).as_posix()
    if "wavebreak" in parts:  # by the link that gives the root its name
        return "/".join(parts[parts.index("wavebreak") + 1 :])
    return "/".join(parts[-2:])


def _table(title: str, found: Mapping[str, float], rows: int) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("share", justify="right")
    table.add_column("where")
    for name, share in list(found.items())[:rows]:
        if share >= 0.005:  # noqa: PLR2004 - the rest is many and little
            table.add_row(f"{share:.1%}", name)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
