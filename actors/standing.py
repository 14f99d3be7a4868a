"""The place of an actor that may be started again: what others hold on to over its lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .future import Future
from .mailbox import Envelope, Lane, Mailbox
from .requests import futures_of

if TYPE_CHECKING:
    import asyncio

    from .actor import AsyncioActor

A = TypeVar("A", bound="AsyncioActor")


class Standing(Generic[A]):
    """A mailbox that outlives its readers, and whoever reads it now.

    What is sent between two of them waits for the next one.

    Args:
        loop: the loop of its readers.
    """

    __slots__ = ("_actor", "ends", "mailbox")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.mailbox = Mailbox(loop)
        self.ends = False
        """Whether the end of its actor is for good: then that ends what it looks after, too."""
        self._actor: A | None = None

    @property
    def actor(self) -> A | None:
        """The actor that took the place last; it may have ended."""
        return self._actor

    def take(self, actor: A) -> None:
        """Read from here on; the actor was given the mailbox."""
        self._actor = actor

    def is_taken_by(self, ref: object) -> bool:
        """Whether that is the reference of the actor which took the place last."""
        return self._actor is not None and self._actor.actor_ref is ref

    def is_alive(self) -> bool:
        """Whether an actor reads now."""
        return self._actor is not None and self._actor.actor_ref.is_alive()

    def hand(self, message: object) -> None:
        """Have a message handled now if that is possible, on the loop's thread, or else later.

        Raises:
            ActorDeadError: the place was closed.
        """
        actor = self._actor
        if actor is None:
            self.put(message)
        else:
            actor.hand(message)  # one that has ended leaves it in the mailbox

    def put(self, message: object, lane: Lane = Lane.ORDINARY) -> None:
        """Send a message by a lane, from any thread.

        Raises:
            ActorDeadError: the place was closed.
        """
        self.mailbox.put(Envelope(message), lane, bounded=False)

    def close(self, error: BaseException) -> None:
        """Take no more messages; whoever waits for an answer gets ``error``."""
        for envelope in self.mailbox.close():
            for waiter in (*futures_of(envelope.message), envelope.reply_to):
                if isinstance(waiter, Future):
                    waiter.try_set_error(error)
