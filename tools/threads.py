"""Worker threads: the one seam through which blocking tools run."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Executor
from concurrent.futures import Future as ThreadFuture
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from loguru import logger

from ..messages.errors import SystemClosed, TooManyAbandoned

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

P = ParamSpec("P")
T = TypeVar("T")
_JOIN_SECONDS = 1.0


class WorkerThreads:
    """A bounded pool of threads, made when it is first needed.

    Every job goes through ``loop.run_in_executor``, so that a loop with virtual time can see
    which threads are at work.

    A thread cannot be killed. A call that was given up keeps its own, which is counted and comes
    back when the call has ended after all. What needs a thread meanwhile waits for the others;
    when no other is left it fails at once, and no more threads are made.

    Args:
        size: threads at most; what comes beyond that waits.
        on_abandoned: called on the loop when a thread that does not end is given up.
    """

    def __init__(self, size: int = 32, on_abandoned: Callable[[], object] | None = None) -> None:
        if size < 1:
            msg = f"size={size!r}: a pool needs at least one thread"
            raise ValueError(msg)
        self.size = size
        self.abandoned = 0
        self._on_abandoned = on_abandoned
        self._pool: DaemonPool | None = None
        self._futures: set[asyncio.Future[Any]] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """Jobs that a thread is at work on."""
        return 0 if self._pool is None else self._pool.busy

    def submit(
        self, loop: asyncio.AbstractEventLoop, context: Context, function: Callable[[], T]
    ) -> asyncio.Future[T]:
        """Run a function in a thread.

        Args:
            loop: where the future lives; call it there.
            context: the contextvars that the function sees.
            function: what to run.

        Raises:
            SystemClosed: the pool was closed.
            TooManyAbandoned: every thread is at a call that was given up.
        """
        if self.abandoned >= self.size:
            msg = (
                f"all of {self.size} threads are at calls that were given up and have not ended:"
                " give blocking tools time-outs of their own, or ActorSystem(threads=...) more"
            )
            raise TooManyAbandoned(msg)
        if self._closed:
            msg = "the worker threads are closed: the system has been shut down"
            raise SystemClosed(msg)
        if self._pool is None:
            self._pool = DaemonPool(self.size)
        future = loop.run_in_executor(self._pool, context.run, function)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def abandon(self) -> None:
        """Count a call as given up, whose thread goes on."""
        self.abandoned += 1
        logger.warning(
            "{} of {} threads are at calls that were given up", self.abandoned, self.size
        )
        if self._on_abandoned is not None:
            self._on_abandoned()

    def recover(self) -> None:
        """Take one back: its call has ended."""
        self.abandoned -= 1

    def close(self) -> None:
        """End the idle threads; do not wait for blocked ones, which nobody can end."""
        self._closed = True
        # A cancelled future lets the thread's result go nowhere once the loop is closed.
        for future in tuple(self._futures):
            if not future.get_loop().is_closed():
                future.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class DaemonPool(Executor):
    """A thread pool whose blocked threads do not keep the program from ending.

    The standard library's pool joins every thread when the interpreter exits: one tool that
    hangs would hang the program for good.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._condition = threading.Condition()
        self._jobs: deque[tuple[ThreadFuture[Any], Callable[[], Any]]] = deque()
        self._idle: set[threading.Thread] = set()
        self._started = 0
        self._closed = False
        self.busy = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ThreadFuture[T]:
        """Queue a job and see to a thread for it."""
        future: ThreadFuture[T] = ThreadFuture()
        with self._condition:
            self._jobs.append((future, lambda: fn(*args, **kwargs)))
            if len(self._idle) >= len(self._jobs):
                self._condition.notify()
            elif self._started < self._size:
                self._start(future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the idle threads; of the others wait for none."""
        del wait
        with self._condition:
            self._closed = True
            if cancel_futures:
                for future, _ in self._jobs:
                    future.cancel()
                self._jobs.clear()
            idle = tuple(self._idle)
            self._condition.notify_all()
        for thread in idle:
            thread.join(_JOIN_SECONDS)

    def _start(self, future: ThreadFuture[Any]) -> None:
        name = f"wavebreak-tool-{self._started + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the machine has no more: do with those there are
            if self._started == 0:
                self._jobs.clear()
                future.cancel()
                raise
        else:
            self._started += 1

    def _work(self) -> None:
        me = threading.current_thread()
        while (job := self._next(me)) is not None:
            future, function = job
            _run(future, function)
            del future, function, job  # a waiting thread must not keep a result alive
            with self._condition:
                self.busy -= 1

    def _next(self, me: threading.Thread) -> tuple[ThreadFuture[Any], Callable[[], Any]] | None:
        with self._condition:
            self._idle.add(me)
            while not self._jobs and not self._closed:
                self._condition.wait()
            self._idle.discard(me)
            if not self._jobs:
                return None
            self.busy += 1
            return self._jobs.popleft()


def _run(future: ThreadFuture[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001  it belongs to whoever waits for the future
        future.set_exception(error)
    else:
        future.set_result(result)
