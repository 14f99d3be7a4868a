from __future__ import annotations

import asyncio
import random

from wavebreak import ActorSystem, Delta, MemoryJournal, Turn, tool
from wavebreak.actors.hub import BUFFER
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import gate

from .asking import Told, access_of, serving, system_of

EVENTS = "/v1/sessions/ann/events"
SEND = "/v1/sessions/ann/messages"


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def echo(turn: Turn) -> str:
    turn.delta("echo ")
    return f"echo {turn.text}"


async def searching(turn: Turn) -> str:
    turn.delta("I am ")
    turn.delta("looking ")
    found = await turn.one(search(turn.text))
    turn.delta("and have ")
    return found


def kinds(events: list[Told]) -> list[str]:
    return [event.kind for event in events]


def ids(events: list[Told]) -> list[int]:
    return [int(event.id) for event in events if event.id is not None]


async def test_a_stream_tells_what_happens_from_now_on_with_positions_as_ids() -> None:
    async with serving(echo) as ask:
        await ask.post(SEND, {"text": "before"}, wait=5)
        async with ask.listening(EVENTS) as heard:
            assert heard.headers["content-type"].startswith("text/event-stream")
            await asyncio.sleep(0.1)
            await ask.post(SEND, {"text": "hello"})
            events = await heard.until("message_ended")
        assert kinds(events) == [
            "message_accepted",
            "turn_started",
            "delta",
            "turn_ended",
            "message_ended",
        ]
        assert ids(events) == [6, 7, 8, 9]
        assert system_of(ask).subscribers == 0


async def test_a_stream_is_resumed_without_gap_or_duplicate() -> None:
    async with serving(echo) as ask:
        for number in range(5):
            await ask.post(SEND, {"text": str(number)}, wait=5)
        async with ask.listening(EVENTS, headers={"Last-Event-ID": "7"}) as heard:
            missed = [await heard.next() for _ in range(3)]
            await ask.post(SEND, {"text": "live"})
            events = [e for e in missed if e] + await heard.until("message_accepted")
            while ids(events)[-1] < 25:
                event = await heard.next()
                assert event is not None
                events.append(event)
        assert ids(events) == list(range(8, 26))


async def test_a_header_that_browsers_send_counts_more_than_the_address() -> None:
    async with serving(echo) as ask:
        await ask.post(SEND, {"text": "a"}, wait=5)
        headers = {"Last-Event-ID": "4"}
        async with ask.listening(EVENTS, headers=headers, after=1) as heard:
            event = await heard.next()
            assert event is not None
            assert event.id == "5"


async def test_what_is_not_kept_any_more_is_told_as_a_gap() -> None:
    async with serving(echo, journal=MemoryJournal(keep_entries=3)) as ask:
        for number in range(5):
            await ask.post(SEND, {"text": str(number)}, wait=5)
        async with ask.listening(EVENTS, headers={"Last-Event-ID": "2"}) as heard:
            gap = await heard.next()
            assert gap is not None
            assert gap.kind == "gap"
            first = await heard.next()
            assert first is not None
            assert gap.json() == {"after": 2, "next": int(first.id or 0)}
            assert gap.id is None


async def test_ids_of_another_life_are_a_gap_and_the_stream_goes_on() -> None:
    async with serving(echo) as ask:
        await ask.post(SEND, {"text": "a"}, wait=5)
        async with ask.listening(EVENTS, headers={"Last-Event-ID": "700"}) as heard:
            gap = await heard.next()
            assert gap is not None
            assert gap.json() == {"after": 700, "next": 6}
            await ask.post(SEND, {"text": "b"})
            assert ids(await heard.until("message_ended")) == [6, 7, 8, 9]


async def test_who_comes_into_a_turn_gets_the_preview_in_one_piece_and_then_the_rest() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask:
            await ask.post(SEND, {"text": "rome"})
            await at_search.reached()
            async with ask.listening(EVENTS, after=0) as heard:
                events = await heard.until("catch_up")
                assert "delta" not in kinds(events)
                assert events[-1].json() == {"turn": 1, "attempt": 1, "text": "I am looking "}
                at_search.let_go()
                rest = await heard.until("turn_ended")
            deltas = [event.json()["text"] for event in rest if event.kind == "delta"]
            assert deltas == ["and have "]


async def test_every_turn_has_exactly_one_terminal_event_for_each_reader() -> None:
    with gate("search").holding(search) as at_search:
        async with serving(searching) as ask, ask.listening(EVENTS) as heard:
            await asyncio.sleep(0.01)
            for number in range(4):
                await ask.post(SEND, {"text": str(number), "policy": {"kind": "now"}})
            at_search.let_go()
            await ask.post(SEND, {"text": "last", "policy": {"kind": "enqueue"}}, wait=60)
            events: list[Told] = []
            while kinds(events).count("message_ended") < 5:
                event = await heard.next()
                assert event is not None
                events.append(event)
        started = [event.json()["turn"] for event in events if event.kind == "turn_started"]
        ended = [event.json()["turn"] for event in events if event.kind == "turn_ended"]
        assert started == ended == sorted(set(started))


