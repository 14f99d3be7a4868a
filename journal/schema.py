"""A journal's file: its tables, how it is opened, and what is made sure of then."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any, Final, Literal

import apsw
from loguru import logger

from ..messages.errors import JournalDamaged, JournalError
from .database import opened, opened_at_rest

if TYPE_CHECKING:
    from pathlib import Path

    from .database import Database
    from .wal import Wal

Synchronous = Literal["FULL", "NORMAL"]

APPLICATION_ID: Final = 0x77617665
"""What tells a journal from other databases: "wave"."""

SCHEMA_VERSION: Final = 4
"""Of the tables; a row has a version of its own (``codec.py``). An older one is brought up to it
when it is opened for writing."""

BUSY_TIMEOUT: Final = 10
"""Milliseconds to wait for another program's lock at a time; the journal tries again later."""

_SYNCHRONOUS: Final = {"NORMAL": 1, "FULL": 2}

_FLOORS: Final = """
CREATE TABLE erased (name BLOB PRIMARY KEY, floor INTEGER NOT NULL, at REAL NOT NULL)
    WITHOUT ROWID, STRICT;
CREATE INDEX erased_at ON erased (at);
INSERT INTO about VALUES ('salt', randomblob(16));
"""
"""See ``floors.py``."""
_DUE: Final = """
CREATE TABLE due (id INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT;
CREATE INDEX due_at ON due (at);
"""
"""When messages are due that were accepted and are not; by where they were accepted. A session that
has one must not be taken for one that nobody uses any more."""

_LATER_HISTORY: Final = """
CREATE TABLE later_history (
    id INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE,
    version INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
"""
"""What comes to the history, in the order of writing, and stays so: a piece is as large as a page,
so nothing is gained by having those of a session side by side, and a turn changes a page instead
of five. ``history`` has what was written before schema 4, and what was imported."""

