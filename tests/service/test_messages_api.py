from __future__ import annotations

import asyncio
import errno
import time
from datetime import UTC, datetime

import pytest

from wavebreak import ActorSystem, MemoryJournal, Turn, tool
from wavebreak.messages.errors import AcceptanceUnknown, JournalBusy, JournalFull, MailboxFull
from wavebreak.messages.events import Event, MessageEnded, TurnStarted
from wavebreak.messages.reasons import MessageStatus
from wavebreak.service.message_stream import Part
from wavebreak.testing import gate

from .asking import Asking, serving, system_of, told_in


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def echo(turn: Turn) -> str:
    turn.delta("echo ")
    return f"echo {turn.text}"


async def searching(turn: Turn) -> str:
    return await turn.one(search(turn.text))


SEND = "/v1/sessions/ann/messages"


async def test_a_message_is_accepted_with_an_id_and_can_be_asked_for() -> None:
    async with serving(echo) as ask:
        sent = await ask.post(SEND, {"text": "hello"})
        assert sent.status == 202
        message = sent.json()
        assert (message["tenant"], message["session_id"]) == ("", "ann")
        assert message["duplicate"] is False
        path = f"{SEND}/{message['message_id']}"
        answer = await ask.get(path, wait=5)
        assert answer.status == 200
        assert answer.json()["reply"]["text"] == "echo hello"


async def test_waiting_gives_the_outcome() -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": "hello"}, wait=5)
        assert answer.status == 200
        assert answer.json()["outcome"]["status"] == "answered"
        assert answer.json()["outcome"]["turn"] == 1


async def test_waiting_in_vain_is_an_acceptance_all_the_same() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            answer = await ask.post(SEND, {"text": "hello", "message_id": "m1"}, wait=5)
            assert answer.status == 202
            assert "outcome" not in answer.json()
            assert (await ask.get(f"{SEND}/m1")).status == 202
            at_search.let_go()
            assert (await ask.get(f"{SEND}/m1", wait=5)).status == 200


@pytest.mark.parametrize("by_header", [True, False])
async def test_the_same_key_again_is_the_same_message_and_another_body_is_refused(
    by_header: bool,
) -> None:
    def asked(text: str) -> dict[str, object]:
        return {"text": text} if by_header else {"text": text, "message_id": "k1"}

    headers = {"Idempotency-Key": "k1"} if by_header else {}
    async with serving(echo) as ask:
        first = await ask.post(SEND, asked("hello"), headers=headers)
        again = await ask.post(SEND, asked("hello"), headers=headers, wait=5)
        assert first.json()["message_id"] == again.json()["message_id"] == "k1"
        assert again.json()["duplicate"] is True
        assert again.json()["outcome"]["turn"] == 1
        other = await ask.post(SEND, asked("something else"), headers=headers)
        assert other.status == 422
        assert other.json()["type"] == "urn:wavebreak:problem:message-id-reused"
        assert other.headers["content-type"] == "application/problem+json"


async def test_two_different_keys_for_one_message_are_refused() -> None:
    async with serving(echo) as ask:
        body = {"text": "hello", "message_id": "m1"}
        answer = await ask.post(SEND, body, headers={"Idempotency-Key": "m2"})
        assert answer.status == 422
        assert "differ" in answer.json()["detail"]


async def test_policy_and_deadline_belong_to_the_message() -> None:
    with gate("search").holding(search):
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "a", "message_id": "m1"})
            body = {"text": "b", "policy": {"kind": "enqueue"}, "deadline": 60}
            assert (await ask.post(SEND, body)).status == 202
            (waiting,) = (await ask.get("/v1/sessions/ann")).json()["queue"]
            assert waiting["policy"] == {"kind": "enqueue"}
            assert waiting["deadline_at"] > 0
            await ask.post("/v1/sessions/ann/stop", {"how": {"kind": "now"}, "backlog": "drop"})


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"text": 5}, "body.text"),
        ({"text": "a", "policy": {"kind": "no such"}}, "body.policy"),
        ({"text": "a", "deadline": 0}, "body.deadline"),
        ({"text": "a", "typo": 1}, "body.typo"),
        ({"text": "a", "attachments": [{"mime": "a/b"}]}, "body.attachments.0"),
        ("no object", "body"),
    ],
)
async def test_what_cannot_be_used_is_named(body: object, where: str) -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, body)
        assert answer.status == 422
        assert [wrong["where"] for wrong in answer.json()["errors"]] == [where]


