"""Deliveries: replies and words on their way to users, in order for each session."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from ..messages.commands import DeliveryDone
from ..messages.reasons import DeliveryStatus
from .actor import AsyncioActor
from .failures import in_words
from .mailbox import Envelope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..messages.ids import DeliveryId, SessionKey
    from ..messages.message import Delivery

    DeliverFunction = Callable[[Delivery], Awaitable[None]]
    Report = Callable[[SessionKey, DeliveryDone], None]


class DeliveryRules(NamedTuple):
    """How hard a delivery is tried.

    Args:
        attempts: before it is given up and dead-lettered.
        timeout: seconds one attempt may take.
        retry_after: seconds to wait after so many failed attempts (from 1).
    """

    attempts: int
    timeout: float
    retry_after: Callable[[int], float]


_LAST = 1.0
"""Seconds that ``deliver`` has to end in when it was cancelled."""


_REMEMBERED = 1024
"""Deliveries that have ended and are kept in mind, in case their session died before it heard."""


class HandOver(NamedTuple):
    """Hand this delivery to its channel."""

    key: SessionKey
    delivery: Delivery


class Finish(NamedTuple):
    """Wait for the deliveries that are under way, at most ``bound`` seconds."""

    bound: float


class Deliveries(AsyncioActor):
    """Hands deliveries to the program's ``deliver``, one at a time for each session.

    A channel that raises or hangs is no crash: it is tried again, and other sessions' deliveries,
    and turns, go on.

    Args:
        deliver: the program's function.
        rules: how hard a delivery is tried.
        report: tells the session how a delivery ended.
        now: the clock, in seconds since the epoch.
    """

    capacity = None

    def __init__(
        self,
        deliver: DeliverFunction,
        rules: DeliveryRules,
        report: Report,
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self._deliver = deliver
        self._rules = rules
        self._report = report
        self._now = now
        self._queues: dict[SessionKey, deque[Delivery]] = {}
        self._delivered: dict[DeliveryId, DeliveryDone] = {}
        self._workers: set[asyncio.Task[None]] = set()

    def handle(self, envelope: Envelope) -> Any:
        """Queue a delivery behind those of its session."""
        message = envelope.message
        if isinstance(message, Finish):
            return self._finish(message.bound)
        if not isinstance(message, HandOver):
            return super().handle(envelope)
        delivered = self._delivered.get(message.delivery.delivery_id)
        if delivered is not None:
            # Its session did not live to hear of it; the user did.
            self._report(message.key, delivered)
            return None
        queue = self._queues.get(message.key)
        if queue is not None:
            if all(waiting.delivery_id != message.delivery.delivery_id for waiting in queue):
                queue.append(message.delivery)
            return None
        self._queues[message.key] = deque((message.delivery,))
        worker = self._loop.create_task(self._work(message.key))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return None

    async def _finish(self, bound: float) -> None:
        if self._workers:
            await asyncio.wait(self._workers, timeout=bound)

    async def on_stop(self) -> None:  # type: ignore[override]
        """Stop trying; what was not delivered is still in the sessions' outboxes."""
        workers = tuple(self._workers)
        for worker in workers:
            worker.cancel()
        if workers and (await asyncio.wait(workers, timeout=_LAST))[1]:
            logger.warning("deliver did not end when it was cancelled")

    async def _work(self, key: SessionKey) -> None:
        queue = self._queues[key]
        try:
            while queue:
                delivery = queue[0]
                error = await self._try(delivery)
                if error:
                    error = await self._try_again(delivery, error)
                queue.popleft()
                status = DeliveryStatus.DELIVERED if not error else DeliveryStatus.DEAD_LETTERED
                done = DeliveryDone(self._now(), delivery.delivery_id, status, error)
                self._remember(done)
                self._report(key, done)
        finally:
            del self._queues[key]

    def _remember(self, done: DeliveryDone) -> None:
        self._delivered[done.delivery_id] = done
        if len(self._delivered) > _REMEMBERED:
            del self._delivered[next(iter(self._delivered))]

    async def _try_again(self, delivery: Delivery, error: str) -> str:
        """Try until it is delivered or given up; the last error in words, or nothing."""
        rules = self._rules
        for attempt in range(1, rules.attempts + 1):
            logger.warning(
                "delivery {} was not taken (attempt {} of {}): {}",
                delivery.delivery_id,
                attempt,
                rules.attempts,
                error,
            )
            if attempt < rules.attempts:
                await asyncio.sleep(rules.retry_after(attempt))
                error = await self._try(delivery)
                if not error:
                    break
        return error

    async def _try(self, delivery: Delivery) -> str:
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(self._rules.timeout):
                taken: object = self._deliver(delivery)
                # A plain function has delivered: to fail for that would deliver again.
                if inspect.isawaitable(taken):
                    await taken
        except asyncio.CancelledError as error:
            if task is not None and task.cancelling() > before:
                raise
            return in_words(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            return in_words(error)
        return ""
