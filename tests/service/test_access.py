from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from wavebreak import InvalidSetting, Turn
from wavebreak.service import Access, Scope, ServiceSettings, TokenRule, new_token
from wavebreak.service.access import hash_of, read_rules, write_rules
from wavebreak.service.server import access_for

from .asking import Asking, access_of, serving, system_of

if TYPE_CHECKING:
    from pathlib import Path


async def echo(turn: Turn) -> str:
    return f"echo {turn.text}"


ROUTES: list[tuple[str, str, Any, str]] = [
    ("GET", "/v1/sessions", None, "read"),
    ("GET", "/v1/sessions/ann", None, "read"),
    ("GET", "/v1/sessions/ann/history", None, "read"),
    ("GET", "/v1/sessions/ann/turns/1", None, "read"),
    ("GET", "/v1/sessions/ann/events", None, "read"),
    ("GET", "/v1/sessions/ann/messages/m1", None, "read"),
    ("GET", "/v1/events", None, "read"),
    ("POST", "/v1/sessions/ann/messages", {"text": "hello"}, "send"),
    ("PATCH", "/v1/sessions/ann/messages/m1", {"text": "hello"}, "send"),
    ("DELETE", "/v1/sessions/ann/messages/m1", None, "send"),
    ("POST", "/v1/sessions/ann/stop", {}, "stop"),
    ("POST", "/v1/sessions/ann/resume", None, "stop"),
    ("POST", "/v1/stop", {}, "stop"),
    ("GET", "/v1/tree", None, "admin"),
    ("DELETE", "/v1/sessions/ann", None, "admin"),
    ("POST", "/chat/ann/send", [{"type": "text", "text": "hello"}], "send"),
    ("GET", "/chat/ann/events", None, "read"),
    ("POST", "/chat/ann/m1/cancel", None, "stop"),
    ("POST", "/chat/ann/cancel_send_task", None, "stop"),
    ("GET", "/chat/ann/active_tasks", None, "read"),
    ("GET", "/chat/active_send_tasks", None, "read"),
    ("POST", "/chat/cleanup_completed_tasks", None, "stop"),
]
FREE = {"/healthz", "/readyz", "/v1/me", "/v1/login", "/v1/logout"}


async def status_of(ask: Asking, method: str, path: str, body: Any, **params: Any) -> int:
    if path.endswith("events"):
        async with ask.listening(path, **params) as heard:
            return heard.status
    return (await ask.ask(method, path, body, **params)).status


def routes_of(ask: Asking) -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, methods in ask.app.openapi()["paths"].items()
        for method in methods
        if path not in FREE
    }


async def test_every_route_is_in_the_matrix() -> None:
    async with serving(echo) as ask:
        written = {
            (
                method,
                path.replace("/ann", "/{session_id}" if path.startswith("/v1") else "/{log_id}")
                .replace("/turns/1", "/turns/{number}")
                .replace("/messages/m1", "/messages/{message_id}")
                .replace("/m1/", "/{task_id}/"),
            )
            for method, path, _, _ in ROUTES
        }
        assert routes_of(ask) == written


@pytest.mark.matrix(quick=5)
@pytest.mark.parametrize(("method", "path", "body", "scope"), ROUTES)
async def test_a_route_lets_in_whoever_has_its_scope_and_nobody_else(
    method: str, path: str, body: Any, scope: str
) -> None:
    async with serving(echo) as ask:
        await ask.post("/v1/sessions/ann/messages", {"text": "x", "message_id": "m1"}, wait=5)
        access = access_of(ask)
        for has in Scope:
            token, rule = new_token(has, [has])
            access.replace([rule])
            status = await status_of(ask.bearing(token), method, path, body)
            let_in = has in {scope, "admin"}
            assert (status == 403) is not let_in, (has, status)
            assert status != 401
            if path == "/v1/tree":
                continue  # it is of no tenant
            foreign = await status_of(ask.bearing(token), method, path, body, tenant="other")
            assert foreign == (404 if let_in else 403)
        for wrong in (None, "wb_wrong"):
            assert await status_of(ask.bearing(wrong), method, path, body) == 401


async def test_another_tenants_session_is_as_if_it_were_not_there() -> None:
    async with serving(echo) as ask:
        await ask.post("/v1/sessions/ann/messages", {"text": "x"}, tenant="theirs", wait=5)
        token, rule = new_token("ours", tenants=["ours"])
        access_of(ask).replace([rule])
        ours = ask.bearing(token)
        hidden = await ours.get("/v1/sessions/ann", tenant="theirs")
        absent = await ours.get("/v1/sessions/ann")
        assert (hidden.status, absent.status) == (404, 404)
        sent = await ours.post("/v1/sessions/ann/messages", {"text": "mine"}, wait=5)
        assert sent.json()["tenant"] == "ours"
        assert sent.json()["outcome"]["turn"] == 1
        listed = (await ours.get("/v1/sessions")).json()["sessions"]
        assert [(each["tenant"], each["session_id"]) for each in listed] == [("ours", "ann")]
        assert (await ours.get("/v1/sessions", tenant="*")).status == 404
        assert (await ours.get("/v1/stop")).status == 405


async def test_a_token_of_several_tenants_says_which_it_means() -> None:
    async with serving(echo) as ask:
        token, rule = new_token("two", tenants=["a", "b"])
        access_of(ask).replace([rule])
        asking = ask.bearing(token)
        assert (await asking.get("/v1/sessions")).status == 422
        assert (await asking.get("/v1/sessions", tenant="b")).status == 200


