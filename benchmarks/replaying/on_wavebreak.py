"""The job as a program on wavebreak: three tools, an agent of three waves, a ``deliver``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from wavebreak import (
    ActorSystem,
    AfterWave,
    Collect,
    Delivery,
    Enqueue,
    MessageEnded,
    Now,
    Steer,
    TurnEnded,
    TurnOutcome,
    WaveStarted,
    dep,
    tool,
)

from .recorded import call_key
from .world import Desk, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavebreak import (
        Chooser,
        Future,
        Policy,
        Receipt,
        SessionMessage,
        SessionView,
        Turn,
        TurnInfo,
    )

    from .people import People

BOOKING_TIMEOUT = 600.0
"""Seconds: what is protected must have a timeout, and no delay is ever near this one."""


@tool(effect="read")
async def understand(message: str, text: str) -> list[Wanted]:
    """Find out what a message asks for."""
    return await dep(Desk).understand(message, text)


@tool(effect="read")
async def look_up(method: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask a service for something."""
    return await dep(Desk).serve(method, parameters, books=False)


@tool(effect="once", protected=True, timeout=BOOKING_TIMEOUT)
async def book(method: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Have a service do something that must not be done twice."""
    return await dep(Desk).serve(method, parameters, books=True)


@tool(effect="read")
async def compose(messages: list[str], findings: int) -> str:
    """Put the reply to several messages into words."""
    return await dep(Desk).compose(messages, findings)


def by_wave(message: SessionMessage, view: SessionView) -> Policy:
    """Let a reply out that is being put into words; go on at once with what was found till then."""
    del message
    return Collect() if compose.name in view.tools else AfterWave()


PolicyName = Literal["after_wave", "by_wave", "steer", "now", "enqueue"]

POLICIES: Final[dict[PolicyName, Policy | Chooser]] = {
    "after_wave": AfterWave(),
    "by_wave": by_wave,
    "steer": Steer(),
    "now": Now(),
    "enqueue": Enqueue(),
}
"""By the names that the command line takes; first that of a system that is told nothing else."""


async def answer(turn: Turn, desks: Mapping[str, Desk]) -> str:
    """Answer all unanswered messages in three waves."""
    desk = desks[turn.session_id]
    with desk.tape.running(turn.number, [message.message_id for message in turn.messages]):
        understood: dict[str, list[Wanted]] = {}
        found: list[tuple[Wanted, list[dict[str, Any]]]] = []
        fresh = turn.messages
        while fresh:
            of_fresh = await turn.wave(*(understand(m.message_id, m.as_text()) for m in fresh))
            understood.update(zip((m.message_id for m in fresh), of_fresh, strict=True))
            wanted = [call for calls in of_fresh for call in calls]
            serve = [(book if w.books else look_up)(w.method, w.parameters) for w in wanted]
            found += zip(wanted, await turn.wave(*serve) if serve else (), strict=True)
            fresh = await turn.new_messages()  # what came by Steer; else nothing
        (reply,) = await turn.wave(compose(list(understood), sum(len(rows) for _, rows in found)))
        desk.check(understood, found)
        return reply


async def play(desks: Mapping[str, Desk], people: People, policy: PolicyName) -> None:
    """Play every session's script on one actor system, each person at their own pace."""

    async def agent(turn: Turn) -> str:
        return await answer(turn, desks)

    async def deliver(delivery: Delivery) -> None:
        desk = desks[delivery.session_id]
        now = asyncio.get_running_loop().time()
        desk.tape.note_reply(delivery.delivery_id, delivery.answers, now)
        desk.check_reply(delivery.answers, delivery.reply.text)

    def desk_of(turn: TurnInfo) -> Desk:
        return desks[turn.session_id]

    system = ActorSystem(agent, policy=POLICIES[policy], deliver=deliver, deps={Desk: desk_of})
    _listen(system, desks)
    async with system:
        await asyncio.gather(*(_converse(system, desk, people) for desk in desks.values()))


def _listen(system: ActorSystem, desks: Mapping[str, Desk]) -> None:
    """Note on the tapes what only the framework can say: ends, and answers without a start."""

    def turn_ended(event: TurnEnded) -> None:
        tape = desks[event.session_id].tape
        if event.outcome is TurnOutcome.FINISHED:
            tape.finished.add(event.turn)
        elif event.outcome is TurnOutcome.INTERRUPTED:
            tape.interrupted.add(event.turn)

    def message_ended(event: MessageEnded) -> None:
        how = f"{event.status}: {event.detail}" if event.detail else str(event.status)
        desks[event.session_id].tape.note_outcome(event.message_id, how)

    def wave_started(event: WaveStarted) -> None:
        tape = desks[event.session_id].tape
        for call in event.calls:
            if call.answered_from is not None:
                tape.carried[event.turn, tape_key(call.tool, call.arguments)] += 1

    system.on(TurnEnded, turn_ended)
    system.on(MessageEnded, message_ended)
    system.on(WaveStarted, wave_started)


def tape_key(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Name a call as the desk does on its tape."""
    if tool_name in {look_up.name, book.name}:
        return call_key(arguments["method"], arguments["parameters"])
    return call_key(tool_name, dict(arguments))


async def _converse(system: ActorSystem, desk: Desk, people: People) -> None:
    """Be a person who writes the lines of a script, then waits for how each of them ends."""
    session = system.session(desk.script.session_id)
    receipts: list[Future[Receipt]] = []
    async for message, text in people.lines(desk):
        receipts.append(session.send(text, message_id=message))
    await people.wait_for(_outcomes(receipts, desk, people))


async def _outcomes(receipts: Sequence[Future[Receipt]], desk: Desk, people: People) -> None:
    for receipt in receipts:
        accepted = await receipt
        desk.tape.accepted += 1
        await accepted.outcome()
        people.answered()
