"""What hangs in one session delays no other, and nothing grows without a bound."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections import Counter

import pytest

from wavebreak import (
    ActorSystem,
    Enqueue,
    MailboxFull,
    MemoryJournal,
    MessageStatus,
    Turn,
    UnknownMessage,
    tool,
)
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import LeakCheck, QuietEvent, RecordingDeliver

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def echo(turn: Turn) -> str:
    return turn.text


async def ask(system: ActorSystem, session_id: str, text: str = "a") -> MessageStatus:
    receipt = await system.session(session_id).send(text)
    return (await receipt.outcome()).status


@pytest.mark.real_time
async def test_hanging_tools_and_blocked_threads_up_to_the_pools_size_less_one_delay_no_other() -> (
    None
):
    size = 4
    let_go, blocked, hangs = threading.Event(), threading.Semaphore(0), asyncio.Event()

    @tool(effect="read")
    def block() -> int:
        blocked.release()
        let_go.wait(60)
        return 1

    @tool(effect="read")
    async def hang() -> int:
        await hangs.wait()
        return 1

    @tool(effect="read")
    def quick() -> int:
        return threading.get_ident()

    async def agent(turn: Turn) -> str:
        if turn.text == "block":
            return str(await turn.one(block()))
        if turn.text == "hang":
            return str(await turn.one(hang()))
        for _ in range(5):
            await turn.wave(quick())
        return turn.text

    async with ActorSystem(agent, threads=size) as system:
        stuck = [await system.session(f"blocked-{n}").send("block") for n in range(size - 1)]
        stuck.append(await system.session("hanging").send("hang"))
        for _ in range(size - 1):
            assert await asyncio.to_thread(blocked.acquire, timeout=30)
        statuses = await asyncio.gather(*(ask(system, f"free-{n}") for n in range(10)))
        assert set(statuses) == {MessageStatus.ANSWERED}
        assert not let_go.is_set(), "50 calls went through the free thread meanwhile"
        let_go.set()
        hangs.set()
        ends = [(await receipt.outcome()).status for receipt in stuck]
    assert set(ends) == {MessageStatus.ANSWERED}


@pytest.mark.real_time
async def test_a_full_pool_delays_blocking_tools_and_nothing_else() -> None:
    let_go, blocked = threading.Event(), threading.Semaphore(0)

    @tool(effect="read")
    def block() -> int:
        blocked.release()
        let_go.wait(60)
        return 1

    @tool(effect="read")
    async def look() -> int:
        await asyncio.sleep(0)
        return 2

    async def agent(turn: Turn) -> str:
        return str(await turn.one(block() if turn.text == "block" else look()))

    async with ActorSystem(agent, threads=2) as system:
        stuck = [await system.session(f"blocked-{n}").send("block") for n in range(3)]
        for _ in range(2):
            assert await asyncio.to_thread(blocked.acquire, timeout=30)
        assert await ask(system, "free") is MessageStatus.ANSWERED
        waiting = stuck[2].outcome()
        assert not waiting.done()
        let_go.set()
        ends = [(await receipt.outcome()).status for receipt in stuck]
    assert set(ends) == {MessageStatus.ANSWERED}


async def test_threads_that_calls_were_given_up_in_are_counted_and_never_more_than_the_pool() -> (
    None
):
    let_go = QuietEvent()

    @tool(effect="read", timeout=2)
    def block() -> int:
        let_go.wait()
        return 1

    @tool(effect="read", timeout=100)
    def quick() -> int:
        return 2

    @tool(effect="read")
    async def look() -> int:
        return 3

    async def agent(turn: Turn) -> str:
        made = {"block": block, "quick": quick, "look": look}[turn.text]()
        (record,) = await turn.settle(made)
        return f"{record.status} {record.error.type if record.error else record.result}"

    async def ask_for(session_id: str, text: str) -> str:
        outcome = await (await system.session(session_id).send(text)).outcome()
        assert outcome.reply is not None
        return outcome.reply.text

    def said_of_threads() -> str:
        return system.tree().children[-1].detail

    before = threading.active_count()
    async with ActorSystem(agent, threads=2) as system:
        assert await ask_for("a", "block") == "failed TimeoutError"
        assert said_of_threads() == "1 of 2 abandoned"
        assert await ask_for("b", "quick") == "completed 2", "there is another thread"
        assert await ask_for("c", "block") == "failed TimeoutError"
        assert said_of_threads() == "2 of 2 abandoned"
        for number in range(20):
            assert await ask_for(str(number), "quick") == "failed TooManyAbandoned"
        assert threading.active_count() == before + 2
        assert await ask_for("d", "look") == "completed 3"
        let_go.set()
        await asyncio.sleep(1)
        assert said_of_threads() == "0 of 2 abandoned"
        assert await ask_for("e", "quick") == "completed 2"


def test_a_turn_leaves_no_garbage_for_the_collector() -> None:
    @tool(effect="read")
    async def look(number: int) -> int:
        return number

    async def agent(turn: Turn) -> str:
        for number in range(3):
            await turn.wave(look(number), look(number + 10))
        turn.say("a word")
        return turn.text

    async def main() -> Counter[str]:
        async with ActorSystem(agent, deliver=RecordingDeliver()) as system:
            for _ in range(5):
                await ask(system, "ann")
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for _ in range(100):
                    await ask(system, "ann")
                gc.collect()
                return Counter(type(left).__qualname__ for left in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

    with LeakCheck() as check:
        # The best of three: what else the process drops meanwhile is counted too.
        found = min((check.run(main) for _ in range(3)), key=lambda left: left.total())
    assert found.total() < 100, "less than one object a turn"


@pytest.mark.slow
def test_a_session_does_not_grow_with_its_turns() -> None:
    @tool(effect="read")
    async def look(number: int) -> int:
        return number

    async def agent(turn: Turn) -> str:
        await turn.wave(look(1), look(2))
        if turn.text == "fail":
            raise ValueError("no")
        return turn.text

    async def main() -> tuple[int, int]:
        async with ActorSystem(agent, journal=MemoryJournal(keep_history=10)) as system:

            async def talk(turns: int) -> int:
                for number in range(turns):
                    await ask(system, "ann", "fail" if number % 50 == 1 else "a")
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            # What is remembered of messages, for duplicates, has its full size first.
            before = await talk(600)
            return before, await talk(1000)

    tracemalloc.start()
    try:
        with LeakCheck() as check:
            # In virtual time no moment passes while there is something to do, and what waits for
            # one (the ends of calls, to be recorded) would wait to the end.
            before, after = check.run(main, loop_factory=asyncio.SelectorEventLoop)
    finally:
        tracemalloc.stop()
    assert after - before < 100_000, "less than 100 bytes a turn"


async def test_turns_that_fail_one_after_the_other_do_not_fill_the_journal() -> None:
    async def agent(turn: Turn) -> str:
        raise ValueError("the model is down")

    journal = MemoryJournal()
    async with ActorSystem(agent, journal=journal) as system:
        for _ in range(50):
            assert await ask(system, "ann") is MessageStatus.FAILED
        assert len(journal.load(SessionKey("", "ann")).entries) < 10


@pytest.mark.slow
def test_thousands_of_sessions_take_their_messages_at_once_and_each_is_answered() -> None:
    sessions, messages = 4_000, 4

    async def main() -> int:
        answered = 0
        async with ActorSystem(echo) as system:
            sent = [
                system.session(f"s{number}").send("a", policy=Enqueue())
                for _ in range(messages)
                for number in range(sessions)
            ]
            for one in sent:
                outcome = await (await one).outcome()
                answered += outcome.status is MessageStatus.ANSWERED
        return answered

    with LeakCheck() as check:
        assert check.run(main) == sessions * messages


async def test_a_session_that_gets_more_than_it_can_take_says_so_and_loses_nothing() -> None:
    async with ActorSystem(echo, capacity=10, policy=Enqueue()) as system:
        session = system.session("ann")
        accepted = [session.send(str(number)) for number in range(11)]  # one of them in a turn
        with pytest.raises(MailboxFull, match=r"10 messages wait .* capacity"):
            await session.send("one too many", message_id="refused")
        with pytest.raises(UnknownMessage):
            await session.outcome("refused")
        for one in accepted:
            assert (await (await one).outcome()).status is MessageStatus.ANSWERED
        assert await ask(system, "ann", "now there is room") is MessageStatus.ANSWERED
