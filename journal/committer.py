"""Group commit: what waits to be written, handed to the writer's thread, and what comes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw
from loguru import logger

from ..messages.errors import JournalBusy, JournalFull
from .base import Commit, WriterLife
from .items import Erasure, Snapshot, Unit
from .writer import DEFINITE, OF_ONE, Lost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ..messages.ids import SessionKey
    from .items import Item
    from .writer import Writer

_TRY_AGAIN: Final = (0.05, 1.0)
"""Seconds until what could not be written is tried again: at first, and at most."""

_LAST_TRIES: Final = 3
"""How often a closing journal tries to write what it could not."""


class _Held(NamedTuple):
    """These could not be written now, and nothing of them was: they stay in the queue."""

    items: Sequence[Item]
    error: Exception


class _Gone(NamedTuple):
    """Nobody can say whether these were written."""

    items: Sequence[Item]
    error: Exception


class _Later(NamedTuple):
    """All is written, but there may be traces in the file of what was erased."""

    error: Exception


class Committer:
    """Writes everything that waits in one transaction, and again while something waits.

    All but :meth:`_work` runs on the loop's thread. The thread is entered by ``run_in_executor``,
    so that a loop with virtual time can see that it works.

    Args:
        writer: what the thread writes with.
        loop: where commits complete.
        pool: has the one thread.
        most_pending: bytes that may wait before new messages are refused.
    """

    def __init__(
        self,
        writer: Writer,
        loop: asyncio.AbstractEventLoop,
        pool: Executor,
        most_pending: int,
    ) -> None:
        self._writer = writer
        self._loop = loop
        self._pool = pool
        self._most_pending = most_pending
        self._queue: deque[Item] = deque()  # appended here, emptied in the thread
        self._pending_bytes = 0
        self._last: dict[SessionKey, Commit] = {}
        self._at_work = False
        self._is_due = False
        # Who waits for the file to be gone through, and how far; in the thread, but for looking.
        self._erased: deque[tuple[Commit, int]] = deque()
        self._again: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._held: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._delay = _TRY_AGAIN[0]
        self._lost: dict[SessionKey, Exception] = {}
        self._reopened: asyncio.Future[None] | None = None
        self._rests: asyncio.Future[None] | None = None
        self._restarts = 0

    # --- what comes in ---

    def admit(self) -> None:
        """Refuse a new message when it could not be written soon.

        Raises:
            JournalFull: the disk has no room.
            JournalBusy: too much waits already.
        """
        if isinstance(self._held, apsw.FullError):
            msg = "the journal's disk is full: the message was not accepted; make room, send again"
            raise JournalFull(msg) from self._held
        if self._pending_bytes > self._most_pending:
            msg = (
                f"{self._pending_bytes} bytes wait to be written to the journal, and at most "
                f"{self._most_pending} should: the message was not accepted; send it again later"
            )
            raise JournalBusy(msg)

    def put(self, item: Item) -> None:
        """Queue something to be written; its commit tells what came of it."""
        key = item.key
        if self._lost and (lost := self._lost.get(key)) is not None:
            # What it follows on may not be there: not before its session was read again.
            self._loop.call_soon(item.complete, lost)
            return
        self._queue.append(item)
        self._pending_bytes += item.size()
        self._last[key] = item
        if not (self._at_work or self._is_due or self._timer):
            # What else happens in this turn of the loop goes into the same transaction.
            self._is_due = True
            self._loop.call_soon(self._start)

    async def settled(self, key: SessionKey) -> None:
        """Wait until everything of a session that was put is written, or is known not to be."""
        while True:
            if self._reopened is not None:
                await asyncio.shield(self._reopened)
            last = self._last.get(key)
            if last is None:
                return
            done: asyncio.Future[None] = self._loop.create_future()
            last.add_done_callback(partial(_tell, done))
            await done

    def read_again(self, key: SessionKey) -> None:
        """A session knows again what the journal has of it."""
        self._lost.pop(key, None)

    def life(self) -> WriterLife:
        """How writing goes."""
        if self._reopened is not None:
            trouble = "it could not be said whether the last entries are there: it is opened anew"
        else:
            held = self._held
            trouble = "" if held is None else str(held) or type(held).__name__
        return WriterLife(not trouble, self._restarts, len(self._queue), trouble)

    # --- the thread ---

    def _start(self) -> None:
        self._is_due = False
        self._timer = None
        if not self._at_work and (self._queue or self._reopened or self._erased):
            self._at_work = True
            work = self._loop.run_in_executor(self._pool, self._work)
            work.add_done_callback(self._ended)

    def _work(self) -> _Held | _Gone | _Later | None:
        """In the writer's thread: write as long as something waits."""
        queue, writer = self._queue, self._writer
        while queue or self._reopened is not None or self._erased:
            try:
                writer.reopen()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                return _Held((), error)
            self._tell_opened()
            items = [queue.popleft() for _ in range(len(queue))]
            if not (items or self._erased):
                return None  # it was only to be opened
            try:
                if items:
                    self._write(items)
            except DEFINITE as error:
                return _Held(items, error)
            except Lost as lost:
                cause = lost.__cause__
                return _Gone(items, cause if isinstance(cause, Exception) else lost)
            writer.tidy()
            later = self._clean() if self._erased else None
            if later is not None or self._is_closing:
                return later  # the next start goes on with it
        return None

    def _write(self, items: list[Item]) -> None:
        try:
            self._writer.write(items)
        except OF_ONE:
            self._write_one_by_one(items)
        else:
            self._tell_written(items)

    def _tell_written(self, items: Sequence[Item]) -> None:
        if self._writer.has_erased:
            self._writer.has_erased = False
            until = self._writer.until_clean()
            erased = [item for item in items if isinstance(item, Erasure)]
            self._erased += ((one.clean, until) for one in erased if one.unless_after is None)
        self._loop.call_soon_threadsafe(self._written, items)

    def _clean(self) -> _Later | None:
        """Go through some more of the file for traces; tell whoever waited for just that."""
        try:
            cleaned = self._writer.clean()
            self._tell_cleaned(cleaned)
        except apsw.Error as error:
            return _Later(error)
        return None

    def _tell_cleaned(self, cleaned: int) -> None:
        while self._erased and self._erased[0][1] <= cleaned:
            self._loop.call_soon_threadsafe(self._erased.popleft()[0].complete)
        if not self._erased:
            self._writer.note_clean()

    def clean_up(self) -> None:
        """Go on to look for traces, as an earlier process did not come to the end with it."""
        if self._writer.has_traces:
            self._erased.append((Commit(), self._writer.until_clean()))
            self._start()

    def _write_one_by_one(self, items: list[Item]) -> None:
        """One of them cannot be written: that one, and what follows on it, alone is lost."""
        failed: dict[SessionKey, Exception] = {}
        while items:
            item = items[0]
            error = failed.get(item.key)
            if error is None:
                try:
                    self._writer.write((item,))
                except OF_ONE as its_own:
                    error = failed[item.key] = its_own
            del items[0]  # not before: what raised, and is tried again, is still among them
            if error is None:
                self._tell_written((item,))
            else:
                self._loop.call_soon_threadsafe(self._written, (item,), error)

    def _tell_opened(self) -> None:
        if self._reopened is not None:
            self._loop.call_soon_threadsafe(self._opened)

    # --- what came of it ---

    def _opened(self) -> None:
        reopened, self._reopened = self._reopened, None
        if reopened is not None:
            reopened.set_result(None)

    def _written(self, items: Sequence[Item], error: Exception | None = None) -> None:
        if error is None:
            self._delay = _TRY_AGAIN[0]
            if self._held is not None:
                logger.info("the journal is written again")
                self._held = None
        else:
            # Before anybody is told: who is may append at once. On the others nothing follows, and
            # nobody would read such a session again.
            followed = [item.key for item in items if isinstance(item, Unit | Snapshot)]
            self._lost.update(dict.fromkeys(followed, error))
        last = self._last
        for item in items:
            key = item.key
            self._pending_bytes -= item.size()
            item.forget()  # whoever appended it keeps the commit
            if error is not None and isinstance(item, Erasure):
                item.clean.complete(error)
            if last.get(key) is item:
                del last[key]
            try:
                item.complete(error)
            except Exception as raised:  # noqa: BLE001 - the others are told all the same
                logger.opt(exception=raised).error("what waited for session {} failed", key)

    def _ended(self, work: asyncio.Future[_Held | _Gone | _Later | None]) -> None:
        self._at_work = False
        if work.cancelled():
            return
        error = work.exception()
        ended = work.result() if error is None else _Gone((), RuntimeError(repr(error)))
        if isinstance(ended, _Gone):
            self._lose(ended)
        elif isinstance(ended, _Held):
            self._hold(ended)
        elif isinstance(ended, _Later) and not self._queue:
            logger.debug("the journal is to be gone through later: {}", ended.error)
            self._again = self._loop.call_later(_TRY_AGAIN[0], self._start)
        elif self._queue:
            self._start()
        if self._rests is not None and not self._rests.done():
            self._rests.set_result(None)

    def _hold(self, held: _Held) -> None:
        """Nothing is lost: try again, and keep everything in order until then."""
        if self._held is None:
            logger.error("the journal cannot be written, and tries again: {}", held.error)
        self._held = held.error
        self._queue.extendleft(reversed(held.items))
        self._timer = self._loop.call_later(self._delay, self._start)
        self._delay = min(2 * self._delay, _TRY_AGAIN[1])

    def _lose(self, gone: _Gone) -> None:
        """Fail-stop: whoever wrote, or was about to, reads again what the journal has."""
        items = (*gone.items, *self._queue)
        self._queue.clear()
        logger.error("the journal did not confirm {} entries: {}", len(items), gone.error)
        self._restarts += 1
        if self._reopened is None:
            self._reopened = self._loop.create_future()
        self._timer = self._loop.call_later(self._delay, self._start)
        self._written(items, gone.error)

    async def finish(self) -> None:
        """Write what waits; what cannot be written is given up."""
        tries = 0
        self._is_closing = True
        while self._queue or self._at_work or self._reopened or (self._erased and not tries):
            if not self._at_work:
                tries += not self._queue or self._held is not None or self._reopened is not None
                if tries > _LAST_TRIES:
                    break
                self._stop_timer()
                self._start()
            self._rests = self._loop.create_future()
            await self._rests
        self._stop_timer()
        if self._queue:
            error = self._held or JournalBusy("the journal was closed before it could be written")
            items = tuple(self._queue)
            self._queue.clear()
            logger.error("{} entries could not be written to the journal: {}", len(items), error)
            self._written(items, error)
        if self._erased:
            logger.info("traces of what was erased are looked for at the next start")
            for clean, _ in self._erased:
                clean.complete()
            self._erased.clear()
        self._opened()

    def _stop_timer(self) -> None:
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._timer = self._again = None


def _tell(waiter: asyncio.Future[None], _commit: Commit) -> None:
    if not waiter.done():
        waiter.set_result(None)
