"""A journal in an SQLite file: what was accepted outlives the process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, get_args

import apsw
from loguru import logger

from ..messages.entries import Entry, Progressed
from ..messages.errors import InvalidSetting, JournalError, SystemClosed
from ..messages.events import Event, MessageAccepted
from ..messages.ids import SessionKey
from .base import Commit, Erased, Recorded, WriterLife
from .codec import Codec
from .committer import Committer
from .counting import more_unfinished, scheduled_by
from .items import CountedUnit, Erasure, Glance, Snapshot, Unit
from .place import ProcessLock, refuse_network
from .reader import Reader
from .schema import Synchronous
from .writer import Writer

if TYPE_CHECKING:
    from ..messages.history import HistoryEntry
    from ..messages.message import SessionMessage
    from .base import StateForm

T = TypeVar("T")

_AHEAD: Final = 4
"""Sessions that are read ahead of the loop. At a start a thousand are asked for at once: on a busy
machine most of them were in memory before the first went on, and the collector of garbage took as
long as all the rest (3.8 instead of 2.0 s of processor time, 185 instead of 55 MB)."""

_LARGE: Final = 32 << 10
"""Bytes of a state that is written down as often as was asked for. A larger one comes in turn less
often, as it takes longer: else a turn of a long conversation would cost more than a short one's."""

_ROOM: Final = 1 << 20
"""Bytes that are free on a disk with room for opening a journal."""

_NOBODY: Final = SessionKey("", "")
"""The key of no session: an id is never empty."""


class _Open(NamedTuple):
    """What there is while the journal is open."""

    loop: asyncio.AbstractEventLoop
    lock: ProcessLock
    ahead: asyncio.Semaphore
    writer: Writer
    committer: Committer
    reader: Reader
    write_pool: ThreadPoolExecutor
    read_pool: ThreadPoolExecutor


