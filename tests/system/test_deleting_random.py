"""Random conversations that are stopped, deleted, killed and started again; seeded."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    AfterWave,
    Collect,
    CompletedCall,
    DeleteResult,
    Delivery,
    Enqueue,
    Future,
    MessageStatus,
    Now,
    Receipt,
    Rollback,
    SessionError,
    Steer,
    SystemClosed,
    Turn,
    UnknownMessage,
    WavebreakError,
    tool,
)
from wavebreak.messages.ids import SessionKey
from wavebreak.messages.model import Frozen
from wavebreak.testing import SimulatedDisk

if TYPE_CHECKING:
    from wavebreak import Session

LONG: Final = 100_000.0
NAMES: Final = ("ann", "ben", "cem")
LIVES: Final = 4
STEPS: Final = 40
POLICIES: Final = (AfterWave(), Now(grace=1), Enqueue(), Collect(), Steer(), Rollback(grace=1))


class About(Frozen):
    """A session's own state."""

    text: str = ""


class Sent(NamedTuple):
    """A message that was sent: when, in the order of everything that was asked of its session."""

    order: int
    message_id: str
    accepted: Future[Receipt]


class Deleted(NamedTuple):
    """A deletion that was asked for."""

    order: int
    deleted: Future[DeleteResult]


class World:
    """What is asked of three sessions, in several lives of a process, and what came of it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - it shall be the same every time
        self.disk = SimulatedDisk(slow=self.dice.random() < 0.7)
        self.disk.on_append = lambda _key, _entries: self._fault(0.01)
        self.disk.on_erase = lambda _key: self._fault(0.2)
        self.ill = True
        self.order = 0
        self.sent: dict[str, list[Sent]] = {name: [] for name in NAMES}
        self.deleted: dict[str, list[Deleted]] = {name: [] for name in NAMES}
        self.forgotten: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.delivered: list[str] = []
        self.problems: list[str] = []

        async def undo(call: CompletedCall, result: str) -> None:
            del call, result
            await asyncio.sleep(self.dice.random())

        @tool(compensate=undo)
        async def book(what: str) -> str:
            await asyncio.sleep(self.dice.random())
            return what

        @tool(effect="read", protected=True, timeout=3)
        async def look(what: str) -> str:
            await asyncio.sleep(2 * self.dice.random())
            return what

        self.book, self.look = book, look

    def _fault(self, share: float) -> str:
        if not self.ill or self.dice.random() >= share:
            return ""
        return self.dice.choice(("lose", "unsure"))

    async def agent(self, turn: Turn) -> str:
        for _ in range(self.dice.randrange(3)):
            await turn.settle(self.book(turn.text), self.look(turn.text))
            turn.say(f"{turn.text} goes on")
        turn.save(About(text=turn.text))
        if self.dice.random() < 0.2:
            await turn.step(asyncio.Event().wait, key="hangs")
        return turn.text

    async def deliver(self, delivery: Delivery) -> None:
        """Fail for what was known to be deleted when it was begun."""
        name = delivery.session_id
        for sent in self.sent[name]:
            if sent.message_id in delivery.reply.text and sent.order < self.forgotten[name]:
                self.problems.append(f"{name}: {sent.message_id} was delivered after its end")
        await asyncio.sleep(self.dice.random())
        if self.dice.random() < 0.2:
            raise OSError("the channel is down")

    def system(self) -> ActorSystem:
        return ActorSystem(
            self.agent,
            journal=self.disk.connect(),
            deliver=self.deliver,
            idle_after=self.dice.choice((None, 3.0)),
            close_within=2,
            turn_deadline=30,
        )

    def step(self, session: Session) -> None:
        """Ask something of a session."""
        self.order += 1
        name, order = session.session_id, self.order
        match self.dice.randrange(10):
            case 0:
                session.stop(self.dice.choice((AfterWave(patience=1), Now(grace=0.5))))
            case 1 | 2:
                deletion = Deleted(order, session.delete(grace=self.dice.choice((0.0, 0.5, 5.0))))
                deletion.deleted.add_done_callback(lambda _: self._is_deleted(name, deletion))
                self.deleted[name].append(deletion)
            case 3:
                session.rollback(0.5)
            case _:
                id_ = f"{name}-{order}-"
                accepted = session.send(id_, message_id=id_, policy=self.dice.choice(POLICIES))
                self.sent[name].append(Sent(order, id_, accepted))

    def _is_deleted(self, name: str, deletion: Deleted) -> None:
        if _result(deletion.deleted) is not None:
            self.forgotten[name] = max(self.forgotten[name], deletion.order)

    async def live(self) -> None:
        """One life of the process."""
        system = self.system()
        await system.__aenter__()
        sessions = [system.session(name) for name in NAMES]
        for _ in range(STEPS):
            self.step(self.dice.choice(sessions))
            await asyncio.sleep(self.dice.choice((0, 0, 0.0005, 0.1, 1, 5)))
        if self.dice.random() < 0.7:
            self.disk.kill()
        await system.__aexit__(None, None, None)

    async def check(self) -> None:
        """Compare what is there at the end with what was asked for."""
        self.ill = False
        async with self.system() as system, asyncio.timeout(LONG):
            for name in NAMES:
                for sent in self.sent[name]:
                    await self._check(system.session(name), sent)
            await asyncio.sleep(1000)
            for name in NAMES:
                await system.session(name).delete()
            await asyncio.sleep(1000)
        for name in NAMES:
            entries = self.disk.entries(SessionKey("", name))
            self._expect(not entries, f"{name}: {len(entries)} entries of nothing")
        assert not self.problems, "\n".join(self.problems)

    async def _check(self, session: Session, sent: Sent) -> None:
        name = session.session_id
        since = [one for one in self.deleted[name] if one.order > sent.order]
        is_gone = any(_result(one.deleted) is not None for one in since)
        was_accepted = _result(sent.accepted) is not None
        try:
            outcome = await session.outcome(sent.message_id)
        except UnknownMessage:
            lost = was_accepted and not since
            self._expect(not lost, f"{sent.message_id} was accepted, never deleted, and is gone")
            return
        self._expect(not is_gone, f"{sent.message_id} has come back: {outcome}")
        self._expect(outcome.status in set(MessageStatus), f"{sent.message_id}: {outcome}")

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.problems.append(what)


def _result(future: Future[Any]) -> Any:
    """What a future came to; None for nothing, yet or at all."""
    if not future.done():
        return None
    try:
        return future.get()
    except (AcceptanceUnknown, SessionError, SystemClosed, WavebreakError):
        return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_nothing_that_was_deleted_comes_back_and_nothing_else_is_lost(seed: int) -> None:
    world = World(seed)
    for _ in range(LIVES):
        await world.live()
    await world.check()
    assert sum(map(len, world.sent.values())) > 60
