"""What goes beyond OTP: backoff, and how it scales."""

from __future__ import annotations

import asyncio
import time

import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.supervisors.child_spec import ChildSpec
from wavebreak.supervisors.children import ChildState
from wavebreak.supervisors.restart_policy import Backoff
from wavebreak.supervisors.settings import Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import World

BACKOFF = Backoff(minimum=1.0, maximum=4.0, jitter=0.0)


async def test_a_child_with_backoff_waits_before_each_restart(on_loop: World) -> None:
    sup = await on_loop.supervise(on_loop.spec("c1", backoff=BACKOFF), intensity=99)
    loop = asyncio.get_running_loop()
    for wait in (1.0, 2.0, 4.0, 4.0):
        before = loop.time()
        await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
        assert await on_loop.states(sup) == {"c1": ChildState.RESTARTING}
        await asyncio.sleep(wait)
        assert await on_loop.states(sup) == {"c1": ChildState.RUNNING}
        assert loop.time() - before == wait
    await asyncio.sleep(4.0)
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    await asyncio.sleep(1.0)
    assert await on_loop.states(sup) == {"c1": ChildState.RUNNING}
    await on_loop.stop(sup)


async def test_a_restart_that_waits_can_be_terminated_and_stopped(on_loop: World) -> None:
    sup = await on_loop.supervise(on_loop.spec("c1", backoff=BACKOFF))
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    await sup.terminate_child("c1")
    await asyncio.sleep(10)
    assert await on_loop.states(sup) == {"c1": ChildState.DOWN}
    await on_loop.end(await sup.restart_child("c1"), "abnormal")
    await on_loop.stop(sup)
    await asyncio.sleep(10)
    assert on_loop.script.names("start") == ["c1", "c1"]


async def test_siblings_are_down_while_the_restart_of_all_waits(on_loop: World) -> None:
    sup = await on_loop.supervise(
        on_loop.spec("c1", backoff=BACKOFF), on_loop.spec("c2"), strategy=Strategy.ONE_FOR_ALL
    )
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    assert await on_loop.states(sup) == {"c1": "restarting", "c2": "down"}
    await asyncio.sleep(1.0)
    assert await on_loop.states(sup) == {"c1": "running", "c2": "running"}
    await on_loop.stop(sup)


async def test_failed_tries_wait_longer_and_cost_one_each(on_loop: World) -> None:
    sup = await on_loop.supervise(on_loop.spec("c1", backoff=BACKOFF), intensity=3)
    on_loop.script.fail["c1"] = ValueError("no")
    before = asyncio.get_running_loop().time()
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    await on_loop.gone(sup)
    # One for the end, two for tries that were paid; the fourth is too many.
    assert asyncio.get_running_loop().time() - before == 1.0 + 2.0 + 4.0 + 4.0
    assert on_loop.script.names("start") == ["c1"] * 4


class Idle(AsyncioActor):
    pass


async def _seconds(count: int, *, pool: bool) -> tuple[float, float]:
    begin = time.process_time()
    if pool:
        sup = Supervisor.start([ChildSpec("p", Idle)], strategy=Strategy.SIMPLE_ONE_FOR_ONE)
        for _ in range(count):
            await sup.start_child()
    else:
        sup = Supervisor.start([ChildSpec(number, Idle) for number in range(count)])
        await sup.started()
    middle = time.process_time()
    await sup.stop(block=False)
    return middle - begin, time.process_time() - middle


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("pool", [False, True])
async def test_ten_thousand_children_take_about_ten_times_as_long_as_a_thousand(
    pool: bool,
) -> None:
    """``scale_start_stop_many_children``, ``simple_one_for_one_scale_many_temporary_children``."""
    await _seconds(100, pool=pool)
    few = [await _seconds(1_000, pool=pool) for _ in range(3)]
    many = await _seconds(10_000, pool=pool)
    # OTP's own test allows ten times the line; processor time, because the machine is shared.
    assert many[0] < 10 * 6 * min(start for start, _ in few)
    assert many[1] < 10 * 6 * min(stop for _, stop in few)
