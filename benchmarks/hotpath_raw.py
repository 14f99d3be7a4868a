"""One run of the hot path, written by hand; started by ``hotpath.py`` in a process of its own.

It does not import wavebreak, as a program that is written by hand would not; hence the bare names
of its neighbours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hotpath_job import CALL_SECONDS, CALLS, SECOND_MESSAGE_AFTER, WAVES, begin, work
from raw_asyncio import Call, Session

if TYPE_CHECKING:
    from hotpath_job import Case, Counter
    from raw_asyncio import Turn


async def job(case: Case, counter: Counter) -> None:
    """Run every session's conversation."""

    async def busy(wave: int, place: int) -> int:
        counter.calls += 1
        await asyncio.sleep(CALL_SECONDS)
        return wave * CALLS + place

    async def no_op(wave: int, place: int) -> int:
        counter.calls += 1
        return wave * CALLS + place

    tool = busy if case.busy else no_op

    async def agent(turn: Turn) -> str:
        counter.runs += 1
        total = 0
        for wave in range(WAVES):
            results = await turn.wave(
                *(Call("tool", (wave, place), tool) for place in range(CALLS))
            )
            total += sum(results)
        return str(total)

    async def deliver(session_id: str, reply: str) -> None:
        del session_id, reply
        counter.replies += 1

    await asyncio.gather(
        *(_converse(Session(f"s{n}", agent, deliver), n, case) for n in range(case.sessions))
    )


async def _converse(session: Session, number: int, case: Case) -> None:
    await begin(number, case)
    for _ in range(case.rounds):
        first = session.send("one")
        if case.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            await session.send("two")
        await first
    await session.close()


if __name__ == "__main__":
    work(job)