async def test_silence_is_broken_by_heartbeats() -> None:
    async with serving(echo, heartbeat=5) as ask, ask.listening(EVENTS) as heard:
        for _ in range(3):
            assert await heard.chunks.get() == b": ping\n\n"


async def test_a_reader_that_does_not_read_is_cut_off_and_holds_nobody() -> None:
    async with serving(echo, slow_after=5) as ask:
        async with ask.listening(EVENTS) as slow, ask.listening(EVENTS) as quick:
            await asyncio.sleep(0.01)
            slow.reads.clear()
            answer = await ask.post(SEND, {"text": "hello"}, wait=1)
            assert answer.status == 200
            assert "message_ended" in kinds(await quick.until("message_ended"))
            await asyncio.sleep(6)
            assert system_of(ask).subscribers == 1
            slow.reads.set()
        assert ask.app.state.service.streams == 0


async def test_a_reader_that_falls_too_far_behind_is_told_to_come_again() -> None:
    async with serving(echo) as ask, ask.listening(EVENTS) as heard:
        await asyncio.sleep(0.01)
        heard.reads.clear()
        hub = system_of(ask)._hub
        more = Delta(tenant="", session_id="ann", turn=1, at=1.0, attempt=1, text="x")
        for _ in range(BUFFER + 5):
            hub.publish(SessionKey("", "ann"), more)
        heard.reads.set()
        events = await heard.rest()
        assert len(events) <= BUFFER + 2
        assert (events[-1].kind, events[-1].json()) == ("close", {"reason": "too_slow"})
        assert system_of(ask).subscribers == 0


async def test_a_token_that_is_revoked_ends_its_streams() -> None:
    async with serving(echo, heartbeat=5) as ask, ask.listening(EVENTS) as heard:
        access_of(ask).revoke("test")
        (last,) = await heard.rest()
        assert (last.kind, last.json()) == ("close", {"reason": "revoked"})


async def test_a_stream_is_closed_with_the_system() -> None:
    system = ActorSystem(echo, journal=MemoryJournal())
    async with (
        serving(system) as ask,
        ask.listening(EVENTS) as heard,
        ask.listening("/v1/events") as every,
    ):
        await asyncio.sleep(0.01)
        await system.__aexit__(None, None, None)
        for stream in (heard, every):
            assert [event.json() for event in await stream.rest()] == [{"reason": "shutdown"}]


async def test_only_so_many_streams_are_open_at_a_time() -> None:
    async with serving(echo, most_streams=1) as ask:
        async with ask.listening(EVENTS):
            refused = await ask.get(EVENTS)
            assert refused.status == 503
            assert refused.headers["retry-after"]
        async with ask.listening(EVENTS) as heard:
            assert heard.status == 200


async def test_all_sessions_of_a_tenant_are_told_in_one_stream_without_ids() -> None:
    async with serving(echo) as ask, ask.listening("/v1/events", tenant="a") as heard:
        for tenant in ("b", "a"):
            await ask.post(SEND, {"text": "x"}, tenant=tenant, wait=5)
        events = await heard.until("message_ended")
        assert {event.json()["tenant"] for event in events} == {"a"}
        assert ids(events) == []


async def test_readers_who_come_and_go_all_the_time_read_the_same_and_leave_nothing() -> None:
    draw = random.Random(8)  # noqa: S311
    async with serving(echo) as ask:
        whole: list[int] = []
        last = 0
        for number in range(60):
            await ask.post(SEND, {"text": str(number)}, wait=5 if draw.random() < 0.5 else 0)
            for _ in range(draw.randrange(4)):
                async with ask.listening(EVENTS, headers={"Last-Event-ID": str(last)}) as heard:
                    for _ in range(draw.randrange(6)):
                        try:
                            async with asyncio.timeout(0.01):
                                event = await heard.next()
                        except TimeoutError:
                            break
                        if event is not None and event.id is not None:
                            last = int(event.id)
                            whole.append(last)
        position = (await ask.get("/v1/sessions/ann")).json()["position"]
        async with ask.listening(EVENTS, headers={"Last-Event-ID": str(last)}) as heard:
            while last < position:
                event = await heard.next()
                assert event is not None
                if event.id is not None:
                    last = int(event.id)
                    whole.append(last)
        assert whole == list(range(1, position + 1))
        assert system_of(ask).subscribers == 0
        assert ask.app.state.service.streams == 0
