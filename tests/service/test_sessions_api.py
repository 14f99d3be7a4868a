from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from wavebreak import Turn, tool
from wavebreak.messages.ids import SessionKey
from wavebreak.service import Scope, new_token
from wavebreak.testing import gate

from .asking import access_of, serving, system_of


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def searching(turn: Turn) -> str:
    turn.delta("looking")
    turn.say("one moment")
    found = await turn.one(search(turn.messages[0].as_text()))
    return f"{found} for {turn.text}"


SEND = "/v1/sessions/ann/messages"


async def test_a_session_is_shown_while_it_works_and_when_it_rests() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            assert (await ask.get("/v1/sessions/ann")).status == 404
            await ask.post(SEND, {"text": "rome", "message_id": "m1", "sender": "Ann"})
            await at_search.reached()
            shown = (await ask.get("/v1/sessions/ann")).json()
            assert (shown["status"], shown["turn"], shown["wave"]) == ("running", 1, 1)
            assert shown["preview"] == "looking"
            (running,) = shown["running"]
            assert running["message"]["sender"] == "Ann"
            at_search.let_go()
            await ask.get(f"{SEND}/m1", wait=9)
            shown = (await ask.get("/v1/sessions/ann")).json()
            assert (shown["status"], shown["running"], shown["preview"]) == ("idle", [], "")


async def test_looking_at_what_is_not_there_makes_no_session() -> None:
    async with serving(searching) as ask:
        for path in ("", "/turns/1", "/messages/m1"):
            assert (await ask.get(f"/v1/sessions/nobody{path}")).status == 404
        assert (await ask.post("/v1/sessions/nobody/stop")).status == 404
        assert (await ask.post("/chat/nobody/cancel_send_task")).status == 200
        assert (await ask.get("/v1/sessions")).json()["sessions"] == []


async def test_sessions_are_listed_page_by_page() -> None:
    async with serving(searching) as ask:
        for name in ("c", "a.1", "b/2"):
            await system_of(ask).session(name).send("hello")
        first = (await ask.get("/v1/sessions", limit=2)).json()
        assert [each["session_id"] for each in first["sessions"]] == ["a.1", "b/2"]
        second = (await ask.get("/v1/sessions", limit=2, after=first["next"])).json()
        assert [each["session_id"] for each in second["sessions"]] == ["c"]
        assert second["next"] is None


async def test_only_those_that_run_are_listed_if_so_wished() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "x"})
            await ask.post("/v1/sessions/bob/messages", {"text": "y"}, tenant="other")
            await at_search.reached()
            listed = (await ask.get("/v1/sessions", running=True)).json()["sessions"]
            assert [(each["session_id"], each["status"]) for each in listed] == [("ann", "running")]
            everyone = (await ask.get("/v1/sessions", running=True, tenant="*")).json()["sessions"]
            assert [each["session_id"] for each in everyone] == ["ann", "bob"]
            at_search.let_go()


async def test_a_turn_is_shown_with_its_ledger_and_what_it_left() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "rome", "message_id": "m1"})
            await at_search.reached()
            turn = (await ask.get("/v1/sessions/ann/turns/1")).json()
            assert (turn["outcome"], turn["preview"]) == (None, "looking")
            assert [(call["tool"], call["status"]) for call in turn["calls"]] == [("search", None)]
            await ask.post(SEND, {"text": "with breakfast", "message_id": "m2"})
            await asyncio.sleep(0.01)
            at_search.let_go()
            await ask.get(f"{SEND}/m2", wait=9)
            first = (await ask.get("/v1/sessions/ann/turns/1")).json()
            assert (first["outcome"], first["reason"]) == ("interrupted", "superseded")
            assert first["said"] == ["one moment"]
            assert [each["tool"] for each in first["partial_results"]["calls"]] == ["search"]
            second = (await ask.get("/v1/sessions/ann/turns/2")).json()
            assert second["message_ids"] == ["m1", "m2"]
            assert second["reply"]["text"].startswith("found rome")
            (call,) = second["calls"]
            assert call["answered_from"] == first["calls"][0]["call_id"]


async def test_history_has_what_was_said_in_order() -> None:
    async with serving(searching) as ask:
        await ask.post(SEND, {"text": "rome"}, wait=9)
        entries = (await ask.get("/v1/sessions/ann/history")).json()["entries"]
        assert [e["kind"] for e in entries] == ["message", "said", "call", "result", "reply"]
        system_of(ask).sweep()
        await asyncio.sleep(0.1)
        resting = (await ask.get("/v1/sessions/ann/history")).json()["entries"]
        assert resting == entries


async def test_a_stop_ends_the_turn_and_says_how() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "rome", "message_id": "m1"})
            await at_search.reached()
            body = {"how": {"kind": "now"}, "backlog": "drop", "reason": "enough"}
            stopped = await ask.post("/v1/sessions/ann/stop", body)
            assert stopped.json() == {
                "tenant": "",
                "session_id": "ann",
                "turn": 1,
                "outcome": "stopped",
            }
            assert (await ask.get(f"{SEND}/m1")).json()["status"] == "cancelled"
            again = await ask.post("/v1/sessions/ann/stop")
            assert (again.status, again.json()["turn"]) == (200, None)


