"""A session is forgotten, whatever it is at, and nothing of it comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    CompletedCall,
    DeleteResult,
    Enqueue,
    Event,
    InvalidMessage,
    MemoryJournal,
    MessageStatus,
    Now,
    Reason,
    Receipt,
    SessionActor,
    SessionFailed,
    SystemClosed,
    Turn,
    TurnEnded,
    UnknownMessage,
    WouldDeadlock,
    tool,
)
from wavebreak.journal.base import Journal, Recorded
from wavebreak.messages.ids import SessionKey
from wavebreak.messages.model import Frozen
from wavebreak.testing import FailingJournal, RecordingDeliver, SimulatedDisk, gate

from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wavebreak import MessageOutcome, Session

LONG = 1000.0
ANN = SessionKey("", "ann")


class Mood(Frozen):
    """A session's own state."""

    mood: str = "unknown"


async def agent(turn: Turn) -> str:
    if turn.text.startswith("hang"):
        await asyncio.Event().wait()
    turn.save(Mood(mood=turn.text))
    return f"{turn.number}: {turn.text}"


async def answer(session: Session, text: str, **options: Any) -> MessageOutcome:
    receipt = await session.send(text, **options)
    return await receipt.outcome()


async def nothing_is_left(journal: Journal, key: SessionKey = ANN) -> bool:
    loading = journal.load(key)
    recorded = loading if isinstance(loading, Recorded) else await loading
    history = await journal.history(key, 100)
    return recorded.snapshot is None and not recorded.entries and not history


JOURNALS: dict[str, Callable[[], Journal]] = {
    "memory": MemoryJournal,
    "disk": lambda: SimulatedDisk().connect(),
    "slow disk": lambda: SimulatedDisk(slow=True).connect(),
}


@pytest.mark.parametrize("kind", JOURNALS)
async def test_all_of_a_session_is_forgotten(kind: str) -> None:
    journal: Journal = JOURNALS[kind]()
    async with ActorSystem(agent, journal=journal) as system, asyncio.timeout(LONG):
        ann, bob = system.session("ann"), system.session("bob")
        for session in (ann, bob):
            await answer(session, "good", message_id="m1")
        assert await ann.delete() == DeleteResult(None, ())
        assert await nothing_is_left(journal)
        assert await ann.history() == ()
        assert await ann.read(Mood) == Mood()
        with pytest.raises(UnknownMessage):
            await ann.outcome("m1")
        assert await bob.read(Mood) == Mood(mood="good")
        assert len(await bob.history()) == 2


@pytest.mark.parametrize("kind", JOURNALS)
async def test_what_is_sent_then_begins_a_session_that_knows_nothing(kind: str) -> None:
    async with ActorSystem(agent, journal=JOURNALS[kind]()) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await answer(session, "good", message_id="m1")
        await session.delete()
        receipt = await session.send("other words", message_id="m1")
        assert not receipt.duplicate
        outcome = await receipt.outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "1: other words"
        assert [entry.text for entry in await session.history()] == [
            "other words",
            "1: other words",
        ]


