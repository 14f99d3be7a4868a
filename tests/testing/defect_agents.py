"""The agents that are explored with a defect in place."""

from __future__ import annotations

import asyncio
import contextlib

from wavebreak import (
    CompletedCall,
    Turn,
    tool,
)


@tool(effect="read")
async def search(city: str) -> list[str]:
    await asyncio.sleep(0.2)
    return [f"{city} Palace", f"{city} Inn"]


@tool
async def book(hotel: str) -> str:
    await asyncio.sleep(0.2)
    return f"{hotel} is booked"


async def travel(turn: Turn) -> str:
    """Searches, says something, books twice: two waves, a step, words."""
    hotels = await turn.one(search("Rome"))
    turn.say(f"{len(hotels)} hotels")
    await turn.step(lambda: len(hotels), key="count")
    turn.delta("I have ")
    booked = await turn.wave(*(book(hotel) for hotel in hotels))
    return f"{turn.number}: {', '.join(booked)}"


async def short(turn: Turn) -> str:
    """One wave of one call."""
    return f"{turn.number}: {await turn.one(book('Inn'))}"


@tool
async def dig(where: str) -> str:
    """Does not heed its cancellation, and takes longer than a grace."""
    work = asyncio.ensure_future(asyncio.sleep(7.0, where))
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((work,))
    return work.result()


async def obstinate(turn: Turn) -> str:
    """One wave of one call that cannot be broken off."""
    return f"{turn.number}: {await turn.one(dig(turn.text))}"


async def give_back(call: CompletedCall, result: str) -> None:
    await asyncio.sleep(0.1)


@tool(compensate=give_back)
async def reserve(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"{what} is reserved"


async def bookings(turn: Turn) -> str:
    """Two waves, each of which can be undone."""
    await turn.one(reserve("a table"))
    await turn.one(reserve("a room"))
    return "done"


async def aloud(turn: Turn) -> str:
    """Says something while its wave is under way."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(0.15, turn.say, "still here")
    try:
        await turn.one(search("Rome"))
    finally:
        timer.cancel()
    return "done"
