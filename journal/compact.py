"""Making a journal smaller: sessions' states in the place of their entries, and no free pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import apsw

from ..messages.errors import JournalCorrupt, JournalError
from .inspect import Inspection
from .items import Snapshot
from .place import ProcessLock, refuse_network
from .writer import Lost, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..messages.ids import SessionKey
    from .folding import Folding
    from .rows import Found

_AT_A_TIME = 100
"""Snapshots that are written in one transaction."""


class Compacted(NamedTuple):
    """What came of it.

    Args:
        sessions: that were looked at.
        compacted: of which the state was written down in the place of entries.
        dropped: rows with entries that this made needless.
        running: sessions that were left as they are, in the middle of a turn.
        bad: sessions that cannot be read, and were left as they are.
        bytes_before: of the journal's files.
        bytes_after: of the same, now.
    """

    sessions: int
    compacted: int
    dropped: int
    running: int
    bad: tuple[SessionKey, ...]
    bytes_before: int
    bytes_after: int


def compact(
    path: Path,
    folding: Folding,
    *,
    keep: int = 0,
    vacuum: bool = True,
    progress: Callable[[int], object] = lambda _: None,
    rewriting: Callable[[], object] = lambda: None,
) -> Compacted:
    """Make a journal smaller that no system has open.

    History is kept, and so are entries of a turn that has not ended.

    Args:
        path: of the journal.
        folding: the machine's part.
        keep: positions before a snapshot of which the entries stay, for those who look.
        vacuum: whether the file is written anew, without what is free in it.
        progress: called with the number of sessions whenever some were looked at.
        rewriting: called before the file is written anew.

    Raises:
        JournalLocked: somebody has it open.
        JournalError: it cannot be used as it is, or the disk has no room.
    """
    with Inspection(path, folding):
        pass  # it is one, and not made now
    before = _size_of(path)
    refuse_network(path)
    lock = ProcessLock(path)
    writer = Writer(path, "FULL", None, accept_loss=False, keep=keep)
    lock.take()
    try:
        writer.open()
        try:
            run = _Run(writer, keep, progress)
            with Inspection(path, folding) as inspection:
                for found in inspection.sessions(("snapshot", "entry", "recent")):
                    run.look_at(found, inspection)
                run.write()
            if vacuum:
                rewriting()
                writer.vacuum()
        finally:
            writer.close()
    except JournalError:
        raise
    except (apsw.Error, OSError, Lost) as failed:
        error = failed.__cause__ or failed if isinstance(failed, Lost) else failed
        hint = (
            f"make room for another {before} bytes on its disk, or use --no-vacuum"
            if isinstance(error, apsw.FullError)
            else "nothing is lost; `wavebreak journal check` says how it is"
        )
        msg = f"the journal {str(path)!r} cannot be compacted: {error}; {hint}"
        raise JournalError(msg) from error
    finally:
        lock.give_back()
    return Compacted(
        *(run.sessions, run.compacted, run.dropped, run.running, tuple(run.bad)),
        bytes_before=before,
        bytes_after=_size_of(path),
    )


class _Run:
    """Writes states down where that makes the journal smaller.

    Args:
        writer: of the journal, open.
        keep: positions before a snapshot of which the entries stay.
        progress: told of sessions.
    """

    def __init__(self, writer: Writer, keep: int, progress: Callable[[int], object]) -> None:
        self._writer = writer
        self._keep = keep
        self._progress = progress
        self._snapshots: list[Snapshot] = []
        self.sessions = self.compacted = self.dropped = self.running = 0
        self.bad: list[SessionKey] = []

    def look_at(self, found: Found, inspection: Inspection) -> None:
        """Compact a session, if it can be and that is of use."""
        if found.key is None:
            return
        self.sessions += 1
        self._progress(1)
        rows = found.rows.get("entry")
        if found.error:
            self.bad.append(found.key)
        if not rows:
            return
        try:
            state = inspection.folded(found)
        except JournalCorrupt:
            self.bad.append(found.key)
            return
        if state.running:
            self.running += 1
            return
        last = found.first + state.position - self._keep
        rows = [row for row in rows if row.row_id <= last]
        data = inspection.folding.form.dump(state.state)
        if len(data) >= sum(len(row.data) for row in (*rows, *found.rows["snapshot"])):
            return
        self.compacted += 1
        self.dropped += len(rows)
        self._snapshots.append(Snapshot(found.key, data, state.position))
        if len(self._snapshots) >= _AT_A_TIME:
            self.write()

    def write(self) -> None:
        """Write down what waits."""
        if self._snapshots:
            self._writer.write(self._snapshots)
            self._writer.tidy()
            self._snapshots.clear()


def _size_of(path: Path) -> int:
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
