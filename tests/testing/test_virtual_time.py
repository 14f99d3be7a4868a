from __future__ import annotations

import asyncio
import multiprocessing
import os
import selectors
import signal
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from wavebreak.testing import Deadlock, QuietEvent, VirtualTimeLoop, run
from wavebreak.testing.thread_work import WorkCount

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def now() -> float:
    return asyncio.get_running_loop().time()


def virtual_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def test_a_long_sleep_takes_its_virtual_time_and_no_real_one() -> None:
    began, real = now(), time.monotonic()
    await asyncio.sleep(3600)
    assert now() - began == 3600
    assert time.monotonic() - real < 1


async def test_timers_fire_in_the_order_of_their_times() -> None:
    fired: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_later(3, fired.append, "three")
    loop.call_later(1, fired.append, "one")
    loop.call_later(2, fired.append, "two")
    await asyncio.sleep(4)
    assert fired == ["one", "two", "three"]


async def test_time_does_not_pass_while_something_is_ready() -> None:
    began = now()
    asyncio.get_running_loop().call_later(1, lambda: None)
    for _ in range(100):
        await asyncio.sleep(0)
    assert now() == began


async def test_a_timeout_ends_a_wait_that_nobody_ends() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 30)


def test_the_clock_starts_where_it_is_told_to() -> None:
    async def main() -> float:
        return now()

    assert run(main(), start=50.0) == 50.0


async def test_the_clock_can_be_pushed_on_by_hand() -> None:
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(10, fired.set)
    virtual_loop().advance(10)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fired.is_set()


async def test_the_clock_cannot_be_pushed_back() -> None:
    with pytest.raises(ValueError, match="backwards"):
        virtual_loop().advance(-1)


async def test_the_clock_stands_while_a_thread_works() -> None:
    go = threading.Event()
    ticks: list[float] = []
    asyncio.get_running_loop().call_later(1, lambda: ticks.append(now()))
    began = now()
    job = asyncio.get_running_loop().run_in_executor(None, go.wait, 2)
    # A foreign thread lets it go, for on the loop nothing is to move meanwhile.
    timer = threading.Timer(0.03, go.set)
    timer.start()
    assert await job
    assert now() == began
    assert ticks == []
    timer.join()


async def test_the_clock_stands_while_a_thread_of_a_foreign_pool_works() -> None:
    with ThreadPoolExecutor(1) as pool:
        began = now()
        asyncio.get_running_loop().call_later(1, lambda: None)
        for _ in range(20):
            await asyncio.get_running_loop().run_in_executor(pool, sum, range(1000))
        assert now() == began


async def test_a_thread_counts_until_its_end_though_nobody_waits_for_it() -> None:
    go, went = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(2)
        went.set()

    job = asyncio.get_running_loop().run_in_executor(None, work)
    await asyncio.sleep(0)
    job.cancel()
    timer = threading.Timer(0.03, go.set)
    timer.start()
    await asyncio.sleep(10)
    assert went.is_set()
    timer.join()


async def test_a_call_that_is_cancelled_before_a_thread_took_it_counts_no_more() -> None:
    gate = QuietEvent()
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(pool, gate.wait)
        second = loop.run_in_executor(pool, gate.wait)
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.sleep(1)
        # Else the loop would look in vain for a thread that takes it up, in real time.
        assert virtual_loop().thread_work.queued == 0
        gate.set()
        assert await first


async def test_what_a_thread_raises_reaches_the_waiter() -> None:
    def work() -> None:
        message = "no room"
        raise LookupError(message)

    with pytest.raises(LookupError, match="no room"):
        await asyncio.to_thread(work)


async def test_time_passes_while_a_thread_is_held_by_a_quiet_event() -> None:
    gate = QuietEvent()

    def work() -> bool:
        # Long enough for the loop to stand still, and to have to be told that it need not.
        threading.Event().wait(0.01)
        return gate.wait()

    job = asyncio.create_task(asyncio.to_thread(work))
    began = now()
    await asyncio.sleep(30)
    assert now() == began + 30
    assert not job.done()
    gate.set()
    assert await job


async def test_a_thread_works_again_from_the_moment_its_quiet_event_is_set() -> None:
    gate = QuietEvent()
    seen: list[str] = []

    def work() -> None:
        gate.wait()
        # Hands the processor over, so that a loop that did not wait would run on.
        threading.Event().wait(0.01)
        seen.append("thread")

    job = asyncio.create_task(asyncio.to_thread(work))
    await asyncio.sleep(1)
    asyncio.get_running_loop().call_later(1, seen.append, "timer")
    gate.set()
    await asyncio.sleep(2)
    assert seen == ["thread", "timer"]
    await job


async def test_time_passes_when_every_thread_of_a_pool_is_held_and_more_waits_behind() -> None:
    gate = QuietEvent()
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(pool, gate.wait) for _ in range(3)]
        began = now()
        await asyncio.sleep(30)
        assert now() == began + 30
        gate.set()
        assert await asyncio.gather(*jobs) == [True] * 3


async def test_a_quiet_event_that_is_not_set_in_time_says_so() -> None:
    gate = QuietEvent()
    assert not await asyncio.to_thread(gate.wait, 0.01)
    assert not gate.is_set()
    gate.set()
    assert gate.is_set()
    assert await asyncio.to_thread(gate.wait)


def test_a_quiet_event_is_a_plain_event_for_other_threads() -> None:
    gate = QuietEvent()
    assert not gate.wait(0)
    threading.Timer(0.01, gate.set).start()
    assert gate.wait(2)


