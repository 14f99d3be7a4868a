"""Hands deliveries to those who ask for them, and takes back what nobody answers for."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from itertools import count
from math import isinf
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from weakref import WeakSet

from .delivery_stream import CloseStream, GiveBack, HeldDelivery, Settle, Take, Verdict
from .future import Future
from .outbound import Finish, Outbound, OutboundActor

if TYPE_CHECKING:
    import asyncio

    from ..messages.ids import DeliveryId, SessionKey
    from ..messages.message import Delivery
    from .delivery_stream import DeliveryStream
    from .mailbox import Envelope
    from .outbound import DeliveryRules, GivenUp, Report

_SLACK: Final = 64
"""Timers that are not needed any more and are kept all the same."""


class _Later(NamedTuple):
    """When a lease is over; or, with nobody who holds it, when a delivery is handed out again."""

    when: float
    number: int
    delivery_id: DeliveryId
    held: HeldDelivery | None


class _Tick(NamedTuple):
    """The first of what is to come later is due."""


class Handout(Outbound):
    """What consumers may ask for, and what they hold, over all lives of the actor.

    The first delivery of each session is ready, or held, or waits to be tried again; exactly one.

    Args:
        loop: where that actor lives.
    """

    __slots__ = ("failed", "held", "keys", "later", "numbers", "ready", "streams", "takers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.keys: dict[DeliveryId, SessionKey] = {}  # of the first ones
        self.ready: OrderedDict[SessionKey, None] = OrderedDict()
        self.held: dict[DeliveryId, HeldDelivery] = {}
        self.failed: dict[DeliveryId, int] = {}
        self.later: list[_Later] = []
        self.numbers = count()
        self.takers: deque[Take] = deque()
        self.streams: WeakSet[DeliveryStream] = WeakSet()

    def forget(self, key: SessionKey) -> None:
        """A session was deleted: who holds a delivery of it holds nothing that counts."""
        queue = self.queues.get(key)
        if queue:
            id_ = queue[0].delivery_id
            del self.keys[id_]
            self.failed.pop(id_, None)
            self.ready.pop(key, None)
            held = self.held.pop(id_, None)
            if held is not None:
                held.stream.holds -= 1
        super().forget(key)

    async def end(self) -> None:
        """End the streams, if the system does; between two lives of the actor they go on."""
        if not self.place.ends:
            return
        for stream in tuple(self.streams):
            stream.closed = True
        while self.takers:
            self.takers.popleft().answer.try_set(None)


class HandingOut(OutboundActor):
    """Hands each delivery to one consumer at a time, in order for each session.

    What a consumer neither acknowledges nor refuses within its lease, or holds when it goes away,
    is handed out again.

    Args:
        outbound: what is on its way.
        rules: how hard a delivery is tried; the lease is the consumer's.
        report: tells the session how a delivery ended.
        now: the clock, in seconds since the epoch.
        given_up: told of a delivery that no attempt brought to its user, and why.
    """

    def __init__(
        self,
        outbound: Handout,
        rules: DeliveryRules,
        report: Report,
        *,
        now: Callable[[], float],
        given_up: GivenUp,
    ) -> None:
        super().__init__(outbound, rules, report, now=now, given_up=given_up)
        self._out = outbound
        self._timer: asyncio.TimerHandle | None = None
        self._finishing: Future[Any] | None = None
        self._patience: asyncio.TimerHandle | None = None

    def on_start(self) -> None:
        """Take over what the one before had under way."""
        self._out.place.take(self)
        self._arm_timer()
        self._hand_out()

    def handle(self, envelope: Envelope) -> Any:
        """Queue a delivery, hand one out, or take note of what became of one."""
        message: object = envelope.message
        handler = self._actor_direct.get(type(message))
        if handler is not None:
            handler(self, message)
            return None
        if isinstance(message, Finish):
            return self._begin_to_finish(envelope, message.bound)
        return super().handle(envelope)

    # --- who asks, and what they get ---

    def _is_due(self, key: SessionKey) -> None:
        self._out.keys[self._queues[key][0].delivery_id] = key
        self._out.ready[key] = None
        self._hand_out()

    def forget(self, key: SessionKey) -> None:  # noqa: ARG002 - another has to know it
        """Who held a delivery of that session may have another."""
        self._hand_out()
        self._look_whether_finished()

    def _on_take(self, take: Take) -> None:
        stream, answer = take
        if stream.closed:
            answer.try_set(None)
            return
        self._out.streams.add(stream)
        self._out.takers.append(take)
        self._hand_out()

    def _hand_out(self) -> None:
        out = self._out
        while out.ready:
            take = self._next_taker()
            if take is None:
                return
            key, _ = out.ready.popitem(last=False)
            self._hold(key, self._queues[key][0], take)

    def _next_taker(self) -> Take | None:
        """Who has waited longest of those who may hold one more."""
        takers = self._out.takers
        for place, take in enumerate(takers):
            if take.stream.holds < take.stream.prefetch:
                del takers[place]
                return take
        return None

    def _hold(self, key: SessionKey, delivery: Delivery, take: Take) -> None:
        stream, id_ = take.stream, delivery.delivery_id
        held = HeldDelivery(key, delivery, self._out.failed.get(id_, 0) + 1, stream)
        self._out.held[id_] = held
        stream.holds += 1
        if not isinf(stream.lease):
            self._later(stream.lease, id_, held)
        take.answer.try_set(held)

    def _on_give_back(self, message: GiveBack) -> None:
        answer, takers = message.answer, self._out.takers
        for place, take in enumerate(takers):
            if take.answer is answer:
                del takers[place]
                return
        held = answer.get() if answer.done() else None
        if held is not None and self._lets_go(held):
            self._ready_again(held)

    def _on_close(self, message: CloseStream) -> None:
        stream, error = message
        out = self._out
        stream.closed = True
        out.streams.discard(stream)
        for take in [take for take in out.takers if take.stream is stream]:
            out.takers.remove(take)
            take.answer.try_set(None)
        for held in [held for held in out.held.values() if held.stream is stream]:
            self._lets_go(held)
            if error:
                self._failed(held, error, None)
            else:
                self._ready_again(held)
        self._hand_out()
        self._look_whether_finished()

    def _ready_again(self, held: HeldDelivery) -> None:
        """It was given back, and not as an attempt that failed: whoever asks next gets it."""
        self._out.ready[held.key] = None
        self._out.ready.move_to_end(held.key, last=False)
        self._hand_out()

    def _lets_go(self, held: HeldDelivery) -> bool:
        """Take a delivery from who holds it; False if it is not held by that any more."""
        held_now = self._out.held
        id_ = held.delivery.delivery_id
        if held_now.get(id_) is not held:
            return False
        del held_now[id_]
        held.stream.holds -= 1
        return True

    # --- what becomes of them ---

    def _on_settle(self, message: Settle) -> None:
        id_, held, verdict, reason, retry_after, answer = message
        out = self._out
        key, holder = out.keys.get(id_), out.held.get(id_)
        # Who has delivered it has, though the lease is over; who has not, is not asked any more.
        if key is None or (verdict is not Verdict.TAKEN and holder is not held):
            answer.try_set(False)
            return
        if holder is not None:
            self._lets_go(holder)
        if verdict is Verdict.NOT_NOW and held is not None:
            self._failed(held, reason, retry_after)
        else:
            self._end(key, reason if verdict is Verdict.NEVER else "")
        answer.try_set(True)
        self._hand_out()
        self._look_whether_finished()

    def _failed(self, held: HeldDelivery, error: str, retry_after: float | None) -> None:
        """An attempt came to nothing; nobody holds the delivery."""
        id_, rules = held.delivery.delivery_id, self._rules
        failed = self._out.failed[id_] = held.attempt
        self._warn(held.delivery, failed, error)
        if failed >= rules.attempts:
            self._end(held.key, error)
        else:
            self._later(rules.retry_after(failed) if retry_after is None else retry_after, id_)

    def _end(self, key: SessionKey, error: str) -> None:
        """The first delivery of a session was taken, or is given up; the next one is ready."""
        out, queue = self._out, self._queues[key]
        delivery = queue.pop(0)
        del out.keys[delivery.delivery_id]
        out.failed.pop(delivery.delivery_id, None)
        out.ready.pop(key, None)
        if queue:
            out.keys[queue[0].delivery_id] = key
            out.ready[key] = None
        else:
            del self._queues[key]
        self._ended(key, delivery, error)

    # --- time ---

    def _later(self, seconds: float, id_: DeliveryId, held: HeldDelivery | None = None) -> None:
        out = self._out
        if len(out.later) > _SLACK + 2 * (len(out.held) + len(out.failed)):
            out.later = [later for later in out.later if self._is_needed(later)]
            heapq.heapify(out.later)
        when = self._loop.time() + seconds
        heapq.heappush(out.later, _Later(when, next(out.numbers), id_, held))
        self._arm_timer()

    def _is_needed(self, later: _Later) -> bool:
        out, id_ = self._out, later.delivery_id
        if later.held is not None:
            return out.held.get(id_) is later.held
        key = out.keys.get(id_)
        return key is not None and id_ not in out.held and key not in out.ready

    def _arm_timer(self) -> None:
        later, timer = self._out.later, self._timer
        if not later or (timer is not None and timer.when() <= later[0].when):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(later[0].when, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._out.place.hand(_Tick())

    def _on_tick(self, _tick: _Tick) -> None:
        out, now = self._out, self._loop.time()
        while out.later and out.later[0].when <= now:
            due = heapq.heappop(out.later)
            if not self._is_needed(due):
                continue
            if due.held is None:
                out.ready[out.keys[due.delivery_id]] = None
            elif self._lets_go(due.held):
                lease = due.held.stream.lease
                self._failed(due.held, f"nobody answered for it within {lease:g} s", None)
        self._arm_timer()
        self._hand_out()
        self._look_whether_finished()

    # --- the end ---

    def _begin_to_finish(self, envelope: Envelope, bound: float) -> None:
        """Answer later: until then deliveries are handed out to those who ask."""
        waiter, envelope.reply_to = envelope.reply_to, None
        assert isinstance(waiter, Future), "who has it finish waits for that"
        self._finishing = waiter
        self._patience = self._loop.call_later(bound, self._finish)
        self._look_whether_finished()

    def _look_whether_finished(self) -> None:
        out = self._out
        if self._finishing is not None and not (self._queues and (out.streams or out.held)):
            self._finish()

    def _finish(self) -> None:
        waiter, self._finishing = self._finishing, None
        for timer in (self._patience, self._timer):
            if timer is not None:
                timer.cancel()
        if waiter is not None:
            waiter.try_set(None)

    def _rest(self) -> None:
        self._finish()

    _actor_direct: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {
        **OutboundActor._actor_direct,  # noqa: SLF001 - its own
        Take: _on_take,
        GiveBack: _on_give_back,
        Settle: _on_settle,
        CloseStream: _on_close,
        _Tick: _on_tick,
    }
