"""What is refused by the head of a request, and how what comes in is read."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import ActorSystem, MemoryJournal, Turn, tool
from wavebreak.service import new_token
from wavebreak.testing import gate

from .asking import Answer, Asking, Listening, access_of, serving, system_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SEND = "/v1/sessions/ann/messages"


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def searching(turn: Turn) -> str:
    return await turn.one(search(turn.text))


async def echo(turn: Turn) -> str:
    return f"echo {turn.text}"


async def status_without_body(ask: Asking, path: str, headers: Mapping[str, str]) -> int:
    """Ask with a head that promises a body, and with no body."""
    scope = ask._scope("POST", path, 0, {"content-length": "10", **headers}, {})
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive() -> Any:
        raise AssertionError("the body is read")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.set_result(message["status"])

    await ask.app(scope, receive, send)
    return await answered


async def test_the_body_of_a_stranger_is_not_read() -> None:
    async with serving(echo) as ask:
        stranger = ask.bearing(None)
        for path in (SEND, "/v1/sessions/ann/stop", "/v1/stop", "/chat/ann/send", "/v1/nothing"):
            assert await status_without_body(stranger, path, {}) == 401
            assert await status_without_body(ask.bearing("wb_wrong"), path, {}) == 401
        long = {"content-length": str(1 << 30)}
        assert await status_without_body(stranger, SEND, long) == 401
        assert await status_without_body(ask, SEND, long) == 413
        assert await status_without_body(stranger, "/v1/login", long) == 413


async def test_a_length_and_chunks_in_one_head_are_refused() -> None:
    async with serving(echo) as ask:
        assert await status_without_body(ask, SEND, {"transfer-encoding": "chunked"}) == 400


async def test_a_second_header_with_a_token_lets_nobody_in() -> None:
    async with serving(echo) as ask:
        scope = ask._scope("GET", "/v1/me", 0, {}, {})
        scope["headers"].append((b"authorization", b"Bearer x"))
        assert (await raw(ask, scope, b""))[0] == 401


async def test_more_requests_than_may_be_at_work_are_503_and_health_is_told_all_the_same() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching, most_requests=1) as ask:
            await ask.post(SEND, {"text": "x"})
            await at_search.reached()
            stopping = asyncio.create_task(ask.post("/v1/sessions/ann/stop"))
            await asyncio.sleep(0.1)
            body = {"text": "y", "message_id": "m2", "policy": {"kind": "enqueue"}}
            refused = await ask.post(SEND, body)
            assert refused.status == 503
            assert refused.json()["type"].endswith("overloaded")
            assert refused.headers["retry-after"] == "1"
            assert (await ask.get("/healthz")).status == 200
            assert (await ask.get("/readyz")).status == 200
            at_search.let_go()
            assert (await stopping).json()["outcome"] == "stopped"
            assert (await ask.get(f"{SEND}/m2")).status == 404, "it was not accepted"
            assert (await ask.post(SEND, body)).status == 202


async def test_who_waits_for_an_outcome_keeps_nobody_out() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching, most_requests=1) as ask:
            waiting: list[asyncio.Task[Answer]] = []
            for _ in range(3):
                asked = ask.post(SEND, {"text": "x", "message_id": "m1"}, wait=60)
                waiting.append(asyncio.create_task(asked))
                await at_search.reached()
                await asyncio.sleep(0.1)
            assert ask.app.state.service.waits == 3
            assert (await ask.get("/v1/sessions/ann")).status == 200
            at_search.let_go()
            assert [(await each).status for each in waiting] == [200] * 3
            assert ask.app.state.service.waits == 0


async def test_a_wait_ends_with_its_client() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "x", "message_id": "m1"})
            await at_search.reached()
            for method, path, body in (
                ("POST", SEND, {"text": "x", "message_id": "m1"}),
                ("GET", f"{SEND}/m1", None),
            ):
                heard = Listening()
                async with ask._asked(heard, method, path, body, None, {"wait": 300}):
                    await asyncio.sleep(0.1)
                    assert ask.app.state.service.waits == 1
                await asyncio.sleep(0)
                assert ask.app.state.service.waits == 0
            at_search.let_go()


async def test_more_than_may_wait_get_their_acceptance_at_once() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching, most_streams=1) as ask:
            first = asyncio.create_task(ask.post(SEND, {"text": "x", "message_id": "m1"}, wait=60))
            await at_search.reached()
            second = await ask.post(SEND, {"text": "x", "message_id": "m1"}, wait=60)
            assert second.status == 202
            at_search.let_go()
            assert (await first).status == 200


async def test_a_message_that_was_accepted_is_not_told_as_refused_by_what_comes_then() -> None:
    system = ActorSystem(searching, journal=MemoryJournal())
    with gate("search").holding(search) as at_search:
        async with serving(system) as ask:
            waiting = asyncio.create_task(ask.post(SEND, {"text": "x"}, wait=300))
            await at_search.reached()
            closing = asyncio.create_task(system.__aexit__(None, None, None))
            assert (await waiting).status in {200, 202}
            at_search.let_go()
            await closing


async def test_a_head_can_be_asked_for_without_its_body() -> None:
    async with serving(echo) as ask:
        await ask.post(SEND, {"text": "x"}, wait=9)
        for path in ("/healthz", "/v1/sessions/ann", "/"):
            assert (await ask.ask("HEAD", path)).status == 200
        assert (await ask.bearing(None).ask("HEAD", "/v1/sessions/ann")).status == 401
        assert (await ask.ask("HEAD", "/v1/sessions/ann/events")).status == 405


async def test_only_the_names_of_the_service_are_answered_if_they_are_said() -> None:
    async with serving(echo, hosts="bot.example, [::1],test") as ask:
        for host, status in (
            ("bot.example", 200),
            ("BOT.example:8765", 200),
            ("[::1]:8765", 200),
            ("[::1]", 200),
            ("evil.example", 421),
            ("bot.example.evil", 421),
            ("", 421),
        ):
            for path in ("/", "/v1/me", "/healthz"):
                answer = await ask.get(path, headers={"Host": host})
                assert answer.status == status, (host, path)
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.matrix(quick=2)
@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "x", "metadata": {"a": NaN}}',
        b'{"text": "x", "metadata": {"a": [-Infinity]}}',
        b'{"text": "x", "metadata": {"a": "\\ud800"}}',
        b'{"\\ud800": "x"}',
        b'{"text": "x", "metadata": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b"",
        b"\xff",
    ],
)
async def test_a_body_that_the_journal_could_not_give_back_is_refused(body: bytes) -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, body)
        assert answer.status == 422
        assert answer.json()["type"].endswith("invalid-request")
        assert (await ask.get("/v1/sessions/ann")).status == 404


async def test_numbers_that_are_words_in_a_text_are_none() -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": "NaN and Infinity"}, wait=9)
        assert answer.json()["outcome"]["reply"]["text"] == "echo NaN and Infinity"


async def test_a_body_of_another_kind_is_refused_as_a_form_of_a_foreign_page_has_it() -> None:
    async with serving(echo) as ask:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = await ask.post(SEND, {"text": "x"}, headers={"Content-Type": kind})
            assert answer.status == 422
        kind = "application/vnd.bot+json; charset=utf-8"
        assert (await ask.post(SEND, {"text": "x"}, headers={"Content-Type": kind})).status == 202


@pytest.mark.matrix(quick=2)
@pytest.mark.parametrize(
    ("params", "headers", "where"),
    [
        ({"wait": "nan"}, {}, "query.wait"),
        ({"wait": "-1"}, {}, "query.wait"),
        ({"tenant": "x" * 513}, {}, "query.tenant"),
        ({}, {"Idempotency-Key": ""}, "header.idempotency_key"),
        ({}, {"Last-Event-ID": "abc"}, "header.last_event_id"),
    ],
)
async def test_what_a_request_says_beside_its_body_is_looked_at_too(
    params: dict[str, str], headers: dict[str, str], where: str
) -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": "x"}, headers=headers, **params)
        assert answer.status == 422
        assert [wrong["where"] for wrong in answer.json()["errors"]] == [where]


async def test_a_name_is_itself_whatever_characters_it_has() -> None:
    async with serving(echo) as ask:
        for written, name in (
            ("%EE%80%80", "\ue000"),
            ("a%2fb%2Fc", "a/b/c"),
            ("..", ".."),
            ("%2E%2E%2F%2E%2E", "../.."),
            ("%252F", "%2F"),
            ("%00", "\0"),
            ("a%0D%0Ab", "a\r\nb"),
            ("%FF", "\ufffd"),
        ):
            scope = ask._scope("POST", f"/v1/sessions/{written}/messages", 12, {}, {})
            answer = await raw(ask, scope, b'{"text":"x"}')
            assert answer == (202, name)
        assert (await ask.get(f"/v1/sessions/{'x' * 513}")).status == 422


async def test_an_address_that_leads_nowhere_is_a_problem_and_leads_nowhere_else() -> None:
    async with serving(echo) as ask:
        for method, path, status in (
            ("GET", "/v1/sessions/", 404),
            ("GET", "/nothing", 404),
            ("POST", "/v1/sessions/messages", 405),
            ("POST", "/v1/sessions//messages", 404),
            ("PUT", "/v1/sessions", 405),
            ("GET", "/static/../access.py", 404),
        ):
            answer = await ask.ask(method, path, b"{}" if method == "POST" else None)
            assert answer.status == status, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status


async def test_a_body_may_come_in_pieces() -> None:
    async with serving(echo) as ask:
        scope = ask._scope("POST", SEND, 0, {}, {})
        pieces = [bytes([byte]) for byte in b'{"text":"x"}']
        statuses: list[int] = []

        async def receive() -> Any:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        await ask.app(scope, receive, send)
        assert statuses[0] == 202


async def raw(ask: Asking, scope: dict[str, Any], body: bytes) -> tuple[int, str]:
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    await ask.app(scope, receive, send)
    return told[0]["status"], str(json.loads(told[1]["body"]).get("session_id"))


async def test_it_works_below_another_application() -> None:
    async with serving(echo) as ask:
        scope = ask._scope("POST", "/bots/v1/sessions/ann/messages", 12, {}, {})
        assert await raw(ask, scope | {"root_path": "/bots"}, b'{"text":"x"}') == (202, "ann")


async def test_a_token_of_the_program_and_one_of_the_same_name_are_two() -> None:
    async with serving(echo, rate=0.001, burst=2) as ask:
        pairs = [new_token("twin"), new_token("twin")]
        access_of(ask).replace([rule for _, rule in pairs])
        for token, _ in pairs:
            statuses = [(await ask.bearing(token).get("/v1/me")).status for _ in range(3)]
            assert statuses == [200, 200, 429]
    assert system_of(ask).subscribers == 0


async def test_one_who_knocks_all_the_time_keeps_nobody_else_out() -> None:
    async with serving(echo, rate=0.001, burst=2) as ask:

        async def knock(address: str) -> int:
            scope = ask._scope("POST", "/v1/login", 13, {}, {})
            scope["client"] = (address, 1)
            statuses: list[int] = []

            async def receive() -> Any:
                return {"type": "http.request", "body": b'{"token":"x"}', "more_body": False}

            async def send(message: Any) -> None:
                statuses.append(message.get("status", 0))

            await ask.app(scope, receive, send)
            return statuses[0]

        assert [await knock("192.0.2.1") for _ in range(3)] == [401, 401, 429]
        assert await knock("192.0.2.2") == 401


async def test_a_foreign_page_logs_nobody_in_or_out() -> None:
    async with serving(echo) as ask:
        foreign = {"Sec-Fetch-Site": "cross-site"}
        login = await ask.post("/v1/login", {"token": ask.token}, headers=foreign)
        assert login.status == 403
        assert "set-cookie" not in login.headers
        assert (await ask.post("/v1/logout", headers=foreign)).status == 403
        same_site = {"Sec-Fetch-Site": "same-site", "Origin": "http://test:9"}
        assert (await ask.post("/v1/logout", headers=same_site)).status == 403
        assert (await ask.post("/v1/logout", headers={"Origin": "null"})).status == 403
