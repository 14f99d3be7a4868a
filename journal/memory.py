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


class _Kept:
    """What is kept of one session.

    A part of the history is kept as it came: of most, nothing is made before somebody reads it.
    """

    __slots__ = ("entries", "history", "length", "older", "seen", "snapshot")

    def __init__(self) -> None:
        self.snapshot: object = None
        self.entries: tuple[Entry, ...] = ()
        """Those since the snapshot."""
        self.older: deque[Entry] | None = None
        """Entries that snapshots stand for."""
        self.history: deque[Sequence[HistoryEntry]] | None = None
        self.length = 0
        """Of the history, in entries."""
        self.seen: tuple[int, float] | None = None
        """The last position when somebody looked, and since when it was that."""

    @property
    def newest(self) -> int:
        """The position of the last event."""
        if self.entries:
            last = self.entries[-1]
            more = last.span - 1 if isinstance(last, Progressed) else 0
            return (last.position or 0) + more
        position: int = getattr(self.snapshot, "position", 0)  # a state has one
        return position


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
        self._kept: dict[SessionKey, _Kept] = {}
        self._floors: dict[SessionKey, int] = {}
        """The last positions of sessions that were erased, ..."""
        self._floor = 0
        """... and of those of which the own one is forgotten, the highest."""
        self._committed = Commit(done=True)
        self._now = 0.0

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
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
        kept.entries = (*kept.entries, *entries) if kept.entries else tuple(entries)
        if history:
            self._keep(kept, history)
        return self._committed

    def _keep(self, kept: _Kept, history: Sequence[HistoryEntry]) -> None:
        """Keep one more part of a history, and forget the first as long as enough is left."""
        parts = kept.history
        if parts is None:
            parts = kept.history = deque()
        parts.append(history)
        length = kept.length + len(history)
        while parts and length - len(parts[0]) >= self._keep_history:
            length -= len(parts.popleft())
        kept.length = length

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Take ``state`` for all entries so far, and forget those."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
        kept.snapshot = state
        if self._keep_entries and kept.entries:
            if kept.older is None:
                kept.older = deque(maxlen=self._keep_entries)
            kept.older += kept.entries
        kept.entries = ()

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Forget a session."""
        if unless_after is not None and not self._is_unused(key, unless_after):
            return Erased(self._committed, self._committed)
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._floors[key] = max(above, kept.newest)
            if len(self._floors) > _FLOORS:
                # What is begun anew is above all that was ever erased, so nobody needs to know.
                self._floor = max(self._floor, self._floors.pop(next(iter(self._floors))))
        return Erased(self._committed, self._committed)

    # --- who is not used ---

    def note_time(self, now: float) -> Commit:
        """It is this time."""
        self._now = now
        return self._committed

    async def unused(self, since: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions that are as they were when somebody looked then."""
        keys = tuple(self._kept)
        for first in range(0, len(keys), _LOOKED_AT):
            yield [key for key in keys[first : first + _LOOKED_AT] if self._is_unused(key, since)]

    def _is_unused(self, key: SessionKey, since: float) -> bool:
        kept = self._kept.get(key)
        if kept is None:
            return False
        if kept.seen is None or kept.seen[0] != kept.newest:
            kept.seen = kept.newest, self._now
            return False
        return kept.seen[1] < since

    def clean(self) -> Commit:
        """There are no traces."""
        return self._committed

    def load(self, key: SessionKey) -> Recorded:
        """The last snapshot and the entries since."""
        kept = self._kept.get(key)
        if kept is None:
            return Recorded(None, (), self._floors.get(key, self._floor))
        if kept.snapshot is not None or not kept.entries:
            return Recorded(kept.snapshot, kept.entries)
        return Recorded(None, kept.entries, (kept.entries[0].position or 1) - 1)

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries that are kept."""
        kept = self._kept.get(key)
        wanted = min(limit, self._keep_history)
        if wanted <= 0 or kept is None:
            return ()
        last: list[Sequence[HistoryEntry]] = []
        found = 0
        for part in reversed(kept.history or ()):
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
        kept = self._kept.get(key)
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
            for key in self._kept
            if (tenant is None or key.tenant == tenant) and (after is None or key > after)
        )
        return sorted(wanted)[:limit]
