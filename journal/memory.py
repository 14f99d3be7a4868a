"""A journal in memory: nothing outlives the process, and nothing has to be waited for."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from .base import Commit, Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages.events import Entry
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey


class _Kept:
    """What is kept of one session."""

    __slots__ = ("entries", "history", "snapshot")

    def __init__(self) -> None:
        self.snapshot: object | None = None
        self.entries: list[Entry] = []
        self.history: deque[HistoryEntry] | None = None


class MemoryJournal:
    """Keeps each session's state, the entries since, and the end of its history.

    Args:
        keep_history: entries of a session's history that are kept; older ones are forgotten, so
            that a bot that runs for months does not grow.

    Raises:
        ValueError: ``keep_history`` is negative.
    """

    def __init__(self, *, keep_history: int = 200) -> None:
        if keep_history < 0:
            msg = f"keep_history is a number of entries, not {keep_history}: give 0 or more"
            raise ValueError(msg)
        self._keep_history = keep_history
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
