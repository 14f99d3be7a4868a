"""What is in a ``-wal`` file, and whether a part of it is not what was written.

SQLite reads it up to the first frame whose checksum is wrong, and takes that for the torn end of
what was written last. A bit that has flipped ends it as well, and what was committed behind it goes
unnoticed. See https://www.sqlite.org/fileformat2.html#the_write_ahead_log for the format.
"""

from __future__ import annotations

import os
from struct import Struct, iter_unpack
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Checksum = tuple[int, int]

_HEADER: Final = Struct(">8I")
_FRAME: Final = Struct(">6I")
_MAGIC: Final = 0x377F0682
"""The last bit tells the order of bytes that checksums are made with."""

_VERSION: Final = 3007000
_SIGNED: Final = 24
"""Bytes of the header that its checksum is of."""

_OF_FRAME: Final = 8
"""Bytes of a frame's header that its checksum is of; and so much at a time of the rest."""

_PAGE_SIZE: Final = 4096
"""What journals are made with; for a header that does not tell."""

_SMALLEST, _LARGEST = 512, 65536


class Damage(NamedTuple):
    """A frame that is not what was written, with committed ones behind it.

    Args:
        frame: which one, from 1; 0 for the file's header.
        transactions: how many that were committed are lost at least.
    """

    frame: int
    transactions: int


class Wal(NamedTuple):
    """What SQLite sees in a ``-wal`` file, and what it does not.

    Args:
        page_size: bytes of a page.
        salt: a number that is another one each time the file is begun anew.
        pages: where in the file the newest committed version of a page is, by its number.
        size: pages of the database after the last commit; 0 if there is none.
        transactions: that can be read.
        damage: None if nothing shows that something is lost.
    """

    page_size: int = _PAGE_SIZE
    salt: int = 0
    pages: dict[int, int] = {}  # noqa: RUF012 - replaced, never changed
    size: int = 0
    transactions: int = 0
    damage: Damage | None = None


class _Frame(NamedTuple):
    number: int
    page: int
    size: int
    salt: tuple[int, int]
    checksum: Checksum
    signed: bytes


