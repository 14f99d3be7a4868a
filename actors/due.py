"""Which actors of a loop have something to do: the loop calls them all at once."""

from __future__ import annotations

import contextvars
from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage] - raises nothing
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .receiving import Receiving


SPARE = 64
"""How many messages are handled for those who await an answer, in one turn of the loop."""


class Due:
    """Actors of one loop that are to be called; one callback of the loop is for all of them.

    A callback for each would cost more than most messages do: two objects that the garbage
    collector looks at, and from another thread a write to the loop's pipe.

    Args:
        loop: the loop that they live on.
    """

    __slots__ = ("_actors", "_context", "_is_called", "_loop", "spare")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.spare = SPARE
        """How many messages may be handled yet, before the next turn, for those who wait."""
        self._actors: deque[Receiving] = deque()
        self._is_called = False
        self._context = contextvars.Context()  # nobody's; each actor is called in its own

    def add(self, actor: Receiving) -> None:
        """Have an actor called at the next turn of the loop, from any thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._actors.append(actor)
        # The other way round in _run: so one of us sees what the other one did.
        if not self._is_called:
            self._call()

    def _call(self) -> None:
        self._is_called = True
        try:
            if _get_running_loop() is self._loop:
                self._loop.call_soon(self._run, context=self._context)
            else:
                self._loop.call_soon_threadsafe(self._run, context=self._context)
        except RuntimeError:
            self._is_called = False
            if self._loop.is_closed():  # and not that the caller's stack has reached its limit
                self._actors.clear()  # nobody will ever call them
            raise

    def _run(self) -> None:
        self._is_called = False
        self.spare = SPARE
        actors = self._actors
        try:
            for _ in range(len(actors)):
                actor = actors.popleft()
                actor._actor_context.run(actor._actor_called)  # noqa: SLF001 - one of ours
        except BaseException:
            if actors and not self._is_called:
                self._call()  # the others shall not suffer from it
            raise
