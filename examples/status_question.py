"""A status question while it works: it is answered at once, and cancels nothing.

python examples/status_question.py prints:

    user: find me a hotel in Rome
    user: are you still there?
    bot (aside): Yes, I have looked at 2 of 3 places so far.
    user: with breakfast please
    bot (reply): Searched 3 places for: find me a hotel in Rome / with breakfast please
    searches: 3
"""

from __future__ import annotations

import asyncio

from wavebreak import (
    ActorSystem,
    AfterWave,
    Aside,
    Delivery,
    Policy,
    SessionMessage,
    SessionView,
    Turn,
    tool,
)

SEARCHED: list[str] = []


@tool(effect="read")
async def search(place: str) -> int:
    """Look at a place that has hotels."""
    SEARCHED.append(place)
    await asyncio.sleep(0.1)
    return len(place)


async def agent(turn: Turn) -> str:
    """Look at three places, one after the other; what was done before is not done again."""
    found = [await turn.one(search(place)) for place in ("centre", "river", "station")]
    return f"Searched {len(found)} places for: {turn.text.replace(chr(10), ' / ')}"


def choose(message: SessionMessage, view: SessionView) -> Policy:
    """Tell by the words whether somebody asks how it goes, or wants something else."""
    del view
    return Aside() if "still there" in message.as_text() else AfterWave()


async def status(message: SessionMessage, view: SessionView) -> str:
    """Answer beside the turn, which goes on."""
    del message
    return f"Yes, I have looked at {view.calls_completed} of 3 places so far."


async def deliver(delivery: Delivery) -> None:
    """Show the user what the bot says."""
    print(f"bot ({delivery.kind}): {delivery.reply.text}")


async def main() -> None:
    """Ask, ask how it goes, and add a wish."""
    async with ActorSystem(agent, policy=choose, aside=status, deliver=deliver) as system:
        session = system.session("ann")
        for text, wait in (
            ("find me a hotel in Rome", 0.25),
            ("are you still there?", 0.01),
            ("with breakfast please", 0),
        ):
            print(f"user: {text}")
            receipt = await session.send(text)
            await asyncio.sleep(wait)
        await receipt.outcome()
    print("searches:", len(SEARCHED))


if __name__ == "__main__":
    asyncio.run(main())
