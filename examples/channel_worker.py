"""Channel worker: replies are asked for, and acknowledged when the channel has taken them.

python examples/channel_worker.py prints:

    to ann: working on 'a room'
    to ann: 'a room' is done (attempt 2)
    to ben: working on 'a table'
    to ben: 'a table' is done (attempt 1)
    dead letters: 0
"""

from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, DeliveryKind, HeldDelivery, Turn


class ChannelDown(Exception):
    """The channel did not take a text."""


class Channel:
    """A messenger that is down when the second text is sent."""

    def __init__(self) -> None:
        self.calls = 0

    async def send(self, to: str, text: str, key: str) -> None:
        """Send a text; what comes again under the same key is shown once."""
        self.calls += 1
        if self.calls == 2:  # noqa: PLR2004 - that one
            raise ChannelDown(f"{key} was not sent")
        print(f"to {to}: {text}")


async def agent(turn: Turn) -> str:
    """Say that it works, and what came of it."""
    turn.say(f"working on {turn.text!r}")
    return f"{turn.text!r} is done"


async def bring(held: HeldDelivery, channel: Channel) -> None:
    """Bring one delivery to its user, and answer for it."""
    delivery, text = held.delivery, held.delivery.reply.text
    if delivery.kind is DeliveryKind.REPLY:
        text = f"{text} (attempt {held.attempt})"
    try:
        await channel.send(delivery.session_id, text, delivery.delivery_id)
    except ChannelDown as error:
        held.nack(str(error), retry_after=0.1)  # the same one comes again
    else:
        held.ack()  # the next one of this session may be sent


async def work(system: ActorSystem, channel: Channel) -> None:
    """Bring all deliveries, until the system closes; there may be several such workers."""
    async with system.deliveries() as deliveries:
        async for held in deliveries:
            await bring(held, channel)


async def main() -> None:
    """Two conversations, and one worker for all."""
    async with ActorSystem(agent, deliver="pull") as system:
        worker = asyncio.create_task(work(system, Channel()))
        for name, wish in (("ann", "a room"), ("ben", "a table")):
            await (await system.session(name).send(wish)).outcome()
            await asyncio.sleep(0.2)
    await worker
    print("dead letters:", len(system.dead_letters))


if __name__ == "__main__":
    asyncio.run(main())
