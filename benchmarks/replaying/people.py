"""People who write their lines when the script says so, whatever the system is doing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .world import message_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .world import Desk


PATIENCE = 30.0
RECORDED_PATIENCE = 300.0
"""Seconds, and recorded seconds besides, after which somebody who got no answer goes away."""


class People:
    """The people of one replay; they share a clock.

    Args:
        speed: recorded seconds that pass in one second of the loop.
        progress: called whenever a message has been answered.
    """

    def __init__(self, *, speed: float, progress: Callable[[], None]) -> None:
        self._speed = speed
        self._zero = asyncio.get_running_loop().time()
        self.answered = progress

    async def lines(self, desk: Desk) -> AsyncIterator[tuple[str, str]]:
        """Give each line's message id and text at its time, and note that it is sent."""
        loop = asyncio.get_running_loop()
        script = desk.script
        for number, (exchange, at) in enumerate(
            zip(script.conversation.exchanges, script.arrivals, strict=True)
        ):
            await asyncio.sleep(max(0.0, self._zero + at / self._speed - loop.time()))
            message = message_id(number)
            desk.tape.note_sent(message, loop.time())
            yield message, exchange.text

    async def wait_for(self, answers: Awaitable[object]) -> None:
        """Wait for answers, but not for ever: what is missing then counts as lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE + RECORDED_PATIENCE / self._speed):
                await answers
