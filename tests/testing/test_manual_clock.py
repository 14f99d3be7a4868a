from __future__ import annotations

import asyncio

import pytest

from wavebreak.testing import Deadlock, Run, VirtualTimeLoop, manual_clock


async def test_time_passes_only_when_the_test_says_so() -> None:
    gone_off: list[int] = []
    loop = asyncio.get_running_loop()
    with manual_clock() as clock:
        for seconds in (10, 20, 30):
            loop.call_later(seconds, gone_off.append, seconds)
        for _ in range(10):
            await asyncio.sleep(0)
        assert gone_off == []
        await clock.advance(20)
        assert gone_off == [10, 20]
        assert clock.now == loop.time()
    await asyncio.sleep(10)
    assert gone_off == [10, 20, 30]


async def test_timers_go_off_at_their_own_times_while_it_is_advanced() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with manual_clock() as clock:
        sleeper = asyncio.create_task(slept())
        await clock.advance(5)
        assert await sleeper - began == pytest.approx(2)


async def slept() -> float:
    await asyncio.sleep(2)
    return asyncio.get_running_loop().time()


def test_who_waits_for_time_that_nobody_lets_pass_is_told() -> None:
    async def waits() -> None:
        with manual_clock():
            await asyncio.sleep(1)

    loop = VirtualTimeLoop(alone=True)
    task = loop.create_task(waits())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


async def test_a_clock_does_not_run_backwards() -> None:
    with manual_clock() as clock, pytest.raises(ValueError, match="backwards"):
        await clock.advance(-1)


def test_it_needs_a_loop_in_virtual_time(real_run: Run) -> None:
    async def in_real_time() -> None:
        with manual_clock():
            pass

    with pytest.raises(RuntimeError, match="real time"):
        real_run(in_real_time)
