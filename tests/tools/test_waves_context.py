from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages.errors import DependencyError
from wavebreak.messages.reasons import CallStatus
from wavebreak.testing import QuietEvent
from wavebreak.tools.cancellation import CancellationToken
from wavebreak.tools.context import CallContext, current_call
from wavebreak.tools.dependencies import Dependencies, TurnInfo, dep

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work

FAILED = CallStatus.FAILED
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_each_call_has_contextvars_of_its_own_that_begin_as_the_agents(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def on_loop() -> str:
        before = VARIABLE.get()
        VARIABLE.set("on loop")
        await asyncio.sleep(1)
        return f"{before}, {VARIABLE.get()}"

    def in_a_thread() -> str:
        before = VARIABLE.get()
        VARIABLE.set("in thread")
        return f"{before}, {VARIABLE.get()}"

    VARIABLE.set("agent")
    ends = await make_waves().run(
        work.call(on_loop), work.blocking_call(in_a_thread), work.call(on_loop)
    )
    assert [end.value for end in ends] == [
        "agent, on loop",
        "agent, in thread",
        "agent, on loop",
    ]
    assert VARIABLE.get() == "agent"


async def test_a_call_behind_a_gate_sees_the_agents_contextvars_too(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def look() -> str:
        return VARIABLE.get()

    waves = make_waves()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    VARIABLE.set("agent")
    asyncio.get_running_loop().call_later(1, gate.set_result, None)
    (end,) = await waves.runner.run(waves.prepare(work.call(look), gate=gate))
    assert end.value == "agent"


async def test_a_tool_knows_its_call_on_the_loop_and_in_a_thread(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    seen: list[CallContext] = []

    async def on_loop() -> float | None:
        await asyncio.sleep(2)
        seen.append(current_call())
        return current_call().time_left

    def in_a_thread() -> float | None:
        seen.append(current_call())
        return current_call().time_left

    waves = make_waves()
    ends = await waves.run(
        work.call(on_loop, timeout=5),
        work.call(on_loop),
        work.blocking_call(in_a_thread, timeout=3),
        work.call(on_loop, timeout=9),
    )
    assert [end.value for end in ends] == [3, None, 3, 7]
    assert {call.call_id: call.idempotency_key for call in seen} == {
        "c1": "k1",
        "c2": "k2",
        "c3": "k3",
        "c4": "k4",
    }
    assert all(call.token is waves.token for call in seen)
    with pytest.raises(DependencyError):
        current_call()


async def test_a_blocking_tool_can_see_that_the_turn_should_stop(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    started = QuietEvent()

    def body() -> str | None:
        cancelled = QuietEvent()
        current_call().token.add_callback(cancelled.set)
        started.set()
        cancelled.wait(5)
        return current_call().token.cancel_reason

    async def stop() -> None:
        await asyncio.sleep(1)
        waves.token.cancel("user wrote")

    ends = await waves.run(work.blocking_call(body), work.call(stop))
    assert ends[0].value == "user wrote"


async def test_dependencies_reach_the_tools_on_the_loop_and_in_threads(
    make_waves: Callable[..., Waves],
    work: Work,
) -> None:
    class Pool:
        pass

    pool = Pool()
    made: list[TurnInfo] = []

    def make(turn: TurnInfo) -> CancellationToken:
        made.append(turn)
        return CancellationToken()

    turn = TurnInfo("acme", "s1", ("ann",))
    scope = Dependencies({Pool: pool, CancellationToken: make}).scope(turn)

    def body() -> bool:
        return dep(Pool) is pool and dep(CancellationToken) is dep(CancellationToken)

    async def on_loop() -> bool:
        return body()

    waves = make_waves(scope)
    calls = (work.call(on_loop), work.blocking_call(body), work.call(on_loop))
    assert [end.value for end in await waves.run(*calls)] == [True] * 3
    with pytest.raises(DependencyError, match="outside of a turn"):
        dep(Pool)
    scope.enter()  # as for an agent that has them too
    assert scope.is_active
    assert [end.value for end in await waves.run(*calls)] == [True] * 3
    assert made == [turn]


async def test_a_missing_dependency_fails_the_call_with_the_remedy(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def body() -> None:
        dep(threading.Event)

    (end,) = await make_waves().run(work.call(body))
    assert end.status is FAILED
    assert "no dependency Event: give it to the system, deps={Event: ...}" in str(end.exception)
