"""Messages that are answered beside the running turn."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from wavebreak import (
    ActorSystem,
    Aside,
    DeliveryKind,
    Enqueue,
    MessageOutcome,
    MessageStatus,
    Now,
    Reason,
    Session,
    SessionActor,
    SessionMessage,
    SessionView,
    Turn,
)
from wavebreak.testing import RecordingDeliver

from .auditing import Audit
from .test_durability import SlowJournal, settle


async def ten_seconds(turn: Turn) -> str:
    await turn.step(lambda: asyncio.sleep(10), key="think")
    return turn.text


async def here(message: SessionMessage, view: SessionView) -> str:
    return f"{message.as_text()} {view.status}, turn {view.turn}"


async def ask(session: Session, text: str) -> MessageOutcome:
    return await (await session.send(text, policy=Aside())).outcome()


async def test_it_is_answered_while_the_turn_goes_on_untouched() -> None:
    deliver = RecordingDeliver()
    audit = Audit()
    system = ActorSystem(audit.agent(ten_seconds), aside=here, deliver=deliver)
    audit.watch(system)
    loop = asyncio.get_running_loop()
    async with system:
        session = system.session("ann")
        work = await session.send("work")
        before = loop.time()
        outcome = await ask(session, "still there?")
        assert loop.time() - before < 1
        ended = await work.outcome()
    assert (outcome.status, outcome.turn) == (MessageStatus.ANSWERED, None)
    assert outcome.reply is not None
    assert outcome.reply.text == "still there? running, turn 1"
    assert (ended.turn, ended.status) == (1, MessageStatus.ANSWERED)
    kinds = [(delivery.kind, delivery.reply.text) for delivery in deliver.deliveries]
    assert kinds == [
        (DeliveryKind.ASIDE, "still there? running, turn 1"),
        (DeliveryKind.REPLY, "work"),
    ]


async def test_it_is_answered_without_a_turn_as_well() -> None:
    async with ActorSystem(ten_seconds, aside=here) as system:
        outcome = await ask(system.session("ann"), "hello?")
        assert outcome.reply is not None
        assert outcome.reply.text == "hello? idle, turn 0"


async def test_one_at_a_time_and_the_last_may_end_after_the_turn() -> None:
    at_once: list[int] = []
    running = 0

    async def handler(message: SessionMessage, view: SessionView) -> str:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(8)
        running -= 1
        return message.as_text()

    deliver = RecordingDeliver()
    async with ActorSystem(ten_seconds, aside=handler, deliver=deliver) as system:
        session = system.session("ann")
        work = await session.send("work")
        receipts = [await session.send(text, policy=Aside()) for text in "abc"]
        assert (await work.outcome()).status is MessageStatus.ANSWERED
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {outcome.status for outcome in outcomes} == {MessageStatus.ANSWERED}
    assert at_once == [1, 1, 1]
    assert deliver.texts == ["a", "work", "b", "c"]


@pytest.mark.parametrize("error", [ValueError("no idea"), SystemExit(1), asyncio.CancelledError()])
async def test_a_handler_that_fails_fails_its_message_and_nothing_else(
    error: BaseException,
) -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        if message.as_text() == "bad":
            raise error
        return "fine"

    async with ActorSystem(ten_seconds, aside=handler) as system:
        session = system.session("ann")
        work = await session.send("work")
        outcome = await ask(session, "bad")
        assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, Reason.ERROR)
        assert type(error).__name__ in outcome.error
        assert (await ask(session, "good")).status is MessageStatus.ANSWERED
        assert (await work.outcome()).turn == 1


async def test_a_handler_that_returns_no_text_fails_its_message() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        return 5  # type: ignore[return-value]

    async with ActorSystem(ten_seconds, aside=handler) as system:
        outcome = await ask(system.session("ann"), "a")
    assert "return a str" in outcome.error


async def test_an_answer_that_no_journal_can_hold_fails_its_message() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        return "half of an emoji: \ud83d"

    async with ActorSystem(ten_seconds, aside=handler) as system:
        outcome = await ask(system.session("ann"), "a")
    assert outcome.status is MessageStatus.FAILED
    assert "UTF-8" in outcome.error


async def test_a_handler_whose_task_somebody_else_cancels_fails_its_message() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        if message.as_text() == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
        return "fine"

    async with ActorSystem(ten_seconds, aside=handler) as system:
        session = system.session("ann")
        assert (await ask(session, "bad")).status is MessageStatus.FAILED
        assert (await ask(session, "good")).status is MessageStatus.ANSWERED


async def test_an_empty_answer_is_no_delivery() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        return ""

    deliver = RecordingDeliver()
    async with ActorSystem(ten_seconds, aside=handler, deliver=deliver) as system:
        assert (await ask(system.session("ann"), "a")).status is MessageStatus.ANSWERED
    assert deliver.deliveries == []


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "swallows its cancellation"])
async def test_a_message_that_is_withdrawn_cancels_its_handler_and_the_next_has_its_turn(
    ends: bool,
) -> None:
    enough = asyncio.Event()

    async def handler(message: SessionMessage, view: SessionView) -> str:
        if message.as_text() == "b":
            return "b"
        try:
            await enough.wait()
        except asyncio.CancelledError:
            if ends:
                raise
            await enough.wait()
        return "too late"

    deliver = RecordingDeliver()
    async with ActorSystem(ten_seconds, aside=handler, deliver=deliver) as system:
        session = system.session("ann")
        first = await session.send("a", policy=Aside())
        second = await session.send("b", policy=Aside())
        await asyncio.sleep(1)
        assert (await session.withdraw(first.message_id)).done
        assert (await second.outcome()).status is MessageStatus.ANSWERED
        enough.set()
        await asyncio.sleep(1)
    assert deliver.texts == ["b"]


async def test_a_handler_that_has_not_ended_when_its_session_dies_is_asked_again() -> None:
    asked: list[str] = []
    dies = asyncio.Event()

    async def handler(message: SessionMessage, view: SessionView) -> str:
        asked.append(message.as_text())
        if len(asked) == 1:
            dies.set()
            await asyncio.sleep(100)
        return "here"

    class Fragile(SessionActor):
        def on_receive(self, message: object) -> None:
            raise SystemExit(message)

    async with ActorSystem(ten_seconds, aside=handler, session_actor=Fragile) as system:
        session = system.session("ann")
        receipt = await session.send("still there?", policy=Aside())
        await dies.wait()
        session.tell("die")
        outcome = await receipt.outcome()
    assert asked == ["still there?"] * 2
    assert outcome.status is MessageStatus.ANSWERED


async def test_a_handler_is_asked_when_the_message_is_durable_and_not_before() -> None:
    asked: list[str] = []

    async def handler(message: SessionMessage, view: SessionView) -> str:
        asked.append(message.as_text())
        return "here"

    journal, deliver = SlowJournal(), RecordingDeliver()
    system = ActorSystem(ten_seconds, aside=handler, journal=journal, deliver=deliver)
    async with system:
        sent = system.session("ann").send("a", policy=Aside())
        await settle()
        assert asked == []
        journal.commit()
        receipt = await sent
        await settle()
        assert asked == ["a"]
        outcome = receipt.outcome()
        await settle()
        assert not outcome.done()
        assert deliver.deliveries == []
        journal.commit_all()
        assert (await outcome).status is MessageStatus.ANSWERED
    assert deliver.texts == ["here"]


async def test_a_system_that_closes_leaves_no_handler_behind() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        with contextlib.suppress(ValueError):
            await asyncio.sleep(1000)
        return "never"

    async with ActorSystem(ten_seconds, aside=handler) as system:
        session = system.session("ann")
        receipt = await session.send("a", policy=Aside())
        other = await session.send("b", policy=Aside())
        outcomes = [receipt.outcome(), other.outcome()]
        await asyncio.sleep(1)
    ends = {(await outcome).status for outcome in outcomes}
    assert ends == {MessageStatus.CANCELLED}


async def test_a_stop_and_an_interruption_are_none_of_its_business() -> None:
    async def handler(message: SessionMessage, view: SessionView) -> str:
        await asyncio.sleep(5)
        return "here"

    async with ActorSystem(ten_seconds, aside=handler) as system:
        session = system.session("ann")
        await session.send("work")
        aside = await session.send("a", policy=Aside())
        await session.send("other", policy=Now())
        await session.stop(Now(), backlog="drop")
        assert (await aside.outcome()).status is MessageStatus.ANSWERED


async def test_without_a_handler_it_waits_for_a_turn() -> None:
    async with ActorSystem(ten_seconds, policy=Aside()) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in "ab"]
        receipts.append(await session.send("c", policy=Enqueue()))
        assert [(await receipt.outcome()).turn for receipt in receipts] == [1, 2, 3]
