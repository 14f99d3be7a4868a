from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    Delta,
    Enqueue,
    HistoryKind,
    InvalidMessage,
    MemoryJournal,
    Now,
    SystemClosed,
    Turn,
    tool,
)
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import gate

from .test_durability import SlowJournal, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavebreak import Event, HistoryEntry


def lines(entries: Sequence[HistoryEntry]) -> list[str]:
    return [f"{e.turn} {e.kind}{'!' * e.interrupted}: {e.text}" for e in entries]


async def test_a_model_reads_what_is_over_and_the_whole_conversation_if_it_wants() -> None:
    over: list[str] = []
    whole: list[str] = []

    @tool(effect="read")
    async def search(city: str) -> str:
        return f"a room in {city}"

    async def agent(turn: Turn) -> str:
        turn.say("let me see")
        found = await turn.one(search(turn.messages[-1].as_text()))
        if turn.number == 3:
            over.extend(lines(await turn.history()))
            whole.extend(lines(await turn.history(unanswered=True)))
        turn.delta("I have found ")
        if turn.number == 2:
            await asyncio.sleep(10)
        return f"I have found {found}"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await (await session.send("Rome")).outcome()
        await session.send("Milan", policy=Now())
        await asyncio.sleep(1)
        await (await session.send("Paris", policy=Now())).outcome()
        assert (
            lines(await session.history(2))
            == [
                "3 result: a room in Paris",
                "3 reply: I have found a room in Paris",
            ][1:]
        )

    first = [
        "1 message: Rome",
        "1 said: let me see",
        '1 call: search({"city":"Rome"})',
        "1 result: a room in Rome",
        "1 reply: I have found a room in Rome",
    ]
    assert over == first
    assert whole == [
        *first,
        "2 message: Milan",
        "2 said!: let me see",
        '2 call: search({"city":"Milan"})',
        "2 result: a room in Milan",
        "2 streamed!: I have found ",
        "2 ended!: the user wrote again",
        "3 message: Paris",
        "3 said: let me see",
        '3 call: search({"city":"Paris"})',
        "3 result: a room in Paris",
    ]


async def test_a_person_reads_what_goes_on_and_what_waits() -> None:
    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        turn.delta("one mo")
        await turn.one(turn.call("hold", {}))
        return "done"

    async with ActorSystem(agent, tools=(hold.tool(1, effect="read"),)) as system:
        session = system.session("ann")
        assert await session.history() == ()
        await session.send("a")
        await session.send("b", policy=Enqueue())
        await hold.reached()
        assert lines(await session.history()) == [
            "1 message: a",
            "1 streamed: one mo",
            "0 message: b",
        ]
        assert await session.history(unanswered=False) == ()
        hold.let_go()
        await asyncio.sleep(1)
        kinds = [entry.kind for entry in await session.history(unanswered=False)]
        assert kinds == ["message", "call", "result", "reply"] * 2


async def test_a_message_of_a_turn_that_was_interrupted_twice_is_in_the_history_once() -> None:
    async def agent(turn: Turn) -> str:
        await turn.step(lambda: asyncio.sleep(10), key="think")
        return f"re: {len(turn.messages)}"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        for text in ("a", "b", "c"):
            last = await session.send(text)
            await asyncio.sleep(1)
            once = [e.text for e in await session.history() if e.kind is HistoryKind.MESSAGE]
            assert once == list("abc"[: "abc".index(text) + 1])
        await last.outcome()
        assert [e.text for e in await session.history() if e.message] == ["a", "b", "c"]


async def test_the_channel_says_what_was_heard_during_the_turn_and_after_it() -> None:
    async def agent(turn: Turn) -> str:
        turn.delta("one two three")
        await asyncio.sleep(10)
        return "one two three four"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await session.heard(1, 3)
        second = await session.send("b", policy=Now())
        await asyncio.sleep(1)
        assert next(e.text for e in await session.history() if e.kind == "streamed") == "one"
        await session.heard(1, 7)
        await second.outcome()
        await session.heard(2, 8)
        assert [line for line in lines(await session.history()) if "one" in line] == [
            "1 streamed!: one two",
            "2 reply!: one two ",
        ]
        with pytest.raises(InvalidMessage, match="turn=3"):
            await session.heard(3, 1)
        wrong: list[tuple[Any, Any]] = [(-1, 0), (1, -1), (True, 1), (1, "all")]
        for bad in wrong:
            with pytest.raises(InvalidMessage, match="give a whole number"):
                session.heard(*bad)


async def test_what_was_heard_is_confirmed_when_it_is_durable() -> None:
    journal = SlowJournal()

    async def agent(turn: Turn) -> str:
        return "one two three"

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        session.send("a")
        await settle()
        heard, read = session.heard(1, 3), session.history()
        await settle()
        assert not heard.done()
        assert not read.done()
        journal.commit_all()
        await heard
        assert lines(await read)[-1] == "1 reply!: one"


