"""A session as somebody writes it for an actor framework on asyncio; the frameworks bring the rest.

The session is an actor that gets what the user writes. The turn runs beside it in a task, since an
actor that ran it itself would hear nothing meanwhile. When the user writes again, the session sets
a flag, which the turn looks at between its waves; it tells the session of its end, and the session
starts the next one, with what was finished.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from programs.measuring import CALLS, SECOND_MESSAGE_AFTER, WAVES, Meter, begin, tool_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from programs.measuring import Figures, Order, Talks


class Ended(NamedTuple):
    """What a turn tells its session.

    Args:
        reply: of a turn that was not stopped.
        done: results by wave and place.
    """

    reply: str | None
    done: dict[tuple[int, int], int]


class Conversation:
    """What a session does, whoever brings it its messages.

    Args:
        number: the session's.
        world: where it lives.
        tell: gives the session what its turn has to tell.
    """

    def __init__(
        self, number: int, world: World, tell: Callable[[Ended], Awaitable[Any] | None]
    ) -> None:
        self.number, self.world, self.tell = number, world, tell
        self.messages: list[str] = []
        self.turn: Turn | None = None

    def write(self, text: str) -> None:
        """Take what the user writes."""
        self.messages.append(text)
        if self.turn is None:
            self.turn = Turn(self, {})
        else:
            self.turn.stopped = True

    def end(self, ended: Ended) -> None:
        """Take that the turn has ended."""
        turn, self.turn = self.turn, None
        if ended.reply is None or (turn is not None and turn.stopped):
            self.turn = Turn(self, ended.done)
        else:
            self.messages.clear()
            self.world.deliver(self.number)


class Turn:
    """The work on all unanswered messages, in a task of its own."""

    def __init__(self, session: Conversation, done: dict[tuple[int, int], int]) -> None:
        self.session = session
        self.done = done
        self.stopped = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        reply = await self._agent()
        told = self.session.tell(Ended(reply, self.done))
        if told is not None:
            await told

    async def _agent(self) -> str | None:
        number, world = self.session.number, self.session.world
        world.talks.turn_begins(number)
        total = 0
        for wave in range(WAVES):
            if self.stopped:
                return None
            world.talks.wave_begins(number)
            total += sum(await asyncio.gather(*(self._call(wave, place) for place in range(CALLS))))
        return str(total)

    async def _call(self, wave: int, place: int) -> int:
        if (wave, place) not in self.done:
            result = await self.session.world.tool(self.session.number, wave, place)
            self.done[wave, place] = result
        return self.done[wave, place]


class World:
    """The users, and what all sessions share.

    Args:
        talks: notes what happens.
        order: what is to happen.
    """

    def __init__(self, talks: Talks, order: Order) -> None:
        self.talks, self.order = talks, order
        self.tool = tool_of(talks, order)
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def deliver(self, number: int) -> None:
        """Give the user a reply."""
        self.talks.replies += 1
        self.waiting[number].set_result(None)

    async def converse(self, number: int, send: Callable[[str], Awaitable[Any] | None]) -> None:
        """Be the user of a session."""
        await begin(number, self.order)
        for _ in range(self.order.rounds):
            reply = self._expect(number)
            await _sent(send("one"))
            if self.order.interrupts:
                await asyncio.sleep(SECOND_MESSAGE_AFTER)
                if reply.done():  # so late that the first turn is over
                    reply = self._expect(number)
                self.talks.second_message(number)
                await _sent(send("two"))
            await reply

    def _expect(self, number: int) -> asyncio.Future[None]:
        reply = self.waiting[number] = asyncio.get_running_loop().create_future()
        return reply

    async def talk(self, senders: list[Callable[[str], Awaitable[Any] | None]]) -> Figures:
        """Run all conversations, and measure them."""
        with Meter() as meter:
            await asyncio.gather(
                *(self.converse(number, send) for number, send in enumerate(senders))
            )
        return {**meter.figures(), **self.talks.figures()}


async def _sent(answer: Awaitable[Any] | None) -> None:
    if answer is not None:
        await answer
