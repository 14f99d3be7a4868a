"""What a turn leaves behind, and when what it reports is recorded."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from wavebreak import ActorSystem, AfterWave, CallEnded, MessageStatus, Now, TurnEnded, tool
from wavebreak.actors.runtime import RuntimeActor
from wavebreak.actors.turn_engine import TurnEngine
from wavebreak.system import RECORDED_WITHIN
from wavebreak.tools.execution import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from wavebreak import Turn


@tool(effect="read")
async def wait(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read")
async def fail(seconds: float) -> float:
    await asyncio.sleep(seconds)
    error = f"after {seconds}"
    raise ValueError(error)


@pytest.fixture
def made() -> Generator[Callable[[], list[str]]]:
    """What was made meanwhile and is still there, although nobody collects what goes in circles."""
    before = {id(one): one for one in _runtimes()}
    gc.disable()
    yield lambda: [type(one).__name__ for one in _runtimes() if id(one) not in before]
    gc.enable()


def _runtimes() -> list[object]:
    kinds = (TurnEngine, RuntimeActor, Prepared)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


@pytest.mark.parametrize(
    "fate", ["finishes", "is interrupted", "is cancelled", "is stopped", "has calls that fail"]
)
async def test_a_turn_that_has_ended_leaves_nothing_to_the_collector(
    fate: str, made: Callable[[], list[str]]
) -> None:
    async def agent(turn: Turn) -> str:
        if fate == "has calls that fail":
            await turn.settle(fail(0), fail(1), wait(1))
        else:
            await turn.wave(wait(0), wait(1))
        await turn.wave(wait(1), wait(2), wait(0))
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        outcome = (await session.send(fate, message_id="m1")).outcome()
        await asyncio.sleep(0.5)
        if fate == "is interrupted":
            await (await session.send("second")).outcome()
        elif fate == "is cancelled":
            await (await session.send("second", policy=Now())).outcome()
        assert made() != []
        if fate == "is stopped":
            await session.stop(Now())
        await outcome
        await asyncio.sleep(10)
        assert made() == []


async def test_the_end_of_a_call_is_recorded_within_a_moment_of_its_own() -> None:
    loop = asyncio.get_running_loop()
    ends: dict[str, float] = {}
    told: dict[str, float] = {}

    @tool(effect="read")
    async def end_at(name: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        ends[name] = loop.time()
        return name

    async def agent(turn: Turn) -> str:
        # Within each wave the second call ends just before the tick that the first has begun.
        for wave in range(4):
            calls = [end_at(f"{wave} {n}", 0.0008 * n) for n in range(6)]
            await turn.wave(*calls, end_at(f"{wave} last", 1.0))
        return "done"

    def on_end(event: CallEnded) -> None:
        told[str(event.result)] = loop.time()

    async with ActorSystem(agent) as system:
        system.on(CallEnded, on_end)
        await (await system.session("ann").send("x")).outcome()

    assert ends.keys() == told.keys()
    assert max(told[name] - ends[name] for name in ends) <= RECORDED_WITHIN + 1e-9


async def test_what_is_reported_at_once_is_not_reported_for_the_moment_again() -> None:
    """A busy session has one entry for a wave's end and the next one's beginning."""

    async def agent(turn: Turn) -> str:
        for _ in range(100):
            await turn.wave(wait(0.0001), wait(0.00047))
        return "done"

    async with ActorSystem(agent) as system:
        stored = system._journal
        appended = 0
        append = stored.append

        def counting(*args: object) -> object:
            nonlocal appended
            appended += 1
            return append(*args)  # type: ignore[arg-type]

        stored.append = counting  # type: ignore[method-assign, assignment]
        await (await system.session("ann").send("x")).outcome()

    assert appended <= 100 + 5


@pytest.mark.parametrize(
    ("first", "second"), [(30.0, 2.0), (2.0, 30.0), (5.0, 5.0)], ids=["less", "more", "the same"]
)
async def test_a_timer_that_an_earlier_turn_has_left_moves_no_later_one(
    first: float, second: float
) -> None:
    loop = asyncio.get_running_loop()
    ended: list[float] = []

    async def agent(turn: Turn) -> str:
        seconds = {"short": 1.0, "long": 100.0}.get(turn.messages[-1].as_text(), 0.0)
        await turn.wave(wait(seconds))
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        system.on(TurnEnded, lambda _event: ended.append(loop.time()))
        await session.send("short")
        await asyncio.sleep(0.5)
        # Its timer is armed, and not needed: the wave ends long before.
        overtaking = await session.send("x", policy=AfterWave(patience=first))
        assert (await overtaking.outcome()).status is MessageStatus.ANSWERED
        await session.send("long")
        await asyncio.sleep(0.5)
        begun = loop.time()
        last = await session.send("y", policy=AfterWave(patience=second))
        assert (await last.outcome()).status is MessageStatus.ANSWERED
        assert [when - begun for when in ended[-2:]] == pytest.approx([second, second], abs=0.01)
