"""The cases of ``suite.py`` on async-pykka: Pykka's interface, with a task for each actor."""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import async_pykka
from programs.measuring import BURST, Meter, Talks, memory, take_part
from programs.talking import Conversation, Ended, World

if TYPE_CHECKING:
    from programs.measuring import Figures, Order


class Adder(async_pykka.AsyncioActor):
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    async def on_receive(self, message: int) -> int:
        """Take a number."""
        self.total += message
        return self.total


class SessionActor(async_pykka.AsyncioActor):
    """A session."""

    def __init__(self, number: int, world: World) -> None:
        super().__init__()
        self.conversation = Conversation(number, world, self.actor_ref.tell)

    async def on_receive(self, message: str | Ended) -> None:
        """Take what the user writes, or what the turn tells."""
        if isinstance(message, Ended):
            self.conversation.end(message)
        else:
            self.conversation.write(message)


async def tell(order: Order) -> Figures:
    """Tell one actor many things."""
    adder = Adder.start()
    with Meter() as meter:
        for _ in range(order.count // BURST):
            for _ in range(BURST):
                adder.tell(1)
            await adder.ask(0)
    await adder.stop()
    return meter.figures()


async def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    adder = Adder.start()
    with Meter() as meter:
        for _ in range(order.count):
            await adder.ask(1)
    await adder.stop()
    return meter.figures()


async def spawn(order: Order) -> Figures:
    """Start many actors, look at the memory, stop them."""
    before = memory()
    with Meter() as starting:
        adders = [Adder.start() for _ in range(order.count)]
        await adders[-1].ask(0)
    held = memory() - before
    with Meter() as stopping:
        await asyncio.gather(*(adder.stop().get() for adder in adders))
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    world = World(Talks(order.sessions), order)
    actors = [SessionActor.start(number, world) for number in range(order.sessions)]
    figures = await world.talk([partial(actor.tell) for actor in actors])
    await asyncio.gather(*(actor.stop().get() for actor in actors))
    return figures


if __name__ == "__main__":
    take_part({"tell": tell, "ask": ask, "spawn": spawn, "turns": turns})