_TABLES: Final = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    session_id TEXT NOT NULL,
    unfinished INTEGER NOT NULL DEFAULT 0,
    touched_at REAL NOT NULL DEFAULT 0,
    floor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, session_id)
) STRICT;
CREATE INDEX session_unfinished ON session (id) WHERE unfinished > 0;
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, version INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE recent (
    id INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE,
    version INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, version INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY, version INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
{_LATER_HISTORY}
{_FLOORS}
{_DUE}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
"""``id`` of an entry, a piece of history and a snapshot is its session's id and its position in
one number, so that what belongs to a session lies together and needs no further index. An entry
comes to ``recent`` first, in the order of writing, and from there to ``entry``, many at a time: a
commit of a hundred sessions changes a tenth of the pages so (4.4 instead of 9.5 µs a row)."""

_UPGRADES: Final = {
    0: _TABLES,
    1: f"""
ALTER TABLE session ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
{_FLOORS}
PRAGMA user_version = 2;
""",
    2: f"""
{_DUE}
PRAGMA user_version = 3;
""",
    3: f"""
{_LATER_HISTORY}
PRAGMA user_version = 4;
""",
}
"""What makes the tables of an older version those of the next; of none at once those of this."""

OPEN: Final = "SELECT value FROM about WHERE name = 'open'"

POSITIONS: Final = 1 << 32
"""Positions that a session has room for within the ids of its rows."""


def row_id(session: int, position: int) -> int:
    """The id of what a session has at a position."""
    return session * POSITIONS + position


def connect(path: Path, synchronous: Synchronous, vfs: str | None) -> Database:
    """Open the file for writing, and see to it that it is as it must be.

    Raises:
        JournalError: it is no journal, or cannot be used as one.
        apsw.Error: SQLite cannot open it.
    """
    connection = opened(path, vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        keep_wal(connection, keep=True)
        _prepare(connection, path, synchronous)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def connect_to_read(path: Path, vfs: str | None) -> Database:
    """Open a file that is open for writing already a second time, for reading.

    Raises:
        apsw.Error: SQLite cannot open it.
    """
    connection = opened(path, vfs, read_only=True)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    keep_wal(connection, keep=True)
    return connection


def keep_wal(connection: Database, *, keep: bool) -> None:
    """Whether the ``-wal`` file stays where it is when the last connection is closed.

    While it does, one that is missing is noticed (:func:`refuse_without_its_wal`).
    """
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def _prepare(connection: Database, path: Path, synchronous: Synchronous) -> None:
    before = version_of(connection, path)
    for pragma, value, wanted in (
        ("journal_mode", "WAL", "wal"),
        ("synchronous", synchronous, _SYNCHRONOUS[synchronous]),
        ("fullfsync", 1, 1),  # macOS: else a disk may keep what it was told to write to itself
        ("checkpoint_fullfsync", 1, 1),
        ("wal_autocheckpoint", 0, 0),  # the writer does it between two commits, and sees errors
        ("trusted_schema", 0, 0),
        ("secure_delete", 1, 1),  # what is deleted is overwritten; ``scrubber.py`` does the rest
        ("mmap_size", 0, 0),  # a disk's error is an error code, and not the end of the process
    ):
        connection.pragma(pragma, value)
        got: Any = connection.pragma(pragma)
        if got != wanted and not (pragma == "mmap_size" and got is None):
            msg = (
                f"the journal {str(path)!r} cannot be used: SQLite has {pragma}={got!r} where "
                f"{wanted!r} is needed; put it on another disk, or install another apsw"
            )
            raise JournalError(msg)
    if not before:
        upgrade(connection)


def upgrade(connection: Database) -> None:
    """Make the tables of an earlier version, or of none, those of this one."""
    version: int = connection.pragma("user_version")
    while version != SCHEMA_VERSION:
        with connection:
            connection.execute(_UPGRADES[version])
        version = connection.pragma("user_version")


def version_of(connection: Database, path: Path) -> int:
    """The version of the tables in the file; 0 if it is new.

    Raises:
        JournalError: it is neither new nor a journal that this version reads.
        JournalDamaged: SQLite cannot read it.
    """
    try:
        application = connection.pragma("application_id")
        version = connection.pragma("user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    except apsw.NotADBError as error:
        msg = f"{str(path)!r} is no journal: {error}; choose another path, or restore a backup"
        raise JournalError(msg) from error
    except apsw.CorruptError as error:
        msg = f"{str(path)!r} is damaged, or a part of it is missing: {error}; restore a backup"
        raise JournalDamaged(msg) from error
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        msg = f"{str(path)!r} is another program's database, and no journal: choose another path"
        raise JournalError(msg)
    if version not in (*_UPGRADES, SCHEMA_VERSION) or version == 0:
        msg = (
            f"the journal {str(path)!r} has schema {version}, and this wavebreak reads "
            f"{SCHEMA_VERSION}: open it with the wavebreak that wrote it"
        )
        raise JournalError(msg)
    return int(version)


def refuse_without_its_wal(path: Path, vfs: str | None, *, accept_loss: bool) -> None:
    """Notice that the newest part of a journal that was not closed has gone.

    It is looked at without a trace: an ordinary connection makes an empty ``-wal``, and the next
    start would find that, and begin without what is missing.

    Args:
        path: of the journal, which has no file ``-wal``.
        vfs: the name of an apsw VFS to open it through.
        accept_loss: whether to go on without.

    Raises:
        JournalDamaged: it has.
        JournalError: it is no journal that this version reads.
        apsw.Error: SQLite cannot open it.
    """
    is_being_made = path.with_name(f"{path.name}-journal").exists()
    if is_being_made or not path.exists() or not path.stat().st_size:
        return
    connection = opened_at_rest(path, vfs)
    try:
        version = version_of(connection, path)
        was_closed = not version or connection.execute(OPEN).get != 1
    finally:
        connection.close(force=True)
    if accept_loss or was_closed:
        return
    msg = (
        f"the journal {str(path)!r} was not closed, and its newest part, {path.name + '-wal'!r}, "
        "is missing: put that file back beside it. If another program has opened the journal and "
        "closed it since, or if what was in that file may be lost, SqliteJournal(..., "
        "accept_loss=True) goes on without"
    )
    raise JournalDamaged(msg)


def refuse_without_its_file(path: Path, wal: Wal, *, accept_loss: bool) -> Wal | None:
    """Notice that there is a newest part of a journal, and not the journal: SQLite deletes it then.

    Args:
        path: of the journal.
        wal: what is in the file ``-wal``.
        accept_loss: whether to begin a new journal; that file is kept under another name.

    Returns:
        what is in the file ``-wal`` now; None if there is none any more.

    Raises:
        JournalDamaged: something was committed to that file.
        OSError: it cannot be kept.
    """
    is_there = path.exists() and path.stat().st_size
    if is_there or not (wal.transactions or wal.damage):
        return wal
    left = path.with_name(f"{path.name}-wal")
    what = f"there is no journal {str(path)!r}, but {left.name!r} with the newest part of one"
    if not accept_loss:
        msg = (
            f"{what}: put the journal back beside it, or move that file away for a new one; "
            "SqliteJournal(..., accept_loss=True) begins a new one, and keeps the file"
        )
        raise JournalDamaged(msg)
    kept = path.with_name(f"{left.name}-damaged-{wal.salt:08x}")
    left.replace(kept)
    logger.error("{}: a new one is begun, and that file is kept as {}", what, kept)
    return None


def refuse_damaged_wal(
    connection: Database, path: Path, wal: Wal, synchronous: Synchronous, *, accept_loss: bool
) -> None:
    """Notice that SQLite ends reading the newest part where something in it is wrong.

    What is given up with ``accept_loss`` is kept in a file beside the journal. So it is with
    ``NORMAL``, where a power cut may leave the same as a flipped bit does.

    Args:
        connection: open for writing; nothing was written yet.
        path: of the journal.
        wal: what is in the file ``-wal``.
        synchronous: of this opening; if the one that wrote it did not note its own.
        accept_loss: whether to go on without what is behind the damage.

    Raises:
        JournalDamaged: committed transactions would be lost.
        OSError: the copy cannot be written.
    """
    damage = wal.damage
    if damage is None:
        return
    written = connection.execute("SELECT value FROM about WHERE name = 'synchronous'").get
    where = f"frame {damage.frame}" if damage.frame else "its header"
    what = (
        f"the newest part of the journal {str(path)!r}, {path.name + '-wal'!r}, is damaged at "
        f"{where}, and of what was committed {damage.transactions} or more transactions behind it "
        "cannot be read"
    )
    if not accept_loss and (written or synchronous) != "NORMAL":
        msg = (
            f"{what}: put that file back from a backup. If what was in it may be lost, "
            "SqliteJournal(..., accept_loss=True) goes on without, and keeps a copy"
        )
        raise JournalDamaged(msg)
    kept = path.with_name(f"{path.name}-wal-damaged-{wal.salt:08x}")
    shutil.copyfile(path.with_name(f"{path.name}-wal"), kept)
    logger.error("{}: they are given up, and a copy is kept as {}", what, kept)


def note_open(connection: Database, synchronous: Synchronous | None) -> None:
    """Write into the journal's main file how it is written from here on; None: it was closed."""
    connection.execute(
        "INSERT OR REPLACE INTO about VALUES ('open', ?1), ('synchronous', ?2)",
        (int(synchronous is not None), synchronous),
    )
    with contextlib.suppress(apsw.BusyError):  # another program reads: then it stays in the -wal
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
