"""Journals that fail, at every append and at the start."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    Future,
    MemoryJournal,
    MessageStatus,
    Reply,
    SessionActor,
    SessionFailed,
    Turn,
    tool,
)
from wavebreak.journal.base import Commit, Recorded
from wavebreak.messages.entries import Entry, Progressed
from wavebreak.messages.errors import JournalCorrupt
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit
from .conversing import agent_of, check_answers, conversation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from wavebreak.messages.history import HistoryEntry
    from wavebreak.messages.ids import SessionKey

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


class BadJournal(MemoryJournal):
    """A journal that fails at one append, and at those behind it until it is read again.

    Args:
        at: which, from 1; 0 for none.
        how: whether it raises, or its commit fails, at once or later; with what was appended
            written all the same, or not.
    """

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self.at = at
        self.how = how
        self.count = 0
        self.is_lost = False

    def load(self, key: SessionKey) -> Recorded:
        self.is_lost = False
        return super().load(key)

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        self.count += 1
        if self.count != self.at and not self.is_lost:
            return super().append(key, entries, history)
        if self.how == "raises":
            raise OSError("disk full")
        self.is_lost = True
        if "written" in self.how:
            super().append(key, entries, history)
        commit = Commit()
        if "at once" in self.how:
            commit.complete(OSError("lost"))
        else:
            asyncio.get_running_loop().call_later(0.005, commit.complete, OSError("lost"))
        return commit


HOWS = ["raises", "at once", "later", "at once, written", "later, written"]


@pytest.mark.matrix(quick=1)
@pytest.mark.parametrize("how", HOWS)
async def test_a_journal_that_fails_at_any_append_leaves_nobody_waiting_and_nothing_done_twice(
    how: str,
) -> None:
    at, count = 0, 1
    while at < count:
        at += 1
        journal = BadJournal(at, how)
        await _converse_on(journal)
        count = journal.count
    assert count > 20, "the conversation is long enough"


async def _converse_on(journal: BadJournal) -> None:
    audit, deliver, hold = Audit(), RecordingDeliver(), gate("hold")
    started: list[str] = []
    system = ActorSystem(
        audit.agent(agent_of(started)),
        tools=(hold.tool("held", effect="read"),),
        journal=journal,
        deliver=deliver,
    )
    async with system, asyncio.timeout(LONG):
        answers = await conversation(system, hold)
        await asyncio.sleep(30)
    check_answers(answers, started)
    assert audit.most == 1
    ids = [one.delivery_id for one in deliver.deliveries]
    assert len(set(ids)) == len(ids)


class UnreadableJournal(MemoryJournal):
    """A journal that cannot read the session ``bad``, as long as it is ``broken``."""

    def __init__(self, recorded: Any, *, slow: bool) -> None:
        super().__init__()
        self.recorded = recorded
        self.slow = slow
        self.broken = True

    def load(self, key: SessionKey) -> Any:
        if key.session_id != "bad" or not self.broken:
            return super().load(key)
        return self._load_later() if self.slow else self._load()

    async def _load_later(self) -> Recorded:
        await asyncio.sleep(0.1)
        return self._load()

    def _load(self) -> Recorded:
        if isinstance(self.recorded, BaseException):
            raise self.recorded
        return Recorded(None, self.recorded)


GAP = (Progressed(3, 0.0, (1, 1, 1), wave_done=1),)  # type: ignore[arg-type]
OUT_OF_PLACE = (Progressed(1, 0.0, (1, 1, 1), wave_done=1),)  # type: ignore[arg-type]


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    "recorded",
    [JournalCorrupt("a bad page"), OSError("no such file"), GAP, OUT_OF_PLACE, ("what is this?",)],
    ids=["corrupt", "unreadable", "gap", "out of place", "unknown"],
)
async def test_a_session_that_cannot_be_read_is_alone_in_that_and_answers_everybody(
    recorded: Any, slow: bool
) -> None:
    async def agent(turn: Turn) -> str:
        return turn.text

    journal = UnreadableJournal(recorded, slow=slow)
    async with ActorSystem(agent, journal=journal) as system, asyncio.timeout(LONG):
        bad, good = system.session("bad"), system.session("good")
        asked: list[Future[Any]] = [
            bad.send("a"),
            bad.send("b", message_id="b"),
            bad.outcome("b"),
            bad.stop(),
            bad.read(Reply),
        ]
        for one in asked:
            with pytest.raises(SessionFailed):
                await one
        beside = await good.send("c")
        assert (await beside.outcome()).status is MessageStatus.ANSWERED
        with pytest.raises(SessionFailed):
            await bad.resume()
        journal.broken = False
        if not isinstance(recorded, OSError):  # that is read another time by itself
            await bad.resume()
        outcome = await (await bad.send("a")).outcome()
        assert outcome.status is MessageStatus.ANSWERED


async def test_commits_that_end_after_their_session_died_tell_and_deliver_nothing_twice() -> None:
    class Slow(MemoryJournal):
        def __init__(self) -> None:
            super().__init__()
            self.pending: list[Commit] | None = None

        def append(
            self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
        ) -> Commit:
            done = super().append(key, entries, history)
            if self.pending is None:
                return done
            self.pending.append(Commit())
            return self.pending[-1]

    class Fragile(SessionActor):
        def on_receive(self, message: Any) -> None:
            raise RuntimeError(message)

    async def agent(turn: Turn) -> str:
        return turn.text

    journal, deliver, audit = Slow(), RecordingDeliver(), Audit()
    system = ActorSystem(agent, journal=journal, session_actor=Fragile, deliver=deliver)
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await (await session.send("a")).outcome()
        journal.pending = []
        accepted = session.send("b", message_id="b")
        await asyncio.sleep(1)
        session.tell("die")
        with pytest.raises(AcceptanceUnknown):
            await accepted
        pending, journal.pending = journal.pending, None
        for commit in pending:
            commit.complete()
        await asyncio.sleep(1)
        session.tell("die")
        await asyncio.sleep(5)
        assert (await session.outcome("b")).status is MessageStatus.ANSWERED
        assert (await (await session.send("c")).outcome()).turn == 3
    assert deliver.texts == ["a", "b", "c"]
    audit.check(deliver)


WHOSE = ContextVar("WHOSE", default="the session's")


class LosesWaves(MemoryJournal):
    """A journal that raises when the first wave is appended."""

    lost = False

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        if isinstance(entries[0], Progressed) and not self.lost:
            self.lost = True
            raise OSError("the disk is full")
        return super().append(key, entries, history)


async def test_a_session_that_dies_of_a_wave_ends_in_its_own_context_and_not_in_the_agents() -> (
    None
):
    ended: list[tuple[str, BaseException | None]] = []

    class Mourned(SessionActor):
        def on_failure(
            self,
            exception_type: type[BaseException] | None,
            exception_value: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            ended.append((WHOSE.get(), exception_value))

    @tool(effect="read")
    async def look() -> str:
        return "seen"

    async def agent(turn: Turn) -> str:
        WHOSE.set("the agent's")
        (seen,) = await turn.wave(look())
        return seen

    async with ActorSystem(agent, journal=LosesWaves(), session_actor=Mourned) as system:
        outcome = await (await system.session("anna").send("hi")).outcome()
    assert outcome.status is MessageStatus.ANSWERED
    assert [(whose, str(error)) for whose, error in ended] == [
        ("the session's", "the disk is full")
    ]