async def test_nothing_to_say_is_refused_and_makes_no_session() -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": "  "})
        assert answer.status == 422
        assert answer.json()["type"].endswith("invalid-message")
        assert (await ask.get("/v1/sessions/ann")).status == 404


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, b"{")
        assert answer.status == 422
        assert answer.json()["type"].endswith("invalid-request")


async def test_a_body_that_is_too_large_is_413_before_it_is_read() -> None:
    async with serving(echo, max_body=100) as ask:
        answer = await ask.post(SEND, {"text": "x" * 200})
        assert answer.status == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await ask.get("/v1/sessions/ann")).status == 404


async def test_a_message_for_later_is_accepted_now_and_answered_when_its_time_has_come() -> None:
    async with serving(echo) as ask:
        due = time.time() + 3600
        at = datetime.fromtimestamp(due, UTC).isoformat()
        for name, when in (("m1", at), ("m2", due + 60), ("m3", due + 120)):
            sent = await ask.post(SEND, {"text": name, "message_id": name, "at": when})
            assert (sent.status, sent.json()["duplicate"]) == (202, False)
        assert (await ask.post(SEND, {"text": "m1", "message_id": "m1", "at": at})).json()[
            "duplicate"
        ]
        shown = (await ask.get("/v1/sessions/ann")).json()["scheduled"]
        assert [each["message"]["message_id"] for each in shown] == ["m1", "m2", "m3"]
        assert shown[0]["due_at"] == pytest.approx(due, abs=0.001)
        assert (await ask.get(f"{SEND}/m1")).status == 202
        assert (await ask.ask("PATCH", f"{SEND}/m2", {"text": "other"})).json() == {"done": True}
        assert (await ask.ask("DELETE", f"{SEND}/m3")).json() == {"done": True}
        headers = {"Accept": "text/event-stream"}
        body = {"text": "m2", "message_id": "m2", "at": due + 60}
        async with ask.listening(SEND, method="POST", body=body, headers=headers) as heard:
            kinds = [event.kind for event in await heard.rest()]
        assert kinds[:3] == ["message_accepted", "message_edited", "message_due"]
        assert kinds[-3:] == ["turn_ended", "message_ended", "outcome"]
        assert (await ask.get(f"{SEND}/m1")).json()["reply"]["text"] == "echo m1"
        assert (await ask.get(f"{SEND}/m2")).json()["reply"]["text"] == "echo other"
        assert (await ask.get(f"{SEND}/m3")).json()["status"] == "cancelled"


@pytest.mark.parametrize("at", ["tomorrow", "2030-01-01T00:00:00", 1e300, True])
async def test_a_time_that_is_none_is_refused(at: object) -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": "x", "at": at})
        assert answer.status == 422
        assert [wrong["where"] for wrong in answer.json()["errors"]] == ["body.at"]


# What is refused, is refused before it is accepted.


async def test_more_than_may_wait_is_429_and_says_when_to_try_again() -> None:
    system = ActorSystem(searching, journal=MemoryJournal(), capacity=1)
    with gate("search").holding(search) as at_search:
        async with serving(system) as ask:
            await ask.post(SEND, {"text": "a"})
            await at_search.reached()
            waits = {"text": "b", "message_id": "m1", "policy": {"kind": "enqueue"}}
            assert (await ask.post(SEND, waits)).status == 202
            refused = {**waits, "message_id": "m2"}
            answer = await ask.post(SEND, refused)
            assert answer.status == 429
            assert answer.headers["retry-after"] == "1"
            at_search.let_go()
            await ask.get(f"{SEND}/m1", wait=9)
            assert (await ask.post(SEND, refused)).status == 202


