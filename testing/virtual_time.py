"""An event loop whose clock jumps to the next timer as soon as there is nothing else to do.

A test on it waits thirty virtual seconds in no real time, and in the same order every time. The
clock stands still while a thread works that was started by ``run_in_executor`` or ``to_thread``:
time never jumps over work that is really going on. It does not see sockets, nor threads started in
other ways; put work of that kind into :meth:`VirtualTimeLoop.busy`, or use a plain loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from .thread_work import Work, WorkCount

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREAD_START = 1.0
"""Real seconds after which work that no thread of a pool of unknown size has taken up waits."""


class Deadlock(AssertionError):
    """Nothing is scheduled, nothing runs, and still something waits: it would wait forever."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time.

    Args:
        start: what ``loop.time()`` says at first, in seconds; not 0, so that code which takes it
            for a duration shows.
        stuck_after: real seconds to wait for threads when nothing is scheduled, before
            :class:`Deadlock` ends the loop.
        alone: whether no thread but those that the loop counts can wake it; then nothing is
            waited for in vain.
    """

    def __init__(
        self, *, start: float = 1000.0, stuck_after: float = 5.0, alone: bool = False
    ) -> None:
        self.start = start
        self._now = start
        self._limit = inf
        self.thread_work = WorkCount()
        super().__init__(_JumpingSelector(self, self.thread_work, stuck_after, alone=alone))
        # One of ours, so that the counting sees the very future that the thread fulfils; the base
        # class shuts it down with the loop.
        self._pool = ThreadPoolExecutor(thread_name_prefix="virtual-time")
        self.set_default_executor(self._pool)

    def time(self) -> float:
        """Tell the virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let virtual time pass without waiting for it; timers that are due run next.

        Args:
            seconds: how far, not negative.

        Raises:
            ValueError: when ``seconds`` is negative.
        """
        if seconds < 0:
            message = f"virtual time does not run backwards: advance({seconds})"
            raise ValueError(message)
        self._now += seconds

    def allowed(self, timeout: float | None) -> float | None:
        """How far the clock may jump for a timer that is due in so many seconds; None: not."""
        if timeout is None or self._limit == inf:
            return timeout
        return min(timeout, self._limit - self._now) if self._limit > self._now else None

    def hold_clock(self, until: float | None) -> None:
        """Let the clock jump no further than ``until``; None lets it go again."""
        self._limit = inf if until is None else until

    @property
    def threads_work(self) -> bool:
        """Whether a thread that the loop counts is at work, or about to be."""
        return self.thread_work.at_work

    @contextlib.contextmanager
    def busy(self) -> Generator[None]:
        """Hold the clock while work goes on that the loop cannot see; enter it from any thread."""
        self.thread_work.add(running=1)
        try:
            yield
        finally:
            self.thread_work.add(running=-1)
            self.wake()

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread; until it has ended, the clock does not jump."""
        pool = executor or self._pool
        if _is_elsewhere(pool):
            return self._run_elsewhere(pool, partial(func, *args))
        counted = self.thread_work.pool_of(pool)
        work = Work(self, self.thread_work, counted)
        job = pool.submit(work.run, partial(func, *args))
        # In this order: the waiter is woken by the first callback, and only the second, a turn of
        # the loop later, lets the clock go.
        waiter = asyncio.wrap_future(job, loop=self)
        job.add_done_callback(work.ended)
        # Only now: a closed executor refuses what is submitted.
        self.thread_work.add(counted, queued=1)
        self.submitted(work)
        return waiter

    def submitted(self, work: Work) -> None:
        """Something was given to a thread; for loops that want to know."""

    def look_at_threads(self) -> None:
        """A thread has ended its work; said in that thread."""

    def about_to_wait(self) -> None:
        """Nothing is to be done on the loop."""

    def _run_elsewhere(self, pool: Executor, func: Callable[[], T]) -> asyncio.Future[T]:
        """Run it where neither the loop nor a lock can be taken along."""
        job = pool.submit(func)
        self.thread_work.add(running=1)
        waiter = asyncio.wrap_future(job, loop=self)
        job.add_done_callback(lambda _: self._call_from_thread(self._is_back))
        return waiter

    def _is_back(self) -> None:
        self.thread_work.add(running=-1)

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  as in the base class of Python 3.12
    ) -> None:
        """Wait for the threads of the default executor, in real time."""
        del timeout  # In virtual time it would be over at once.
        with self.busy():
            await super().shutdown_default_executor()

    def wake(self) -> None:
        """Look again whether something is to be done; from any thread."""
        self._call_from_thread(_nothing)

    def _call_from_thread(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody counts any more.
            self.call_soon_threadsafe(function)


def run(
    main: Coroutine[Any, Any, T],
    *,
    start: float = 1000.0,
    stuck_after: float = 5.0,
) -> T:
    """Run a coroutine on a new loop in virtual time, and close the loop.

    Args:
        main: what to run.
        start: what ``loop.time()`` says at first, in seconds.
        stuck_after: real seconds until a loop on which nothing can happen any more is ended.

    Raises:
        Deadlock: when ``main`` waits for something that nobody is going to do.
    """

    def loop_factory() -> VirtualTimeLoop:
        return VirtualTimeLoop(start=start, stuck_after=stuck_after)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


class _JumpingSelector(selectors.DefaultSelector):
    """The one place where the loop would wait: here it lets virtual time pass instead."""

    def __init__(
        self, loop: VirtualTimeLoop, work: WorkCount, stuck_after: float, *, alone: bool
    ) -> None:
        super().__init__()
        self._loop = loop
        self._work = work
        self._stuck_after = stuck_after
        self._alone = alone
        self._seen_stuck = -1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.about_to_wait()
        # Before it is asked who has woken the loop: what ends after this does so once more.
        work = self._work.seen()
        # Alone and without threads there is nobody who could have.
        if not self._alone or work.running or work.queued:
            events = super().select(0)
            if events:
                return events
        if timeout is not None and timeout <= 0:
            return []
        timeout = self._loop.allowed(timeout)
        if work.running or timeout is None:
            return self._wait_for_threads()
        if work.starts and work.changes != self._seen_stuck:
            # A thread is about to start, however long a busy machine takes for that; if nobody
            # knows how many there are, those that are parked may keep what is queued waiting.
            events = super().select(THREAD_START if work.parked else self._stuck_after)
            if events or self._work.changes != work.changes:
                return events
            # What is queued waits for those that are parked, like everyone.
            self._seen_stuck = work.changes
        self._loop.advance(timeout)
        return []

    def _wait_for_threads(self) -> list[tuple[selectors.SelectorKey, int]]:
        idle = self._alone and not self._work.at_work
        give_up = time.monotonic() + (0.0 if idle else self._stuck_after)
        while (left := give_up - time.monotonic()) > 0:
            events = super().select(left)
            if events:
                return events
        raise Deadlock(self._what_waits())

    def _what_waits(self) -> str:
        tasks = asyncio.all_tasks(self._loop)
        names = "".join(f"\n  {task!r}" for task in tasks) or " no task"
        if self._work.running > 0:
            why = f"{self._work.running} threads work without an end"
        else:
            why = "nothing is scheduled, and no thread works"
        return (
            f"nothing happened for {self._stuck_after} real seconds: {why}; let go what is held, "
            f"or await something that somebody does. Still waiting:{names}"
        )


def _is_elsewhere(executor: Executor) -> bool:
    """Whether it runs what it is given in another process, or another interpreter."""
    for module, name in _ELSEWHERE:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(executor, kind):
            return True
    return False


_ELSEWHERE = (
    ("concurrent.futures.process", "ProcessPoolExecutor"),
    ("concurrent.futures.interpreter", "InterpreterPoolExecutor"),
)
"""By name, for who has none of them imports none."""


def _nothing() -> None:
    """Wake the loop."""
