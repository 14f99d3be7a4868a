"""Messages that are sent at a time: kept, seen, taken back, and let in when they are due."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    AfterWave,
    Budget,
    Debounce,
    Detached,
    Enqueue,
    InvalidMessage,
    MailboxFull,
    MemoryJournal,
    MessageDue,
    MessageIdReused,
    MessageStatus,
    Now,
    Reject,
    Session,
    SessionActor,
    SessionMessage,
    SessionView,
    SqliteJournal,
    Turn,
    tool,
)
from wavebreak.journal.database import opened
from wavebreak.messages.ids import SessionKey
from wavebreak.supervisors.alarm import PAUSE
from wavebreak.supervisors.life import kill
from wavebreak.testing import RecordingDeliver, gate

from .killing import ImagedJournal, image
from .test_durability import SlowJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wavebreak import Policy
    from wavebreak.journal.base import Journal
    from wavebreak.messages.ids import SessionKey as Key

HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "j.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def echo(turn: Turn) -> str:
    return f"{turn.number}: {turn.text}"


def clock() -> float:
    return asyncio.get_running_loop().time()


def loaded(system: ActorSystem) -> set[str]:
    """The sessions that cost memory now."""
    tree = system._tree
    assert tree is not None
    return {key.session_id for key in tree.door.cells}


async def reply_to(session: Session, message_id: str) -> str:
    outcome = await session.outcome(message_id)
    assert outcome.reply is not None, outcome
    return outcome.reply.text


def rows_due(path: Path) -> int:
    connection = opened(path, read_only=True)
    try:
        return int(connection.execute("SELECT count(*) FROM due").get)
    finally:
        connection.close()


# --- when ---


async def test_it_is_accepted_at_once_and_answered_at_its_time(journal: Journal) -> None:
    async with ActorSystem(echo, journal=journal) as system:
        session = system.session("ann")
        receipt = await session.send_later("wake up", at=HOUR, message_id="w")
        assert (receipt.message_id, receipt.duplicate) == ("w", False)
        began = clock()
        (scheduled,) = await session.scheduled()
        assert scheduled.message.as_text() == "wake up"
        await (await session.send("hello")).outcome()
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED
        assert clock() - began == pytest.approx(3600, abs=0.1)
        assert await reply_to(session, "w") == "2: wake up"
        assert await session.scheduled() == ()
        entries = await session.history()
        assert [entry.text for entry in entries if entry.message is not None] == [
            "hello",
            "wake up",
        ]


@pytest.mark.parametrize("form", ["delta", "seconds", "utc", "elsewhere", "here"])
async def test_a_time_is_said_in_several_ways(form: str) -> None:
    async with ActorSystem(echo) as system:
        now = datetime.now(UTC)
        at: Any = {
            "delta": HOUR,
            "seconds": time.time() + 3600,
            "utc": now + HOUR,
            "elsewhere": (now + HOUR).astimezone(timezone(timedelta(hours=-5))),
            "here": (now + HOUR).astimezone(),
        }[form]
        began = clock()
        receipt = await system.session("ann").send_later("wake up", at=at)
        await receipt.outcome()
        # The machine's clock ran on while this test did.
        assert clock() - began == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    "at", [timedelta(seconds=-5), timedelta(0), 0, -1e9, datetime(2001, 1, 1, tzinfo=UTC)]
)
async def test_what_is_past_is_due_at_once(at: Any) -> None:
    async with ActorSystem(echo) as system:
        began = clock()
        receipt = await system.session("ann").send_later("wake up", at=at, deadline=60)
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED
        assert clock() - began < 0.1


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (datetime(2030, 1, 1), "no time zone.*tzinfo"),  # noqa: DTZ001 - that is the point
        ("tomorrow", "tomorrow"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (10**400, "1000"),
        (-(10**400), "-1000"),
        (True, "True"),
        (None, "None"),
    ],
)
async def test_what_is_no_time_is_refused_by_its_value(at: Any, says: str) -> None:
    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidMessage, match=f"at=.*{says}"):
            system.session("ann").send_later("wake up", at=at)
        assert loaded(system) == set()


async def test_bad_arguments_are_refused_as_those_of_send() -> None:
    async def choose(message: SessionMessage, view: SessionView) -> Policy:
        del message, view
        return Now()

    async with ActorSystem(echo) as system:
        session = system.session("ann")
        wrong: list[dict[str, Any]] = [
            {"content": " "},
            {"message_id": ""},
            {"deadline": 0},
            {"priority": "x"},
            {"policy": "now"},
            {"policy": choose},
            {"sender": 3},
        ]
        for options in wrong:
            with pytest.raises(InvalidMessage):
                session.send_later(options.pop("content", "text"), at=HOUR, **options)
        with pytest.raises(InvalidMessage, match="function"):
            system.session("ann", policy=choose).send_later("text", at=HOUR)


# --- second thoughts ---


async def test_it_is_sent_twice_and_accepted_once_at_its_first_time(journal: Journal) -> None:
    async with ActorSystem(echo, journal=journal) as system:
        session = system.session("ann")
        began = clock()
        await session.send_later("wake up", at=HOUR, message_id="w")
        again = await session.send_later("wake up", at=2 * HOUR, message_id="w")
        assert again.duplicate
        with pytest.raises(MessageIdReused):
            await session.send_later("something else", at=HOUR, message_id="w")
        assert len(await session.scheduled()) == 1
        await again.outcome()
        assert clock() - began == pytest.approx(3600, abs=0.1)
        assert (await session.send_later("wake up", at=HOUR, message_id="w")).duplicate
        assert await session.scheduled() == ()


async def test_it_can_be_taken_back_and_edited_until_it_is_due(
    journal: Journal, tmp_path: Path
) -> None:
    async with ActorSystem(echo, journal=journal, idle_after=10) as system:
        session = system.session("ann")
        receipts = [await session.send_later(text, at=HOUR, message_id=text) for text in ("a", "b")]
        await asyncio.sleep(60)
        assert loaded(system) == set()
        assert (await session.withdraw("a")).done
        assert [one.message.message_id for one in await session.scheduled()] == ["b"]
        assert (await session.edit("b", "other words")).done
        assert (await receipts[0].outcome()).status is MessageStatus.CANCELLED
        await asyncio.sleep(60)
        assert loaded(system) == set()
        await asyncio.sleep(3600)
        assert await reply_to(session, "b") == "1: other words"
        late = await session.withdraw("b")
        assert not late.done
        assert late.outcome is not None
        assert (await session.history())[0].text == "other words"
    if (tmp_path / "j.db").exists():
        assert rows_due(tmp_path / "j.db") == 0


async def test_no_more_are_scheduled_than_may_wait() -> None:
    async with ActorSystem(echo, capacity=2) as system:
        session = system.session("ann")
        for _ in range(2):
            await session.send_later("x", at=HOUR)
        with pytest.raises(MailboxFull, match="withdraw one"):
            await session.send_later("x", at=HOUR)
        assert (await (await session.send("hello")).outcome()).status is MessageStatus.ANSWERED


# --- at its time it is as any other ---


async def test_its_policy_says_what_it_does_to_the_turn_that_runs_then() -> None:
    hold = gate("hold")
    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        if turn.text == "long":
            await turn.wave(held())
        return f"{turn.number}: {turn.text}"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        for text, policy in (("enqueued", Enqueue()), ("now", Now()), ("rejected", Reject())):
            await session.send_later(text, at=HOUR, message_id=text, policy=policy)
        await asyncio.sleep(3599)
        await session.send("long", message_id="long")
        await hold.reached()
        await asyncio.sleep(2)
        assert await reply_to(session, "now") == "2: long\nenqueued\nnow"
        outcome = await session.outcome("rejected")
        assert (outcome.status, outcome.reason) == (MessageStatus.DROPPED, "rejected")


async def test_the_policy_is_chosen_when_it_is_due() -> None:
    seen: list[tuple[str, int, int]] = []

    async def choose(message: SessionMessage, view: SessionView) -> Policy:
        await asyncio.sleep(1)
        seen.append((message.as_text(), view.turn, len(view.scheduled)))
        return Enqueue()

    async def may_interrupt(message: SessionMessage, view: SessionView) -> bool:
        del view
        return message.as_text() != "shy"

    hold = gate("hold")
    held = hold.tool("held", effect="read")

    async def agent(turn: Turn) -> str:
        if "long" in turn.text:
            await turn.wave(held())
        return f"{turn.number}: {turn.text}"

    async with ActorSystem(agent, policy=choose, who_may_interrupt=may_interrupt) as system:
        session = system.session("ann")
        await session.send_later("chosen", at=HOUR, message_id="chosen")
        await session.send_later("shy", at=HOUR, message_id="shy", policy=Now())
        assert seen == []
        await session.send("long", message_id="long")
        await hold.reached()
        await asyncio.sleep(3700)
        assert seen == [("long", 0, 2), ("chosen", 1, 2)]
        hold.let_go()
        assert await reply_to(session, "long") == "1: long"
        assert await reply_to(session, "chosen") == "2: chosen"
        assert await reply_to(session, "shy") == "3: shy"


async def test_a_quiet_window_makes_one_turn_of_it_and_what_comes_with_it() -> None:
    async with ActorSystem(echo, debounce=Debounce(quiet=5, max_wait=60)) as system:
        session = system.session("ann")
        await session.send_later("reminder", at=HOUR, message_id="r")
        await asyncio.sleep(3601)
        await session.send("hello", message_id="h")
        assert await reply_to(session, "r") == "1: reminder\nhello"


async def test_its_deadline_counts_from_when_it_is_due() -> None:
    @tool(effect="read")
    async def think() -> None:
        await asyncio.sleep(100)

    async def agent(turn: Turn) -> str:
        await turn.wave(think())
        return "done"

    async with ActorSystem(agent) as system:
        began = clock()
        receipt = await system.session("ann").send_later("x", at=HOUR, deadline=7)
        outcome = await receipt.outcome()
        assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, "deadline")
        assert clock() - began == pytest.approx(3607, abs=0.2)


async def test_what_comes_due_is_told_to_those_who_watch() -> None:
    async with ActorSystem(echo) as system:
        session = system.session("ann")
        due: list[MessageDue] = []
        system.on(MessageDue, due.append)
        receipt = await session.send_later("x", at=HOUR, policy=AfterWave(patience=3))
        await receipt.outcome()
        (event,) = due
        assert event.message_id == receipt.message_id
        assert event.policy == AfterWave(patience=3)


@pytest.mark.slow
async def test_a_message_of_a_programs_own_is_scheduled_too(path: Path) -> None:
    class Order(SessionMessage):
        number: int

    seen: list[Turn] = []

    async def agent(turn: Turn) -> str:
        seen.append(turn)
        return "ordered"

    for again in (False, True):
        async with ActorSystem(
            agent, journal=SqliteJournal(path), message_types=(Order,)
        ) as system:
            session = system.session("ann")
            receipt = await session.send_later(Order(number=7), at=HOUR, message_id="o")
            assert receipt.duplicate == again
    async with ActorSystem(agent, journal=SqliteJournal(path), message_types=(Order,)) as system:
        await asyncio.sleep(4000)
    ((message,),) = [turn.messages for turn in seen]
    assert isinstance(message, Order)
    assert message.number == 7


# --- rest ---


@pytest.mark.slow
async def test_a_session_that_only_waits_for_a_time_costs_no_memory(journal: Journal) -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(echo, journal=journal, deliver=deliver, idle_after=10) as system:
        for number in range(20):
            session = system.session(f"s{number}")
            for hour in (1, 2):
                await session.send_later(f"{hour}", at=hour * HOUR + timedelta(seconds=number))
        await asyncio.sleep(100)
        assert loaded(system) == set()
        await asyncio.sleep(3600)
        assert len(deliver.deliveries) == 20
        await asyncio.sleep(100)
        assert loaded(system) == set(), "they rest again, until the next"
        await asyncio.sleep(3600)
        assert sorted(deliver.texts) == ["1: 1"] * 20 + ["2: 2"] * 20


async def test_it_does_not_rest_while_somebody_waits_for_the_outcome() -> None:
    async with ActorSystem(echo, idle_after=10) as system:
        receipt = await system.session("ann").send_later("x", at=HOUR)
        outcome = asyncio.ensure_future(receipt.outcome())
        await asyncio.sleep(100)
        assert loaded(system) == {"ann"}
        assert (await outcome).status is MessageStatus.ANSWERED


async def test_a_death_of_the_directory_wakes_nobody_too_late(journal: Journal) -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(echo, journal=journal, deliver=deliver, idle_after=10) as system:
        await system.session("ann").send_later("x", at=HOUR)
        await asyncio.sleep(100)
        tree = system._tree
        assert tree is not None
        assert tree.door.place.actor is not None
        kill(tree.door.place.actor.actor_ref)
        await asyncio.sleep(10)
        await system.session("ben").send_later("y", at=timedelta(seconds=50))
        await asyncio.sleep(100)
        assert deliver.texts == ["1: y"]
        await asyncio.sleep(3600)
        assert deliver.texts == ["1: y", "1: x"]


async def test_a_death_of_the_session_loses_nothing_of_it() -> None:
    async with ActorSystem(echo) as system:
        session = system.session("ann")
        receipt = await session.send_later("x", at=HOUR)
        tree = system._tree
        assert tree is not None
        for _ in range(3):
            ref = tree.door.cells[SessionKey("", "ann")].ref
            assert ref is not None
            kill(ref)
            await asyncio.sleep(5)
        outcome = await receipt.outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert outcome.turn == 1


async def test_a_session_that_was_given_up_is_woken_when_something_is_due(
    journal: Journal,
) -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(
        echo, journal=journal, deliver=deliver, session_budget=Budget(0, 60)
    ) as system:
        await system.session("ann").send_later("x", at=HOUR)
        tree = system._tree
        assert tree is not None
        ref = tree.door.cells[SessionKey("", "ann")].ref
        assert ref is not None
        kill(ref)
        await asyncio.sleep(100)
        assert loaded(system) == set()
        await asyncio.sleep(3600)
        assert deliver.texts == ["1: x"]


async def test_what_is_scheduled_goes_with_a_session_that_is_deleted(
    journal: Journal, tmp_path: Path
) -> None:
    deliver = RecordingDeliver()
    async with ActorSystem(echo, journal=journal, deliver=deliver, idle_after=10) as system:
        session = system.session("ann")
        receipt = await session.send_later("x", at=HOUR, message_id="x")
        outcome = receipt.outcome()
        deleted = await session.delete()
        assert deleted.message_ids == ("x",)
        assert (await outcome).reason == "deleted"
        await system.session("ben").send_later("y", at=HOUR)
        await asyncio.sleep(60)
        assert len((await system.session("ben").delete()).message_ids) == 1
        await asyncio.sleep(7200)
        assert deliver.texts == []
        assert loaded(system) == set()
        assert await session.scheduled() == ()
    if (tmp_path / "j.db").exists():
        assert rows_due(tmp_path / "j.db") == 0


async def test_a_sweep_leaves_a_session_alone_that_has_something_scheduled(path: Path) -> None:
    journal = SqliteJournal(path)
    async with ActorSystem(echo, journal=journal, idle_after=10) as system:
        session = system.session("ann")
        await (await session.send("hello")).outcome()
        await session.send_later("x", at=HOUR, message_id="x")
        await asyncio.sleep(100)
        assert loaded(system) == set()
        erased = journal.erase(session.key, unless_after=time.time() + 1e6)
        await asyncio.sleep(10)
        assert erased.commit.done
        assert [one.message.message_id for one in await session.scheduled()] == ["x"]
        await session.withdraw("x")
        await asyncio.sleep(100)
        journal.erase(session.key, unless_after=time.time() + 1e6)
        await asyncio.sleep(10)
        assert await session.history() == ()


# --- restarts ---


class Counted(SessionActor):
    """A session that is counted when it starts."""

    started: list[str]

    def on_start(self) -> None:
        self.started.append(self._key.session_id)


def counted() -> type[Counted]:
    class Here(Counted):
        started: list[str] = []  # noqa: RUF012 - one for each test

    return Here


@pytest.mark.slow
async def test_after_a_restart_nothing_is_loaded_before_it_is_due(path: Path) -> None:
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        for name, hours in (("first", 1), ("second", 2), ("third", 3)):
            await system.session(name).send_later(name, at=hours * HOUR, message_id="m")
        waits = asyncio.ensure_future(system.session("third").outcome("m"))
        await asyncio.sleep(1)
    with pytest.raises(Detached):
        await waits
    started = counted()
    async with ActorSystem(echo, journal=SqliteJournal(path), session_actor=started) as system:
        await asyncio.sleep(3500)
        assert started.started == []
        await asyncio.sleep(200)
        assert started.started == ["first"]
        await asyncio.sleep(3600)
        assert started.started == ["first", "second"]
        assert await reply_to(system.session("second"), "m") == "1: second"
    assert rows_due(path) == 1


def let_time_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """While no process is there to see it."""
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)


async def test_what_was_due_while_the_process_was_down_is_due_at_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        await system.session("ann").send_later("x", at=HOUR, message_id="x")
        killed = image(path, "killed")
        await asyncio.sleep(4000)
    assert rows_due(path) == 0
    let_time_pass(monkeypatch, 5000)
    deliver = RecordingDeliver()
    async with ActorSystem(echo, journal=SqliteJournal(killed), deliver=deliver) as system:
        began = clock()
        await deliver.until(1)
        assert clock() - began < 0.2
    assert deliver.texts == ["1: x"]
    assert rows_due(killed) == 0


@pytest.mark.slow
async def test_killed_at_any_moment_it_is_answered_once(path: Path) -> None:
    """What is on the disk after every commit, as the process after a kill finds it."""
    images: list[Path] = []
    async with ActorSystem(
        echo, journal=ImagedJournal(path, images.append), deliver=RecordingDeliver()
    ) as system:
        session = system.session("ann")
        await session.send("hello", message_id="h")
        await session.send_later("x", at=timedelta(seconds=100), message_id="x")
        accepted = len(images)
        await asyncio.sleep(300)
    for killed in images[accepted - 1 :]:
        deliver = RecordingDeliver()
        async with ActorSystem(echo, journal=SqliteJournal(killed), deliver=deliver) as system:
            session = system.session("ann")
            outcome = await session.outcome("x")
            assert outcome.status is MessageStatus.ANSWERED
            assert outcome.turn == 2
            assert outcome.reply is not None
            assert outcome.reply.text == "2: x"
            again = await session.send_later("x", at=HOUR, message_id="x")
            assert again.duplicate
            await asyncio.sleep(300)
            assert deliver.texts.count("2: x") <= 1
            assert [entry.text for entry in await session.history()].count("x") == 1
        assert rows_due(killed) == 0
    assert len(images) - accepted > 1


@pytest.mark.slow
async def test_very_many_that_are_due_at_once_are_woken_some_at_a_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 600
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        receipts = [
            system.session(f"s{number}").send_later("x", at=HOUR) for number in range(count)
        ]
        for receipt in receipts:
            await receipt
    let_time_pass(monkeypatch, 5000)
    deliver, most = RecordingDeliver(), 0
    async with ActorSystem(echo, journal=SqliteJournal(path), deliver=deliver) as system:
        tree = system._tree
        assert tree is not None
        while len(deliver.deliveries) < count:
            most = max(most, sum(map(tree.door.is_starting, tree.door.cells)))
            await asyncio.sleep(0.001)
    assert most <= 256
    assert {delivery.session_id for delivery in deliver.deliveries} == {
        f"s{number}" for number in range(count)
    }


# --- the end ---


async def test_with_the_journal_in_memory_it_ends_with_the_system() -> None:
    async with ActorSystem(echo) as system:
        receipt = await system.session("ann").send_later("x", at=HOUR)
        outcome = receipt.outcome()
    assert (await outcome).status is MessageStatus.CANCELLED
    assert (await outcome).reason == "shutdown"


async def test_nothing_that_comes_due_while_the_system_closes_starts_a_turn(path: Path) -> None:
    hold = gate("hold")
    held = hold.tool("held", effect="read")
    turns: list[str] = []

    async def agent(turn: Turn) -> str:
        turns.append(turn.text)
        if turn.text == "long":
            await turn.wave(held())
        return turn.text

    async with ActorSystem(agent, journal=SqliteJournal(path), close_within=40) as system:
        await system.session("ann").send_later("x", at=timedelta(seconds=5), message_id="x")
        await system.session("ben").send("long")
        await hold.reached()
    assert turns == ["long"]
    hold.let_go()
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        assert (await system.session("ann").outcome("x")).status is MessageStatus.ANSWERED


# --- trouble ---


async def test_a_journal_that_does_not_confirm_says_so_and_the_outcome_can_be_asked_for() -> None:
    journal = SlowJournal()
    journal.commit_all()
    async with ActorSystem(echo, journal=journal) as system:
        session = system.session("ann")
        await (await session.send("hello")).outcome()
        journal.lose_next = True
        with pytest.raises(AcceptanceUnknown):
            await session.send_later("x", at=HOUR, message_id="x")
        receipt = await session.send_later("x", at=HOUR, message_id="x")
        assert not receipt.duplicate, "this time it was not written"
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED


async def test_nothing_is_confirmed_before_it_is_durable() -> None:
    journal = SlowJournal()
    async with ActorSystem(echo, journal=journal) as system:
        accepted = system.session("ann").send_later("x", at=HOUR)
        seen = system.session("ann").scheduled()
        await asyncio.sleep(10)
        assert not accepted.done()
        assert not seen.done()
        journal.commit_all()
        await accepted
        assert len(await seen) == 1


class Unreadable(SqliteJournal):
    """A journal in which nobody can look up what is due, for some time."""

    fails = 0

    async def due(self, until: float) -> AsyncIterator[Sequence[Key]]:
        """Fail, or look."""
        self.fails -= 1
        if self.fails >= 0:
            raise OSError("the disk is away")
        async for keys in super().due(until):
            yield keys


async def test_a_journal_that_cannot_be_read_now_is_looked_at_again(path: Path) -> None:
    deliver = RecordingDeliver()
    journal = Unreadable(path)
    async with ActorSystem(echo, journal=journal, deliver=deliver, idle_after=5) as system:
        await system.session("ann").send_later("x", at=HOUR)
        await asyncio.sleep(3500)
        assert loaded(system) == set()
        journal.fails = 3
        await asyncio.sleep(105)
        assert deliver.texts == []
        await asyncio.sleep(15)
        assert deliver.texts == ["1: x"]


@pytest.mark.slow
async def test_an_upgraded_journal_knows_what_is_due(path: Path) -> None:
    async with ActorSystem(echo, journal=SqliteJournal(path)) as system:
        await (await system.session("ann").send("hello")).outcome()
    old = opened(path)
    old.execute("DROP TABLE due; DROP TABLE later_history; PRAGMA user_version = 2")
    old.close()
    deliver = RecordingDeliver()
    async with ActorSystem(
        echo, journal=SqliteJournal(path), deliver=deliver, idle_after=5
    ) as system:
        await system.session("ann").send_later("x", at=HOUR)
        await asyncio.sleep(100)
        assert loaded(system) == set()
        await asyncio.sleep(3600)
        assert deliver.texts == ["2: x"]


async def test_times_that_are_close_together_are_kept_to() -> None:
    deliver = RecordingDeliver()
    at: list[float] = []

    async def agent(turn: Turn) -> str:
        at.append(clock())
        return turn.text

    async with ActorSystem(agent, deliver=deliver, idle_after=5) as system:
        began = clock()
        for number in range(20):
            later = timedelta(seconds=100 + number / 100)
            await system.session(f"s{number}").send_later(f"{number}", at=later)
        await asyncio.sleep(300)
    late = [when - began - 100 - number / 100 for number, when in enumerate(sorted(at))]
    assert len(late) == 20
    assert all(-0.01 < each < PAUSE + 0.05 for each in late)


@pytest.mark.real_time
def test_a_program_without_a_loop_schedules_too() -> None:
    with ActorSystem(echo) as system:
        session = system.session("ann")
        receipt = session.send_later("x", at=timedelta(milliseconds=20)).get()
        assert len(session.scheduled().get()) <= 1
        assert receipt.outcome().get(timeout=30).status is MessageStatus.ANSWERED
