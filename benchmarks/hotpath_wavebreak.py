"""One run of the hot path on wavebreak; started by ``hotpath.py`` in a process of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from wavebreak import ActorSystem, tool
from wavebreak.benchmarks.hotpath_job import (
    CALL_SECONDS,
    CALLS,
    SECOND_MESSAGE_AFTER,
    WAVES,
    begin,
    work,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak import Delivery, Session, Turn
    from wavebreak.benchmarks.hotpath_job import Case, Counter


def bot(
    case: Case, counter: Counter, effect: Literal["read", "idempotent"] = "read"
) -> tuple[Callable[[Turn], Awaitable[str]], Callable[[Delivery], Awaitable[None]]]:
    """Make the agent, and the channel that counts what it gets."""

    @tool(effect=effect)
    async def busy(wave: int, place: int) -> int:
        counter.calls += 1
        await asyncio.sleep(CALL_SECONDS)
        return wave * CALLS + place

    @tool(effect=effect)
    async def no_op(wave: int, place: int) -> int:
        counter.calls += 1
        return wave * CALLS + place

    called = busy if case.busy else no_op

    async def agent(turn: Turn) -> str:
        counter.runs += 1
        total = 0
        for wave in range(WAVES):
            results = await turn.wave(*(called(wave, place) for place in range(CALLS)))
            total += sum(results)
        return str(total)

    async def deliver(delivery: Delivery) -> None:
        del delivery
        counter.replies += 1

    return agent, deliver


async def job(case: Case, counter: Counter) -> None:
    """Run every session's conversation."""
    agent, deliver = bot(case, counter)
    async with ActorSystem(agent, deliver=deliver) as system:
        await asyncio.gather(
            *(_converse(system.session(f"s{n}"), n, case) for n in range(case.sessions))
        )


async def _converse(session: Session, number: int, case: Case) -> None:
    await begin(number, case)
    for _ in range(case.rounds):
        first = session.send("one")
        if case.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            second = await session.send("two")
            await second.outcome()
        receipt = await first
        await receipt.outcome()


if __name__ == "__main__":
    work(job)
