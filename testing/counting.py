"""A count on which tests wait: for the second call, for the third delivery."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple


class Count:
    """Counts up, from any thread; a test waits until it has reached a number.

    Args:
        what: is counted, for messages.
    """

    __slots__ = ("_changed", "_value", "_waiting", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._value = 0
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []

    def __repr__(self) -> str:
        return f"<{self._value} {self._what}>"

    @property
    def value(self) -> int:
        """How far it has counted."""
        return self._value

    def add(self) -> None:
        """Count one more."""
        with self._changed:
            self._value += 1
            ready = [one for one in self._waiting if one.number <= self._value]
            self._waiting = [one for one in self._waiting if one.number > self._value]
            self._changed.notify_all()
        for one in ready:
            on_loop(one.loop, one.wake)

    async def reach(self, number: int) -> None:
        """Wait until it has counted to ``number``; no wait if it has."""
        loop = asyncio.get_running_loop()
        with self._changed:
            if self._value >= number:
                return
            waiting = _Waiting(number, loop, loop.create_future())
            self._waiting.append(waiting)
        await waiting.future

    def reach_blocking(self, number: int, timeout: float = 5.0) -> None:
        """Wait as :meth:`reach` does, in a thread without a loop.

        Args:
            number: what to wait for.
            timeout: real seconds.

        Raises:
            TimeoutError: when it is not reached in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._value >= number, timeout):
                raise TimeoutError(f"{self._value} of {number} {self._what} within {timeout} s")


class _Waiting(NamedTuple):
    number: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call ``function`` on a loop: at once when this is it, so that nothing comes in between."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        function()
    else:
        loop.call_soon_threadsafe(function)