class SqliteJournal:
    """Keeps sessions in one SQLite file, with a ``-wal`` and a ``-lock`` file beside it.

    One thread writes: everything that waits in one transaction, and then what has come meanwhile.

    Args:
        path: the file; it is made if it is not there.
        synchronous: ``"FULL"``: what was accepted survives a power cut. ``"NORMAL"``: it survives
            a killed process; a power cut may take the last moments, but leaves no contradictions.
        snapshot_after: events of a session after which, at the end of a turn, its state is written
            down in their place.
        keep_entries: how many positions before that the events stay; as many as a service wants
            to give again to who was away. A session itself needs none.
        most_pending: bytes that may wait to be written before new messages are refused.
        accept_loss: open a journal of which the newest part, the ``-wal`` file, is missing or
            damaged, with what is left of it.
        vfs: the name of an apsw VFS to open it through, for tests.

    Raises:
        InvalidSetting: an argument cannot be used; the message names it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        synchronous: Synchronous = "FULL",
        *,
        snapshot_after: int = 500,
        keep_entries: int = 0,
        most_pending: int = 64 << 20,
        accept_loss: bool = False,
        vfs: str | None = None,
    ) -> None:
        if synchronous not in get_args(Synchronous):
            msg = f"synchronous={synchronous!r}: give 'FULL' or 'NORMAL'"
            raise InvalidSetting(msg)
        for name, number in (("snapshot_after", snapshot_after), ("most_pending", most_pending)):
            if number < 1:
                msg = f"{name}={number!r}: give 1 or more"
                raise InvalidSetting(msg)
        if keep_entries < 0:
            msg = f"keep_entries={keep_entries!r}: give 0 or more"
            raise InvalidSetting(msg)
        self._path = Path(path).resolve()
        self._synchronous: Synchronous = synchronous
        self._snapshot_after = snapshot_after
        self._keep_entries = keep_entries
        self._most_pending = most_pending
        self._accept_loss = accept_loss
        self._vfs = vfs
        self._codec = Codec({})
        self._state: StateForm | None = None
        self._next_at: dict[SessionKey, int] = {}  # position at which a snapshot is due
        self._open: _Open | None = None

    def __repr__(self) -> str:
        return f"SqliteJournal({str(self._path)!r}, {self._synchronous!r})"

    @property
    def survives(self) -> bool:
        """It does."""
        return True

    def bind(self, message_types: Mapping[str, type[SessionMessage]], state: StateForm) -> None:
        """Learn the program's classes of messages, and how states are written down."""
        self._codec = Codec(message_types)
        self._state = state

    # --- life ---

    async def open(self) -> None:
        """Take the file; make it if it is not there.

        Raises:
            JournalLocked: another process has it open.
            JournalDamaged: its newest part is missing, or damaged.
            JournalError: it cannot be used as it is.
        """
        if self._open is not None:
            msg = f"the journal {str(self._path)!r} is open already: give each system its own"
            raise JournalError(msg)
        loop = asyncio.get_running_loop()
        path = self._path
        write_pool = ThreadPoolExecutor(1, thread_name_prefix="wavebreak-journal-writer")
        lock = ProcessLock(path)
        writer = Writer(
            path,
            self._synchronous,
            self._vfs,
            accept_loss=self._accept_loss,
            keep=self._keep_entries,
        )
        try:
            await loop.run_in_executor(write_pool, _take, path, lock, writer)
        except BaseException:
            write_pool.shutdown()
            raise
        self._open = _Open(
            loop,
            lock,
            asyncio.Semaphore(_AHEAD),
            writer,
            Committer(writer, loop, write_pool, self._most_pending),
            Reader(path, self._vfs, self._codec, self._state),
            write_pool,
            ThreadPoolExecutor(1, thread_name_prefix="wavebreak-journal-reader"),
        )
        self._open.committer.clean_up()

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        opened = self._open
        if opened is None:
            return
        await opened.committer.finish()
        self._open = None
        self._next_at.clear()
        await opened.loop.run_in_executor(opened.read_pool, opened.reader.close)
        await opened.loop.run_in_executor(opened.write_pool, opened.writer.close)
        opened.lock.give_back()
        opened.read_pool.shutdown()
        opened.write_pool.shutdown()

    def life(self) -> WriterLife | None:
        """How the writer is at this moment; None if the journal is not open."""
        return None if self._open is None else self._open.committer.life()

    def _running(self) -> _Open:
        if self._open is None:
            msg = f"the journal {str(self._path)!r} is not open"
            raise SystemClosed(msg)
        return self._open

    # --- writing ---

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        """Record ``entries``; they are durable when the commit is done.

        Raises:
            JournalFull: there is a new message among them, and the disk has no room.
            JournalBusy: there is a new message among them, and too much waits already.
        """
        committer = self._running().committer
        first, last = entries[0], entries[-1]
        if first is last and type(first) is Progressed and not history:  # as most are
            unit = Unit(key, b"[%b]" % first.line, first.position)
            committer.put(unit)
            return unit
        is_used = False
        if type(first) is not Progressed and any(type(one) is MessageAccepted for one in entries):
            committer.admit()
            is_used = True
        position = first.position
        assert position is not None, "what is journaled has a position"
        unfinished = more_unfinished(entries)
        unit = CountedUnit(
            key,
            self._codec.entries(entries),
            position,
            history=self._codec.history(history) if history else b"",
            unfinished=unfinished,
            at=last.at if is_used or unfinished else 0.0,
            due=() if type(first) is Progressed else scheduled_by(entries),
        )
        committer.put(unit)
        return unit

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Write ``state`` down in the place of the entries so far, if they are many."""
        form = self._state
        if form is None:
            return
        position = form.position(state)
        next_at = self._next_at.get(key)
        if next_at is not None and position < next_at:
            return
        self._next_at[key] = position + self._snapshot_after
        if next_at is None:
            return  # it is not known how many they are: count from here
        try:
            data = form.dump(state)
        except Exception as error:  # noqa: BLE001 - the entries are there, and go on being so
            logger.opt(exception=error).error("the state of session {} cannot be written", key)
        else:
            self._next_at[key] += self._snapshot_after * len(data) // _LARGE
            self._running().committer.put(Snapshot(key, data, position))

    def let_go(self, key: SessionKey) -> None:
        """Keep nothing in memory of a session of which everything is written."""
        self._next_at.pop(key, None)
        if self._open is not None:
            self._open.writer.let_go(key)

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Forget a session; clean when it is neither in the file nor in the ``-wal`` file."""
        commit = Erasure(key, above, unless_after)
        clean = commit.clean
        self._running().committer.put(commit)
        self._next_at.pop(key, None)
        return Erased(commit, clean)

    # --- reading ---

    async def load(self, key: SessionKey) -> Recorded:
        """What is known of a session, with everything that was appended before.

        Raises:
            JournalCorrupt: the session's record cannot be read.
            OSError: it cannot be read now.
        """
        opened = self._running()
        await opened.committer.settled(key)
        async with opened.ahead:
            recorded, base = await self._read(partial(opened.reader.load, key))
        opened.committer.read_again(key)
        if self._open is opened:
            self._next_at[key] = base + self._snapshot_after
        return recorded

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last ``limit`` history entries, oldest first; all are kept.

        Raises:
            JournalCorrupt: they cannot be read.
            OSError: they cannot be read now.
        """
        if limit <= 0:
            return ()
        opened = self._running()
        await opened.committer.settled(key)
        return await self._read(partial(opened.reader.history, key, limit))

    # --- for those who look ---

    async def peek(self, key: SessionKey) -> Recorded:
        """What is known of a session, as :meth:`load` has it; it is not taken over.

        Raises:
            JournalCorrupt: the session's record cannot be read.
            OSError: it cannot be read now.
        """
        opened = self._running()
        await opened.committer.settled(key)
        recorded, _ = await self._read(partial(opened.reader.load, key))
        return recorded

    async def events(self, key: SessionKey, after: int, limit: int = 1000) -> Sequence[Event]:
        """The first events of a session behind ``after``, as far as they are kept.

        Those since the last snapshot are, and ``keep_entries`` before it.

        Raises:
            JournalCorrupt: they cannot be read.
            OSError: they cannot be read now.
        """
        opened = self._running()
        await opened.committer.settled(key)
        return await self._read(partial(opened.reader.events, key, after, limit))

    async def sessions(
        self, tenant: str | None, after: SessionKey | None, limit: int
    ) -> Sequence[SessionKey]:
        """The names of some sessions, in their order.

        Raises:
            OSError: they cannot be read now.
        """
        return await self._read(partial(self._running().reader.sessions, tenant, after, limit))

    async def unfinished(self) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions that something waits for, some at a time."""
        after = 0
        while True:
            reader = self._running().reader
            keys, after = await self._read(partial(reader.unfinished, after))
            if not keys:
                return
            yield keys

    async def due(self, until: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions of which something is due until then, some at a time."""
        after = (-inf, 0)
        while True:
            reader = self._running().reader
            keys, after = await self._read(partial(reader.due, until, after))
            if not keys:
                return
            yield keys

    async def next_due(self, after: float) -> float | None:
        """When the first of what is due after that is; None if there is nothing."""
        return await self._read(partial(self._running().reader.next_due, after))

    def note_time(self, now: float) -> Commit:
        """Note that somebody looks at how old sessions are."""
        glance = Glance(_NOBODY, now)
        self._running().committer.put(glance)
        return glance

    async def unused(self, since: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions at rest of which nothing was accepted and nothing ended since then."""
        after: int | None = 0
        while after is not None:
            reader = self._running().reader
            keys, after = await self._read(partial(reader.unused, after, since))
            yield keys

    def clean(self) -> Commit:
        """Go through the file for traces of all that was erased."""
        return self.erase(_NOBODY).clean

    async def _read(self, read: Callable[[], T]) -> T:
        opened = self._running()
        try:
            return await opened.loop.run_in_executor(opened.read_pool, read)
        except apsw.Error as error:
            msg = f"the journal {str(self._path)!r} cannot be read now: {error}"
            raise JournalError(msg) from error


def _take(path: Path, lock: ProcessLock, writer: Writer) -> None:
    refuse_network(path)
    try:
        lock.take()
        writer.open()
    except (apsw.Error, OSError) as error:
        lock.give_back()
        if isinstance(error, JournalError):
            raise
        what = "make room on its disk" if _is_full(path, error) else "choose another path"
        msg = f"the journal {str(path)!r} cannot be opened: {error}; {what}"
        raise JournalError(msg) from error


def _is_full(path: Path, error: Exception) -> bool:
    """Whether it is for want of room; of its shared memory SQLite says that as an I/O error."""
    if isinstance(error, apsw.FullError):
        return True
    return path.parent.is_dir() and shutil.disk_usage(path.parent).free < _ROOM
