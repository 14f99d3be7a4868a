"""The way into sessions: finds a session's mailbox, or makes it; it outlives the directory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from ..actors.asked import STOPS
from ..actors.backlog_requests import StopIf
from ..actors.exit import Exit
from ..actors.future import Future
from ..actors.machine.state import Status
from ..actors.mailbox import Envelope, Lane, Mailbox, running_on
from ..actors.requests import ShutdownRequest, StopRequest, Told, futures_of
from ..actors.standing import Standing
from ..messages.errors import MailboxFull, SystemClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.counters import Counters
    from ..actors.exit import Notice
    from ..actors.reference import LoopActorRef
    from ..actors.session import SessionActor
    from ..messages.errors import WavebreakError
    from ..messages.ids import SessionKey
    from ..messages.policies import How
    from .directory import SessionDirectory
    from .policy import Stamps


class StartSession(NamedTuple):
    """To the directory: a mailbox was made, and needs an actor that reads it."""

    cell: Cell


class SessionDown(NamedTuple):
    """To the directory: an incarnation of a session has ended."""

    cell: Cell
    ref: LoopActorRef[Any]
    ended: Exit


class Cell:
    """A session's place in the directory: its mailbox over all incarnations; their watcher.

    Args:
        key: the session.
        mailbox: its own.
        place: the directory's.
    """

    __slots__ = (
        "idle_since",
        "key",
        "mailbox",
        "mark",
        "place",
        "ref",
        "repetition",
        "restarts",
        "since",
        "stamps",
        "successor",
        "timer",
    )

    def __init__(
        self, key: SessionKey, mailbox: Mailbox, place: Standing[SessionDirectory]
    ) -> None:
        self.key = key
        self.mailbox = mailbox
        self.place: Standing[SessionDirectory] | None = place
        self.ref: LoopActorRef[SessionActor] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stamps: Stamps = ()
        """When it was started again; what its budget is counted by."""
        self.repetition = 0
        self.restarts = 0
        self.since = 0.0
        """When it was started."""
        self.mark: object = None
        """What it had done when it was last looked at, ..."""
        self.idle_since = 0.0
        """... and since when that is all."""
        self.successor: Cell | None = None
        """The place that was made for the session while this one was being left."""

    def __call__(self, notice: Notice) -> None:
        """Be told by the reference of the session's actor; the directory is, while it cares."""
        if self.place is not None and self.ref is not None and isinstance(notice, Exit):
            self.place.put(SessionDown(self, self.ref, notice), Lane.SUPERVISION)


def actor_of(cell: Cell) -> SessionActor | None:
    """The session's actor as it is now, on the loop's thread."""
    return None if cell.ref is None else cell.ref._actor  # noqa: SLF001 - one of ours