async def test_a_message_that_is_to_be_refused_while_a_turn_runs_is_409() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "a"})
            await at_search.reached()
            answer = await ask.post(SEND, {"text": "b", "policy": {"kind": "reject"}})
            assert (answer.status, answer.json()["type"]) == (409, "urn:wavebreak:problem:rejected")
            at_search.let_go()


async def test_a_message_that_waits_can_be_changed_and_taken_back() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "a", "message_id": "m1"})
            await at_search.reached()
            for name in ("m2", "m3"):
                body = {"text": name, "message_id": name, "policy": {"kind": "enqueue"}}
                await ask.post(SEND, body)
            edited = await ask.ask("PATCH", f"{SEND}/m2", {"text": "other words"})
            assert (edited.status, edited.json()) == (200, {"done": True})
            assert (await ask.ask("DELETE", f"{SEND}/m3")).json() == {"done": True}
            late = await ask.ask("PATCH", f"{SEND}/m1", {"text": "too late"})
            assert (late.status, late.json()) == (409, {"done": False, "turn": 1})
            assert (await ask.ask("DELETE", f"{SEND}/m9")).status == 404
            at_search.let_go()
            outcome = (await ask.get(f"{SEND}/m2", wait=9)).json()
            assert outcome["reply"]["text"] == "found other words"
            assert (await ask.get(f"{SEND}/m3")).json()["status"] == "cancelled"
            gone = await ask.ask("DELETE", f"{SEND}/m2")
            assert gone.status == 409
            assert gone.json()["outcome"]["status"] == "answered"


async def test_what_a_stop_has_parked_goes_on_when_it_is_resumed() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "a"})
            await at_search.reached()
            body = {"text": "b", "message_id": "m2", "policy": {"kind": "enqueue"}}
            await ask.post(SEND, body)
            await ask.post("/v1/sessions/ann/stop", {"how": {"kind": "now"}, "backlog": "park"})
            at_search.let_go()
            (parked,) = (await ask.get("/v1/sessions/ann")).json()["parked"]
            assert parked["message"]["message_id"] == "m2"
            assert (await ask.post("/v1/sessions/ann/resume")).status == 204
            assert (await ask.get(f"{SEND}/m2", wait=9)).json()["status"] == "answered"
            assert (await ask.post("/v1/sessions/nobody/resume")).status == 404


async def test_while_the_service_ends_messages_are_refused_and_it_is_not_ready() -> None:
    async with serving(echo) as ask:
        assert (await ask.get("/readyz")).json() == {"status": "ok"}
        ask.app.state.service.draining = True
        answer = await ask.post(SEND, {"text": "hello"})
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert (await ask.get("/readyz")).status == 503
        assert (await ask.get("/healthz")).status == 200
        assert (await ask.get("/v1/sessions/ann")).status == 404


async def test_a_system_that_is_closed_is_503() -> None:
    async with serving(echo) as ask:
        pass
    assert (await ask.post(SEND, {"text": "hello"})).status == 503
    assert (await ask.get("/readyz")).status == 503


def test_errors_have_their_status() -> None:
    from wavebreak.service.problems import problem_of  # noqa: PLC0415

    full = problem_of(OSError(errno.ENOSPC, "no space"))
    assert full is not None
    assert full.status == 507
    for error, status in ((JournalFull("x"), 507), (JournalBusy("x"), 429)):
        problem = problem_of(error)
        assert problem is not None
        assert problem.status == status
    unknown = problem_of(AcceptanceUnknown("m1"))
    assert unknown is not None
    assert (unknown.status, unknown.kind) == (503, "acceptance-unknown")
    assert problem_of(ZeroDivisionError()) is None
    too_much = problem_of(MailboxFull("x"))
    assert too_much is not None
    assert too_much.status == 429


# One message as a stream.


