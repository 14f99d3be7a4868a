"""One life of a child: watched from its start, and ended by asking, by force, or given up."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from ..actors.actor import Lifecycle
from ..actors.asked import StopOf
from ..actors.exit import Exit
from ..actors.mailbox import Envelope, Lane, running_on
from ..actors.reference import LoopActorRef
from .child_spec import KILL
from .watch import watch
from .watched import let_go

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pykka

    from ..actors.exit import Notice
    from .children import Child

FORCE_TRIES: Final = 3
"""How often what does not end is forced, before it is given up."""

FORCE_WAIT: Final = 0.1
"""Seconds to wait after each try."""


class Countdown:
    """Done when the last of some lives has ended."""

    __slots__ = ("done", "left")

    def __init__(self, left: int, done: asyncio.Future[None]) -> None:
        self.left = left
        self.done = done

    def one(self) -> None:
        """Count one of them."""
        self.left -= 1
        if self.left <= 0:
            self.expire()

    def expire(self) -> None:
        """Wait no longer."""
        if not self.done.done():
            self.done.set_result(None)


class Life:
    """One incarnation of a child; a new one is never mistaken for it.

    Args:
        child: whose life it is.
        ref: the actor.
        loop: the supervisor's.
        told: called on that loop with what the death watch says.
    """

    __slots__ = (
        "_loop",
        "_told",
        "abandoned",
        "child",
        "countdown",
        "ended",
        "expected",
        "partial_results",
        "ref",
        "since",
    )

    def __init__(
        self,
        child: Child,
        ref: pykka.ActorRef[Any],
        loop: asyncio.AbstractEventLoop,
        told: Callable[[Life, Notice], object],
    ) -> None:
        self.child = child
        self.ref = ref
        self.since = loop.time()
        self.ended: Exit | None = None
        self.abandoned = False
        self.expected = True
        """Whether somebody waits for its end already: while it starts, and while it is stopped."""
        self.countdown: Countdown | None = None
        self.partial_results: Any = None
        """What it had finished when it was ended by force, if it says so."""
        self._loop = loop
        self._told = told
        watch(ref, self._notice)

    def _notice(self, notice: Notice) -> None:
        """Be told by the death watch, on any thread."""
        if running_on(self._loop):
            self._take(notice)
            return
        try:
            self._loop.call_soon_threadsafe(self._take, notice)
        except RuntimeError:
            logger.debug("nobody is left to hear of {}: {}", self.ref, notice)

    def _take(self, notice: Notice) -> None:
        if isinstance(notice, Exit):
            self.ended = notice
            if self.countdown is not None:
                self.countdown.one()
        self._told(self, notice)

    def ask(self) -> None:
        """Ask it to stop, behind its messages; for stock actors too nothing blocks here."""
        self.ref.stop(block=False)

    def force(self) -> None:
        """End it with what force there is: a coroutine is cancelled, a thread only fenced."""
        if self.partial_results is None:
            self.partial_results = _left_by(self.ref)
        force(self.ref)

    def abandon(self) -> None:
        """Give it up: nothing more can be sent to it, and nobody waits for its end."""
        self.abandoned = True
        if isinstance(self.ref, LoopActorRef):
            self.ref.set_stopped()
        logger.warning("{} does not end and is abandoned", self.ref)


async def end(
    lives: Iterable[Life], patience: float | str, loop: asyncio.AbstractEventLoop
) -> None:
    """End lives, all at once under one timer; when it returns each has ended or is abandoned.

    Args:
        lives: whom to stop.
        patience: seconds to wait for them when they were asked, ``math.inf`` for no limit, or
            ``KILL`` not to ask.
        loop: the supervisor's.
    """
    left = [life for life in lives if life.ended is None]
    for life in left:
        life.expected = True
    if patience != KILL:
        for life in left:
            life.ask()
        left = await _wait(left, float(patience), loop)
    for _ in range(FORCE_TRIES):
        if not left:
            return
        for life in left:
            life.force()
        left = await _wait(left, FORCE_WAIT, loop)
    for life in left:
        life.abandon()


async def _wait(lives: list[Life], seconds: float, loop: asyncio.AbstractEventLoop) -> list[Life]:
    """Wait until all have ended; give those that have not."""
    left = [life for life in lives if life.ended is None]
    if not left:
        return left
    countdown = Countdown(len(left), loop.create_future())
    for life in left:
        life.countdown = countdown
    timer = None if math.isinf(seconds) else loop.call_later(seconds, countdown.expire)
    try:
        await countdown.done
    finally:
        if timer is not None:
            timer.cancel()
        for life in left:
            life.countdown = None
    return [life for life in left if life.ended is None]


def _left_by(ref: pykka.ActorRef[Any]) -> Any:
    """Ask an actor on this loop, of which nothing more will be heard, for what it has."""
    actor = ref._actor if isinstance(ref, LoopActorRef) and running_on(ref.loop) else None  # noqa: SLF001
    ask = getattr(actor, "partial_results", None)
    if not callable(ask):
        return None
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - it must not keep the actor from being ended
        logger.opt(exception=error).warning("{} could not say what it had finished", ref)
        return None


def force(ref: pykka.ActorRef[Any]) -> None:
    """End any actor with what force there is, see ``Life.force``."""
    if not isinstance(ref, LoopActorRef):
        let_go(ref)
    elif running_on(ref.loop):
        kill(ref)
    elif not ref.loop.is_closed():
        ref.loop.call_soon_threadsafe(kill, ref)


def kill(ref: LoopActorRef[Any]) -> None:
    """End an actor on this loop without asking it; its ``on_failure`` is called, not ``on_stop``.

    What it awaits is cancelled. One that swallows that goes on, and may be killed again.

    Args:
        ref: whom to end.
    """
    actor = ref._actor  # noqa: SLF001 - one of ours
    if actor is None:
        return
    why = "ended by its supervisor"
    task = actor._actor_task  # noqa: SLF001
    if task is not None:
        task.cancel(why)
    elif actor.lifecycle is Lifecycle.RUNNING and not actor._actor_busy:  # noqa: SLF001
        actor._actor_busy = True  # noqa: SLF001 - what waits in its mailbox is not for it any more
        killed = Exit.of(asyncio.CancelledError(why), "receive")
        actor._actor_context.run(  # noqa: SLF001
            lambda: actor._actor_go(actor._actor_end(killed))  # noqa: SLF001
        )
    elif not ref.actor_inbox.closed:
        # It has not begun yet, or its handler is below us on the stack.
        ref.actor_inbox.put(Envelope(StopOf(ref)), Lane.CONTROL)