async def test_many_are_stopped_by_what_they_have_in_common() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            for name in ("web-1", "web-2", "bot-1"):
                await ask.post(f"/v1/sessions/{name}/messages", {"text": "x"})
            await ask.post("/v1/sessions/web-3/messages", {"text": "x"}, tenant="other")
            await at_search.reached()
            now = {"how": {"kind": "now"}}
            assert (await ask.post("/v1/stop", {**now, "older_than": 3600})).json() == {
                "stopped": []
            }
            some = await ask.post("/v1/stop", {**now, "prefix": "web-"})
            assert [each["session_id"] for each in some.json()["stopped"]] == ["web-1", "web-2"]
            named = await ask.post("/v1/stop", {**now, "session_ids": ["bot-1", "web-1"]})
            assert [each["session_id"] for each in named.json()["stopped"]] == ["bot-1"]
            rest = await ask.post("/v1/stop", now, tenant="*")
            assert [each["tenant"] for each in rest.json()["stopped"]] == ["other"]


async def test_the_token_says_what_it_allows() -> None:
    async with serving(searching) as ask:
        assert (await ask.get("/v1/me")).json() == {
            "name": "test",
            "scopes": ["admin"],
            "tenants": ["*"],
        }


async def test_a_session_may_have_any_name() -> None:
    async with serving(searching) as ask:
        for name in ("telegram/12", "a b", "100%", "%2F", "ä/ö?#", "events"):
            path = f"/v1/sessions/{quote(name, safe='')}"
            sent = await ask.post(f"{path}/messages", {"text": "x"}, wait=9)
            assert sent.json()["session_id"] == name
            assert (await ask.get(path)).json()["session_id"] == name


async def test_the_tree_names_sessions_only_to_whom_all_tenants_are_open() -> None:
    async with serving(searching) as ask:
        await ask.post(SEND, {"text": "x"}, wait=9)
        shown = (await ask.get("/v1/tree", limit=10)).body.decode()
        assert '"sessions"' in shown
        assert '"ann"' in shown
        token, rule = new_token("some", [Scope.ADMIN], ["acme"])
        access_of(ask).replace([rule])
        hidden = (await ask.bearing(token).get("/v1/tree", limit=10)).body.decode()
        assert '"sessions"' in hidden
        assert '"ann"' not in hidden


async def test_a_session_that_rests_is_shown_without_being_started() -> None:
    async with serving(searching) as ask:
        await ask.post(SEND, {"text": "rome", "message_id": "m1"}, wait=9)
        system = system_of(ask)
        assert system.sweep() == [SessionKey("", "ann")]
        await asyncio.sleep(0.1)
        assert system.view("ann") is None
        shown = (await ask.get("/v1/sessions/ann")).json()
        assert (shown["status"], shown["turn"]) == ("resting", 1)
        assert (await ask.get("/v1/sessions")).json()["sessions"][0]["status"] == "resting"
        assert (await ask.get(f"{SEND}/m1")).json()["status"] == "answered"
        assert (await ask.get("/v1/sessions/ann/turns/1")).json()["outcome"] == "finished"
        assert (await ask.post("/v1/sessions/ann/stop")).json()["turn"] is None
        assert system.view("ann") is None
        async with ask.listening("/v1/sessions/ann/events", after=2) as heard:
            await heard.until("message_ended")
            assert system.view("ann") is None
            again = await ask.post(SEND, {"text": "more"}, wait=9)
            assert again.json()["outcome"]["turn"] == 2
            told = await heard.until("message_ended")
            assert "session_opened" in [event.kind for event in told]


async def test_a_session_is_forgotten_and_one_of_its_name_begins_anew() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask, ask.listening("/v1/sessions/ann/events") as heard:
            await ask.post(SEND, {"text": "a secret", "message_id": "m1"})
            await at_search.reached()
            await ask.post(SEND, {"text": "b", "message_id": "m2", "policy": {"kind": "enqueue"}})
            gone = await ask.ask("DELETE", "/v1/sessions/ann", grace=1)
            assert gone.status == 200
            assert gone.json() == {
                "tenant": "",
                "session_id": "ann",
                "turn": 1,
                "message_ids": ["m1", "m2"],
            }
            told = await heard.until("session_deleted")
            assert [event.kind for event in told].count("message_ended") == 2
            for path in ("", "/turns/1", "/messages/m1"):
                assert (await ask.get(f"/v1/sessions/ann{path}")).status == 404
            assert (await ask.get("/v1/sessions")).json()["sessions"] == []
            assert (await ask.ask("DELETE", "/v1/sessions/ann")).status == 404
            at_search.let_go()
            again = await ask.post(SEND, {"text": "anew", "message_id": "m1"}, wait=9)
            assert (again.json()["duplicate"], again.json()["outcome"]["turn"]) == (False, 1)
            events = [*told, *await heard.until("message_ended")]
            assert "gap" not in [event.kind for event in events]
            ids = [int(event.id) for event in events if event.id]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            async with ask.listening("/v1/sessions/ann/events", after=0) as newcomer:
                first = await newcomer.next()
                assert first is not None
                assert first.kind == "session_opened", "nothing that was erased is missed"


@pytest.mark.parametrize("grace", ["-1", "nan", "1e9"])
async def test_a_grace_that_cannot_be_used_forgets_nothing(grace: str) -> None:
    async with serving(searching) as ask:
        await ask.post(SEND, {"text": "x"}, wait=9)
        assert (await ask.ask("DELETE", "/v1/sessions/ann", grace=grace)).status == 422
        assert (await ask.get("/v1/sessions/ann")).status == 200
