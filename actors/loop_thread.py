"""A thread with an event loop, for programs that have none."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

END_WITHIN = 5.0
"""Seconds that whatever is left on a loop has to end in when it was cancelled."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Find what makes the loop where we make it: uvloop where it is installed, else asyncio."""
    try:
        import uvloop  # noqa: PLC0415 - of the extra ``uvloop``
    except ImportError:
        return None
    return uvloop.new_event_loop


class LoopThread:
    """A thread with an event loop, for programs that have none."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory())
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="wavebreak-loop", daemon=True
        )
        self._stop: asyncio.Event | None = None
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        with self._runner as runner:
            runner.run(self._until_stopped(started))

    async def _until_stopped(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        started.set()
        await self._stop.wait()

    def call(self, work: Any) -> None:
        """Run a coroutine on the loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._runner.get_loop()).result()

    def end(self) -> None:
        """Stop the loop and wait for the thread."""
        if self._stop is not None:
            self._runner.get_loop().call_soon_threadsafe(self._stop.set)
        self._thread.join(END_WITHIN)
        if self._thread.is_alive():
            logger.warning("the loop's thread is left: something on it swallows its cancellation")
