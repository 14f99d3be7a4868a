"""The turns of ``suite.py`` stripped to what the loop itself costs: nobody would write it so.

Nothing runs but callbacks: no task for a call, no gather, no queue; a wave is one future that the
last of its timers sets. A call that does nothing is awaited where it stands. Results are kept by
place, so it can do this one job only, and a call that fails would hang it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from programs.measuring import (
    CALL_SECONDS,
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


class Conversation:
    """One conversation: a task that is both the user and the session."""

    __slots__ = ("again", "done", "number", "order", "talks", "tool")

    def __init__(self, number: int, talks: Talks, order: Order) -> None:
        self.number, self.talks, self.order = number, talks, order
        self.tool = tool_of(talks, order)
        self.again = False
        self.done: dict[tuple[int, int], int] = {}

    async def run(self) -> None:
        """Ask, and be answered."""
        await begin(self.number, self.order)
        loop = asyncio.get_running_loop()
        for _ in range(self.order.rounds):
            self.again = False
            if self.order.interrupts:
                loop.call_later(SECOND_MESSAGE_AFTER, self._second)
            self.done.clear()
            while await self._turn():
                self.again = False

    def _second(self) -> None:
        self.talks.second_message(self.number)
        self.again = True

    async def _turn(self) -> bool:
        """Run a turn, and say whether it was stopped."""
        self.talks.turn_begins(self.number)
        total = 0
        for wave in range(WAVES):
            if self.again:
                return True
            self.talks.wave_begins(self.number)
            if self.order.busy:
                await self._wave(wave)
                total += sum(self.done[wave, place] for place in range(CALLS))
            else:
                for place in range(CALLS):
                    total += await self.tool(self.number, wave, place)
        if self.again:
            return True
        self.talks.replies += 1
        return False

    async def _wave(self, wave: int) -> None:
        places = [place for place in range(CALLS) if (wave, place) not in self.done]
        if not places:
            return
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        left = len(places)

        def end(place: int) -> None:
            nonlocal left
            self.done[wave, place] = wave * CALLS + place
            self.talks.call_ends(self.number)
            left -= 1
            if not left:
                ended.set_result(None)

        for place in places:
            self.talks.call_begins(self.number, place)
            loop.call_later(CALL_SECONDS, end, place)
        await ended


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    with Meter() as meter:
        await asyncio.gather(
            *(Conversation(number, talks, order).run() for number in range(order.sessions))
        )
    return {**meter.figures(), **talks.figures()}


if __name__ == "__main__":
    take_part({"turns": turns})
