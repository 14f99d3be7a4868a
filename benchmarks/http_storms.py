"""Storms over the service: what it refuses, what it never loses, and what it leaves behind.

    python benchmarks/http_storms.py [--quick] [--storm NAME] [--json PATH]

reconnects     10,000 streams of events that break off and are taken up again
slow clients   1,000 clients that send a byte at a time, beside one that is quick
huge bodies    bodies of 1 GB, with a length, in chunks, and of a stranger
overload       ten times the messages that it can carry, for 20 seconds
kills          20 times kill -9 under load, or SIGTERM, with clients that retry and resume

All of it on real sockets and an SQLite journal that syncs each commit.
"""

from __future__ import annotations

import asyncio
import json as json_of
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.storming.connections import huge_bodies, reconnects, slow_clients
from wavebreak.benchmarks.storming.messages import kills, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

StormName = Literal["reconnects", "slow clients", "huge bodies", "overload", "kills"]

STORMS: dict[StormName, tuple[Callable[..., Awaitable[dict[str, Any]]], float, float]] = {
    "reconnects": (reconnects, 10_000, 200),
    "slow clients": (slow_clients, 1_000, 50),
    "huge bodies": (huge_bodies, 1 << 30, 1 << 26),
    "overload": (overload, 20.0, 1.0),
    "kills": (kills, 20, 1),
}
"""Each with its count, and a small one."""


app = app_of("http_storms.py", __doc__)


@app.default
def http_storms(
    *, quick: Flag = False, storm: tuple[StormName, ...] = (), json: Path | None = None
) -> int:
    """Storm, and tell.

    Args:
        quick: a little of each.
        storm: only this one; may be given several times.
        json: where to write the figures.
    """
    # It warns of what is written to who has gone, which is what a storm is.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    found: dict[str, dict[str, Any]] = {}
    console = Console()
    for name in storm or STORMS:
        play, full, few = STORMS[name]
        with console.status(name):
            found[name] = asyncio.run(_run(play, few if quick else full))
        console.print(_shown(name, found[name]))
    if json is not None:
        json.write_text(json_of.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


async def _run(storm: Callable[..., Awaitable[dict[str, Any]]], count: float) -> dict[str, Any]:
    return await storm(count)


def _shown(name: str, figures: dict[str, Any]) -> Table:
    table = Table(name, "", box=None, header_style="bold")
    for what, number in figures.items():
        shown = f"{number:,}" if isinstance(number, int) else str(number)
        table.add_row(f"  {what}", shown)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
