"""Durable turns of long conversations, beside those of short ones in the same process.

A durable turn waits for the disk eight times, and what that costs swings with the machine more than
with anything that is measured here. So several sessions are at it at the same time, which share
their commits as they do elsewhere; and long and short conversations are measured by turns, a tenth
of a second each, in one journal: what is told is how they compare.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

from wavebreak import ActorSystem, SqliteJournal
from wavebreak.benchmarks.programs.measuring import Talks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wavebreak import Session
    from wavebreak.benchmarks.programs.measuring import Figures, Order

AT_ONCE = 10
"""Sessions that are at work at the same time."""

ROUNDS = 10
"""How often long and short conversations are measured, by turns."""

SETTLES_IN = 0.01
"""Seconds until what follows on a reply is written, too."""


async def durable_history(order: Order, bot: Callable[[Talks, Order], Any]) -> Figures:
    """Measure turns of sessions that have so many events behind them (``order.sessions``).

    A session takes a tenth of what it has in turns that are measured, so that it has about so many
    all the time; for short histories this takes several sessions. The conversations are brought
    to their length without waiting for the disk, and go on after a restart. Beside them, each
    short one has two turns behind it.

    Args:
        order: in which size.
        bot: makes the agent and the channel.
    """
    turns = max(1, order.count // (AT_ONCE * ROUNDS)) * AT_ONCE * ROUNDS
    talks = Talks(2 * turns + 1)
    agent, deliver = bot(talks, order)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.db")
        journal = SqliteJournal(path, "NORMAL")
        async with ActorSystem(agent, deliver=deliver, journal=journal) as system:
            told = await _events_a_turn(system.session(str(2 * turns)))
            behind = max(1, order.sessions // told)
            share = min(max(1, order.sessions // (10 * told)), turns // AT_ONCE)
            names = [str(number) for number in range(2 * turns)]
            Random(0).shuffle(names)  # noqa: S311 - or those of one kind would lie side by side in the file
            # As many for each of those who ask: with one that is asked less than its share.
            long_names = names[: AT_ONCE * -(-turns // (AT_ONCE * share))]
            short_names = names[turns:]
            await asyncio.gather(*(_ask(system.session(str(n)), 1) for n in range(2 * turns)))
            await asyncio.gather(*(_ask(system.session(n), behind - 1) for n in long_names))
        async with ActorSystem(agent, deliver=deliver, journal=SqliteJournal(path)) as system:
            long = [system.session(name) for name in long_names]
            short = [system.session(name) for name in short_names]
            for session in (*long, *short):
                await _ask(session, 1)
            figures = await _by_turns(long, share, short, turns // ROUNDS)
    return {**figures, "events_a_turn": told}


async def _by_turns(long: list[Session], share: int, short: list[Session], turns: int) -> Figures:
    """Measure both in turn, so that what the machine does beside it falls on both."""
    asked = {"cpu": _people(long, share), "cpu_short": _people(short, 1)}
    found: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(ROUNDS):
        for name in list(asked)[:: 1 if number % 2 else -1]:
            found[name].append(await _measured(asked[name], turns // AT_ONCE))
    ratios = [one / other for one, other in zip(found["cpu"], found["cpu_short"], strict=True)]
    sums = {name: sum(values) for name, values in found.items()}
    return {**sums, "turns": turns * ROUNDS, "beside_short": median(ratios)}


def _people(sessions: list[Session], share: int) -> list[Iterator[Session]]:
    """Whom each of those who ask at the same time asks: nobody asks another's session."""
    return [
        iter([session for session in sessions[first::AT_ONCE] for _ in range(share)])
        for first in range(AT_ONCE)
    ]


async def _measured(people: list[Iterator[Session]], turns: int) -> float:
    """Processor seconds of so many turns of each."""
    asked = [list(islice(sessions, turns)) for sessions in people]
    assert all(len(some) == turns for some in asked), "there are enough sessions"
    gc.collect()
    before = time.process_time()
    await asyncio.gather(*(_ask_each(some) for some in asked))
    await asyncio.sleep(SETTLES_IN)
    return time.process_time() - before


async def _ask_each(sessions: list[Session]) -> None:
    for session in sessions:
        await _ask(session, 1)


async def _ask(session: Session, times: int) -> None:
    for _ in range(times):
        receipt = await session.send("one")
        await receipt.outcome()


async def _events_a_turn(session: Session) -> int:
    with session.events() as stream:
        await _ask(session, 1)
    return len([event async for event in stream])
