"""What stands under the root of a system, and what becomes of it when parts of it die."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from wavebreak import (
    ActorSystem,
    AsyncioActor,
    ChildNotFound,
    ChildRestarting,
    ChildSpec,
    ChildStartFailed,
    CompletedCall,
    Enqueue,
    InvalidChildSpec,
    MessageStatus,
    Reply,
    ReportKind,
    RollbackResult,
    Strategy,
    Supervisor,
    SystemClosed,
    SystemFailed,
    Turn,
    TurnOutcome,
    tool,
)
from wavebreak.supervisors.directory import SessionDirectory
from wavebreak.supervisors.life import kill
from wavebreak.supervisors.restart_policy import Backoff
from wavebreak.supervisors.runtime_supervisor import RuntimeSupervisor
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak import ChildInfo, Delivery, Future, Receipt, Report
    from wavebreak.actors.standing import Standing

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""

PARTS = ["directory", "runtimes", "deliveries"]


def place_of(system: ActorSystem, part: str) -> Standing[Any]:
    tree = system._tree
    assert tree is not None
    places: dict[str, Standing[Any]] = {
        "directory": tree.door.place,
        "runtimes": tree.runtimes.place,
        "deliveries": tree.outbound.place,
    }
    return places[part]


def end(system: ActorSystem, part: str) -> None:
    """End one of the actors that sessions are made of, as a bug of ours would."""
    actor = place_of(system, part).actor
    assert actor is not None
    kill(actor.actor_ref)


async def echo(turn: Turn) -> str:
    return turn.text


async def held(turn: Turn) -> str:
    (held,) = await turn.wave(turn.call("hold", {"text": turn.text}))
    return f"{turn.attempt}: {held}"


@pytest.mark.parametrize("part", PARTS)
async def test_what_sessions_are_made_of_may_die_in_the_middle_of_a_turn(part: str) -> None:
    audit, deliver, hold = Audit(), RecordingDeliver(), gate("hold")
    system = ActorSystem(audit.agent(held), tools=(hold.tool("x", effect="read"),), deliver=deliver)
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        first = await system.session("ann").send("a")
        await hold.reached()
        end(system, part)
        # Both before it is there again, and in a session that is there, and in one that is not.
        other = system.session("ben").send("b")
        second = system.session("ann").send("c", policy=Enqueue())
        hold.let_go(3)
        for receipt in (first, await other, await second):
            assert (await receipt.outcome()).status is MessageStatus.ANSWERED
        assert place_of(system, part).is_alive()
    assert sorted(deliver.texts) == ["1: x", "1: x", "1: x"], "nothing was attempted again"
    audit.check(deliver)


async def test_a_runtime_that_ends_while_its_supervisor_is_dead_is_not_lost() -> None:
    async with ActorSystem(echo) as system, asyncio.timeout(LONG):
        receipts: list[Future[Receipt]] = []
        for number in range(5):
            receipts.append(system.session(f"s{number}").send("a"))
            await asyncio.sleep(0)
            end(system, "runtimes")
            await asyncio.sleep(0)
        for receipt in receipts:
            assert (await (await receipt).outcome()).status is MessageStatus.ANSWERED


async def test_a_call_of_a_runtime_that_was_ended_by_force_is_not_started_again() -> None:
    """Its agent and its calls go on for a while, fenced; the next attempt begins meanwhile."""
    started: list[int] = []
    enough = asyncio.Event()

    @tool
    async def book() -> str:
        started.append(1)
        await swallow_until(enough)
        return "booked"

    async def agent(turn: Turn) -> str:
        (record,) = await turn.settle(book())
        return f"{turn.attempt}: {record.status}"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        await asyncio.sleep(1)
        tree = system._tree
        assert tree is not None
        (child,) = tree.runtimes.children.values()
        assert child.runtime is not None
        kill(child.runtime.actor_ref)
        assert (await receipt.outcome()).reply == Reply(text="2: unknown")
        enough.set()
        await asyncio.sleep(1)
    assert started == [1]


async def test_an_attempt_that_waits_for_its_time_begins_although_the_supervisor_died() -> None:
    async def agent(turn: Turn) -> str:
        if turn.attempt < 3:
            raise OSError("gone")
        return "here"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        await asyncio.sleep(0.01)
        end(system, "runtimes")
        assert (await receipt.outcome()).reply == Reply(text="here")


async def test_a_call_that_is_being_undone_is_not_lost_when_the_supervisor_dies() -> None:
    """It goes on; whether it ends before there is another supervisor, or after that."""
    undo, undone = gate("undo"), list[str]()

    async def cancel(call: CompletedCall, _result: str) -> None:
        await undo.through()
        undone.append(call.arguments["what"])

    @tool(compensate=cancel)
    async def book(what: str) -> str:
        return what

    async def agent(turn: Turn) -> str:
        await turn.one(book(turn.text))
        await asyncio.sleep(LONG)
        return ""

    async with ActorSystem(agent, tools=(book,)) as system, asyncio.timeout(LONG / 2):
        for number, is_early in enumerate((True, False), 1):
            session = system.session(f"s{number}")
            await session.send(session.session_id)
            await asyncio.sleep(1)
            rolled_back = session.rollback()
            await undo.reached(number)
            end(system, "runtimes")
            if not is_early:
                await asyncio.sleep(1)
            assert place_of(system, "runtimes").is_alive() is not is_early
            undo.let_go()
            assert await rolled_back == RollbackResult(1, TurnOutcome.ROLLED_BACK)
            undo.shut()
    assert undone == ["s1", "s2"], "each once"


async def test_an_undoing_that_waits_for_its_next_try_has_it_although_the_supervisor_died() -> None:
    tried: list[int] = []

    async def cancel(_call: CompletedCall, _result: str) -> None:
        tried.append(1)
        if len(tried) < 3:
            raise OSError("gone")

    @tool(compensate=cancel)
    async def book() -> str:
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.one(book())
        await asyncio.sleep(LONG)
        return ""

    async with ActorSystem(agent, tools=(book,)) as system, asyncio.timeout(LONG / 2):
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        rolled_back = session.rollback()
        while not tried:
            await asyncio.sleep(0.01)
        end(system, "runtimes")
        assert await rolled_back == RollbackResult(1, TurnOutcome.ROLLED_BACK)
    assert len(tried) == 3


async def test_a_session_that_dies_while_the_directory_is_dead_is_started_again() -> None:
    hold = gate("hold")
    tools = (hold.tool("x", effect="read"),)
    async with ActorSystem(held, tools=tools) as system, asyncio.timeout(LONG):
        outcome = (await system.session("ann").send("a")).outcome()
        await hold.reached()
        assert system._tree is not None
        (cell,) = system._tree.door.cells.values()
        assert cell.ref is not None
        end(system, "directory")
        kill(cell.ref)
        await hold.reached(2)
        hold.let_go(2)
        assert (await outcome).reply == Reply(text="2: x")


async def test_a_delivery_under_way_is_tried_again_when_the_deliveries_died_with_it() -> None:
    tried: list[str] = []
    enough = asyncio.Event()

    async def deliver(delivery: Delivery) -> None:
        tried.append(delivery.delivery_id)
        if len(tried) == 1:
            await enough.wait()

    async with ActorSystem(echo, deliver=deliver) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await (await session.send("a")).outcome()
        await asyncio.sleep(1)
        end(system, "deliveries")
        await asyncio.sleep(1)
        await (await session.send("b")).outcome()
        await asyncio.sleep(1)
    assert len(tried) == 3
    assert tried[0] == tried[1], "the id is the same, so a channel can tell"


@pytest.mark.parametrize("part", PARTS)
async def test_what_dies_too_often_ends_the_system_loudly_and_everybody_is_answered(
    part: str,
) -> None:
    hold = gate("hold")
    asked: list[Future[Any]] = []
    reports: list[Report] = []
    system = ActorSystem(held, tools=(hold.tool("x"),), deliver=RecordingDeliver())
    system.on_report(reports.append)

    async def run_until_it_ends() -> None:
        async with asyncio.timeout(LONG), system:
            session = system.session("ann")
            receipt = await session.send("a")
            asked.extend((receipt.outcome(), session.outcome("a"), session.send("b")))
            await hold.reached()
            for _ in range(11):
                end(system, part)
                asked.append(session.outcome(receipt.message_id))
                await asyncio.sleep(0.1)
            with pytest.raises(SystemFailed):
                await system.wait_closed()
            assert all(one.done() for one in asked)
            with pytest.raises(SystemFailed, match="has ended by itself"):
                system.session("ann")
            with pytest.raises(SystemClosed):
                session.send("c")

    with pytest.raises(SystemFailed, match=r"'conversations' has ended: .* more than 10 times"):
        await run_until_it_ends()
    assert ReportKind.EXCEEDED in [report.kind for report in reports]
    hold.let_go()
    async with system:
        outcome = await (await system.session("ben").send("again")).outcome()
        assert outcome.status is MessageStatus.ANSWERED


async def test_who_waits_for_the_end_of_a_system_that_is_closed_in_order_is_told() -> None:
    async with ActorSystem(echo) as system:
        waiting = asyncio.create_task(system.wait_closed())
        await asyncio.sleep(1)
        assert not waiting.done()
    await waiting
    await system.wait_closed()


# --- a program's own children ---


class Worker(AsyncioActor):
    def __init__(self, notes: list[str], name: str) -> None:
        super().__init__()
        self.notes = notes
        self.name = name

    def on_start(self) -> None:
        self.notes.append(f"start {self.name}")

    def on_stop(self) -> None:
        self.notes.append(f"stop {self.name}")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return f"{self.name}: {message}"


class ThreadWorker(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return f"thread: {message}"


def workers(notes: list[str], *names: str) -> tuple[ChildSpec, ...]:
    return tuple(ChildSpec(name, Worker, args=(notes, name)) for name in names)


async def test_a_programs_own_children_outlive_its_sessions() -> None:
    notes: list[str] = []

    async def agent(turn: Turn) -> str:
        try:
            await asyncio.sleep(3)
            return str(await system.child("db").ask(turn.text, block=False))
        finally:
            notes.append("the turn is over")

    system = ActorSystem(agent, children=workers(notes, "db", "cache"), close_within=20)
    async with system:
        assert notes == ["start db", "start cache"]
        receipt = await system.session("ann").send("a")
        outcome = receipt.outcome()
    assert (await outcome).status in {MessageStatus.ANSWERED, MessageStatus.CANCELLED}
    assert notes[2:] == ["the turn is over", "stop cache", "stop db"]
    async with system:
        assert notes[5:] == ["start db", "start cache"], "a system may be entered again"


async def test_a_turn_may_ask_a_child_by_its_id_also_after_that_was_restarted() -> None:
    notes: list[str] = []

    async def agent(turn: Turn) -> str:
        return str(await system.child("db").ask(turn.text, block=False))

    system = ActorSystem(agent, children=workers(notes, "db"))
    async with system:
        before = system.child("db")
        before.tell(ValueError("broken"))
        await asyncio.sleep(1)
        assert system.child("db") is not before
        outcome = await (await system.session("ann").send("hello")).outcome()
        assert outcome.reply == Reply(text="db: hello")
    assert notes == ["start db", "start db", "stop db"]


@pytest.mark.parametrize("error", [OSError("no such database"), SystemExit(3)])
async def test_a_child_that_does_not_start_reaches_the_starter_and_leaves_nothing(
    error: BaseException,
) -> None:
    notes: list[str] = []

    class Broken(Worker):
        def on_start(self) -> None:
            if broken:
                raise error

    broken = True
    children = (*workers(notes, "db"), ChildSpec("web", Broken, args=(notes, "web")))
    system = ActorSystem(echo, children=children)
    with pytest.raises(ChildStartFailed, match="child 'web' did not start") as caught:
        async with system:
            pass
    assert caught.value.child_id == "web"
    assert caught.value.__cause__ is error
    assert notes == ["start db", "stop db"]
    with pytest.raises(SystemClosed):
        system.session("ann")
    broken = False
    async with system:
        assert (await (await system.session("ann").send("a")).outcome()).reply == Reply(text="a")


async def test_who_gives_up_starting_a_system_leaves_nothing_of_it() -> None:
    class Slow(AsyncioActor):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(LONG)

    notes: list[str] = []
    children = (*workers(notes, "db"), ChildSpec("slow", Slow))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), ActorSystem(echo, children=children):
            pass
    assert notes == ["start db", "stop db"]


async def test_children_that_die_too_often_are_all_started_again_and_sessions_go_on() -> None:
    notes: list[str] = []
    system = ActorSystem(echo, children=workers(notes, "db", "web"))
    async with system:
        for _ in range(2):
            system.child("db").tell(ValueError("broken"))
            await asyncio.sleep(0.1)
        assert notes.count("start web") == 2, "as OTP does: their supervisor is started again"
        for _ in range(10):
            end(system, "directory")
            await asyncio.sleep(0.1)
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.status is MessageStatus.ANSWERED, "neither spends the other's budget"


async def test_children_that_nothing_helps_end_the_system() -> None:
    notes: list[str] = []

    async def break_it() -> None:
        async with ActorSystem(echo, children=workers(notes, "db")) as system:
            for _ in range(8):
                system.child("db").tell(ValueError("broken"))
                await asyncio.sleep(0.1)
            await system.wait_closed()

    with pytest.raises(SystemFailed, match="'children' was restarted more than 3 times"):
        await break_it()
    assert notes.count("start db") == 8, "two lives for each of four of their supervisor"


async def test_what_the_program_raises_itself_is_not_hidden_by_the_end_of_the_system() -> None:
    async def break_it() -> None:
        async with ActorSystem(echo) as system:
            system._root_ended("for a test")
            raise KeyError

    with pytest.raises(KeyError):
        await break_it()


async def test_a_child_is_asked_for_by_an_id_that_is_there() -> None:
    spec = ChildSpec("db", Worker, args=([], "db"), backoff=Backoff(minimum=5))
    async with ActorSystem(echo, children=(spec,)) as system:
        with pytest.raises(ChildNotFound, match="no child 'web'"):
            system.child("web")
        system.child("db").tell(ValueError("broken"))
        await asyncio.sleep(1)
        with pytest.raises(ChildRestarting, match="'db' is about to be started again"):
            system.child("db")
        await system.children.terminate_child("db")
        with pytest.raises(ChildNotFound, match=r"system\.children\.restart_child\('db'\)"):
            system.child("db")
        await system.children.restart_child("db")
        assert await system.child("db").ask("hello", block=False) == "db: hello"
        ref = await system.children.start_child(ChildSpec("web", Worker, args=([], "web")))
        assert system.child("web") is ref
    with pytest.raises(SystemClosed):
        system.child("db")


def test_children_that_cannot_be_had_are_refused_at_once() -> None:
    with pytest.raises(InvalidChildSpec, match="there twice"):
        ActorSystem(echo, children=workers([], "db", "db"))
    with pytest.raises(InvalidChildSpec, match="is no ChildSpec"):
        ActorSystem(echo, children=(Worker,))  # type: ignore[arg-type]


async def test_children_may_have_another_rule_by_a_supervisor_of_their_own() -> None:
    notes: list[str] = []
    inner = ChildSpec(
        "pair",
        Supervisor,
        args=(workers(notes, "db", "web"),),
        kwargs={"strategy": Strategy.ONE_FOR_ALL},
    )
    async with ActorSystem(echo, children=(inner,)) as system:
        supervisor: Any = system.child("pair")
        pair: list[ChildInfo] = await supervisor.which_children()
        pair[0].ref.tell(ValueError("broken"))
        await asyncio.sleep(1)
    assert notes == [
        *("start db", "start web", "stop web", "start db", "start web"),
        *("stop web", "stop db"),
    ]


@pytest.mark.real_time
def test_stock_actors_stand_under_the_root_of_a_blocking_program_too() -> None:
    spec = ChildSpec("thread", ThreadWorker)
    with ActorSystem(echo, children=(spec,)) as system:
        assert system.child("thread").ask("hello", timeout=5) == "thread: hello"
        receipt = system.session("ann").send("a").get(timeout=5)
        assert receipt.outcome().get(timeout=5).reply == Reply(text="a")
    assert pykka.ActorRegistry.get_all() == []


# --- bugs of ours, in the middle of what they do ---


class Once:
    """Fails at its first call, and works from then on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __get__(self, owner: object, _kind: object = None) -> Callable[..., Any]:
        return partial(self, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError("a bug of ours")
        return self.function(*args, **kwargs)


@pytest.mark.parametrize(
    ("part", "method"),
    [
        (RuntimeSupervisor, "_exit_of"),
        (SessionDirectory, "_start_session"),
    ],
)
async def test_what_one_of_ours_was_at_when_it_died_its_next_life_sees_to(
    part: type[AsyncioActor], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Once(getattr(part, method))
    monkeypatch.setattr(part, method, once)
    async with ActorSystem(echo) as system, asyncio.timeout(LONG):
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.reply == Reply(text="a")
    assert once.calls > 1


async def test_the_end_of_a_session_is_not_lost_with_the_directory_that_heard_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = Once(SessionDirectory._spend)
    monkeypatch.setattr(SessionDirectory, "_spend", once)
    async with ActorSystem(echo) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await (await session.send("a")).outcome()
        tree = system._tree
        assert tree is not None
        (cell,) = tree.door.cells.values()
        assert cell.ref is not None
        kill(cell.ref)
        outcome = await (await session.send("b")).outcome()
        assert outcome.reply == Reply(text="b")
    assert once.calls == 1
