"""A client of the service, for the command line."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2

from ..messages.errors import WavebreakError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

_AGAIN: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before a stream is taken up again, by the tries in vain."""


class ServiceError(WavebreakError):
    """The service refused, or is not there.

    Args:
        status: of its answer; 0 when there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Asks a service.

    Args:
        url: where it is.
        token: who asks.
        tenant: whose sessions are meant; the token's own if None.
    """

    def __init__(self, url: str, token: str | None, tenant: str | None = None) -> None:
        self._url = url
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tenant = {} if tenant is None else {"tenant": tenant}
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=30.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """What is there.

        Raises:
            ServiceError: it was refused.
        """
        return await self._ask("GET", path, None, params)

    async def post(self, path: str, body: Any = None, **params: Any) -> Any:
        """What came of it.

        Raises:
            ServiceError: it was refused.
        """
        return await self._ask("POST", path, body, params)

    async def _ask(self, method: str, path: str, body: Any, params: dict[str, Any]) -> Any:
        timeout = 30.0 + float(params.get("wait") or 0.0)
        with self._told():
            answer = await self._http.request(
                method, path, json=body, params={**self._tenant, **params}, timeout=timeout
            )
        _check(answer)
        return answer.json()

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            msg = (
                f"no service answers at {self._url} ({why}): start one with "
                " `wavebreak serve MODULE:AGENT`, or name another by --url or WAVEBREAK_URL"
            )
            raise ServiceError(msg) from error

    async def events(
        self, path: str, *, after: int | None = None, again: bool = True
    ) -> AsyncGenerator[httpx2.ServerSentEvent]:
        """A stream's events; taken up again where it was when it is cut off.

        Args:
            path: of the stream.
            after: the position behind which to begin; None for now.
            again: whether to take it up again.

        Raises:
            ServiceError: it was refused, or is not there.
        """
        last = None if after is None else str(after)
        failed = 0
        while True:
            try:
                async with contextlib.aclosing(self._stream(path, last)) as stream:
                    async for event in stream:
                        failed, last = 0, event.id or last
                        yield event
            except ServiceError as error:
                if error.status or not again or failed >= len(_AGAIN):
                    raise
            if not again:
                return
            await asyncio.sleep(_AGAIN[min(failed, len(_AGAIN) - 1)])
            failed += 1

    async def _stream(self, path: str, last: str | None) -> AsyncGenerator[httpx2.ServerSentEvent]:
        headers = {} if last is None else {"Last-Event-ID": last}
        timeout = httpx2.Timeout(30.0, read=60.0)  # there are heartbeats
        with self._told():
            stream = self._http.sse(path, params=self._tenant, headers=headers, timeout=timeout)
            async with stream as source:
                if source.response.is_error:
                    await source.response.aread()
                _check(source.response)
                async for event in source:
                    yield event


def _check(answer: httpx2.Response) -> None:
    if not answer.is_error:
        return
    try:
        problem = answer.json()
        words = str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        words = answer.reason_phrase
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        words = f"{words}; give it by --token or WAVEBREAK_TOKEN"
    raise ServiceError(f"{words} ({answer.status_code})", answer.status_code)