@pytest.mark.parametrize("kind", JOURNALS)
async def test_positions_go_on_over_a_deletion(kind: str) -> None:
    events: list[Event] = []
    system = ActorSystem(agent, journal=JOURNALS[kind]())
    system.on(Event, events.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        for text in ("a", "b", "c"):
            await answer(session, text)
            await session.delete()
    positions = [event.position for event in events if event.position is not None]
    assert len(positions) > 15
    assert positions == sorted(set(positions))


async def test_a_running_turn_is_cut_off_and_all_that_waits_with_it() -> None:
    deliver, events = RecordingDeliver(), list[Event]()
    system = ActorSystem(agent, deliver=deliver)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipts = [
            await session.send("hang", message_id="a"),
            await session.send("b", message_id="b", policy=Enqueue()),
            await session.send("c", message_id="c", policy=Enqueue()),
        ]
        outcomes = [receipt.outcome() for receipt in receipts]
        await asyncio.sleep(1)
        with session.events() as stream:
            assert await session.delete() == DeleteResult(1, ("a", "b", "c"))
            while not events or events[-1].kind != "session_deleted":  # type: ignore[attr-defined]
                events.append(await anext(stream))
        ends = [await outcome for outcome in outcomes]
        assert {end.status for end in ends} == {MessageStatus.CANCELLED}
        assert {end.reason for end in ends} == {Reason.DELETED}
        assert [end.turn for end in ends] == [1, None, None]
    kinds = [getattr(event, "kind", "") for event in events]
    assert kinds[-5:] == ["turn_ended", *["message_ended"] * 3, "session_deleted"]
    assert not deliver.deliveries


async def test_messages_that_are_parked_are_deleted_with_the_session() -> None:
    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hang")
        parked = (await session.send("b", policy=Enqueue())).outcome()
        await session.stop(Now(), backlog="park")
        await session.delete()
        assert (await parked).reason is Reason.DELETED


async def test_calls_have_their_grace_and_the_deletion_is_done_when_they_have_ended() -> None:
    slow, ended = gate("slow"), list[str]()

    @tool(effect="read")
    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2)
            ended.append("cleaned up")
        return ""

    async def calling(turn: Turn) -> str:
        if turn.text == "go":
            return "new"
        await turn.wave(clean_up(), slow.tool(1, protected=True, timeout=30)("pay"))
        return "never"

    journal = MemoryJournal()
    async with ActorSystem(calling, journal=journal) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await slow.reached()
        deleted = session.delete(grace=5)
        new = session.send("go")
        await asyncio.sleep(1)
        assert not deleted.done()
        assert not ended
        await asyncio.sleep(2)
        assert ended == ["cleaned up"]
        assert not deleted.done(), "what is protected is waited for"
        slow.let_go()
        await deleted
        outcome = await (await new).outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "new"


async def test_an_agent_that_does_not_end_is_abandoned_after_its_grace() -> None:
    enough = asyncio.Event()

    async def stubborn(turn: Turn) -> str:
        await swallow_until(enough)
        return turn.text

    journal = MemoryJournal()
    async with ActorSystem(stubborn, journal=journal) as system, asyncio.timeout(LONG):
        session, loop = system.session("ann"), asyncio.get_running_loop()
        await session.send("a")
        await asyncio.sleep(1)
        before = loop.time()
        assert (await session.delete(grace=3)).turn == 1
        assert 3 <= loop.time() - before < 4
        assert await nothing_is_left(journal)
        enough.set()
        await asyncio.sleep(10)
        assert await nothing_is_left(journal), "its late end brings nothing back"


