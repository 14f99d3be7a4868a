"""The cases on bare asyncio, written by hand; the turns are those of ``../raw_asyncio.py``.

An actor is what one writes for one: a task that takes messages from a queue.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from programs.measuring import (
    BURST,
    CALLS,
    SECOND_MESSAGE_AFTER,
    WAVES,
    Meter,
    Talks,
    begin,
    memory,
    take_part,
    tool_of,
)
from raw_asyncio import Call, Session

if TYPE_CHECKING:
    from programs.measuring import Figures, Order
    from raw_asyncio import Turn


class Adder:
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        self.total = 0
        self.queue: asyncio.Queue[tuple[int, asyncio.Future[int] | None]] = asyncio.Queue()
        self.task = asyncio.create_task(self._work())

    def tell(self, number: int) -> None:
        """Take a number."""
        self.queue.put_nowait((number, None))

    def ask(self, number: int) -> asyncio.Future[int]:
        """Take a number; the future is the sum with it."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((number, answer))
        return answer

    async def stop(self) -> None:
        """End it."""
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _work(self) -> None:
        while True:
            number, answer = await self.queue.get()
            self.total += number
            if answer is not None and not answer.done():
                answer.set_result(self.total)


async def tell(order: Order) -> Figures:
    """Tell one actor many things, in the loop or from a thread."""
    adders = [Adder() for _ in range(order.sessions or 1)]
    with Meter() as meter:
        if order.from_thread:
            await asyncio.to_thread(_tell_from_thread, adders, order.count)
        else:
            (adder,) = adders
            for _ in range(order.count // BURST):
                for _ in range(BURST):
                    adder.tell(1)
                await adder.ask(0)
    assert sum(adder.total for adder in adders) == order.count
    for adder in adders:
        await adder.stop()
    return meter.figures()


def _tell_from_thread(adders: list[Adder], count: int) -> None:
    loop = adders[-1].task.get_loop()
    handled = threading.Event()

    def wake() -> None:
        adders[-1].ask(0).add_done_callback(lambda _: handled.set())

    for _ in range(count // BURST):
        for number in range(BURST):
            loop.call_soon_threadsafe(adders[number % len(adders)].tell, 1)
        handled.clear()
        loop.call_soon_threadsafe(wake)
        handled.wait()


async def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    adder = Adder()
    with Meter() as meter:
        for _ in range(order.count):
            await adder.ask(1)
    assert adder.total == order.count
    await adder.stop()
    return meter.figures()


async def spawn(order: Order) -> Figures:
    """Start many actors, look at the memory, stop them."""
    before = memory()
    with Meter() as starting:
        adders = [Adder() for _ in range(order.count)]
        await asyncio.sleep(0)  # each waits for its first message now
    held = memory() - before
    with Meter() as stopping:
        for adder in adders:
            adder.task.cancel()
        await asyncio.wait([adder.task for adder in adders])
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    with Meter() as meter:
        sessions = [_session(n, talks, order) for n in range(order.sessions)]
        await asyncio.gather(*(_converse(s, n, talks, order) for n, s in enumerate(sessions)))
        for session in sessions:
            await session.close()
    return {**meter.figures(), **talks.figures()}


def _session(number: int, talks: Talks, order: Order) -> Session:
    tool = tool_of(talks, order)

    async def agent(turn: Turn) -> str:
        talks.turn_begins(number)
        total = 0
        for wave in range(WAVES):
            talks.wave_begins(number)
            results = await turn.wave(
                *(Call("tool", (number, wave, place), tool) for place in range(CALLS))
            )
            total += sum(results)
        return str(total)

    async def deliver(session_id: str, reply: str) -> None:
        del session_id, reply
        talks.replies += 1

    return Session(f"s{number}", agent, deliver)


async def _converse(session: Session, number: int, talks: Talks, order: Order) -> None:
    await begin(number, order)
    for _ in range(order.rounds):
        first = session.send("one")
        if order.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            talks.second_message(number)
            await session.send("two")
        await first


async def growth(order: Order) -> Figures:
    """Measure turns beside so many sessions, each of which was answered once, and their memory."""
    talks = Talks(order.sessions)
    sessions = [_session(0, talks, order)]
    # What the first session brings along by the way is not its own.
    await sessions[0].send("one")
    before = memory()
    for number in range(1, order.sessions):
        sessions.append(_session(number, talks, order))
        await sessions[number].send("one")
    held = memory() - before
    with Meter() as meter:
        for number in range(order.count):
            await sessions[number % order.sessions].send("two")
    for session in sessions:
        await session.close()
    return {**meter.figures(), "turns": order.count, "bytes": held / (order.sessions - 1)}


if __name__ == "__main__":
    take_part(
        {
            "tell": tell,
            "ask": ask,
            "spawn": spawn,
            "turns": turns,
            "growth": growth,
        }
    )
