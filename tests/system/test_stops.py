"""A stop in any state, in every way, from anywhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Backlog,
    Enqueue,
    Future,
    MemoryJournal,
    MessageStatus,
    Now,
    Receipt,
    Session,
    SessionActor,
    Turn,
    TurnOutcome,
    tool,
)
from wavebreak.testing import gate

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak.actors.requests import StopResult
    from wavebreak.journal.base import Recorded
    from wavebreak.messages.ids import SessionKey
    from wavebreak.messages.policies import How

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def echo(turn: Turn) -> str:
    return turn.text


async def ask(system: ActorSystem, session_id: str, text: str = "a") -> MessageStatus:
    receipt = await system.session(session_id).send(text)
    return (await receipt.outcome()).status


HOWS: tuple[How, ...] = (AfterWave(patience=2), Now(grace=1), AfterWave(patience=0), Now(grace=0))
STATES = (
    "new",
    "idle",
    "in a wave",
    "in a step",
    "between two",
    "in a thread",
    "stopping",
    "stopping now",
    "backing off",
    "behind a hook",
    "recovering",
)


class Stoppable:
    """A session that can be brought into any state."""

    def __init__(self) -> None:
        self.blocked = gate("blocked")
        self.enough = asyncio.Event()
        self.loads = asyncio.Event()
        outer = self

        class Hooked(SessionActor):
            async def on_receive(self, message: object) -> None:
                await asyncio.sleep(0.5)

        class SlowJournal(MemoryJournal):
            def load(self, key: SessionKey) -> Recorded:
                return cast("Recorded", outer._load(super().load(key)))

        self.audit = Audit()
        self.system = ActorSystem(
            self.audit.agent(self._agent),
            tools=(self.blocked.tool(1, blocking=True),),
            session_actor=Hooked,
            journal=SlowJournal(),
        )
        self.audit.watch(self.system)

    async def _load(self, recorded: Recorded) -> Recorded:
        await self.loads.wait()
        return recorded

    async def _agent(self, turn: Turn) -> str:
        if turn.number > 1:
            return turn.text
        match turn.text:
            case "stopping now":
                await swallow_until(self.enough)
            case "in a wave" | "stopping":

                @tool
                async def work() -> int:
                    await asyncio.sleep(100)
                    return 1

                await turn.wave(work())
            case "in a step":
                await turn.step(lambda: asyncio.sleep(100), key="think")
            case "between two":
                await asyncio.sleep(100)
            case "in a thread":
                await turn.wave(turn.call("blocked", {}))
            case "backing off":
                raise OSError("gone")
            case _:
                pass
        return turn.text

    async def bring(self, session: Session, state: str) -> list[Future[Receipt]]:
        """Bring the session into a state; gives what was sent for that."""
        if state != "recovering":
            self.loads.set()
        if state == "new":
            return []
        sent = [session.send(state, message_id="first")]
        if state == "recovering":
            return sent
        await sent[0]
        if state == "in a thread":
            await self.blocked.reached()
        await asyncio.sleep(0.01)
        if state.startswith("stopping"):
            how: How = Now(grace=2) if state.endswith("now") else AfterWave(patience=3)
            sent.append(session.send("overtaking", message_id="second", policy=how))
            await asyncio.sleep(0.01)
        if state == "behind a hook":
            session.tell("hook")
            await asyncio.sleep(0.01)
        return sent


@pytest.mark.matrix(quick=20)
@pytest.mark.parametrize("backlog", list(Backlog), ids=str)
@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize("state", STATES)
async def test_stops_in_any_state_are_all_answered_and_everything_ends_once(
    state: str, how: How, backlog: Backlog
) -> None:
    stoppable = Stoppable()
    async with stoppable.system, asyncio.timeout(LONG):
        session = stoppable.system.session("ann")
        sent = await stoppable.bring(session, state)
        sent.append(session.send("waits", message_id="waits", policy=Enqueue()))
        stops = [session.stop(one, backlog=backlog) for one in (how, AfterWave(), how)]
        after = session.send("after", message_id="after", policy=Enqueue())
        stoppable.loads.set()
        results = [await stop for stop in stops]
        await session.resume()
        stoppable.blocked.let_go()
        stoppable.enough.set()
        statuses: dict[str, MessageStatus] = {}
        for one in (*sent, after):
            receipt = await one
            statuses[receipt.message_id] = (await receipt.outcome()).status
    idle = state in {"new", "idle", "behind a hook", "recovering"}
    stopped = None if idle else TurnOutcome.STOPPED
    assert {result.outcome for result in results} == {stopped}
    kept = MessageStatus.DROPPED if backlog is Backlog.DROP else MessageStatus.ANSWERED
    if state in {"new", "idle", "behind a hook"}:
        kept = MessageStatus.CANCELLED  # it would have been the turn that was stopped
    assert statuses.pop("waits") is kept
    assert statuses.pop("after") is MessageStatus.ANSWERED, "it came after the stops"
    over = state in {"idle", "behind a hook"}
    assert set(statuses.values()) <= {MessageStatus.ANSWERED if over else MessageStatus.CANCELLED}
    stoppable.audit.check()


@pytest.mark.parametrize("where", ["agent", "tool", "thread", "step", "task"])
@pytest.mark.parametrize("how", HOWS, ids=str)
async def test_a_stop_from_within_its_own_turn_hangs_nothing(where: str, how: How) -> None:
    sessions: list[Session] = []
    results: list[StopResult] = []

    async def stop() -> None:
        results.append(await sessions[0].stop(how))

    @tool
    async def stopping() -> None:
        await stop()

    @tool
    def blocking() -> None:
        results.append(sessions[0].stop(how).get(timeout=5))

    acts: dict[str, Callable[[Turn], Awaitable[object]]] = {
        "agent": lambda turn: stop(),
        "tool": lambda turn: turn.wave(stopping()),
        "thread": lambda turn: turn.wave(blocking()),
        "step": lambda turn: turn.step(stop, key="stop"),
        "task": lambda turn: asyncio.gather(stop()),
    }

    async def agent(turn: Turn) -> str:
        if turn.number > 1:
            return turn.text
        await acts[where](turn)
        await turn.wave()
        return "never"

    audit = Audit()
    system = ActorSystem(audit.agent(agent))
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        sessions.append(system.session("ann"))
        outcome = await (await sessions[0].send("a")).outcome()
        assert outcome.status is MessageStatus.CANCELLED
        assert await ask(system, "ann", "b") is MessageStatus.ANSWERED
    if isinstance(how, AfterWave) and where != "step":  # a step is cancelled at once
        assert results
    assert {result.turn for result in results} <= {1}
    audit.check()


async def test_an_agent_that_swallows_its_interruption_in_a_loop_lets_the_others_go_on() -> None:
    begun = asyncio.Event()
    ticks: list[int] = []

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            begun.set()
            for tried in range(100):
                try:
                    await turn.step(lambda: asyncio.sleep(10), key=str(tried))
                except BaseException:  # noqa: BLE001 - that is what it does wrong
                    asyncio.get_running_loop().call_soon(ticks.append, tried)
        return "ok"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await begun.wait()
        receipt = await session.send("b", policy=Now())
        while len(ticks) < 50:
            await asyncio.sleep(0)
        assert len(ticks) < 60, "the loop went round meanwhile"
        assert (await receipt.outcome()).turn == 2
