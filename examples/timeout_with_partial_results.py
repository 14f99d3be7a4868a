"""A deadline: the turn ends in time, the user is told, and what was finished is not lost.

python examples/timeout_with_partial_results.py prints:

    bot: Sorry, this took too long, and I have stopped.
    timed_out, with {'flights#1': 'BA 117', 'hotel#2': 'The Bicycle'}
    bot: BA 117, The Bicycle, sunny
    flights ran 1 times
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, Delivery, GracefulAnswer, Turn, TurnEnded, tool

RAN: list[str] = []


@tool(effect="read")
async def flights(city: str) -> str:
    """Find a flight."""
    RAN.append(f"flights to {city}")
    await asyncio.sleep(0.05)
    return "BA 117"


@tool(effect="read")
async def hotel(city: str) -> str:
    """Find a hotel."""
    await asyncio.sleep(0.05)
    return f"The Bicycle{'' if city else '?'}"


@tool(effect="read")
async def weather(city: str) -> str:
    """Ask a service that is slow the first time."""
    RAN.append(f"weather in {city}")
    await asyncio.sleep(10 if RAN.count(f"weather in {city}") == 1 else 0)
    return "sunny"


async def agent(turn: Turn) -> str:
    """Look three things up, one after the other."""
    found = [await turn.one(flights("Rome")), await turn.one(hotel("Rome"))]
    return ", ".join([*found, await turn.one(weather("Rome"))])


async def deliver(delivery: Delivery) -> None:
    """Show the user what the bot, or the session itself, says."""
    print(f"bot: {delivery.reply.text}")


async def main() -> None:
    """Run out of time, and ask again."""
    ended: list[TurnEnded] = []
    async with ActorSystem(agent, deliver=deliver) as system:
        system.on(TurnEnded, ended.append)
        session = system.session("ann")
        await (await session.send("plan my trip", deadline=0.3)).outcome()
        await asyncio.sleep(0.05)
        answer = GracefulAnswer.of(ended[0])
        print(f"{answer.action}, with {answer.results}")
        await (await session.send("once more")).outcome()
    print(f"flights ran {RAN.count('flights to Rome')} times")


if __name__ == "__main__":
    asyncio.run(main())
