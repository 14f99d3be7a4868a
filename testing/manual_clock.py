"""A clock that moves only when a test moves it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Generator


class ManualClock:
    """The clock of the running virtual loop; made by :func:`manual_clock`.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        loop.hold_clock(loop.time())

    @property
    def now(self) -> float:
        """What the loop's clock says, in seconds."""
        return self._loop.time()

    async def advance(self, seconds: float) -> None:
        """Let time pass; timers that are due meanwhile go off, each at its time.

        Args:
            seconds: how long, not negative.

        Raises:
            ValueError: it is negative.
        """
        if seconds < 0:
            msg = f"a clock does not run backwards: advance({seconds})"
            raise ValueError(msg)
        until = self._loop.time() + seconds
        self._loop.hold_clock(until)
        await asyncio.sleep(seconds)
        # What the last timers have woken has its turn before the clock is looked at again.
        await asyncio.sleep(0)
        self._loop.hold_clock(self._loop.time())


@contextlib.contextmanager
def manual_clock() -> Generator[ManualClock]:
    """Hold the running loop's clock within a ``with`` block.

    Raises:
        RuntimeError: the running loop is not one in virtual time.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        msg = f"{loop!r} runs in real time: use manual_clock() in a test on a VirtualTimeLoop"
        raise RuntimeError(msg)  # noqa: TRY004 - the loop is of the right kind, but not this one
    clock = ManualClock(loop)
    try:
        yield clock
    finally:
        loop.hold_clock(None)
