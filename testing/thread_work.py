"""The work that goes on in threads, as a loop in virtual time counts it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from .virtual_time import VirtualTimeLoop

T = TypeVar("T")

HELD_TOO_LONG = 30.0
"""Real seconds after which a held thread gives up, so that a forgotten gate hangs no test run."""


class _ThisThread(threading.local):
    """Which loop counts this thread; a thread and its loop belong together by nature."""

    loop: VirtualTimeLoop | None = None


_this_thread = _ThisThread()


def is_counted() -> bool:
    """Whether this thread does work that a loop in virtual time counts."""
    return _this_thread.loop is not None


class ThreadPool:
    """An executor, as far as a loop knows it.

    Args:
        executor: it.
    """

    __slots__ = ("queued", "size", "taken")

    def __init__(self, executor: Executor) -> None:
        # The standard library's has no other name for it, and ours none that is public.
        size = getattr(executor, "_max_workers", getattr(executor, "_size", None))
        self.size: int | None = size if isinstance(size, int) else None
        self.taken = 0
        self.queued = 0

    @property
    def is_full(self) -> bool:
        """Whether none of its threads is free, and it makes no more."""
        return self.size is not None and self.taken >= self.size


class Seen(NamedTuple):
    """What is under way in threads at one moment; as in :class:`WorkCount`.

    Args:
        starts: whether something that is queued does not wait for a thread to be free.
    """

    running: int
    over: int
    queued: int
    starts: bool
    parked: int
    changes: int


class WorkCount:
    """How much work is under way in threads; changed from any of them.

    ``running`` is what a thread works on, until the loop knows of its end; ``over`` is what of
    that has ended in truth. ``queued`` waits for a thread, ``parked`` are threads that wait for
    the loop.
    """

    __slots__ = ("_lock", "_pools", "changes", "over", "parked", "queued", "running")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: WeakKeyDictionary[Executor, ThreadPool] = WeakKeyDictionary()
        self.running = 0
        self.over = 0
        self.queued = 0
        self.parked = 0
        self.changes = 0

    def add(
        self,
        pool: ThreadPool | None = None,
        *,
        running: int = 0,
        over: int = 0,
        queued: int = 0,
        parked: int = 0,
        taken: int = 0,
    ) -> None:
        """Count up or down."""
        with self._lock:
            self.running += running
            self.over += over
            self.queued += queued
            self.parked += parked
            self.changes += 1
            if pool is not None:
                pool.queued += queued
                pool.taken += taken

    def end(self, tell: Callable[[], None], *, over: int) -> None:
        """Tell a loop of an end, and count it: neither is seen without the other."""
        with self._lock:
            tell()
            self.over += over
            self.changes += 1

    def pool_of(self, executor: Executor) -> ThreadPool:
        """What is known of an executor."""
        pool = self._pools.get(executor)
        if pool is None:
            pool = self._pools[executor] = ThreadPool(executor)
        return pool

    def seen(self) -> Seen:
        """What is under way, all of one moment.

        Looked at one after the other, work that a thread takes up in between would be in neither.
        """
        with self._lock:
            starts = any(pool.queued and not pool.is_full for pool in tuple(self._pools.values()))
            return Seen(self.running, self.over, self.queued, starts, self.parked, self.changes)

    @property
    def at_work(self) -> bool:
        """Whether a thread works, or is about to take something up."""
        seen = self.seen()
        return seen.running > seen.over or seen.starts


class Work:
    """One function on its way through an executor."""

    __slots__ = ("_count", "_loop", "_pool", "_started", "over")

    def __init__(self, loop: VirtualTimeLoop, count: WorkCount, pool: ThreadPool) -> None:
        self._loop = loop
        self._count = count
        self._pool = pool
        self._started = False
        self.over = False
        """Whether nothing of it is to come any more, but what the loop has been given to do."""

    def run(self, func: Callable[[], T]) -> T:
        """Do it, in the thread."""
        self._started = True
        self._count.add(self._pool, running=1, queued=-1, taken=1)
        _this_thread.loop = self._loop
        return func()

    def ended(self, job: Future[Any]) -> None:
        """Tell the loop; the last that its thread does."""
        del job
        self._count.end(self._tell_loop, over=self._started)
        if self._started:  # else this is the thread of whoever has cancelled it
            _this_thread.loop = None
        self.over = True
        self._loop.look_at_threads()

    def _tell_loop(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody counts any more.
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        started = int(self._started)
        self._count.add(
            self._pool, running=-started, over=-started, taken=-started, queued=started - 1
        )


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
                loop.thread_work.add(running=1, parked=-1)
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
            loop.thread_work.add(running=-1, parked=1)
        loop.wake()
        if self._event.wait(timeout):
            return True
        with self._lock:
            if loop in self._parked:
                self._parked.remove(loop)
                loop.thread_work.add(running=1, parked=-1)
        return self._event.is_set()
