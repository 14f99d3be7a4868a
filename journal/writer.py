"""The one that writes: everything that waits in one transaction, again and again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import apsw
from loguru import logger

from .age import note_time
from .codec import checksum_of
from .floors import last_of, may_begin, name_of, raise_floor, salt_of
from .items import CountedUnit, Erasure, Glance, Snapshot, Unit
from .rows import TABLES
from .schema import (
    POSITIONS,
    connect,
    keep_wal,
    note_open,
    refuse_damaged_wal,
    refuse_without_its_file,
    refuse_without_its_wal,
    row_id,
    upgrade,
)
from .scrubber import Scrubber
from .statements import count_unfinished, insert_rows, put_snapshot, schedule, session_of
from .wal import synced_wal

if TYPE_CHECKING:
    from pathlib import Path

    from ..messages.ids import SessionKey
    from .database import Database
    from .items import Item
    from .schema import Synchronous

DEFINITE: Final = (apsw.FullError, apsw.BusyError, apsw.LockedError)
"""Errors after which it is known that nothing was written: the same can be tried again."""

OF_ONE: Final = (apsw.ConstraintError, apsw.TooBigError)
"""Errors that one item is to blame for; nothing was written, and the others can be."""

_CHECKPOINT_AT: Final = 1000
"""Pages in the ``-wal`` file (4 KiB each) after which they are moved to the main one."""

_RECENT: Final = 2_000
"""Rows that are kept in the order of writing."""

_KNOWN: Final = 50_000
"""Sessions of which the writer knows the last row without looking it up. Those that are let go
are none of them."""


class Lost(Exception):
    """Nobody can say whether the last transaction is in the journal."""


class Writer:
    """Writes a journal; all of it is called in the writer's thread.

    Args:
        path: of the journal.
        synchronous: whether a commit is to survive a power cut, too.
        vfs: the name of an apsw VFS to open it through.
        accept_loss: whether to go on with a journal of which the newest part is missing or damaged.
        keep: positions before a snapshot of which the entries stay, for those who look.
    """

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        vfs: str | None,
        *,
        accept_loss: bool,
        keep: int = 0,
    ) -> None:
        self._path = path
        self._keep = keep
        self._synchronous: Synchronous = synchronous
        self._vfs = vfs
        self._accept_loss = accept_loss
        self._connection: Database | None = None
        self._last: dict[SessionKey, int] = {}  # the row of a session's last entry
        self._recent = 0
        self._wal_pages = 0
        self._checkpoint_at = _CHECKPOINT_AT
        self._salt = b""
        self._scrubber = Scrubber(path, vfs)
        self._looked = False
        self.has_traces = False
        """Whether an earlier process has erased something, and did not look for its traces."""
        self.has_erased = False
        """Whether something was erased since somebody looked."""

    def open(self) -> None:
        """Open the journal; make it if it is not there.

        Raises:
            JournalError: it cannot be used as it is.
            apsw.Error: SQLite cannot open it.
        """
        wal = synced_wal(self._path)
        if wal is None:
            refuse_without_its_wal(self._path, self._vfs, accept_loss=self._accept_loss)
        else:
            wal = refuse_without_its_file(self._path, wal, accept_loss=self._accept_loss)
        connection = connect(self._path, self._synchronous, self._vfs)
        try:
            if wal is not None:
                refuse_damaged_wal(
                    *(connection, self._path, wal, self._synchronous),
                    accept_loss=self._accept_loss,
                )
            upgrade(connection)
            note_open(connection, self._synchronous)
            found = connection.execute("SELECT value FROM about WHERE name = 'traces'").get
        except BaseException:
            connection.close(force=True)
            raise
        self._use(connection)
        self.has_traces = found is not None

    def _use(self, connection: Database) -> None:
        connection.set_wal_hook(self._note_pages)
        self._connection = connection
        self._salt = salt_of(connection)
        self._recent = connection.execute("SELECT count(*) FROM recent").get
        self._wal_pages = 0
        self._checkpoint_at = _CHECKPOINT_AT

    def _note_pages(self, _connection: Database, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def close(self) -> None:
        """Note that it was closed in order, and let go of it."""
        self._sort()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            note_open(connection, None)
            keep_wal(connection, keep=False)
        except apsw.Error as error:
            logger.warning("the journal {} could not be closed in order: {}", self._path, error)
        finally:
            connection.close(force=True)

    def write(self, items: Sequence[Item]) -> None:
        """Write all of it in one transaction.

        Raises:
            apsw.Error: of :data:`DEFINITE` or :data:`OF_ONE`; none of it was written.
            Lost: nobody can say.
        """
        connection = self._connection
        assert connection is not None, "who writes has had it opened before"
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._write(connection, items)
            connection.execute("COMMIT")
        except BaseException as error:
            self._undo(connection, error)
            raise
        if len(self._last) > _KNOWN:
            self._last.clear()

    def let_go(self, key: SessionKey) -> None:
        """Forget a session of which nothing waits to be written; called in any thread."""
        self._last.pop(key, None)

    def reopen(self) -> None:
        """Have a connection; a new one after one was lost, and on it only what is durable.

        After a sync that failed the machine may show what it never wrote; so all that can be read
        is written once more, into the main file.

        Raises:
            JournalError, apsw.Error: there is none yet.
        """
        if self._connection is not None:
            return
        connection = connect(self._path, self._synchronous, self._vfs)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except BaseException:
            connection.close(force=True)
            raise
        self._use(connection)

    def _undo(self, connection: Database, error: BaseException) -> None:
        self._last.clear()
        if isinstance(error, (*DEFINITE, *OF_ONE)):
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except apsw.Error as worse:
                error = worse
            else:
                return
        # Stop writing on this connection: what it has in memory may not be what the disk has.
        self._connection = None
        with contextlib.suppress(Exception):
            connection.close(force=True)
        raise Lost from error

    # --- one transaction ---

    def _write(self, connection: Database, items: Sequence[Item]) -> None:
        entries: list[Any] = []
        history: list[Any] = []
        unfinished: dict[int, tuple[int, float]] = {}
        snapshots: list[tuple[int, Snapshot]] = []
        for item in items:
            if isinstance(item, Unit):
                place = self._place_of(connection, item)
                entries += (place, checksum_of(place, item.data), item.data)
                if not isinstance(item, CountedUnit):  # as most are not
                    continue
                session = place // POSITIONS
                if item.history:
                    history += (place, checksum_of(place, item.history), item.history)
                if item.at:
                    before = unfinished.get(session)
                    more = item.unfinished + (before[0] if before else 0)
                    unfinished[session] = (more, item.at)
                if item.due:
                    schedule(connection, session, item.due)
            elif isinstance(item, Snapshot):
                found = session_of(connection, item)
                snapshots += ((session, item) for session in found)
            else:
                self._insert(connection, entries, history, unfinished, snapshots)
                for written in (entries, history, unfinished, snapshots):
                    written.clear()
                self._look_or_erase(connection, item)
        self._insert(connection, entries, history, unfinished, snapshots)

    def _place_of(self, connection: Database, unit: Unit) -> int:
        """The row of a unit; it is the last one of its session from here on."""
        key = unit.key
        last = self._last.get(key) or self._last_of(connection, unit)
        place = row_id(last // POSITIONS, unit.position)
        if place <= last:
            msg = f"session {str(key)!r} has something at {unit.position} already"
            raise apsw.ConstraintError(msg)
        self._last[key] = place
        return place

    def _look_or_erase(self, connection: Database, item: Item) -> None:
        if isinstance(item, Glance):
            note_time(connection, item.at, is_first=not self._looked)
            self._looked = True
        elif isinstance(item, Erasure):
            self._erase(connection, item)

    def _insert(
        self,
        connection: Database,
        entries: list[Any],
        history: list[Any],
        unfinished: dict[int, tuple[int, float]],
        snapshots: list[tuple[int, Snapshot]],
    ) -> None:
        insert_rows(connection, "recent (place, version, checksum, data)", entries)
        self._recent += len(entries) // 3
        insert_rows(connection, "later_history (place, version, checksum, data)", history)
        count_unfinished(connection, [(key, *value) for key, value in unfinished.items()])
        for session, snapshot in snapshots:
            put_snapshot(connection, session, snapshot, self._keep)

    def _id_of(self, connection: Database, unit: Unit) -> int:
        key = unit.key
        found: Any = connection.execute(
            "SELECT id FROM session WHERE tenant = ? AND session_id = ?", key
        ).get
        if found is None:
            floor = unit.position - 1
            if floor:
                self._check_floor(connection, key, floor)
            found = connection.execute(
                "INSERT INTO session (tenant, session_id, touched_at, floor) VALUES (?, ?, ?, ?) "
                "RETURNING id",
                (*key, unit.at if isinstance(unit, CountedUnit) else 0.0, floor),
            ).get
        return int(found)

    def _check_floor(self, connection: Database, key: SessionKey, floor: int) -> None:
        """A session that is not there begins where one was erased, or its beginning is missing."""
        if not may_begin(connection, name_of(key, self._salt), floor):
            msg = f"session {str(key)!r} goes on at {floor + 1}, and what was before is not there"
            raise apsw.ConstraintError(msg)

    def _erase(self, connection: Database, item: Erasure) -> None:
        """Delete what there is of a session."""
        key = item.key
        found: list[Any] = connection.execute(
            "SELECT id, floor FROM session WHERE tenant = ? AND session_id = ? "
            "AND (?3 IS NULL OR (unfinished = 0 AND touched_at < ?3 AND NOT EXISTS (SELECT 1 "
            "FROM due WHERE due.id BETWEEN session.id << 32 AND session.id << 32 | 0xFFFFFFFF)))",
            (*key, item.unless_after),
        ).fetchall()
        self._last.pop(key, None)
        for session, before in found:
            floor = max(before, last_of(connection, session, item.above))
            bounds = (row_id(session, 0), row_id(session + 1, 0) - 1)
            for table, place in TABLES.items():
                connection.execute(
                    f"DELETE FROM {table} WHERE {place} BETWEEN ? AND ?",  # noqa: S608 - ours
                    bounds,
                )
            connection.execute("DELETE FROM due WHERE id BETWEEN ? AND ?", bounds)
            connection.execute("DELETE FROM session WHERE id = ?", (session,))
            raise_floor(connection, name_of(key, self._salt), floor, time.time())
            connection.execute("INSERT OR REPLACE INTO about VALUES ('traces', 1)")
        self.has_erased = self.has_erased or item.unless_after is None

    def _last_of(self, connection: Database, unit: Unit) -> int:
        """The row of the last entry of a unit's session; the one before the first if it is new."""
        before = row_id(self._id_of(connection, unit), 0)
        last = connection.execute(
            "SELECT max(?1, "
            "ifnull((SELECT max(place) FROM recent WHERE place BETWEEN ?1 AND ?2), -1), "
            "ifnull((SELECT max(id) FROM entry WHERE id BETWEEN ?1 AND ?2), -1))",
            (before, before + POSITIONS - 1),
        ).get
        return int(last)

    # --- traces ---

    def until_clean(self) -> int:
        """The value of :attr:`cleaned` at which nothing is left of what was deleted by now."""
        assert self._connection is not None, "it was written to just now"
        return self._scrubber.until(self._connection)

    def clean(self) -> int:
        """Go through some more of the file for traces of what was deleted; gives how much in all.

        Raises:
            apsw.Error: not now; nothing is lost by that.
        """
        if self._connection is not None:
            self._scrubber.step(self._connection)
        return self._scrubber.seen

    def note_clean(self) -> None:
        """Nothing is left to be looked for.

        Raises:
            apsw.Error: that is not noted, so the next process looks again.
        """
        if self._connection is not None:
            self._connection.execute("DELETE FROM about WHERE name = 'traces'")

    # --- between two transactions ---

    def tidy(self) -> None:
        """Put things where they belong for good, when they are enough.

        What fails here was durable before, and stays where it is.
        """
        if self._recent >= _RECENT:
            self._sort()
        self._checkpoint()

    def _sort(self) -> None:
        """Put what was written recently beside what its sessions have already."""
        connection = self._connection
        if connection is None or not self._recent:
            return
        try:
            connection.execute(
                "BEGIN IMMEDIATE; INSERT INTO entry SELECT place, version, checksum, data "
                "FROM recent ORDER BY place; DELETE FROM recent; COMMIT"
            )
        except apsw.Error as error:
            logger.warning("the journal {} is not sorted for now: {}", self._path, error)
            with contextlib.suppress(Lost):
                self._undo(connection, error)
        self._recent = 0

    def vacuum(self) -> None:
        """Write the main file anew, without what is free in it.

        Raises:
            apsw.Error: it is as it was.
        """
        self._sort()
        assert self._connection is not None, "who writes has had it opened before"
        self._connection.execute("VACUUM")
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _checkpoint(self) -> None:
        """Move what is in the ``-wal`` file into the main one."""
        if self._wal_pages < self._checkpoint_at or self._connection is None:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._checkpoint_at = self._wal_pages + _CHECKPOINT_AT
            logger.warning("the journal {} keeps its -wal for now: {}", self._path, error)
        else:
            self._checkpoint_at = _CHECKPOINT_AT
            self._wal_pages = 0
