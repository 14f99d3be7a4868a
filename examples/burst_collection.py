"""Burst collection: people write in pieces, and a burst of messages is one turn.

python examples/burst_collection.py prints:

    turn 1: hi / can you / book a table
    turn 2: for two / at eight / by the window
    answered: 6
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, Collect, Debounce, Turn, tool


@tool(effect="read")
async def think(about: str) -> str:
    """Take a while."""
    await asyncio.sleep(1)
    return about


async def agent(turn: Turn) -> str:
    """Answer all that came together."""
    text = turn.text.replace("\n", " / ")
    print(f"turn {turn.number}: {text}")
    return await turn.one(think(text))


async def main() -> None:
    """Send two bursts: one into the quiet, one while the first is worked on."""
    window = Debounce(quiet=0.3, max_wait=2)
    async with ActorSystem(agent, policy=Collect(), debounce=window) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in ("hi", "can you", "book a table")]
        await asyncio.sleep(0.5)  # the window has closed, and the turn runs
        for text in ("for two", "at eight", "by the window"):
            receipts.append(await session.send(text))
            await asyncio.sleep(0.1)
        outcomes = [await receipt.outcome() for receipt in receipts]
    print("answered:", sum(outcome.status == "answered" for outcome in outcomes))


if __name__ == "__main__":
    asyncio.run(main())
