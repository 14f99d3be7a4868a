"""The hub: hands events to whoever subscribed, after they are durable."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from loguru import logger

from ..messages.errors import SubscriberTooSlow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from ..messages.events import Event
    from ..messages.ids import SessionKey

E = TypeVar("E", bound="Event")

BUFFER = 10_000
"""Events that may wait for a reader before it is cut off."""

_LAST = 1.0
"""Seconds that a handler has to end in when it was cancelled."""


class EventStream:
    """The events of one session, or of all; an asynchronous iterator.

    It begins with what happens after it was made, and ends when the system closes or
    :meth:`close` is called. One that is not needed any more is closed, best by ``with``.
    """

    def __init__(self, hub: EventHub, key: SessionKey | None) -> None:
        self._hub = hub
        self._key = key
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._too_slow = False

    def push(self, event: Event) -> None:
        """Hand the reader one more event; one that falls too far behind is cut off."""
        if len(self._events) >= BUFFER:
            self._too_slow = True
            self.close()
            return
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """End the stream after the events that are there already."""
        if not self._closed:
            self._closed = True
            self._hub.unsubscribe(self, self._key)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            SubscriberTooSlow: the reader fell too far behind.
        """
        while not self._events:
            if self._too_slow:
                msg = f"more than {BUFFER} events waited for this reader: read faster, or less"
                raise SubscriberTooSlow(msg)
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._events.popleft()


class EventHub:
    """Subscriptions of a system, by session; used on the loop's thread."""

    def __init__(self) -> None:
        self._streams: dict[SessionKey | None, list[EventStream]] = {}
        self._handlers: dict[type[Event], list[Callable[[Any], Awaitable[None] | None]]] = {}
        self._queue: deque[tuple[Callable[[Any], Awaitable[None] | None], Event]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self.watched = False
        """Whether anybody would see an event; a session asks for that at all that happens."""

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return sum(len(streams) for streams in self._streams.values())

    def subscribe(self, key: SessionKey | None) -> EventStream:
        """A stream of the events of session ``key``, or of all sessions."""
        stream = EventStream(self, key)
        self._streams.setdefault(key, []).append(stream)
        self.watched = True
        return stream

    def unsubscribe(self, stream: EventStream, key: SessionKey | None) -> None:
        """Forget a stream; it does nothing to one that is not there."""
        streams = self._streams.get(key, [])
        if stream in streams:
            streams.remove(stream)
            if not streams:
                del self._streams[key]
                self.watched = bool(self._streams or self._handlers)

    def on(self, kind: type[E], handler: Callable[[E], Awaitable[None] | None]) -> None:
        """Call ``handler`` with every event of class ``kind`` or a subclass, in order."""
        self._handlers.setdefault(kind, []).append(handler)
        self.watched = True

    def publish(self, key: SessionKey, event: Event) -> None:
        """Hand an event of session ``key`` to all who want it."""
        for stream in (*self._streams.get(key, ()), *self._streams.get(None, ())):
            stream.push(event)
        if self._handlers:
            for kind in type(event).__mro__:
                self._queue.extend((handler, event) for handler in self._handlers.get(kind, ()))
            if self._queue and self._worker is None:
                self._worker = asyncio.get_running_loop().create_task(self._call_handlers())

    async def _call_handlers(self) -> None:
        task = asyncio.current_task()
        while self._queue:
            handler, event = self._queue.popleft()
            try:
                result = handler(event)
                if inspect.isawaitable(result):
                    await result
            except BaseException as error:
                if task is not None and task.cancelling():
                    raise  # it is we who are cancelled, not something that the handler awaits
                logger.opt(exception=error).error("a handler of {} failed", type(event).__name__)
        self._worker = None

    async def close(self, within: float) -> None:
        """End every stream, after what it has.

        Args:
            within: seconds that handlers have left.
        """
        worker = self._worker
        if worker is not None and not (await asyncio.wait((worker,), timeout=within))[0]:
            logger.warning("{} events are left: a handler did not end", len(self._queue) + 1)
            self._queue.clear()
            worker.cancel()
            await asyncio.wait((worker,), timeout=_LAST)
        self._worker = None  # the next loop needs its own
        for streams in list(self._streams.values()):
            for stream in list(streams):
                stream.close()
