from __future__ import annotations

import asyncio
import gc
import operator
import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pykka
import pytest
from loguru import logger

from wavebreak.actors.future import Future
from wavebreak.messages.errors import WouldDeadlock


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


# --- completing it ----------------------------------------------------------------------------


def test_a_value_can_be_got_as_often_as_one_likes() -> None:
    future = Future[int]()
    assert not future.done()
    future.set(1)
    assert future.done()
    assert [future.get(), future.get(timeout=0)] == [1, 1]


def test_it_is_set_once_only_as_in_pykka() -> None:
    future = Future[int]()
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_error(ValueError())
    with pytest.raises(queue.Full):
        future.set_exception((ValueError, ValueError(), None))
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda timeout: 2)
    assert future.get() == 1


def test_trying_to_set_says_whether_it_was_the_first() -> None:
    future = Future[int]()
    assert future.try_set(1)
    assert not future.try_set(2)
    assert not future.try_set_error(ValueError())
    assert future.get() == 1
    failed = Future[int]()
    assert failed.try_set_error(ValueError("first"))
    assert not failed.try_set(1)
    with pytest.raises(ValueError, match="first"):
        failed.get()


def test_the_exception_being_handled_is_set_when_none_is_named() -> None:
    future = Future[int]()
    try:
        os.environ["NO_SUCH_KEY"]
    except KeyError:
        future.set_exception()
    assert isinstance(future.error(), KeyError)
    with pytest.raises(KeyError, match="NO_SUCH_KEY"):
        future.get()


def test_no_exception_at_all_cannot_be_set() -> None:
    with pytest.raises(TypeError, match="set_error"):
        Future[int]().set_exception()


def test_an_exception_class_alone_is_made_an_exception() -> None:
    future = Future[int]()
    future.set_exception((KeyError, None, None))
    with pytest.raises(KeyError):
        future.get()


def test_an_error_is_looked_at_without_being_raised() -> None:
    future = Future[int]()
    assert future.error() is None
    assert Future.completed(1).error() is None
    error = ValueError()
    assert Future.failed(error).error() is error


def test_the_traceback_does_not_grow_with_each_waiter() -> None:
    def length(error: BaseException) -> int:
        count, traceback = 0, error.__traceback__
        while traceback is not None:
            count, traceback = count + 1, traceback.tb_next
        return count

    future = Future.failed(KeyError())
    lengths: list[int] = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            future.get()
        lengths.append(length(caught.value))
    assert lengths == [lengths[0]] * 3


def test_its_repr_says_what_it_came_to() -> None:
    assert repr(Future[int]()) == "<Future pending>"
    assert repr(Future.completed(1)) == "<Future 1>"
    assert repr(Future.failed(KeyError("k"))) == "<Future KeyError('k')>"


async def test_an_error_that_nobody_asks_for_is_not_complained_about() -> None:
    future = Future[int](asyncio.get_running_loop())
    future.set_error(ValueError())
    mapped = future.map(str)
    del future, mapped
    gc.collect()  # the leak check would see a report to the loop


# --- callbacks --------------------------------------------------------------------------------


def test_callbacks_are_called_by_the_thread_that_completes_it() -> None:
    future = Future[int]()
    seen: list[tuple[object, int]] = []
    future.add_done_callback(lambda done: seen.append((done, threading.get_ident())))
    setter: list[int] = []

    def work() -> None:
        setter.append(threading.get_ident())
        future.set(1)

    in_thread(work)
    assert seen == [(future, setter[0])]


def test_a_callback_on_a_done_future_is_called_at_once() -> None:
    seen: list[int] = []
    Future.completed(1).add_done_callback(lambda done: seen.append(done.get()))
    assert seen == [1]


def test_a_callback_that_raises_ends_neither_the_setter_nor_the_others() -> None:
    future = Future[int]()
    seen: list[int] = []

    def leave(_done: Future[int]) -> None:
        raise SystemExit

    future.add_done_callback(leave)
    future.add_done_callback(lambda done: seen.append(done.get()))
    future.set(1)
    assert seen == [1]


