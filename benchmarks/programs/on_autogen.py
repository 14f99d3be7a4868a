"""The cases of ``suite.py`` on autogen-core's single-threaded runtime."""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    message_handler,
)
from programs.measuring import BURST, Meter, Talks, memory, take_part
from programs.talking import Conversation, Ended, World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from programs.measuring import Figures, Order


@dataclass
class Number:
    """A number to add."""

    number: int


@dataclass
class Written:
    """What a user writes."""

    text: str


@dataclass
class TurnEnded:
    """What a turn tells its session; ``ended`` by its place, as it is no plain data."""

    ended: int


class Adder(RoutedAgent):
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        super().__init__("adds up")
        self.total = 0

    @message_handler
    async def add(self, message: Number, ctx: MessageContext) -> Number:
        """Take a number."""
        del ctx
        self.total += message.number
        return Number(self.total)


class SessionAgent(RoutedAgent):
    """A session."""

    def __init__(self, world: World) -> None:
        super().__init__("a session")
        self.ended: list[Ended] = []
        self.conversation = Conversation(int(self.id.key), world, self.tell)

    async def tell(self, ended: Ended) -> None:
        """Give it what its turn has to tell."""
        self.ended.append(ended)
        await self.send_message(TurnEnded(len(self.ended) - 1), self.id)

    @message_handler
    async def write(self, message: Written, ctx: MessageContext) -> None:
        """Take what the user writes."""
        del ctx
        self.conversation.write(message.text)

    @message_handler
    async def end(self, message: TurnEnded, ctx: MessageContext) -> None:
        """Take what the turn tells."""
        del ctx
        self.conversation.end(self.ended[message.ended])


@asynccontextmanager
async def runtime_of(
    kind: type[RoutedAgent], factory: Callable[[], RoutedAgent]
) -> AsyncGenerator[SingleThreadedAgentRuntime, None]:
    """Run a runtime with agents of one kind."""
    runtime = SingleThreadedAgentRuntime()
    await kind.register(runtime, "agent", factory)
    runtime.start()
    yield runtime
    await runtime.stop()


async def tell(order: Order) -> Figures:
    """Tell one agent many things; a message without an answer is one that nobody awaits."""
    agent = AgentId("agent", "0")
    async with runtime_of(Adder, Adder) as runtime:
        with Meter() as meter:
            for _ in range(order.count // BURST):
                sent = [
                    asyncio.ensure_future(runtime.send_message(Number(1), agent))
                    for _ in range(BURST)
                ]
                await asyncio.gather(*sent)
    return meter.figures()


async def ask(order: Order) -> Figures:
    """Ask one agent, one question after the other."""
    agent = AgentId("agent", "0")
    async with runtime_of(Adder, Adder) as runtime:
        with Meter() as meter:
            for _ in range(order.count):
                await runtime.send_message(Number(1), agent)
    return meter.figures()


async def spawn(order: Order) -> Figures:
    """Start many agents, look at the memory, stop them: an agent is made for its first message."""
    async with runtime_of(Adder, Adder) as runtime:
        before = memory()
        with Meter() as starting:
            for number in range(order.count):
                await runtime.send_message(Number(1), AgentId("agent", str(number)))
        held = memory() - before
        with Meter() as stopping:
            await runtime.stop()
            await runtime.close()
        runtime.start()
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    world = World(Talks(order.sessions), order)
    async with runtime_of(SessionAgent, lambda: SessionAgent(world)) as runtime:

        async def send(agent: AgentId, text: str) -> None:
            await runtime.send_message(Written(text), agent)

        agents = [AgentId("agent", str(number)) for number in range(order.sessions)]
        return await world.talk([partial(send, agent) for agent in agents])


if __name__ == "__main__":
    take_part({"tell": tell, "ask": ask, "spawn": spawn, "turns": turns})
