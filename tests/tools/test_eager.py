"""Tasks that begin at once; what they have to be is what asyncio's own are."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.eager import begin_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.tools.conftest import Waves, Work

WHO: ContextVar[str] = ContextVar("who", default="nobody")


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return begin_task(work, asyncio.get_running_loop(), "c1")


async def test_what_has_nothing_to_wait_for_is_done_when_it_is_made() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("worked")

    task = begin(work())
    assert log == ["worked"]
    assert task.done()
    assert task not in asyncio.all_tasks()
    await task


async def test_it_is_the_current_task_from_its_first_step_to_its_last() -> None:
    seen: list[asyncio.Task[Any] | None] = []
    outer = asyncio.current_task()

    async def work() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(1)
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    task = begin(work())
    assert asyncio.current_task() is outer
    assert isinstance(task, asyncio.Task)
    assert task in asyncio.all_tasks()
    await task
    assert seen == [task] * 3
    assert task not in asyncio.all_tasks()


async def test_it_has_contextvars_of_its_own_that_begin_as_those_around_it() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append(WHO.get())
        WHO.set("work")
        await asyncio.sleep(1)
        seen.append(WHO.get())

    token = WHO.set("agent")
    task = begin(work())
    assert WHO.get() == "agent"
    WHO.reset(token)
    await task
    assert seen == ["agent", "work"]


async def test_its_name_and_coroutine_can_be_seen_by_who_looks_at_tasks() -> None:
    async def work() -> None:
        await asyncio.sleep(1)

    coroutine = work()
    task = begin(coroutine)
    assert task.get_name() == "c1"
    assert task.get_coro() is coroutine
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["work"]
    assert "c1" in repr(task)
    task.set_name(7)
    assert task.get_name() == "7"
    await task


@pytest.mark.parametrize("moment", ["first step", "waiting", "yielded"])
async def test_a_cancellation_reaches_the_coroutine_and_what_it_waits_for(moment: str) -> None:
    log: list[object] = []
    inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            if moment == "first step":
                current = asyncio.current_task()
                assert current is not None
                assert current.cancel("why")
                log.append(current.cancelling())
            if moment == "yielded":
                await asyncio.sleep(0)
            else:
                await inner
        except asyncio.CancelledError as error:
            log.append(error.args)
            raise

    task = begin(work())
    if moment != "first step":
        assert task.cancel("why")
        log.append(task.cancelling())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == [1, ("why",)]
    assert inner.cancelled() is (moment != "yielded")
    assert task.cancelled()
    assert not task.cancel()


async def test_a_cancellation_that_is_swallowed_is_taken_back_by_uncancel() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            assert (current.cancelling(), current.uncancel(), current.uncancel()) == (1, 0, 0)
            await asyncio.sleep(1)

    task = begin(work())
    task.cancel()
    await task
    assert not task.cancelled()


@pytest.mark.parametrize("steps", [0, 1])
async def test_what_is_raised_is_the_tasks_exception(steps: int) -> None:
    async def work() -> None:
        for _ in range(steps):
            await asyncio.sleep(1)
        raise ValueError("no")

    task = begin(work())
    with pytest.raises(ValueError, match="no"):
        await task


async def test_what_a_future_raises_is_raised_where_it_is_awaited() -> None:
    log: list[str] = []

    async def work(future: asyncio.Future[None]) -> None:
        try:
            await future
        except KeyError:
            log.append("caught")

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = begin(work(future))
    future.set_exception(KeyError("x"))
    await task
    assert log == ["caught"]


async def test_what_cannot_be_awaited_is_an_error_where_it_was() -> None:
    class Odd:
        def __await__(self) -> Any:
            yield "odd"

    async def on_itself() -> None:
        await mine[0]

    async def on_odd() -> None:
        await Odd()

    mine: list[asyncio.Task[None]] = []

    async def later() -> None:
        await asyncio.sleep(1)
        await on_itself()

    for work in (later, on_odd):
        task = begin(work())
        mine[:] = [task]
        with pytest.raises(RuntimeError, match=r"cannot wait|await|bad yield"):
            await task
    mine.clear()


async def test_a_task_that_has_ended_leaves_nothing_to_the_collector() -> None:
    class Kept:
        pass

    async def work(kept: Kept) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            del kept

    gc.collect()
    gc.disable()
    try:
        for cancels in (False, True):
            task = begin(work(Kept()))
            if cancels:
                task.cancel()
            await task
            del task
        assert not [one for one in gc.get_objects() if isinstance(one, Kept)]
    finally:
        gc.enable()


async def test_a_timeout_or_group_in_the_first_step_of_a_call_has_its_own_task_to_cancel(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    agent = asyncio.current_task()
    assert agent is not None

    async def timeout() -> str:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(100)
        except TimeoutError:
            return "timed out"
        return "?"

    async def group() -> str:
        async def fail() -> None:
            raise ValueError

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                await asyncio.sleep(100)
        except ExceptionGroup:
            return "failed"
        return "?"

    calls = [work.call(timeout), work.call(group), work.sleep(50)]
    ends = await make_waves().run(*calls)
    assert [end.value for end in ends] == ["timed out", "failed", "slept"]
    assert agent.cancelling() == 0


@pytest.mark.parametrize("waits", [False, True])
async def test_a_call_that_cancels_its_own_task_is_cut_off_in_whatever_step(
    waits: bool, make_waves: Callable[[], Waves], work: Work
) -> None:
    async def give_up() -> None:
        if waits:
            await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise asyncio.CancelledError

    ends = await make_waves().run(work.call(give_up, effect="read"), work.sleep(3))
    assert [end.status for end in ends] == [CallStatus.CANCELLED, CallStatus.COMPLETED]


async def test_calls_begin_in_their_order_and_before_the_wave_waits(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    log: list[str] = []

    def noting(name: str) -> Any:
        async def note() -> str:
            log.append(name)
            await asyncio.sleep(1)
            return name

        return work.call(note)

    waves = make_waves()
    prepared = waves.prepare(*map(noting, "abc"))
    waves.runner.begin(prepared)
    assert log == ["a", "b", "c"]
    await waves.runner.join()
    assert [one.end and one.end.status for one in prepared] == [CallStatus.COMPLETED] * 3
