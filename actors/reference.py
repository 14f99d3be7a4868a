"""The reference to an actor on a loop: what others hold of it, and what outlives it."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

import pykka
from loguru import logger
from pykka.messages import _ActorStop

from ..messages.errors import ActorError, MailboxFull, WouldDeadlock
from .exit import Exit
from .future import Future
from .mailbox import Envelope, Lane, Mailbox, running_on

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    from .actor import AsyncioActor
    from .exit import AskFailed, Notice

    Watcher: TypeAlias = Callable[[Notice], object]

A = TypeVar("A", bound="AsyncioActor")


class LoopActorRef(pykka.ActorRef[A]):
    """A Pykka reference that knows the loop of its actor.

    As Pykka's in everything, but: on the loop's own thread a blocking ``ask`` or ``stop``, or an
    assignment through a proxy, raises ``WouldDeadlock`` before anything is enqueued, and what
    ``block=False`` gives can be awaited.

    It also keeps the little that must outlive the actor: whether and how that ended, and who
    wants to know.

    Args:
        actor: the actor.
        mailbox: where its messages wait.
    """

    __slots__ = (
        "_actor",
        "_event",
        "_exit",
        "_open",
        "_watchers",
        "actor_class",
        "actor_inbox",
    )

    # For the rare changes of who watches; nothing of a user's runs while it is held.
    _lock: ClassVar[threading.Lock] = threading.Lock()

    # Pykka's protocol wants a put() that gives nothing.
    actor_inbox: Mailbox  # type: ignore[assignment]

    def __init__(self, actor: A, mailbox: Mailbox) -> None:
        # Not Pykka's own __init__: the actor has no urn, no event and no weak reference yet.
        self.actor_class = actor.__class__
        self.actor_inbox = mailbox
        self._actor: A | None = actor
        self._open: Mailbox | None = mailbox  # as long as the actor takes messages
        self._exit: Exit | None = None
        self._event: threading.Event | None = None
        # Nobody, one, as for nearly every actor, or several.
        self._watchers: Watcher | _Several | None = None

    if not TYPE_CHECKING:  # the checkers see Pykka's plain attributes

        @property
        def actor_urn(self) -> str:
            """A name unique in the universe; made when somebody asks (4 µs)."""
            # setdefault, so that two threads which ask at once get the same.
            return self.__dict__.get("_urn") or self.__dict__.setdefault("_urn", uuid.uuid4().urn)

        @property
        def actor_stopped(self) -> StopEvent:
            """An event that is set when the actor takes no more messages."""
            return StopEvent(self)

        def _actor_weakref(self) -> A | None:
            # Pykka's proxies ask for the actor by this name. The reference may be a strong one
            # while the actor lives (its mailbox leads to it anyway) and is dropped when it ends.
            return self._actor

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop its actor lives on."""
        return self.actor_inbox.loop

    @property
    def exit(self) -> Exit | None:
        """How the actor ended; None as long as it has not."""
        return self._exit

    def is_alive(self) -> bool:
        """Say whether the actor takes messages: from its start until it begins to stop."""
        return self._open is not None

    # --- sending --------------------------------------------------------------------------------

    def put(self, message: object, lane: Lane = Lane.ORDINARY, *, bounded: bool = True) -> int:
        """Send a message by a lane, from any thread.

        Args:
            message: anything.
            lane: control is read before supervision, and that before ordinary messages.
            bounded: whether an ordinary message is refused when the mailbox is full.

        Returns:
            its stamp.

        Raises:
            pykka.ActorDeadError: the actor has ended.
            MailboxFull: as many ordinary messages wait as may.
        """
        return self._send(Envelope(message), lane, bounded=bounded)

    def tell(self, message: object) -> None:
        """Send an ordinary message, from any thread, and wait for nothing.

        Raises:
            pykka.ActorDeadError: the actor has ended.
            MailboxFull: as many ordinary messages wait as may.
        """
        inbox = self._open
        if inbox is None:
            raise pykka.ActorDeadError(_gone(self))
        queue = inbox.queue
        # Behind what was told before it is only appended.
        if queue is None or len(queue) >= inbox.room or inbox.loop.is_closed():
            self._tell(inbox, message)
        else:
            queue.append(message)
            if inbox.queue is not queue:
                inbox.retrace(queue, message)

    def _tell(self, inbox: Mailbox, message: object) -> None:
        if self.actor_class._actor_is_plain:  # noqa: SLF001 - one of ours
            inbox.tell(message)
        else:
            inbox.put(Envelope(message))

    def tell_control(self, message: object) -> None:
        """Send a message that is read before all others; the lane is not bounded.

        Raises:
            pykka.ActorDeadError: the actor has ended.
        """
        self._send(Envelope(message), Lane.CONTROL, bounded=False)

    def hand(self, message: object) -> None:
        """Give the actor a message on its loop's thread: it handles it now, if it is free.

        See ``AsyncioActor.hand``; for actors that work hand in hand.

        Raises:
            pykka.ActorDeadError: the actor has ended.
        """
        actor = self._actor
        if actor is None or self._open is None:
            raise pykka.ActorDeadError(_gone(self))
        actor.hand(message)

    def take(self, message: object) -> bool:
        """Have the actor handle a message now, on its loop's thread, if it is free.

        For a program's own code, see ``AsyncioActor.take``.

        Returns:
            whether it did; otherwise nothing happened.
        """
        actor = self._actor
        if actor is None or self._open is None:
            return False
        return actor.take(message)

    def _send(self, envelope: Envelope, lane: Lane, *, bounded: bool) -> int:
        inbox = self._open
        if inbox is None:
            raise pykka.ActorDeadError(_gone(self))
        return inbox.put(envelope, lane, bounded=bounded)

    def _request(self, message: object) -> Future[Any]:
        inbox = self._open
        future = _Answer(self, self.actor_inbox.loop)
        if inbox is None:
            future.set_error(pykka.ActorDeadError(_gone(self)))
            return future
        try:
            inbox.put(Envelope(message, future))
        except (pykka.ActorDeadError, MailboxFull) as error:
            future.set_error(error)
        return future

    @overload
    def ask(
        self, message: Any, *, block: Literal[False], timeout: float | None = None
    ) -> Future[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...
    # Pyright refuses Pykka's own signature here, word for word.
    def ask(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any | Future[Any]:
        """Send an ordinary message, from any thread, and get the answer.

        Args:
            message: anything.
            block: whether to wait here; False on the loop's own thread.
            timeout: seconds to wait when blocking.

        Returns:
            the answer when blocking, a future of it otherwise. That the actor has ended, or its
            mailbox is full, is told by the future too.

        Raises:
            WouldDeadlock: blocking, on the thread that is to work out the answer.
            pykka.Timeout: no answer in time.
            BaseException: what the handler raised.
        """
        if not block:
            return self._request(message)
        self._refuse_on_loop("ask")
        return self._request(message).get(timeout=timeout)

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Future[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]: ...
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """Ask the actor to stop, behind the messages that were sent to it before.

        Args:
            block: whether to wait here; False on the loop's own thread.
            timeout: seconds to wait when blocking.

        Returns:
            True once it has stopped, False if it had before; a future of it when not blocking.

        Raises:
            WouldDeadlock: blocking, on the thread that is to do it.
            pykka.Timeout: not stopped in time.
        """
        if block:
            self._refuse_on_loop("stop")
        stopped = self._request_stop()
        return stopped.get(timeout=timeout) if block else stopped

    def _request_stop(self) -> Future[bool]:
        stopped = StopOf(self)
        # The end is waited for, not an answer: it comes too for who asks while the actor stops.
        if self._watch(stopped) is not None:
            stopped.set(False)
            return stopped
        try:
            inbox = self._open
            if inbox is not None:
                link: Any = stopped  # it has all that an envelope has
                # Not bounded: a full mailbox must not keep an actor from being stopped.
                inbox.put(link, bounded=False)
        except pykka.ActorDeadError:
            # Its mailbox closed under it, or just now with it.
            stopped.try_set(False)
        return stopped

    def _refuse_on_loop(self, name: str) -> None:
        if running_on(self.actor_inbox.loop):
            msg = (
                f"a blocking {name}() on the loop of {self.actor_class.__name__} would wait for"
                f" itself, and nothing was sent: use {name}(..., block=False) and await what it"
                " gives; instead of an assignment through a proxy call a method of the actor"
            )
            raise WouldDeadlock(msg)

    # --- watching -------------------------------------------------------------------------------

    def watch(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Be told of each failed ask, and once of the actor's end.

        Args:
            callback: called on the loop with an ``AskFailed`` or the ``Exit``; at once, and
                here, with the ``Exit`` if the actor has ended. What it raises is logged, no more.

        Returns:
            a function to stop watching with.
        """
        ended = self._watch(callback)
        if ended is not None:
            _notify(callback, ended)
        watches = True

        def unwatch() -> None:
            nonlocal watches
            with self._lock:
                if watches:
                    watches = False
                    self._watchers = _without(callback, _all(self._watchers))

        return unwatch

    def _watch(self, callback: Watcher) -> Exit | None:
        """Have a callback told of what happens from now on; gives the end if that has come."""
        with self._lock:
            if self._exit is None:
                before = self._watchers
                self._watchers = callback if before is None else _Several((*_all(before), callback))
            return self._exit

    # --- for who has no more time to wait for it; on the loop's thread ---------------------------

    def break_off(self) -> None:
        """Cancel what the actor waits for in its handler or hook; it ends by that."""
        if self._actor is not None:
            self._actor._actor_break_off()  # noqa: SLF001 - one of ours

    def give_up(self) -> None:
        """Take the actor for ended, whatever it still does, and answer those who wait for it."""
        if self._actor is not None:
            msg = f"{self} did not end when it was told to: see what its hooks wait for"
            self._actor._actor_bury(ActorError(msg))  # noqa: SLF001 - one of ours

    # --- for its actor only ---------------------------------------------------------------------

    def tell_watchers(self, notice: AskFailed) -> None:
        """Tell those who watch of something that did not end the actor."""
        for callback in _all(self._watchers):
            _notify(callback, notice)

    # --- what its actor tells it ----------------------------------------------------------------

    def set_stopped(self) -> None:
        """Let nothing more be sent to the actor."""
        self._open = None
        # The other way round in _wait_event: so one of us sees what the other one did.
        if self._event is not None:
            self._event.set()

    def set_exit(self, ended: Exit) -> None:
        """Let go of the actor, and tell those who watch how it ended."""
        with self._lock:
            self._exit = ended
            watchers, self._watchers = self._watchers, None
        self._actor = None
        if isinstance(watchers, _Several):
            for callback in watchers:
                _notify(callback, ended)
        elif watchers is not None:
            _notify(watchers, ended)

    def _wait_event(self) -> threading.Event:
        """Make the real event, now that somebody wants to wait."""
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
                if self._open is None:
                    self._event.set()
            return self._event


class StopOf(Future[bool]):
    """A stop, addressed: a mailbox may outlive its actor, and the next must not obey it.

    It is the message, its own envelope, what waits for the end by watching the actor, and what
    ``stop`` gives: of 100,000 stops at once the garbage collector looks at each object, and at
    all others too as soon as they are a quarter more.

    Args:
        ref: who is to stop.
    """

    __slots__ = ("next", "ref", "stamp")

    next: Envelope | None
    stamp: int
    reply_to = None
    """Nobody: the end is waited for, and not that it was handled."""

    def __init__(self, ref: LoopActorRef[Any]) -> None:
        # What Future's own does, without the call.
        self._loop = ref.actor_inbox.loop
        self._done = False
        self._callbacks = None
        self.next = None
        self.ref = ref

    @property
    def message(self) -> StopOf:
        """What is in the envelope."""
        return self

    def __call__(self, notice: Notice) -> None:
        """Be told by the reference how the actor ended."""
        if isinstance(notice, Exit):
            self.try_set(True)


STOPS = (StopOf, _ActorStop)
"""What is a stop, ours and Pykka's."""


class _Answer(Future[Any]):
    """What ``ask`` gives; who awaits it on the loop of an actor that is free does its work.

    Args:
        ref: who was asked.
        loop: the loop of the actor.
    """

    __slots__ = ("_ref",)

    def __init__(self, ref: LoopActorRef[Any], loop: asyncio.AbstractEventLoop) -> None:
        # What Future's own does, without the call: there is one for each question.
        self._loop = loop
        self._done = False
        self._callbacks = None
        self._ref = ref

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            actor = self._ref._actor  # noqa: SLF001 - one of ours
            if actor is not None:
                actor._actor_help()  # noqa: SLF001 - one of ours
        return super().__await__()

    __iter__ = __await__


class StopEvent(threading.Event):
    """The face of ``threading.Event`` for whether an actor stopped; a real one only for waiting.

    Args:
        ref: the reference of the actor.
    """

    def __init__(self, ref: LoopActorRef[Any]) -> None:
        # Not Event's own __init__, which would make the lock and the condition (2-3 µs, 1.2 KB).
        self._ref = ref

    def is_set(self) -> bool:
        """Say whether the actor takes no more messages."""
        return not self._ref.is_alive()

    def set(self) -> None:
        """Mark the actor as stopped; ``stop()`` is what stops it."""
        self._ref.set_stopped()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the actor takes no more messages; not on its own loop.

        Args:
            timeout: seconds; None for as long as it takes.

        Raises:
            WouldDeadlock: called on the actor's own loop, which would have to stop it.
        """
        if not self.is_set():
            self._ref._refuse_on_loop("wait")  # noqa: SLF001
        return self._ref._wait_event().wait(timeout)  # noqa: SLF001


class _Several(list[Any]):
    """Those who watch one actor, when they are not just one."""

    __slots__ = ()


def _gone(ref: LoopActorRef[Any]) -> str:
    return f"{ref} not found"


def _all(watchers: Watcher | _Several | None) -> _Several:
    if watchers is None:
        return _Several()
    return watchers if isinstance(watchers, _Several) else _Several((watchers,))


def _without(callback: Watcher, watchers: _Several) -> _Several:
    """These without one; by identity, and only once if it is among them several times."""
    for place, other in enumerate(watchers):
        if other is callback:
            return _Several((*watchers[:place], *watchers[place + 1 :]))
    return watchers


def _notify(callback: Callable[[Notice], object], notice: Notice) -> None:
    try:
        callback(notice)
    except BaseException as error:  # noqa: BLE001 - a watcher must not end what it watches
        logger.opt(exception=error).error("a watcher failed: {!r}", callback)
