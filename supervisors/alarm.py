"""Wakes sessions that rest when something that was scheduled is due: one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from ..messages.ids import SessionKey

PAUSE: Final = 0.1
"""Seconds from one look at what is due to the next: many that are due one by one are one look."""

TRY_AGAIN: Final = 5.0
"""Seconds after which is looked again, if that failed."""

AT_MOST: Final = 3600.0
"""Seconds after which is looked in any case; nobody knows what a timer of a year does."""

LOOK_AGAIN: Final = 60.0
"""Seconds after which is looked whether all that were woken have taken what was due."""

EARLY: Final = 0.001
"""Seconds that a session may be woken too early; loops may call a timer a little early."""

STARTING: Final = 0.01
"""Seconds after which is looked whether those that were woken have started."""

STARTS_WITHIN: Final = 500
"""How often that is done before the next ones are woken all the same."""


class DueIndex(Protocol):
    """Knows of which sessions something is due."""

    def due(self, until: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions of which something is due until then, some at a time."""
        ...

    async def next_due(self, after: float) -> float | None:
        """When the first of what is due after that is; None if there is nothing."""
        ...


class MemoryIndex:
    """A :class:`DueIndex` of what it is told, for journals that have none."""

    def __init__(self) -> None:
        self._at: dict[SessionKey, float] = {}
        self._order: list[tuple[float, SessionKey]] = []

    def __contains__(self, key: SessionKey) -> bool:
        """Whether something of a session is scheduled."""
        return key in self._at

    def note(self, key: SessionKey, at: float) -> None:
        """The next message of a session is due then."""
        if self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._order, (at, key))

    def forget(self, key: SessionKey) -> None:
        """The session was deleted."""
        self._at.pop(key, None)

    async def due(self, until: float) -> AsyncIterator[Sequence[SessionKey]]:
        """Those that were noted; each once, as each notes what is next when it has started."""
        keys: list[SessionKey] = []
        while self._order and self._order[0][0] <= until:
            at, key = heapq.heappop(self._order)
            if self._at.get(key) == at:
                del self._at[key]
                keys.append(key)
        if keys:
            yield keys

    async def next_due(self, after: float) -> float | None:
        """The first that was noted, and was not given yet."""
        del after
        return self._order[0][0] if self._order else None


class Alarm:
    """Has sessions started in time; it asks for what is due, and keeps none of it in mind.

    Args:
        loop: where it lives.
        index: knows what is due.
        now: the clock, in seconds since the epoch.
        wake: starts a session, unless it lives; then it knows by itself.
        is_starting: whether one that was woken has not read its journal yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        index: DueIndex,
        now: Callable[[], float],
        *,
        wake: Callable[[SessionKey], None],
        is_starting: Callable[[SessionKey], bool],
    ) -> None:
        self._loop = loop
        self._index = index
        self._now = now
        self._wake = wake
        self._is_starting = is_starting
        self._at = inf
        self._looked = -inf
        self._runs = False
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Wake those of which something is due, and go on with the next."""
        self._runs = True
        if not isinstance(self._index, MemoryIndex):
            self._at = self._now()
        if self._at < inf:
            self._arm()

    async def end(self) -> None:
        """Wake nobody any more."""
        self._runs = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.wait([look])

    def set(self, key: SessionKey, at: float) -> None:
        """Something of a session is due then."""
        if isinstance(self._index, MemoryIndex):
            self._index.note(key, at)
        if at < self._at:
            self._at = at
            self._arm()

    def knows(self, key: SessionKey) -> bool:
        """Whether something of a session is scheduled, as far as no journal has to be asked."""
        return isinstance(self._index, MemoryIndex) and key in self._index

    def forget(self, key: SessionKey) -> None:
        """The session was deleted, and what was scheduled with it."""
        if isinstance(self._index, MemoryIndex):
            self._index.forget(key)

    def _arm(self) -> None:
        """Look at what is due at that time; not while somebody looks, who arms it at the end."""
        if not self._runs or self._look is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        delay = min(max(self._at - self._now(), self._looked + PAUSE - now, 0.0), AT_MOST)
        self._timer = self._loop.call_later(delay, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._look = self._loop.create_task(self._look_once())

    async def _look_once(self) -> None:
        until, self._at = self._now() + EARLY, inf
        self._looked = self._loop.time()
        try:
            async for keys in self._index.due(until):
                await self._wake_some(keys)
                self._at = until + LOOK_AGAIN
            first = await self._index.next_due(until)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            logger.opt(exception=error).error("what is due cannot be looked up now")
            first = until + TRY_AGAIN
        self._at = min(self._at, inf if first is None else first)
        self._look = None
        if self._at < inf:
            self._arm()

    async def _wake_some(self, keys: Sequence[SessionKey]) -> None:
        """Start these, and wait until they have: there may be very many of them."""
        for key in keys:
            self._wake(key)
        for _ in range(STARTS_WITHIN):
            await asyncio.sleep(STARTING)
            if not any(map(self._is_starting, keys)):
                return
