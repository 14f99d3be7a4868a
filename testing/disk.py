"""Journals for tests: one on a simulated disk that outlives its system, and one that fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from ..journal.base import Commit, Erased, Recorded
from ..journal.memory import MemoryJournal
from ..messages.entries import Progressed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..messages.entries import Entry
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey

COMMIT_AFTER = 0.001
"""Seconds that a slow disk takes for a commit; all that comes meanwhile is one commit."""


class Shelf:
    """What the disk has of one session; the last of it may not be durable yet."""

    __slots__ = ("durable", "entries", "floor", "history", "history_durable", "snapshots")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        """Above this position it begins; what was below was erased."""
        self.entries: list[Entry] = []
        self.history: list[HistoryEntry] = []
        self.snapshots: list[tuple[int, object]] = []
        self.durable = 0
        self.history_durable = 0

    @property
    def position(self) -> int:
        """Of the last event."""
        if not self.entries:
            return self.floor
        entry = self.entries[-1]
        more = entry.span - 1 if isinstance(entry, Progressed) else 0
        return (entry.position or 0) + more

    @property
    def used_at(self) -> float:
        """When the last event happened."""
        return self.entries[-1].at if self.entries else 0.0

    def settle(self) -> None:
        """All that is written is durable."""
        self.durable = len(self.entries)
        self.history_durable = len(self.history)

    def lose(self) -> None:
        """What is not durable is gone."""
        del self.entries[self.durable :]
        del self.history[self.history_durable :]
        self.snapshots = [one for one in self.snapshots if one[0] <= self.durable]


class SimulatedDisk:
    """The disk under a journal. Systems come and go; it keeps what was durable.

    Every entry is kept, also those before a snapshot, so that a test can look at all of them.

    Args:
        slow: whether a commit takes time; without it everything is durable at once.
    """

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.shelves: dict[SessionKey, Shelf] = {}
        self.erased: list[tuple[SessionKey, Shelf]] = []
        """What was there of sessions that were erased, for a test to look at."""
        self.erasing: dict[SessionKey, Shelf] = {}
        self.on_append: Callable[[SessionKey, Sequence[Entry]], str] | None = None
        self.on_erase: Callable[[SessionKey], str] | None = None
        self._journal: DiskJournal | None = None

    def connect(self) -> DiskJournal:
        """A journal on this disk, for the next system; the one before writes no more."""
        self.disconnect()
        self._journal = DiskJournal(self)
        return self._journal

    def disconnect(self) -> None:
        """Whoever is connected writes no more; the append that is under way is the last one."""
        if self._journal is not None:
            self._journal.dead = True

    def kill(self) -> None:
        """The process is gone, and with it all that was not durable."""
        self.disconnect()
        self.shelves.update(self.erasing)  # that was not durable, and nothing behind it
        self.erasing.clear()
        for shelf in self.shelves.values():
            shelf.lose()

    def entries(self, key: SessionKey) -> list[Entry]:
        """All that is written of a session, durable or not, in order."""
        shelf = self.shelves.get(key)
        return [] if shelf is None else shelf.entries


class _Pending(NamedTuple):
    """An append that waits for the commit."""

    commit: Commit
    shelf: Shelf
    entries: int
    history: int
    erases: SessionKey | None = None


class DiskJournal:
    """One system's connection to a :class:`SimulatedDisk`."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.dead = False
        self._disk = disk
        self._pending: list[_Pending] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lost: set[SessionKey] = set()
        self._done = Commit(done=True)

    @property
    def survives(self) -> bool:
        """It does."""
        return True

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Commit what is pending."""
        self._commit()

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        """Write down; durable at once, or a moment later on a slow disk."""
        if self.dead:
            return Commit()
        disk = self._disk
        what = disk.on_append(key, entries) if disk.on_append is not None else ""
        if what == "lose" or key in self._lost:
            return self._lose(key)
        shelf = disk.shelves.get(key)
        if shelf is None:
            shelf = disk.shelves[key] = Shelf()
        shelf.entries += entries
        shelf.history += history
        if what == "unsure":
            # It is written, but nobody hears of it.
            shelf.settle()
            return self._lose(key)
        if not disk.slow:
            shelf.settle()
            return self._done
        return self._commit_later(_Pending(Commit(), shelf, len(shelf.entries), len(shelf.history)))

    def _commit_later(self, pending: _Pending) -> Commit:
        self._pending.append(pending)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(COMMIT_AFTER, self._commit)
        return pending.commit

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Empty a session's shelf; durable at once, or a moment later on a slow disk."""
        commit = self._erase(key, above, unless_after)
        return Erased(commit, commit)

    def _erase(self, key: SessionKey, above: int, unless_after: float | None) -> Commit:
        if self.dead:
            return Commit()
        disk = self._disk
        what = disk.on_erase(key) if disk.on_erase is not None else ""
        if what == "lose" or key in self._lost:
            return self._lose(key)
        shelf = disk.shelves.get(key)
        if shelf is None or (unless_after is not None and shelf.used_at >= unless_after):
            return self._done
        disk.shelves[key] = Shelf(max(above, shelf.position))
        if what == "unsure" or not disk.slow:
            disk.erased.append((key, shelf))
            return self._lose(key) if what else self._done
        disk.erasing.setdefault(key, shelf)
        return self._commit_later(
            _Pending(Commit(), shelf, len(shelf.entries), len(shelf.history), key)
        )

    def _lose(self, key: SessionKey) -> Commit:
        """Nobody can say what became of it; nothing is written behind it on this connection."""
        self._lost.add(key)
        commit = Commit()
        loop = asyncio.get_running_loop()
        loop.call_soon(commit.complete, OSError("the disk did not answer"))
        return commit

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.dead:
            return
        pending, self._pending = self._pending, []
        for one in pending:
            one.shelf.durable = max(one.shelf.durable, one.entries)
            one.shelf.history_durable = max(one.shelf.history_durable, one.history)
            if one.erases is not None:
                self._disk.erasing.pop(one.erases, None)
                self._disk.erased.append((one.erases, one.shelf))
        for one in pending:
            one.commit.complete()

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Remember the state behind all that is written."""
        shelf = self._disk.shelves[key]
        if not self.dead and key not in self._lost and shelf.entries:
            shelf.snapshots = [*shelf.snapshots[-1:], (len(shelf.entries), state)]

    def load(self, key: SessionKey) -> Recorded | Awaitable[Recorded]:
        """What the disk has; what is pending is waited for."""
        if self._pending:
            return self._load_later(key)
        return self._load(key)

    async def _load_later(self, key: SessionKey) -> Recorded:
        await asyncio.sleep(COMMIT_AFTER)
        self._commit()
        return self._load(key)

    def _load(self, key: SessionKey) -> Recorded:
        self._lost.discard(key)
        shelf = self._disk.shelves.get(key)
        if shelf is None:
            return Recorded(None, ())
        if not shelf.snapshots:
            return Recorded(None, tuple(shelf.entries), shelf.floor)
        count, state = shelf.snapshots[-1]
        return Recorded(state, tuple(shelf.entries[count:]), shelf.floor)

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries."""
        shelf = self._disk.shelves.get(key)
        return () if shelf is None or limit <= 0 else tuple(shelf.history[-limit:])


