"""Messages that wait: bounds, parking, second thoughts, and many sessions at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Backlog,
    Debounce,
    Enqueue,
    How,
    InvalidMessage,
    InvalidSetting,
    MailboxFull,
    MemoryJournal,
    MessageStatus,
    Now,
    Reason,
    Report,
    SessionFailed,
    SessionKey,
    SessionView,
    Turn,
    TurnOutcome,
    UnknownMessage,
    tool,
)
from wavebreak.journal.base import Recorded
from wavebreak.messages.errors import JournalCorrupt
from wavebreak.testing import gate

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def ten_seconds(turn: Turn) -> str:
    await turn.step(lambda: asyncio.sleep(10), key="think")
    return turn.text


# --- bounds ---


async def test_when_no_more_may_wait_a_message_is_refused() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue(), capacity=2) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in "abc"]
        with pytest.raises(MailboxFull, match="2 messages wait in session 'ann' already"):
            await session.send("d", message_id="d")
        with pytest.raises(UnknownMessage):
            await session.outcome("d")
        ends = [(await receipt.outcome()).status for receipt in receipts]
        assert (await session.send("d", message_id="d")).duplicate is False
    assert set(ends) == {MessageStatus.ANSWERED}


async def test_or_the_oldest_that_waits_makes_room_and_its_sender_is_told() -> None:
    system = ActorSystem(ten_seconds, policy=Enqueue(), capacity=2, overflow="drop_oldest")
    async with system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in "abcde"]
        outcomes = [await receipt.outcome() for receipt in receipts]
    told = [(outcome.status, outcome.reason) for outcome in outcomes]
    dropped = (MessageStatus.DROPPED, Reason.OVERFLOW)
    assert told[1:3] == [dropped, dropped]
    assert {status for status, _ in (told[0], *told[3:])} == {MessageStatus.ANSWERED}


async def test_a_burst_that_drops_the_oldest_is_refused_nothing() -> None:
    system = ActorSystem(ten_seconds, policy=Enqueue(), capacity=2, overflow="drop_oldest")
    async with system:
        session = system.session("ann")
        sent = [session.send(str(number)) for number in range(100)]
        outcomes = [await (await one).outcome() for one in sent]
    ends = [outcome.status for outcome in outcomes]
    assert ends.count(MessageStatus.DROPPED) == 97
    assert ends[0] is ends[98] is ends[99] is MessageStatus.ANSWERED


async def test_a_message_that_waits_for_too_long_expires() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue(), expires_after=3) as system:
        session = system.session("ann")
        loop = asyncio.get_running_loop()
        first, second = await session.send("a"), await session.send("b")
        before = loop.time()
        outcome = await second.outcome()
        assert loop.time() - before == pytest.approx(3)
        assert (outcome.status, outcome.reason) == (MessageStatus.EXPIRED, Reason.EXPIRED)
        assert (await first.outcome()).status is MessageStatus.ANSWERED


async def test_the_more_urgent_of_those_that_wait_are_first() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue()) as system:
        session = system.session("ann")
        receipts = [
            await session.send(str(number), priority=priority)
            for number, priority in enumerate((0, 0, 5, -1, 5))
        ]
        turns = [(await receipt.outcome()).turn for receipt in receipts]
    assert turns == [1, 4, 2, 5, 3]


@pytest.mark.parametrize(
    "setting",
    [
        {"overflow": "wait"},
        {"expires_after": 0},
        {"turn_deadline": -1},
        {"debounce": 3},
        {"aside": "here"},
        {"who_may_interrupt": "ann"},
        {"policy": Enqueue},
        {"capacity": 0},
        {"capacity": True},
        {"expires_after": "5"},
        {"turn_deadline": "5"},
        {"idle_after": "5"},
        {"compensate_timeout": None},
        {"deliver_timeout": "5"},
        {"close_within": "5"},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_used_is_named(setting: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(setting))):
        ActorSystem(ten_seconds, **setting)  # type: ignore[arg-type]


# --- stop, park and resume ---


async def test_what_a_stop_parks_waits_until_it_is_resumed() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue()) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in "abc"]
        result = await session.stop(Now(), backlog="park", reason="lunch")
        assert (result.turn, result.outcome) == (1, TurnOutcome.STOPPED)
        assert (await receipts[0].outcome()).status is MessageStatus.CANCELLED
        waiting = [receipt.outcome() for receipt in receipts[1:]]
        await asyncio.sleep(1000)
        assert not any(outcome.done() for outcome in waiting)
        await session.resume()
        assert [(await outcome).turn for outcome in waiting] == [2, 3]


HOLDS = ("tool", "once", "thread", "step", "agent")


@pytest.mark.parametrize("backlog", list(Backlog), ids=str)
@pytest.mark.parametrize("how", [AfterWave(patience=3), Now(grace=2)], ids=lambda how: how.kind)
@pytest.mark.parametrize("where", HOLDS)
async def test_a_stop_is_answered_within_its_bound_whatever_swallows_its_cancellation(
    where: str, how: How, backlog: Backlog
) -> None:
    enough, blocked = asyncio.Event(), gate("blocked")

    async def swallow() -> str:
        await swallow_until(enough)
        return "I am still here"

    @tool(effect="read")
    async def stubborn() -> str:
        return await swallow()

    @tool(effect="once")
    async def stubborn_once() -> str:
        return await swallow()

    acts: dict[str, Callable[[Turn], Awaitable[object]]] = {
        "tool": lambda turn: turn.wave(stubborn()),
        "once": lambda turn: turn.wave(stubborn_once()),
        "thread": lambda turn: turn.wave(turn.call("blocked", {})),
        "step": lambda turn: turn.step(swallow, key="think"),
        "agent": lambda turn: swallow(),
    }

    async def agent(turn: Turn) -> str:
        if turn.text == "hold":
            await acts[where](turn)
        return turn.text

    audit = Audit()
    tools = (blocked.tool("late", effect="read", blocking=True),)
    system = ActorSystem(audit.agent(agent), tools=tools)
    audit.watch(system)
    loop = asyncio.get_running_loop()
    async with system:
        session = system.session("ann")
        held = await session.send("hold")
        waits = await session.send("waits", policy=Enqueue())
        await asyncio.sleep(0.1)
        before = loop.time()
        result = await session.stop(how, backlog=backlog)
        bound = how.grace if isinstance(how, Now) else how.patience + 5.0
        assert loop.time() - before <= bound + 0.01
        assert result.outcome is TurnOutcome.STOPPED
        assert (await held.outcome()).status is MessageStatus.CANCELLED
        # What swallowed it does not survive as the session's runtime: the next turn has its own.
        after = await (await session.send("after")).outcome()
        assert after.reply is not None
        assert after.reply.text.endswith("after")
        await session.resume()
        ends = {
            Backlog.KEEP: MessageStatus.ANSWERED,
            Backlog.PARK: MessageStatus.ANSWERED,
            Backlog.DROP: MessageStatus.DROPPED,
        }
        assert (await waits.outcome()).status is ends[backlog]
        enough.set()
        blocked.let_go()
    audit.check()


async def test_many_sessions_are_stopped_at_once_by_what_they_do() -> None:
    def is_acme(view: SessionView) -> bool:
        return view.tenant == "acme" and bool(view.messages)

    async with ActorSystem(ten_seconds) as system:
        receipts = {
            (tenant, name): await system.session(name, tenant=tenant).send("a")
            for tenant in ("acme", "other")
            for name in ("ann", "bob")
        }
        results = await system.stop_many(is_acme, how=Now(), backlog="drop", reason="maintenance")
        ends = {key: (await receipt.outcome()).status for key, receipt in receipts.items()}
        assert await system.stop_many(lambda view: view.turn > 1) == {}
    assert set(results) == {SessionKey("acme", "ann"), SessionKey("acme", "bob")}
    assert {result.outcome for result in results.values()} == {TurnOutcome.STOPPED}
    assert ends == {
        (tenant, name): MessageStatus.CANCELLED if tenant == "acme" else MessageStatus.ANSWERED
        for tenant, name in receipts
    }


async def test_no_session_at_all_is_stopped_at_once() -> None:
    async with ActorSystem(ten_seconds) as system:
        assert await system.stop_many(lambda view: True) == {}
        await system.session("ann").send("a")
        with pytest.raises(InvalidMessage, match="how='now'"):
            system.stop_many(lambda view: True, how="now")  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
async def test_a_predicate_that_fails_is_told_to_who_gave_it_and_ends_no_session(
    error: type[BaseException],
) -> None:
    def broken(view: SessionView) -> bool:
        raise error("what is a view")

    reports: list[Report] = []
    async with ActorSystem(ten_seconds) as system:
        receipt = await system.session("ann").send("a")
        system.on_report(reports.append)
        with pytest.raises(error, match="what is a view"):
            await system.stop_many(broken)
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED
        assert not [report for report in reports if isinstance(report.child_id, SessionKey)]


async def test_a_predicate_that_is_no_plain_function_stops_nothing() -> None:
    async def no_verdict(view: SessionView) -> bool:
        return False

    async with ActorSystem(ten_seconds) as system:
        receipt = await system.session("ann").send("a")
        with pytest.raises(TypeError, match="plain function"):
            await system.stop_many(no_verdict)  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match="predicate='ann'"):
            system.stop_many("ann")  # type: ignore[arg-type]
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED


async def test_what_waits_anywhere_when_the_system_closes_ends_as_cancelled() -> None:
    async with ActorSystem(ten_seconds, debounce=Debounce(60, 600)) as system:
        collects, parks = system.session("ann"), system.session("bob")
        receipts = [await collects.send("a"), await collects.send("b", policy=Enqueue())]
        receipts.append(await parks.send("c"))
        await parks.stop(backlog="park")
        outcomes = [receipt.outcome() for receipt in receipts]
    told = [await outcome for outcome in outcomes]
    assert {(one.status, one.reason) for one in told} == {
        (MessageStatus.CANCELLED, Reason.SHUTDOWN)
    }


# --- second thoughts ---


async def test_a_message_that_waits_can_be_taken_back_and_one_that_does_not_cannot() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue()) as system:
        session = system.session("ann")
        first, second = await session.send("a"), await session.send("b")
        withdrawn = await session.withdraw(second.message_id)
        assert withdrawn == (True, None, None)
        outcome = await second.outcome()
        assert (outcome.status, outcome.reason) == (MessageStatus.CANCELLED, Reason.WITHDRAWN)
        assert await session.withdraw(first.message_id) == (False, 1, None)
        answered = await first.outcome()
        assert await session.withdraw(first.message_id) == (False, None, answered)
        with pytest.raises(UnknownMessage, match="'nobody'"):
            await session.withdraw("nobody")


async def test_the_words_of_a_message_that_waits_can_be_replaced() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue()) as system:
        session = system.session("ann")
        first, second = await session.send("a"), await session.send("b")
        assert (await session.edit(second.message_id, "B")).done
        assert await session.edit(first.message_id, "A") == (False, 1, None)
        outcome = await second.outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "B"
        assert await session.edit(second.message_id, "late") == (False, None, outcome)
        with pytest.raises(UnknownMessage):
            await session.edit("nobody", "words")


async def test_no_message_is_edited_to_say_nothing() -> None:
    async with ActorSystem(ten_seconds, policy=Enqueue()) as system:
        session = system.session("ann")
        await session.send("a")
        waits = await session.send("b")
        with pytest.raises(InvalidMessage, match="withdraw it"):
            await session.edit(waits.message_id, "  ")
        outcome = await waits.outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "b"


# --- failed, and repaired ---


class Broken(MemoryJournal):
    """A journal that can be broken, and repaired."""

    broken = False

    def load(self, key: SessionKey) -> Recorded:
        if self.broken:
            raise JournalCorrupt(f"the record of {key} is unreadable")
        return super().load(key)


async def test_a_session_that_has_failed_goes_on_when_it_is_resumed_after_the_repair() -> None:
    journal = Broken()
    async with ActorSystem(ten_seconds, journal=journal) as system:
        session = system.session("ann")
        journal.broken = True
        with pytest.raises(SessionFailed):
            await session.send("a")
        for asked in (session.stop(), session.withdraw("a"), session.edit("a", "b")):
            with pytest.raises(SessionFailed, match=r"repair it, then resume.*journal check"):
                await asked
        with pytest.raises(SessionFailed, match=r"repair it, then resume.*journal check"):
            await session.resume()
        assert await system.stop_many(lambda view: view.status == "failed") == {}
        journal.broken = False
        await session.resume()
        receipt = await session.send("a")
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED


async def test_to_resume_a_session_that_runs_leaves_its_turn_alone() -> None:
    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        await turn.wave(turn.call("hold", {}))
        return f"{turn.number}.{turn.attempt}"

    async with ActorSystem(agent, tools=(hold.tool(1),)) as system:
        session = system.session("ann")
        receipt = await session.send("a")
        await hold.reached()
        await session.resume()
        hold.let_go()
        outcome = await receipt.outcome()
    assert outcome.reply is not None
    assert outcome.reply.text == "1.1"
