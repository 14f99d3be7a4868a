"""The message queue pattern: messages that come meanwhile wait, and have a turn each, in order.

python examples/message_queue.py prints:

    bot: ordered 2 pizzas
    bot: ordered 1 salad
    bot: ordered 3 colas
    turns: [1, 2, 3]
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, Delivery, Enqueue, Turn, tool


@tool(effect="once")
async def order(what: str) -> str:
    """Put an order to the kitchen, which takes its time."""
    await asyncio.sleep(0.1)
    return f"ordered {what}"


async def agent(turn: Turn) -> str:
    """Order what the one message of this turn says."""
    return await turn.one(order(turn.text))


async def deliver(delivery: Delivery) -> None:
    """Show the user a reply."""
    print(f"bot: {delivery.reply.text}")


async def main() -> None:
    """Send three orders at once; none interrupts another."""
    async with ActorSystem(agent, policy=Enqueue(), deliver=deliver) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in ("2 pizzas", "1 salad", "3 colas")]
        outcomes = [await receipt.outcome() for receipt in receipts]
    print("turns:", [outcome.turn for outcome in outcomes])


if __name__ == "__main__":
    asyncio.run(main())
