"""The durable turns of ``suite.py`` by hand: ``../raw_durable.py``, which is frozen, does them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import raw_durable
from hotpath_job import Case, Counter
from programs.measuring import Meter, take_part

if TYPE_CHECKING:
    from programs.measuring import Figures, Order


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    case = Case(order.sessions, order.rounds, order.busy, order.interrupts)
    counter = Counter()
    # It takes the folder of its journal from the command line; there is none, as for the others.
    sys.argv[1:] = []
    with Meter() as meter:
        await raw_durable.job(case, counter)
    return {
        **meter.figures(),
        "turns": counter.runs,
        "calls": counter.calls,
        "replies": counter.replies,
    }


if __name__ == "__main__":
    take_part({"turns": turns})
