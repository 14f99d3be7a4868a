"""The service on a journal that lasts: a second start goes on where the first one was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from wavebreak import SqliteJournal, Turn
from wavebreak.messages.entries import Progressed
from wavebreak.messages.events import Event, SessionOpened
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


@pytest.mark.real_time
async def test_an_id_that_was_used_for_something_else_is_refused_after_a_restart_too(
    tmp_path: Path,
) -> None:
    send, key = "/v1/sessions/ann/messages", {"Idempotency-Key": "k1"}
    for number in range(2):
        async with serving(echo, journal=SqliteJournal(tmp_path / "journal.db")) as ask:
            sent = await ask.post(send, {"text": "rome"}, headers=key, wait=40)
            assert (sent.status, sent.json()["duplicate"]) == (200, number == 1)
            assert sent.json()["outcome"]["turn"] == 1
            other = await ask.post(send, {"text": "paris"}, headers=key)
            assert other.status == 422
            assert other.json()["type"] == "urn:wavebreak:problem:message-id-reused"


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
