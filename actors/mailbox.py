"""The mailbox: three lanes, one lock, and one wake-up per burst."""

from __future__ import annotations

import sys
import threading
from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage] - raises nothing
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope as PykkaEnvelope

from ..messages.errors import MailboxFull
from .due import Due

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context


class Lane(IntEnum):
    """What is read first; within a lane the order is that of the puts."""

    CONTROL = 0
    SUPERVISION = 1
    ORDINARY = 2


class Envelope(PykkaEnvelope[Any]):
    """A message on its way, with its stamp.

    A handler that wants to answer later takes ``reply_to`` and sets it to None here; nobody
    else answers it then.
    """

    __slots__ = ("next", "stamp")

    stamp: int
    """Its place in the order of all puts of its mailbox; there once it was put or read."""

    next: Envelope | None
    """The one behind it in its mailbox; None as long as it is in none."""

    def __init__(self, message: object, reply_to: pykka.Future[Any] | None = None) -> None:
        self.message = message
        self.reply_to = reply_to
        self.next = None


def running_on(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Say whether the calling thread runs ``loop`` at this moment."""
    return loop is not None and _get_running_loop() is loop


class Mailbox:
    """What waits for one actor, and for those that come after it in its place.

    The envelopes themselves are the chain in which they will be read, so that an idle mailbox
    holds no container at all (a deque alone takes 760 bytes) and ``pop`` takes what comes first.

    What is told without envelopes goes into a ``queue`` behind the chain, and with it all that is
    put by the ordinary lane, until the reader has emptied it and throws it away. So, while there
    is a queue, its reader is awake (or there is none yet), the chain is read before it, and to
    tell something is to append it: no lock, no wake-up. Whoever appended looks whether it is the
    queue still; if not, it was thrown away in between, and what nobody will read of it is put
    anew (``retrace``).

    Args:
        loop: the loop of its readers.
        capacity: how many ordinary messages may wait; None for no bound.
        lock: one that several share; it must be one that its own thread can take again.
        last_stamp: stamps go on behind this one.
    """

    __slots__ = (
        "_closed",
        "_context",
        "_last_control",
        "_last_ordinary",
        "_last_supervision",
        "_lock",
        "_reader",
        "_wake",
        "_woken",
        "capacity",
        "first",
        "last_stamp",
        "loop",
        "mark",
        "queue",
        "room",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        capacity: int | None = None,
        lock: threading.RLock | None = None,
        *,
        last_stamp: int = 0,
    ) -> None:
        self.loop = loop
        self.capacity = capacity
        self.last_stamp = last_stamp
        self.mark = 0  # what a reader leaves to the one that comes after it
        self._lock = threading.RLock() if lock is None else lock
        self.first: Envelope | None = None  # what is read next; a hint on any but the loop's thread
        self._last_control: Envelope | None = None
        self._last_supervision: Envelope | None = None
        self._last_ordinary: Envelope | None = None
        self.queue: deque[Any] | None = None  # what is told, and what is put behind that
        # How many ordinary messages still find room, but for those in the queue.
        self.room = sys.maxsize if capacity is None else capacity
        self._wake: Callable[[], object] | Due | None = None
        self._reader: Any = None
        self._context: Context | None = None
        # Whether the reader knows that something waits: set when it is woken, cleared when it
        # got None. In between it needs no further wake-up.
        self._woken = False
        self._closed = False

    @property
    def pending(self) -> bool:
        """Whether something waits; without the lock, so a hint on any but the loop's thread."""
        return self.first is not None or bool(self.queue)

    @property
    def closed(self) -> bool:
        """Whether it takes no more messages, for good."""
        return self._closed

    def attach(
        self, wake: Callable[[], object] | Due, context: Context | None, reader: Any = None
    ) -> None:
        """Let an actor begin to read; it is woken at once if something waits.

        Args:
            wake: called on the loop when something has come, or where the reader is noted
                then. A reader that was woken owes ``pop`` until it gets None, and is not woken
                again before.
            context: the context variables to call it with.
            reader: the actor that is to be noted, if it is one.

        Raises:
            pykka.ActorDeadError: the mailbox is closed.
        """
        with self._lock:
            if self._closed:
                raise pykka.ActorDeadError(_CLOSED)
            self._wake = wake
            self._reader = reader
            self._context = context
            self._woken = False
            if self.first is not None or self.queue is not None:
                self._summon(wake)

    def detach(self) -> None:
        """Let go of the actor that reads; what waits stays, and more may come."""
        with self._lock:
            self._wake = self._context = self._reader = None
            self._woken = False

    def put(
        self, envelope: PykkaEnvelope[Any], lane: Lane = Lane.ORDINARY, *, bounded: bool = True
    ) -> int:
        """Put a message behind those of its lane, from any thread, and wake the reader.

        Not for signal handlers and finalizers: they may come while their own thread has the lock.

        Args:
            envelope: the message; in one mailbox at a time. A message that has a place for what
                is behind it, ``next``, and for its stamp is its own.
            lane: control is read before supervision, and that before ordinary messages.
            bounded: whether an ordinary message is refused over ``capacity``.

        Returns:
            its stamp, higher than all before it in whatever lane.

        Raises:
            pykka.ActorDeadError: the mailbox, or its loop, is closed.
            MailboxFull: as many ordinary messages wait as may.
        """
        link: Any = envelope
        if not hasattr(link, "next"):  # Pykka's own
            link = Envelope(envelope.message, envelope.reply_to)
        with self._lock:
            if self._closed or self.loop.is_closed():
                raise pykka.ActorDeadError(_CLOSED)
            is_ordinary, queue = lane is _ORDINARY, self.queue
            if is_ordinary and bounded and self.room <= (0 if queue is None else len(queue)):
                raise MailboxFull(_full(self.capacity))
            # Before it is linked, so that a loop which closes just now leaves nothing behind;
            # the reader cannot look before we let go of the lock.
            if not self._woken and self._wake is not None:
                self._summon(self._wake)
            self.last_stamp = link.stamp = stamp = self.last_stamp + 1
            before = self._last_control
            if is_ordinary:
                if queue is not None:
                    link.next = _QUEUED
                    queue.append(link)
                    return stamp
                before = self._last_ordinary or self._last_supervision or before
                self._last_ordinary = link
                self.room -= 1
            elif lane is _CONTROL:
                self._last_control = link
            else:
                before = self._last_supervision or before
                self._last_supervision = link
            if before is None:
                link.next = self.first
                self.first = link
            else:
                link.next = before.next
                before.next = link
            return stamp

    def tell(self, message: object) -> None:
        """Put an ordinary message that nobody is answered for, from any thread.

        As ``put``, but the message has no envelope, and no stamp of its own. Who finds a ``queue``
        appends to it by itself.

        Raises:
            pykka.ActorDeadError: the mailbox, or its loop, is closed.
            MailboxFull: as many ordinary messages wait as may.
        """
        with self._lock:
            if self._closed or self.loop.is_closed():
                raise pykka.ActorDeadError(_CLOSED)
            queue = self.queue
            if self.room <= (0 if queue is None else len(queue)):
                raise MailboxFull(_full(self.capacity))
            if queue is not None:
                queue.append(message)
                return
            if not self._woken and self._wake is not None:
                self._summon(self._wake)
            self.queue = deque((message,))

    def retrace(self, queue: deque[Any], message: object) -> None:
        """See after what was appended to a queue that is not the mailbox's any more.

        Nobody will read what is in there now: it was appended too late. All of it is put anew, in
        its order, whosever it is: of several threads that told one and the same object none can
        say which of them is its own, and each has to find it in its place when it goes on.

        Raises:
            pykka.ActorDeadError: the mailbox, or its loop, is closed, and the message was too late.
        """
        with self._lock:
            if queue is self.queue:
                return  # it was only looked at
            if self._closed or self.loop.is_closed():
                for place, one in enumerate(queue):
                    if one is message:
                        del queue[place]
                        raise pykka.ActorDeadError(_CLOSED)
                return
            while queue:
                self.put(Envelope(queue[0]), bounded=False)
                queue.popleft()

    def _summon(self, wake: Callable[[], object] | Due) -> None:
        """Have the loop call the reader; the lock is held."""
        try:
            if isinstance(wake, Due):
                wake.add(self._reader)
            elif running_on(self.loop):
                self.loop.call_soon(wake, context=self._context)
            else:
                self.loop.call_soon_threadsafe(wake, context=self._context)
        except RuntimeError as error:
            if not self.loop.is_closed():
                raise
            raise pykka.ActorDeadError(_CLOSED) from error
        self._woken = True

    def pop(self) -> Envelope | None:
        """Take what is to be read next, or None; control before supervision before ordinary."""
        with self._lock:
            envelope = self.first
            if envelope is None:
                if self.queue is not None and not self._is_spent(self.queue):
                    return self._unqueue(self.queue)
                self._woken = False
                return None
            self.first = envelope.next
            envelope.next = None
            # The chain is sorted by lanes: as long as a control message waits, one is first.
            if self._last_control is not None:
                if envelope is self._last_control:
                    self._last_control = None
            elif self._last_supervision is not None:
                if envelope is self._last_supervision:
                    self._last_supervision = None
            else:
                self.room += 1
                if self.first is None:
                    self._last_ordinary = None
            return envelope

    def _is_spent(self, queue: deque[Any]) -> bool:
        """Throw the queue away if it is empty; the lock is held."""
        if not queue:
            self.queue = None  # first, so that whoever appends from now on finds out
            if queue:
                self.queue = queue
        return self.queue is None

    def _unqueue(self, queue: deque[Any]) -> Envelope:
        return self.enclosed(queue.popleft())

    def enclosed(self, one: Any) -> Envelope:
        """Give what was taken out of the queue with its envelope, or in one if it has none."""
        if isinstance(one, Envelope) and one.next is _QUEUED:
            one.next = None
            return one
        envelope = Envelope(one)
        envelope.stamp = self.last_stamp
        return envelope

    def get(self) -> PykkaEnvelope[Any]:
        """Take what is to be read next; Pykka's protocol, without its wait.

        Raises:
            LookupError: nothing waits; the actor is called when something does.
        """
        envelope = self.pop()
        if envelope is None:
            msg = "the mailbox is empty: attach() a reader instead of waiting in get()"
            raise LookupError(msg)
        return envelope

    def empty(self) -> bool:
        """Say whether nothing waits."""
        return not self.pending

    def qsize(self) -> int:
        """Count what waits, in all lanes; takes the longer, the more there is."""
        with self._lock:
            return len(self._rest()) + len(self.queue or ())

    def sift(self, stays: Callable[[Envelope], bool]) -> list[Envelope]:
        """Take out, in the order of reading, what does not stay; on the loop's thread.

        Args:
            stays: asked of each envelope that waits; it puts nothing.
        """
        out: list[Envelope] = []
        with self._lock:
            lasts: list[Envelope | None] = [None, None, None]
            before: Envelope | None = None
            lane = 0
            ends = (self._last_control, self._last_supervision, self._last_ordinary)
            envelope = self.first
            while envelope is not None:
                behind = envelope.next
                while ends[lane] is None:
                    lane += 1
                if stays(envelope):
                    lasts[lane] = before = envelope
                else:
                    out.append(envelope)
                    envelope.next = None
                    self.room += lane == Lane.ORDINARY
                    if before is None:
                        self.first = behind
                    else:
                        before.next = behind
                if envelope is ends[lane]:
                    lane += 1
                envelope = behind
            self._last_control, self._last_supervision, self._last_ordinary = lasts
            if self.queue is not None:
                stay: list[Envelope] = []
                for _ in range(len(self.queue)):
                    envelope = self._unqueue(self.queue)
                    if stays(envelope):
                        envelope.next = _QUEUED
                        stay.append(envelope)
                    else:
                        out.append(envelope)
                self.queue.extendleft(reversed(stay))  # before what was told meanwhile
        return out

    def close(self) -> list[Envelope]:
        """Take no more messages from now on, and hand back those that were left.

        Returns:
            what nobody read, in the order in which it would have been read.
        """
        with self._lock:
            left = self._rest() if self.first is not None else []
            for envelope in left:
                envelope.next = None
            self._closed = True
            self._wake = self._context = self._reader = None
            self.first = self._last_control = self._last_supervision = self._last_ordinary = None
            queue, self.queue = self.queue, None
            while queue:
                left.append(self._unqueue(queue))
        return left

    def close_if_empty(self) -> bool:
        """Close it unless something waits; nothing can come in between.

        Returns:
            whether it is closed.
        """
        with self._lock:
            if self.first is None and (self.queue is None or self._is_spent(self.queue)):
                self._closed = True
                self._wake = self._context = self._reader = None
            return self._closed

    def _rest(self) -> list[Envelope]:
        rest: list[Envelope] = []
        envelope = self.first
        while envelope is not None:
            rest.append(envelope)
            envelope = envelope.next
        return rest


_CONTROL, _ORDINARY = Lane.CONTROL, Lane.ORDINARY

_QUEUED = Envelope(None)
"""What is behind an envelope in a queue; so it is not mistaken for one that was told."""

_CLOSED = "the mailbox is closed: its actor, or the loop of it, has ended"


def _full(capacity: int | None) -> str:
    return (
        f"{capacity} ordinary messages wait already: send less, or give the actor a larger"
        f" capacity than {capacity}"
    )
