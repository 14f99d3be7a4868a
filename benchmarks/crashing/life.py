"""The process that is killed: a system on its journal, and people who write to it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallEnded,
    CallStatus,
    Delivery,
    Enqueue,
    SqliteJournal,
    Turn,
    TurnInfo,
    current_call,
    dep,
    tool,
)
from wavebreak.benchmarks.crashing.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

    from wavebreak.benchmarks.replaying.recorded import Conversation, Exchange
    from wavebreak.journal.schema import Synchronous

    from .witness import Message

UNDERSTAND, SERVICE, COMPOSE = 0.004, 0.003, 0.006
"""Mean seconds that models and services take: a hundredth of what real ones do."""


class Life(NamedTuple):
    """One life of the process.

    Args:
        folder: has the journal and the witness's file.
        conversations: whom to talk with at the same time, by session.
        known: the messages that are known to have ended.
        seed: of delays and of people's patience.
    """

    folder: Path
    conversations: dict[str, Conversation]
    known: frozenset[Message]
    synchronous: Synchronous
    seed: int


@tool(effect="read")
async def understand(message: str) -> list[int]:
    """Find out which services a message asks for."""
    world = dep(World)
    await world.work("understand", message, UNDERSTAND, once=False)
    return list(range(len(world.exchange(message).calls)))


@tool(effect="read")
async def look_up(message: str, number: int) -> list[dict[str, Any]]:
    """Ask a service for something."""
    return await dep(World).serve("look_up", message, number, once=False)


@tool(effect="once")
async def book(message: str, number: int) -> list[dict[str, Any]]:
    """Have a service do something that must not be done twice."""
    return await dep(World).serve("book", message, number, once=True)


@tool(effect="idempotent")
async def compose(messages: list[str]) -> str:
    """Put the reply to several messages into words."""
    world = dep(World)
    await world.work("compose", ",".join(messages), COMPOSE, once=False)
    return "\n".join(world.exchange(message).answer for message in messages)


class World:
    """What the tools of one session do, and tell the witness.

    Args:
        session: its id.
        conversation: what was recorded.
    """

    def __init__(
        self, session: str, conversation: Conversation, witness: Witness, chance: Random
    ) -> None:
        self._session = session
        self._conversation = conversation
        self._witness = witness
        self._chance = chance

    def exchange(self, message: str) -> Exchange:
        """What was recorded for a message."""
        return self._conversation.exchanges[int(message[1:])]

    async def serve(
        self, name: str, message: str, number: int, *, once: bool
    ) -> list[dict[str, Any]]:
        """Answer a service call with what was recorded for it."""
        await self.work(name, f"{message},{number}", SERVICE, once=once)
        return list(self.exchange(message).calls[number].results)

    async def work(self, name: str, arguments: str, mean: float, *, once: bool) -> None:
        """Take some time, and let the witness know before."""
        call = f"{name}({arguments})"
        self._witness.note("starts", self._session, current_call().call_id, call, once)
        await asyncio.sleep(self._chance.expovariate(1 / mean))


async def answer(turn: Turn, world: World) -> str:
    """Answer all unanswered messages in three waves."""
    asked = [message.message_id for message in turn.messages]
    understood = await turn.wave(*(understand(message) for message in asked))
    calls = [
        (book if world.exchange(message).calls[number].books else look_up)(message, number)
        for message, numbers in zip(asked, understood, strict=True)
        for number in numbers
    ]
    if calls:
        await turn.settle(*calls)  # a booking may be unknown after a kill: then it is left at that
    (reply,) = await turn.wave(compose(asked))
    return reply


async def live(life: Life) -> None:
    """Talk until every message of every conversation has ended."""
    with Witness(life.folder / "witness.jsonl") as witness:
        chance = Random(life.seed)  # noqa: S311 - no secret
        worlds = {
            session: World(session, conversation, witness, chance)
            for session, conversation in life.conversations.items()
        }

        async def deliver(delivery: Delivery) -> None:
            witness.note(
                "is_delivered",
                delivery.session_id,
                delivery.delivery_id,
                delivery.reply.text,
                *delivery.answers,
            )

        def call_ended(event: CallEnded) -> None:
            # It is told when it is durable.
            if event.status is CallStatus.COMPLETED and event.answered_from is None:
                witness.note("is_recorded", event.session_id, event.call_id)

        async def agent(turn: Turn) -> str:
            return await answer(turn, worlds[turn.session_id])

        def world_of(turn: TurnInfo) -> World:
            return worlds[turn.session_id]

        system = ActorSystem(
            agent,
            journal=SqliteJournal(life.folder / "journal.db", life.synchronous, snapshot_after=100),
            deliver=deliver,
            deps={World: world_of},
            max_attempts=1_000_000,
        )
        system.on(CallEnded, call_ended)
        async with system:
            await asyncio.gather(
                *(_talk(system, life, session, witness, chance) for session in life.conversations)
            )


async def _talk(
    system: ActorSystem, life: Life, session: str, witness: Witness, chance: Random
) -> None:
    """Be a person: write on, at times before the answer has come; after a kill, send it again."""
    handle = system.session(session)
    outcomes: list[asyncio.Task[None]] = []
    for number, exchange in enumerate(life.conversations[session].exchanges):
        message = f"m{number}"
        if (session, message) in life.known:
            continue
        policy = chance.choice((AfterWave(), Enqueue()))
        receipt = await handle.send(exchange.text or "-", message_id=message, policy=policy)
        witness.note("is_accepted", session, message)
        outcomes.append(asyncio.create_task(_wait(receipt.outcome(), session, witness)))
        if chance.random() < 0.6:  # noqa: PLR2004 - two of five lines come while a turn runs
            await outcomes[-1]
    await asyncio.gather(*outcomes)


async def _wait(outcome: Any, session: str, witness: Witness) -> None:
    ended = await outcome
    text = None if ended.reply is None else ended.reply.text
    witness.note("has_ended", session, ended.message_id, str(ended.status), text)
