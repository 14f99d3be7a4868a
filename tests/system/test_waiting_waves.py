"""Waves that wait for the commit of their beginning: as a whole, and whatever comes between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wavebreak import (
    ActorSystem,
    CallEnded,
    Now,
    SessionActor,
    Turn,
    WaveEnded,
    WaveFailed,
    WaveStarted,
    tool,
)

from .test_durability import SlowJournal, settle


class Work:
    """Tools that note that they were started."""

    def __init__(self) -> None:
        self.started: list[str] = []

        @tool
        async def book(what: str) -> str:
            self.started.append(what)
            return what

        @tool(effect="read")
        async def look(what: str) -> str:
            self.started.append(what)
            return what

        self.book: Any = book
        self.look: Any = look


async def test_a_wave_waits_as_a_whole_and_its_reads_do_not() -> None:
    journal, work = SlowJournal(), Work()

    async def agent(turn: Turn) -> str:
        await turn.wave(work.book("a"), work.book("b"))
        await turn.wave(work.look("c"), work.book("d"))
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        accepted = system.session("ann").send("x")
        await settle()
        assert work.started == []
        journal.commit()
        await settle()
        assert work.started == ["a", "b", "c"]
        journal.commit_all()
        await (await accepted).outcome()
    assert work.started == ["a", "b", "c", "d"]


async def test_a_wave_that_was_given_up_begins_by_no_commit_and_opens_no_later_one() -> None:
    journal, work = SlowJournal(), Work()
    seen: list[str] = []
    ends: list[str] = []

    async def agent(turn: Turn) -> str:
        try:
            async with asyncio.timeout(1):
                await turn.wave(work.book("a"), work.book("b"))
        except TimeoutError:
            seen.append("given up")
        await turn.wave(work.book("c"))
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        system.on(CallEnded, lambda event: ends.append(f"{event.call_id} {event.status}"))
        accepted = system.session("ann").send("x")
        await asyncio.sleep(2)
        assert seen == ["given up"]
        *first, last = journal.pending
        for commit in first:
            commit.complete()
        await settle()
        assert work.started == [], "the commit of the second wave is still to come"
        last.complete()
        await settle()
        assert work.started == ["c"]
        journal.commit_all()
        await (await accepted).outcome()
    assert ends == ["1.1.1.1 skipped", "1.1.1.2 skipped", "1.1.2.1 completed"]


async def test_a_stop_ends_a_wave_that_waits_before_its_commit_is_done() -> None:
    journal, work = SlowJournal(), Work()
    left: list[Any] = []

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            left.extend(turn.previous.calls)
            return "done"
        await turn.wave(work.book("a"), work.book("b"))
        return "never"

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        session.send("x")
        await settle()
        again = session.send("y", policy=Now())
        await settle()
        assert [str(one.status) for one in left] == ["skipped", "skipped"]
        journal.commit_all()
        await (await again).outcome()
    assert work.started == []


async def test_a_wave_that_the_agent_left_behind_does_not_begin_when_the_turn_is_over() -> None:
    journal, work = SlowJournal(), Work()
    tasks: list[asyncio.Task[Any]] = []

    async def agent(turn: Turn) -> str:
        tasks.append(asyncio.create_task(_wave(turn)))
        await asyncio.sleep(0.01)
        return "done"

    async def _wave(turn: Turn) -> None:
        await turn.wave(work.book("a"))

    async with ActorSystem(agent, journal=journal) as system:
        accepted = system.session("ann").send("x")
        await asyncio.sleep(1)
        journal.commit_all()
        await (await accepted).outcome()
        with pytest.raises(WaveFailed):
            await tasks[0]
    assert work.started == []


async def test_a_commit_that_fails_starts_nothing_of_its_wave() -> None:
    journal, work = SlowJournal(), Work()

    async def agent(turn: Turn) -> str:
        await turn.wave(work.book("a"), work.book("b"))
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        accepted = system.session("ann").send("x")
        await settle()
        *first, wave = journal.pending
        journal.pending.clear()
        for commit in first:
            commit.complete()
        receipt = await accepted
        wave.complete(OSError("disk"))
        await settle()
        assert work.started == []
        journal.commit_all()
        await receipt.outcome()


@pytest.mark.parametrize("beside_a_read", [False, True])
async def test_a_commit_that_fails_starts_nothing_while_its_session_is_busy_either(
    beside_a_read: bool,
) -> None:
    """The session hears of it behind a slow hook: until then the turn is not told to stop."""
    journal, work = SlowJournal(), Work()

    class Slow(SessionActor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.sleep(message)

    async def agent(turn: Turn) -> str:
        if turn.attempt > 1:
            return "done"
        calls = [work.book("a"), work.book("b")]
        await turn.settle(*calls, *([work.look("c")] if beside_a_read else []))
        return "never"

    async with ActorSystem(agent, journal=journal, session_actor=Slow) as system:
        session = system.session("ann")
        accepted = session.send("x")
        await settle()
        *first, wave = journal.pending
        journal.pending.clear()
        for commit in first:
            commit.complete()
        receipt = await accepted
        session.tell(5)
        await settle()
        wave.complete(OSError("disk"))
        await settle()
        assert work.started == ["c"] * beside_a_read
        journal.commit_all()
        await receipt.outcome()
    assert work.started == ["c"] * beside_a_read


async def test_who_subscribes_while_a_wave_waits_is_told_of_it_when_it_is_durable() -> None:
    """Nobody watched when it was recorded, so only its line is held."""
    journal, work = SlowJournal(), Work()
    told: list[str] = []

    async def agent(turn: Turn) -> str:
        await turn.wave(work.book("a"))
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        accepted = system.session("ann").send("x")
        await settle()
        for kind in (WaveStarted, CallEnded, WaveEnded):
            system.on(kind, lambda event: told.append(type(event).__name__))
        await settle()
        assert told == []
        journal.commit()
        await settle()
        assert told == ["WaveStarted"]
        journal.commit_all()
        await (await accepted).outcome()
    assert told == ["WaveStarted", "CallEnded", "WaveEnded"]
