"""The session directory: owns every session's mailbox, and starts its actor when it is needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from loguru import logger

from ..actors.actor import AsyncioActor
from ..actors.exit import Exit, ExitKind
from ..actors.future import Future
from ..actors.mailbox import Envelope, Lane, Mailbox
from ..actors.requests import ShutdownRequest, futures_of
from ..messages.errors import SystemClosed
from .restart_policy import Backoff

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..actors.reference import LoopActorRef
    from ..actors.session import Services, SessionActor
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
    """A session's place in the directory: its mailbox over all incarnations."""

    __slots__ = ("deaths", "key", "mailbox", "ref", "unwatch")

    def __init__(self, key: SessionKey, mailbox: Mailbox) -> None:
        self.key = key
        self.mailbox = mailbox
        self.ref: LoopActorRef[Any] | None = None
        self.unwatch: Callable[[], None] | None = None
        self.deaths = 0


class Door:
    """The way into sessions, from any thread: finds a session's mailbox, or makes it.

    Args:
        loop: the loop that sessions live on.
        capacity: messages that may wait in one session's mailbox.
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

    def report(self, key: SessionKey, message: object) -> None:
        """Put what the framework itself tells a session; also while the system closes."""
        cell = self.cells.get(key)
        if cell is not None and cell.ref is not None and cell.ref.is_alive():
            cell.ref.hand(message)
        else:
            self._put(key, Envelope(message), Lane.ORDINARY, bounded=False)

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
        self.closed = True
        quiet: list[Future[None]] = []
        for cell in tuple(self.cells.values()):
            quiet.append(Future(self.loop))
            cell.mailbox.put(Envelope(ShutdownRequest(how, quiet[-1])), Lane.CONTROL)
        return quiet

    def _make(self, key: SessionKey) -> Cell:
        with self._lock:
            cell = self.cells.get(key)
            if cell is None:
                cell = Cell(key, Mailbox(self.loop, capacity=self._capacity))
                self.cells[key] = cell
                if self.directory is not None:
                    self.directory.put(StartSession(cell), bounded=False)
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
        ref = self._session_actor.start(cell.key, self._services, cell.mailbox)
        cell.ref = ref
        cell.unwatch = ref.watch(lambda notice: self._noticed(cell, ref, notice))

    def _noticed(self, cell: Cell, ref: LoopActorRef[Any], notice: object) -> None:
        if isinstance(notice, Exit):
            self._actor_ref.put(SessionDown(cell, ref, notice), Lane.SUPERVISION)

    def _down(self, message: SessionDown) -> None:
        cell = message.cell
        if cell.ref is not message.ref:
            return
        cell.ref = None
        if message.ended.kind is ExitKind.NORMAL:
            self._bury(cell)
            return
        # It comes back with its mailbox, folds its journal, and fences what it left.
        delay = self._backoff.delay(cell.deaths, 0.0) if cell.deaths else 0.0
        cell.deaths += 1
        logger.warning("session {} died and is started again in {:.1f} s", cell.key, delay)
        self._loop.call_later(delay, self._start_again, cell)

    def _start_again(self, cell: Cell) -> None:
        if self._door.cells.get(cell.key) is cell:
            self._start_session(cell)

    def _bury(self, cell: Cell) -> None:
        """The session has ended for good; whoever came too late is answered."""
        self._door.forget(cell)
        error = SystemClosed(_CLOSED)
        for envelope in cell.mailbox.close():
            for waiter in (*futures_of(envelope.message), envelope.reply_to):
                if isinstance(waiter, Future):
                    waiter.try_set_error(error)

    async def on_stop(self) -> None:  # type: ignore[override]
        """Stop every session, and wait until it has."""
        for cell in tuple(self._door.cells.values()):
            if cell.ref is not None and cell.unwatch is not None:
                cell.unwatch()
                await cell.ref.stop(block=False)
            self._bury(cell)


_CLOSED = "the system does not run: send within `async with ActorSystem(...)`, before it is closed"
