"""Traces of what was deleted, and that nothing is left of them in the file.

SQLite's ``secure_delete`` overwrites what is deleted. But when it moves rows from page to page to
keep its trees in balance, what they leave on the old page stays there, in the unused middle between
the directory of the page and its rows, until that is needed. So the file is gone through, page by
page, and these middles are filled with zeros. They mean nothing to SQLite: a half of that, a crash
in between, and somebody who reads meanwhile do no harm.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, cast

import apsw

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from .database import Database

    class _File(Protocol):
        """What is needed of ``apsw.VFSFile``."""

        def xRead(self, amount: int, offset: int) -> bytes: ...  # noqa: N802 - apsw's name
        def xWrite(self, data: bytes, offset: int) -> None: ...  # noqa: N802
        def xSync(self, flags: int) -> None: ...  # noqa: N802
        def xFileSize(self) -> int: ...  # noqa: N802
        def xClose(self) -> None: ...  # noqa: N802


PAGES: Final = 1000
"""Pages (4 KiB each) that are gone through in one go, before what waits is written."""

_HEADS: Final = {2: 12, 5: 12, 10: 8, 13: 8}
"""The first byte of a page of a tree, and how long its head is. Other pages that are in use begin
with the number of another page, so with a smaller byte in any file up to 128 GiB; free ones are
zeros."""

_TOO_MANY: Final = 2 << 24
"""Pages from which on the first byte does not tell any more."""

_SMALLEST: Final = 512
"""Bytes of a page, at least."""

_COUNTS: Final = Struct(">HH")


class Scrubber:
    """Goes through a journal's file, round and round, as long as somebody waits for that.

    Args:
        path: of the journal.
        vfs: the name of an apsw VFS to open it through.
    """

    def __init__(self, path: Path, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs or ""
        self._next = 0
        self.seen = 0
        """How many pages were gone through in all."""

    def until(self, connection: Database) -> int:
        """What :attr:`seen` has to be for every page to be gone through from now on."""
        try:
            pages = int(connection.pragma("page_count"))
        except apsw.Error:
            pages = self._path.stat().st_size // _SMALLEST  # no fewer than there are
        return self.seen + pages

    def step(self, connection: Database) -> None:
        """Go through some more pages.

        Args:
            connection: the only one that writes; it is in no transaction.

        Raises:
            apsw.BusyError: somebody reads who needs the ``-wal`` file: try again later.
            apsw.Error: of the disk.
        """
        version = connection.pragma("data_version")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.execute("BEGIN IMMEDIATE")  # nobody writes before we have
        try:
            if connection.pragma("data_version") != version:  # so it is not all in the main file
                msg = "another program writes to the journal"
                raise apsw.BusyError(msg)
            self._step(int(connection.pragma("page_size")))
        finally:
            connection.execute("ROLLBACK")
            connection.release_memory()  # else what it has of these pages may be written again

    def _step(self, size: int) -> None:
        flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
        # By SQLite's own means: to close a file opened otherwise would give its locks away.
        file = cast("_File", apsw.VFSFile(self._vfs, str(self._path), flags))
        try:
            pages = file.xFileSize() // size
            if pages >= _TOO_MANY:
                self.seen += pages
                return
            first = self._next if self._next < pages else 0
            count = min(PAGES, pages - first)
            data = file.xRead(count * size, first * size)
            middles = [
                middle
                for page in range(count)
                if (middle := _middle(data, page * size, size, is_first=first + page == 0))
            ]
            for begin, end in middles:
                file.xWrite(bytes(end - begin), first * size + begin)
            if middles:
                file.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            file.xClose()
        self._next = first + count
        self.seen += count


def _middle(data: bytes, begin: int, size: int, *, is_first: bool) -> tuple[int, int] | None:
    """From where to where the unused middle of a page is; None if nothing is in it."""
    head = begin + (100 if is_first else 0)
    length = _HEADS.get(data[head])
    if length is None:
        return None
    rows, content = _COUNTS.unpack_from(data, head + 3)
    first, last = head + length + 2 * rows, begin + (content or 65_536)
    if not first <= last <= begin + size:
        return None
    return None if data.count(0, first, last) == last - first else (first, last)
