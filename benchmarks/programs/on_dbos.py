"""The durable turns of ``suite.py`` on DBOS, with SQLite.

A question and all that comes behind it until the reply is a workflow, each call a step of it; the
second message is sent to the workflow, which looks for one between its waves.
"""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dbos import DBOS, SetWorkflowID
from programs.measuring import (
    CALLS,
    SECOND_MESSAGE_AFTER,
    WAVES,
    Meter,
    Talks,
    begin,
    take_part,
    tool_of,
)

if TYPE_CHECKING:
    from programs.measuring import Figures, Order


async def turns(order: Order) -> Figures:  # noqa: C901 - workflows are functions by their names
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    tool = tool_of(talks, order)

    @DBOS.step()
    async def call(number: int, wave: int, place: int) -> int:
        return int(await tool(number, wave, place))

    @DBOS.step()
    async def deliver(number: int, reply: str) -> None:
        del number, reply
        talks.replies += 1

    async def agent(number: int, done: dict[tuple[int, int], int]) -> bool:
        talks.turn_begins(number)
        for wave in range(WAVES):
            if await DBOS.recv_async(timeout_seconds=0) is not None:
                return False
            talks.wave_begins(number)
            new = [place for place in range(CALLS) if (wave, place) not in done]
            results = await asyncio.gather(*(call(number, wave, place) for place in new))
            done.update(zip(((wave, place) for place in new), results, strict=True))
        return True

    @DBOS.workflow()
    async def answer(number: int) -> None:
        done: dict[tuple[int, int], int] = {}
        while not await agent(number, done):
            pass
        await deliver(number, str(sum(done.values())))

    async def converse(number: int) -> None:
        await begin(number, order)
        for round_ in range(order.rounds):
            name = f"{number}.{round_}"
            with SetWorkflowID(name):
                handle = await DBOS.start_workflow_async(answer, number)
            if order.interrupts:
                await asyncio.sleep(SECOND_MESSAGE_AFTER)
                talks.second_message(number)
                await DBOS.send_async(name, "two")
            await handle.get_result()

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'dbos.sqlite')}"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
        DBOS.launch()
        try:
            with Meter() as meter:
                await asyncio.gather(*(converse(number) for number in range(order.sessions)))
        finally:
            DBOS.destroy()
    return {**meter.figures(), **talks.figures()}


if __name__ == "__main__":
    take_part({"turns": turns})
