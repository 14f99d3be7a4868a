from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from functools import partial

import pytest

from wavebreak.messages.errors import SystemClosed
from wavebreak.testing import QuietEvent
from wavebreak.tools.execution import BlockingJob, Outcome
from wavebreak.tools.threads import DaemonPool, WorkerThreads

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def until_running(threads: WorkerThreads, count: int) -> None:
    while threads.running != count:
        await asyncio.sleep(0.001)


async def test_a_function_runs_in_a_thread_with_the_given_contextvars() -> None:
    threads = WorkerThreads(2)
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "set")
    here = threading.current_thread()

    def work() -> tuple[str, bool]:
        return VARIABLE.get(), threading.current_thread() is here

    loop = asyncio.get_running_loop()
    assert await threads.submit(loop, context, work) == ("set", False)
    assert VARIABLE.get() == "unset"
    threads.close()


async def test_no_thread_is_made_before_one_is_needed() -> None:
    before = threading.active_count()
    threads = WorkerThreads(4)
    assert threading.active_count() == before
    assert threads.running == 0
    threads.close()


async def test_threads_are_used_again_and_never_more_than_the_size() -> None:
    threads = WorkerThreads(2)
    loop = asyncio.get_running_loop()
    names: set[str] = set()
    most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal most
        with lock:
            names.add(threading.current_thread().name)
            most = max(most, threads.running)

    await asyncio.gather(
        *(threads.submit(loop, contextvars.copy_context(), work) for _ in range(20))
    )
    assert 1 <= len(names) <= 2
    assert most <= 2
    threads.close()


async def test_what_comes_beyond_the_size_waits_its_turn() -> None:
    threads = WorkerThreads(1)
    loop = asyncio.get_running_loop()
    go = QuietEvent()
    order: list[str] = []

    def first() -> None:
        go.wait(5)
        order.append("first")

    one = threads.submit(loop, contextvars.copy_context(), first)
    two = threads.submit(loop, contextvars.copy_context(), partial(order.append, "second"))
    await until_running(threads, 1)
    assert not two.done()
    go.set()
    await asyncio.gather(one, two)
    assert order == ["first", "second"]
    threads.close()


async def test_blocked_threads_up_to_the_size_less_one_delay_nobody() -> None:
    threads = WorkerThreads(4)
    loop = asyncio.get_running_loop()
    go = QuietEvent()
    blocked = [
        threads.submit(loop, contextvars.copy_context(), partial(go.wait, 5)) for _ in range(3)
    ]
    await until_running(threads, 3)
    for number in range(10):
        assert (
            await threads.submit(loop, contextvars.copy_context(), partial(abs, number)) == number
        )
    assert not any(future.done() for future in blocked)
    go.set()
    await asyncio.gather(*blocked)
    threads.close()


async def test_a_burst_makes_as_many_threads_as_it_needs() -> None:
    threads = WorkerThreads(2)
    loop = asyncio.get_running_loop()
    await threads.submit(loop, contextvars.copy_context(), partial(abs, 1))
    await until_running(threads, 0)
    meet = threading.Barrier(2)  # each of the two needs the other to go on
    jobs = [threads.submit(loop, contextvars.copy_context(), partial(meet.wait, 5)) for _ in "ab"]
    assert sorted(await asyncio.gather(*jobs)) == [0, 1]
    threads.close()


async def test_an_error_reaches_who_waits() -> None:
    threads = WorkerThreads(1)

    def work() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await threads.submit(asyncio.get_running_loop(), contextvars.copy_context(), work)
    threads.close()


async def test_closed_threads_take_nothing_and_do_not_wait_for_blocked_ones() -> None:
    threads = WorkerThreads(2)
    loop = asyncio.get_running_loop()
    go = QuietEvent()
    ran: list[int] = []
    blocked = threads.submit(loop, contextvars.copy_context(), partial(go.wait, 5))
    other = threads.submit(loop, contextvars.copy_context(), partial(go.wait, 5))
    queued = threads.submit(loop, contextvars.copy_context(), partial(ran.append, 1))
    await until_running(threads, 2)
    threads.close()
    await asyncio.gather(blocked, other, queued, return_exceptions=True)
    assert blocked.cancelled()
    assert queued.cancelled()
    with pytest.raises(SystemClosed, match="worker threads are closed"):
        threads.submit(loop, contextvars.copy_context(), partial(go.wait, 5))
    go.set()
    await until_running(threads, 0)
    assert ran == []


async def test_closing_ends_the_idle_threads() -> None:
    before = threading.active_count()
    threads = WorkerThreads(2)
    loop = asyncio.get_running_loop()
    await threads.submit(loop, contextvars.copy_context(), lambda: None)
    await until_running(threads, 0)
    assert threading.active_count() == before + 1
    threads.close()
    threads.close()
    assert threading.active_count() == before


def test_closing_after_the_loop_is_closed_is_harmless() -> None:
    threads = WorkerThreads(1)

    async def main() -> None:
        await threads.submit(asyncio.get_running_loop(), contextvars.copy_context(), lambda: None)

    asyncio.run(main())
    threads.close()


def test_a_pool_needs_a_thread() -> None:
    with pytest.raises(ValueError, match="size=0: a pool needs at least one thread"):
        WorkerThreads(0)


def test_when_the_machine_has_no_thread_at_all_the_job_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = DaemonPool(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: 1)
    assert pool.submit(lambda: 2).result(5) == 2
    pool.shutdown()


@pytest.mark.slow
def test_a_blocked_thread_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, contextvars, threading
from wavebreak.tools.execution import BlockingJob, Outcome
from wavebreak.tools.threads import WorkerThreads
async def main():
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    def hang():
        loop.call_soon_threadsafe(started.set)
        threading.Event().wait()
    threads = WorkerThreads(1)
    threads.submit(loop, contextvars.copy_context(), hang)
    await started.wait()
    threads.close()
asyncio.run(main())
print("over")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_a_blocking_job_either_starts_or_is_withdrawn() -> None:
    ran: list[int] = []
    withdrawn = BlockingJob(ran.append, {})
    assert withdrawn.withdraw()
    assert withdrawn() == Outcome(None, None)
    assert ran == []
    started = BlockingJob(lambda: ran.append(1), {})
    started()
    assert ran == [1]
    assert not started.withdraw()
