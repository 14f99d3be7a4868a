from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wavebreak import ActorSystem, Enqueue, Session, SessionKey, Turn, tool
from wavebreak.testing import gate

from .asking import serving, system_of


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def searching(turn: Turn) -> str:
    return await turn.one(search(turn.text))


HELLO = [{"type": "text", "text": "hello"}]


async def test_a_message_of_parts_is_a_task_that_can_be_cancelled() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            sent = (
                await ask.post("/chat/log1/send", [*HELLO, {"type": "text", "text": "you"}])
            ).json()
            assert sent["status"] == "ok"
            await at_search.reached()
            view = await system_of(ask).session("log1").look()
            assert view.state.running is not None
            assert view.state.running.messages[0].message.as_text() == "hello\nyou"
            other = await ask.post("/chat/log1/nonsense/cancel")
            assert other.status == 404
            answer = await ask.post(f"/chat/log1/{sent['task_id']}/cancel")
            assert answer.json() == {"status": "ok", "message": "Task cancelled successfully"}
            assert system_of(ask).active_turns() == {}


async def test_active_tasks_are_listed_by_log() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            for log in ("log1", "log2"):
                await ask.post(f"/chat/{log}/send", HELLO)
            await at_search.reached()
            every = (await ask.get("/chat/active_send_tasks")).json()
            assert every["status"] == "ok"
            assert set(every["active_tasks"]) == {"log1", "log2"}
            one = (await ask.get("/chat/log2/active_tasks")).json()["active_tasks"]
            assert one == {"log2": every["active_tasks"]["log2"]}
            assert one["log2"]["active"] is True
            assert one["log2"]["created_at"] > 0
            at_search.let_go()
            await asyncio.sleep(1)
            empty: Any = {"status": "ok", "active_tasks": {}}
            assert (await ask.get("/chat/active_send_tasks")).json() == empty
            assert (await ask.get("/chat/log1/active_tasks")).json() == empty


async def test_a_cancel_ends_every_stream_of_the_session_after_its_terminal_event() -> None:
    with gate("search").holding(search) as at_search:
        async with (
            serving(searching) as ask,
            ask.listening("/chat/log1/events") as one,
            ask.listening("/chat/log1/events") as two,
            ask.listening("/chat/log2/events") as other,
        ):
            await ask.post("/chat/log1/send", HELLO)
            await at_search.reached()
            answer = await ask.post("/chat/log1/cancel_send_task")
            assert answer.json() == {"status": "cancelled", "log_id": "log1"}
            for heard in (one, two):
                events = await heard.rest()
                kinds = [event.kind for event in events]
                assert kinds.count("turn_ended") == 1
                assert kinds[-2:] == ["turn_ended", "close"]
                assert events[-1].data == "Task cancelled"
            assert other.chunks.qsize() == 0
            nothing = await ask.post("/chat/log1/cancel_send_task")
            assert nothing.json() == {"status": "error", "message": "No active task found"}
    assert system_of(ask).subscribers == 0


async def test_a_turn_that_finishes_closes_no_stream() -> None:
    async with serving(searching) as ask, ask.listening("/chat/log1/events") as heard:
        for _ in range(2):
            await ask.post("/chat/log1/send", HELLO)
            events = await heard.until("message_ended")
            assert events[-2].json()["reply"]["text"] == "found hello"


async def test_a_task_that_waits_is_cancelled_alone() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(ActorSystem(searching, policy=Enqueue())) as ask:
            await ask.post("/chat/log1/send", HELLO)
            await at_search.reached()
            second = (await ask.post("/chat/log1/send", HELLO)).json()["task_id"]
            assert (await ask.post(f"/chat/log1/{second}/cancel")).status == 200
            assert len(system_of(ask).active_turns()) == 1
            assert (await ask.post(f"/chat/log1/{second}/cancel")).status == 404
            at_search.let_go()


async def test_a_task_that_ends_while_it_is_cancelled_takes_no_other_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with gate("search").holding(search) as at_search:
        async with serving(ActorSystem(searching, policy=Enqueue())) as ask:
            first = (await ask.post("/chat/log1/send", HELLO)).json()["task_id"]
            await at_search.reached()
            second = (await ask.post("/chat/log1/send", HELLO)).json()["task_id"]
            system, withdraw = system_of(ask), Session.withdraw

            async def and_then_it_ends(session: Session, message_id: str) -> Any:
                withdrawn = await withdraw(session, message_id)
                at_search.let_go(1)
                await session.outcome(first)
                await at_search.reached(2)
                return withdrawn

            monkeypatch.setattr(Session, "withdraw", and_then_it_ends)
            assert (await ask.post(f"/chat/log1/{first}/cancel")).status == 404
            assert system.active_turns()[SessionKey("", "log1")].active
            at_search.let_go()
            outcome = await system.session("log1").outcome(second)
            assert outcome.status == "answered"


async def test_cleaning_up_lets_go_of_what_is_complete_and_of_nothing_else() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post("/chat/log1/send", HELLO)
            await at_search.reached()
            path = "/chat/cleanup_completed_tasks"
            assert (await ask.post(path)).json() == {"status": "ok", "cleaned_up": []}
            at_search.let_go()
            await asyncio.sleep(1)
            assert (await ask.post(path)).json() == {"status": "ok", "cleaned_up": ["log1"]}
            assert (await ask.post(path)).json() == {"status": "ok", "cleaned_up": []}


async def test_the_chat_routes_can_be_left_out() -> None:
    async with serving(searching, chat_routes=False, page=False) as ask:
        assert (await ask.post("/chat/log1/send", HELLO)).status == 404
        assert (await ask.get("/")).status == 404
