"""One timer for all who want to be called in a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Moments:
    """Calls functions a moment later; a timer each would cost more than what they do.

    Args:
        loop: the loop to call them on.
        seconds: how long a moment is at least; it is twice that at most.
    """

    __slots__ = ("_loop", "_next", "_seconds", "_soon", "_ticks")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._ticks = False
        self._soon: list[Callable[[], None]] = []
        self._next: list[Callable[[], None]] = []

    def later(self, function: Callable[[], None]) -> None:
        """Call ``function`` in a moment; it must not raise."""
        self._next.append(function)
        if not self._ticks:
            self._ticks = True
            self._loop.call_later(self._seconds, self._tick)

    def _tick(self) -> None:
        due, self._soon, self._next = self._soon, self._next, []
        if due:
            # Behind what the loop has to do already: when it is late, most of these have been
            # overtaken by then, and have nothing to do any more.
            self._loop.call_soon(_call, due)
        if self._soon or self._next:
            self._loop.call_later(self._seconds, self._tick)
        else:
            self._ticks = False


def _call(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        function()