@pytest.mark.parametrize("again", [False, True], ids=["nobody sends", "there is a new session"])
async def test_the_late_end_of_a_call_belongs_to_no_other_session(again: bool) -> None:
    book = gate("book")
    seen: list[str] = []

    async def booking(turn: Turn) -> str:
        if turn.number == 1:
            await turn.one(book.tool(1, blocking=True)("room"))
        if turn.previous is not None:
            seen.extend(record.result or record.status for record in turn.previous.calls)
        return ""

    journal, events = MemoryJournal(), list[Event]()
    system = ActorSystem(booking, journal=journal)
    system.on(Event, events.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await book.reached()
        await session.delete(grace=1)
        if again:
            # Its call has the same id, and is unknown, too.
            await session.send("b")
            await book.reached(2)
            await session.stop(Now(grace=0))
        events.clear()
        book.let_go(1)
        await asyncio.sleep(10)
        late = [event for event in events if getattr(event, "late", False)]
        assert not late
        assert again or await nothing_is_left(journal)
        book.let_go()
        await asyncio.sleep(10)


async def test_a_call_that_was_given_up_before_begins_no_session_by_its_end() -> None:
    book = gate("book")

    async def booking(turn: Turn) -> str:
        await turn.one(book.tool(1, blocking=True)("room"))
        return ""

    disk, events = SimulatedDisk(), list[Event]()
    system = ActorSystem(booking, journal=disk.connect(), idle_after=5)
    system.on(Event, events.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await book.reached()
        await session.stop(Now(grace=0))
        await asyncio.sleep(1)
        await session.delete()
        events.clear()
        book.let_go()
        await asyncio.sleep(100)
        assert not disk.entries(ANN)
        assert not events
        assert system.tree(limit=None).children[1].children[1].count == 0


async def test_nothing_is_delivered_any_more() -> None:
    deliver, journal = RecordingDeliver(), MemoryJournal()
    deliver.hang()
    async with ActorSystem(agent, deliver=deliver, journal=journal) as system:
        session = system.session("ann")
        for text in ("a", "b", "c"):
            await answer(session, text)
        await deliver.until_tried()
        await session.delete()
        await answer(session, "d")
        deliver.let_go()
        await deliver.until(2)
        await asyncio.sleep(100)
        # The first was with the channel already.
        assert sorted(deliver.texts) == ["1: a", "1: d"]
        await session.delete()
        await asyncio.sleep(100)
        assert await nothing_is_left(journal)


async def test_a_delivery_that_is_tried_again_is_not_after_the_deletion() -> None:
    deliver, journal = RecordingDeliver(), MemoryJournal()
    deliver.fail(3)
    async with ActorSystem(agent, deliver=deliver, journal=journal) as system:
        session = system.session("ann")
        await answer(session, "a")
        await deliver.until_tried()
        await session.delete()
        await asyncio.sleep(100)
        assert sum(deliver.attempts.values()) == 1
        assert not system.dead_letters
        assert await nothing_is_left(journal), "that it was given up is noted nowhere"


async def test_a_delivery_that_a_consumer_holds_counts_for_nothing_any_more() -> None:
    journal = MemoryJournal()
    async with ActorSystem(agent, deliver="pull", journal=journal) as system:
        ann, ben = system.session("ann"), system.session("ben")
        with system.deliveries(lease=5, prefetch=1) as stream:
            for text in ("a", "b"):
                await answer(ann, text)
            held = await anext(stream)
            await answer(ben, "c")
            next_one = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(1)
            assert not next_one.done()
            await ann.delete()
            assert (await next_one).delivery.reply.text == "1: c"
            assert not await held.ack()
            assert not await held.nack()
            await (await next_one).ack()
            await answer(ann, "d")
            fresh = await anext(stream)
            assert fresh.delivery.reply.text == "1: d"
            await fresh.nack(retry_after=1)
            await ann.delete()
            await asyncio.sleep(100)
        assert not system.dead_letters
        assert await nothing_is_left(journal)


async def test_its_dead_letters_are_forgotten_and_no_others() -> None:
    deliver = RecordingDeliver()
    deliver.fail(10)
    async with ActorSystem(agent, deliver=deliver, deliver_attempts=2) as system:
        for name in ("ann", "bob"):
            await answer(system.session(name), "a secret")
        await asyncio.sleep(100)
        assert {letter.session_id for letter in system.dead_letters} == {"ann", "bob"}
        await system.session("ann").delete()
        assert {letter.session_id for letter in system.dead_letters} == {"bob"}
        assert system.counters()["deleted_sessions"] == 1


async def test_a_session_that_was_never_there_is_deleted_without_a_trace() -> None:
    events: list[Event] = []
    disk = SimulatedDisk()
    system = ActorSystem(agent, journal=disk.connect())
    system.on(Event, events.append)
    async with system, asyncio.timeout(LONG):
        assert await system.session("ann").delete() == DeleteResult(None, ())
        assert await system.session("ann").delete() == DeleteResult(None, ())
        assert disk.shelves.get(ANN) is None
    assert {getattr(event, "kind", "") for event in events} == {"session_deleted"}


async def test_a_session_that_was_let_go_is_deleted() -> None:
    journal = MemoryJournal()
    async with ActorSystem(agent, journal=journal, idle_after=10) as system:
        session = system.session("ann")
        await answer(session, "a")
        await asyncio.sleep(100)
        assert system.tree(limit=None).children[1].children[1].count == 0
        await session.delete()
        assert await nothing_is_left(journal)


async def test_a_session_of_which_the_journal_cannot_be_read_is_deleted() -> None:
    disk = SimulatedDisk()
    async with ActorSystem(agent, journal=disk.connect()) as system:
        await answer(system.session("ann"), "a")
    last = disk.entries(ANN)[-1].position
    shelf = disk.shelves[ANN]
    shelf.snapshots.clear()
    del shelf.entries[2]
    events: list[Event] = []
    system = ActorSystem(agent, journal=disk.connect())
    system.on(Event, events.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        with pytest.raises(SessionFailed):
            await session.send("b")
        await session.delete()
        outcome = await answer(session, "c")
        assert outcome.reply is not None
        assert outcome.reply.text == "1: c"
    assert getattr(events[0], "kind", "") == "session_deleted"
    assert events[0].position is None, "nobody can say at which it would have been"
    assert last is not None
    assert min(event.position or 0 for event in events[1:]) > last


async def test_what_was_sent_before_is_deleted_and_what_was_sent_since_is_not() -> None:
    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        before = [session.send("hang", message_id="a"), session.send("b", policy=Enqueue())]
        deleted = session.delete()
        after = session.send("c", message_id="a")
        again = session.delete()
        last = session.send("d")
        receipts: Sequence[Receipt] = [await one for one in before]
        assert len((await deleted).message_ids) == 2
        assert not (await after).duplicate
        assert len((await again).message_ids) <= 1
        outcome = await (await last).outcome()
        assert outcome.reply is not None
        assert outcome.reply.text == "1: d"
        for receipt in receipts:
            with pytest.raises(UnknownMessage):
                await receipt.outcome()


async def test_a_turn_may_delete_its_own_session() -> None:
    system = ActorSystem(agent)
    answers: list[object] = []
    waits = asyncio.Event()

    async def forget(turn: Turn) -> str:
        if turn.text == "forget me":
            await asyncio.sleep(1)
            deleted = system.session("ann").delete()
            deleted.add_done_callback(answers.append)
            try:
                await deleted
            finally:
                waits.set()
        return "done"

    system = ActorSystem(forget)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        outcome = (await session.send("forget me")).outcome()
        assert (await outcome).reason is Reason.DELETED
        await waits.wait()
        assert len(answers) == 1
        assert (await answer(session, "a")).status is MessageStatus.ANSWERED


async def test_a_blocking_tool_may_delete_its_own_session() -> None:
    results: list[DeleteResult] = []

    @tool
    def forget() -> str:
        results.append(system.session("ann").delete().get(timeout=60))
        return "forgotten"

    async def forgetful(turn: Turn) -> str:
        await turn.one(forget())
        return "never comes here"

    system = ActorSystem(forgetful)
    async with system, asyncio.timeout(LONG):
        outcome = (await system.session("ann").send("a")).outcome()
        assert (await outcome).reason is Reason.DELETED
        await asyncio.sleep(1)
    assert [result.turn for result in results] == [1]


async def test_a_hook_that_would_wait_for_itself_is_refused() -> None:
    refused: list[WouldDeadlock] = []

    class Hooked(SessionActor):
        async def on_receive(self, message: object) -> None:
            del message
            try:
                await system.session("ann").delete()
            except WouldDeadlock as error:
                refused.append(error)

    system = ActorSystem(agent, session_actor=Hooked)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await answer(session, "a")
        await session.ask("delete")
        await session.history()
    assert len(refused) == 1


async def test_hooks_hear_of_the_end_and_a_new_object_has_the_new_session() -> None:
    told: list[str] = []

    class Hooked(SessionActor):
        __slots__ = ("kept",)

        def on_start(self) -> None:
            self.kept: list[str] = []

        def on_turn_ended(self, event: TurnEnded) -> None:
            self.kept.append("words of a user")
            told.append(f"{event.reason} {len(self.kept)}")

        def on_stop(self) -> None:
            told.append("stopped")

    async with ActorSystem(agent, session_actor=Hooked) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hang")
        await asyncio.sleep(1)
        await session.delete()
        await answer(session, "a")
        await asyncio.sleep(1)
        assert told == ["deleted 1", "stopped", "None 1"]


@pytest.mark.parametrize("when", ["recovering", "stopping", "closing"])
async def test_a_session_may_be_deleted_at_any_time(when: str) -> None:
    disk = SimulatedDisk(slow=True)
    async with ActorSystem(agent, journal=disk.connect()) as system:
        await answer(system.session("ann"), "a")
    system = ActorSystem(agent, journal=disk.connect(), close_within=2)
    closing: asyncio.Task[None] | None = None
    async with asyncio.timeout(LONG):
        await system.__aenter__()
        session = system.session("ann")
        if when != "recovering":
            await session.send("hang")
            await asyncio.sleep(1)
        stopped = session.stop() if when == "stopping" else None
        deleted = session.delete()
        if when == "closing":
            closing = asyncio.create_task(system.__aexit__(None, None))
        result = await deleted
        assert result.turn == (None if when == "recovering" else 2)
        if stopped is not None:
            assert (await stopped).turn == 2
        if closing is None:
            closing = asyncio.create_task(system.__aexit__(None, None))
        await closing
    assert not disk.entries(ANN)
    with pytest.raises(SystemClosed):
        await session.delete()


@pytest.mark.parametrize("what", ["lose", "unsure"])
async def test_a_deletion_that_the_journal_does_not_confirm_is_made_sure_of(what: str) -> None:
    disk = SimulatedDisk(slow=True)
    times: list[SessionKey] = []

    def once(key: SessionKey) -> str:
        times.append(key)
        return what if len(times) == 1 else ""

    disk.on_erase = once
    async with ActorSystem(agent, journal=disk.connect()) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await answer(session, "a")
        outcome = (await session.send("hang", message_id="hangs")).outcome()
        await asyncio.sleep(1)
        deleted = session.delete()
        new = session.send("c")
        await deleted
        end = await (await new).outcome()
        assert end.reply is not None
        assert end.reply.text == "1: c"
        assert (await outcome).reason is Reason.DELETED
    assert len(times) == 2


async def test_a_journal_that_goes_on_failing_answers_with_an_error() -> None:
    journal = FailingJournal()
    async with ActorSystem(agent, journal=journal) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await answer(session, "a")
        journal.fail(100)
        with pytest.raises(SessionFailed):
            await session.delete()


@pytest.mark.parametrize("durable", [False, True])
async def test_a_kill_leaves_all_of_a_session_or_nothing(durable: bool) -> None:
    disk = SimulatedDisk(slow=True)
    system = ActorSystem(agent, journal=disk.connect())
    await system.__aenter__()
    session = system.session("ann")
    await answer(session, "a", message_id="m")
    await session.history()
    before = list(disk.entries(ANN))
    deleted = session.delete()
    if durable:
        await deleted
    else:
        while not disk.erasing:
            await asyncio.sleep(0)
    disk.kill()
    await system.__aexit__(None, None)
    assert disk.entries(ANN) == ([] if durable else before)
    async with ActorSystem(agent, journal=disk.connect()) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a", message_id="m")
        assert receipt.duplicate is not durable


async def test_what_was_being_undone_is_undone_to_its_end() -> None:
    undone, goes = list[str](), asyncio.Event()

    async def undo(call: CompletedCall, result: str) -> None:
        await goes.wait()
        undone.append(f"{call.arguments['what']} {result}")

    @tool(compensate=undo)
    async def book(what: str) -> str:
        return "booked"

    async def booking(turn: Turn) -> str:
        await turn.one(book(f"{turn.text} room"))
        await turn.one(book(f"{turn.text} car"))
        await asyncio.Event().wait()
        return ""

    journal = MemoryJournal()
    async with ActorSystem(booking, journal=journal) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("old")
        await asyncio.sleep(1)
        rolled_back = session.rollback()
        await asyncio.sleep(1)
        await session.delete()
        assert (await rolled_back).turn == 1
        # The calls of a new session have the same ids.
        await session.send("new")
        await asyncio.sleep(1)
        again = session.rollback()
        await asyncio.sleep(1)
        goes.set()
        assert (await again).turn == 1
        await asyncio.sleep(1)
        old = [one for one in undone if one.startswith("old")]
        new = [one for one in undone if one.startswith("new")]
        assert old == ["old car booked", "old room booked"]
        assert new == ["new car booked", "new room booked"]
        await session.delete()
        await asyncio.sleep(10)
        assert await nothing_is_left(journal)


async def test_an_aside_that_is_being_answered_is_let_go() -> None:
    from wavebreak import Aside, SessionMessage, SessionView  # noqa: PLC0415

    asked: list[str] = []
    enough = asyncio.Event()

    async def aside(message: SessionMessage, view: SessionView) -> str:
        del view
        asked.append(message.as_text())
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                if message.as_text() == "old":
                    return "of the old session"
                raise
        return "of the new one"

    async with ActorSystem(agent, aside=aside) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        old = (await session.send("old", message_id="m", policy=Aside())).outcome()
        await asyncio.sleep(1)
        await session.delete()
        assert (await old).reason is Reason.DELETED
        new = (await session.send("new", message_id="m", policy=Aside())).outcome()
        await asyncio.sleep(1)
        enough.set()
        reply = (await new).reply
        assert reply is not None
        assert reply.text == "of the new one"


@pytest.mark.parametrize("grace", [-1, float("inf"), 10**400, True, "5", None])
async def test_a_grace_that_cannot_be_is_refused(grace: Any) -> None:
    async with ActorSystem(agent) as system:
        with pytest.raises(InvalidMessage, match="grace="):
            system.session("ann").delete(grace)


def test_a_program_without_a_loop_deletes_by_get() -> None:
    with ActorSystem(agent) as system:
        session = system.session("ann")
        session.send("a").get()
        assert session.delete().get(timeout=60).turn in {None, 1}
        assert session.history().get(timeout=60) == ()
