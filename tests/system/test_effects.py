"""What is not done again over attempts, interruptions and restarts, and what shows that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallEnded,
    CallStatus,
    MemoryJournal,
    MessageStatus,
    Now,
    OutcomeUnknown,
    Turn,
    WaveStarted,
    tool,
)
from wavebreak.testing import gate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak import Receipt

LONG = 1000.0


def folded(what: str) -> str:
    return what.casefold()


def no_key(what: str) -> float:
    return len(what) / 0


class Shop:
    """Tools that note what was really done."""

    def __init__(self) -> None:
        self.log: list[str] = []

        @tool(effect="read")
        async def look(what: str) -> str:
            self.log.append(f"look {what}")
            return f"saw {what}"

        @tool(effect="read", same_as=folded)
        async def find(what: str) -> str:
            self.log.append(f"find {what}")
            return f"found {what}"

        @tool(same_as=folded)
        async def order(what: str) -> str:
            self.log.append(f"order {what}")
            return f"ordered {what}"

        @tool(effect="read", carry=10)
        async def price(what: str) -> str:
            self.log.append(f"price {what}")
            return f"price of {what}"

        @tool
        async def buy(what: str) -> str:
            self.log.append(f"buy {what}")
            return f"bought {what}"

        self.look, self.find, self.order, self.price, self.buy = look, find, order, price, buy


async def interrupted(
    first: Callable[[Turn], Awaitable[Any]],
    second: Callable[[Turn], Awaitable[Any]],
    *,
    after: float = 0.1,
    events: list[Any] | None = None,
    times: int = 1,
) -> str:
    """Run ``first`` in as many turns that are interrupted, and ``second`` in the last one."""

    async def agent(turn: Turn) -> str:
        if turn.number <= times:
            await first(turn)
            await turn.step(asyncio.Event().wait)
        return str(await second(turn))

    system = ActorSystem(agent)
    if events is not None:
        system.on(CallEnded, events.append)
        system.on(WaveStarted, events.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        last: Receipt | None = None
        for number in range(times + 1):
            last = await session.send(f"m{number}", policy=AfterWave())
            await asyncio.sleep(after)
        assert last is not None
        outcome = await last.outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert outcome.reply is not None
        return outcome.reply.text


async def test_events_show_which_call_answered_another() -> None:
    shop, events = Shop(), list[Any]()
    await interrupted(
        lambda turn: turn.one(shop.buy("tea")),
        lambda turn: turn.wave(shop.buy("tea"), shop.buy("milk")),
        events=events,
    )
    (begun,) = [e for e in events if isinstance(e, WaveStarted) and e.turn == 2]
    assert [call.answered_from for call in begun.calls] == ["1.1.1.1", None]
    ends = {str(e.call_id): e for e in events if isinstance(e, CallEnded)}
    assert ends["2.1.1.1"].answered_from == "1.1.1.1"
    assert ends["2.1.1.1"].status is CallStatus.COMPLETED
    assert ends["2.1.1.2"].answered_from is None
    assert shop.log == ["buy tea", "buy milk"]


async def test_a_carried_read_answers_beside_a_write_that_comes_behind_it_in_the_wave() -> None:
    shop = Shop()
    await interrupted(
        lambda turn: turn.one(shop.look("tea")),
        lambda turn: turn.wave(shop.look("tea"), shop.buy("tea")),
    )
    assert shop.log == ["look tea", "buy tea"]


async def test_a_carried_read_does_not_answer_behind_a_write_of_its_wave() -> None:
    shop = Shop()
    await interrupted(
        lambda turn: turn.one(shop.look("tea")),
        lambda turn: turn.wave(shop.buy("tea"), shop.look("tea")),
    )
    assert shop.log.count("look tea") == 2


async def test_on_the_way_through_a_chain_a_result_passes_on_used_or_unused() -> None:
    shop = Shop()
    await interrupted(
        lambda turn: turn.wave(shop.buy("tea")) if turn.number != 2 else turn.wave(),
        lambda turn: turn.one(shop.buy("tea")),
        times=4,
    )
    assert shop.log == ["buy tea"]


@pytest.mark.parametrize(("after", "looks"), [(0.1, 1), (11, 2)])
async def test_a_result_is_carried_for_as_long_as_its_tool_says(after: float, looks: int) -> None:
    shop = Shop()
    await interrupted(
        lambda turn: turn.one(shop.price("tea")),
        lambda turn: turn.one(shop.price("tea")),
        after=after,
    )
    assert len(shop.log) == looks


async def test_a_carried_use_does_not_make_its_result_last_longer() -> None:
    shop = Shop()
    await interrupted(
        lambda turn: turn.one(shop.price("tea")),
        lambda turn: turn.one(shop.price("tea")),
        after=6,
        times=2,
    )
    assert len(shop.log) == 2, "carried after 6 s, and not after 12"


async def test_what_is_equal_by_the_tools_word_is_answered_in_the_next_turn() -> None:
    shop = Shop()

    async def first(turn: Turn) -> None:
        await turn.one(shop.order("Tea"))
        await turn.one(shop.find("Tea"))

    reply = await interrupted(first, lambda turn: turn.wave(shop.find("TEA"), shop.order("tea")))
    assert shop.log == ["order Tea", "find Tea"]
    assert reply == "('found Tea', 'ordered Tea')"


async def test_what_is_equal_by_the_tools_word_is_answered_after_a_crash() -> None:
    shop = Shop()

    async def agent(turn: Turn) -> str:
        reply = await turn.one(shop.order("Tea" if turn.attempt == 1 else "TEA"))
        if turn.attempt == 1:
            raise SystemExit
        return reply

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        outcome = await (await system.session("ann").send("a")).outcome()
    assert outcome.reply is not None
    assert outcome.reply.text == "ordered Tea"
    assert shop.log == ["order Tea"]


class LastingJournal(MemoryJournal):
    """A journal that outlives the system, as one on a disk does."""

    @property
    def survives(self) -> bool:
        """It does."""
        return True

    async def close(self) -> None:
        """Keep everything."""


async def test_what_is_equal_by_the_tools_word_is_answered_in_another_process() -> None:
    shop, journal, again = Shop(), LastingJournal(), asyncio.Event()

    async def agent(turn: Turn) -> str:
        if again.is_set():
            return await turn.one(shop.order("TEA"))
        await turn.one(shop.order("tea"))
        await asyncio.Event().wait()
        return ""

    async with asyncio.timeout(LONG):
        async with ActorSystem(agent, journal=journal, close_within=1) as system:
            await system.session("ann").send("a", message_id="m1")
            await asyncio.sleep(1)
        again.set()
        async with ActorSystem(agent, journal=journal) as system:
            outcome = await system.session("ann").outcome("m1")
    assert outcome.reply is not None
    assert outcome.reply.text == "ordered tea"
    assert shop.log == ["order tea"]


async def test_an_unknown_call_holds_back_what_is_equal_to_it_by_the_tools_word() -> None:
    hold, keys = gate("book"), list[str]()

    @tool(same_as=folded)
    async def book(what: str) -> str:
        return f"booked {what}"

    async def agent(turn: Turn) -> str:
        try:
            return await turn.one(book("tea" if turn.number == 1 else "TEA"))
        except OutcomeUnknown as unknown:
            keys.append(unknown.record.idempotency_key)
            return "it may have happened"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        with hold.holding(book):
            await session.send("a")
            await hold.reached()
            second = await session.send("b", policy=Now())
            outcome = await second.outcome()
            hold.let_go()
    assert outcome.reply is not None
    assert outcome.reply.text == "it may have happened"
    assert keys[0].endswith("-1.1.1.1")
    assert hold.arrived == 1


async def test_a_key_that_is_none_fails_the_turn_before_its_wave_begins() -> None:
    shop = Shop()

    @tool(effect="read", same_as=no_key)
    async def broken(what: str) -> str:
        return what

    async def agent(turn: Turn) -> str:
        await turn.wave(shop.buy("tea"), broken("a"))
        return ""

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        outcome = await (await system.session("ann").send("a")).outcome()
    assert outcome.status is MessageStatus.FAILED
    assert "same_as" in outcome.error
    assert shop.log == []
