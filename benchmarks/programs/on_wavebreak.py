"""The turns of ``suite.py`` on wavebreak, as somebody who uses it would write them."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavebreak import ActorSystem, AfterWave, Now, SqliteJournal, tool
from wavebreak.benchmarks.programs.actors_on_wavebreak import ask, spawn, tell
from wavebreak.benchmarks.programs.growing_on_wavebreak import durable_history
from wavebreak.benchmarks.programs.measuring import (
    CALLS,
    SECOND_MESSAGE_AFTER,
    WAVES,
    Meter,
    Talks,
    begin,
    memory,
    take_part,
    tool_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from wavebreak import Delivery, Session, Turn
    from wavebreak.benchmarks.programs.measuring import Figures, Order

    Program = tuple[Callable[[Turn], Awaitable[str]], Callable[[Delivery], Awaitable[None]]]

POLICIES: dict[str, AfterWave | Now] = {"after_wave": AfterWave(), "now": Now()}
REST_AFTER = 0.01
"""Seconds after which a session is let go, where that is measured."""

AT_ONCE = 500
"""Sessions that are at work at the same time while sessions come to rest."""


def bot(talks: Talks, order: Order) -> Program:
    """Make the agent, and the channel that counts what it gets."""
    # Durable: a read would not be written down before it starts, and by hand every wave is.
    called: Any = tool(effect="idempotent" if order.durable else "read")(tool_of(talks, order))

    async def agent(turn: Turn) -> str:
        number = int(turn.session_id)
        talks.turn_begins(number)
        total = 0
        for wave in range(WAVES):
            talks.wave_begins(number)
            results = await turn.wave(*(called(number, wave, place) for place in range(CALLS)))
            total += sum(results)
        return str(total)

    async def deliver(delivery: Delivery) -> None:
        del delivery
        talks.replies += 1

    return agent, deliver


@asynccontextmanager
async def system_of(
    program: Program, order: Order, **options: Any
) -> AsyncGenerator[ActorSystem, None]:
    """Run a system for the order, with a journal on the disk if it is to be durable."""
    agent, deliver = program
    with tempfile.TemporaryDirectory() as folder:
        if order.durable:
            options["journal"] = SqliteJournal(Path(folder, "journal.db"))
        system = ActorSystem(agent, deliver=deliver, policy=POLICIES[order.policy], **options)
        async with system:
            yield system


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    program = bot(talks, order)  # its tools are made when it is imported, as others' graphs are
    with Meter() as meter:
        async with system_of(program, order) as system:
            await asyncio.gather(
                *(
                    _converse(system.session(str(number)), number, talks, order)
                    for number in range(order.sessions)
                )
            )
    return {**meter.figures(), **talks.figures()}


async def _converse(session: Session, number: int, talks: Talks, order: Order) -> None:
    await begin(number, order)
    for _ in range(order.rounds):
        first = session.send("one")
        if order.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            talks.second_message(number)
            second = await session.send("two")
            await second.outcome()
        receipt = await first
        await receipt.outcome()


async def _ask(session: Session, text: str) -> None:
    receipt = await session.send(text)
    await receipt.outcome()


async def rest(order: Order) -> Figures:
    """Look at what sessions hold that were answered and let go: they are on the disk."""
    talks = Talks(2 * order.count)
    async with system_of(bot(talks, order), order, idle_after=REST_AFTER) as system:
        await _come_and_go(system, range(order.count))
        before = memory()
        await _come_and_go(system, range(order.count, 2 * order.count))
        held = memory() - before
    return {"bytes": held / order.count}


async def _come_and_go(system: ActorSystem, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, AT_ONCE):
        some = range(first, min(first + AT_ONCE, numbers.stop))
        await asyncio.gather(*(_ask(system.session(str(number)), "one") for number in some))
        while _awake(system):  # noqa: ASYNC110 - nothing tells that the last one has gone
            await asyncio.sleep(REST_AFTER)


def _awake(system: ActorSystem) -> int:
    return sum(node.count or 0 for node in system.tree().children if node.id == "sessions")


async def growth(order: Order) -> Figures:
    """Measure turns beside so many sessions, each of which was answered once, and their memory."""
    talks = Talks(order.sessions)
    async with system_of(bot(talks, order), order) as system:
        # What the first session brings along by the way is not its own.
        await _ask(system.session("0"), "one")
        before = memory()
        for number in range(1, order.sessions):
            await _ask(system.session(str(number)), "one")
        held = memory() - before
        with Meter() as meter:
            for number in range(order.count):
                await _ask(system.session(str(number % order.sessions)), "two")
    each = held / (order.sessions - 1)
    return {**meter.figures(), "turns": order.count, "bytes": each}


async def history(order: Order) -> Figures:
    """Measure turns of sessions that have so many events behind them (``order.sessions``).

    A session takes a tenth of what it has in turns that are measured, so that it has about so many
    all the time; for short histories this takes several sessions.
    """
    if order.durable:
        return await durable_history(order, bot)
    talks = Talks(order.count)
    async with system_of(bot(talks, order), order) as system:
        with system.session("0").events() as stream:
            await _ask(system.session("0"), "one")
        told = len([event async for event in stream])
        measured = max(1, order.sessions // (10 * told))
        sessions = [system.session(str(n)) for n in range(-(-order.count // measured))]
        for session in sessions:
            for _ in range(max(1, order.sessions // told)):
                await _ask(session, "one")
        with Meter() as meter:
            for session in sessions:
                for _ in range(measured):
                    await _ask(session, "two")
    return {**meter.figures(), "turns": measured * len(sessions), "events_a_turn": told}


if __name__ == "__main__":
    take_part(
        {
            "tell": tell,
            "ask": ask,
            "spawn": spawn,
            "turns": turns,
            "rest": rest,
            "growth": growth,
            "history": history,
        }
    )
