"""Where a journal may lie, and that only one process at a time has it open."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final
from weakref import ref

from ..messages.errors import JournalError, JournalLocked

NETWORK: Final = frozenset(
    {
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs"),
        *("fuse.cephfs", "fuse.davfs", "fuse.davfs2", "fuse.glusterfs", "fuse.mfs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)
"""File systems on which SQLite's locks and its shared memory cannot be relied on."""

_MOUNTS: Final = Path("/proc/self/mountinfo")


def refuse_network(path: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a path on a network file system, as far as the machine says what it is on.

    Args:
        path: where the journal is to lie.
        mounts: Linux's table of what is mounted where.

    Raises:
        JournalError: it is on one.
    """
    try:
        table = mounts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux
    kind = _kind_at(path, table)
    if kind in NETWORK:
        msg = (
            f"the journal {str(path)!r} is on a network file system ({kind}), where SQLite's locks "
            "cannot be relied on: put it on a local disk"
        )
        raise JournalError(msg)


def _kind_at(path: Path, table: str) -> str:
    """The file system of a path: that of the deepest place that is mounted above it."""
    found, deepest = "", -1
    for line in table.splitlines():
        fields, _, rest = line.partition(" - ")
        place = Path(_plain(fields.split(" ")[4]))
        # The last of equals: it was mounted over the others.
        if path.is_relative_to(place) and len(place.parts) >= deepest:
            found, deepest = rest.split(" ")[0], len(place.parts)
    return found


def _plain(text: str) -> str:
    """Blanks and the like are written as octal numbers in the table."""
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, plain)
    return text


class ProcessLock:
    """A lock on a file beside the journal, which the machine lets go of when the process ends.

    Not SQLite's own: a lock of its kind on the journal itself would keep readers out as well.

    Args:
        path: of the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._journal = path
        self._file: FileIO | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            JournalLocked: somebody has it.
            OSError: the file cannot be made.
        """
        # Never removed: who waits for a file that is gone would hold another lock than who comes.
        file = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        try:
            _lock(file)
        except OSError as error:
            holder = _written_in(file)
            file.close()
            who = f"process {holder}" if holder else "another process"
            msg = (
                f"the journal {str(self._journal)!r} is open already, in {who}: a journal belongs "
                "to one running system; end that one first, or choose another path"
            )
            raise JournalLocked(msg) from error
        self._file = file
        with contextlib.suppress(OSError):  # a full disk: the lock is what counts, not whose it is
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_not_in_child, ref(self)))

    def holder(self) -> str | None:
        """Who has the lock: a process's number, or an empty text; None if nobody has it.

        To see that, the lock is shared for a moment: a lock that is not there is not made.

        Raises:
            OSError: it cannot be looked at.
        """
        try:
            file = FileIO(self._path, "r")
        except FileNotFoundError:
            return None
        with file:
            try:
                _share(file)
            except (BlockingIOError, PermissionError):
                return _written_in(file)
        return None

    def give_back(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _not_in_child(lock: ref[ProcessLock]) -> None:
    """A process that was forked does not have the lock, nor keep it when the one that has it ends.

    A pool's workers live on for long when the process that they work for is killed.
    """
    held = lock()
    if held is not None:
        held.give_back()


def _written_in(file: FileIO) -> str:
    """The number of the process that has the lock."""
    return file.read(64).strip(b"\0 \n").decode("ascii", "replace")


if sys.platform == "win32":
    import msvcrt

    _FAR_OUT: Final = 1 << 20
    """A byte behind what is written, so that the name of the holder can be read."""

    def _lock(file: FileIO) -> None:
        file.seek(_FAR_OUT)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    _share = _lock  # there is only one kind of lock; it goes with the file that is closed

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _share(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
