"""Clients as plain as can be, so that the service is what the machine is busy with."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Place(NamedTuple):
    """Where a service is, and who may come in."""

    port: int
    token: str

    def head(self, method: str, path: str, *more: str, version: str = "1.1") -> bytes:
        """Write the head of a request."""
        lines = (
            f"{method} {path} HTTP/{version}",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {self.token}",
            *more,
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)


class Client:
    """Asks on a connection that is kept as long as it holds."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask, and give the answer's status and what it says.

        Raises:
            OSError: nobody answers.
        """
        try:
            return await self._ask(method, path, body)
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise ConnectionError(str(error)) from error

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self._streams is None:
            self._streams = await self._place.connected()
        reader, writer = self._streams
        data = b"" if body is None else json.dumps(body).encode()
        more = ("Content-Type: application/json", f"Content-Length: {len(data)}")
        writer.write(self._place.head(method, path, *more) + data)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length")), 0)
        said = await reader.readexactly(length)
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), json.loads(said) if said else None

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Told(NamedTuple):
    """An event of a stream."""

    kind: str
    position: int | None
    data: str


async def events(
    place: Place, path: str, after: int, *, abort: bool = True
) -> AsyncGenerator[Told]:
    """Listen to a stream, and break it off when nobody listens here any more.

    Raises:
        OSError: nobody answers.
    """
    reader, writer = await place.connected()
    try:
        # By the older version, so that the body is not in chunks.
        writer.write(place.head("GET", path, f"Last-Event-ID: {after}", version="1.0"))
        head = await _read(reader, b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        while block := await _read(reader, b"\n\n"):
            told = _told(block.decode())
            if told is not None:
                yield told
    finally:
        if abort:
            writer.transport.abort()
        else:
            writer.close()


async def _read(reader: asyncio.StreamReader, until: bytes) -> bytes:
    with contextlib.suppress(asyncio.IncompleteReadError):
        return await reader.readuntil(until)
    return b""


def _told(block: str) -> Told | None:
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    if "data" not in fields:
        return None
    position = int(fields["id"]) if "id" in fields else None
    return Told(fields.get("event", ""), position, fields["data"])
