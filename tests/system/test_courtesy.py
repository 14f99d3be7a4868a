from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CourtesyKind,
    CourtesySaid,
    DeliveryKind,
    InvalidSetting,
    MemoryJournal,
    SessionView,
    Turn,
    TurnEnded,
)
from wavebreak.actors.courtesy import DEFAULTS
from wavebreak.journal.base import Commit
from wavebreak.messages.entries import Entry
from wavebreak.messages.history import HistoryEntry
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import RecordingDeliver, gate

from .test_durability import SlowJournal, settle


async def slow(turn: Turn) -> str:
    if turn.text == "fail":
        raise ValueError("no")
    if "quick" not in turn.text:
        await asyncio.sleep(100)
    return f"re: {turn.text}"


async def end_each_way(system: ActorSystem) -> None:
    session = system.session("ann")
    await (await session.send("fail")).outcome()
    await (await session.send("late", deadline=1)).outcome()
    await session.send("stopped")
    await session.stop()


async def test_a_user_never_meets_silence_by_default() -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(slow, deliver=deliver) as system:
        await end_each_way(system)
        await deliver.until(3)
    ends = (CourtesyKind.FAILED, CourtesyKind.TIMED_OUT, CourtesyKind.CANCELLED)
    assert deliver.texts == [DEFAULTS[kind] for kind in ends]
    assert all(deliver.texts)
    assert {delivery.kind for delivery in deliver.deliveries} == {DeliveryKind.COURTESY}


async def test_the_programs_words_are_said_on_each_occasion() -> None:
    deliver = RecordingDeliver()
    views: dict[CourtesyKind, SessionView] = {}

    def courtesy(kind: CourtesyKind, view: SessionView) -> str:
        views[kind] = view
        return f"({kind})"

    system = ActorSystem(slow, deliver=deliver, courtesy=courtesy, notify_after=30, notify_times=2)
    async with system:
        await end_each_way(system)
        session = system.session("bob")
        await session.send("a", policy=AfterWave(patience=1))
        await asyncio.sleep(90)
        await (await session.send("quick b", policy=AfterWave(patience=0))).outcome()
        await deliver.until(7)

    assert deliver.texts == [
        "(failed)",
        "(timed_out)",
        "(cancelled)",
        "(still_working)",
        "(still_working)",
        "(interrupted)",
        "re: a\nquick b",
    ]
    shown = [message.as_text() for message in views[CourtesyKind.TIMED_OUT].messages]
    assert shown == ["late"], "of a turn that has ended the program sees how it was"
    assert views[CourtesyKind.INTERRUPTED].waiting == 1


@pytest.mark.parametrize(
    "wrong",
    [RuntimeError("no words"), SystemExit(1), asyncio.CancelledError(), 7, "\ud800"],
    ids=repr,
)
async def test_a_courtesy_that_fails_is_logged_and_the_default_is_said(wrong: object) -> None:
    deliver = RecordingDeliver()

    def courtesy(kind: CourtesyKind, view: SessionView) -> Any:
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong

    async with ActorSystem(slow, deliver=deliver, courtesy=courtesy) as system:
        await end_each_way(system)
        await deliver.until(3)
        receipt = await system.session("bob").send("quick")
        assert (await receipt.outcome()).reply is not None, "and the conversation goes on"
    assert deliver.texts[0] == DEFAULTS[CourtesyKind.FAILED]


async def test_nothing_is_said_for_an_empty_text_and_the_default_for_none() -> None:
    deliver = RecordingDeliver()

    def courtesy(kind: CourtesyKind, view: SessionView) -> str | None:
        return "" if kind is CourtesyKind.FAILED else None

    async with ActorSystem(slow, deliver=deliver, courtesy=courtesy) as system:
        await end_each_way(system)
        await deliver.until(2)
    assert deliver.texts == [DEFAULTS[CourtesyKind.TIMED_OUT], DEFAULTS[CourtesyKind.CANCELLED]]


async def test_words_of_one_session_never_reach_the_user_of_another() -> None:
    deliver = RecordingDeliver()

    def courtesy(kind: CourtesyKind, view: SessionView) -> str:
        return f"{view.tenant}/{view.session_id}"

    keys = [(tenant, name) for tenant in ("", "acme") for name in ("ann", "bob")]
    async with ActorSystem(slow, deliver=deliver, courtesy=courtesy) as system:
        for tenant, name in keys:
            await system.session(name, tenant=tenant).send("fail")
        await deliver.until(4)
    for tenant, name in keys:
        assert [one.reply.text for one in deliver.of(name, tenant)] == [f"{tenant}/{name}"]


async def test_words_of_the_session_leave_when_they_are_durable_and_once() -> None:
    journal, deliver = SlowJournal(), RecordingDeliver()
    deliver.fail(2)
    async with ActorSystem(slow, journal=journal, deliver=deliver) as system:
        system.session("ann").send("fail")
        await settle()
        assert deliver.attempts.total() == 0
        journal.commit_all()
        await deliver.until(1)
    assert deliver.texts == [DEFAULTS[CourtesyKind.FAILED]]
    assert list(deliver.attempts.values()) == [3], "one delivery, of one id"


async def test_words_of_the_session_are_recorded_in_one_with_what_they_are_about() -> None:
    commits: list[list[type[object]]] = []

    class Watched(MemoryJournal):
        def append(
            self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
        ) -> Commit:
            commits.append([type(entry) for entry in entries])
            return super().append(key, entries, history)

    async with ActorSystem(slow, journal=Watched(), deliver=RecordingDeliver()) as system:
        await end_each_way(system)
    ends = [commit for commit in commits if TurnEnded in commit]
    assert len(ends) == 3
    assert all(CourtesySaid in commit for commit in ends)


async def test_words_of_the_session_come_before_those_of_the_next_turn() -> None:
    deliver, hold = RecordingDeliver(), gate("hold")

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await turn.one(turn.call("hold", {}))
        return "done"

    def courtesy(kind: CourtesyKind, view: SessionView) -> str:
        return "Got it, switching to your new request"

    tools = (hold.tool(1, effect="read"),)
    async with ActorSystem(agent, deliver=deliver, tools=tools, courtesy=courtesy) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        second = await session.send("b")
        await deliver.until(1)
        hold.let_go()
        await second.outcome()
        await deliver.until(2)
        history = [str(entry.kind) for entry in await session.history()]
    assert deliver.texts == ["Got it, switching to your new request", "done"]
    assert history == ["message", "call", "result", "courtesy", "ended", "message", "reply"]


async def test_the_timer_of_a_notice_does_not_outlive_its_turn() -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(slow, deliver=deliver, notify_after=30) as system:
        await (await system.session("ann").send("quick")).outcome()
        await asyncio.sleep(100)
        await (await system.session("ann").send("a")).outcome()
    assert deliver.texts == ["re: quick", DEFAULTS[CourtesyKind.STILL_WORKING], "re: a"]


@pytest.mark.parametrize(
    "settings",
    [
        {"courtesy": "words"},
        {"notify_after": 0},
        {"notify_after": float("inf")},
        {"notify_times": 0},
        {"metrics": object()},
    ],
)
def test_what_cannot_be_used_is_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=f"{next(iter(settings))}="):
        ActorSystem(slow, **settings)
