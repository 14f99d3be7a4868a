"""Asks an ASGI application, and listens to its streams, without a server and in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from wavebreak import ActorSystem, MemoryJournal
from wavebreak.service import Access, Scope, ServiceSettings, create_app, new_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from fastapi import FastAPI


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Told(NamedTuple):
    """A server-sent event."""

    kind: str
    data: str
    id: str | None

    def json(self) -> Any:
        return json.loads(self.data)


def told_in(text: str) -> list[Told]:
    """Read server-sent events; comments are left out."""
    events: list[Told] = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name:
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        if "data" in fields:
            events.append(Told(fields.get("event", ""), fields["data"], fields.get("id")))
    return events


class Listening:
    """A stream that is open."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self._seen: list[Told] = []
        self._text = ""

    async def next(self) -> Told | None:
        """Wait for the next event; None at the end."""
        while not self._seen:
            chunk = await self.chunks.get()
            if chunk is None:
                return None
            self._text += chunk.decode()
            whole, _, self._text = self._text.rpartition("\n\n")
            self._seen += told_in(whole)
        return self._seen.pop(0)

    async def until(self, kind: str) -> list[Told]:
        """Wait for an event of a kind, and give all up to it."""
        events: list[Told] = []
        while (event := await self.next()) is not None:
            events.append(event)
            if event.kind == kind:
                return events
        raise AssertionError(f"no {kind} in {[event.kind for event in events]}")

    async def rest(self) -> list[Told]:
        """Wait for the end, and give all that came."""
        events: list[Told] = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


class Asking:
    """Asks an application.

    Args:
        app: the application.
        token: goes with every request.
    """

    def __init__(self, app: FastAPI, token: str | None = None) -> None:
        self.app = app
        self.token = token

    def bearing(self, token: str | None) -> Asking:
        return Asking(self.app, token)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.ask("POST", path, body, **more)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Answer:
        heard = Listening()
        async with self._asked(heard, method, path, body, headers, params):
            text = b""
            while (chunk := await heard.chunks.get()) is not None:
                text += chunk
        return Answer(heard.status, heard.headers, text)

    @contextlib.asynccontextmanager
    async def listening(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> AsyncGenerator[Listening]:
        """Listen to a stream; on the way out the client goes away."""
        heard = Listening()
        async with self._asked(heard, method, path, body, headers, params):
            await heard.chunks.get()  # the first says that it listens
            yield heard

    @contextlib.asynccontextmanager
    async def _asked(
        self,
        heard: Listening,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str] | None,
        params: Mapping[str, Any],
    ) -> AsyncGenerator[None]:
        content = body if isinstance(body, bytes) else b"" if body is None else encoded(body)
        gone = asyncio.Event()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": content, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                heard.status = message["status"]
                heard.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            await heard.reads.wait()
            if message.get("body"):
                heard.chunks.put_nowait(message["body"])
            if not message.get("more_body", False):
                heard.chunks.put_nowait(None)

        scope = self._scope(method, path, len(content), dict(headers or {}), params)
        work = asyncio.ensure_future(self.app(scope, receive, send))
        work.add_done_callback(lambda _: heard.chunks.put_nowait(None))
        try:
            yield
        finally:
            gone.set()
            await work

    def _scope(
        self,
        method: str,
        path: str,
        length: int,
        headers: dict[str, str],
        params: Mapping[str, Any],
    ) -> dict[str, Any]:
        lines = {"host": "test", "content-type": "application/json"}
        if length:
            lines["content-length"] = str(length)
        if self.token is not None:
            lines["authorization"] = f"Bearer {self.token}"
        lines |= {name.lower(): value for name, value in headers.items()}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": quote(path, safe="/%").encode(),
            "query_string": urlencode(params).encode(),
            "root_path": "",
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in lines.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@contextlib.asynccontextmanager
async def serving(agent: Any, *, journal: Any = None, **settings: Any) -> AsyncGenerator[Asking]:
    """Run a system of this agent, and an application over it."""
    kept = journal or MemoryJournal(keep_entries=10_000)
    made: Any = agent if isinstance(agent, ActorSystem) else ActorSystem(agent, journal=kept)
    system: ActorSystem = made
    token, rule = new_token("test", [Scope.ADMIN], ["*"])
    async with system:
        app = create_app(system, access=Access([rule]), settings=ServiceSettings(**settings))
        yield Asking(app, token)


def system_of(asking: Asking) -> ActorSystem:
    system: ActorSystem = asking.app.state.service.system
    return system


def access_of(asking: Asking) -> Access:
    access: Access = asking.app.state.service.access
    return access
