"""What is in a journal, in figures."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

from ..messages.errors import JournalCorrupt
from ..messages.ids import SessionKey
from .rows import TABLES, has_due, tables_of
from .schema import POSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .inspect import Inspection

_STRIDE: Final = 20_000
"""Sessions whose rows are counted in one query."""


class Large(NamedTuple):
    """One of the largest sessions.

    Args:
        bytes: of its rows.
    """

    key: SessionKey
    rows: int
    bytes: int


class Stats(NamedTuple):
    """A journal in figures.

    Args:
        holder: the process that has it open; None for nobody.
        sessions: in all.
        unfinished: sessions that something waits for.
        messages: that were accepted, are due, and have not ended.
        scheduled: messages that were accepted and are not due yet.
        deliveries: that have not ended: the outbox.
        running: turns that have not ended.
        unreadable: sessions that something waits for and that cannot be folded.
        snapshots: sessions with a snapshot.
        rows: by table.
        bytes: of what is in these rows, by table.
        file_bytes: of the main file.
        wal_bytes: of the file ``-wal``; None if there is none.
        free_bytes: within the main file, that ``compact`` gives back.
        oldest: when the session that was not touched for longest was, in seconds since the epoch.
        newest: when a session was touched last.
        largest: sessions.
    """

    path: str
    schema: int
    holder: str | None
    sessions: int
    unfinished: int
    messages: int
    scheduled: int
    deliveries: int
    running: int
    unreadable: int
    snapshots: int
    rows: dict[str, int]
    bytes: dict[str, int]
    file_bytes: int
    wal_bytes: int | None
    free_bytes: int
    oldest: float | None
    newest: float | None
    largest: tuple[Large, ...]


def stats_of(
    inspection: Inspection,
    *,
    largest: int = 10,
    progress: Callable[[int], object] = lambda _: None,
) -> Stats:
    """Count what is in a journal.

    Args:
        inspection: of the journal.
        largest: how many of the largest sessions are named.
        progress: called with the number of sessions whenever some were counted.

    Raises:
        JournalError: the journal was written to, so that it must be looked at again.
        JournalCorrupt: SQLite cannot read it.
    """
    try:
        stats = _counted(inspection, largest, progress)
    except apsw.CorruptError as error:
        msg = f"the journal cannot be counted: {error}; `wavebreak journal check` says more"
        raise JournalCorrupt(msg) from error
    inspection.confirm()
    return stats


def _counted(inspection: Inspection, largest: int, progress: Callable[[int], object]) -> Stats:
    connection = inspection.connection
    sessions, unfinished, oldest, newest, last = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE unfinished != 0), "
        "min(touched_at) FILTER (WHERE touched_at > 0), max(touched_at), max(id) FROM session"
    ).fetchall()[0]
    rows, sizes = dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, 0)
    found: list[tuple[int, int, int]] = []
    tables = tables_of(connection)
    for first in range(0, (last or 0) + 1, _STRIDE):
        span = (first * POSITIONS, (first + _STRIDE) * POSITIONS - 1)
        for table in tables:
            number, size = connection.execute(
                f"SELECT count(*), ifnull(sum(length(data)), 0) FROM {table} "  # noqa: S608
                f"WHERE {TABLES[table]} BETWEEN ? AND ?",
                span,
            ).fetchall()[0]
            rows[table] += number
            sizes[table] += size
        found = heapq.nlargest(largest, [*found, *_largest(inspection, span, largest)])
        progress(_STRIDE)
    messages, deliveries, running, unreadable = _waiting(inspection)
    page = int(connection.pragma("page_size"))
    return Stats(
        path=str(inspection.path),
        schema=int(connection.pragma("user_version")),
        holder=inspection.holder,
        sessions=sessions,
        unfinished=unfinished,
        messages=messages,
        scheduled=connection.execute("SELECT count(*) FROM due").get if has_due(connection) else 0,
        deliveries=deliveries,
        running=running,
        unreadable=unreadable,
        snapshots=rows["snapshot"],
        rows=rows,
        bytes=sizes,
        file_bytes=inspection.path.stat().st_size,
        wal_bytes=_size_of(inspection.path.with_name(f"{inspection.path.name}-wal")),
        free_bytes=page * int(connection.pragma("freelist_count")),
        oldest=oldest,
        newest=newest or None,
        largest=tuple(
            Large(key, number, size)
            for size, number, session in found
            if (key := _key_of(inspection, session)) is not None
        ),
    )


def _largest(inspection: Inspection, span: tuple[int, int], most: int) -> list[Any]:
    each = " UNION ALL ".join(
        f"SELECT {TABLES[table]} >> 32 AS session, length(data) AS size FROM {table} "  # noqa: S608
        f"WHERE {TABLES[table]} BETWEEN ?1 AND ?2"
        for table in tables_of(inspection.connection)
    )
    return inspection.connection.execute(
        f"SELECT sum(size), count(*), session FROM ({each}) "  # noqa: S608 - our own words
        "GROUP BY session ORDER BY sum(size) DESC LIMIT ?3",
        (*span, most),
    ).fetchall()


def _waiting(inspection: Inspection) -> tuple[int, int, int, int]:
    messages = deliveries = running = unreadable = 0
    for found in inspection.unfinished():
        try:
            state = inspection.folded(found)
        except JournalCorrupt:
            unreadable += 1
            continue
        messages += state.messages
        deliveries += state.deliveries
        running += state.running
    return messages, deliveries, running, unreadable


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _key_of(inspection: Inspection, number: int) -> SessionKey | None:
    rows = inspection.connection.execute(
        "SELECT tenant, session_id FROM session WHERE id = ?", (number,)
    ).fetchall()
    return SessionKey(*rows[0]) if rows else None