def synced_wal(path: Path) -> Wal | None:
    """What is in the ``-wal`` file of a journal before it is opened; None if it has none.

    It is synced first: a process that was killed may have written what it had not synced, and what
    is written behind that now would look as if it had.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.with_name(f"{path.name}-wal").open("r+b") as file:
            os.fsync(file.fileno())
            return read_wal(file)
    except FileNotFoundError:
        return None


def read_wal(file: BinaryIO) -> Wal:
    """Look through a ``-wal`` file.

    A frame that is torn is none that was lost: nobody was told that its transaction is durable. It
    is lost for certain if a frame behind it was made after a later commit, as it is only written
    when that commit was synced (``synchronous=FULL``), and everything before with it. Checksums are
    cumulative, so one that follows on the one before it tells that it was written after that.

    Raises:
        OSError: it cannot be read.
    """
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return Wal()  # the header is synced before anything is written behind it
    magic, version, page_size, _, *salt, first, second = _HEADER.unpack(header)
    order = ">" if magic & 1 else "<"
    is_sound = (
        magic & ~1 == _MAGIC
        and version == _VERSION
        and _is_page_size(page_size)
        and _checksum(header[:_SIGNED], order, (0, 0)) == (first, second)
    )
    if not is_sound:
        return _without_header(file, header)
    log = _Log(order, (salt[0], salt[1]), page_size, (first, second))
    return log.read(_frames(file, page_size))


def _without_header(file: BinaryIO, header: bytes) -> Wal:
    """A header that is wrong, so that SQLite sees nothing; frames that belong together are lost."""
    magic, _, page_size, _, _, _, first, second = _HEADER.unpack(header)
    page_size = page_size if _is_page_size(page_size) else _PAGE_SIZE
    for order in (">", "<") if magic & 1 else ("<", ">"):
        file.seek(_HEADER.size)
        frames = _frames(file, page_size)
        begin = next(frames, None)
        if begin is None:
            break
        stored = (first, second)
        follows = stored, _checksum(header[:_SIGNED], order, (0, 0))
        tail = _Tail(order, begin.salt, 0)
        tail.begin(follows)
        # The header was synced before the first frame was written.
        tail.is_certain = any(_checksum(begin.signed, order, f) == begin.checksum for f in follows)
        tail.go_on(begin)
        for frame in frames:
            tail.go_on(frame)
        if tail.damage is not None:
            return Wal(page_size, begin.salt[1], damage=tail.damage)
    return Wal(page_size)


def _is_page_size(number: int) -> bool:
    return _SMALLEST <= number <= _LARGEST and number & (number - 1) == 0


def _frames(file: BinaryIO, page_size: int) -> Iterator[_Frame]:
    number = 0
    while len(data := file.read(_FRAME.size + page_size)) == _FRAME.size + page_size:
        number += 1
        page, size, salt, other, first, second = _FRAME.unpack_from(data)
        signed = data[:_OF_FRAME] + data[_FRAME.size :]
        yield _Frame(number, page, size, (salt, other), (first, second), signed)


class _Log:
    """Reads a file as SQLite does, and goes on where that ends.

    Args:
        order: of bytes in checksums.
        salt: of the file as it was begun last; what has another one is older.
        page_size: in bytes.
        checksum: of the header.
    """

    def __init__(
        self, order: str, salt: tuple[int, int], page_size: int, checksum: Checksum
    ) -> None:
        self._order = order
        self._salt = salt
        self._page_size = page_size
        self._checksum = checksum

    def read(self, frames: Iterable[_Frame]) -> Wal:
        pages: dict[int, int] = {}
        since: dict[int, int] = {}
        size = transactions = 0
        tail: _Tail | None = None
        for frame in frames:
            if tail is not None:
                tail.go_on(frame)
                continue
            is_newest = frame.salt == self._salt
            checksum = frame.checksum
            if is_newest:
                checksum = _checksum(frame.signed, self._order, self._checksum)
            if not is_newest or not frame.page or checksum != frame.checksum:
                tail = _Tail(self._order, self._salt, frame.number)
                tail.begin((frame.checksum, checksum), frame)
                continue
            self._checksum = checksum
            since[frame.page] = self._place(frame)
            if frame.size:
                pages.update(since)
                since.clear()
                size = frame.size
                transactions += 1
        damage = None if tail is None else tail.damage
        return Wal(self._page_size, self._salt[1], pages, size, transactions, damage)

    def _place(self, frame: _Frame) -> int:
        """Where the frame's page begins in the file."""
        return _HEADER.size + frame.number * _FRAME.size + (frame.number - 1) * self._page_size


class _Tail:
    """What is behind the first frame that is wrong.

    Args:
        order: of bytes in checksums.
        salt: of what is newest.
        wrong: the number of that frame.
    """

    def __init__(self, order: str, salt: tuple[int, int], wrong: int) -> None:
        self._order = order
        self._salt = salt
        self._wrong = wrong
        self._follows: tuple[Checksum, ...] = ()
        self._commits = False
        self._transactions = 0
        self.is_certain = False

    def begin(self, follows: tuple[Checksum, ...], frame: _Frame | None = None) -> None:
        """Be given the frame that is wrong.

        Args:
            follows: checksums that the next frame may follow on: if it is the checksum itself that
                is wrong, then the one that it should be.
            frame: it; None for the file's header.
        """
        self._follows = follows
        self._commits = frame is not None and bool(frame.size)

    def go_on(self, frame: _Frame) -> None:
        """Look at the next one."""
        if frame.salt != self._salt:
            self._commits, self._follows = False, ()
            return
        if self._commits and not self.is_certain:
            self.is_certain = any(
                _checksum(frame.signed, self._order, before) == frame.checksum
                for before in self._follows
            )
        self._commits = bool(frame.size)
        self._transactions += self._commits
        self._follows = (frame.checksum,)

    @property
    def damage(self) -> Damage | None:
        """What is lost, if that is certain."""
        return Damage(self._wrong, max(1, self._transactions)) if self.is_certain else None


def _checksum(data: bytes, order: str, before: Checksum) -> Checksum:
    """SQLite's checksum of some bytes, which goes on from that of what is before them."""
    one, two = before
    for left, right in iter_unpack(f"{order}II", data):
        one = (one + left + two) & 0xFFFFFFFF
        two = (two + right + one) & 0xFFFFFFFF
    return one, two