class Door:
    """The way into sessions, from any thread.

    Args:
        loop: the loop that sessions live on.
        capacity: messages that one session's mailbox takes before it has read them.
        undeliverable: told of what a program told a session that came to its end before.
        counters: counts what is refused.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        capacity: int | None,
        undeliverable: Callable[[SessionKey, object], None],
        counters: Counters,
    ) -> None:
        self.loop = loop
        self.place: Standing[SessionDirectory] = Standing(loop)
        self.cells: dict[SessionKey, Cell] = {}
        self.leaving: dict[SessionKey, Cell] = {}
        """Those whose mailbox is closed and whose actor is in its ``on_stop``, on the loop only."""
        self.spent: dict[SessionKey, Stamps] = {}
        """The stamps of sessions that spent their budget; so the next message is one more try."""
        self.closed = False
        self._capacity = capacity
        self._undeliverable = undeliverable
        self._counters = counters
        self._last_stamp = 0
        self._lock = threading.Lock()
        self._mailbox_lock = threading.RLock()

    def put(
        self,
        key: SessionKey,
        envelope: Envelope,
        lane: Lane = Lane.ORDINARY,
        *,
        bounded: bool = True,
    ) -> None:
        """Put a program's envelope into a session's mailbox.

        Raises:
            SystemClosed: the system does not run.
            MailboxFull: the session has not handled what it got before.
        """
        if self.closed:
            raise SystemClosed(CLOSED)
        try:
            self._put(key, envelope, lane, bounded=bounded)
        except MailboxFull:
            self._counters.count("refused_messages", error=MailboxFull.__name__)
            raise

    def hand(self, key: SessionKey, message: object) -> None:
        """Have a session handle a program's request, now if it is free and lives on this thread.

        Raises:
            SystemClosed: the system does not run.
            MailboxFull: the session has not handled what it got before.
        """
        cell = self.cells.get(key)
        ref = None if cell is None or self.closed else cell.ref
        if ref is None or not running_on(self.loop) or not ref.take(message):
            self.put(key, Envelope(message))

    def help(self, key: SessionKey) -> None:
        """Have a session whose agent is at work handle what it was sent: it may be told to stop.

        For somebody on this thread who waits for that. It would anyway at the next turn of the
        loop, but beside many sessions that is milliseconds.
        """
        cell = self.cells.get(key)
        actor = None if cell is None else actor_of(cell)
        if actor is not None and actor.is_at_work:
            actor._actor_help()  # noqa: SLF001 - one of ours

    def report(self, key: SessionKey, message: object) -> None:
        """Put what the framework itself tells a session; also while the system closes."""
        cell = self.cells.get(key)
        if cell is not None and cell.ref is not None and cell.ref.is_alive():
            cell.ref.hand(message)
        else:
            with contextlib.suppress(SystemClosed):
                self._put(key, Envelope(message), Lane.ORDINARY, bounded=False)

    def wake(self, key: SessionKey) -> None:
        """Start a session that nobody has sent anything: it has something left to do."""
        if not self.closed and key not in self.cells:
            self._make(key)

    def is_starting(self, key: SessionKey) -> bool:
        """Whether a session that was woken has not read its journal yet."""
        cell = self.cells.get(key)
        actor = None if cell is None else actor_of(cell)
        return actor is not None and actor.state.status is Status.RECOVERING

    def forward(self, cell: Cell) -> None:
        """Leave what waits in a mailbox of which the session has ended to the next one."""
        if self.closed:
            self.bury(cell, SystemClosed(CLOSED))  # there is none
            return
        self.forget(cell)
        for envelope in cell.mailbox.close():
            message = envelope.message
            if not isinstance(message, STOPS):  # that was for the one that has ended
                is_stop = isinstance(message, StopRequest | StopIf)
                lane = Lane.CONTROL if is_stop else Lane.ORDINARY
                self._put(cell.key, envelope, lane, bounded=False)

    def _put(self, key: SessionKey, envelope: Envelope, lane: Lane, *, bounded: bool) -> None:
        while True:
            cell = self.cells.get(key)
            if cell is None:
                cell = self._make(key)
            try:
                cell.mailbox.put(envelope, lane, bounded=bounded)
            except pykka.ActorDeadError:
                # It closed between our look and our put: the next one is open.
                if self.loop.is_closed():
                    raise SystemClosed(CLOSED) from None
                self.forget(cell)
                continue
            return

    def shut_down(self, how: How) -> list[Future[None]]:
        """Take no more messages, and tell every session to come to rest; one future for each."""
        with self._lock:  # so that no thread makes another one behind our back
            self.closed = True
            cells = tuple(self.cells.values())
        quiet: list[Future[None]] = []
        for cell in cells:
            if cell.timer is not None:
                # Between two incarnations: the next one has no more time to wait for.
                cell.timer.cancel()
                cell.timer = None
                self.place.put(StartSession(cell))
            quiet.append(Future(self.loop))
            cell.mailbox.put(Envelope(ShutdownRequest(how, quiet[-1])), Lane.CONTROL)
        return quiet

    def _make(self, key: SessionKey) -> Cell:
        with self._lock:
            cell = self.cells.get(key)
            if cell is None:
                if self.closed:
                    raise SystemClosed(CLOSED)
                # Stamps go on over mailboxes: a stop covers what was sent before it, wherever.
                mailbox = Mailbox(
                    self.loop,
                    capacity=self._capacity,
                    last_stamp=self._last_stamp,
                    lock=self._mailbox_lock,
                )
                cell = Cell(key, mailbox, self.place)
                try:
                    self.place.put(StartSession(cell))
                except pykka.ActorDeadError:
                    raise SystemClosed(CLOSED) from None
                self.cells[key] = cell
            return cell

    def forget(self, cell: Cell) -> None:
        """Take a cell out, by identity: a newer one of the same session stays."""
        with self._lock:
            if self.cells.get(cell.key) is cell:
                del self.cells[cell.key]
                self._last_stamp = max(self._last_stamp, cell.mailbox.last_stamp)

    def bury(self, cell: Cell, error: WavebreakError) -> None:
        """There is no session any more; whoever waits for it is answered."""
        self.forget(cell)
        for envelope in cell.mailbox.close():
            message = envelope.message
            if isinstance(message, ShutdownRequest):
                message.quiet.try_set(None)
                continue
            if isinstance(envelope, Told):
                self._undeliverable(cell.key, message)
            for waiter in (*futures_of(message), envelope.reply_to):
                if isinstance(waiter, Future):
                    waiter.try_set_error(error)

    async def end(self) -> None:
        """Stop every session, and wait until it has; one that hangs is broken off."""
        cells = (*self.cells.values(), *self.leaving.values())
        refs = [cell.ref for cell in cells if cell.ref is not None]
        for cell in cells:
            cell.place = cell.successor = None
            if cell.timer is not None:
                cell.timer.cancel()
                cell.timer = None
        stops = [_stopped(ref) for ref in refs]
        if not await _all_of(stops, STOP_WITHIN):
            for ref in refs:
                ref.break_off()
            if not await _all_of(stops, BREAK_WITHIN):
                for ref in refs:
                    ref.give_up()
        closed = SystemClosed(CLOSED)
        self.leaving.clear()
        for cell in tuple(self.cells.values()):
            self.bury(cell, closed)


def _stopped(ref: LoopActorRef[Any]) -> Future[None]:
    """Ask an actor to stop; done when it has. One whose mailbox is closed does so already."""
    stopped: Future[None] = Future(ref.loop)
    ref.watch(lambda notice: isinstance(notice, Exit) and stopped.try_set(None))
    if ref.exit is None:
        ref.stop(block=False)
    return stopped


async def _all_of(stops: list[Future[None]], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            for stop in stops:
                await stop
    except TimeoutError:
        return False
    return True


STOP_WITHIN = 5.0
"""Seconds that sessions have for their ``on_stop``, and for what else their hooks wait for."""

BREAK_WITHIN = 1.0
"""Seconds that a hook has to end in when it was cancelled."""

CLOSED = "the system does not run: send within `async with ActorSystem(...)`, before it is closed"
