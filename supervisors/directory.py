"""The session directory: owns every session's mailbox, and starts its actor when it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from loguru import logger
from pykka.messages import _ActorStop

from ..actors.actor import AsyncioActor
from ..actors.backlog_requests import StopIf
from ..actors.exit import Exit, ExitKind
from ..actors.failures import in_words
from ..actors.future import Future
from ..actors.mailbox import Envelope, Lane, Mailbox, running_on
from ..actors.requests import ShutdownRequest, StopRequest, futures_of
from ..messages.errors import SessionFailed, SystemClosed, WavebreakError
from .restart_policy import Backoff

if TYPE_CHECKING:
    from ..actors.exit import Notice
    from ..actors.recorded import Services
    from ..actors.reference import LoopActorRef
    from ..actors.session import SessionActor
    from ..messages.ids import SessionKey
    from ..messages.policies import How


class StartSession(NamedTuple):
    """To the directory: a mailbox was made, and needs an actor that reads it."""

    cell: Cell


class SessionDown(NamedTuple):
    """To the directory: an incarnation of a session has ended."""

    cell: Cell
    ref: LoopActorRef[Any]
    ended: Exit


class Cell:
    """A session's place in the directory: its mailbox over all incarnations; their watcher."""

    __slots__ = (
        "deaths",
        "directory",
        "failed_starts",
        "key",
        "mailbox",
        "ref",
        "started_at",
        "timer",
    )

    def __init__(self, key: SessionKey, mailbox: Mailbox) -> None:
        self.key = key
        self.mailbox = mailbox
        self.ref: LoopActorRef[Any] | None = None
        self.directory: LoopActorRef[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.deaths = 0
        self.failed_starts = 0
        self.started_at = 0.0

    def __call__(self, notice: Notice) -> None:
        """Be told by the reference of the session's actor; the directory is, while it cares."""
        if self.directory is not None and self.ref is not None and isinstance(notice, Exit):
            self.directory.put(SessionDown(self, self.ref, notice), Lane.SUPERVISION)


class Door:
    """The way into sessions, from any thread: finds a session's mailbox, or makes it.

    Args:
        loop: the loop that sessions live on.
        capacity: messages that one session's mailbox takes before it has read them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int | None) -> None:
        self.loop = loop
        self.cells: dict[SessionKey, Cell] = {}
        self.closed = False
        self.directory: LoopActorRef[Any] | None = None
        self._capacity = capacity
        self._lock = threading.Lock()

    def put(self, key: SessionKey, envelope: Envelope, lane: Lane = Lane.ORDINARY) -> None:
        """Put a program's envelope into a session's mailbox.

        Raises:
            SystemClosed: the system does not run.
            MailboxFull: the session has not handled what it got before.
        """
        if self.closed:
            raise SystemClosed(_CLOSED)
        self._put(key, envelope, lane, bounded=True)

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

    def report(self, key: SessionKey, message: object) -> None:
        """Put what the framework itself tells a session; also while the system closes."""
        cell = self.cells.get(key)
        if cell is not None and cell.ref is not None and cell.ref.is_alive():
            cell.ref.hand(message)
        else:
            with contextlib.suppress(SystemClosed):
                self._put(key, Envelope(message), Lane.ORDINARY, bounded=False)

    def forward(self, cell: Cell) -> None:
        """Leave what waits in a mailbox of which the session has ended to the next one."""
        self.forget(cell)
        for envelope in cell.mailbox.close():
            message = envelope.message
            if not isinstance(message, _ActorStop):  # that was for the one that has ended
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
                    raise SystemClosed(_CLOSED) from None
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
            if cell.timer is not None and self.directory is not None:
                # Between two incarnations: the next one has no more time to wait for.
                cell.timer.cancel()
                cell.timer = None
                self.directory.put(StartSession(cell), bounded=False)
            quiet.append(Future(self.loop))
            cell.mailbox.put(Envelope(ShutdownRequest(how, quiet[-1])), Lane.CONTROL)
        return quiet

    def _make(self, key: SessionKey) -> Cell:
        with self._lock:
            cell = self.cells.get(key)
            if cell is None:
                if self.closed:
                    raise SystemClosed(_CLOSED)
                cell = Cell(key, Mailbox(self.loop, capacity=self._capacity))
                if self.directory is not None:
                    self.directory.put(StartSession(cell), bounded=False)
                self.cells[key] = cell
            return cell

    def forget(self, cell: Cell) -> None:
        """Take a cell out, by identity: a newer one of the same session stays."""
        with self._lock:
            if self.cells.get(cell.key) is cell:
                del self.cells[cell.key]


class SessionDirectory(AsyncioActor):
    """Starts sessions on first use and again after a death; a budget each, never an escalation.

    Args:
        door: where the sessions' mailboxes are.
        session_actor: the class of sessions.
        services: what they are handed.
    """

    capacity = None

    def __init__(self, door: Door, session_actor: type[SessionActor], services: Services) -> None:
        super().__init__()
        self._door = door
        self._session_actor = session_actor
        self._services = services
        self._backoff = Backoff()

    def handle(self, envelope: Envelope) -> Any:
        """Start a session, take note of its end, or close them all."""
        message = envelope.message
        if isinstance(message, StartSession):
            return self._start_session(message.cell)
        if isinstance(message, SessionDown):
            return self._down(message)
        return super().handle(envelope)

    def _start_session(self, cell: Cell) -> None:
        if cell.ref is not None or cell.mailbox.closed:
            return
        cell.started_at = self._loop.time()
        try:
            ref = self._session_actor.start(cell.key, self._services, cell.mailbox)
        except BaseException as error:  # noqa: BLE001 - a program's own __init__, and its problem
            self._did_not_start(cell, error)
            return
        cell.ref = ref
        cell.directory = self._actor_ref
        ref.watch(cell)

    def _down(self, message: SessionDown) -> None:
        cell = message.cell
        if cell.ref is not message.ref:
            return
        cell.ref = None
        ended = message.ended
        if ended.kind is ExitKind.NORMAL:
            self._door.forward(cell)
        elif ended.phase == "start":
            self._did_not_start(cell, ended.cause)
        else:
            cell.failed_starts = 0
            self._start_later(cell)

    def _start_later(self, cell: Cell) -> None:
        """It comes back with its mailbox, folds its journal, and fences what it left."""
        if self._loop.time() - cell.started_at >= _STEADY:
            cell.deaths = 0
        delay = self._backoff.delay(cell.deaths, 0.0) if cell.deaths else 0.0
        cell.deaths += 1
        logger.warning("session {} died and is started again in {:.1f} s", cell.key, delay)
        cell.timer = self._loop.call_later(delay, self._start_again, cell)

    def _start_again(self, cell: Cell) -> None:
        cell.timer = None
        if self._door.cells.get(cell.key) is cell:
            self._start_session(cell)

    def _did_not_start(self, cell: Cell, cause: BaseException | None) -> None:
        """Try again, but let nobody wait for what does not come; a later message tries anew."""
        cell.failed_starts += 1
        if cell.failed_starts < _STARTS:
            self._start_later(cell)
            return
        why = in_words(cause) if cause is not None else "for no reason"
        logger.opt(exception=cause).error("session {} does not start", cell.key)
        msg = f"session {str(cell.key)!r} does not start ({why}): mend that, and send again"
        error = SessionFailed(msg)
        error.__cause__ = cause
        self._bury(cell, error)

    def _bury(self, cell: Cell, error: WavebreakError) -> None:
        """There is no session any more; whoever waits for it is answered."""
        self._door.forget(cell)
        for envelope in cell.mailbox.close():
            message = envelope.message
            if isinstance(message, ShutdownRequest):
                message.quiet.try_set(None)
                continue
            for waiter in (*futures_of(message), envelope.reply_to):
                if isinstance(waiter, Future):
                    waiter.try_set_error(error)

    async def on_stop(self) -> None:  # type: ignore[override]
        """Stop every session, and wait until it has; one that hangs is broken off."""
        cells = tuple(self._door.cells.values())
        refs = [cell.ref for cell in cells if cell.ref is not None]
        for cell in cells:
            cell.directory = None
            if cell.timer is not None:
                cell.timer.cancel()
        stops = [ref.stop(block=False) for ref in refs]
        if not await _all_of(stops, _STOP_WITHIN):
            for ref in refs:
                ref.break_off()
            if not await _all_of(stops, _BREAK_WITHIN):
                for ref in refs:
                    ref.give_up()
        closed = SystemClosed(_CLOSED)
        for cell in tuple(self._door.cells.values()):
            self._bury(cell, closed)


async def _all_of(stops: list[Future[bool]], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            for stop in stops:
                await stop
    except TimeoutError:
        return False
    return True


_STARTS = 3
"""How often a session is started that does not, before those who wait for it are told."""

_STEADY = 60.0
"""Seconds after which a session that dies has not died in a row with the times before."""

_STOP_WITHIN = 5.0
"""Seconds that sessions have for their ``on_stop``, and for what else their hooks wait for."""

_BREAK_WITHIN = 1.0
"""Seconds that a hook has to end in when it was cancelled."""

_CLOSED = "the system does not run: send within `async with ActorSystem(...)`, before it is closed"
