"""What a journal has on the disk, session by session, as rows that are not decoded."""

from __future__ import annotations

import heapq
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..messages.ids import SessionKey
from .codec import Row
from .schema import POSITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .database import Database

TABLES: Final = {
    "snapshot": "id",
    "entry": "id",
    "recent": "place",
    "history": "id",
    "later_history": "place",
}
"""The tables with what sessions have, and the column with session and position."""

_GOES_TO: Final = {"recent": "entry", "later_history": "history"}
"""Where the rows belong of tables that have them in the order of writing."""


_NOTHING: Final[Mapping[int, float]] = MappingProxyType({})


class Found(NamedTuple):
    """What a journal has of a session, as it is on the disk.

    Args:
        number: by which its rows name it.
        key: its name; None if rows name a session that is not there.
        unfinished: how many messages and deliveries it has that have not ended, as is noted.
        touched_at: when that changed last, in seconds since the epoch.
        rows: by table, in order; entries of both tables are in ``entry``, and all of the history
            is in ``history``.
        error: what SQLite says instead of rows; then there may be more.
        floor: its first position is the one above this.
        due: at which positions messages were accepted that are not due yet, and when they are.
    """

    number: int
    key: SessionKey | None
    unfinished: int
    touched_at: float
    rows: dict[str, list[Row]]
    error: str = ""
    floor: int = 0
    due: Mapping[int, float] = _NOTHING

    @property
    def first(self) -> int:
        """What the ids of its rows are counted from."""
        return self.number * POSITIONS


def read_sessions(
    connection: Database, first: int, last: int, tables: Sequence[str]
) -> Iterator[Found]:
    """Sessions by their numbers, with rows of such as are not there; within one transaction.

    Args:
        connection: to the journal.
        first: the number to begin with.
        last: the number to end with.
        tables: whose rows are wanted.

    Raises:
        apsw.CorruptError: a page cannot be read.
    """
    floor = "floor" if connection.pragma("user_version") > 1 else "0"
    names: dict[int, Any] = {
        number: row
        for number, *row in connection.execute(
            f"SELECT id, tenant, session_id, unfinished, touched_at, {floor} "  # noqa: S608 - ours
            "FROM session WHERE id BETWEEN ? AND ?",
            (first, last),
        )
    }
    due = read_due(connection, first, last)
    merged = heapq.merge(
        ((number, "", None) for number in sorted(names)),
        *(_rows(connection, table, first, last) for table in tables_of(connection, tables)),
        key=_number,
    )
    for number, group in groupby(merged, _number):
        rows: dict[str, list[Row]] = {table: [] for table in TABLES if table not in _GOES_TO}
        for _, table, row in group:
            if row is not None:
                rows[_GOES_TO.get(table, table)].append(row)
        for table in _GOES_TO.values():
            if len(rows[table]) > 1:
                rows[table].sort(key=lambda row: row.row_id)
        tenant, session_id, unfinished, touched_at, begin = names.get(number) or _NOBODY
        key = SessionKey(tenant, session_id) if number in names else None
        times = due.get(number, _NOTHING)
        yield Found(number, key, unfinished, touched_at, rows, floor=begin, due=times)


def tables_of(connection: Database, tables: Iterable[str] = TABLES) -> list[str]:
    """Those of ``tables`` that the journal has; all, once this version has written to it."""
    names: list[Any] = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    there = {name for (name,) in names}
    return [table for table in tables if table in there]


def read_due(connection: Database, first: int, last: int) -> dict[int, dict[int, float]]:
    """What is scheduled in sessions, by their numbers, and by where it was accepted."""
    due: dict[int, dict[int, float]] = {}
    if not has_due(connection):
        return due
    span = (first * POSITIONS, (last + 1) * POSITIONS - 1)
    for place, at in connection.execute("SELECT id, at FROM due WHERE id BETWEEN ? AND ?", span):
        due.setdefault(place >> 32, {})[place % POSITIONS] = at
    return due


def has_due(connection: Database) -> bool:
    """Whether the journal knows what is due; it does once this version has written to it."""
    found: int = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'due'").get
    return found > 0


_NOBODY: Final = ("", "", 0, 0.0, 0)

_Tagged = tuple[int, str, Row | None]


def _number(tagged: _Tagged) -> int:
    return tagged[0]


def _rows(connection: Database, table: str, first: int, last: int) -> Iterator[_Tagged]:
    place = TABLES[table]
    rows = connection.execute(
        f"SELECT {place}, version, checksum, data FROM {table} "  # noqa: S608 - our own words
        f"WHERE {place} BETWEEN ? AND ? ORDER BY {place}",
        (first * POSITIONS, (last + 1) * POSITIONS - 1),
    )
    for row in rows:
        yield row[0] >> 32, table, Row(*row)
