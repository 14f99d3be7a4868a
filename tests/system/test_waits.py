"""How long somebody waits who has written again, in turns of the loop: each may take long."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from wavebreak import ActorSystem, AfterWave, Now, Turn, TurnInterrupted, tool
from wavebreak.actors.attempt_waves import AttemptWaves
from wavebreak.actors.turn_engine import TurnEngine

MANY = 150
"""Sessions; more than twice as many as an actor handles in one go."""


@tool(effect="read")
async def search() -> str:
    """Take some time."""
    await asyncio.sleep(1.0)
    return "found"


@tool(effect="read")
async def look() -> str:
    """Take as long, in a task of its own."""
    await asyncio.sleep(1.0)
    return "seen"


class Laps:
    """Counts the turns of the loop from the first end of a turn to the last begin of the next."""

    def __init__(self, wanted: int) -> None:
        self.lap = 0
        self.ended: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self._wanted = wanted

    def end(self, session_id: str) -> None:
        if not self.ended:
            self._next()
        self.ended[session_id] = self.lap

    def begin(self, session_id: str) -> None:
        self.begun[session_id] = self.lap

    def _next(self) -> None:
        self.lap += 1
        if len(self.begun) < self._wanted and self.lap < 10 * self._wanted:
            asyncio.get_running_loop().call_soon(self._next)


@pytest.mark.parametrize("how", [AfterWave(), Now()])
async def test_the_next_turn_begins_in_the_same_go_as_the_interrupted_one_ends_beside_many(
    how: AfterWave | Now,
) -> None:
    laps = Laps(MANY)

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            laps.begin(turn.session_id)
            return "done"
        try:
            await turn.wave(search(), look())
            await turn.wave(search(), look())
        except (TurnInterrupted, asyncio.CancelledError):
            laps.end(turn.session_id)
            raise
        return "never"

    async with ActorSystem(agent, policy=how) as system:
        sessions = [system.session(str(number)) for number in range(MANY)]
        firsts = await asyncio.gather(*(session.send("a") for session in sessions))
        await asyncio.sleep(0.5)
        seconds = await asyncio.gather(*(session.send("b") for session in sessions))
        for receipt in (*firsts, *seconds):
            await receipt.outcome()

    waits = {laps.begun[name] - laps.ended[name] for name in laps.ended}
    assert len(laps.ended) == MANY
    assert waits == {0}


@pytest.mark.parametrize("how", [AfterWave(), Now()])
async def test_who_awaits_that_a_message_is_accepted_does_not_wait_for_the_loop_to_come_round(
    how: AfterWave | Now,
) -> None:
    lap = told = begun = 0

    def count() -> None:
        nonlocal lap
        lap += 1
        if not begun and lap < MANY:
            asyncio.get_running_loop().call_soon(count)

    async def agent(turn: Turn) -> str:
        nonlocal begun
        if turn.previous is not None:
            begun = lap
            return "done"
        await turn.wave(search(), look())
        return "never"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(0.5)
        count()
        told = lap
        receipt = await session.send("b", policy=how)
        assert lap == told
        await receipt.outcome()
    if isinstance(how, Now):
        assert begun - told == 1  # in which its agent is cancelled


async def test_a_message_to_a_session_whose_agent_has_not_begun_is_handled_in_its_time() -> None:
    begun: list[str] = []

    async def agent(turn: Turn) -> str:
        begun.append(turn.text)
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in ("a", "b", "c")]
        for receipt in receipts:
            await receipt.outcome()
    assert begun == ["a", "b", "c"]


async def test_a_turn_that_began_at_once_is_stopped_in_its_first_step_as_any_other() -> None:
    steps: list[str] = []
    begun = asyncio.Event()

    async def agent(turn: Turn) -> str:
        steps.append(f"{turn.number} begins")
        if turn.number == 1:
            begun.set()
            await turn.wave(search())
            await turn.wave(search())
        elif turn.number == 2:
            session.send("c", policy=Now())
            await turn.history(unanswered=True)  # by which the session has handled that
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                steps.append("2 is cancelled")
                raise
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await begun.wait()
        outcome = await (await session.send("b")).outcome()
    assert outcome.turn == 3
    assert steps == ["1 begins", "2 begins", "2 is cancelled", "3 begins"]


async def test_turns_that_are_interrupted_at_once_one_after_the_other_leave_the_loop_its_time() -> (
    None
):
    turns = 0
    others = 0

    async def agent(turn: Turn) -> str:
        nonlocal turns
        turns += 1
        if turn.number < MANY:
            session.send("again")
            await turn.wave()
        return "done"

    def other() -> None:
        nonlocal others
        others += 1
        if turns < MANY:
            asyncio.get_running_loop().call_soon(other)

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        receipt = await session.send("a")
        other()
        assert (await receipt.outcome()).turn == turns == MANY
    assert others >= MANY / 2


async def test_a_turn_that_began_at_once_runs_in_a_task_and_context_variables_of_its_own() -> None:
    variable = ContextVar("variable", default="none")
    tasks: list[asyncio.Task[Any] | None] = []
    found: list[str] = []

    async def agent(turn: Turn) -> str:
        tasks.append(asyncio.current_task())
        found.append(variable.get())
        variable.set(f"of turn {turn.number}")
        async with asyncio.timeout(60):  # looks at the task that it is in
            if turn.number == 1:
                await turn.wave(search())
            await turn.wave(look())
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(0.5)
        await (await session.send("b")).outcome()
    assert len({id(task) for task in tasks}) == len(tasks) == 2
    assert found == ["none", "none"]


async def test_an_order_is_not_lost_when_the_supervisor_dies_before_it_is_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[int] = []
    begun = asyncio.Event()

    async def agent(turn: Turn) -> str:
        runs.append(turn.number)
        if turn.previous is None:
            begun.set()
            await turn.wave(search())
            await turn.wave(search())
        return "done"

    releases = 0

    def release(engine: TurnEngine) -> None:
        """Kill who calls this first: the supervisor, when it has told the session of the end."""
        nonlocal releases
        releases += 1
        if releases == 1:
            error = "broken"
            raise RuntimeError(error)
        AttemptWaves.release(engine)

    monkeypatch.setattr(TurnEngine, "release", release)
    async with ActorSystem(agent) as system:
        tree = system._tree
        assert tree is not None
        supervisor = tree.runtimes.place.actor
        session = system.session("ann")
        first = await session.send("a")
        await begun.wait()
        outcomes = [await (await session.send("b")).outcome(), await first.outcome()]
        assert tree.runtimes.place.actor is not supervisor
    assert [outcome.turn for outcome in outcomes] == [2, 2]
    assert runs == [1, 2]
