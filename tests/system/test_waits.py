"""How long somebody waits who has written again, in turns of the loop: each may take long."""

from __future__ import annotations

import asyncio

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
async def test_the_next_turn_begins_one_turn_of_the_loop_after_the_interrupted_one_beside_many(
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
    assert waits == {1}


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