async def streamed(ask: Asking, body: dict[str, object], last: str | None = None) -> list[str]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    answer = await ask.post(SEND, body, headers=headers)
    assert answer.status == 200
    return [event.kind for event in told_in(answer.body.decode())]


ALL = ["message_accepted", "turn_started", "delta", "turn_ended", "message_ended", "outcome"]


async def test_a_message_streams_its_events_up_to_its_outcome() -> None:
    async with serving(echo) as ask:
        assert await streamed(ask, {"text": "hello"}) == ALL
        assert await streamed(ask, {"text": "again", "message_id": "m2"}) == ALL
        assert system_of(ask).subscribers == 0


async def test_who_was_cut_off_sends_the_same_again_and_misses_nothing() -> None:
    async with serving(echo) as ask:
        await streamed(ask, {"text": "hello", "message_id": "m1"})
        journaled = [kind for kind in ALL if kind != "delta"]
        assert await streamed(ask, {"text": "hello", "message_id": "m1"}) == journaled
        later = await streamed(ask, {"text": "hello", "message_id": "m1"}, last="3")
        assert later == ["turn_ended", "message_ended", "outcome"]
        assert await streamed(ask, {"text": "hello", "message_id": "m1"}, last="5") == ["outcome"]


async def test_a_streamed_message_that_is_refused_leaves_nobody_subscribed() -> None:
    async with serving(echo) as ask:
        answer = await ask.post(SEND, {"text": " "}, headers={"Accept": "text/event-stream"})
        assert answer.status == 422
        assert system_of(ask).subscribers == 0
        assert ask.app.state.service.streams == 0


async def test_a_message_that_is_taken_along_by_the_next_turn_streams_both() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            headers = {"Accept": "text/event-stream"}
            body = {"text": "rome", "message_id": "m1"}
            async with ask.listening(SEND, method="POST", body=body, headers=headers) as heard:
                await heard.until("wave_started")
                await ask.post(SEND, {"text": "with breakfast"})
                await asyncio.sleep(0.01)
                at_search.let_go()
                events = await heard.rest()
            ended = [event.json()["outcome"] for event in events if event.kind == "turn_ended"]
            assert ended == ["interrupted", "finished"]
            assert [event.kind for event in events[-2:]] == ["message_ended", "outcome"]
            assert events[-1].json()["turn"] == 2


async def test_a_message_that_the_running_turn_takes_streams_what_that_does_with_it() -> None:
    async def steered(turn: Turn) -> str:
        await turn.one(search(turn.text))
        words = [message.as_text() for message in await turn.new_messages()]
        return await turn.one(search(" ".join(words)))

    with gate("search").holding(search) as at_search:
        async with serving(steered) as ask:
            await ask.post(SEND, {"text": "rome"})
            await at_search.reached()
            body = {"text": "by train", "message_id": "m2", "policy": {"kind": "steer"}}
            headers = {"Accept": "text/event-stream"}
            async with ask.listening(SEND, method="POST", body=body, headers=headers) as heard:
                await heard.until("message_accepted")
                at_search.let_go()
                events = await heard.rest()
            kinds = [event.kind for event in events]
            assert kinds[0] == "messages_taken"
            assert kinds[-3:] == ["turn_ended", "message_ended", "outcome"]
            assert "call_ended" in kinds
            assert events[-1].json()["reply"]["text"] == "found by train"


def test_events_of_other_messages_are_not_part_of_one() -> None:
    part = Part("m1")

    def started(turn: int, *names: str) -> Event:
        return TurnStarted(tenant="", session_id="ann", at=1.0, turn=turn, message_ids=names)

    def ended(name: str) -> Event:
        status = MessageStatus.ANSWERED
        return MessageEnded(
            tenant="", session_id="ann", at=1.0, turn=2, message_id=name, status=status
        )

    assert not part(started(1, "m0"))
    assert part(started(2, "m0", "m1"))
    assert not part(ended("m0"))
    assert part(ended("m1"))
