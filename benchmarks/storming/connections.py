"""Storms of connections: streams that break off, clients that are slow, bodies that are huge."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from typing import Any

from .clients import Client, Place, events
from .services import Beside, inside

Figures = dict[str, Any]

_EVENTS = "/v1/sessions/ann/events"
_SEND = "/v1/sessions/ann/messages"


# --- streams that break off ---


async def reconnects(total: int, *, readers: int = 20) -> Figures:
    """Break off ``total`` streams and take each up again, while the session goes on."""
    draw = random.Random(8)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        async with inside(Path(folder)) as (place, system):
            seen: list[dict[int, str]] = [{} for _ in range(readers)]
            again: Counter[str] = Counter()
            ended = asyncio.Event()
            writing = asyncio.create_task(_write(place, ended))

            async def read(mine: dict[int, str]) -> None:
                for _ in range(total // readers):
                    await _glance(place, mine, draw, again)

            await asyncio.gather(*map(read, seen))
            ended.set()
            position = await writing
            for mine in seen:
                await _rest(place, mine, position, again)
            while system.subscribers:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.01)
            whole = set(range(1, position + 1))
            return {
                "disconnects": total,
                "events": position,
                "read twice": again["twice"],
                "gaps": again["gap"],
                "missing": sum(len(whole - mine.keys()) for mine in seen),
                "different": sum(mine != seen[0] for mine in seen),
                "subscribers left": system.subscribers,
            }


async def _write(place: Place, ended: asyncio.Event) -> int:
    client = Client(place)
    number = 0
    while not ended.is_set():
        number += 1
        await client.ask("POST", _SEND, {"text": str(number), "policy": {"kind": "enqueue"}})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await ended.wait()
    _, last = await client.ask("POST", f"{_SEND}?wait=60", {"text": "last"})
    assert last["outcome"]["status"] == "answered"
    _, session = await client.ask("GET", "/v1/sessions/ann")
    client.close()
    return int(session["position"])


async def _glance(
    place: Place, mine: dict[int, str], draw: random.Random, again: Counter[str]
) -> None:
    """Come, read a few events, or none, and go away in one way or another."""
    few = draw.randrange(6)
    last = max(mine, default=0)
    stream = events(place, _EVENTS, last, abort=draw.choice((True, False)))
    async with contextlib.aclosing(stream):
        for _ in range(few):
            try:
                async with asyncio.timeout(0.2):
                    _note(await anext(stream), mine, again)
            except TimeoutError:
                return


def _note(told: Any, mine: dict[int, str], again: Counter[str]) -> None:
    if told.position is None:
        again[told.kind] += 1
        return
    again["twice"] += told.position in mine
    mine[told.position] = told.data


async def _rest(place: Place, mine: dict[int, str], position: int, again: Counter[str]) -> None:
    stream = events(place, _EVENTS, max(mine, default=0))
    async with contextlib.aclosing(stream):
        while max(mine, default=0) < position:
            _note(await anext(stream), mine, again)


# --- clients that are slow ---


async def slow_clients(total: int, *, seconds: float = 5.0) -> Figures:
    """Have ``total`` clients send their heads and bodies a byte at a time beside a quick one."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Beside(Path(folder), header_within=2, body_within=2) as service,
    ):
        place = service.place
        ended = asyncio.Event()
        slow = [asyncio.create_task(_slow(place, number, ended)) for number in range(total)]
        # In a loop of its own: it is not to wait for those of the slow ones.
        waits = await asyncio.to_thread(asyncio.run, _quick(place, seconds))
        ended.set()
        cut = sum(await asyncio.gather(*slow))
        cuts = quantiles(waits, n=100)
        return {
            "slow clients": total,
            "connections cut off": cut,
            "answered beside them": len(waits),
            "p50 ms": round(cuts[49] * 1e3, 1),
            "p99 ms": round(cuts[98] * 1e3, 1),
            "memory MB": round(service.megabytes),
        }


async def _quick(place: Place, seconds: float) -> list[float]:
    client, waits = Client(place), list[float]()
    await client.ask("GET", "/healthz")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        status, _ = await client.ask("POST", _SEND, {"text": "x"})
        assert status == HTTPStatus.ACCEPTED, status
        waits.append(time.perf_counter() - begun)
        await asyncio.sleep(0.01)
    client.close()
    return waits


async def _slow(place: Place, number: int, ended: asyncio.Event) -> int:
    """Send a byte at a time; count how often the service has enough of it."""
    more = ("Content-Type: application/json", "Content-Length: 100")
    data = place.head("POST", _SEND, *more)
    at_once = 0 if number % 2 else len(data)  # every second one is quick with the head
    cut = 0
    while not ended.is_set():
        with contextlib.suppress(OSError):
            reader, writer = await place.connected()
            gone = asyncio.create_task(reader.read())
            writer.write(data[:at_once])
            for byte in data[at_once:] + b" " * 100:
                writer.write(bytes([byte]))
                await asyncio.wait(
                    {gone, wait := asyncio.create_task(ended.wait())},
                    timeout=0.5,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                wait.cancel()
                if gone.done() or ended.is_set():
                    break
            cut += gone.done()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            writer.transport.abort()
    return cut


# --- bodies that are huge ---


async def huge_bodies(size: int) -> Figures:
    """Send bodies of ``size`` bytes, with a length, in chunks, and as a stranger."""
    with tempfile.TemporaryDirectory() as folder, Beside(Path(folder)) as service:
        client = Client(service.place)
        await client.ask("GET", "/healthz")
        client.close()
        before = service.megabytes
        found: Figures = {"bytes": size}
        for name, place, chunked in (
            ("with a length", service.place, False),
            ("in chunks", service.place, True),
            ("as a stranger", Place(service.place.port, "wb_none"), True),
        ):
            status, sent = await _huge(place, size, chunked=chunked)
            found[name] = f"{status} after {sent >> 10} KiB"
        found["more memory MB"] = round(service.megabytes - before, 1)
        return found


async def _huge(place: Place, size: int, *, chunked: bool) -> tuple[int, int]:
    reader, writer = await place.connected()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    writer.write(place.head("POST", _SEND, "Content-Type: application/json", length))
    block = b"x" * (1 << 16)
    piece = b"%x\r\n%b\r\n" % (len(block), block) if chunked else block
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    sent = 0
    with contextlib.suppress(OSError):
        while sent < size and not answer.done():
            writer.write(piece)
            await asyncio.wait(
                {answer, drained := asyncio.create_task(writer.drain())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not drained.done():
                drained.cancel()
            sent += len(block)
    head = await answer
    writer.transport.abort()
    return int(head[9:12]), sent
