from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd

COMPLETED = CallStatus.COMPLETED
SKIPPED = CallStatus.SKIPPED


@tool(effect="read")
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read")
def in_thread(number: int) -> int:
    return number


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


async def test_a_call_is_not_started_before_its_gate_is_done(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    gate: asyncio.Future[None] = loop.create_future()
    started: list[float] = []

    async def body() -> None:
        started.append(loop.time() - begin)

    def in_a_thread() -> None:
        started.append(loop.time() - begin)

    prepared = waves.prepare(work.call(body), work.blocking_call(in_a_thread), gate=gate)
    prepared += waves.prepare(work.call(body))
    loop.call_later(4, gate.set_result, None)
    ends = await waves.runner.run(prepared)
    assert statuses(ends) == [COMPLETED] * 3
    assert started == [0, 4, 4]


async def test_a_gate_that_is_done_holds_nothing_and_the_call_may_run_inline(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    agent = asyncio.current_task()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gate.set_result(None)

    async def is_inline() -> bool:
        return asyncio.current_task() is agent

    prepared = waves.prepare(work.call(is_inline), work.call(is_inline), gate=gate)
    assert [end.value for end in await waves.runner.run(prepared)] == [False, True]


@pytest.mark.parametrize("is_done_before", [True, False])
async def test_an_error_in_the_gate_skips_the_call(
    is_done_before: bool, make_waves: Callable[[], Waves]
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    error = OSError("disk is full")
    broken: asyncio.Future[None] = loop.create_future()
    cancelled: asyncio.Future[None] = loop.create_future()
    if is_done_before:
        broken.set_exception(error)
        cancelled.cancel()
    else:
        loop.call_later(1, broken.set_exception, error)
        loop.call_later(1, cancelled.cancel)
    prepared = waves.prepare(sleep(1), in_thread(1), gate=broken)
    prepared += waves.prepare(sleep(1), gate=cancelled)
    prepared += waves.prepare(sleep(2))
    ends = await waves.runner.run(prepared)
    assert statuses(ends) == [SKIPPED, SKIPPED, SKIPPED, COMPLETED]
    assert ends[0].exception is error
    assert ends[0].error is not None
    assert ends[0].error.message == "disk is full"


async def test_an_error_in_the_gate_of_the_only_call_skips_it_too(
    make_waves: Callable[[], Waves],
) -> None:
    waves = make_waves()
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    broken.set_exception(OSError("disk is full"))
    assert statuses(await waves.runner.run(waves.prepare(sleep(1), gate=broken))) == [SKIPPED]
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    assert statuses(await waves.runner.run(waves.prepare(sleep(1), gate=cancelled))) == [SKIPPED]
