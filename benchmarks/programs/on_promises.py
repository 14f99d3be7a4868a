"""Turns that do nothing, with what wavebreak promises of them, by hand for this one job.

``on_raw.py`` promises less. This shows what the promises cost by themselves, without a framework,
without settings, policies and failures, and by cheap means (calls begin at once, and the last of a
wave needs no task; but its JSON, a third of it, is written by pydantic's general writer): a message
is validated, and known by its id; arguments and results of calls are validated, and written down in
their JSON form with an idempotency key, every entry encoded once, as a journal takes it; a turn is
a task of its own, behind a fence; its history is kept; a reply is handed over by another task, and
that is written down; who sent the message is told how it ended. What is durable is written by the
writer of ``../raw_durable.py``, in as many rows as that program has, and waited for where that
waits. Nobody should use it: whatever fails, it loses.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from programs.measuring import CALLS, WAVES, Meter, Talks, begin, take_part, tool_of
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import to_json
from raw_durable import Writer

from wavebreak.tools.eager import begin_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from programs.measuring import Figures, Order


class Message(BaseModel):
    """What a user wrote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: str
    text: str


class Arguments(BaseModel):
    """What the tool takes."""

    session: int
    wave: int
    place: int


class Entry(NamedTuple):
    """What happened, as the journal takes it."""

    at: float
    fence: tuple[int, int]
    kind: str
    what: Any


class Session:
    """One conversation, its journal and its history.

    Args:
        number: of the session.
        talks: notes what happens.
        result: validates what the tool returns.
        tool: what is called.
    """

    def __init__(
        self,
        number: int,
        talks: Talks,
        result: TypeAdapter[int],
        tool: Callable[..., Coroutine[Any, Any, int]],
        writer: Writer | None,
    ) -> None:
        self.number = number
        self.journal: list[bytes] = []
        self.known: dict[str, asyncio.Future[str]] = {}
        self.waiting: deque[Message] = deque()
        self.outbox: deque[str] = deque()
        self.turn = 0
        self.running: asyncio.Task[str] | None = None
        self._talks = talks
        self._result = result
        self._tool = tool
        self._writer = writer
        self._unwritten: list[bytes] = []
        self._delivers: asyncio.Task[None] | None = None

    def append(self, kind: str, what: Any) -> None:
        """Make an entry, to be written with those of the same moment."""
        self._unwritten.append(to_json(Entry(time.time(), (self.turn, 1), kind, what)))

    def write(self) -> asyncio.Future[None] | None:
        """Write down what has come up; gives what is done when it is on the disk, if it has to."""
        row = b"\n".join(self._unwritten)
        self._unwritten.clear()
        if self._writer is None:
            self.journal.append(row)
            return None
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # As its append() does, which would encode what is encoded.
        self._writer._queue.put((str(self.number), row, written))  # noqa: SLF001
        return written

    async def send(self, message_id: str, text: str) -> str:
        """Accept a message, once, and give the reply to it."""
        known = self.known.get(message_id)
        if known is not None:
            return await known
        message = Message(message_id=message_id, text=text)
        self.append("message_accepted", {"message_id": message.message_id, "text": message.text})
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.known[message_id] = ended
        written = self.write()
        if written is not None:
            await written
        self.waiting.append(message)
        if self.running is None:
            self._start()
        return await ended

    def _start(self) -> None:
        self.turn += 1
        messages = [*self.waiting]
        self.append("turn_started", [message.message_id for message in messages])
        self.running = asyncio.create_task(self._attempt(messages))
        self.running.add_done_callback(lambda task: self._ended(task, messages))

    async def _attempt(self, messages: list[Message]) -> str:
        self._talks.turn_begins(self.number)
        total = 0
        for wave in range(WAVES):
            self._talks.wave_begins(self.number)
            total += sum(await self._wave(wave))
        reply = str(total)
        answered = [message.message_id for message in messages]
        self.append("turn_ended", {"reply": reply, "answers": answered})
        for message_id in answered:
            self.append("message_ended", message_id)
        written = self.write()
        if written is not None:
            await written
        return reply

    async def _wave(self, wave: int) -> list[int]:
        calls = [Arguments(session=self.number, wave=wave, place=place) for place in range(CALLS)]
        forms = [call.model_dump() for call in calls]
        begun = [
            (f"{self.turn}.1.{wave}.{place}", "tool", form, f"{self.number}:{self.turn}.{place}")
            for place, form in enumerate(forms)
        ]
        self.append("wave_started", begun)
        written = self.write()
        if written is not None:
            await written
        results = await self._run(forms)
        valid = [self._result.validate_python(result) for result in results]
        done = [(call[0], "completed", value) for call, value in zip(begun, valid, strict=True)]
        self.append("wave_ended", done)
        self.append("history", (begun, done))
        return valid

    async def _run(self, forms: list[dict[str, Any]]) -> list[int]:
        """Run calls, which begin at once; the last of them in the turn's own task."""
        *others, last = forms
        loop = asyncio.get_running_loop()
        begun: list[asyncio.Task[Any]] = [
            begin_task(cast("Any", self._tool(**form)), loop, "call") for form in others
        ]
        result = await self._tool(**last)
        if not all(task.done() for task in begun):
            await asyncio.wait(begun)
        return [*(task.result() for task in begun), result]

    def _ended(self, task: asyncio.Task[str], messages: list[Message]) -> None:
        reply = task.result()
        self.running = None
        self.waiting.clear()
        self.outbox.append(reply)
        for message in messages:
            self.known[message.message_id].set_result(reply)
        self._delivers = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        while self.outbox:
            del self.outbox[0]
            self._talks.replies += 1
            self.append("delivery_ended", self._talks.replies)
            self.write()


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    result, tool = TypeAdapter(int), tool_of(talks, order)
    with tempfile.TemporaryDirectory() as folder, Meter() as meter:
        writer = Writer(Path(folder, "events.db")) if order.durable else None
        sessions = [
            Session(number, talks, result, tool, writer) for number in range(order.sessions)
        ]
        await asyncio.gather(*(_converse(session, order) for session in sessions))
        if writer is not None:
            writer.close()
    return {**meter.figures(), **talks.figures()}


async def _converse(session: Session, order: Order) -> None:
    await begin(session.number, order)
    for number in range(order.rounds):
        await session.send(f"m{number}", "one")


if __name__ == "__main__":
    take_part({"turns": turns})
