from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    CompletedCall,
    Event,
    MemoryJournal,
    MessageStatus,
    SystemClosed,
    Turn,
    tool,
)
from wavebreak.journal.base import Commit
from wavebreak.messages.entries import Entry
from wavebreak.messages.history import HistoryEntry
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import RecordingDeliver


class SlowJournal(MemoryJournal):
    """A journal whose commits are done when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Commit] = []
        self.slow = True
        self.lose_next = False

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        if self.lose_next:
            # Nobody can say whether it was written; this time it was not.
            self.lose_next = False
            commit = Commit()
            asyncio.get_running_loop().call_soon(commit.complete, OSError("disk"))
            return commit
        done = super().append(key, entries, history)
        if not self.slow:
            return done
        self.pending.append(Commit())
        return self.pending[-1]

    def commit(self) -> None:
        """All that was appended so far is durable now."""
        pending, self.pending = self.pending, []
        for commit in pending:
            commit.complete()

    def commit_all(self) -> None:
        """So is all that comes."""
        self.slow = False
        self.commit()


async def settle() -> None:
    await asyncio.sleep(0.001)


async def test_nothing_leaves_before_it_is_durable() -> None:
    journal, deliver = SlowJournal(), RecordingDeliver()
    seen: list[str] = []
    started: list[str] = []

    @tool(effect="read")
    async def look() -> str:
        started.append("look")
        return "seen"

    @tool
    async def book() -> str:
        started.append("book")
        return "booked"

    async def agent(turn: Turn) -> str:
        turn.say("one moment")
        await turn.wave(look())
        await turn.wave(book())
        return "done"

    async with ActorSystem(agent, journal=journal, deliver=deliver) as system:
        system.on(Event, lambda event: seen.append(type(event).__name__))
        accepted = system.session("ann").send("a")
        await settle()
        assert not accepted.done(), "no acceptance"
        assert seen == [], "no event"
        assert deliver.texts == [], "no word"
        assert started == ["look"], "agent code resumes and reads start, but nothing else"

        journal.commit()
        await settle()
        assert accepted.done()
        assert started == ["look", "book"]
        assert deliver.texts == ["one moment"]
        outcome = (await accepted).outcome()
        await settle()
        assert not outcome.done(), "no reply"
        assert deliver.texts == ["one moment"]
        journal.commit_all()
        assert (await outcome).status is MessageStatus.ANSWERED
        await deliver.until(2)
        assert deliver.texts == ["one moment", "done"]


async def test_a_stop_is_answered_when_it_is_durable() -> None:
    journal = SlowJournal()

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(1)
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        session.send("a")
        await settle()
        stopped = session.stop()
        await asyncio.sleep(5)
        assert not stopped.done()
        journal.commit_all()
        assert (await stopped).turn == 1


async def test_the_end_of_a_wave_and_the_start_of_the_next_wait_for_one_commit() -> None:
    journal = SlowJournal()
    numbers: list[int] = []

    @tool
    async def work(number: int) -> int:
        numbers.append(number)
        return number

    async def agent(turn: Turn) -> str:
        for number in range(3):
            await turn.wave(work(number))
        return "done"

    async with ActorSystem(agent, journal=journal) as system:
        accepted = system.session("ann").send("a")
        commits = 0
        await settle()
        while len(numbers) < 3:
            assert len(numbers) == commits
            journal.commit()
            commits += 1
            await settle()
        journal.commit_all()
        await (await accepted).outcome()

    assert commits == 3, "one for each wave, and none between"


async def test_a_failed_commit_is_unknown_to_the_sender_and_the_session_folds_itself_again() -> (
    None
):
    journal = SlowJournal()
    journal.slow = False

    async def agent(turn: Turn) -> str:
        return f"{turn.number}: {turn.text}"

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        assert (await (await session.send("a")).outcome()).turn == 1
        journal.lose_next = True
        with pytest.raises(AcceptanceUnknown, match="'m-2'"):
            await session.send("b", message_id="m-2")
        again = await session.send("b", message_id="m-2")
        assert not again.duplicate, "it had not been written"
        outcome = await again.outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "2: b"


async def test_a_closed_system_takes_no_message_and_ends_those_it_had() -> None:
    async def agent(turn: Turn) -> str:
        await asyncio.sleep(10_000)
        return "never"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        receipt = await session.send("a")
        outcome = receipt.outcome()
        await asyncio.sleep(1)
    assert (await outcome).status is MessageStatus.CANCELLED
    with pytest.raises(SystemClosed, match="async with"):
        session.send("b")
    with pytest.raises(SystemClosed):
        system.session("ann")


async def test_nothing_is_undone_before_it_is_durable_that_it_is() -> None:
    journal, undone = SlowJournal(), list[str]()
    journal.slow = False

    async def undo(call: CompletedCall, result: str) -> None:
        undone.append(call.arguments["what"])

    @tool(compensate=undo)
    async def book(what: str) -> str:
        return what

    async def agent(turn: Turn) -> str:
        await turn.wave(book("hotel"), book("car"))
        await asyncio.Event().wait()
        return ""

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        await session.send("a")
        await settle()
        journal.slow = True
        rolled_back = session.rollback()
        await settle()
        assert undone == []
        for done in (["car"], ["car", "hotel"]):
            journal.commit()
            await settle()
            assert undone == done, "the one before it is undone, and that is not durable yet"
        assert not rolled_back.done()
        journal.commit_all()
        await rolled_back
