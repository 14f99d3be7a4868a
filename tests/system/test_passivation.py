"""Sessions that are idle are let go, and come back with their next message."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallEnded,
    CallStatus,
    Enqueue,
    Event,
    MemoryJournal,
    MessageAccepted,
    MessageEnded,
    MessageIdReused,
    MessageStatus,
    Now,
    Reply,
    ReportKind,
    SessionActor,
    SqliteJournal,
    Turn,
    TurnStarted,
    WavebreakError,
)
from wavebreak.messages.ids import SessionKey
from wavebreak.messages.model import Frozen
from wavebreak.supervisors.life import kill
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from pathlib import Path

    from wavebreak import Delivery, Report, Session

LONG = 10_000.0
"""Virtual seconds after which something is said to hang."""

IDLE = 10.0
ENOUGH = 2 * IDLE


async def echo(turn: Turn) -> str:
    return turn.text


async def held(turn: Turn) -> str:
    (held,) = await turn.wave(turn.call("hold", {"text": turn.text}))
    return f"{turn.attempt}: {held}"


def sessions_of(system: ActorSystem) -> list[str]:
    """Those that have an actor."""
    assert system._tree is not None
    return [key.session_id for key in system._tree.door.cells]


async def ask(session: Session, text: str, **options: Any) -> str:
    outcome = await (await session.send(text, **options)).outcome()
    assert outcome.status is MessageStatus.ANSWERED
    assert outcome.reply is not None
    return outcome.reply.text


class Memory(Frozen):
    count: int = 0


async def test_an_idle_session_is_let_go_and_comes_back_with_everything_it_knew() -> None:
    class Counted(SessionActor):
        def on_start(self) -> None:
            notes.append("start")

        def on_stop(self) -> None:
            notes.append("stop")

    async def agent(turn: Turn) -> str:
        memory = turn.state(Memory)
        turn.save(Memory(count=memory.count + 1))
        return f"{turn.number}: {turn.text} {memory.count}"

    notes: list[str] = []
    audit, deliver = Audit(), RecordingDeliver()
    system = ActorSystem(
        audit.agent(agent), idle_after=IDLE, session_actor=Counted, deliver=deliver
    )
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipt = await session.send("a", message_id="m1")
        await receipt.outcome()
        await asyncio.sleep(IDLE / 2)
        assert sessions_of(system) == ["ann"]
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []
        assert notes == ["start", "stop"]
        assert await ask(session, "b") == "2: b 1"
        await asyncio.sleep(ENOUGH)
        assert (await session.send("a", message_id="m1")).duplicate, "ids are remembered"
        with pytest.raises(MessageIdReused):
            await session.send("another", message_id="m1")
        assert (await receipt.outcome()).reply == Reply(text="1: a 0")
        await asyncio.sleep(ENOUGH)
        assert (await session.read(Memory)).count == 2
    assert notes == ["start", "stop"] * 4
    assert deliver.texts == ["1: a 0", "2: b 1"]
    audit.check(deliver)


async def test_coming_back_for_a_question_again_and_again_does_not_fill_the_journal() -> None:
    journal = MemoryJournal()
    async with ActorSystem(echo, journal=journal, idle_after=IDLE) as system:
        session = system.session("ann")
        await ask(session, "a")
        for _ in range(20):
            await asyncio.sleep(ENOUGH)
            await session.read(Memory)
            assert len(journal.load(session.key).entries) <= 2


async def test_without_idle_after_no_session_is_ever_let_go() -> None:
    async with ActorSystem(echo) as system:
        await ask(system.session("ann"), "a")
        await asyncio.sleep(100_000)
        assert sessions_of(system) == ["ann"]


async def test_what_an_idle_session_held_is_free() -> None:
    actors: weakref.WeakSet[SessionActor] = weakref.WeakSet()

    class Seen(SessionActor):
        def on_start(self) -> None:
            actors.add(self)

    async with ActorSystem(echo, idle_after=IDLE, session_actor=Seen) as system:
        for number in range(20):
            await ask(system.session(str(number)), "a")
        assert len(actors) == 20
        await asyncio.sleep(ENOUGH)
        gc.collect()
        assert len(actors) == 0
        tree = system._tree
        assert tree is not None
        assert (len(tree.door.cells), len(tree.door.leaving)) == (0, 0)


async def test_of_a_session_that_rests_on_the_disk_nothing_is_in_memory(tmp_path: Path) -> None:
    def in_memory() -> set[str]:
        gc.collect()
        keys = [one for one in gc.get_objects() if isinstance(one, SessionKey)]
        return {key.session_id for key in keys if key.tenant == "at rest"}

    journal = SqliteJournal(tmp_path / "journal.db")
    async with (
        ActorSystem(echo, idle_after=IDLE, journal=journal) as system,
        asyncio.timeout(LONG),
    ):
        for number in range(10):
            await ask(system.session(str(number), tenant="at rest"), "a")
        assert len(in_memory()) == 10
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []
        assert in_memory() == set()
        again = system.session("3", tenant="at rest")
        assert await ask(again, "b") == "b"
        assert in_memory() == {"3"}
        assert len(await again.history()) == 4


async def test_a_session_is_not_let_go_while_it_works_or_anybody_waits() -> None:
    hold = gate("hold")
    system = ActorSystem(held, tools=(hold.tool("x"),), idle_after=IDLE)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        first = await session.send("a")
        second = await session.send("b", policy=Enqueue())
        await asyncio.sleep(10 * ENOUGH)
        hold.let_go(1)
        await asyncio.sleep(10 * ENOUGH)
        assert sessions_of(system) == ["ann"]
        hold.let_go(1)
        for receipt in (first, second):
            assert (await receipt.outcome()).reply == Reply(text="1: x")
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []


async def test_a_session_is_not_let_go_while_a_reply_is_on_its_way() -> None:
    enough = asyncio.Event()

    async def deliver(_delivery: Delivery) -> None:
        await enough.wait()

    async with ActorSystem(echo, idle_after=IDLE, deliver=deliver, deliver_timeout=LONG) as system:
        await ask(system.session("ann"), "a")
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == ["ann"]
        enough.set()
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []


async def test_a_session_is_not_let_go_while_an_agent_that_was_abandoned_has_not_ended() -> None:
    enough = asyncio.Event()

    async def agent(turn: Turn) -> str:
        await swallow_until(enough)
        return turn.text

    async with ActorSystem(agent, idle_after=IDLE) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipt = await session.send("a")
        await session.stop(Now(grace=1))
        assert (await receipt.outcome()).status is MessageStatus.CANCELLED
        await asyncio.sleep(10 * ENOUGH)
        assert sessions_of(system) == ["ann"]
        enough.set()
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []


async def test_the_late_end_of_a_call_brings_its_session_back_to_record_it() -> None:
    hold = gate("hold")
    late: list[CallEnded] = []
    system = ActorSystem(held, tools=(hold.tool("x", stubborn=True),), idle_after=IDLE)
    system.on(CallEnded, late.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        await session.stop(Now(grace=1))
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []
        hold.let_go()
        await asyncio.sleep(1)
    assert [(event.status, event.late) for event in late] == [
        (CallStatus.UNKNOWN, False),
        (CallStatus.COMPLETED, True),
    ]


async def test_streams_of_a_sessions_events_go_on_over_its_rest_without_a_gap() -> None:
    seen: list[Event] = []
    async with ActorSystem(echo, idle_after=IDLE) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        with session.events() as events:
            await ask(session, "a")
            await asyncio.sleep(ENOUGH)
            assert sessions_of(system) == [], "who listens does not keep it"
            await ask(session, "b")
            events.close()
            seen += [event async for event in events]
    assert [type(event) for event in seen].count(TurnStarted) == 2
    positions = [event.position for event in seen if event.position is not None]
    assert positions == list(range(positions[0], positions[0] + len(positions)))


async def test_the_end_of_a_session_at_rest_is_reported_as_the_directorys_own_doing() -> None:
    reports: list[Report] = []
    system = ActorSystem(echo, idle_after=IDLE)
    system.on_report(reports.append)
    async with system:
        await ask(system.session("ann"), "a")
        await asyncio.sleep(ENOUGH)
    mine = [report for report in reports if report.child_id == SessionKey("", "ann")]
    assert [(report.kind, report.cause, report.action) for report in mine] == [
        (ReportKind.ENDED, None, None)
    ]


async def test_a_message_that_comes_while_a_session_stops_waits_for_its_end() -> None:
    alive = most = 0

    class Slow(SessionActor):
        def on_start(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        async def on_stop(self) -> None:  # type: ignore[override]
            nonlocal alive
            stopping.set()
            await asyncio.sleep(3)
            alive -= 1

    stopping = asyncio.Event()
    async with ActorSystem(echo, idle_after=IDLE, session_actor=Slow) as system:
        async with asyncio.timeout(LONG):
            session = system.session("ann")
            await ask(session, "a")
            await stopping.wait()
            before = asyncio.get_running_loop().time()
            sent = session.send("b")
            stopped = session.stop()
            assert (await (await sent).outcome()).status is not None
            await stopped
            assert asyncio.get_running_loop().time() - before == pytest.approx(3, abs=0.1)
    assert most == 1, "no second incarnation beside it"


@pytest.mark.parametrize("stubborn", [False, True], ids=["", "swallowing its cancellation"])
async def test_a_session_that_does_not_come_to_rest_is_broken_off(stubborn: bool) -> None:
    class Hanging(SessionActor):
        async def on_stop(self) -> None:  # type: ignore[override]
            stopping.set()
            while not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    if not stubborn:
                        raise

    stopping, enough = asyncio.Event(), asyncio.Event()
    async with ActorSystem(echo, idle_after=IDLE, session_actor=Hanging) as system:
        async with asyncio.timeout(LONG):
            session = system.session("ann")
            await ask(session, "a")
            await stopping.wait()
            assert await ask(session, "b") == "b"
        enough.set()
        await asyncio.sleep(1)


async def test_a_system_closes_while_sessions_are_on_their_way_to_rest() -> None:
    class Slow(SessionActor):
        async def on_stop(self) -> None:  # type: ignore[override]
            stopping.set()
            await asyncio.sleep(3)
            stopped.append(self)

    stopping = asyncio.Event()
    stopped: list[SessionActor] = []
    async with asyncio.timeout(LONG):
        async with ActorSystem(echo, idle_after=IDLE, session_actor=Slow) as system:
            session = system.session("ann")
            await ask(session, "a")
            await stopping.wait()
            sent = session.send("b")
        assert sent.done()
        assert len(stopped) == 2, "each of the two incarnations was waited for"


async def test_a_directory_that_dies_goes_on_letting_sessions_go() -> None:
    async with ActorSystem(echo, idle_after=IDLE) as system, asyncio.timeout(LONG):
        await ask(system.session("ann"), "a")
        assert system._tree is not None
        actor = system._tree.door.place.actor
        assert actor is not None
        kill(actor.actor_ref)
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []
        assert await ask(system.session("ann"), "b") == "b"


async def test_a_stop_does_not_cover_what_is_sent_after_the_session_came_back() -> None:
    async with ActorSystem(echo, idle_after=IDLE) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        for _ in range(50):
            await ask(session, "a")
        await session.stop()
        await asyncio.sleep(ENOUGH)
        assert await ask(session, "b", policy=AfterWave()) == "b"


async def test_sessions_are_let_go_a_few_at_a_time_so_that_others_have_their_turn() -> None:
    left: list[int] = []

    class Noting(SessionActor):
        def on_stop(self) -> None:
            if not left:
                self._loop.call_soon(lambda: left.append(len(sessions_of(system))))

    async with ActorSystem(echo, idle_after=IDLE, session_actor=Noting) as system:
        for number in range(600):
            system.session(str(number)).tell("begin")
        await asyncio.sleep(ENOUGH)
        assert sessions_of(system) == []
    assert left[0] > 300


@pytest.mark.slow
@pytest.mark.real_time
def test_threads_that_send_while_sessions_are_let_go_lose_nothing() -> None:
    audit = Audit()
    errors: list[BaseException] = []

    def client(session: Session) -> None:
        try:
            for number in range(100):
                receipt = session.send(str(number), policy=Enqueue()).get(timeout=20)
                assert receipt.outcome().get(timeout=20).status is MessageStatus.ANSWERED
        except (AssertionError, WavebreakError) as error:
            errors.append(error)

    with ActorSystem(audit.agent(echo), idle_after=0.0005) as system:
        audit.watch(system)
        clients = [
            threading.Thread(target=client, args=(system.session(f"s{number}"),))
            for number in range(4)
        ]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
    assert errors == []
    kinds = [type(event) for events in audit.events.values() for event in events]
    assert kinds.count(MessageAccepted) == kinds.count(MessageEnded) == 400
    audit.check()


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_how_long_a_session_is_idle_is_a_number_of_seconds(bad: float) -> None:
    with pytest.raises(ValueError, match="idle_after"):
        ActorSystem(echo, idle_after=bad)
