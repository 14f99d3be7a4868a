"""A journal as JSON lines, and back: for other programs, other machines, and for keeping.

The first line is ``{"format": "wavebreak-journal", "version": 1, ...}``. Then comes a line for
each session, ``{"session": {"tenant": ..., "session_id": ...}, "unfinished": ..., "touched_at":
...}``, and behind it its rows, ``{"table": ..., "position": ..., "version": ..., "data": ...}``:
a ``snapshot`` (the state after the event at that position), each ``entry`` (a list of events from
that position on; one that is a list itself stands for several), and each piece of ``history``. A
row that is not what was written has ``damaged``, its bytes in base64, instead of ``data``; rows
that SQLite cannot read are one line ``{"unreadable": why}``. The last line is ``{"end":
{"sessions": ..., "rows": ..., "damaged": ...}}``: without it the rest is missing.
"""

from __future__ import annotations

import base64
import os
import time
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import apsw
from pydantic_core import from_json, to_json

from ..messages.errors import JournalError
from .codec import READABLE, checksum_of
from .floors import highest_floor, raise_floor_of_all
from .place import ProcessLock, refuse_network
from .schema import SCHEMA_VERSION, connect, keep_wal, note_open, row_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .codec import Row
    from .database import Database
    from .inspect import Inspection
    from .rows import Found

FORMAT: Final = "wavebreak-journal"

FORMAT_VERSION: Final = 1
"""Of the lines. What is in ``data`` has the version that is beside it."""

_IN_A_TRANSACTION: Final = 2_000
"""Rows that are read back in one transaction."""


class Transferred(NamedTuple):
    """What was written, or read.

    Args:
        rows: snapshots, entries and pieces of history.
        damaged: rows among them that are not what was written.
    """

    sessions: int
    rows: int
    damaged: int


def export(
    inspection: Inspection,
    out: IO[bytes],
    found: Iterable[Found],
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> Transferred:
    """Write sessions as JSON lines; one after the other, so that it takes no memory.

    Args:
        inspection: of the journal.
        out: where to.
        found: the sessions, of ``inspection``.
        progress: called with the number of sessions whenever some were written.

    Raises:
        JournalError: the journal was written to, so that it must be exported again.
    """
    head = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "schema": SCHEMA_VERSION,
        "exported_at": time.time(),
        "floor": highest_floor(inspection.connection),
    }
    out.write(to_json(head) + b"\n")
    sessions = rows = damaged = 0
    for one in found:
        if one.key is None:
            continue
        for line, is_damaged in _lines_of(one):
            out.write(line)
            rows += 1
            damaged += is_damaged
        rows -= 1  # the session's own line
        sessions += 1
        progress(1)
    inspection.confirm()
    done = Transferred(sessions, rows, damaged)
    out.write(to_json({"end": done._asdict()}) + b"\n")
    return done


def _lines_of(found: Found) -> Iterator[tuple[bytes, bool]]:
    assert found.key is not None, "rows of nobody are not exported"
    head: dict[str, Any] = {
        "session": found.key._asdict(),
        "unfinished": found.unfinished,
        "touched_at": found.touched_at,
        "floor": found.floor,
    }
    if found.due:
        head["due"] = [[position, at] for position, at in found.due.items()]
    yield to_json(head) + b"\n", False
    if found.error:
        yield to_json({"unreadable": found.error}) + b"\n", True
    for table, rows in found.rows.items():
        for row in rows:
            yield _line_of(table, row.row_id - found.first, row)


def _line_of(table: str, position: int, row: Row) -> tuple[bytes, bool]:
    is_damaged = checksum_of(row.row_id, row.data) != row.checksum
    # What is in a row is JSON without line breaks already.
    name, data = b"data", row.data
    if is_damaged:
        name, data = b"damaged", to_json(base64.b64encode(row.data).decode())
    head = to_json({"table": table, "position": position, "version": row.version})
    return b'%b,"%b":%b}\n' % (head[:-1], name, data), is_damaged


