"""How much may come in: requests a second by token, bodies, and how slowly they come."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from .problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

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


def length_of(scope: Scope) -> int:
    """Bytes that a request says it has; 0 if it does not say.

    Raises:
        ProblemError: it says two things, of which a proxy may have believed the other.
    """
    length, chunked = None, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"transfer-encoding":
            chunked = True
    if chunked and length is not None:
        detail = "Content-Length and Transfer-Encoding contradict each other: send one of them"
        raise ProblemError(400, "invalid-http", detail, {"Connection": "close"})
    return length or 0


def too_large(most: int) -> ProblemError:
    """The refusal of a body that is too large."""
    detail = f"the body is larger than {most} bytes"
    return ProblemError(413, "too-large", detail)


class Body:
    """A request's body: no larger than may be, and there within some seconds.

    Args:
        receive: where it comes from.
        service: the service; when it ends, bodies that are not there yet come too late.
    """

    __slots__ = ("_complete", "_receive", "_service", "_size", "_timeout", "_until")

    def __init__(self, receive: Receive, service: Service) -> None:
        self._receive = receive
        self._service = service
        self._size = 0
        self._until: float | None = None
        self._timeout: asyncio.Timeout | None = None
        self._complete = False

    async def __call__(self) -> Message:
        """Receive some of it; after its end, whatever else comes.

        Raises:
            ProblemError: it is too large, or too slow.
        """
        if self._complete:
            return await self._receive()
        service, settings = self._service, self._service.settings
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + settings.body_within
        service.bodies.add(self)
        try:
            async with asyncio.timeout_at(self._until) as self._timeout:
                message = await self._receive()
        except TimeoutError as error:
            raise _told(self._too_late()) from error
        finally:
            service.bodies.discard(self)
        self._size += len(message.get("body", b""))
        if self._size > settings.max_body:
            raise _told(too_large(settings.max_body))
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def expire(self) -> None:
        """Wait no longer."""
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _too_late(self) -> ProblemError:
        close = {"Connection": "close"}
        if self._service.draining:
            return ProblemError(503, "closing", "the service ends: send it again", close)
        detail = f"the body did not come within {self._service.settings.body_within:g} s"
        return ProblemError(408, "too-slow", detail, close)


def _told(problem: ProblemError) -> HTTPException:
    """The problem as one that FastAPI lets through, out of the reading of a body."""
    return HTTPException(problem.status, problem.detail, problem.headers)
