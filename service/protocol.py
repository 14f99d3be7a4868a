"""uvicorn's protocol of a connection, with deadlines, bounds, and errors that are problems."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import MEDIA_TYPE, ProblemError, answer
from .sse import GRACE

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from .settings import ServiceSettings

_OVER: Final = 500
"""Connections beyond those that are served which are told so; more are cut at once."""

_LINGER: Final = 2.0
"""Seconds that a client has to read why its body was refused."""

_OVERLOADED: Final[Any] = answer(
    ProblemError(
        503,
        "overloaded",
        "too many connections are open: try again later",
        {"Retry-After": "1", "Connection": "close"},
    )
)
_INVALID: Final = ProblemError(400, "invalid-http", "this is no valid HTTP request")


class PunctualProtocol(H11Protocol):
    """Gives up clients which send a request's head, or read an answer, too slowly.

    uvicorn itself has a deadline for neither, reads refused bodies to their end, and tells what it
    refuses in plain text. Subclassed with the bounds in :func:`punctual`.
    """

    head_within = 10.0
    read_within = 10.0
    most_connections = 5_000
    most_refused = 1 << 20
    _head: asyncio.TimerHandle | None = None
    _read: asyncio.TimerHandle | None = None
    _refused = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the head of a request."""
        super().connection_made(transport)
        over = len(self.connections) - self.most_connections
        if over > _OVER:
            transport.abort()
        elif over > 0:
            self.app = _OVERLOADED
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._came()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Notice when a head is there, and when one begins."""
        before = cast("RequestResponseCycle | None", self.cycle)
        super().data_received(data)
        if self.cycle is not before:
            self._came()
            self._refused = 0
        elif before is None or before.response_complete:
            if self._head is None:
                self._expect()
            if before is not None:
                self._refuse(len(data))

    def _refuse(self, size: int) -> None:
        """Read no more of a body whose request was answered, when there is too much of it.

        The connection stays for a moment: if it were closed, the client's machine would throw the
        answer away that it may not have read.
        """
        self._refused += size
        if self._refused > self.most_refused and self.conn.their_state is h11.SEND_BODY:
            self.flow.pause_reading()
            self.loop.call_later(_LINGER, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Tell that this is no HTTP, if an answer can still begin."""
        del msg
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()
            return
        response = answer(_INVALID)
        head = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
        body = bytes(response.body)
        events: tuple[Any, ...] = (
            h11.Response(status_code=400, headers=head, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            data = cast("bytes | None", self.conn.send(event))
            self.transport.write(data or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read: it has some time for that."""
        super().pause_writing()
        if self._read is None:
            self._read = self.loop.call_later(self.read_within, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._read is not None:
            self._read.cancel()
            self._read = None

    def _expect(self) -> None:
        self._head = self.loop.call_later(self.head_within, self.transport.abort)

    def _came(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def punctual(settings: ServiceSettings) -> type[PunctualProtocol]:
    """The protocol with the bounds of these settings."""
    bounds = {
        "head_within": settings.header_within,
        "read_within": settings.slow_after + GRACE,
        "most_connections": settings.most_connections,
        "most_refused": settings.max_body,
    }
    return type("PunctualProtocol", (PunctualProtocol,), bounds)