def test_a_callback_can_be_taken_back_until_it_was_called() -> None:
    future = Future[int]()
    seen: list[object] = []
    future.add_done_callback(seen.append)
    assert future.remove_done_callback(seen.append)
    assert not future.remove_done_callback(seen.append)
    future.set(1)
    assert seen == []
    assert not future.remove_done_callback(seen.append)


# --- awaiting it ------------------------------------------------------------------------------


async def test_it_is_awaited_natively() -> None:
    future = Future[int](asyncio.get_running_loop())
    asyncio.get_running_loop().call_soon(future.set, 1)
    assert await future == 1
    assert await future == 1


async def test_an_awaited_error_is_raised() -> None:
    with pytest.raises(ValueError, match="why"):
        await Future.failed(ValueError("why"))


async def test_several_may_await_it_and_cancelling_one_cancels_nothing() -> None:
    future = Future[int](asyncio.get_running_loop())

    async def wait() -> int:
        return await future

    one, two = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    assert one.cancelled()
    assert not future.done()
    future.set(1)
    assert await two == 1
    assert future.get() == 1


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    future = Future[int](asyncio.get_running_loop())
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 1.0)
    assert not future._callbacks


async def test_a_waiter_may_be_cancelled_in_the_tick_in_which_the_value_comes() -> None:
    future = Future[int](asyncio.get_running_loop())

    async def wait() -> int:
        return await future

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    future.set(1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_waiter_may_be_cancelled_while_the_value_is_on_its_way_from_a_thread() -> None:
    future = Future[int](asyncio.get_running_loop())

    async def wait() -> int:
        return await future

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    in_thread(lambda: future.set(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await future == 1


async def test_another_thread_may_complete_what_is_awaited() -> None:
    future = Future[int](asyncio.get_running_loop())
    results = await asyncio.gather(future, asyncio.to_thread(future.set, 1))
    assert results[0] == 1


def test_it_is_awaited_from_any_loop_whichever_completes_it() -> None:
    future = Future[int]()
    waits = threading.Event()
    got: list[int] = []

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(waits.set)
        got.append(await future)

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()

    async def complete() -> None:
        await asyncio.to_thread(waits.wait)
        future.set(1)

    asyncio.run(complete())
    thread.join()
    assert got == [1]


def test_completing_it_when_the_loop_of_a_waiter_is_closed_does_no_harm() -> None:
    future = Future[int]()
    loop = asyncio.new_event_loop()

    async def wait() -> int:
        return await future

    loop.set_exception_handler(lambda loop, context: None)
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    lines: list[str] = []
    logger.enable("wavebreak")
    sink = logger.add(lines.append)
    future.set(1)
    logger.remove(sink)
    logger.disable("wavebreak")
    assert lines == []
    assert not task.done()


def note_waiting(monkeypatch: pytest.MonkeyPatch, seconds: float) -> threading.Event:
    """Have an event set when a thread begins to wait, which looks again after ``seconds``."""
    waits = threading.Event()

    def note(_deadline: float | None) -> float:
        waits.set()
        return seconds

    monkeypatch.setattr("wavebreak.actors.future._slice", note)
    return waits


# --- getting it from a thread -----------------------------------------------------------------


@pytest.mark.real_time
async def test_a_thread_gets_what_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    future = Future[int](asyncio.get_running_loop())
    waits = note_waiting(monkeypatch, 5.0)
    thread = asyncio.create_task(asyncio.to_thread(future.get))
    await asyncio.to_thread(waits.wait)
    future.set(1)
    assert await thread == 1


def test_a_thread_gives_up_after_its_timeout_and_cancels_nothing() -> None:
    future = Future[int]()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.01)
    assert not future._callbacks
    future.set(1)
    assert future.get(timeout=0) == 1


@pytest.mark.parametrize("seconds", [None, 0, 10.0])
async def test_get_on_the_loops_own_thread_raises_at_once(seconds: float | None) -> None:
    for loop in (asyncio.get_running_loop(), None):
        future = Future[int](loop)
        with pytest.raises(WouldDeadlock, match="await"):
            future.get(timeout=seconds)
        future.set(1)
        assert future.get() == 1


@pytest.mark.real_time
async def test_a_thread_that_waits_for_a_closed_loop_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = note_waiting(monkeypatch, 0.005)
    loop = asyncio.new_event_loop()
    future = Future[int](loop)
    thread = asyncio.create_task(asyncio.to_thread(future.get))
    await asyncio.to_thread(waits.wait)
    loop.close()
    with pytest.raises(pykka.ActorDeadError, match="closed"):
        await thread


# --- deriving from it -------------------------------------------------------------------------


async def test_map_filter_and_reduce_work_on_the_loop_without_blocking_it() -> None:
    numbers = Future[Iterable[int]](asyncio.get_running_loop())
    derived: list[Future[Any]] = [
        numbers.map(sum),
        numbers.filter(lambda n: n > 1),
        numbers.reduce(operator.mul),
        numbers.reduce(operator.mul, 10),
    ]
    assert not any(future.done() for future in derived)
    numbers.set([1, 2, 3])
    assert [await future for future in derived] == [6, [2, 3], 6, 60]


async def test_what_a_mapping_raises_is_the_error_of_the_new_future_only() -> None:
    numbers = Future.completed(1)
    with pytest.raises(ZeroDivisionError):
        await numbers.map(lambda n: n / 0)
    assert await numbers == 1
    with pytest.raises(TypeError):
        await numbers.map(lambda n: n).filter(bool)  # type: ignore[misc]


async def test_an_error_passes_through_a_mapping() -> None:
    future = Future[int](asyncio.get_running_loop())
    mapped = future.map(str).map(str)
    future.set_error(ValueError("why"))
    with pytest.raises(ValueError, match="why"):
        await mapped


async def test_join_gives_the_values_in_order_whatever_the_order_they_come_in() -> None:
    futures = [Future[int](asyncio.get_running_loop()) for _ in range(3)]
    joined = futures[0].join(*futures[1:])
    for n in (2, 0, 1):
        assert not joined.done()
        futures[n].set(n)
    assert await joined == [0, 1, 2]


async def test_join_fails_with_the_first_error_in_order_as_in_pykka() -> None:
    futures = [Future[int](asyncio.get_running_loop()) for _ in range(3)]
    joined = futures[0].join(*futures[1:])
    futures[1].set_error(ValueError("one"))
    assert not joined.done()
    futures[0].set(0)
    with pytest.raises(ValueError, match="one"):
        await joined


async def test_very_many_are_joined() -> None:
    first = Future[int](asyncio.get_running_loop())
    joined = first.join(*(Future.completed(n) for n in range(5000)))
    first.set(-1)
    assert await joined == list(range(-1, 5000))


def test_pykkas_get_all_takes_ours() -> None:
    assert pykka.get_all([Future.completed(1), Future.completed(2)]) == [1, 2]


# --- hooks, and futures of other kinds --------------------------------------------------------


def test_a_get_hook_is_called_by_get_with_the_timeout_and_once() -> None:
    future = Future[float | None]()
    calls: list[float | None] = []

    def hook(timeout: float | None) -> float | None:
        calls.append(timeout)
        return timeout

    future.set_get_hook(hook)
    assert not future.done()
    assert not future.try_set(5.0)
    assert [future.get(timeout=3.0), future.get()] == [3.0, 3.0]
    assert calls == [3.0]


def test_a_get_hook_that_times_out_can_be_tried_again() -> None:
    future = Future[int]()
    results: list[BaseException | int] = [pykka.Timeout(), 7]

    def hook(timeout: float | None) -> int:
        del timeout
        result = results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    future.set_get_hook(hook)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    assert future.get() == 7


async def test_a_get_hook_never_runs_on_the_loop() -> None:
    future = Future[int](asyncio.get_running_loop())
    future.set_get_hook(lambda timeout: threading.get_ident())
    with pytest.raises(WouldDeadlock):
        future.get()
    assert await future != threading.get_ident()
    assert await future == future.get()


async def test_a_get_hook_that_is_set_late_serves_those_who_wait_already() -> None:
    future = Future[int](asyncio.get_running_loop())
    mapped = future.map(lambda n: n + 1)
    future.set_get_hook(lambda timeout: 1)
    assert await mapped == 2


async def test_what_a_get_hook_raises_is_raised_by_await() -> None:
    future = Future[int]()

    def hook(timeout: float | None) -> int:
        raise ValueError("hook")

    future.set_get_hook(hook)
    with pytest.raises(ValueError, match="hook"):
        await future


async def test_a_foreign_pykka_future_is_bridged_by_a_thread() -> None:
    foreign = pykka.ThreadingFuture[int]()
    future = Future.bridge(foreign, asyncio.get_running_loop())
    with pytest.raises(WouldDeadlock):
        future.get()
    ticks = 0
    for _ in range(3):
        await asyncio.sleep(0)
        ticks += 1
    assert (ticks, future.done()) == (3, False)
    foreign.set(1)
    assert await future == 1


async def test_the_error_of_a_foreign_future_comes_over_the_bridge() -> None:
    foreign = pykka.ThreadingFuture[int]()
    foreign.set_exception((ValueError, ValueError("foreign"), None))
    with pytest.raises(ValueError, match="foreign"):
        await Future.bridge(foreign)


def test_one_of_ours_needs_no_bridge() -> None:
    future: pykka.Future[int] = Future[int]()
    assert Future.bridge(future) is future


async def test_join_takes_foreign_futures_and_does_not_block() -> None:
    foreign = pykka.ThreadingFuture[int]()
    joined: Future[Any] = Future.completed(1, asyncio.get_running_loop()).join(foreign)
    await asyncio.sleep(0)
    assert not joined.done()
    foreign.set(2)
    assert await joined == [1, 2]


def test_a_foreign_future_joins_ours() -> None:
    foreign = pykka.ThreadingFuture[int]()
    foreign.set(1)
    assert foreign.join(Future.completed(2)).get(timeout=1) == [1, 2]


# --- races ------------------------------------------------------------------------------------


def note(values: list[int]) -> Callable[[Future[int]], None]:
    return lambda done: values.append(done.get())


def test_of_many_threads_that_set_it_exactly_one_succeeds() -> None:
    for _ in range(20):
        future = Future[int]()
        begin = threading.Barrier(4)
        won: list[int] = []
        called: list[int] = []
        future.add_done_callback(note(called))

        def work(
            n: int,
            future: Future[int] = future,
            begin: threading.Barrier = begin,
            won: list[int] = won,
        ) -> None:
            begin.wait()
            if future.try_set(n):
                won.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert called == won
        assert future.get() == won[0]


@pytest.mark.real_time
async def test_no_waiter_is_forgotten_however_it_races_with_the_value() -> None:
    loop = asyncio.get_running_loop()

    async def wait(future: Future[int]) -> int:
        return await future

    for _ in range(30):
        future = Future[int](loop)
        begin = threading.Barrier(3)

        def complete(future: Future[int] = future, begin: threading.Barrier = begin) -> None:
            begin.wait()
            future.set(1)

        def get(future: Future[int] = future, begin: threading.Barrier = begin) -> int:
            begin.wait()
            return future.get(timeout=5)

        jobs = [asyncio.to_thread(job) for job in (complete, get, get)]
        results = await asyncio.gather(wait(future), *jobs)
        assert results == [1, None, 1, 1]
