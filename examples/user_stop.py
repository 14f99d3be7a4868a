"""A stop button: the running turn ends at once, what was begun ends orderly, and all is told.

python examples/user_stop.py prints:

    tool: reading page 1
    tool: reading page 2
    stop: turn 1 stopped
    bot: I have stopped.
    read: cancelled
    message: summarise the book
    call: read({"page":1})
    result: words of page 1
    call: read({"page":2})
    result: was cut off; it only reads, so it has changed nothing: it was stopped on request
    ended: it was stopped on request (the user pressed stop)
    courtesy: I have stopped.
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, Delivery, Now, Turn, tool


@tool(effect="read")
async def read(page: int) -> str:
    """Read a page, slowly."""
    print(f"tool: reading page {page}")
    await asyncio.sleep(0.1)
    return f"words of page {page}"


async def agent(turn: Turn) -> str:
    """Read a whole book."""
    pages = [await turn.one(read(number)) for number in range(1, 100)]
    return f"a summary of {len(pages)} pages"


async def deliver(delivery: Delivery) -> None:
    """Show the user what the session says."""
    print(f"bot: {delivery.reply.text}")


async def main() -> None:
    """Begin, and press stop in the middle."""
    async with ActorSystem(agent, deliver=deliver) as system:
        session = system.session("ann")
        receipt = await session.send("summarise the book")
        await asyncio.sleep(0.15)
        stopped = await session.stop(Now(), reason="the user pressed stop")
        print(f"stop: turn {stopped.turn} {stopped.outcome}")
        await asyncio.sleep(0.05)
        print("read:", (await receipt.outcome()).status)
        for entry in await session.history():
            print(f"{entry.kind}: {entry.text}")


if __name__ == "__main__":
    asyncio.run(main())
