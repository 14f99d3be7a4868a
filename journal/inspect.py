"""Looking into a journal from outside, also while a system has it open; it changes nothing."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self, cast

import apsw

from ..messages.errors import JournalCorrupt, JournalError
from ..messages.ids import SessionKey
from .anything import AnyMessages
from .at_rest import AtRest
from .base import Recorded
from .codec import Codec, checked
from .place import ProcessLock
from .rows import TABLES, Found, read_sessions
from .schema import BUSY_TIMEOUT, OPEN, POSITIONS, version_of
from .wal import Wal, read_wal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from ..messages.entries import Entry
    from .database import Database
    from .folding import Folded, Folding

BATCH: Final = 500
"""Sessions that are read within one transaction: one that is open keeps the ``-wal`` growing."""

_TRIES: Final = 5
"""How often a ``-wal`` is read that is written to meanwhile."""


class Inspection:
    """An opened look into a journal; use it by ``with``.

    Args:
        path: of the journal.
        folding: the machine's part.

    Raises:
        JournalError: there is no journal that can be read.
    """

    def __init__(self, path: Path, folding: Folding) -> None:
        self.path = path
        self.folding = folding
        types = AnyMessages()
        self.codec = Codec(types)
        if not path.is_file():
            what = "give the file that `wavebreak serve` writes"
            left = path.with_name(f"{path.name}-wal")
            if left.exists():
                what = f"put it back beside {left.name!r}, which has the newest part of it"
            msg = f"there is no journal {str(path)!r}: {what}"
            raise JournalError(msg)
        self._rest: AtRest | None = None
        try:
            self.holder = ProcessLock(path).holder()
            """The process that has it open; None for nobody."""
            if self.holder is None:
                self._rest = AtRest(path)
                self.connection: Database = self._rest.connection
            else:
                self.connection = _connected(path)
            is_new = not version_of(self.connection, path)
        except JournalError:
            self.close()
            raise
        except (apsw.Error, OSError) as error:
            self.close()
            msg = (
                f"the journal {str(path)!r} cannot be read: {error}; look at it again, or at a copy"
            )
            raise JournalError(msg) from error
        if is_new:
            self.close()
            msg = f"{str(path)!r} is empty, and no journal: give the file that was written to"
            raise JournalError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self.close()
        if isinstance(error, apsw.Error):
            msg = (
                f"the journal {str(self.path)!r} cannot be read: {error}; look at it again, or "
                "restore it from a backup; `wavebreak journal check` says more"
            )
            raise JournalError(msg) from error

    def close(self) -> None:
        """Let go of it."""
        if self._rest is not None:
            self._rest.close()
        elif hasattr(self, "connection"):
            self.connection.close(force=True)

    def confirm(self) -> None:
        """Make sure that what was read was one journal, at one moment.

        Raises:
            JournalError: somebody has opened it meanwhile.
        """
        if self._rest is not None and self._rest.has_changed:
            msg = (
                f"the journal {str(self.path)!r} was opened by a process while it was looked at, "
                "so what was found says nothing: look again"
            )
            raise JournalError(msg)

    # --- the newest part ---

    def wal(self) -> Wal | None:
        """What is in the ``-wal``; None if there is none.

        Raises:
            OSError: it cannot be read.
        """
        if self._rest is not None:
            return self._rest.wal
        wal: Wal | None = None
        for _ in range(_TRIES):
            try:
                with self.path.with_name(f"{self.path.name}-wal").open("rb") as file:
                    wal = read_wal(file)
            except FileNotFoundError:
                return None
            if wal.damage is None:
                break  # else it was begun anew under our eyes, perhaps
        return wal

    @property
    def lacks_its_wal(self) -> bool:
        """Whether it was not closed, and its newest part is gone."""
        if self._rest is None or self._rest.wal is not None:
            return False
        return bool(self.connection.execute(OPEN).get == 1)

    @property
    def has_lost(self) -> bool:
        """Whether what is read is without the newest part, or without what is behind its damage.

        Only known if nobody has it open; a process that has reads on behind a damage.
        """
        wal = None if self._rest is None else self._rest.wal
        return self.lacks_its_wal or (wal is not None and wal.damage is not None)

    # --- sessions ---

    def count(self) -> int:
        """How many sessions there are."""
        return int(self.connection.execute("SELECT count(*) FROM session").get)

    def number_of(self, key: SessionKey) -> int:
        """By which number rows name a session.

        Raises:
            JournalError: there is no such session.
        """
        found = self.connection.execute(
            "SELECT id FROM session WHERE tenant = ? AND session_id = ?", key
        ).get
        if found is not None:
            return int(found)
        others = self.connection.execute(
            "SELECT tenant FROM session WHERE session_id = ? LIMIT 5", (key.session_id,)
        ).fetchall()
        hint = "".join(f"; tenant {tenant!r} has one: --tenant {tenant}" for (tenant,) in others)
        msg = f"the journal {str(self.path)!r} has no session {str(key)!r}"
        raise JournalError(msg + (hint or ": `wavebreak journal stats` names the largest"))

    def session(self, key: SessionKey) -> Found:
        """What there is of one session.

        Raises:
            JournalError: there is no such session.
            JournalCorrupt: SQLite cannot read it.
        """
        number = self.number_of(key)
        (found,) = self._between(number, number)
        if found.error:
            msg = f"the journal of session {str(key)!r} cannot be read: {found.error}"
            raise JournalCorrupt(msg)
        return found

    def sessions(self, tables: Sequence[str] = tuple(TABLES)) -> Iterator[Found]:
        """All sessions, and rows of such as are not there, by their numbers.

        Args:
            tables: whose rows are wanted.
        """
        after = 0
        while True:
            numbers = self.connection.execute(
                "SELECT id FROM session WHERE id > ? ORDER BY id LIMIT ?", (after, BATCH)
            ).fetchall()
            last = numbers[-1][0] if len(numbers) == BATCH else POSITIONS // 2 - 1
            yield from self._between(after + 1 if after else 0, last, tables)
            if len(numbers) < BATCH:
                return
            after = last

    def unfinished(self) -> Iterator[Found]:
        """The sessions that something waits for."""
        after = 0
        while True:
            found = self.connection.execute(
                "SELECT id FROM session WHERE unfinished != 0 AND id > ? ORDER BY id LIMIT ?",
                (after, BATCH),
            ).fetchall()
            for (number,) in found:
                yield from self._between(number, number, ("snapshot", "entry", "recent"))
            if len(found) < BATCH:
                return
            after = found[-1][0]

    @contextmanager
    def _moment(self) -> Generator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            # Who stopped reading in the middle may have closed it before.
            with suppress(apsw.ConnectionClosedError):
                self.connection.execute("ROLLBACK")

    def _between(
        self, first: int, last: int, tables: Sequence[str] = tuple(TABLES)
    ) -> Iterator[Found]:
        """Sessions by their numbers, in one transaction, so that no compaction comes between."""
        reached = first
        try:
            with self._moment():
                for found in read_sessions(self.connection, first, last, tables):
                    yield found
                    reached = found.number + 1
        except apsw.CorruptError as error:
            yield from self._one_by_one(reached, last, tables, str(error))

    def _one_by_one(
        self, first: int, last: int, tables: Sequence[str], error: str
    ) -> Iterator[Found]:
        """A page cannot be read: find out whose rows were on it."""
        keys = self.connection.execute(
            "SELECT id, tenant, session_id FROM session WHERE id BETWEEN ? AND ? ORDER BY id",
            (first, last),
        )
        for number, tenant, session_id in keys.fetchall():
            try:
                with self._moment():
                    one = list(read_sessions(self.connection, number, number, tables))
            except apsw.CorruptError:
                one = [Found(number, SessionKey(tenant, session_id), 0, 0.0, {}, error)]
            yield from one

    # --- what is in their rows ---

    def recorded(self, found: Found) -> Recorded:
        """What a session's actor would be given.

        Raises:
            JournalCorrupt: it cannot be read.
        """
        what = f"the journal of session {str(found.key)!r}"
        if found.error:
            msg = f"{what} cannot be read: {found.error}"
            raise JournalCorrupt(msg)
        snapshot: object | None = None
        behind = -1
        for row in found.rows["snapshot"]:
            behind = row.row_id
            data = checked(row, f"{what}, snapshot")
            try:
                snapshot = self.folding.form.load(data)
            except Exception as error:
                msg = f"{what}, snapshot at {row.row_id - found.first}, cannot be read: {error}"
                raise JournalCorrupt(msg) from error
        # Those that the snapshot covers are there for who looks at what happened.
        rows = [row for row in found.rows["entry"] if row.row_id > behind]
        entries: Sequence[Entry] = self.codec.read_entries(rows, what) if rows else []
        return Recorded(snapshot, entries, found.floor)

    def kept(self, found: Found) -> Sequence[Entry]:
        """The entries that are there, also those that a snapshot covers.

        Raises:
            JournalCorrupt: they cannot be read.
        """
        rows = found.rows["entry"]
        return self.codec.read_entries(rows, f"session {str(found.key)!r}") if rows else ()

    def folded(self, found: Found) -> Folded:
        """What became of a session.

        Raises:
            JournalCorrupt: its entries cannot be read, or not be folded.
        """
        assert found.key is not None, "rows without a session are nobody's"
        recorded = self.recorded(found)
        try:
            return self.folding.fold(found.key, recorded)
        except JournalCorrupt:
            raise
        except Exception as error:
            msg = f"the journal of session {str(found.key)!r} cannot be folded: {error!r}"
            raise JournalCorrupt(msg) from error


def _connected(path: Path) -> Database:
    """A connection to a journal that a process has open, for reading; that makes no file."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection: object = apsw.Connection(f"{path.absolute().as_uri()}?readonly_shm=1", flags=flags)
    opened = cast("Database", connection)
    opened.set_busy_timeout(100 * BUSY_TIMEOUT)
    return opened
