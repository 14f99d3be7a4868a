"""A session whose actor dies comes back as often as its budget allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    Budget,
    MessageStatus,
    Reply,
    ReportKind,
    SessionActor,
    SessionFailed,
    Turn,
)
from wavebreak.testing import gate

if TYPE_CHECKING:
    from wavebreak import Future, Report
    from wavebreak.messages.ids import SessionKey

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


class Fragile(SessionActor):
    def on_receive(self, message: object) -> None:
        raise RuntimeError(message)


async def echo(turn: Turn) -> str:
    return turn.text


async def held(turn: Turn) -> str:
    (held,) = await turn.wave(turn.call("hold", {"text": turn.text}))
    return f"{turn.attempt}: {held}"


async def test_a_session_comes_back_as_often_as_its_budget_allows() -> None:
    reports: list[Report] = []
    system = ActorSystem(echo, session_actor=Fragile, session_budget=Budget(3, 10))
    system.on_report(reports.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        for number in range(3):
            session.tell("die")
            await asyncio.sleep(1)
            outcome = await (await session.send(str(number))).outcome()
            assert outcome.reply == Reply(text=str(number))
    died = [report for report in reports if report.cause is not None]
    assert [str(report.action) for report in died] == ["restart"] * 3
    assert all(report.child_id == ("", "ann") for report in died)


async def test_over_its_budget_those_who_wait_are_told_and_the_next_message_is_one_more_try() -> (
    None
):
    lives = 0

    class Poisoned(SessionActor):
        def on_start(self) -> None:
            nonlocal lives
            lives += 1
            if poison and self._key.session_id == "ann":
                raise RuntimeError("no such table")

    poison = True
    reports: list[Report] = []
    rules: dict[str, Any] = {"session_actor": Poisoned, "session_budget": Budget(2, 60)}
    async with ActorSystem(echo, **rules) as system, asyncio.timeout(LONG):
        system.on_report(reports.append)
        ann, ben = system.session("ann"), system.session("ben")
        asked: list[Future[Any]] = [ann.send("a"), ann.send("b"), ann.outcome("a"), ann.stop()]
        for one in asked:
            with pytest.raises(SessionFailed, match=r"more than 2 restarts .* no such table"):
                await one
        assert lives == 3
        with pytest.raises(SessionFailed):
            await ann.send("c")
        assert lives == 4, "no new budget within the period"
        await asyncio.sleep(61)
        with pytest.raises(SessionFailed):
            await ann.send("d")
        assert lives == 7, "a new one after it"
        poison = False
        assert (await (await ann.send("e")).outcome()).reply == Reply(text="e")
        assert (await (await ben.send("f")).outcome()).reply == Reply(text="f")
    exceeded = [report for report in reports if report.kind is ReportKind.EXCEEDED]
    assert [report.child_id for report in exceeded] == [("", "ann")] * 3
    assert isinstance(exceeded[0].cause, RuntimeError)


async def test_a_turn_of_a_session_that_spent_its_budget_is_fenced_and_runs_on_with_the_next() -> (
    None
):
    hold = gate("hold")
    system = ActorSystem(
        held,
        tools=(hold.tool("x", effect="read"),),
        session_actor=Fragile,
        session_budget=Budget(0, 60),
    )
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipt = await session.send("a")
        outcome = receipt.outcome()
        await hold.reached()
        session.tell("die")
        with pytest.raises(SessionFailed):
            await outcome
        await asyncio.sleep(1)
        again = receipt.outcome()
        await hold.reached(2)
        hold.let_go(2)
        assert (await again).reply == Reply(text="2: x"), "its message was accepted, so it ends"


async def test_sessions_do_not_share_a_budget() -> None:
    rules: dict[str, Any] = {"session_actor": Fragile, "session_budget": Budget(1, 60)}
    async with ActorSystem(echo, **rules) as system, asyncio.timeout(LONG):
        for number in range(50):
            session = system.session(str(number))
            session.tell("die")
            outcome = await (await session.send("a")).outcome()
            assert outcome.status is MessageStatus.ANSWERED


async def test_a_session_between_two_lives_is_started_at_once_when_the_system_closes() -> None:
    hold = gate("hold")
    system = ActorSystem(
        held,
        tools=(hold.tool("x", effect="read"),),
        session_actor=Fragile,
        session_budget=Budget(20, 600),
    )
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LONG):
        async with system:
            session = system.session("ann")
            outcome = (await session.send("a")).outcome()
            await hold.reached()
            for _ in range(8):
                session.tell("die")
            await asyncio.sleep(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 1.5)
            assert system._tree is not None
            (cell,) = system._tree.door.cells.values()
            assert cell.timer is not None
            assert cell.timer.when() - loop.time() > 1, "it would come back in some seconds"
            before = loop.time()
        assert loop.time() - before < 0.5
    assert (await outcome).status is not None, "its turn came to its end, and was told"


async def test_a_session_that_lived_long_enough_comes_back_at_once_again() -> None:
    class Counted(Fragile):
        def __init__(self, key: SessionKey, *args: Any) -> None:
            super().__init__(key, *args)
            starts.append(asyncio.get_running_loop().time())

    starts: list[float] = []
    rules: dict[str, Any] = {"session_actor": Counted, "session_budget": Budget(20, 60)}
    async with ActorSystem(echo, **rules) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        waits: list[float] = []
        for pause in (0, 0, 0, 20, 0):
            await asyncio.sleep(pause)
            died = asyncio.get_running_loop().time()
            session.tell("die")
            await (await session.send("a")).outcome()
            waits.append(starts[-1] - died)
    assert [round(wait, 1) for wait in waits] == [
        0,
        pytest.approx(0.1, abs=0.05),
        pytest.approx(0.2, abs=0.1),
        0,
        pytest.approx(0.1, abs=0.05),
    ]
