"""Every end in the tree is reported, with its cause and with what was finished by then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wavebreak import (
    ActorSystem,
    AsyncioActor,
    ChildSpec,
    Enqueue,
    Now,
    PartialResults,
    ReportKind,
    RuntimeId,
    SessionActor,
    Turn,
    tool,
)
from wavebreak.actors.exit import ExitKind
from wavebreak.messages.ids import SessionKey
from wavebreak.supervisors.policy import Action

from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak import Report


@tool
async def book(what: str) -> str:
    return f"booked {what}"


def results(report: Report) -> list[Any]:
    assert isinstance(report.partial_results, PartialResults)
    return [call.result for call in report.partial_results.completed]


def of_runtimes(reports: list[Report]) -> list[Report]:
    return [report for report in reports if isinstance(report.child_id, RuntimeId)]


async def test_the_end_of_a_runtime_is_told_with_its_cause_and_all_that_its_turn_had_finished() -> (
    None
):
    async def agent(turn: Turn) -> str:
        await turn.one(book("a room"))
        if turn.attempt == 1:
            raise OSError("gone")
        await turn.one(book("a table"))
        if turn.attempt == 2:
            raise SystemExit(3)
        return "done"

    reports: list[Report] = []
    async with ActorSystem(agent) as system:
        system.on_report(reports.append)
        await (await system.session("ann", tenant="acme").send("a")).outcome()
    first, second, third = of_runtimes(reports)
    assert first.child_id == RuntimeId("acme", "ann", 1, 1)
    assert (first.kind, first.action) == (ReportKind.ENDED, Action.RESTART)
    assert isinstance(first.cause, OSError)
    assert results(first) == ["booked a room"]
    assert second.child_id == RuntimeId("acme", "ann", 1, 2)
    assert isinstance(second.cause, SystemExit)
    assert results(second) == ["booked a room", "booked a table"]
    assert (third.cause, third.action) == (None, Action.DROP)
    assert third.ended is not None
    assert third.ended.kind is ExitKind.NORMAL


async def test_a_runtime_that_is_given_up_at_its_deadline_is_told_and_told_again_when_it_ends() -> (
    None
):
    enough = asyncio.Event()

    async def agent(turn: Turn) -> str:
        await turn.one(book("a room"))
        await swallow_until(enough)
        return "late"

    reports: list[Report] = []
    async with ActorSystem(agent) as system:
        system.on_report(reports.append)
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await session.stop(Now(grace=2))
        (given_up,) = of_runtimes(reports)
        assert (given_up.kind, given_up.ended) == (ReportKind.ABANDONED, None)
        enough.set()
        await asyncio.sleep(1)
    assert [report.kind for report in of_runtimes(reports)] == [
        ReportKind.ABANDONED,
        ReportKind.ENDED,
    ]


async def test_the_ends_of_sessions_and_of_children_are_told_too_until_one_unsubscribes() -> None:
    class Worker(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            raise message

    class Fragile(SessionActor):
        def on_receive(self, message: Any) -> None:
            raise message

    async def agent(turn: Turn) -> str:
        return turn.text

    reports: list[Report] = []
    system = ActorSystem(agent, session_actor=Fragile, children=(ChildSpec("db", Worker),))
    async with system:
        leave = system.on_report(reports.append)
        first, second, third = ValueError("1"), ValueError("2"), ValueError("3")
        system.session("ann").tell(first)
        system.child("db").tell(second)
        await asyncio.sleep(6)
        system.child("db").ask(third, block=False)
        await asyncio.sleep(1)
        leave()
        system.session("ben").tell(ValueError("nobody hears"))
        await asyncio.sleep(1)
    assert [(one.child_id, one.kind, one.cause) for one in reports] == [
        (SessionKey("", "ann"), ReportKind.ENDED, first),
        ("db", ReportKind.ENDED, second),
        ("db", ReportKind.ASK_FAILED, third),
    ]


async def test_what_nobody_asked_for_is_not_made() -> None:
    made = 0

    async def agent(turn: Turn) -> str:
        return turn.text

    class Counting(SessionActor):
        def partial_results(self, fence: Any, further: Any) -> Any:
            nonlocal made
            made += 1
            return super().partial_results(fence, further)

    async with ActorSystem(agent, session_actor=Counting) as system:
        session = system.session("ann")
        await (await session.send("a", policy=Enqueue())).outcome()
        assert made == 0
        system.on_report(_nothing)
        await (await session.send("a", policy=Enqueue())).outcome()
        assert made == 1


_nothing: Callable[[object], None] = lambda _report: None  # noqa: E731
