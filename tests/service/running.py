"""A service in this process, on a real port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from wavebreak import ActorSystem, MemoryJournal, Turn
from wavebreak.service import ServiceSettings, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


async def echo(turn: Turn) -> str:
    return f"echo {turn.text}"


class Running(NamedTuple):
    """A service in this process."""

    system: ActorSystem
    url: str
    port: int
    token: str
    http: httpx2.AsyncClient
    stop: asyncio.Event


@contextlib.asynccontextmanager
async def running(**settings: object) -> AsyncGenerator[Running]:
    system = ActorSystem(echo, journal=MemoryJournal(keep_entries=10_000))
    address: asyncio.Future[tuple[str, str | None]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    chosen = ServiceSettings.model_validate({"port": 0, **settings})

    def started(url: str, token: str | None) -> None:
        address.set_result((url, token))

    serving = asyncio.create_task(serve(system, chosen, started=started, stop=stop))
    try:
        url, token = await address
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            yield Running(system, url, int(url.rpartition(":")[2]), str(token), http, stop)
    finally:
        stop.set()
        await serving


async def connected(service: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", service.port)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)
