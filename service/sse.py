"""Server-sent events as a response: heartbeats, slow readers cut off, nobody left subscribed.

FastAPI's own streams notice that a client has gone when they next write, and wait for a slow one
without end. So this is a response of our own; what it writes is formatted by FastAPI.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from fastapi.responses import Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from loguru import logger

from ..messages.errors import Detached, SubscriberTooSlow, SystemClosed, WavebreakError
from .feed import Item, closed
from .waiting import until_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

MEDIA_TYPE: Final = "text/event-stream"
GRACE: Final = 2.0
"""Seconds beyond what a stream gives its reader after which the server cuts the connection."""

_CHUNK: Final = 1 << 16
"""Bytes after which what is at hand is written."""


class Source(Protocol):
    """What a response streams."""

    async def next(self) -> Item | None:
        """The next item; None at the end. May be broken off."""
        ...

    def at_hand(self) -> Item | None:
        """The next item if it is there already."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def wire(item: Item) -> bytes:
    """An item as it goes out."""
    return format_sse_event(
        data_str=item.data,
        event=item.kind,
        id=None if item.position is None else str(item.position),
    )


class EventsResponse(Response):
    """Streams a source's items until it ends, or its reader goes, or is too slow.

    Args:
        source: what is streamed; it is closed in any case.
        heartbeat: seconds of silence after which a comment is sent.
        slow_after: seconds the reader may take for what was written.
        counts: whether the reader may still read; looked at before each write.
        ended: called when the stream has ended in any way.
        headers: of the response.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        source: Source,
        *,
        heartbeat: float,
        slow_after: float,
        counts: Callable[[], bool],
        ended: Callable[[], None],
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            None,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
        )
        del self.headers["content-length"]
        self._source = source
        self._heartbeat = heartbeat
        self._slow_after = slow_after
        self._counts = counts
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the end."""
        del scope
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._write(send))
        gone = loop.create_task(until_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), _TooSlowToWrite):
                logger.info("a reader of events is too slow, and is cut off")
                self._source.close()
                # An answer that just ends would wait for this reader; the server cuts it off.
                await asyncio.wait({gone}, timeout=2 * GRACE)
        finally:
            self._source.close()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            self._ended()
        error = None if work.cancelled() else work.exception()
        if error is not None and not isinstance(error, _TooSlowToWrite):
            raise error

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        # So that a client sees at once that it listens.
        await self._send(send, KEEPALIVE_COMMENT)
        while (chunk := await self._chunk()) is not None:
            await self._send(send, chunk)
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more}
        try:
            async with asyncio.timeout(self._slow_after):
                await send(message)
        except TimeoutError as error:
            raise _TooSlowToWrite from error

    async def _chunk(self) -> bytes | None:
        """What there is to write; waits for it. None at the end."""
        try:
            async with asyncio.timeout(self._heartbeat):
                item = await self._source.next()
        except TimeoutError:
            return KEEPALIVE_COMMENT if self._counts() else self._last("revoked")
        except WavebreakError as error:
            return self._last(_why(error))
        if item is None:
            return None
        if not self._counts():
            return self._last("revoked")
        parts = [wire(item)]
        size = len(parts[0])
        while size < _CHUNK and (further := self._source.at_hand()) is not None:
            parts.append(wire(further))
            size += len(parts[-1])
        return b"".join(parts)

    def _last(self, reason: str) -> bytes:
        self._source.close()
        self._source = _Nothing()
        return wire(closed(reason))


def _why(error: WavebreakError) -> str:
    """Why a stream ends, in a word."""
    if isinstance(error, SubscriberTooSlow):
        return "too_slow"
    if isinstance(error, SystemClosed | Detached):
        return "shutdown"
    logger.opt(exception=error).warning("a stream of events ends: it cannot be read")
    return "failed"


class _Nothing:
    """A source that has ended."""

    async def next(self) -> None:
        """Nothing more."""

    def at_hand(self) -> None:
        """Nothing more."""

    def close(self) -> None:
        """Nothing to do."""


class _TooSlowToWrite(Exception):
    """The reader does not take what was written."""
