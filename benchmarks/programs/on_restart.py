"""The turns of ``suite.py`` in the plain pattern of today, ``../cancel_and_restart.py``.

A task for each session, which is cancelled and started over when the user writes again. It starts
at once, so its waits are those of ``now``; what it had finished it does again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cancel_and_restart import Chat
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
    from collections.abc import Sequence

    from programs.measuring import Figures, Order


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    tool = tool_of(talks, order)
    answered: dict[str, asyncio.Future[None]] = {}

    async def agent(session_id: str, messages: Sequence[str]) -> str:
        del messages
        number = int(session_id)
        talks.turn_begins(number)
        total = 0
        for wave in range(WAVES):
            talks.wave_begins(number)
            total += sum(
                await asyncio.gather(*(tool(number, wave, place) for place in range(CALLS)))
            )
        return str(total)

    async def deliver(session_id: str, reply: str, messages: Sequence[str]) -> None:
        del reply, messages
        talks.replies += 1
        answered[session_id].set_result(None)

    chat = Chat(agent, deliver)

    async def converse(number: int) -> None:
        await begin(number, order)
        session_id = str(number)
        for _ in range(order.rounds):
            reply = answered[session_id] = asyncio.get_running_loop().create_future()
            chat.send(session_id, "one")
            if order.interrupts:
                await asyncio.sleep(SECOND_MESSAGE_AFTER)
                if reply.done():  # so late that the first turn is over
                    reply = answered[session_id] = asyncio.get_running_loop().create_future()
                talks.second_message(number)
                chat.send(session_id, "two")
            await reply

    with Meter() as meter:
        await asyncio.gather(*(converse(number) for number in range(order.sessions)))
        await chat.close()
    return {**meter.figures(), **talks.figures()}


if __name__ == "__main__":
    take_part({"turns": turns})