async def test_words_that_had_not_left_when_the_turn_was_stopped_never_do_nor_are_kept() -> None:
    journal = SlowJournal()
    seen: list[str] = []

    async def agent(turn: Turn) -> str:
        turn.delta("never")
        await asyncio.sleep(10)
        return "nor this"

    async with ActorSystem(agent, journal=journal) as system:
        system.on(Delta, lambda event: seen.append(event.text))
        session = system.session("ann")
        session.send("a")
        await settle()
        stopped = session.stop(Now())
        await settle()
        journal.commit_all()
        await stopped
        assert [e.kind for e in await session.history()] == ["message", "ended"]
        assert system.counters()['refused_outputs{what="delta"}'] == 1
    assert seen == []


@pytest.mark.parametrize("limit", [-1, True, None, "all"])
async def test_a_limit_is_a_number_of_entries(limit: Any) -> None:
    async def agent(turn: Turn) -> str:
        with pytest.raises(InvalidMessage, match="limit="):
            await turn.history(limit)
        return "fine"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        with pytest.raises(InvalidMessage, match="limit="):
            session.history(limit)
        reply = (await (await session.send("a")).outcome()).reply
        assert reply is not None
        assert reply.text == "fine"
        assert await session.history(0) == ()


async def test_corrections_do_not_hide_the_entries_that_were_asked_for() -> None:
    async def agent(turn: Turn) -> str:
        return "one two three"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await (await session.send("a")).outcome()
        for characters in range(13):
            await session.heard(1, characters)
        assert lines(await session.history(2)) == ["1 message: a", "1 reply!: one two thre"]
        assert lines(await session.history(9)) == ["1 message: a", "1 reply!: one two thre"]


class CountingJournal(MemoryJournal):
    """Counts the entries that are read of a history."""

    def __init__(self, keep_history: int) -> None:
        super().__init__(keep_history=keep_history)
        self.read = 0

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        entries = await super().history(key, limit)
        self.read += len(entries)
        return entries


@pytest.mark.parametrize("length", [10, 100_000])
async def test_reading_the_last_entries_reads_no_more_however_long_the_history_is(
    length: int,
) -> None:
    journal = CountingJournal(length)

    async def agent(turn: Turn) -> str:
        return f"re: {turn.text}"

    async with ActorSystem(agent, journal=journal) as system:
        session = system.session("ann")
        for text in "abcde":
            await (await session.send(text)).outcome()
        key = SessionKey("", "ann")
        stored = list(await journal.history(key, 10))
        journal.append(key, (), stored * (length // 10))
        journal.read = 0
        assert lines(await session.history(4)) == [
            "4 message: d",
            "4 reply: re: d",
            "5 message: e",
            "5 reply: re: e",
        ]
    assert journal.read == 4


async def test_what_happens_while_a_history_is_read_is_not_in_it_twice() -> None:
    class Slow(MemoryJournal):
        async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
            await asyncio.sleep(5)
            return await super().history(key, limit)

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(1)
        return "done"

    async with ActorSystem(agent, journal=Slow()) as system:
        session = system.session("ann")
        await (await session.send("a")).outcome()
        await session.send("b")
        await session.send("c", policy=Now())
        await asyncio.sleep(0.1)
        told = ["1 message: a", "1 reply: done", "2 message: b"]
        told += ["2 ended!: the user wrote again", "3 message: c"]
        assert lines(await session.history()) == told
        assert lines(await session.history()) == [*told, "3 reply: done"]


async def test_a_preview_that_was_taken_back_is_not_kept() -> None:
    async def agent(turn: Turn) -> str:
        turn.delta("Hel")
        turn.delta("lo" if turn.attempt == 1 else "p")
        if turn.attempt == 1:
            await asyncio.sleep(0.01)
            raise OSError("gone")
        await asyncio.sleep(100)
        return "Help!"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(50)
        await session.stop(Now())
        assert lines(await session.history())[1] == "1 streamed!: Help"


async def test_a_history_that_is_read_when_the_system_closes_is_answered() -> None:
    class Stuck(MemoryJournal):
        async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
            await asyncio.sleep(10_000)
            return ()

    async def agent(turn: Turn) -> str:
        return "done"

    async with ActorSystem(agent, journal=Stuck()) as system:
        read = system.session("ann").history()
        await asyncio.sleep(1)
    with pytest.raises(SystemClosed):
        await read


async def test_what_a_journal_raises_reaches_who_reads_and_harms_no_session() -> None:
    class Broken(MemoryJournal):
        async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
            raise OSError("disk")

    async def agent(turn: Turn) -> str:
        return "done"

    async with ActorSystem(agent, journal=Broken()) as system:
        session = system.session("ann")
        with pytest.raises(OSError, match="disk"):
            await session.history()
        assert (await (await session.send("a")).outcome()).reply is not None


async def test_events_tell_what_was_heard_and_how_far_a_turn_came() -> None:
    events: list[Event] = []

    async def agent(turn: Turn) -> str:
        turn.delta("one")
        await asyncio.sleep(10)
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        with session.events() as stream:
            await session.send("a")
            await asyncio.sleep(1)
            await session.heard(1, 2)
            await session.stop(Now())
            async for event in stream:
                events.append(event)
                if event.model_dump().get("kind") == "turn_ended":
                    break
    kinds = [event.model_dump()["kind"] for event in events]
    assert kinds.index("heard") < kinds.index("turn_ended")
    assert events[-1].model_dump()["streamed"] == "one"
    assert events[-1].model_dump()["wave_num"] == 1
