"""What a killed process left, and what the next one makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw
import pytest
from pydantic import BaseModel

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    CallStatus,
    Delivery,
    Detached,
    Enqueue,
    JournalFull,
    MessageEnded,
    MessageIdReused,
    MessageStatus,
    PartialResults,
    Reason,
    SessionActor,
    SessionFailed,
    SessionMessage,
    SqliteJournal,
    Turn,
    current_call,
    tool,
)
from wavebreak.journal.database import opened
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import RecordingDeliver, gate

from ..journal.disks import Disk
from .conversing import LONG, agent_of, conversation
from .killing import ImagedJournal, image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def echo(turn: Turn) -> str:
    return f"{turn.number}: {turn.text}"


class Counted(SessionActor):
    """A session that is counted when it starts."""

    started: list[str]

    def on_start(self) -> None:
        self.started.append(self.actor_key.session_id)

    @property
    def actor_key(self) -> SessionKey:
        return self._key


def counted() -> type[Counted]:
    class Here(Counted):
        started: list[str] = []  # noqa: RUF012 - one for each test

    return Here


async def test_what_was_answered_is_known_and_not_answered_again(path: Path) -> None:
    first, second = RecordingDeliver(), RecordingDeliver()
    async with ActorSystem(echo, journal=SqliteJournal(path), deliver=first) as system:
        session = system.session("ann", tenant="shop")
        receipt = await session.send("hello", message_id="m1")
        await receipt.outcome()
        await first.until(1)
        await asyncio.sleep(1)
        killed = image(path, "killed")
    async with ActorSystem(echo, journal=SqliteJournal(killed), deliver=second) as system:
        session = system.session("ann", tenant="shop")
        again = await session.send("hello", message_id="m1")
        assert again.duplicate
        outcome = await again.outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert outcome.reply is not None
        assert outcome.reply.text == "1: hello"
        with pytest.raises(MessageIdReused):
            await session.send("something else", message_id="m1")
        assert (await (await session.send("more")).outcome()).turn == 2
        await second.until(1)
    assert first.texts == ["1: hello"]
    assert second.texts == ["2: more"], "and nothing of what was delivered before"


async def test_unanswered_messages_wait_again_and_are_answered_in_order(path: Path) -> None:
    started = counted()
    hold = gate("hold")
    held = hold.tool("held", effect="read")

    async def waits(turn: Turn) -> str:
        await turn.wave(held())
        return turn.text

    async with ActorSystem(waits, journal=SqliteJournal(path), close_within=0) as system:
        for name in ("ann", "ben"):
            for text in ("a", "b", "c"):
                await system.session(name).send(text, message_id=text, policy=Enqueue())
        idle = await system.session("idle").send("x")
        await asyncio.sleep(1)
        hold.let_go(2)
        await asyncio.sleep(1)
        del idle
        killed = image(path, "killed")
        hold.let_go()
    deliver = RecordingDeliver()
    system = ActorSystem(
        echo, journal=SqliteJournal(killed), deliver=deliver, session_actor=started
    )
    async with system, asyncio.timeout(LONG):
        await deliver.until(5)
        outcomes = [await system.session("ann").outcome(text) for text in "abc"]
        assert [outcome.turn for outcome in outcomes] == [1, 2, 3]


async def test_only_sessions_that_something_waits_for_are_started(path: Path) -> None:
    started = counted()
    hold = gate("hold")
    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        if turn.text == "wait":
            await turn.wave(held())
        return turn.text

    async with ActorSystem(agent, journal=SqliteJournal(path), close_within=0) as system:
        for number in range(20):
            await (await system.session(f"idle-{number}").send("hello")).outcome()
        await system.session("busy").send("wait")
        await hold.reached()
        killed = image(path, "killed")
        hold.let_go()
    async with (
        ActorSystem(echo, journal=SqliteJournal(killed), session_actor=started) as system,
        asyncio.timeout(LONG),
    ):
        await asyncio.sleep(1)
        assert started.started == ["busy"]
        assert (await (await system.session("idle-7").send("again")).outcome()).turn == 2
        assert started.started == ["busy", "idle-7"]


async def test_a_turn_comes_back_as_its_next_attempt_answered_from_the_ledger(path: Path) -> None:
    keys: dict[str, list[str]] = {"look": [], "put": [], "book": [], "done": []}
    hold = gate("hold")

    def noted(name: str) -> None:
        keys[name].append(current_call().idempotency_key)

    @tool
    async def done() -> str:
        noted("done")
        return "done"

    @tool(effect="read")
    async def look() -> str:
        noted("look")
        await hold.through()
        return "seen"

    @tool(effect="idempotent")
    async def put() -> str:
        noted("put")
        await hold.through()
        return "put"

    @tool
    async def book() -> str:
        noted("book")
        await hold.through()
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.wave(done())
        records = await turn.settle(look(), put(), book())
        return f"{turn.attempt} " + " ".join(record.status for record in records)

    tools = (done, look, put, book)
    async with ActorSystem(
        agent, journal=SqliteJournal(path), close_within=0, tools=tools
    ) as system:
        await system.session("ann").send("go", message_id="m")
        await hold.reached(3)
        await asyncio.sleep(1)
        killed = image(path, "killed")
        hold.let_go()
    hold.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(killed), tools=tools) as system:
        outcome = await system.session("ann").outcome("m")
        assert outcome.reply is not None
        assert outcome.reply.text == "2 completed completed unknown"
    assert len(keys["done"]) == 1, "it had ended"
    assert len(keys["book"]) == 1, "it may have happened"
    assert len(keys["look"]) == 2
    first, second = keys["put"]
    assert first == second, "the same key as before"


async def test_an_unknown_call_says_so_to_the_agent_that_comes_back(path: Path) -> None:
    hold = gate("book")
    book = hold.tool("booked")
    seen: list[CallStatus] = []

    async def agent(turn: Turn) -> str:
        (record,) = await turn.settle(book())
        if record.status is CallStatus.UNKNOWN:
            seen.append(record.status)
            await turn.wave(book().again())
        return f"attempt {turn.attempt}"

    async with ActorSystem(agent, journal=SqliteJournal(path), close_within=0) as system:
        await system.session("ann").send("go", message_id="m")
        await hold.reached()
        killed = image(path, "killed")
        hold.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(killed)) as system:
        outcome = await system.session("ann").outcome("m")
        assert outcome.reply is not None
        assert outcome.reply.text == "attempt 2"
    assert seen == [CallStatus.UNKNOWN]


@pytest.mark.parametrize("version", ["1", "2"])
async def test_other_code_after_an_upgrade_finds_what_matches_and_sees_the_rest(
    version: str, path: Path
) -> None:
    hold = gate("look")
    look = hold.tool("looked", effect="read")
    booked: list[str] = []

    @tool
    async def book(room: str) -> str:
        booked.append(room)
        return f"booked {room}"

    async def old(turn: Turn) -> str:
        turn.say("one moment")
        await turn.wave(book("red"), book("blue"))
        await turn.wave(look())
        return "never said"

    seen: list[PartialResults | None] = []

    async def new(turn: Turn) -> str:
        seen.append(turn.previous)
        return " ".join(await turn.wave(book("blue"), book("green")))

    async with ActorSystem(old, version="1", journal=SqliteJournal(path), close_within=0) as system:
        await system.session("ann").send("go", message_id="m")
        await hold.reached()
        await asyncio.sleep(1)  # so that all of this is on the disk
        killed = image(path, "killed")
        hold.let_go()
    async with ActorSystem(new, version=version, journal=SqliteJournal(killed)) as system:
        outcome = await system.session("ann").outcome("m")
        assert outcome.reply is not None
        assert outcome.reply.text == "booked blue booked green"
        receipt = await system.session("ann").send("and again")
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED
    assert booked == ["red", "blue", "green", "blue", "green"], "what matches is not done again"
    of_the_attempt, of_the_next_turn = seen
    assert of_the_next_turn is None
    if version == "1":  # the same code makes the same calls: a retry is none of its business
        assert of_the_attempt is None
        return
    assert of_the_attempt is not None
    assert of_the_attempt.reason is Reason.CRASHED
    assert of_the_attempt.said == ("one moment",)
    assert [(call.tool, call.arguments, call.status) for call in of_the_attempt.calls] == [
        ("book", {"room": "red"}, CallStatus.COMPLETED),
        ("book", {"room": "blue"}, CallStatus.COMPLETED),
        ("look", {"text": ""}, CallStatus.CANCELLED),
    ]


async def test_deliveries_that_had_not_ended_are_made_with_their_old_id(path: Path) -> None:
    down, up = RecordingDeliver(), RecordingDeliver()
    down.hang()

    async def agent(turn: Turn) -> str:
        turn.say("one moment")
        return "done"

    async with ActorSystem(
        agent, journal=SqliteJournal(path), deliver=down, close_within=0
    ) as system:
        await (await system.session("ann").send("go")).outcome()
        await down.until_tried(1)
        killed = image(path, "killed")
        down.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(killed), deliver=up):
        await up.until(2)
    assert up.texts == ["one moment", "done"]
    assert [one.delivery_id for one in up.deliveries] == list(down.attempts)


class Order(SessionMessage):
    order: int

    def as_text(self) -> str:
        return f"order {self.order}"


async def test_messages_of_the_programs_own_come_back_as_what_they_are(path: Path) -> None:
    hold = gate("hold")
    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        history = await turn.history(10)
        if not history:
            return turn.text
        await turn.wave(held())
        (message,) = turn.messages
        first = history[0].message
        assert isinstance(message, Order)
        assert isinstance(first, Order)
        return f"{first.order} {message.order} {[entry.text for entry in history]}"

    options: dict[str, Any] = {"message_types": (Order,), "close_within": 0}
    journal = SqliteJournal(path, snapshot_after=1)
    async with ActorSystem(agent, journal=journal, **options) as system:
        session = system.session("ann")
        await (await session.send(Order(order=1))).outcome()
        await session.send(Order(order=2), message_id="second")
        await hold.reached()
        killed = image(path, "killed")
        hold.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(killed), **options) as system:
        outcome = await system.session("ann").outcome("second")
        assert outcome.reply is not None
        assert outcome.reply.text == "1 2 ['order 1', 'order 1']"


class Count(BaseModel):
    value: int = 0


async def test_a_long_conversation_is_read_from_its_last_state(path: Path) -> None:
    async def agent(turn: Turn) -> str:
        state = turn.state(Count)
        turn.save(Count(value=state.value + 1))
        return str(state.value + 1)

    async with ActorSystem(agent, journal=SqliteJournal(path, snapshot_after=50)) as system:
        for number in range(100):
            await (await system.session("ann").send("x", message_id=f"m{number}")).outcome()
    connection = opened(path)
    rows: int = connection.execute("SELECT count(*) FROM entry").get
    connection.close()
    assert rows < 50, "what the state stands for has gone"
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        session = system.session("ann")
        assert (await session.read(Count)).value == 100
        assert (await session.send("x", message_id="m3")).duplicate
        outcome = await (await session.send("more")).outcome()
        assert outcome.turn == 101
    journal = SqliteJournal(path)
    await journal.open()
    assert len(await journal.history(SessionKey("", "ann"), 1000)) == 202, "all of it is kept"
    await journal.close()


async def test_closing_in_order_leaves_the_turn_to_the_next_start(path: Path) -> None:
    hold = gate("hold")
    done: list[str] = []

    @tool
    async def book() -> str:
        done.append("booked")
        return "booked"

    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        await turn.wave(book())
        await turn.wave(held())
        return f"{turn.number}.{turn.attempt} {turn.text}"

    async with ActorSystem(agent, journal=SqliteJournal(path), tools=(book, held)) as system:
        receipt = await system.session("ann").send("a", message_id="a")
        outcome = receipt.outcome()
        await hold.reached()
    with pytest.raises(Detached):
        await outcome
    hold.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(path), tools=(book, held)) as system:
        again = await system.session("ann").outcome("a")
        assert again.reply is not None
        assert again.reply.text == "2.1 a"
    assert done == ["booked"], "it was carried over"


async def test_a_session_that_cannot_be_read_is_alone_in_that(path: Path) -> None:
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        for name in ("ann", "ben"):
            await (await system.session(name).send("a")).outcome()
    connection = opened(path)
    connection.execute(
        "DELETE FROM entry WHERE id = (SELECT min(id) + 1 FROM entry WHERE id > "
        "(SELECT id << 32 FROM session WHERE session_id = 'ann'))"
    )
    assert connection.changes() == 1
    connection.close()
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        with pytest.raises(SessionFailed, match="ann"):
            await system.session("ann").send("b")
        assert (await (await system.session("ben").send("b")).outcome()).turn == 2


# --- disks that fail under a system ---


async def test_a_sync_that_fails_is_told_to_the_sender_and_a_resend_is_answered_once(
    path: Path,
) -> None:
    with Disk() as disk:
        deliver = RecordingDeliver()
        system = ActorSystem(echo, journal=SqliteJournal(path, vfs=disk.name), deliver=deliver)
        async with system, asyncio.timeout(LONG):
            ann, ben = system.session("ann"), system.session("ben")
            await (await ann.send("a")).outcome()
            await (await ben.send("a")).outcome()
            await deliver.until(2)
            await asyncio.sleep(1)
            disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
            with pytest.raises(AcceptanceUnknown, match="'m-b'"):
                await ann.send("b", message_id="m-b")
            assert (await (await ben.send("b")).outcome()).turn == 2, "another is not disturbed"
            outcome = await (await ann.send("b", message_id="m-b")).outcome()
            assert outcome.turn == 2
            await deliver.until(4)
    assert sorted(deliver.texts) == ["1: a", "1: a", "2: b", "2: b"]


async def test_a_full_disk_refuses_new_messages_and_what_runs_ends_when_there_is_room(
    path: Path,
) -> None:
    hold, deliver = gate("hold"), RecordingDeliver()
    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        await turn.wave(held())
        return turn.text

    with Disk() as disk:
        system = ActorSystem(agent, journal=SqliteJournal(path, vfs=disk.name), deliver=deliver)
        async with system, asyncio.timeout(LONG):
            ann, ben = system.session("ann"), system.session("ben")
            outcome = (await ann.send("a")).outcome()
            await ben.send("a", message_id="ben-a")
            await hold.reached(2)
            await asyncio.sleep(1)
            disk.fail("write", "-wal", apsw.SQLITE_FULL, times=10_000)
            hold.let_go()
            await asyncio.sleep(10)
            assert deliver.texts == [], "nothing leaves before it is durable"
            with pytest.raises(JournalFull):
                await ben.send("b")
            disk.heal()
            assert (await outcome).status is MessageStatus.ANSWERED
            await deliver.until(2)
            assert (await (await ben.send("b")).outcome()).turn == 2


# --- killed at every commit ---


class Seen(NamedTuple):
    """What the world had seen when a process was killed.

    Args:
        started: the calls that are to be started once.
        ended: how messages had ended.
        said: what had been delivered, by the delivery's id.
    """

    started: tuple[str, ...] = ()
    ended: Mapping[str, MessageStatus] = MappingProxyType({})
    said: Mapping[str, str] = MappingProxyType({})


@pytest.mark.slow
async def test_a_process_that_is_killed_after_any_commit_loses_nothing_and_does_nothing_twice(
    path: Path,
) -> None:
    images = await _live(path, Seen(), conversation)
    assert len(images) > 15
    for killed, seen in images:
        again = await _live(killed, seen, _send_all_again)
        assert again
        for killed_again, seen_again in again[::5]:
            await _live(killed_again, seen_again, _send_all_again)


async def _live(
    path: Path, before: Seen, talk: Callable[[ActorSystem, Any], Awaitable[object]]
) -> list[tuple[Path, Seen]]:
    """Run a system on what was left; its images, and what had been seen at each."""
    images: list[tuple[Path, Seen]] = []
    started = list(before.started)
    ended = dict(before.ended)
    said = dict(before.said)

    def look(killed: Path) -> None:
        images.append((killed, Seen(tuple(started), dict(ended), dict(said))))

    def note_end(event: MessageEnded) -> None:
        assert ended.get(event.message_id, event.status) is event.status, "ended in one way only"
        ended[event.message_id] = event.status

    async def deliver(delivery: Delivery) -> None:
        text = delivery.reply.text
        assert said.get(delivery.delivery_id, text) == text, "delivered again as what it was"
        said[delivery.delivery_id] = text

    hold = gate("hold")
    system = ActorSystem(
        agent_of(started),
        tools=(hold.tool("held", effect="read"),),
        journal=ImagedJournal(path, look),
        deliver=deliver,
    )
    system.on(MessageEnded, note_end)
    async with system, asyncio.timeout(LONG):
        await talk(system, hold)
        await asyncio.sleep(30)
        for text in "abcd":
            outcome = await system.session("ann").outcome(text)
            assert outcome.status is ended.get(text, outcome.status)
    assert len(started) == len(set(started)), "what may have happened is not done again"
    return images


async def _send_all_again(system: ActorSystem, hold: Any) -> None:
    """Send it all once more, as a channel does that got no answer."""
    hold.let_go()
    for text in "abcd":
        await system.session("ann").send(text, message_id=text, policy=Enqueue())
    for text in "abcd":
        await system.session("ann").outcome(text)
