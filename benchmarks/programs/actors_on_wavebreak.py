"""The cases of ``suite.py`` about plain actors, on wavebreak's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wavebreak import AsyncioActor
from wavebreak.benchmarks.programs.measuring import BURST, Meter, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pykka

    from wavebreak.benchmarks.programs.measuring import Figures, Order


class Adder(AsyncioActor):
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        """Take a number."""
        self.total += message
        return self.total


async def tell(order: Order) -> Figures:
    """Tell one actor many things, in the loop or from a thread."""
    adders = [Adder.start() for _ in range(order.sessions or 1)]
    with Meter() as meter:
        if order.from_thread:
            await asyncio.to_thread(_tell_from_thread, adders, order.count)
        else:
            (adder,) = adders
            for _ in range(order.count // BURST):
                for _ in range(BURST):
                    adder.tell(1)
                await adder.ask(0, block=False)
    assert sum([await adder.ask(0, block=False) for adder in adders]) == order.count
    for adder in adders:
        await adder.stop(block=False)
    return meter.figures()


def _tell_from_thread(adders: Sequence[pykka.ActorRef[Adder]], count: int) -> None:
    for _ in range(count // BURST):
        for number in range(BURST):
            adders[number % len(adders)].tell(1)
        adders[-1].ask(0)


async def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    adder = Adder.start()
    with Meter() as meter:
        for _ in range(order.count):
            await adder.ask(1, block=False)
    assert await adder.ask(0, block=False) == order.count
    await adder.stop(block=False)
    return meter.figures()


async def spawn(order: Order) -> Figures:
    """Start many actors, look at the memory, stop them."""
    before = memory()
    with Meter() as starting:
        adders = [Adder.start() for _ in range(order.count)]
        await adders[-1].ask(0, block=False)
    held = memory() - before
    with Meter() as stopping:
        stopped = [adder.stop(block=False) for adder in adders]
        for one in stopped:
            await one
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}
