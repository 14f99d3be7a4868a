"""Retention: deletes the sessions that nobody has used for long, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loguru import logger

from ..actors.actor import AsyncioActor
from ..actors.waiting import committed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ..actors.counters import Counters
    from ..actors.mailbox import Envelope
    from ..journal.base import RetainingJournal
    from ..messages.ids import SessionKey
    from .door import Door

FIRST: Final = 1.0
"""Seconds after the start until it is looked for the first time."""

AT_MOST: Final = 3600.0
"""Seconds between two looks, for sessions that are kept for long."""

SHARE: Final = 10
"""How often it is looked while a session has to be unused; so much finer is the time."""

AT_ONCE: Final = 20
"""Sessions that are deleted in one transaction."""

PAUSE: Final = 0.01
"""Seconds between two of these transactions, in which others are written."""


class Upkeep(NamedTuple):
    """What is needed to know, and to do, of sessions that are deleted.

    Args:
        journal: has them.
        door: those that live.
        is_busy: whether a runtime of a session has not ended, or a call of it is being undone.
        forget: has the rest of the system forget a session.
        now: the clock, in seconds since the epoch.
        counters: counts them.
    """

    journal: RetainingJournal
    door: Door
    is_busy: Callable[[SessionKey], bool]
    forget: Callable[[SessionKey], None]
    now: Callable[[], float]
    counters: Counters


class _Sweep(NamedTuple):
    """It is time to look."""


class Sweeper(AsyncioActor):
    """Looks for sessions that nobody uses, and has the journal erase them; none is loaded for it.

    Args:
        upkeep: what is needed for that.
        idle: seconds for which they are kept.
    """

    def __init__(self, upkeep: Upkeep, idle: float) -> None:
        super().__init__()
        self._upkeep = upkeep
        self._idle = idle
        self._timer: asyncio.TimerHandle | None = None

    def on_start(self) -> None:
        """Look soon."""
        self._later(FIRST)

    def _later(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._is_time)

    def _is_time(self) -> None:
        self._timer = None
        if self.actor_ref.is_alive():
            self.hand(_Sweep())

    def handle(self, envelope: Envelope) -> Any:
        """Look, and delete what is found."""
        if isinstance(envelope.message, _Sweep):
            return self._sweep()
        return super().handle(envelope)

    async def _sweep(self) -> None:
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - sessions go on without, and so must this
            logger.opt(exception=error).warning("sessions that nobody uses are looked for later")
        self._later(min(AT_MOST, self._idle / SHARE))

    async def _look(self) -> None:
        journal, now = self._upkeep.journal, self._upkeep.now()
        since, deleted = now - self._idle, 0
        await committed(journal.note_time(now), self._loop)
        async for keys in journal.unused(since):
            for first in range(0, len(keys), AT_ONCE):
                if self._upkeep.door.closed:
                    return
                deleted += await self._delete(keys[first : first + AT_ONCE], since)
        if deleted:
            logger.info("{} sessions were deleted that nobody has used for long", deleted)
            journal.clean()

    async def _delete(self, keys: Sequence[SessionKey], since: float) -> int:
        journal = self._upkeep.journal
        erased = [
            journal.erase(key, unless_after=since).commit for key in keys if self._is_free(key)
        ]
        for commit in erased:
            await committed(commit, self._loop)
        if erased:
            self._upkeep.counters.count("deleted_sessions", len(erased), by="retention")
        await asyncio.sleep(PAUSE)
        return len(erased)

    def _is_free(self, key: SessionKey) -> bool:
        """Whether nobody has a session in memory, from here on; who comes now, loads it anew."""
        upkeep, door = self._upkeep, self._upkeep.door
        directory = door.place.actor
        if key in door.cells and directory is not None and door.place.is_alive():
            directory.let_go(key)
        if key in door.cells or key in door.leaving or upkeep.is_busy(key):
            return False
        upkeep.forget(key)
        return True

    def on_stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """The next life looks again."""
        self.on_stop()
