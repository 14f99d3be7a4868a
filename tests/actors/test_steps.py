from __future__ import annotations

import asyncio
import contextvars
import gc

import pykka
import pytest

from wavebreak.actors.future import Future
from wavebreak.actors.steps import Step, begin, call, is_awaitable


class Log:
    """Takes what a step came to, and may give a next one."""

    def __init__(self) -> None:
        self.results: list[object] = []
        self.next: list[Step] = []
        self.ended = 0

    def then(self, result: object, error: BaseException | None) -> Step | None:
        self.results.append(type(error) if error is not None else result)
        return self.next.pop(0) if self.next else None

    def end(self) -> None:
        self.ended += 1


def start(step: Step, log: Log) -> asyncio.Task[None]:
    return begin(
        step,
        log.end,
        loop=asyncio.get_running_loop(),
        context=contextvars.copy_context(),
        name="test",
    )


async def give(value: object) -> object:
    await asyncio.sleep(0)
    return value


async def fail(error: BaseException) -> object:
    raise error


def test_a_plain_function_goes_on_at_once() -> None:
    log = Log()
    assert call(lambda: 1, log.then) is None
    assert log.results == [1]


def test_whatever_a_function_raises_is_told_and_not_raised() -> None:
    log = Log()

    def leave() -> None:
        raise SystemExit

    assert call(leave, log.then) is None
    assert log.results == [SystemExit]


async def test_a_coroutine_makes_a_step_that_a_task_takes() -> None:
    log = Log()
    step = call(lambda: give(1), log.then)
    assert step is not None
    assert log.results == []
    await start(step, log)
    assert log.results == [1]
    assert log.ended == 1


async def test_steps_follow_each_other_in_one_task() -> None:
    log = Log()
    log.next = [(give(2), log.then), (fail(KeyboardInterrupt()), log.then), (give(4), log.then)]
    await start((give(1), log.then), log)
    assert log.results == [1, 2, KeyboardInterrupt, 4]
    assert log.ended == 1


async def test_a_task_that_is_cancelled_before_its_first_turn_still_tells() -> None:
    log = Log()
    task = start((give(1), log.then), log)
    task.cancel()
    await task
    assert log.results == [asyncio.CancelledError]
    assert log.ended == 1


async def test_a_task_that_is_cancelled_while_it_waits_tells_and_goes_on() -> None:
    log = Log()
    log.next = [(give(2), log.then)]
    task = start((asyncio.Event().wait(), log.then), log)
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert log.results == [asyncio.CancelledError, 2]


def test_a_task_whose_loop_was_closed_tells_and_awaits_nothing_more() -> None:
    log = Log()
    log.next = [(give(2), log.then), (give(3), log.then)]
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # that the task is destroyed
    task = begin(
        (loop.create_future(), log.then),
        log.end,
        loop=loop,
        context=contextvars.copy_context(),
        name="test",
    )
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task, loop
    gc.collect()
    assert log.results == [GeneratorExit] * 3
    assert log.ended == 0


async def test_the_context_may_be_entered_while_the_task_is_made() -> None:
    context = contextvars.copy_context()
    variable = contextvars.ContextVar("variable", default=0)
    log = Log()

    async def look() -> int:
        return variable.get()

    def inside() -> asyncio.Task[None]:
        variable.set(7)
        return begin(
            (look(), log.then),
            log.end,
            loop=asyncio.get_running_loop(),
            context=context,
            name="test",
        )

    await context.run(inside)
    assert log.results == [7]


@pytest.mark.parametrize("value", [None, 0, "text", [], object()])
def test_plain_values_are_not_awaited(value: object) -> None:
    assert not is_awaitable(value)


async def test_coroutines_and_asyncio_futures_are_awaited_but_pykka_futures_are_values() -> None:
    coroutine = give(1)
    assert is_awaitable(coroutine)
    assert await coroutine == 1
    assert is_awaitable(asyncio.get_running_loop().create_future())
    assert not is_awaitable(pykka.ThreadingFuture[int]())
    assert not is_awaitable(Future[int]())
