"""Rollback of a booking: what a turn has done is undone, the last thing first.

python examples/booking_rollback.py prints:

    booked flight to Rome
    booked hotel in Rome
    user: no, forget all of it
    cancelled hotel in Rome
    cancelled flight to Rome
    turn 1: rolled_back
    bot: Nothing is booked.
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, CompletedCall, Delivery, Rollback, Turn, TurnEnded, tool


async def cancel(call: CompletedCall, result: str) -> None:
    """Undo a booking; it is given the call that was made, and what it returned."""
    del call
    print(f"cancelled {result}")


@tool(effect="once", compensate=cancel)
async def book(what: str) -> str:
    """Book something."""
    await asyncio.sleep(0.05)
    print(f"booked {what}")
    return what


@tool(effect="read")
async def ask_the_bank(what: str) -> str:
    """Take longer than anybody waits."""
    await asyncio.sleep(60)
    return what


async def agent(turn: Turn) -> str:
    """Book a trip, unless the user has thought better of it."""
    if "forget" in turn.text:
        return "Nothing is booked."
    await turn.one(book("flight to Rome"))
    await turn.one(book("hotel in Rome"))
    return await turn.one(ask_the_bank("all is paid"))


async def deliver(delivery: Delivery) -> None:
    """Show the user a reply."""
    print(f"bot: {delivery.reply.text}")


def told(event: TurnEnded) -> None:
    """Show how a turn ended that did not finish."""
    if event.reply is None:
        print(f"turn {event.turn}: {event.outcome}")


async def main() -> None:
    """Book a trip, and take it back while it is being paid."""
    async with ActorSystem(agent, deliver=deliver) as system:
        system.on(TurnEnded, told)
        session = system.session("ann")
        await session.send("book me a trip to Rome")
        await asyncio.sleep(0.2)
        print("user: no, forget all of it")
        await (await session.send("no, forget all of it", policy=Rollback())).outcome()


if __name__ == "__main__":
    asyncio.run(main())
