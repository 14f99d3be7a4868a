"""A journal that nobody has open, read without a trace: no file is made, written or locked.

An ordinary connection would make a ``-shm`` file beside it, and an empty ``-wal`` if there is none,
after which nobody could tell any more that it is missing.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw

from .database import opened_at_rest
from .wal import Wal, read_wal

if TYPE_CHECKING:
    from typing import BinaryIO

    from .database import Database

_NUMBERS: Final = itertools.count(1)


class AtRest:
    """A journal's file as it is after its last commit.

    Args:
        path: of the journal.

    Raises:
        OSError: it cannot be read.
        apsw.Error: SQLite cannot open it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._signs()
        self._file: BinaryIO | None = None
        self._vfs: _Overlay | None = None
        self.wal: Wal | None = None
        try:
            self._file = path.with_name(f"{path.name}-wal").open("rb")
            self.wal = read_wal(self._file)
        except FileNotFoundError:
            pass
        try:
            self.connection = self._connected()
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Database:
        name = None
        if self.wal is not None and self.wal.pages:
            assert self._file is not None, "it was read just now"
            self._vfs = _Overlay(self.wal, self._file)
            name = self._vfs.name
        return opened_at_rest(self._path, name)

    def _signs(self) -> object:
        """What is another after somebody has written to it."""
        signs: list[tuple[int, int] | None] = []
        for name in (self._path.name, f"{self._path.name}-wal"):
            try:
                stat = self._path.with_name(name).stat()
            except FileNotFoundError:
                signs.append(None)
            else:
                signs.append((stat.st_size, stat.st_mtime_ns))
        return signs

    @property
    def has_changed(self) -> bool:
        """Whether somebody has written to it since; then what was read may be of both."""
        return self._signs() != self._before

    def close(self) -> None:
        """Let go of it."""
        connection = getattr(self, "connection", None)
        if connection is not None:
            connection.close(force=True)
        if self._vfs is not None:
            self._vfs.unregister()
            self._vfs = None
        if self._file is not None:
            self._file.close()
            self._file = None


class _Overlay(apsw.VFS):
    """Shows the main file with the pages that are newer in the ``-wal``."""

    def __init__(self, wal: Wal, file: BinaryIO) -> None:
        self.name = f"wavebreak-at-rest-{next(_NUMBERS)}"
        self._wal = wal
        self._file = file
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            return _Overlaid(self._wal, self._file, name, flags)
        return apsw.VFSFile("", name, flags)  # what SQLite makes for itself while it sorts


class _Overlaid(apsw.VFSFile):
    def __init__(
        self, wal: Wal, file: BinaryIO, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._wal = wal
        self._newer = file
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        page, within = divmod(offset, self._wal.page_size)
        place = self._wal.pages.get(page + 1)
        if place is None:
            return super().xRead(amount, offset)
        self._newer.seek(place + within)
        return self._newer.read(min(amount, self._wal.page_size - within))

    def xFileSize(self) -> int:  # noqa: N802
        return self._wal.size * self._wal.page_size

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: ARG002, N802
        raise apsw.ReadOnlyError
