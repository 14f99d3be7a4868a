"""The reference to an actor on a loop: what others hold of it, and by which they send to it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka

from ..messages.errors import ActorError, MailboxFull, WouldDeadlock
from .asked import Answer, StopOf
from .mailbox import Envelope, Lane, Mailbox, running_on
from .remains import Remains, StopEvent

if TYPE_CHECKING:
    import asyncio

    from .actor import AsyncioActor
    from .future import Future

A = TypeVar("A", bound="AsyncioActor")


class LoopActorRef(Remains[A]):
    """A Pykka reference that knows the loop of its actor.

    As Pykka's in everything, but: on the loop's own thread a blocking ``ask`` or ``stop``, or an
    assignment through a proxy, raises ``WouldDeadlock`` before anything is enqueued, and what
    ``block=False`` gives can be awaited.

    What of it has to outlive the actor is ``Remains``.

    Args:
        actor: the actor.
        mailbox: where its messages wait.
    """

    __slots__ = ("actor_class", "actor_inbox")

    # Pykka's protocol wants a put() that gives nothing.
    actor_inbox: Mailbox  # type: ignore[assignment]

    def __init__(self, actor: A, mailbox: Mailbox) -> None:
        # Not Pykka's own __init__: the actor has no urn, no event and no weak reference yet.
        self.actor_class = actor.__class__
        self.actor_inbox = mailbox
        self._actor = actor
        self._open = mailbox
        self._exit = self._event = self._watchers = None

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

        For a program's own code: not on top of a stack that is deep already.

        Returns:
            whether it did; otherwise nothing happened.
        """
        actor = self._actor
        if actor is None or self._open is None:
            return False
        return actor._actor_hand(message)  # noqa: SLF001 - one of ours

    def _send(self, envelope: Envelope, lane: Lane, *, bounded: bool) -> int:
        inbox = self._open
        if inbox is None:
            raise pykka.ActorDeadError(_gone(self))
        return inbox.put(envelope, lane, bounded=bounded)

    def _request(self, message: object) -> Future[Any]:
        inbox = self._open
        future = Answer(self, self.actor_inbox.loop)
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


def _gone(ref: LoopActorRef[Any]) -> str:
    return f"{ref} not found"
