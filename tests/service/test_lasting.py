"""The service on a journal that lasts: a second start goes on where the first one was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from wavebreak import SqliteJournal, Turn
from wavebreak.messages.events import Event, Progressed, SessionOpened
from wavebreak.messages.ids import Fence, SessionKey

from .asking import Told, serving
from .processes import Served, served

if TYPE_CHECKING:
    from pathlib import Path

ANN = SessionKey("acme", "ann")


async def echo(turn: Turn) -> str:
    return f"echo {turn.text}"


def opened(position: int) -> Event:
    return SessionOpened(
        tenant="acme", session_id="ann", position=position, at=1.0, epoch=position, uid="u"
    )


@pytest.mark.real_time
async def test_an_sqlite_journal_can_be_looked_into(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    try:
        journal.append(ANN, [opened(1), opened(2), opened(3)])
        journal.append(ANN, [Progressed(4, 1.0, Fence(1, 1, 1), wave_done=1, wave=2)])
        journal.append(ANN, [opened(6)])
        journal.append(SessionKey("", "zoe"), [opened(1)])
        for after in range(8):
            events = await journal.events(ANN, after)
            assert [event.position for event in events] == list(range(after + 1, 7))
            few = await journal.events(ANN, after, limit=2)
            assert [event.position for event in few] == list(range(after + 1, 7))[:2]
        assert list(await journal.events(SessionKey("acme", "nobody"), 0)) == []
        assert len((await journal.peek(ANN)).entries) == 5
        assert list(await journal.sessions(None, None, 9)) == [SessionKey("", "zoe"), ANN]
        assert list(await journal.sessions("acme", None, 9)) == [ANN]
        assert list(await journal.sessions(None, SessionKey("", "zoe"), 1)) == [ANN]
        assert list(await journal.sessions("acme", ANN, 9)) == []
    finally:
        await journal.close()


def client(service: Served) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {service.token}"}
    return httpx2.Client(base_url=service.url, headers=headers, timeout=50)


def events_of(http: httpx2.Client, after: int, until: int) -> list[int]:
    """Read a stream up to a position."""
    ids: list[int] = []
    headers = {"Last-Event-ID": str(after)}
    with http.sse("/v1/sessions/ann/events", headers=headers) as source:
        for event in source:
            position = json.loads(event.data).get("position")
            if position is not None:
                ids.append(position)
            if position is not None and position >= until:
                break
    return ids


@pytest.mark.slow
def test_a_killed_service_comes_back_and_answers_every_accepted_message_once(
    tmp_path: Path,
) -> None:
    options = ("--journal", str(tmp_path / "journal.db"))
    names = [f"m{number}" for number in range(12)]
    send = "/v1/sessions/ann/messages"
    with served(*options) as first, client(first) as http:
        for name in names[:6]:
            body = {"text": f"{name} 0.05", "message_id": name, "policy": {"kind": "enqueue"}}
            assert http.post(send, json=body).status_code == 202
        http.get(f"{send}/m0", params={"wait": 40})
        position = http.get("/v1/sessions/ann").json()["position"]
        seen = events_of(http, 0, position)
        first.process.kill()
        first.process.wait(20)
    with served(*options) as second, client(second) as http:
        answers: dict[str, int] = {}
        for name in names:  # who did not hear of it sends the same again
            body = {"text": f"{name} 0.05", "message_id": name, "policy": {"kind": "enqueue"}}
            sent = http.post(send, json=body)
            assert sent.status_code == 202
            assert sent.json()["duplicate"] is (name in names[:6])
        for name in names:
            outcome = http.get(f"{send}/{name}", params={"wait": 40}).json()
            assert outcome["status"] == "answered"
            assert outcome["reply"]["text"] == f"found {name} 0.05"
            answers[name] = outcome["turn"]
        assert len(set(answers.values())) == len(names)
        position = http.get("/v1/sessions/ann").json()["position"]
        seen += events_of(http, seen[-1], position)
        assert seen == list(range(1, position + 1))


@pytest.mark.slow
def test_an_id_that_was_used_for_something_else_is_refused_after_a_restart_too(
    tmp_path: Path,
) -> None:
    options = ("--journal", str(tmp_path / "journal.db"))
    send = "/v1/sessions/ann/messages"
    key = {"Idempotency-Key": "k1"}
    for number in range(2):
        with served(*options) as service, client(service) as http:
            sent = http.post(send, json={"text": "rome 0"}, headers=key, params={"wait": 40})
            assert (sent.status_code, sent.json()["duplicate"]) == (200, number == 1)
            other = http.post(send, json={"text": "paris 0"}, headers=key)
            assert other.status_code == 422
            assert other.json()["type"] == "urn:wavebreak:problem:message-id-reused"
            service.process.kill()


@pytest.mark.real_time
async def test_a_stream_goes_back_beyond_a_snapshot_and_tells_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for kept in (1000, 10):
        journal = SqliteJournal(path, snapshot_after=20, keep_entries=kept)
        async with serving(echo, journal=journal) as ask:
            for number in range(12):
                await ask.post("/v1/sessions/ann/messages", {"text": str(number)}, wait=40)
            position = (await ask.get("/v1/sessions/ann")).json()["position"]
            events: list[Told] = []
            async with ask.listening("/v1/sessions/ann/events", after=0) as heard:
                while not events or events[-1].id != str(position):
                    event = await heard.next()
                    assert event is not None
                    events.append(event)
        ids = [int(event.id) for event in events if event.id]
        if kept == 1000:
            assert ids == list(range(1, position + 1))
        else:
            gap = events[0].json()
            assert (events[0].kind, gap["after"]) == ("gap", 0)
            assert ids == list(range(gap["next"], position + 1))
            assert 10 <= len(ids) <= 40


@pytest.mark.slow
def test_a_second_service_on_the_same_journal_is_refused_with_a_reason(tmp_path: Path) -> None:
    options = ("--journal", str(tmp_path / "journal.db"))
    with served(*options), pytest.raises(AssertionError, match="is open already"), served(*options):
        pass


@pytest.mark.slow
def test_a_service_that_was_ended_in_order_goes_on_with_what_was_under_way(tmp_path: Path) -> None:
    options = ("--journal", str(tmp_path / "journal.db"))
    send = "/v1/sessions/ann/messages"
    with served(*options) as first, client(first) as http:
        http.post(send, json={"text": "rome 1", "message_id": "m1"})
        first.process.terminate()
        assert first.process.wait(40) == 0
    with served(*options) as second, client(second) as http:
        outcome = http.get(f"{send}/m1", params={"wait": 40}).json()
        assert outcome["reply"]["text"] == "found rome 1"