async def test_without_credentials_the_answer_says_what_is_wanted() -> None:
    async with serving(echo) as ask:
        answer = await ask.bearing(None).get("/v1/sessions")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_token_in_the_address_does_not_count() -> None:
    async with serving(echo) as ask:
        token = ask.token
        for name in ("token", "access_token", "api_key"):
            answer = await ask.bearing(None).get("/v1/sessions", **{name: token})
            assert answer.status == 401


async def test_more_requests_than_a_token_may_are_429() -> None:
    async with serving(echo, rate=0.001, burst=3) as ask:
        statuses = [(await ask.get("/v1/me")).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]


async def test_a_page_comes_in_by_a_cookie_that_scripts_cannot_read() -> None:
    async with serving(echo) as ask:
        nobody = ask.bearing(None)
        assert (await nobody.post("/v1/login", {"token": "wb_wrong"})).status == 401
        answer = await nobody.post("/v1/login", {"token": ask.token})
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict"):
            assert part in cookie
        headers = {"Cookie": cookie.partition(";")[0]}
        assert (await nobody.get("/v1/sessions", headers=headers)).status == 200
        send = "/v1/sessions/ann/messages"
        own = {**headers, "Sec-Fetch-Site": "same-origin", "Origin": "http://test"}
        assert (await nobody.post(send, {"text": "x"}, headers=own)).status == 202
        for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere"}):
            answer = await nobody.post(send, {"text": "x"}, headers={**headers, **foreign})
            assert answer.status == 403
        gone = await nobody.post("/v1/logout")
        assert gone.status == 204
        assert "Max-Age=0" in gone.headers["set-cookie"]


# Tokens.


def test_a_token_has_256_bits_and_only_its_hash_is_kept() -> None:
    token, rule = new_token("ann")
    assert len(token) >= 3 + 43
    assert rule.hash == hash_of(token)
    assert token not in rule.model_dump_json()
    assert new_token("ann")[0] != token


def test_a_token_is_compared_in_the_same_time_whether_it_is_known_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [new_token(str(number)) for number in range(5)]
    access = Access([rule for _, rule in pairs])
    compared: list[tuple[int, int]] = []

    def compare(ours: str, theirs: str) -> bool:
        compared.append((len(ours), len(theirs)))
        return ours == theirs

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert access.rule_of(pairs[3][0]) is pairs[3][1]
    assert access.rule_of(pairs[3][0][:-1]) is None
    assert access.rule_of("") is None
    assert compared == [(64, 64)] * 3


def test_a_token_that_is_taken_out_of_the_file_counts_no_more(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    (token, rule), (other, kept) = new_token("a"), new_token("b")
    write_rules(path, [rule, kept])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    access = Access(path=path)
    assert access.rule_of(token) == rule
    write_rules(path, [kept])
    assert access.rule_of(token) is None
    assert not access.counts(rule)
    assert access.rule_of(other) == kept
    path.write_text("spoilt")
    assert access.rule_of(other) is None
    path.unlink()
    assert access.rule_of(other) is None


def test_a_file_that_is_none_of_tokens_is_refused_without_being_shown(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with pytest.raises(InvalidSetting, match="wavebreak token new NAME"):
        read_rules(path)
    path.write_text('[{"name": "a", "hash": "secret"}]')
    with pytest.raises(InvalidSetting, match=r"0\.hash") as error:
        read_rules(path)
    assert "secret" not in str(error.value)


def test_a_rule_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValidationError):
        TokenRule(name="", hash="x")


def test_without_a_token_only_this_machine_may_connect() -> None:
    access, token = access_for(ServiceSettings())
    assert token is not None
    rule = access.rule_of(token)
    assert rule is not None
    assert rule.allows(Scope.ADMIN)
    assert access_for(ServiceSettings(host="::1"))[1] is not None
    for host in ("0.0.0.0", "192.0.2.1", "example.org"):  # noqa: S104
        with pytest.raises(InvalidSetting, match="no token is configured"):
            access_for(ServiceSettings(host=host))


def test_with_tokens_any_machine_may_connect_and_none_is_made_up(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write_rules(path, [new_token("a")[1]])
    settings = ServiceSettings(host="0.0.0.0", tokens=path)  # noqa: S104
    assert access_for(settings)[1] is None


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WAVEBREAK_PORT", "9000")
    monkeypatch.setitem(os.environ, "WAVEBREAK_PROXIES", '["10.0.0.1"]')
    settings = ServiceSettings()
    assert settings.port == 9000
    assert settings.proxies == ("10.0.0.1",)
    with pytest.raises(ValidationError):
        ServiceSettings(port=70_000)


async def test_nothing_of_a_message_or_a_token_is_logged() -> None:
    from loguru import logger  # noqa: PLC0415

    lines: list[str] = []
    sink = logger.add(lines.append, level=0, format="{message} {exception}")
    logger.enable("wavebreak")
    try:
        async with serving(echo) as ask:
            await ask.post("/v1/sessions/ann/messages", {"text": "a secret wish"}, wait=5)
            await ask.bearing("wb_guessed").get("/v1/sessions")
            assert system_of(ask).subscribers == 0
    finally:
        logger.disable("wavebreak")
        logger.remove(sink)
    text = "".join(lines)
    for secret in ("secret wish", "wb_guessed", ask.token or "wb_"):
        assert secret not in text
