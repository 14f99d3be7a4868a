"""A once call is started once, whatever dies between its start and the record of its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import ActorSystem, NodeKind, Reply, Tool, Turn, tool
from wavebreak.supervisors.life import kill
from wavebreak.testing import QuietEvent

from .test_durability import SlowJournal, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak import Receipt

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


class Booking:
    """A once call whose end the test decides; ``started`` is how often it really began."""

    def __init__(self) -> None:
        self.started = 0
        self.began = asyncio.Event()
        self.may_end = QuietEvent()

    def blocking(self) -> Tool[[], str]:
        loop = asyncio.get_running_loop()

        def book() -> str:
            self.started += 1
            loop.call_soon_threadsafe(self.began.set)
            self.may_end.wait()
            raise ValueError("no room")

        return tool(book)

    def quick(self) -> Tool[[], str]:
        """It ends before the death, in the moment in which that is not recorded yet."""

        async def book() -> str:
            self.started += 1
            self.began.set()
            raise ValueError("no room")

        return tool(book)


WAYS: list[Callable[[Booking], Tool[[], str]]] = [
    Booking.blocking,
    Booking.quick,
]


@tool(effect="read")
async def linger() -> str:
    """Keep the wave open, so that nothing else tells of the other call's end."""
    await asyncio.sleep(0.5)
    return "lingered"


def kill_session(system: ActorSystem) -> None:
    tree = system._tree
    assert tree is not None
    (ref,) = [cell.ref for key, cell in tree.door.cells.items() if key.session_id == "ann"]
    assert ref is not None
    kill(ref)


def kill_runtime(system: ActorSystem) -> None:
    tree = system._tree
    assert tree is not None
    (child,) = [c for key, c in tree.runtimes.children.items() if key.session_id == "ann"]
    assert child.runtime is not None
    kill(child.runtime.actor_ref)


def kill_parts(system: ActorSystem) -> None:
    tree = system._tree
    assert tree is not None
    for actor in (tree.door.place.actor, tree.runtimes.place.actor):
        assert actor is not None
        kill(actor.actor_ref)


def kill_runtime_and_parts(system: ActorSystem) -> None:
    kill_runtime(system)
    kill_parts(system)


def kill_session_and_parts(system: ActorSystem) -> None:
    kill_parts(system)
    kill_session(system)


def kill_both(system: ActorSystem) -> None:
    kill_runtime(system)
    kill_session(system)


DEATHS = [
    kill_session,
    kill_runtime,
    kill_session_and_parts,
    kill_runtime_and_parts,
    kill_both,
]
KNOWING = {kill_runtime, kill_runtime_and_parts, kill_both}
"""Deaths after which the runtime can still tell that a call had not begun."""

died = pytest.mark.parametrize("die", DEATHS)


async def reply_of(receipt: Receipt) -> str:
    reply = (await receipt.outcome()).reply
    assert isinstance(reply, Reply)
    return reply.text


@pytest.mark.parametrize("die", DEATHS[:-1])
@pytest.mark.parametrize("way", WAYS)
async def test_a_failure_that_is_seen_when_all_had_died_is_the_calls_end(
    die: Callable[[ActorSystem], None], way: Callable[[Booking], Tool[[], str]]
) -> None:
    booking = Booking()
    book = way(booking)

    async def agent(turn: Turn) -> str:
        first, _ = await turn.settle(book(), linger())
        return first.status

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        await booking.began.wait()
        die(system)
        booking.may_end.set()
        assert await reply_of(receipt) == "failed"
    assert booking.started == 1


@died
async def test_a_call_whose_end_is_seen_by_nobody_in_time_is_unknown(
    die: Callable[[ActorSystem], None],
) -> None:
    booking = Booking()
    book = booking.blocking()

    async def agent(turn: Turn) -> str:
        (record,) = await turn.settle(book())
        return record.status

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        await booking.began.wait()
        die(system)
        assert await reply_of(receipt) == "unknown"
        booking.may_end.set()
    assert booking.started == 1


async def test_a_thread_of_a_runtime_that_was_ended_by_force_is_counted_as_given_up() -> None:
    booking = Booking()
    book = booking.blocking()

    async def agent(turn: Turn) -> str:
        await turn.settle(book())
        return "done"

    def given_up(system: ActorSystem) -> str:
        (threads,) = [n for n in system.tree().children if n.kind is NodeKind.THREADS]
        return threads.detail

    async with ActorSystem(agent, threads=4) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        await booking.began.wait()
        kill_runtime(system)
        assert given_up(system) == "1 of 4 abandoned"
        await receipt.outcome()
        booking.may_end.set()
        await asyncio.sleep(1)
        assert given_up(system) == "0 of 4 abandoned"


@died
async def test_a_call_that_waited_for_a_thread_is_not_started_by_a_dead_attempt(
    die: Callable[[ActorSystem], None],
) -> None:
    hold = QuietEvent()
    started: list[str] = []

    @tool(effect="read")
    def occupy() -> str:
        hold.wait()
        return "done"

    @tool
    def book() -> str:
        started.append("book")
        return "booked"

    async def agent(turn: Turn) -> str:
        calls: tuple[Any, ...] = (occupy(),) if turn.session_id == "ben" else (book(),)
        (record,) = await turn.settle(*calls)
        return record.status

    async with ActorSystem(agent, threads=1) as system, asyncio.timeout(LONG):
        other = await system.session("ben").send("a")
        await asyncio.sleep(1)
        receipt = await system.session("ann").send("a")
        await asyncio.sleep(1)
        die(system)
        await asyncio.sleep(60)  # the next attempt waits for the thread, too
        hold.set()
        await other.outcome()
        text = await reply_of(receipt)
    assert text == ("completed" if die in KNOWING else "unknown")
    assert len(started) == (die in KNOWING)


@died
async def test_a_call_that_waited_for_its_commit_is_not_started_by_a_dead_attempt(
    die: Callable[[ActorSystem], None],
) -> None:
    journal = SlowJournal()
    started: list[int] = []

    @tool
    async def book() -> str:
        started.append(1)
        return "booked"

    async def agent(turn: Turn) -> str:
        (record,) = await turn.settle(book())
        return record.status

    async with ActorSystem(agent, journal=journal) as system, asyncio.timeout(LONG):
        accepted = system.session("ann").send("a")
        await settle()
        *before, wave = journal.pending
        journal.pending = [wave]
        for commit in before:
            commit.complete()
        receipt = await accepted
        await settle()
        assert started == []
        die(system)
        await asyncio.sleep(0)
        journal.commit()  # that of the wave which nobody runs any more
        await asyncio.sleep(60)
        assert started == []
        journal.commit_all()
        text = await reply_of(receipt)
    assert text == ("completed" if die in KNOWING else "unknown")
    assert len(started) == (die in KNOWING)
