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
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from concurrent.futures import Executor, Future

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREAD_START = 1.0
"""Real seconds after which work that no thread has taken up is taken to wait for a free thread."""

HELD_TOO_LONG = 30.0
"""Real seconds after which a held thread gives up, so that a forgotten gate hangs no test run."""


class _ThisThread(threading.local):
    """Which loop counts this thread; a thread and its loop belong together by nature."""

    loop: VirtualTimeLoop | None = None


_this_thread = _ThisThread()


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
        self._work = _WorkCount()
        super().__init__(_JumpingSelector(self, self._work, stuck_after, alone=alone))
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
        return self._work.running > 0 or self._work.queued > 0

    @contextlib.contextmanager
    def busy(self) -> Generator[None]:
        """Hold the clock while work goes on that the loop cannot see; enter it from any thread."""
        self._work.add(running=1)
        try:
            yield
        finally:
            self._work.add(running=-1)
            self._wake()

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread; until it has ended, the clock does not jump."""
        work = _Work(self, self._work)
        job = (executor or self._pool).submit(work.run, partial(func, *args))
        # In this order: the waiter is woken by the first callback, and only the second, a turn of
        # the loop later, lets the clock go.
        waiter = asyncio.wrap_future(job, loop=self)
        job.add_done_callback(work.ended)
        self._work.add(queued=1)  # Only now: a closed executor refuses what is submitted.
        return waiter

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  as in the base class of Python 3.12
    ) -> None:
        """Wait for the threads of the default executor, in real time."""
        del timeout  # In virtual time it would be over at once.
        with self.busy():
            await super().shutdown_default_executor()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody counts any more.
            self.call_soon_threadsafe(_nothing)


class QuietEvent:
    """A ``threading.Event`` on which a tool's thread can wait without holding up virtual time.

    Whoever sets it counts the waiting threads as working again before they wake, so that the clock
    cannot slip in between.
    """

    __slots__ = ("_event", "_lock", "_parked")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._parked: list[VirtualTimeLoop] = []

    def is_set(self) -> bool:
        """Tell whether it was set."""
        return self._event.is_set()

    def set(self) -> None:
        """Let everyone go who waits, and who will wait."""
        with self._lock:
            for loop in self._parked:
                # A friend: both are this file's.
                loop._work.add(running=1, parked=-1)  # noqa: SLF001
            self._parked.clear()
            self._event.set()

    def wait(self, timeout: float = HELD_TOO_LONG) -> bool:
        """Wait until it is set.

        Args:
            timeout: real seconds; there is always a bound, for a thread that waits for good would
                keep the interpreter from ending after a failed test.

        Returns:
            Whether it was set, rather than the time up.
        """
        loop = _this_thread.loop
        if loop is None:
            return self._event.wait(timeout)
        with self._lock:
            if self._event.is_set():
                return True
            self._parked.append(loop)
            loop._work.add(running=-1, parked=1)  # noqa: SLF001
        loop._wake()  # noqa: SLF001
        if self._event.wait(timeout):
            return True
        with self._lock:
            if loop in self._parked:
                self._parked.remove(loop)
                loop._work.add(running=1, parked=-1)  # noqa: SLF001
        return self._event.is_set()


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


class _WorkCount:
    """How much work is under way in threads; changed from any of them."""

    __slots__ = ("_lock", "changes", "parked", "queued", "running")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = 0
        self.queued = 0
        self.parked = 0
        self.changes = 0

    def add(self, *, running: int = 0, queued: int = 0, parked: int = 0) -> None:
        with self._lock:
            self.running += running
            self.queued += queued
            self.parked += parked
            self.changes += 1


class _Work:
    """One function on its way through an executor."""

    __slots__ = ("_count", "_loop", "_started")

    def __init__(self, loop: VirtualTimeLoop, count: _WorkCount) -> None:
        self._loop = loop
        self._count = count
        self._started = False

    def run(self, func: Callable[[], T]) -> T:
        self._started = True
        self._count.add(running=1, queued=-1)
        _this_thread.loop = self._loop
        try:
            return func()
        finally:
            _this_thread.loop = None

    def ended(self, job: Future[Any]) -> None:
        del job
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody counts any more.
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._count.add(running=-self._started, queued=self._started - 1)


class _JumpingSelector(selectors.DefaultSelector):
    """The one place where the loop would wait: here it lets virtual time pass instead."""

    def __init__(
        self, loop: VirtualTimeLoop, work: _WorkCount, stuck_after: float, *, alone: bool
    ) -> None:
        super().__init__()
        self._loop = loop
        self._work = work
        self._stuck_after = stuck_after
        self._alone = alone
        self._seen_stuck = -1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        work = self._work
        # Alone and without threads there is nobody who could have woken the loop.
        if not self._alone or work.running or work.queued:
            events = super().select(0)
            if events:
                return events
        if timeout is not None and timeout <= 0:
            return []
        timeout = self._loop.allowed(timeout)
        if work.running or timeout is None:
            return self._wait_for_threads()
        if work.queued and work.changes != self._seen_stuck:
            # Only threads that are parked can keep what is queued waiting: without any, a thread
            # is about to start, however long a busy machine takes for that.
            events = super().select(THREAD_START if work.parked else self._stuck_after)
            if events or work.running:
                return events
            # Every thread of the pool is parked: what is queued waits for them, like everyone.
            self._seen_stuck = work.changes
        self._loop.advance(timeout)
        return []

    def _wait_for_threads(self) -> list[tuple[selectors.SelectorKey, int]]:
        idle = self._alone and not self._loop.threads_work
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


def _nothing() -> None:
    """Wake the loop."""
