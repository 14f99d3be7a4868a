"""How much may come in: requests a second by token, requests at a time, and how slowly."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException

from .problems import ProblemError, answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .state import Service

_BUCKETS: Final = 10_000
"""Tokens that are remembered; of more, the one that was away longest begins anew."""


class Buckets:
    """A bucket for each token, which fills up at a rate; a request takes one drop.

    Args:
        rate: drops a second.
        burst: drops that a bucket holds.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Take a drop.

        Raises:
            ProblemError: there is none.
        """
        now = time.monotonic()
        left, at = self._buckets.pop(name, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._rate)
        enough = left >= 1
        self._buckets[name] = (left - enough, now)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if not enough:
            detail = f"more than {self._rate:g} requests a second with this token: send fewer"
            raise ProblemError(429, "too-many-requests", detail, {"Retry-After": "1"})


class Intake:
    """ASGI middleware: refuses what is too much at once, and bodies that come too slowly.

    Args:
        app: what is behind.
        service: the service.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service
        if service.requests - service.streams >= service.settings.most_requests:
            detail = "too many requests are at work: try again later"
            refusal = ProblemError(503, "overloaded", detail, {"Retry-After": "1"})
            await answer(refusal)(scope, receive, send)
            return
        settings = service.settings
        if _length_of(scope) > settings.max_body:
            await answer(_too_large(settings.max_body))(scope, receive, send)
            return
        if b"%2" in scope.get("raw_path", b""):
            scope["path"] = _with_slashes_apart(scope)
        service.requests += 1
        try:
            body = _Body(receive, settings.body_within, settings.max_body)
            await self._app(scope, body, send)
        finally:
            service.requests -= 1


SLASH: Final = "\ue000"
"""What a slash within a name is between the address and the route; see :func:`in_full`."""


def _with_slashes_apart(scope: Scope) -> str:
    """The path, in which a slash that was written ``%2F`` does not end a name."""
    raw: str = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
    return unquote(raw.replace("%2F", quote(SLASH)).replace("%2f", quote(SLASH)))


def in_full(name: str) -> str:
    """A name out of a path, with its slashes."""
    return name.replace(SLASH, "/")


def _length_of(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(most: int) -> ProblemError:
    detail = f"the body is larger than {most} bytes"
    return ProblemError(413, "too-large", detail, {"Connection": "close"})


class _Body:
    """A request's body: no larger than may be, and there within some seconds."""

    __slots__ = ("_complete", "_most", "_receive", "_size", "_until", "_within")

    def __init__(self, receive: Receive, within: float, most: int) -> None:
        self._receive = receive
        self._within = within
        self._most = most
        self._size = 0
        self._until: float | None = None
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._within
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            detail = f"the body did not come within {self._within:g} s"
            raise _told(ProblemError(408, "too-slow", detail)) from error
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise _told(_too_large(self._most))
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def _told(problem: ProblemError) -> HTTPException:
    """The problem as one that FastAPI lets through, out of the reading of a body."""
    return HTTPException(problem.status, problem.detail, {"Connection": "close"})
