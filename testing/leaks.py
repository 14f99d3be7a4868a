"""Runs a test's coroutine and fails it for what it leaves behind.

Held to: no task is left on the loop, nothing was reported to the loop's exception handler (an
exception that nobody retrieved, a callback that raised), no thread is left.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from .virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

Main = Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]
"""A coroutine, or a coroutine function without arguments."""

LAST_TICKS: Final = 20
"""Turns of the loop that tasks have to end in after the test; a cancelled one needs a few."""

THREAD_END: Final = 2.0
"""Real seconds that threads have to end in after the test."""


class Leak(AssertionError):
    """Something was left behind or went wrong unseen."""


class Run(Protocol):
    """Runs a coroutine on a loop of its own: the type of the fixtures ``run`` and ``real_run``."""

    def __call__(self, main: Main[T]) -> T:
        """Run it to its end and give its result."""
        ...


class LeakCheck:
    """Watches for threads left behind, and for what the loops of its runs report.

    Use it as a context manager around a whole test; on the way out it raises :class:`Leak`.
    """

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._reports: list[dict[str, Any]] = []

    def run(
        self,
        main: Main[T],
        *,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = VirtualTimeLoop,
    ) -> T:
        """Run ``main`` on a new loop, and see that nothing is left on it.

        Args:
            main: a coroutine, or a function that makes one.
            loop_factory: makes the loop; by default one in virtual time.

        Raises:
            Leak: when a task is left, or the loop was told of an exception.
        """
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.get_loop().set_exception_handler(self._report)
            coroutine = main() if callable(main) else main
            result = runner.run(_run_to_the_end(coroutine))
        self._raise_reports()
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, traceback
        # A task's lost exception is reported when the task is collected, and that has to happen
        # in the test that made it. Not the oldest generation: it takes 10 ms in a large suite, and
        # what a test has made is young.
        gc.collect(1)
        if error is None:
            self._raise_reports()
            self._raise_threads()

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self._reports.append(context)

    def _raise_reports(self) -> None:
        if not self._reports:
            return
        first, *others = self._reports
        self._reports.clear()
        more = f" (and {len(others)} more)" if others else ""
        details = {key: value for key, value in first.items() if key != "message"}
        raise Leak(
            f"the event loop reported: {first.get('message')}{more}; {details}"
        ) from first.get("exception")

    def _raise_threads(self) -> None:
        give_up = time.monotonic() + THREAD_END
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        left = [thread for thread in threading.enumerate() if thread not in self._threads]
        if left:
            raise Leak(f"threads are left after the test: {left}; close what started them")


async def _run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
    result = await main
    for _ in range(LAST_TICKS):
        if not _others():
            return result
        await asyncio.sleep(0)
    names = "".join(f"\n  {task!r}" for task in _others())
    raise Leak(f"tasks are left after the test; await or cancel them:{names}")


def _others() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
