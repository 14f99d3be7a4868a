"""Disks that fail, and machines that lose their power: VFSes of apsw."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Final, cast

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

_NUMBERS: Final = itertools.count(1)

SECTOR: Final = 512
"""Bytes of which a disk writes all or none."""


class Disk(apsw.VFS):
    """A disk that does as it is told, until it is told to fail.

    Use it as a context manager, and open a journal with ``vfs=disk.name``.
    """

    def __init__(self) -> None:
        self.name = f"wavebreak-test-{next(_NUMBERS)}"
        self.writes = 0
        self.syncs: list[str] = []
        self.images: dict[str, Image] = {}
        self.at_step: Callable[[], None] | None = None
        """Called, in the journal's threads, after every write and sync."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        super().__init__(self.name, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.unregister()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> DiskFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else (name or "")
        self.check("open", path)
        return DiskFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        with self._lock:
            self.images.pop(filename.rpartition("/")[2], None)

    def fail(self, what: str, where: str, code: int, times: int = 1, after: int = 0) -> Fault:
        """Fail from now on.

        Args:
            what: open, read, write, sync or truncate.
            where: how the file's name ends.
            code: SQLite's error code.
            times: how often.
            after: how often it goes well before.
        """
        fault = Fault(what, where, code, times, after)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Do as told again."""
        self._faults.clear()

    def step(self) -> None:
        """Something was written or synced."""
        if self.at_step is not None:
            self.at_step()

    def check(self, what: str, path: str) -> None:
        for fault in tuple(self._faults):
            fault.check(what, path)

    def note(self, path: str) -> Image:
        with self._lock:
            return self.images.setdefault(path.rpartition("/")[2], Image())

    def cut(self, chance: random.Random, to: Path) -> None:
        """Write what would be there after a power cut at this moment into another folder.

        What was synced is there; of what was written since, any sector may be.
        """
        with self._lock:
            for name, image in self.images.items():
                (to / name).write_bytes(image.after_a_cut(chance))


class Fault:
    """Something that goes wrong, so many times."""

    def __init__(self, what: str, where: str, code: int, times: int, after: int) -> None:
        self.what = what
        self.where = where
        self.code = code
        self.times = times
        self.after = after
        self.count = 0
        self.before: Callable[[], object] | None = None
        """Called, in the journal's thread, before it fails."""

    def check(self, what: str, path: str) -> None:
        if what != self.what or not path.endswith(self.where):
            return
        self.count += 1
        if self.after < self.count <= self.after + self.times:
            if self.before is not None:
                self.before()
            raise apsw.exception_for(self.code)


class Image:
    """What a file has that would survive a power cut, and what was written since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.since: list[tuple[int, bytes] | int] = []

    def sync(self) -> None:
        for change in self.since:
            _change(self.synced, change)
        self.since.clear()

    def after_a_cut(self, chance: random.Random) -> bytes:
        content = bytearray(self.synced)
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        for change in self.since:
            if isinstance(change, int):
                if chance.random() < share:
                    _change(content, change)
                continue
            offset, data = change
            # Cut at the disk's sectors: a write may be torn.
            start = 0
            while start < len(data):
                end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
                if chance.random() < share:
                    _change(content, (offset + start, data[start:end]))
                start = end
        return bytes(content)


def _change(content: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del content[change:]
        return
    offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class DiskFile(apsw.VFSFile):
    """A file on such a disk."""

    def __init__(
        self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = path
        super().__init__("", name, flags)
        self._image = disk.note(path)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.check("read", self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.check("write", self._path)
        self._disk.writes += 1
        cast("Any", super()).xWrite(data, offset)
        self._image.since.append((offset, bytes(data)))
        self._disk.step()

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.check("truncate", self._path)
        super().xTruncate(newsize)
        self._image.since.append(newsize)
        self._disk.step()

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.check("sync", self._path)
        # The machine under the test keeps its power: its own disk need not be waited for.
        self._disk.syncs.append(self._path)
        self._image.sync()
        self._disk.step()
