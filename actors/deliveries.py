"""Deliveries: replies and words on their way to users, in order for each session."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar

from ..tools.inline import Inline
from .actor import BURST
from .failures import in_words
from .mailbox import Envelope
from .outbound import DeliveryRules, Finish, HandOver, Outbound, OutboundActor

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..messages.ids import SessionKey
    from ..messages.message import Delivery
    from .outbound import GivenUp, Report

    DeliverFunction = Callable[[Delivery], Awaitable[None]]


class Deliveries(OutboundActor):
    """Hands deliveries to the program's ``deliver``, one at a time for each session.

    A channel that raises or hangs is no crash: it is tried again, and other sessions' deliveries,
    and turns, go on. What the actor had under way when it died, its next life tries again.

    Args:
        outbound: what is on its way.
        deliver: the program's function.
        rules: how hard a delivery is tried.
        report: tells the session how a delivery ended.
        now: the clock, in seconds since the epoch.
        given_up: told of a delivery that no attempt brought to its user, and why.
    """

    def __init__(
        self,
        outbound: Outbound,
        deliver: DeliverFunction,
        rules: DeliveryRules,
        report: Report,
        *,
        now: Callable[[], float],
        given_up: GivenUp,
    ) -> None:
        super().__init__(outbound, rules, report, now=now, given_up=given_up)
        self._deliver = deliver
        self._due: deque[SessionKey] = deque()  # whose turn it is next
        self._workers = outbound.workers
        self._taker: asyncio.Task[None] | None = None

    def on_start(self) -> None:
        """Take over what the one before had under way."""
        self._outbound.place.take(self)
        self._due.extend(self._queues)
        if self._due:
            self._start_worker()

    def handle(self, envelope: Envelope) -> Any:
        """Queue a delivery, or wait for what is under way."""
        message = envelope.message
        if isinstance(message, HandOver):
            return self._take(message)
        if isinstance(message, Finish):
            return self._finish(message.bound)
        return super().handle(envelope)

    # Without its own ``handle`` in between.
    _actor_direct: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {
        HandOver: OutboundActor._take,  # noqa: SLF001 - its own
    }

    def _is_due(self, key: SessionKey) -> None:
        self._due.append(key)
        if self._taker is None:
            self._start_worker()

    def forget(self, key: SessionKey) -> None:
        """It is not the turn of this session; it has nothing on its way."""
        if key in self._due:
            self._due.remove(key)

    async def _finish(self, bound: float) -> None:
        until = self._loop.time() + bound
        while (left := until - self._loop.time()) > 0:
            workers = [worker for worker in self._workers if not worker.done()]
            if not workers:
                break
            await asyncio.wait(workers, timeout=left)

    def _rest(self) -> None:
        self._due.clear()

    # Of the workers one takes what is due, for whatever session, as long as ``deliver`` does not
    # wait. When it has to, the next worker is made: so nobody waits for another's channel, and a
    # channel that takes things at once costs no task for each of them.

    def _start_worker(self) -> None:
        self._taker = self._loop.create_task(self._work())
        self._workers.add(self._taker)

    def _give_place(self) -> None:
        """The running worker has to wait: another one takes what is due meanwhile."""
        if self._taker is asyncio.current_task(self._loop):
            self._taker = None
            if self._due:
                self._start_worker()

    async def _work(self) -> None:
        worker = asyncio.current_task(self._loop)
        assert worker is not None, "it is only run as a task"
        taken = 0
        try:
            while self._due and (self._taker is None or self._taker is worker):
                self._taker = worker
                await self._serve(self._due.popleft())
                taken += 1
                if not taken % BURST:
                    await asyncio.sleep(0)
        finally:
            self._workers.discard(worker)
            if self._taker is worker:
                self._taker = None
                if self._due:
                    self._start_worker()

    async def _serve(self, key: SessionKey) -> None:
        """Deliver what a session has, in order; cancelled, it leaves the rest where it is."""
        queue = self._queues[key]
        while queue:
            delivery = queue[0]
            error = await self._try(delivery)
            if error:
                error = await self._try_again(queue, delivery, error)
            if not queue or queue[0] is not delivery:
                # It swallowed its cancellation, and the next life has done it meanwhile; or the
                # session was deleted.
                return
            del queue[0]
            self._ended(key, delivery, error)
        # By identity: another queue of the session may be there by now.
        if self._queues.get(key) is queue:
            del self._queues[key]

    async def _try_again(self, queue: list[Delivery], delivery: Delivery, error: str) -> str:
        """Try until it is delivered or given up; the last error in words, or nothing."""
        rules = self._rules
        for attempt in range(1, rules.attempts + 1):
            self._warn(delivery, attempt, error)
            if attempt < rules.attempts:
                self._give_place()
                await asyncio.sleep(rules.retry_after(attempt))
                if not queue:
                    break
                error = await self._try(delivery)
                if not error:
                    break
        return error

    async def _try(self, delivery: Delivery) -> str:
        """Deliver once, in contextvars of its own; the error in words, or nothing."""
        attempt = _Attempt(self._deliver, delivery)
        context = copy_context()
        work = attempt.run()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration:
            # It did not have to wait, as most do not.
            return attempt.in_words()
        return await self._wait_for(Inline(work, context, self._loop, waits_for), attempt)

    async def _wait_for(self, inline: Inline, attempt: _Attempt) -> str:
        """Wait for an attempt, as long as one may take, and not in the place of others."""
        worker = asyncio.current_task(self._loop)
        before = worker.cancelling() if worker is not None else 0
        self._give_place()
        try:
            async with asyncio.timeout(self._rules.timeout):
                await inline
                attempt.check()
        except asyncio.CancelledError as error:
            if worker is not None and worker.cancelling() > before:
                raise
            return in_words(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            return in_words(error)
        return ""


class _Attempt:
    """One attempt of a delivery."""

    __slots__ = ("_deliver", "_delivery", "_error")

    def __init__(self, deliver: DeliverFunction, delivery: Delivery) -> None:
        self._deliver = deliver
        self._delivery = delivery
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Call ``deliver``, and keep what it raises for :meth:`check`."""
        try:
            taken: object = self._deliver(self._delivery)
            # A plain function has delivered: to fail for that would deliver again.
            if inspect.isawaitable(taken):
                await taken
        except BaseException as error:  # noqa: BLE001 - raised by check()
            self._error = error

    def in_words(self) -> str:
        """What ``deliver`` raised, in words, or nothing."""
        if self._error is None:
            return ""
        try:
            self.check()
        except BaseException as error:  # noqa: BLE001 - it is what is told
            return in_words(error)
        return ""

    def check(self) -> None:
        """Raise what ``deliver`` raised."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # a frame that its own exception leads to would be a cycle