class LookedAt(WorkCount):
    """Has a thread take its work up at the moment at which the loop looks how many work."""

    take_up: Callable[[], None] | None = None

    @property
    def running(self) -> int:
        take_up, self.take_up = self.take_up, None
        found = self._running
        if take_up is not None:
            thread = threading.Thread(target=take_up)
            thread.start()
            thread.join(0.1)  # it may have to wait until the loop has looked at all
        return found

    @running.setter
    def running(self, value: int) -> None:
        self._running = value


class Handed(Executor):
    """Has work taken up when it is told to."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Keep it."""
        future: Future[T] = Future()
        self.take_up = lambda: future.set_result(fn(*args, **kwargs))
        return future


def test_the_clock_stands_in_the_moment_in_which_a_thread_takes_its_work_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wavebreak.testing.virtual_time.WorkCount", LookedAt)

    async def main() -> float:
        loop, pool = virtual_loop(), Handed()
        timer = loop.call_later(1000, lambda: None)
        done = loop.run_in_executor(pool, threading.Event().wait, 0.05)
        assert isinstance(loop.thread_work, LookedAt)
        loop.thread_work.take_up = pool.take_up
        await done
        timer.cancel()
        return loop.time() - loop.start

    assert run(main()) == 0.0


def test_a_wait_that_nothing_can_end_is_a_deadlock_that_names_the_waiter() -> None:
    async def main() -> None:
        asyncio.current_task().set_name("the one that waits")  # type: ignore[union-attr]
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="the one that waits"):
        run(main(), stuck_after=0.02)


def test_a_thread_without_an_end_is_a_deadlock_that_tells_of_threads() -> None:
    go = threading.Event()

    async def main() -> None:
        try:
            await asyncio.to_thread(go.wait, 2)
        finally:
            go.set()

    with pytest.raises(Deadlock, match="1 threads work without an end"):
        run(main(), stuck_after=0.02)


def on_a_foreign_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_foreign_thread_can_wake_a_loop_on_which_nothing_is_scheduled() -> None:
    async def main() -> None:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = on_a_foreign_thread(lambda: loop.call_soon_threadsafe(woken.set))
        await woken.wait()
        thread.join()

    run(main())


async def test_the_clock_stands_while_a_foreign_thread_says_that_it_is_busy() -> None:
    loop, entered, go = virtual_loop(), threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        with loop.busy():
            entered.set()
            go.wait(2)
            ended.append("foreign")

    thread = on_a_foreign_thread(work)
    entered.wait(2)
    timer = threading.Timer(0.02, go.set)
    timer.start()
    await asyncio.sleep(5)
    assert ended == ["foreign"]
    thread.join()
    timer.join()


def test_an_executor_is_shut_down_without_virtual_time_running_out() -> None:
    ended: list[str] = []

    def work() -> None:
        threading.Event().wait(0.02)
        ended.append("thread")

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)

    run(main())
    assert ended == ["thread"]


def test_an_error_of_the_coroutine_comes_out() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        message = "as it was raised"
        raise KeyError(message)

    with pytest.raises(KeyError, match="as it was raised"):
        run(main())


async def test_nobody_waits_in_real_time_for_a_thread_of_a_pool_that_has_none_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float | None] = []
    select = selectors.DefaultSelector.select

    def noted(self: selectors.DefaultSelector, timeout: float | None = None) -> Any:
        waits.append(timeout)
        return select(self, timeout)

    parked, gate = asyncio.Event(), QuietEvent()
    loop = asyncio.get_running_loop()

    def work() -> bool:
        loop.call_soon_threadsafe(parked.set)
        return gate.wait()

    with ThreadPoolExecutor(1) as pool:
        jobs = [loop.run_in_executor(pool, work)]
        await parked.wait()
        await asyncio.sleep(1)
        monkeypatch.setattr(selectors.DefaultSelector, "select", noted)
        jobs.append(loop.run_in_executor(pool, gate.wait))
        await asyncio.sleep(30)
        monkeypatch.undo()
        assert set(waits) == {0}
        gate.set()
        assert await asyncio.gather(*jobs) == [True, True]


async def test_what_threads_do_is_told() -> None:
    gate, loop = QuietEvent(), virtual_loop()
    job = loop.run_in_executor(None, gate.wait)
    await asyncio.sleep(1)
    assert not loop.threads_work, "it is parked"
    gate.set()
    assert loop.threads_work
    assert await job
    await asyncio.sleep(1)
    assert not loop.threads_work


def test_a_signal_reaches_a_loop_in_virtual_time() -> None:
    async def main() -> bool:
        got, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            return await asyncio.wait_for(got.wait(), 5)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    assert run(main())


def test_a_loop_of_its_own_runs_in_a_thread_of_another() -> None:
    async def main() -> str:
        return await asyncio.to_thread(lambda: run(asyncio.sleep(1000, "done")))

    assert run(main()) == "done"


@pytest.mark.slow
async def test_the_clock_stands_for_another_program_while_the_loop_is_told_to_be_busy() -> None:
    with virtual_loop().busy():
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(1)", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(program.communicate(), 1)
    assert out.strip() == b"1"


@pytest.mark.slow
async def test_the_clock_stands_while_another_process_works() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        began = now()
        asyncio.get_running_loop().call_later(1, lambda: None)
        job = asyncio.get_running_loop().run_in_executor(pool, sum, (1, 2))
        assert await asyncio.wait_for(job, 10) == 3
        assert now() == began
