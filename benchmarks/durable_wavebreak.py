"""One run of ``durable.py`` on wavebreak, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wavebreak import ActorSystem, SqliteJournal
from wavebreak.benchmarks.hotpath_job import SECOND_MESSAGE_AFTER, begin, work
from wavebreak.benchmarks.hotpath_wavebreak import bot

if TYPE_CHECKING:
    from wavebreak import Session
    from wavebreak.benchmarks.hotpath_job import Case, Counter


async def job(case: Case, counter: Counter) -> None:
    """Run every session's conversation."""
    agent, deliver = bot(case, counter, "idempotent")
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if sys.argv[2:] else None) as folder:
        journal = SqliteJournal(Path(folder, "journal.db"))
        async with ActorSystem(agent, deliver=deliver, journal=journal) as system:
            await asyncio.gather(
                *(_converse(system.session(f"s{n}"), n, case) for n in range(case.sessions))
            )


async def _converse(session: Session, number: int, case: Case) -> None:
    await begin(number, case)
    for _ in range(case.rounds):
        receipt = await session.send("one")
        if case.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            second = await session.send("two")
            await second.outcome()
        await receipt.outcome()


if __name__ == "__main__":
    work(job)
