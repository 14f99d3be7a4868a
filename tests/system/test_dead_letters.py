"""What is given up can be read, and its session lives on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wavebreak import (
    ActorSystem,
    DeadLetter,
    DeadLetterKind,
    MemoryJournal,
    MessageStatus,
    SessionActor,
    SessionFailed,
    Turn,
    UserMessage,
    tool,
)
from wavebreak.supervisors.policy import Budget

if TYPE_CHECKING:
    from wavebreak import Delivery


async def echo(turn: Turn) -> str:
    return turn.text


@tool
async def book(what: str) -> str:
    return f"booked {what}"


async def poison(turn: Turn) -> str:
    if turn.text == "poison":
        await turn.one(book("a room"))
        raise SystemExit(3)
    return turn.text


async def test_a_poison_turn_goes_to_the_dead_letters_with_its_cause_and_partial_results() -> None:
    told: list[DeadLetter] = []
    async with ActorSystem(poison) as system:
        system.on_dead_letter(told.append)
        session = system.session("ann", tenant="acme")
        outcome = await (await session.send("poison")).outcome()
        assert outcome.status is MessageStatus.FAILED
        assert (await (await session.send("hello")).outcome()).status is MessageStatus.ANSWERED
    (letter,) = system.dead_letters
    assert told == [letter]
    assert (letter.kind, letter.tenant, letter.session_id) == (DeadLetterKind.TURN, "acme", "ann")
    assert (letter.turn, letter.at > 0) == (1, True)
    assert "SystemExit" in letter.cause
    (message,) = letter.messages
    assert isinstance(message, UserMessage)
    assert message.text == "poison"
    assert letter.partial_results is not None
    assert [call.result for call in letter.partial_results.completed] == ["booked a room"]
    assert '"text":"poison"' in letter.model_dump_json()


async def test_an_agents_own_exception_is_no_dead_letter() -> None:
    async def agent(turn: Turn) -> str:
        raise ValueError(turn.text)

    async with ActorSystem(agent) as system:
        await (await system.session("ann").send("a")).outcome()
    assert system.dead_letters == ()


async def test_a_turn_that_took_its_session_along_to_the_last_attempt_is_one_too() -> None:
    """The next incarnation decides that no attempt is left."""

    class Fragile(SessionActor):
        def on_receive(self, message: object) -> None:
            raise RuntimeError(message)

    async def agent(turn: Turn) -> str:
        if turn.text == "a":
            session.tell("die")
            await asyncio.sleep(1)
        return turn.text

    async with ActorSystem(agent, session_actor=Fragile) as system:
        session = system.session("ann")
        outcome = await (await session.send("a")).outcome()
        assert outcome.status is MessageStatus.FAILED
    (letter,) = system.dead_letters
    assert [message.as_text() for message in letter.messages] == ["a"]


async def test_a_delivery_that_is_given_up_is_a_dead_letter() -> None:
    async def deliver(_delivery: Delivery) -> None:
        raise ConnectionError("no route")

    async with ActorSystem(echo, deliver=deliver, deliver_attempts=2) as system:
        await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(10)
    (letter,) = system.dead_letters
    assert letter.kind is DeadLetterKind.DELIVERY
    assert letter.delivery is not None
    assert letter.delivery.reply.text == "a"
    assert letter.cause == "ConnectionError: no route"


async def test_what_was_told_a_session_that_never_started_is_a_dead_letter() -> None:
    class Broken(SessionActor):
        def on_start(self) -> None:
            raise RuntimeError("no")

    async with ActorSystem(echo, session_actor=Broken, session_budget=Budget(0, 1)) as system:
        session = system.session("ann")
        session.tell({"wake": "up"})
        asked = session.ask("who is there?")
        await asyncio.sleep(1)
        assert isinstance(asked.error(), SessionFailed), "who asked was answered, that is no letter"
    (letter,) = system.dead_letters
    assert (letter.kind, letter.told) == (DeadLetterKind.TOLD, "{'wake': 'up'}")


async def test_dead_letters_are_bounded_and_who_reads_them_may_raise_and_leave() -> None:
    def broken(_letter: DeadLetter) -> None:
        raise RuntimeError("a reader's own")

    told: list[DeadLetter] = []
    async with ActorSystem(poison, max_attempts=1, journal=MemoryJournal()) as system:
        system.on_dead_letter(broken)
        leave = system.on_dead_letter(told.append)
        for number in range(201):
            await (await system.session(str(number)).send("poison")).outcome()
        leave()
        leave()
        await (await system.session("last").send("poison")).outcome()
    assert len(told) == 201
    assert len(system.dead_letters) == 200
    assert system.dead_letters[-1].session_id == "last"
