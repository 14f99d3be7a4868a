from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd

COMPLETED = CallStatus.COMPLETED
FAILED = CallStatus.FAILED


@tool(effect="read")
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read")
def in_thread(number: int) -> int:
    return number


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


async def inner_timeout() -> str:
    try:
        async with asyncio.timeout(1):
            await asyncio.sleep(10)
    except TimeoutError:
        await asyncio.sleep(1)
        return "timed out"
    return "?"


async def inner_group() -> list[int]:
    async def one(number: int) -> int:
        await asyncio.sleep(number)
        return number

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(3)]
    return [task.result() for task in tasks]


async def inner_gather() -> int:
    return sum(await asyncio.gather(asyncio.sleep(2, 1), asyncio.sleep(1, 2)))


async def inner_thread() -> int:
    return await asyncio.to_thread(lambda: 5)


async def inner_queue() -> int:
    queue: asyncio.Queue[int] = asyncio.Queue()
    asyncio.get_running_loop().call_later(1, queue.put_nowait, 6)
    return await queue.get()


async def inner_yield() -> int:
    for _ in range(3):
        await asyncio.sleep(0)
    return 7


async def inner_failed_future() -> str:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.set_exception, KeyError("x"))
    try:
        await future
    except KeyError:
        return "caught"
    return "?"


async def inner_cancelled_task() -> str:
    task = asyncio.create_task(asyncio.sleep(10))
    asyncio.get_running_loop().call_later(1, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        return "caught"
    return "?"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (inner_timeout, "timed out"),
        (inner_group, [0, 1, 2]),
        (inner_gather, 3),
        (inner_thread, 5),
        (inner_queue, 6),
        (inner_yield, 7),
        (inner_failed_future, "caught"),
        (inner_cancelled_task, "caught"),
    ],
)
async def test_what_asyncio_offers_works_within_a_tool(
    body: Callable[[], Awaitable[Any]], value: Any, make_waves: Callable[[], Waves], work: Work
) -> None:
    task = asyncio.current_task()
    assert task is not None
    ends = await make_waves().run(work.call(body), sleep(1), work.call(body))
    assert [ends[0].value, ends[2].value] == [value, value]
    assert task.cancelling() == 0


async def test_a_timeout_within_a_tool_leaves_its_siblings_alone(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def body() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(10)

    ends = await make_waves().run(sleep(5), in_thread(1), work.call(body))
    assert statuses(ends) == [COMPLETED, COMPLETED, FAILED]
    assert isinstance(ends[2].exception, TimeoutError)


async def test_a_wave_runs_in_an_agent_that_is_being_cancelled(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    ends: list[CallEnd] = []
    counts: list[int] = []

    async def agent() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ends.extend(await waves.run(sleep(1), work.call(inner_timeout)))
            ends.extend(await waves.run(work.raising(asyncio.CancelledError())))
            counts.append(task.cancelling())

    task = asyncio.create_task(agent())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(ends) == [COMPLETED, COMPLETED, FAILED]
    assert counts == [1]
