"""A journal in memory: nothing outlives the process, and nothing has to be waited for."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from ..messages.entries import Progressed
from .base import Commit, Erased, Recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ..messages.entries import Entry
    from ..messages.events import Event
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey


_LOOKED_AT: Final = 1000
"""Sessions that are looked at in one go."""

_FLOORS: Final = 10_000
"""Sessions that were erased and of which the last position is kept."""


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
        self._floors: dict[SessionKey, int] = {}
        """The last positions of sessions that were erased, ..."""
        self._floor = 0
        """... and of those of which the own one is forgotten, the highest."""
        # Each part as it came: of most nothing is made before somebody reads it.
        self._history: dict[SessionKey, deque[Sequence[HistoryEntry]]] = {}
        self._lengths: dict[SessionKey, int] = {}
        self._committed = Commit(done=True)
        self._now = 0.0
        self._seen: dict[SessionKey, tuple[int, float]] = {}
        """The last position of sessions when somebody looked, and since when it was that."""

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
            self._keep(key, history)
        return self._committed

    def _keep(self, key: SessionKey, history: Sequence[HistoryEntry]) -> None:
        """Keep one more part of a history, and forget the first as long as enough is left."""
        parts = self._history.get(key)
        if parts is None:
            parts = self._history[key] = deque()
        parts.append(history)
        length = self._lengths.get(key, 0) + len(history)
        while parts and length - len(parts[0]) >= self._keep_history:
            length -= len(parts.popleft())
        self._lengths[key] = length

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Take ``state`` for all entries so far, and forget those."""
        self._snapshots[key] = state
        entries = self._entries.pop(key, None)
        if entries is not None and self._keep_entries:
            older = self._older.get(key)
            if older is None:
                older = self._older[key] = deque(maxlen=self._keep_entries)
            older += entries

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Forget a session."""
        if unless_after is not None and not self._is_unused(key, unless_after):
            return Erased(self._committed, self._committed)
        if key in self._snapshots or key in self._entries:
            self._floors[key] = max(above, self._newest(key))
            parts = (self._snapshots, self._entries, self._older, self._history, self._lengths)
            for kept in (*parts, self._seen):
                kept.pop(key, None)
            if len(self._floors) > _FLOORS:
                # What is begun anew is above all that was ever erased, so nobody needs to know.
                self._floor = max(self._floor, self._floors.pop(next(iter(self._floors))))
        return Erased(self._committed, self._committed)

    def _newest(self, key: SessionKey) -> int:
        """The position of a session's last event."""
        entries = self._entries.get(key)
        if entries:
            last = entries[-1]
            more = last.span - 1 if isinstance(last, Progressed) else 0
            return (last.position or 0) + more
        position: int = getattr(self._snapshots.get(key), "position", 0)  # a state has one
        return position

    # --- who is not used ---

    def note_time(self, now: float) -> Commit:
        """It is this time."""
        self._now = now
        return self._committed

    async def unused(self, since: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions that are as they were when somebody looked then."""
        keys = tuple(self._snapshots.keys() | self._entries.keys())
        for first in range(0, len(keys), _LOOKED_AT):
            yield [key for key in keys[first : first + _LOOKED_AT] if self._is_unused(key, since)]

    def _is_unused(self, key: SessionKey, since: float) -> bool:
        if key not in self._snapshots and key not in self._entries:
            return False
        newest = self._newest(key)
        seen = self._seen.get(key)
        if seen is None or seen[0] != newest:
            self._seen[key] = newest, self._now
            return False
        return seen[1] < since

    def clean(self) -> Commit:
        """There are no traces."""
        return self._committed

    def load(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        snapshot, entries = self._snapshots.get(key), tuple(self._entries.get(key, ()))
        if snapshot is not None:
            return Recorded(snapshot, entries)
        floor = self._floors.get(key, self._floor)
        return Recorded(None, entries, (entries[0].position or 1) - 1 if entries else floor)

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries that are kept."""
        wanted = min(limit, self._keep_history)
        if wanted <= 0:
            return ()
        last: list[Sequence[HistoryEntry]] = []
        found = 0
        for part in reversed(self._history.get(key, ())):
            last.append(part)
            found += len(part)
            if found >= wanted:
                break
        return tuple([entry for part in reversed(last) for entry in part])[-wanted:]

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
