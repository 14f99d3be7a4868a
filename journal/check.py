"""Whether a journal is whole: every row, every session, the file itself, and its newest part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw
from pydantic_core import from_json

from ..messages.errors import JournalCorrupt
from .codec import READABLE, VERSION, checksum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..messages.ids import SessionKey
    from .inspect import Inspection
    from .rows import Found

_FROM_A_BACKUP: Final = "it is quarantined alone; restore it from a backup of the journal"
_ANOTHER_WAVEBREAK: Final = "open the journal with the wavebreak that wrote it"

_ENDS: Final = frozenset({"message_ended", "delivery_ended"})

_MOST: Final = 20
"""Problems of the file that SQLite is asked for."""


class Problem(NamedTuple):
    """Something that is not as it should be.

    Args:
        where: ``session``, ``rows`` (of no session), ``wal`` or ``file``.
        what: it is.
        remedy: what to do about it.
        key: the session.
    """

    where: str
    what: str
    remedy: str
    key: SessionKey | None = None


class Checked(NamedTuple):
    """How far a check has come.

    Args:
        sessions: that were looked at.
        folded: how many of them were folded.
        rows: whose checksums were compared.
    """

    sessions: int = 0
    folded: int = 0
    rows: int = 0


class Check:
    """Goes through a journal.

    Args:
        inspection: of the journal.
        thorough: fold every session, also those without a snapshot that nothing waits for; read
            all of the history; and look at the file's indexes.
        progress: called with the number of sessions whenever some were looked at.
    """

    def __init__(
        self,
        inspection: Inspection,
        *,
        thorough: bool = False,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._inspection = inspection
        self._thorough = thorough
        self._progress = progress
        self.checked = Checked()

    def problems(self) -> Iterator[Problem]:
        """What is wrong, as it is found.

        Raises:
            JournalError: the journal was written to, so that it must be looked at again.
            OSError: it cannot be read.
        """
        yield from self._newest()
        for look in (self._file, self._sessions):
            try:
                yield from look()
            except apsw.CorruptError as error:
                yield Problem(
                    "file",
                    f"SQLite cannot read it any further: {error}",
                    "restore it from a backup; `wavebreak journal export` saves what can be read",
                )
        self._inspection.confirm()

    def _newest(self) -> Iterator[Problem]:
        inspection = self._inspection
        if inspection.lacks_its_wal:
            yield Problem(
                "wal",
                "the journal was not closed, and the -wal file with its newest part is missing",
                "put that file back; or do without: accept_loss=True, `serve --accept-loss`",
            )
        wal = inspection.wal()
        if wal is None or wal.damage is None:
            return
        frame, transactions = wal.damage
        yield Problem(
            "wal",
            f"{f'frame {frame}' if frame else 'the header'} of the -wal is not what was written; "
            f"{transactions} or more transactions behind it cannot be read",
            "a process that has the journal open still sees them: end it in order, which saves "
            "them; else restore the file, or do without: accept_loss=True, `serve --accept-loss`"
            if inspection.holder is not None
            else "restore that file; or do without: accept_loss=True, `serve --accept-loss`",
        )

    def _file(self) -> Iterator[Problem]:
        pragma = "integrity_check" if self._thorough else "quick_check"
        for (said,) in self._inspection.connection.execute(f"PRAGMA {pragma}({_MOST})"):
            if said != "ok":
                yield Problem(
                    "file", f"SQLite's {pragma}: {said}", "restore the journal from a backup"
                )

    # --- sessions ---

    def _sessions(self) -> Iterator[Problem]:
        for found in self._inspection.sessions():
            yield from self._of(found)
            sessions, folded, rows = self.checked
            more = sum(map(len, found.rows.values()))
            self.checked = Checked(sessions + (found.key is not None), folded, rows + more)
            self._progress(found.key is not None)

    def _of(self, found: Found) -> Iterator[Problem]:
        if found.key is None:
            rows = sum(map(len, found.rows.values()))
            yield Problem(
                "rows",
                f"{rows} rows belong to session number {found.number}, which is not there",
                "nobody reads them; if a conversation is missing, restore it from a backup",
            )
            return
        wrong = found.error or next(_wrong_rows(found), "")
        if not wrong:
            wrong = _gap(found) or self._not_folded(found)
        if wrong:
            remedy = _ANOTHER_WAVEBREAK if "in version" in wrong else _FROM_A_BACKUP
            yield Problem("session", wrong, remedy, found.key)

    def _not_folded(self, found: Found) -> str:
        """Why a session's actor could not take it over."""
        if not (self._thorough or found.unfinished or found.rows["snapshot"]):
            return ""
        inspection = self._inspection
        try:
            state = inspection.folded(found)
            if self._thorough:
                for row in found.rows["history"]:
                    inspection.codec.read_history(row, "its history")
        except JournalCorrupt as error:
            return str(error)
        self.checked = self.checked._replace(folded=self.checked.folded + 1)
        wrong = _miscounted(state.messages + state.deliveries, found.unfinished)
        return wrong or _mistimed(state.scheduled, found.due)


