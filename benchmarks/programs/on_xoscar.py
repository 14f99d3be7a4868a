"""The cases of ``suite.py`` on xoscar, in a pool that has the running loop for itself."""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import xoscar
from programs.measuring import BURST, Meter, Talks, memory, take_part
from programs.talking import Conversation, Ended, World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from programs.measuring import Figures, Order

from contextlib import asynccontextmanager


class Adder(xoscar.Actor):
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        self.total = 0

    async def add(self, number: int) -> int:
        """Take a number."""
        self.total += number
        return self.total


class SessionActor(xoscar.Actor):
    """A session."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def __post_create__(self) -> None:
        """Begin to live: only now it has a reference."""
        self.conversation = Conversation(self.number, WORLDS[0], self.ref().end.tell)

    async def write(self, text: str) -> None:
        """Take what the user writes."""
        self.conversation.write(text)

    async def end(self, ended: Ended) -> None:
        """Take what the turn tells."""
        self.conversation.end(ended)


WORLDS: list[World] = []
"""The one of this process: what an actor is given must be picklable, and this is not."""


@asynccontextmanager
async def pool() -> AsyncGenerator[Any, None]:
    """Run a pool whose actors live in this process."""
    made = await xoscar.create_actor_pool("test://127.0.0.1:0", n_process=0)
    async with made:
        yield made


async def tell(order: Order) -> Figures:
    """Tell one actor many things."""
    async with pool() as here:
        adder = await xoscar.create_actor(Adder, address=here.external_address)
        with Meter() as meter:
            for _ in range(order.count // BURST):
                for _ in range(BURST):
                    await adder.add.tell(1)
                await adder.add(0)
        total = await adder.add(0)
    assert total == order.count
    return meter.figures()


async def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    async with pool() as here:
        adder = await xoscar.create_actor(Adder, address=here.external_address)
        with Meter() as meter:
            for _ in range(order.count):
                await adder.add(1)
    return meter.figures()


async def spawn(order: Order) -> Figures:
    """Start many actors, look at the memory, stop them."""
    async with pool() as here:
        address = here.external_address
        before = memory()
        with Meter() as starting:
            adders = [await xoscar.create_actor(Adder, address=address) for _ in range(order.count)]
        held = memory() - before
        with Meter() as stopping:
            for adder in adders:
                await xoscar.destroy_actor(adder)
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    world = World(Talks(order.sessions), order)
    WORLDS.append(world)
    async with pool() as here:
        actors = [
            await xoscar.create_actor(SessionActor, number, address=here.external_address)
            for number in range(order.sessions)
        ]
        return await world.talk([partial(actor.write.tell) for actor in actors])


if __name__ == "__main__":
    take_part({"tell": tell, "ask": ask, "spawn": spawn, "turns": turns})
