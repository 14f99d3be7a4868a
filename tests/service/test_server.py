"""The service on a real port: what only sockets show."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from wavebreak import ActorSystem, MemoryJournal, SystemFailed, UnknownMessage
from wavebreak.service import ServiceSettings, serve

from .running import connected, echo, running, until

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


async def test_clients_that_send_their_heads_slowly_are_cut_off_and_stop_nobody() -> None:
    async with running(header_within=0.5) as service:
        slow = [await connected(service) for _ in range(300)]
        for _, writer in slow:
            writer.write(b"POST /v1/sessions/ann/messages HTT")
        answer = await service.http.post("/v1/sessions/ann/messages?wait=20", json={"text": "x"})
        assert answer.json()["outcome"]["reply"]["text"] == "echo x"
        for reader, writer in slow:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_a_second_head_on_the_same_connection_has_the_same_time() -> None:
    async with running(header_within=0.5) as service:
        reader, writer = await connected(service)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /hea")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_does_not_come_is_answered_in_time() -> None:
    async with running(body_within=0.3) as service:
        reader, writer = await connected(service)
        head = (
            "POST /v1/sessions/ann/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {service.token}\r\n\r\n{{"
        )
        writer.write(head.encode())
        answer = await reader.read()
        assert b" 408 " in answer.partition(b"\r\n")[0]
        assert b"urn:wavebreak:problem:too-slow" in answer
        writer.close()


async def test_a_huge_body_is_refused_by_its_length() -> None:
    async with running() as service:
        reader, writer = await connected(service)
        common = "POST /v1/sessions/ann/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        bearer = f"Authorization: Bearer {service.token}\r\n"
        writer.write(f"{common}{bearer}Content-Length: {1 << 30}\r\n\r\n".encode())
        assert b" 413 " in await reader.readline()
        writer.close()
        assert (await service.http.get("/v1/sessions/ann")).status_code == 404


async def test_a_reader_that_never_reads_is_cut_off_and_its_memory_is_bounded() -> None:
    async with running(slow_after=0.3) as service:
        _, writer = await connected(service)
        head = (
            "GET /v1/sessions/ann/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {service.token}\r\n\r\n"
        )
        writer.write(head.encode())
        await until(lambda: service.system.subscribers == 1)
        transport: Any = writer.transport
        transport.pause_reading()
        session = service.system.session("ann")
        while service.system.subscribers:
            for _ in range(20):
                await (await session.send("y" * 100_000)).outcome()
        writer.transport.abort()
        answer = await service.http.post("/v1/sessions/ann/messages?wait=20", json={"text": "x"})
        assert answer.status_code == 200


async def test_streams_that_break_off_and_come_again_leave_nothing_and_miss_nothing() -> None:
    async with running() as service:
        last, seen = 0, list[int]()
        for number in range(40):
            await service.http.post("/v1/sessions/ann/messages?wait=20", json={"text": str(number)})
            headers = {"Last-Event-ID": str(last)}
            async with service.http.sse("/v1/sessions/ann/events", headers=headers) as source:
                async for event in source:
                    last = int(event.id)
                    seen.append(last)
                    if len(seen) % 3 == number % 3:
                        break
        await until(lambda: service.system.subscribers == 0)
        assert seen == list(range(1, len(seen) + 1))


async def test_the_end_closes_streams_and_refuses_messages_before_it_accepts_them() -> None:
    async with running() as service:
        await service.http.post("/v1/sessions/ann/messages?wait=20", json={"text": "x"})
        async with service.http.sse("/v1/sessions/ann/events") as source:
            service.stop.set()
            events = [event async for event in source]
        assert [(e.event, json.loads(e.data)) for e in events] == [
            ("close", {"reason": "shutdown"})
        ]


async def test_the_end_waits_for_no_body_and_for_no_stream_that_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as service:
        reader, writer = await connected(service)
        head = (
            "POST /v1/sessions/ann/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {service.token}\r\n\r\n{{"
        )
        writer.write(head.encode())
        async with service.http.sse("/v1/sessions/ann/events") as source:
            service.stop.set()
            events = [event.event async for event in source]
        answer = await reader.read()
        assert b" 503 " in answer.partition(b"\r\n")[0]
        assert b"urn:wavebreak:problem:closing" in answer
        assert events == ["close"]
        writer.close()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_ten_times_what_may_be_at_work_is_refused_before_it_is_accepted() -> None:
    async with running(most_requests=20, rate=1e6, burst=1_000_000) as service:

        async def send(number: int) -> tuple[int, str]:
            body = {"text": str(number), "message_id": f"m{number}"}
            answer = await service.http.post(f"/v1/sessions/s{number % 7}/messages", json=body)
            return answer.status_code, f"m{number}"

        answers = [await send(0)]
        answers += await asyncio.gather(*(send(number) for number in range(1, 201)))
        assert {status for status, _ in answers} <= {202, 503}
        for status, name in answers:
            outcome = service.system.session(f"s{int(name[1:]) % 7}").outcome(name)
            if status == 202:
                assert (await outcome).status == "answered"
            else:
                with pytest.raises(UnknownMessage):
                    await outcome


async def test_a_port_that_is_taken_is_told() -> None:
    async with running() as service:
        second = ActorSystem(echo, journal=MemoryJournal())
        with pytest.raises(OSError, match="cannot be listened on"):
            await serve(second, ServiceSettings(port=service.port), stop=asyncio.Event())


async def test_a_system_that_ends_by_itself_ends_the_service_with_its_reason() -> None:
    system = ActorSystem(echo, journal=MemoryJournal())

    def started(_url: str, _token: str | None) -> None:
        system._root_ended("a test wants it")

    with pytest.raises(SystemFailed, match="mend that"):
        await serve(system, ServiceSettings(port=0), started=started, stop=asyncio.Event())


async def test_forwarded_addresses_count_from_named_proxies_only() -> None:
    for proxies, secure in (((), False), (("127.0.0.1",), True)):
        async with running(proxies=proxies) as service:
            answer = await service.http.post(
                "/v1/login",
                json={"token": service.token},
                headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"},
            )
            assert ("Secure" in answer.headers["set-cookie"]) is secure
