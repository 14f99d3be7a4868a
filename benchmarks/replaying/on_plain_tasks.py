"""The same job on the plain pattern of ``benchmarks/cancel_and_restart.py``."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from wavebreak.benchmarks.cancel_and_restart import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .people import People
    from .world import Desk


class Line(NamedTuple):
    """What a person wrote."""

    message_id: str
    text: str


class PlainJob:
    """The agent and the delivery of the replay's job, with notes on the tapes.

    Args:
        desks: by session.
        people: who wait for answers.
    """

    def __init__(self, desks: Mapping[str, Desk], people: People) -> None:
        self._desks = desks
        self._people = people
        self._turns: Counter[str] = Counter()
        self._open = sum(len(desk.script.arrivals) for desk in desks.values())
        self.done = asyncio.Event()

    async def agent(self, session_id: str, lines: Sequence[Line]) -> str:
        """Answer all unanswered messages in three waves."""
        desk = self._desks[session_id]
        asked = [line.message_id for line in lines]
        self._turns[session_id] += 1
        number = self._turns[session_id]
        with desk.tape.running(number, asked):
            try:
                reply = await _answer(desk, lines, asked)
            except asyncio.CancelledError:
                desk.tape.interrupted.add(number)
                raise
            desk.tape.finished.add(number)
            return reply

    async def deliver(self, session_id: str, reply: str, lines: Sequence[Line]) -> None:
        """Note who was answered."""
        del reply
        tape = self._desks[session_id].tape
        asked = [line.message_id for line in lines]
        now = asyncio.get_running_loop().time()
        tape.note_reply(f"{session_id} {self._turns[session_id]}", asked, now)
        for line in lines:
            tape.note_outcome(line.message_id, "answered")
            self._people.answered()
        self._open -= len(lines)
        if not self._open:
            self.done.set()


async def play(desks: Mapping[str, Desk], people: People) -> None:
    """Play every session's script, each person at their own pace."""
    job = PlainJob(desks, people)
    chat = Chat[Line, str](job.agent, job.deliver)

    async def converse(session_id: str, desk: Desk) -> None:
        async for message, text in people.lines(desk):
            chat.send(session_id, Line(message, text))
            desk.tape.accepted += 1

    await asyncio.gather(*(converse(name, desk) for name, desk in desks.items()))
    await people.wait_for(job.done.wait())
    await chat.close()


async def _answer(desk: Desk, lines: Sequence[Line], asked: list[str]) -> str:
    understood = await asyncio.gather(
        *(desk.understand(line.message_id, line.text) for line in lines)
    )
    wanted = [call for calls in understood for call in calls]
    findings = await asyncio.gather(
        *(desk.serve(call.method, call.parameters, books=call.books) for call in wanted)
    )
    return await desk.compose(asked, sum(map(len, findings)))
