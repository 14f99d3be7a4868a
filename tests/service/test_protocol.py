"""Connections that are not as they should be: each is told why, or cut off, and stops nobody."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from wavebreak.service import server

from .running import Running, connected, running, until

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = [pytest.mark.real_time, pytest.mark.slow]

HOST = "Host: 127.0.0.1\r\n"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Generator[list[str]]:
    """What ours and the server's log."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    logger.enable("wavebreak")
    yield lines
    logger.disable("wavebreak")
    logger.remove(sink)
    lines += [record.message for record in caplog.records if record.levelname == "ERROR"]


def head(service: Running, method: str, path: str, *more: str) -> bytes:
    bearer = f"Authorization: Bearer {service.token}"
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", bearer, *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def problem_in(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    return found


async def test_what_is_no_http_is_a_problem_too() -> None:
    async with running() as service:
        for sent in (b"\x00garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await connected(service)
            writer.write(sent)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"application/problem+json" in answer
            assert problem_in(answer)["type"] == "urn:wavebreak:problem:invalid-http"
            writer.close()


async def test_a_body_that_breaks_off_or_is_none_is_no_failure_of_the_service(
    logged: list[str],
) -> None:
    async with running() as service:
        for sent in (b"zzz\r\n", b""):
            reader, writer = await connected(service)
            common = ("Content-Type: application/json", "Transfer-Encoding: chunked")
            writer.write(head(service, "POST", "/v1/sessions/ann/messages", *common))
            await asyncio.sleep(0.05)
            writer.write(sent)
            if sent:
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        # The head was answered already, and then its body is no HTTP.
        reader, writer = await connected(service)
        writer.write(f"POST /v1/stop HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 401 ")
        writer.write(b"zzz\r\n")
        assert await reader.read() == b""
        writer.close()
        assert (await service.http.get("/healthz")).status_code == 200
    assert logged == []


async def test_why_a_body_is_refused_can_be_read_by_who_is_still_sending_it() -> None:
    async with running() as service:
        reader, writer = await connected(service)
        common = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        writer.write(head(service, "POST", "/v1/sessions/ann/messages", *common))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = 0
        try:
            while sent < 1 << 30:
                writer.write(chunk)
                async with asyncio.timeout(0.5):
                    await writer.drain()
                sent += len(chunk)
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 64 << 20, "it is not read"
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413 ")
        writer.transport.abort()


async def test_connections_beyond_what_is_served_are_told_so() -> None:
    async with running(most_connections=2) as service:
        held = [await connected(service) for _ in range(2)]
        await asyncio.sleep(0.05)
        reader, writer = await connected(service)
        writer.write(head(service, "GET", "/healthz"))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert problem_in(answer)["type"] == "urn:wavebreak:problem:overloaded"
        for _, each in (*held, (reader, writer)):
            each.close()
        await asyncio.sleep(0.05)
        assert (await service.http.get("/healthz")).status_code == 200


async def test_a_slow_reader_is_no_error_of_the_service(logged: list[str]) -> None:
    async with running(slow_after=0.2) as service:
        _, writer = await connected(service)
        writer.write(head(service, "GET", "/v1/sessions/ann/events"))
        await until(lambda: service.system.subscribers == 1)
        transport: Any = writer.transport
        transport.pause_reading()
        session = service.system.session("ann")
        while service.system.subscribers:
            for _ in range(20):
                await (await session.send("y" * 100_000)).outcome()
        writer.transport.abort()
    assert logged == []


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head() -> None:
    sock = server._listening("127.0.0.1", 0)
    with sock, socket.create_connection(sock.getsockname()), sock.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
