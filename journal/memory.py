"""A journal in memory: nothing outlives the process, and nothing has to be waited for."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING

from ..messages.events import Progressed
from .base import Commit, Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages.events import Entry, Event
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey


class _Kept:
    """What is kept of one session."""

    __slots__ = ("entries", "history", "older", "snapshot")

    def __init__(self) -> None:
        self.snapshot: object | None = None
        self.entries: list[Entry] = []
        self.history: deque[HistoryEntry] | None = None
        self.older: deque[Entry] | None = None
        """Entries that the snapshot stands for."""


class MemoryJournal:
    """Keeps each session's state, the entries since, and the end of its history.

    Args:
        keep_history: entries of a session's history that are kept; older ones are forgotten, so
            that a bot that runs for months does not grow.
        keep_entries: entries of a session that are kept beyond what its state needs, for those who
            look at what happened; as many as a service wants to give again to who was away.

    Raises:
        ValueError: ``keep_history`` or ``keep_entries`` is negative.
    """

    def __init__(self, *, keep_history: int = 200, keep_entries: int = 0) -> None:
        for name, number in (("keep_history", keep_history), ("keep_entries", keep_entries)):
            if number < 0:
                msg = f"{name} is a number of entries, not {number}: give 0 or more"
                raise ValueError(msg)
        self._keep_history = keep_history
        self._keep_entries = keep_entries
        self._sessions: dict[SessionKey, _Kept] = {}
        self._committed = Commit(done=True)

    @property
    def survives(self) -> bool:
        """It does not."""
        return False

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do; what was recorded can still be read."""

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        """Record ``entries``; they are as durable as they get at once."""
        kept = self._sessions.get(key)
        if kept is None:
            kept = self._sessions[key] = _Kept()
        kept.entries += entries
        if history:
            if kept.history is None:
                kept.history = deque(maxlen=self._keep_history)
            kept.history += history
        return self._committed

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Take ``state`` for all entries so far, and forget those."""
        kept = self._sessions[key]
        kept.snapshot = state
        if self._keep_entries:
            if kept.older is None:
                kept.older = deque(maxlen=self._keep_entries)
            kept.older += kept.entries
        kept.entries = []

    def load(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        kept = self._sessions.get(key)
        if kept is None:
            return Recorded(None, ())
        return Recorded(kept.snapshot, tuple(kept.entries))

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries that are kept."""
        kept = self._sessions.get(key)
        entries = kept.history if kept is not None else None
        if not entries or limit <= 0:
            return ()
        return tuple(reversed(tuple(islice(reversed(entries), limit))))

    # --- for those who look ---

    async def peek(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        return self.load(key)

    async def events(self, key: SessionKey, after: int, limit: int = 1000) -> Sequence[Event]:
        """The first events behind ``after``, as far as they are kept."""
        kept = self._sessions.get(key)
        if kept is None:
            return ()
        events = (
            event
            for entry in chain(kept.older or (), kept.entries)
            for event in (entry.events(key) if isinstance(entry, Progressed) else (entry,))
            if (event.position or 0) > after
        )
        return tuple(islice(events, limit))

    async def sessions(
        self, tenant: str | None, after: SessionKey | None, limit: int
    ) -> Sequence[SessionKey]:
        """The names of some sessions, in their order."""
        wanted = (
            key
            for key in self._sessions
            if (tenant is None or key.tenant == tenant) and (after is None or key > after)
        )
        return sorted(wanted)[:limit]
