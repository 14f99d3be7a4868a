"""What a transaction of the writer consists of: the statements, in as few as may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .codec import VERSION, checksum_of
from .schema import row_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .database import Database
    from .items import Snapshot

_CHUNK: Final = 128
"""Rows that one statement writes at most. A thread that talks to SQLite gives the interpreter's
lock away at every statement, and beside a busy loop it waits up to 5 ms to get it back."""


def session_of(connection: Database, snapshot: Snapshot) -> list[int]:
    """The id of a snapshot's session; none if that was erased meanwhile, or begun anew."""
    found = connection.execute(
        "SELECT id FROM session WHERE tenant = ? AND session_id = ? AND floor < ?",
        (*snapshot.key, snapshot.position),
    )
    return [session for (session,) in found]


def insert_rows(connection: Database, table: str, values: list[Any]) -> None:
    """Write rows of a table, three values each."""
    for first, last, rows in _chunks(len(values) // 3):
        places = ",".join([f"(?,{VERSION},?,?)"] * rows)
        connection.execute(
            f"INSERT INTO {table} VALUES {places}",  # noqa: S608 - one of our own tables
            values[3 * first : 3 * last],
        )


def count_unfinished(connection: Database, counted: list[tuple[int, int, float]]) -> None:
    """Note by how many messages and deliveries more sessions are to be ended."""
    for first, last, rows in _chunks(len(counted)):
        places = ",".join(["(?,?,?)"] * rows)
        connection.execute(
            f"WITH more (id, number, at) AS (VALUES {places}) UPDATE session "  # noqa: S608
            "SET unfinished = unfinished + number, touched_at = at FROM more "
            "WHERE session.id = more.id",
            [value for row in counted[first:last] for value in row],
        )


def schedule(connection: Database, session: int, due: Sequence[tuple[int, float | None]]) -> None:
    """Note when messages of a session are due, or that they are scheduled no more."""
    for position, at in due:
        place = row_id(session, position)
        if at is None:
            connection.execute("DELETE FROM due WHERE id = ?", (place,))
        else:
            connection.execute("INSERT INTO due VALUES (?, ?)", (place, at))


def _chunks(count: int) -> Iterable[tuple[int, int, int]]:
    """Cut rows into powers of two, so that there are few statements to prepare."""
    first = 0
    while first < count:
        rows = min(_CHUNK, 1 << (count - first).bit_length() - 1)
        yield first, first + rows, rows
        first += rows


def put_snapshot(connection: Database, session: int, snapshot: Snapshot, keep: int) -> None:
    """Put a snapshot in the place of the one before, and of the entries so far but the last."""
    first, last = row_id(session, 0), row_id(session, snapshot.position)
    covered = (first, last - keep)
    connection.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", covered)
    connection.execute("DELETE FROM recent WHERE place BETWEEN ? AND ?", covered)
    connection.execute("DELETE FROM snapshot WHERE id BETWEEN ? AND ?", (first, last))
    insert_rows(connection, "snapshot", [last, checksum_of(last, snapshot.data), snapshot.data])