class FailingJournal(MemoryJournal):
    """A journal in memory that keeps a test waiting for commits, or loses them.

    Args:
        keep_history: as for the journal in memory.
    """

    def __init__(self, *, keep_history: int = 200) -> None:
        super().__init__(keep_history=keep_history)
        self._held: list[Commit] | None = None
        self._failures: list[tuple[Exception, bool]] = []

    def fail(
        self, times: int = 1, *, error: Exception | None = None, written: bool = False
    ) -> None:
        """Let the next commits fail: nobody can say whether the journal has them.

        Args:
            times: how many.
            error: what they fail with; by default an ``OSError``.
            written: whether the entries are there in truth.
        """
        self._failures += [(error or OSError("the disk is full"), written)] * times

    def hold(self) -> None:
        """Let no commit from now on be done before :meth:`commit`."""
        self._held = self._held or []

    def commit(self, *, hold: bool = True) -> None:
        """All that was appended is durable now.

        Args:
            hold: whether what comes from here on waits again.
        """
        held, self._held = self._held or [], [] if hold else None
        for commit in held:
            commit.complete()

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Forget a session, or fail to."""
        commit = self._erase(key, above, unless_after)
        return Erased(commit, commit)

    def _erase(self, key: SessionKey, above: int, unless_after: float | None) -> Commit:
        if self._failures:
            error, written = self._failures.pop(0)
            if written:
                super().erase(key, above, unless_after=unless_after)
            return self._failed(error)
        done = super().erase(key, above, unless_after=unless_after).commit
        return done if self._held is None else self._hold_back()

    def _failed(self, error: Exception) -> Commit:
        commit = Commit()
        asyncio.get_running_loop().call_soon(commit.complete, error)
        return commit

    def _hold_back(self) -> Commit:
        held = self._held = self._held or []
        held.append(Commit())
        return held[-1]

    def append(self, key: SessionKey, entries: Any, history: Any = ()) -> Commit:
        """Record, or fail to."""
        if self._failures:
            error, written = self._failures.pop(0)
            if written:
                super().append(key, entries, history)
            return self._failed(error)
        done = super().append(key, entries, history)
        return done if self._held is None else self._hold_back()
