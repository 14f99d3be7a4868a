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
        self._snapshots: dict[SessionKey, object] = {}
        self._entries: dict[SessionKey, list[Entry]] = {}
        self._older: dict[SessionKey, deque[Entry]] = {}
        """Entries that the snapshots stand for."""
        self._history: dict[SessionKey, deque[HistoryEntry]] = {}
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
        kept = self._entries.get(key)
        if kept is None:
            self._entries[key] = list(entries)
        else:
            kept += entries
        if history:
            known = self._history.get(key)
            if known is None:
                known = self._history[key] = deque(maxlen=self._keep_history)
            known += history
        return self._committed

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Take ``state`` for all entries so far, and forget those."""
        self._snapshots[key] = state
        entries = self._entries.pop(key, None)
        if entries is not None and self._keep_entries:
            older = self._older.get(key)
            if older is None:
                older = self._older[key] = deque(maxlen=self._keep_entries)
            older += entries

    def load(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        return Recorded(self._snapshots.get(key), tuple(self._entries.get(key, ())))

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries that are kept."""
        entries = self._history.get(key)
        if not entries or limit <= 0:
            return ()
        return tuple(reversed(tuple(islice(reversed(entries), limit))))

    # --- for those who look ---

    async def peek(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        return self.load(key)

    async def events(self, key: SessionKey, after: int, limit: int = 1000) -> Sequence[Event]:
        """The first events behind ``after``, as far as they are kept."""
        events = (
            event
            for entry in chain(self._older.get(key, ()), self._entries.get(key, ()))
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
            for key in self._snapshots.keys() | self._entries.keys()
            if (tenant is None or key.tenant == tenant) and (after is None or key > after)
        )
        return sorted(wanted)[:limit]