def rebuild(
    lines: IO[bytes], path: Path, *, progress: Callable[[int], object] = lambda _: None
) -> Transferred:
    """Make a journal of what :func:`export` wrote; there is none before it is all there.

    Args:
        lines: of the export.
        path: of the new journal.
        progress: called with the number of sessions whenever some were read.

    Raises:
        JournalError: there is something already, the lines are no export or not all of one, or
            the disk has no room.
    """
    refuse_network(path)
    lock = ProcessLock(path)
    lock.take()
    made = path.with_name(f"{path.name}-importing")
    try:
        for there in (path, path.with_name(f"{path.name}-wal")):
            if there.exists():  # SQLite would read an old -wal as a part of the new journal
                msg = f"{str(there)!r} is there already: choose another path, or move it away"
                raise JournalError(msg)
        _clear(made)
        done = _read_into(made, lines, progress)
        os.replace(made, path)  # noqa: PTH105 - what is there must not be
    except (apsw.Error, OSError) as error:
        if isinstance(error, JournalError):
            raise
        msg = f"the journal {str(path)!r} cannot be made: {error}"
        raise JournalError(msg) from error
    finally:
        _clear(made)
        lock.give_back()
    return done


def _clear(made: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        made.with_name(f"{made.name}{suffix}").unlink(missing_ok=True)


def _read_into(made: Path, lines: IO[bytes], progress: Callable[[int], object]) -> Transferred:
    connection = connect(made, "FULL", None)
    try:
        note_open(connection, "FULL")
        done = _Rebuilding(connection, progress).read(lines)
        note_open(connection, None)
        keep_wal(connection, keep=False)
    finally:
        connection.close(force=True)
    return done


class _Rebuilding:
    """Reads lines into a journal.

    Args:
        connection: to a new one.
        progress: told of sessions.
    """

    def __init__(self, connection: Database, progress: Callable[[int], object]) -> None:
        self._connection = connection
        self._progress = progress
        self._session = 0
        self._sessions = self._rows = self._damaged = 0

    def read(self, lines: IO[bytes]) -> Transferred:
        numbered = enumerate(lines, 1)
        floor = self._check(next(numbered, (1, b""))[1])
        execute = self._connection.execute
        raise_floor_of_all(self._connection, floor)
        execute("BEGIN IMMEDIATE")
        end: Any = None
        for number, line in numbered:
            try:
                read = from_json(line)
                end = read.get("end")
                self._take(read)
            except (ValueError, KeyError, TypeError, AttributeError, apsw.ConstraintError) as error:
                msg = f"line {number} is none of an export: {error!r}; export it again"
                raise JournalError(msg) from error
            if number % _IN_A_TRANSACTION == 0:
                execute("COMMIT; BEGIN IMMEDIATE")
        execute("COMMIT")
        done = Transferred(self._sessions, self._rows, self._damaged)
        if end != done._asdict():
            msg = (
                f"the export is not whole: {self._sessions} sessions and {self._rows} rows are "
                f"there, and its last line says {end}; export it again"
            )
            raise JournalError(msg)
        return done

    @staticmethod
    def _check(line: bytes) -> int:
        """Give above which position all sessions begin that are new."""
        floor = 0
        try:
            head = from_json(line)
            known = head["format"] == FORMAT
            version = head["version"]
            floor = int(head.get("floor", 0))
        except (ValueError, KeyError, TypeError):
            known, version = False, None
        if not known:
            raise JournalError(
                "this is no export of a journal: `wavebreak journal export` makes one"
            )
        if version != FORMAT_VERSION:
            msg = (
                f"the export is of version {version}, and this wavebreak reads {FORMAT_VERSION}: "
                "import it with the wavebreak that wrote it"
            )
            raise JournalError(msg)
        return floor

    def _take(self, line: dict[str, Any]) -> None:
        if "session" in line:
            key = line["session"]
            self._session = self._connection.execute(
                "INSERT INTO session (tenant, session_id, unfinished, touched_at, floor) "
                "VALUES (?, ?, ?, ?, ?) RETURNING id",
                (
                    *(key["tenant"], key["session_id"], line["unfinished"], line["touched_at"]),
                    line.get("floor", 0),
                ),
            ).get
            for position, at in line.get("due", ()):
                place = row_id(self._session, position)
                self._connection.execute("INSERT INTO due VALUES (?, ?)", (place, at))
            self._sessions += 1
            self._progress(1)
        elif "damaged" in line or "unreadable" in line:
            # Left out: its session is one with a gap, and quarantined.
            self._rows += 1
            self._damaged += 1
        elif "table" in line:
            self._rows += 1
            table = line["table"]
            version = line["version"]
            if table not in {"snapshot", "entry", "history"} or version not in READABLE:
                msg = f"a row of {table!r} in version {version!r}"
                raise ValueError(msg)
            place, data = row_id(self._session, line["position"]), to_json(line["data"])
            self._connection.execute(
                f"INSERT INTO {table} VALUES (?, ?, ?, ?)",  # noqa: S608 - one of three
                (place, version, checksum_of(place, data), data),
            )
