"""The one that reads, beside the writer: what a journal has of a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import apsw

from ..messages.entries import Progressed
from ..messages.errors import JournalCorrupt
from ..messages.ids import SessionKey
from . import age
from .base import Recorded
from .codec import Row, checked
from .floors import floor_of, name_of, salt_of
from .rows import TABLES
from .schema import POSITIONS, connect_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from ..messages.entries import Entry
    from ..messages.events import Event
    from ..messages.history import HistoryEntry
    from .base import StateForm
    from .codec import Codec
    from .database import Database

_BATCH = 1000
"""Sessions that are named at a time."""

_DUE_AT_ONCE = 256
"""Sessions of which something is due that are named at a time: all of them are started."""


class Reader:
    """Reads a journal; all of it is called in the reader's thread.

    Args:
        path: of the journal.
        vfs: the name of an apsw VFS to open it through.
        codec: reads entries and history.
        state: reads snapshots.
    """

    def __init__(self, path: Path, vfs: str | None, codec: Codec, state: StateForm | None) -> None:
        self._path = path
        self._vfs = vfs
        self._codec = codec
        self._state = state
        self._connection: Database | None = None
        self._salt = b""

    def close(self) -> None:
        """Let go of the journal."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None

    def load(self, key: SessionKey) -> tuple[Recorded, int]:
        """What is known of a session, and the position of the snapshot in it, or 0.

        Raises:
            JournalCorrupt: it cannot be read.
            apsw.Error: it cannot be read now.
        """
        what = f"the journal of session {str(key)!r}"
        try:
            return self._load(key, what)
        except apsw.CorruptError as error:
            msg = f"{what} cannot be read: {error}; restore it from a backup"
            raise JournalCorrupt(msg) from error
        except apsw.IOError:
            self.close()  # and try another time on a new connection
            raise

    def _load(self, key: SessionKey, what: str) -> tuple[Recorded, int]:
        recorded: tuple[Recorded, int] = (Recorded(None, ()), 0)
        with self._opened() as connection:  # so that no compaction comes between
            found = connection.execute(
                "SELECT id, floor FROM session WHERE tenant = ? AND session_id = ?", key
            ).fetchall()
            if not found:
                recorded = Recorded(None, (), floor_of(connection, name_of(key, self._salt))), 0
            for session, floor in found:
                recorded = self._recorded(connection, session * POSITIONS, floor, what)
        return recorded

    def _recorded(
        self, connection: Database, first: int, floor: int, what: str
    ) -> tuple[Recorded, int]:
        snapshot: object | None = None
        at = floor
        for row in _rows(connection, "snapshot", first):
            at = row.row_id - first
            data = checked(row, f"{what}, snapshot")
            assert self._state is not None, "who has sessions has said how states are written"
            try:
                snapshot = self._state.load(data)
            except (ValueError, TypeError) as error:
                msg = f"{what}, snapshot at {at}, cannot be read: {error}"
                raise JournalCorrupt(msg) from error
        # Those that the snapshot covers are there for who looks at what happened.
        rows = [
            *_rows(connection, "entry", first, behind=at),
            *_rows(connection, "recent", first, behind=at),
        ]
        entries: Sequence[Entry] = self._codec.read_entries(rows, what) if rows else []
        if not entries and snapshot is None and any(_history(connection, first)):
            msg = f"{what} is gone, but for its history: restore it from a backup"
            raise JournalCorrupt(msg)
        return Recorded(snapshot, entries, floor), at

    def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last entries of a session's history, oldest first.

        Raises:
            JournalCorrupt: one of them cannot be read.
            apsw.Error: it cannot be read now.
        """
        pieces: list[Sequence[HistoryEntry]] = []
        missing = limit
        with self._opened() as connection:
            first = self._first_of(connection, key)
            for row in () if first is None else _history(connection, first):
                if missing <= 0:
                    break
                what = f"the history of session {str(key)!r}"
                pieces.append(self._codec.read_history(row, what)[-missing:])
                missing -= len(pieces[-1])
        return [entry for piece in reversed(pieces) for entry in piece]

    def events(self, key: SessionKey, after: int, limit: int) -> Sequence[Event]:
        """The first events of a session behind a position, as far as they are kept.

        Raises:
            JournalCorrupt: they cannot be read.
            apsw.Error: it cannot be read now.
        """
        with self._opened() as connection:
            first = self._first_of(connection, key)
            rows = [] if first is None else _rows_behind(connection, first, after, limit)
        if not rows:
            return ()
        events = (
            event
            for entry in self._codec.read_entries(rows, f"the journal of session {str(key)!r}")
            for event in (entry.events(key) if isinstance(entry, Progressed) else (entry,))
            if (event.position or 0) > after
        )
        return tuple(islice(events, limit))

    def sessions(
        self, tenant: str | None, after: SessionKey | None, limit: int
    ) -> Sequence[SessionKey]:
        """The names of some sessions, in their order."""
        found = self._opened().execute(
            "SELECT tenant, session_id FROM session WHERE (tenant, session_id) > (?1, ?2) "
            "AND (?3 IS NULL OR tenant = ?3) ORDER BY tenant, session_id LIMIT ?4",
            (*(after or SessionKey(tenant or "", "")), tenant, limit),
        )
        rows: list[Any] = found.fetchall()
        return [SessionKey(*row) for row in rows]

    def unused(self, after: int, since: float) -> tuple[Sequence[SessionKey], int | None]:
        """Some of the sessions that nobody has used since then, and the id to go on after."""
        keys, last = age.unused(self._opened(), after, since)
        return [SessionKey(*key) for key in keys], last

    def unfinished(self, after: int) -> tuple[Sequence[SessionKey], int]:
        """Some of the sessions that something waits for, and the id to go on after."""
        found = self._opened().execute(
            "SELECT id, tenant, session_id FROM session WHERE unfinished > 0 AND id > ? "
            "ORDER BY id LIMIT ?",
            (after, _BATCH),
        )
        rows: list[Any] = found.fetchall()
        return [SessionKey(*row[1:]) for row in rows], rows[-1][0] if rows else after

    def due(
        self, until: float, after: tuple[float, int]
    ) -> tuple[Sequence[SessionKey], tuple[float, int]]:
        """Some of the sessions of which something is due, and where to go on after."""
        found = self._opened().execute(
            "SELECT due.at, due.id, tenant, session_id FROM due "
            "JOIN session ON session.id = due.id / ? "
            "WHERE (due.at, due.id) > (?, ?) AND due.at <= ? ORDER BY due.at, due.id LIMIT ?",
            (POSITIONS, *after, until, _DUE_AT_ONCE),
        )
        rows: list[Any] = found.fetchall()
        keys = list(dict.fromkeys(SessionKey(*row[2:]) for row in rows))
        return keys, (rows[-1][0], rows[-1][1]) if rows else after

    def next_due(self, after: float) -> float | None:
        """When the first of what is due after that is."""
        first: float | None = (
            self._opened().execute("SELECT min(at) FROM due WHERE at > ?", (after,)).get
        )
        return first

    def _opened(self) -> Database:
        if self._connection is None:
            self._connection = connect_to_read(self._path, self._vfs)
            self._salt = salt_of(self._connection)
        return self._connection

    @staticmethod
    def _first_of(connection: Database, key: SessionKey) -> int | None:
        found: int | None = connection.execute(
            "SELECT id FROM session WHERE tenant = ? AND session_id = ?", key
        ).get
        return None if found is None else found * POSITIONS


def _rows_behind(connection: Database, first: int, after: int, limit: int) -> list[Row]:
    """The rows from the one on that has what is behind a position."""
    both = (
        "(SELECT place, version, checksum, data FROM recent "
        "UNION ALL SELECT id, version, checksum, data FROM entry)"
    )
    found = connection.execute(
        f"SELECT * FROM {both} WHERE place BETWEEN "  # noqa: S608 - our own words
        f"ifnull((SELECT max(place) FROM {both} WHERE place BETWEEN ?1 AND ?2), ?1) AND ?3 "
        "ORDER BY place LIMIT ?4",
        (first, first + after + 1, first + POSITIONS - 1, limit + 1),
    )
    return [Row(*row) for row in found]


def _rows(
    connection: Database, table: str, first: int, order: str = "ASC", *, behind: int = -1
) -> Iterator[Row]:
    place = TABLES[table]
    rows = connection.execute(
        f"SELECT {place}, version, checksum, data FROM {table} "  # noqa: S608 - our own words
        f"WHERE {place} BETWEEN ? AND ? ORDER BY {place} {order}",
        (first + behind + 1, first + POSITIONS - 1),
    )
    for row in rows:
        yield Row(*row)


def _history(connection: Database, first: int) -> Iterator[Row]:
    """The pieces of a session's history, the last one first."""
    yield from _rows(connection, "later_history", first, "DESC")
    yield from _rows(connection, "history", first, "DESC")
