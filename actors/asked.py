"""What a reference gives to who asks an actor, or stops it: futures of its loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykka.messages import _ActorStop

from .exit import Exit
from .future import Future

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from .exit import Notice
    from .mailbox import Envelope
    from .reference import LoopActorRef


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


class Answer(Future[Any]):
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
