"""What is on its way to users, and what all who bring it there have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from loguru import logger

from ..messages.commands import DeliveryDone
from ..messages.making import maker
from ..messages.reasons import DeliveryStatus
from .actor import AsyncioActor
from .standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from ..messages.ids import DeliveryId, SessionKey
    from ..messages.message import Delivery

    Report = Callable[[SessionKey, DeliveryDone], None]
    GivenUp = Callable[[SessionKey, Delivery, str], None]


class DeliveryRules(NamedTuple):
    """How hard a delivery is tried.

    Args:
        attempts: before it is given up and dead-lettered.
        timeout: seconds one attempt may take.
        retry_after: seconds to wait after so many failed attempts (from 1).
        survives: whether what is on its way when the system closes is so again at the next start.
    """

    attempts: int
    timeout: float
    retry_after: Callable[[int], float]
    survives: bool = True


_DELIVERED: Final = DeliveryStatus.DELIVERED  # looked up once, for every delivery

_new_done = maker(DeliveryDone)

_LAST = 1.0
"""Seconds that ``deliver`` has to end in when it was cancelled."""


_REMEMBERED = 1024
"""Deliveries that have ended and are kept in mind, in case their session died before it heard."""


LOST: Final = "the system was closed before it was delivered, and its journal is in memory"
"""Why a delivery is a dead letter that nobody has given up."""


class HandOver(NamedTuple):
    """Hand this delivery to its channel."""

    key: SessionKey
    delivery: Delivery


class Finish(NamedTuple):
    """Wait for the deliveries that are under way, at most ``bound`` seconds."""

    bound: float


class Outbound:
    """What is on its way to users, over all lives of the actor that brings it there.

    Args:
        loop: where that actor lives.
    """

    __slots__ = ("delivered", "gave_up", "place", "queues", "workers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.place: Standing[OutboundActor] = Standing(loop)
        # What each session has on its way, the first of it under way.
        self.queues: dict[SessionKey, list[Delivery]] = {}
        self.delivered: dict[DeliveryId, tuple[SessionKey, DeliveryDone]] = {}
        # Sessions of which an error is kept there: that may have the words of the reply.
        self.gave_up: dict[SessionKey, None] = {}
        self.workers: set[asyncio.Task[None]] = set()

    def forget(self, key: SessionKey) -> None:
        """A session was deleted: deliver nothing of it but what is with its channel already."""
        if key in self.gave_up:
            # In place: the actor has it, too.
            del self.gave_up[key]
            for id_ in [id_ for id_, (of, _) in self.delivered.items() if of == key]:
                del self.delivered[id_]
        queue = self.queues.pop(key, None)
        if queue is not None:
            queue.clear()
        self.place.mailbox.sift(
            lambda one: not (isinstance(one.message, HandOver) and one.message.key == key)
        )
        actor = self.place.actor
        if actor is not None and self.place.is_alive():
            actor.forget(key)

    def note_given_up(self, key: SessionKey) -> None:
        """A delivery of a session is given up; the latest are enough, as of what has ended."""
        self.gave_up.pop(key, None)
        self.gave_up[key] = None
        if len(self.gave_up) > _REMEMBERED:
            del self.gave_up[next(iter(self.gave_up))]

    async def end(self) -> None:
        """Stop trying; what was not delivered is still in the sessions' outboxes."""
        workers = tuple(self.workers)
        for worker in workers:
            worker.cancel()
        if workers and (await asyncio.wait(workers, timeout=_LAST))[1]:
            logger.warning("deliver did not end when it was cancelled")


class OutboundActor(AsyncioActor, ABC):
    """Queues deliveries, in order for each session, and tells the sessions how they ended.

    What the actor had under way when it died, its next life goes on with.

    Args:
        outbound: what is on its way.
        rules: how hard a delivery is tried.
        report: tells the session how a delivery ended.
        now: the clock, in seconds since the epoch.
        given_up: told of a delivery that no attempt brought to its user, and why.
    """

    def __init__(
        self,
        outbound: Outbound,
        rules: DeliveryRules,
        report: Report,
        *,
        now: Callable[[], float],
        given_up: GivenUp,
    ) -> None:
        super().__init__(mailbox=outbound.place.mailbox)
        self._outbound = outbound
        self._rules = rules
        self._report = report
        self._now = now
        self._given_up = given_up
        self._queues = outbound.queues
        self._delivered = outbound.delivered

    @abstractmethod
    def _is_due(self, key: SessionKey) -> None:
        """A session has its first delivery on the way."""

    @abstractmethod
    def forget(self, key: SessionKey) -> None:
        """A session has nothing on the way any more: it was deleted."""

    @abstractmethod
    def _rest(self) -> None:
        """This life of the actor ends: begin nothing more."""

    def _take(self, message: HandOver) -> None:
        """Queue a delivery behind those of its session."""
        key, delivery = message
        delivered = self._delivered.get(delivery.delivery_id)
        if delivered is not None:
            # Its session did not live to hear of it; the user did.
            self._report(*delivered)
            return
        queue = self._queues.get(key)
        if queue is not None:
            if all(waiting.delivery_id != delivery.delivery_id for waiting in queue):
                queue.append(delivery)
            return
        self._queues[key] = [delivery]
        self._is_due(key)

    _actor_direct: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {HandOver: _take}

    def _ended(self, key: SessionKey, delivery: Delivery, error: str) -> None:
        """A delivery was taken, or given up for ``error``; it is in no queue any more."""
        status = _DELIVERED
        if error:
            status = DeliveryStatus.DEAD_LETTERED
            self._given_up(key, delivery, error)
            self._outbound.note_given_up(key)
        delivery_id = delivery.delivery_id
        done = _new_done((self._now(), delivery_id, status, error))
        self._delivered[delivery_id] = key, done
        if len(self._delivered) > _REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        self._report(key, done)

    def _warn(self, delivery: Delivery, attempt: int, error: str) -> None:
        logger.warning(
            "delivery {} was not taken (attempt {} of {}): {}",
            delivery.delivery_id,
            attempt,
            self._rules.attempts,
            error,
        )

    async def on_stop(self) -> None:  # type: ignore[override]
        """Stop trying."""
        self._rest()
        await self._outbound.end()
        if self._outbound.place.ends and not self._rules.survives:
            for key, queue in self._queues.items():
                for delivery in queue:
                    self._given_up(key, delivery, LOST)

    async def on_failure(  # type: ignore[override]
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Leave what is under way to the next life, and nobody at work on it meanwhile."""
        self._rest()
        await self._outbound.end()