def _wrong_rows(found: Found) -> Iterator[str]:
    """What is wrong with the rows of a session, one by one."""
    for table, rows in found.rows.items():
        for row in rows:
            at = row.row_id - found.first
            if row.version not in READABLE:
                yield f"{table} at {at} was written in version {row.version}, not {VERSION}"
            elif checksum_of(row.row_id, row.data) != row.checksum:
                yield f"{table} at {at} is not what was written: its checksum differs"


def _gap(found: Found) -> str:
    """Where the positions of a session do not follow on each other."""
    snapshots, rows = found.rows["snapshot"], found.rows["entry"]
    if len(snapshots) > 1:
        return f"it has {len(snapshots)} snapshots instead of one"
    if not snapshots and not rows:
        is_gone = found.rows["history"] or found.unfinished
        return "everything of it is gone but its history and its name" if is_gone else ""
    covered = snapshots[0].row_id - found.first if snapshots else found.floor
    # Of what a snapshot covers the last entries may be kept, for those who look.
    kept = bool(snapshots and rows)
    position = min(covered, rows[0].row_id - found.first - 1) if kept else covered
    waits = 0
    scheduled: dict[int, float] = {}
    for row in rows:
        at = row.row_id - found.first
        if at != position + 1:
            missing = "is there twice" if at <= position else "is missing"
            return f"position {min(at, position + 1)} {missing}: the next entry is at {at}"
        try:
            entries: list[Any] = from_json(row.data)
            position = _last_of(entries[-1])
            for entry in entries:
                waits += _more_waits(entry)
                _reschedule(scheduled, entry)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            return f"entry at {at} cannot be read: {error!r}"
    if position < covered:
        return f"position {position + 1} is missing: its snapshot is at {covered}"
    miscounted = _miscounted(waits, found.unfinished) or _mistimed(scheduled, found.due)
    return "" if snapshots else miscounted


def _miscounted(waits: int, counted: int) -> str:
    """What is counted tells what a start looks at."""
    if waits == counted:
        return ""
    then = "is started in vain" if counted else "is not started by itself"
    return f"{waits} messages and deliveries have not ended, and {counted} are counted: it {then}"


def _mistimed(scheduled: Mapping[int, float], due: Mapping[int, float]) -> str:
    """What is noted as due tells when a session is woken."""
    if scheduled == due:
        return ""
    then = "woken in vain" if len(due) > len(scheduled) else "not woken in time"
    return f"{len(scheduled)} messages are scheduled, and {len(due)} are noted: it is {then}"


def _reschedule(scheduled: dict[int, float], entry: list[Any] | dict[str, Any]) -> None:
    """What is scheduled after an entry."""
    if isinstance(entry, list):
        return
    kind = entry["kind"]
    if kind == "message_accepted" and entry.get("due_at") is not None:
        scheduled[entry["position"]] = entry["due_at"]
    elif kind == "message_due":
        scheduled.pop(entry["accepted"], None)
    elif kind == "message_ended" and entry.get("scheduled") is not None:
        scheduled.pop(entry["scheduled"], None)


def _more_waits(entry: list[Any] | dict[str, Any]) -> int:
    """How many more messages and deliveries are to be ended after an entry than before."""
    if isinstance(entry, list):
        return 0
    kind: str = entry["kind"]
    posted = kind != "delivery_ended" and entry.get("delivery_id") is not None
    if entry.get("due_at") is not None or entry.get("scheduled") is not None:
        return int(posted)  # it does not wait before it is due
    more = kind in {"message_accepted", "message_due"}
    return int(posted) + more - (kind in _ENDS)


def _last_of(entry: list[Any] | dict[str, Any]) -> int:
    """The position of the last event in an entry; what is in it is not decoded for that."""
    if isinstance(entry, dict):
        return int(entry["position"])
    first, _, _, done, wave_done, wave, *_ = entry
    return int(first) + len(done) + bool(wave_done) + bool(wave) - 1
