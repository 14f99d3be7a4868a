"""Turns that are undone, from the message that asks for it to the tools that undo."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallStatus,
    CompensationEnded,
    CompensationStarted,
    CompletedCall,
    Debounce,
    MemoryJournal,
    MessageStatus,
    Now,
    OutcomeUnknown,
    Reason,
    Rollback,
    RollbackRefused,
    RollbackResult,
    RollbackStarted,
    SessionActor,
    SessionMessage,
    SessionView,
    StopResult,
    Tool,
    Turn,
    TurnEnded,
    TurnInfo,
    TurnOutcome,
    WouldDeadlock,
    current_call,
    dep,
    tool,
)
from wavebreak.testing import gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak import Event, Receipt, Session
    from wavebreak.actors.mailbox import Envelope

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


class Agency:
    """A travel agency, with books of its own of what was really done."""

    def __init__(self, **options: Any) -> None:
        self.log: list[str] = []
        self.open: list[str] = []
        self.keys: list[str] = []
        self.undo = gate("undo")
        self.undo.let_go()
        self.fails = 0
        self.book: Tool[..., str] = self._tool(options)
        self.worked: list[int] = []
        self.waits = asyncio.Event()
        self.events: list[Event] = []

    def _tool(self, options: dict[str, Any]) -> Tool[..., str]:
        async def undo(call: CompletedCall, result: str) -> None:
            what = call.arguments["what"]
            self.log.append(f"undo {what}")
            self.keys.append(current_call().idempotency_key)
            assert self.keys[-1] == f"{call.idempotency_key}-undo"
            assert result == f"{what} is booked"
            await self.undo.through()
            if self.fails:
                self.fails -= 1
                raise RuntimeError("the agency does not answer")
            self.open.remove(what)

        async def book(what: str) -> str:
            self.log.append(f"book {what}")
            self.open.append(what)
            return f"{what} is booked"

        return tool(compensate=undo, **options)(book)

    async def agent(self, turn: Turn) -> str:
        """Book what the messages name; then wait, unless the last one says that it was all."""
        for text in turn.text.split():
            await turn.one(self.book(text.rstrip(".")))
        self.worked.append(turn.number)
        if not turn.text.endswith("."):
            await self.waits.wait()
        return ", ".join(self.open)

    def system(self, **options: Any) -> ActorSystem:
        system = ActorSystem(self.agent, tools=(self.book,), **options)
        for kind in (RollbackStarted, RollbackRefused, CompensationStarted, CompensationEnded):
            system.on(kind, self.events.append)
        system.on(TurnEnded, self.events.append)
        return system

    async def worked_on(self, turn: int) -> None:
        """Wait until the turn has booked what it was to book."""
        await until(lambda: turn in self.worked)

    @property
    def outcomes(self) -> list[TurnOutcome]:
        return [event.outcome for event in self.events if isinstance(event, TurnEnded)]

    @property
    def undone(self) -> list[str]:
        return [line.removeprefix("undo ") for line in self.log if line.startswith("undo")]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def status_of(receipt: Receipt) -> tuple[MessageStatus, Reason | None]:
    outcome = await receipt.outcome()
    return outcome.status, outcome.reason


async def undoing(agency: Agency, session: Session, text: str = "hotel") -> None:
    """Bring a session to where its first booking is being undone, held at the gate."""
    agency.undo.shut()
    await session.send(text)
    await agency.worked_on(1)
    await session.send("museum.", policy=Rollback(), message_id="second")
    await agency.undo.reached()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_whatever_an_undoing_raises_it_is_tried_again_and_the_system_goes_on(
    error: type[BaseException],
) -> None:
    tried: list[int] = []

    async def cancel(_call: CompletedCall, _result: str) -> None:
        tried.append(1)
        if len(tried) < 3:
            raise error

    @tool(compensate=cancel)
    async def book() -> str:
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.one(book())
        await asyncio.Event().wait()
        return ""

    async with ActorSystem(agent, tools=(book,)) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        assert await session.rollback() == RollbackResult(1, TurnOutcome.ROLLED_BACK)
    assert len(tried) == 3


async def test_a_chain_of_two_interruptions_is_undone_in_reverse_order() -> None:
    agency = Agency()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipts: list[Receipt] = []
        for turn, text in enumerate(("hotel", "car", "boat"), 1):
            receipts.append(await session.send(text, policy=Now()))
            await agency.worked_on(turn)
        last = await session.send("museum.", policy=Rollback())
        assert await status_of(last) == (MessageStatus.ANSWERED, None)
        for receipt in receipts:
            assert await status_of(receipt) == (MessageStatus.CANCELLED, Reason.ROLLBACK)
    assert agency.log == [
        *("book hotel", "book car", "book boat"),  # each once, over three turns
        *("undo boat", "undo car", "undo hotel"),
        "book museum",
    ]
    assert agency.open == ["museum"]
    assert agency.outcomes == [
        *[TurnOutcome.INTERRUPTED] * 2,
        TurnOutcome.ROLLED_BACK,
        TurnOutcome.FINISHED,
    ]


async def test_what_was_undone_is_done_again_when_it_is_asked_for_again() -> None:
    agency = Agency()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hotel")
        await agency.worked_on(1)
        receipt = await session.send("hotel.", policy=Rollback())
        await receipt.outcome()
    assert agency.log == ["book hotel", "undo hotel", "book hotel"]


async def test_the_messages_of_what_was_undone_are_not_in_the_history() -> None:
    agency = Agency()
    seen: list[str] = []

    async def agent(turn: Turn) -> str:
        seen.extend(entry.text for entry in await turn.history() if entry.message is not None)
        return await agency.agent(turn)

    agency_system = ActorSystem(agent)
    async with agency_system as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hotel")
        await agency.worked_on(1)
        await (await session.send("museum.", policy=Rollback())).outcome()
        await (await session.send("park.")).outcome()
    assert seen == ["museum."]


async def test_rolling_back_without_a_message_tells_what_came_of_it() -> None:
    agency = Agency()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        assert await session.rollback() == RollbackResult(None, None)
        receipt = await session.send("hotel")
        await agency.worked_on(1)
        result = await session.rollback(reason="never mind")
        assert result == RollbackResult(1, TurnOutcome.ROLLED_BACK, "never mind")
        assert await status_of(receipt) == (MessageStatus.CANCELLED, Reason.ROLLBACK)
        assert agency.open == []


async def test_a_turn_can_ask_for_itself_to_be_undone() -> None:
    agency = Agency()

    async def agent(turn: Turn) -> str:
        await turn.one(agency.book("hotel"))
        result = await system.session("ann").rollback()
        assert result == RollbackResult(1, None)
        await turn.one(agency.book("car"))
        return "never comes here"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        receipt = await system.session("ann").send("a")
        assert await status_of(receipt) == (MessageStatus.CANCELLED, Reason.ROLLBACK)
    assert agency.log == ["book hotel", "undo hotel"]


async def test_a_completed_call_that_nothing_undoes_refuses_it_and_the_turn_goes_on() -> None:
    agency = Agency()

    @tool
    async def pay() -> str:
        agency.log.append("pay")
        return "paid"

    async def agent(turn: Turn) -> str:
        await turn.wave(agency.book("hotel"), pay())
        agency.worked.append(turn.number)
        if turn.number == 1:
            await agency.waits.wait()
        return turn.text

    system = ActorSystem(agent)
    refusals: list[RollbackRefused] = []
    system.on(RollbackRefused, refusals.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        first = await session.send("a")
        await agency.worked_on(1)
        result = await session.rollback()
        assert result.outcome is TurnOutcome.INTERRUPTED
        assert "'pay' has happened, and nothing undoes it" in result.detail
        assert (await first.outcome()).status is MessageStatus.ANSWERED
        await until(lambda: refusals)
    assert sorted(agency.log) == ["book hotel", "pay"], "nothing is undone, and nothing done twice"
    assert refusals[0].tool == "pay"


async def test_a_call_that_does_not_end_within_the_grace_refuses_it() -> None:
    hold = gate("slow")
    slow = hold.tool("done", stubborn=True)

    async def agent(turn: Turn) -> str:
        try:
            await turn.one(slow("a"))
        except OutcomeUnknown:
            return "it may have happened"
        return "it has"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        result = await session.rollback(grace=2)
        assert result.outcome is TurnOutcome.INTERRUPTED
        assert "may have happened" in result.detail
        hold.let_go()
    assert hold.arrived == 1, "a once call is never started again"


@pytest.mark.parametrize("place", ["inline", "in a task", "in a thread"])
async def test_a_call_that_runs_is_let_end_and_is_undone_then(place: str) -> None:
    hold, undone = gate("book"), list[str]()

    @tool(name="read", effect="read")
    async def look() -> str:
        await asyncio.Event().wait()
        return "never"

    async def undo(call: CompletedCall, result: str) -> None:
        undone.append(f"{call.arguments['text']} {result}")

    async def on_the_loop(text: str) -> str:
        return f"{text} is booked"

    def in_a_thread(text: str) -> str:
        return f"{text} is booked"

    make = tool(name="book", compensate=undo)
    book = hold.hold(make(in_a_thread) if place == "in a thread" else make(on_the_loop))

    async def agent(turn: Turn) -> str:
        calls = (look(), book("a")) if place == "inline" else (book("a"), look())
        await turn.settle(*calls)
        return "never comes here"

    system = ActorSystem(agent)
    ends: list[TurnEnded] = []
    system.on(TurnEnded, ends.append)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        rolled_back = session.rollback()
        await asyncio.sleep(1)
        assert not rolled_back.done()
        hold.let_go()
        assert (await rolled_back).outcome is TurnOutcome.ROLLED_BACK
    assert undone == ["a a is booked"]


async def test_a_blocking_compensation_runs_in_a_thread_with_its_dependencies() -> None:
    seen: list[tuple[str, str]] = []

    class Ledger:
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

    def undo(call: CompletedCall, result: int) -> None:
        assert call.tool == "count"
        seen.append((dep(Ledger).tenant, threading.current_thread().name))

    @tool(compensate=undo)
    async def count(n: int) -> int:
        return n

    async def agent(turn: Turn) -> str:
        await turn.one(count(1))
        await asyncio.Event().wait()
        return ""

    def ledger(info: TurnInfo) -> Ledger:
        return Ledger(info.tenant)

    async with ActorSystem(agent, deps={Ledger: ledger}) as system, asyncio.timeout(LONG):
        session = system.session("ann", tenant="acme")
        await session.send("a")
        await asyncio.sleep(1)
        assert (await session.rollback()).outcome is TurnOutcome.ROLLED_BACK
    ((tenant, thread),) = seen
    assert tenant == "acme"
    assert thread.startswith("wavebreak-tool")


async def test_a_compensation_that_fails_is_tried_again_with_the_same_key() -> None:
    agency = Agency()
    agency.fails = 2
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hotel")
        await agency.worked_on(1)
        assert (await session.rollback()).outcome is TurnOutcome.ROLLED_BACK
    assert agency.undone == ["hotel"] * 3
    assert len(set(agency.keys)) == 1
    assert agency.open == []


async def test_one_that_cannot_be_undone_is_reported_and_the_rest_still_is() -> None:
    agency = Agency()
    agency.fails = 3
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("hotel car")
        await agency.worked_on(1)
        result = await session.rollback()
        assert result.outcome is TurnOutcome.ROLLBACK_FAILED
        assert result.detail == "'book' (1.1.2.1) is not undone"
        await until(lambda: agency.outcomes)
        # The booking is there still, or not: it is not made again for an equal request.
        again = await session.send("car.")
        assert (await again.outcome()).status is MessageStatus.FAILED
    assert agency.undone == ["car"] * 3 + ["hotel"]
    assert agency.log.count("book car") == 1
    ends = [event for event in agency.events if isinstance(event, CompensationEnded)]
    assert [end.status for end in ends] == [CallStatus.FAILED, CallStatus.COMPLETED]
    assert ends[0].error is not None
    assert ends[0].error.message == "the agency does not answer"


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_compensation_that_hangs_is_given_up(swallows: bool) -> None:
    tries, enough = list[str](), asyncio.Event()

    async def undo(call: CompletedCall, result: str) -> None:
        tries.append(call.call_id)
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                if not swallows:
                    raise

    @tool(compensate=undo)
    async def book() -> str:
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.one(book())
        await asyncio.Event().wait()
        return ""

    async with ActorSystem(agent, compensate_timeout=10) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        assert (await session.rollback()).outcome is TurnOutcome.ROLLBACK_FAILED
        enough.set()
    assert len(tries) == (1 if swallows else 3), "what runs still is not tried beside itself"


async def test_a_blocking_compensation_that_hangs_is_given_up_and_not_tried_again() -> None:
    hold = gate("undo")
    tries: list[str] = []

    def undo(call: CompletedCall, result: str) -> None:
        tries.append(call.call_id)
        hold.through_blocking()

    @tool(compensate=undo)
    async def book() -> str:
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.one(book())
        await asyncio.Event().wait()
        return ""

    async with ActorSystem(agent, compensate_timeout=10) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        result = await session.rollback()
        hold.let_go()
        assert result.outcome is TurnOutcome.ROLLBACK_FAILED
    assert tries == ["1.1.1.1"]


@pytest.mark.parametrize("how", [AfterWave(patience=1), Now(grace=0)])
async def test_a_stop_while_calls_are_undone_is_answered_at_once_and_cuts_nothing(
    how: AfterWave | Now,
) -> None:
    agency = Agency()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await undoing(agency, session, "hotel car")
        assert await session.stop(how) == StopResult(1, None)
        await asyncio.sleep(30)
        assert agency.undo.cancelled == 0
        agency.undo.let_go()
        outcome = await session.outcome("second")
        assert (outcome.status, outcome.reason) == (MessageStatus.CANCELLED, Reason.STOPPED)
        await until(lambda: agency.outcomes)
    assert agency.undone == ["car", "hotel"]
    assert agency.outcomes == [TurnOutcome.ROLLED_BACK]


async def test_a_message_while_calls_are_undone_joins_those_that_wait() -> None:
    agency = Agency()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await undoing(agency, session)
        third = await session.send("park.", policy=Now(grace=0))
        await asyncio.sleep(30)
        assert agency.undo.cancelled == 0
        agency.undo.let_go()
        outcome = await third.outcome()
        assert (outcome.status, outcome.turn) == (MessageStatus.ANSWERED, 2)
    assert agency.outcomes == [TurnOutcome.ROLLED_BACK, TurnOutcome.FINISHED]
    assert agency.undone == ["hotel"]


async def test_a_deadline_while_calls_are_undone_cuts_nothing() -> None:
    agency = Agency()
    agency.undo.shut()
    async with agency.system() as system, asyncio.timeout(LONG):
        session = system.session("ann")
        first = await session.send("hotel", deadline=10)
        await agency.worked_on(1)
        rolled_back = session.rollback()
        await agency.undo.reached()
        await asyncio.sleep(30)
        assert agency.undo.cancelled == 0
        agency.undo.let_go()
        assert (await rolled_back).outcome is TurnOutcome.ROLLED_BACK
        assert await status_of(first) == (MessageStatus.CANCELLED, Reason.ROLLBACK)


class Fragile(SessionActor):
    """A session that dies when it is told to."""

    def handle(self, envelope: Envelope) -> Any:
        if envelope.message == "die":
            raise SystemExit
        return super().handle(envelope)


async def test_a_session_that_dies_goes_on_undoing_and_undoes_nothing_twice_at_a_time() -> None:
    agency = Agency()
    async with agency.system(session_actor=Fragile) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await undoing(agency, session, "hotel car")
        rolled_back = session.rollback()
        await asyncio.sleep(1)
        session.tell("die")
        await asyncio.sleep(1)
        assert agency.undo.arrived == 1, "the one that runs is left to run"
        agency.undo.let_go()
        assert (await rolled_back).outcome is TurnOutcome.ROLLED_BACK
        assert (await session.outcome("second")).status is MessageStatus.ANSWERED
    assert agency.undone == ["car", "hotel"]
    started = [e.call_id for e in agency.events if isinstance(e, CompensationStarted)]
    assert started == ["1.1.2.1", "1.1.2.1", "1.1.1.1"]


async def test_a_compensation_that_ends_while_its_session_is_dead_is_not_lost() -> None:
    agency = Agency()
    async with agency.system(session_actor=Fragile) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await undoing(agency, session)
        session.tell("die")
        agency.undo.let_go()
        assert (await session.outcome("second")).status is MessageStatus.ANSWERED
    assert agency.open == ["museum"]
    assert set(agency.undone) == {"hotel"}


class LastingJournal(MemoryJournal):
    """A journal that outlives the system, as one on a disk does."""

    @property
    def survives(self) -> bool:
        """It does."""
        return True

    async def close(self) -> None:
        """Keep everything."""


async def test_what_was_being_undone_at_a_shutdown_is_undone_after_the_next_start() -> None:
    agency, journal = Agency(), LastingJournal()
    async with asyncio.timeout(LONG):
        async with agency.system(journal=journal, close_within=1) as system:
            await undoing(agency, system.session("ann"), "hotel car")
        assert agency.open == ["hotel", "car"], "the time to close was over"
        agency.undo.let_go()
        async with agency.system(journal=journal) as system:
            outcome = await system.session("ann").outcome("second")
            assert outcome.status is MessageStatus.ANSWERED
    assert agency.undone == ["car", "car", "hotel"], "at least once"
    assert len(set(agency.keys)) == 2
    assert agency.open == ["museum"]


async def test_a_shutdown_waits_for_what_is_being_undone_within_its_bound() -> None:
    agency, journal = Agency(), LastingJournal()
    async with asyncio.timeout(LONG):
        async with agency.system(journal=journal) as system:
            await undoing(agency, system.session("ann"))
            asyncio.get_running_loop().call_later(3, agency.undo.let_go)
        assert agency.open == []
        assert agency.outcomes == [TurnOutcome.ROLLED_BACK]


async def test_a_tool_that_a_new_process_does_not_know_is_not_undone_and_that_is_told() -> None:
    agency, journal = Agency(), LastingJournal()
    async with asyncio.timeout(LONG):
        async with agency.system(journal=journal, close_within=1) as system:
            await undoing(agency, system.session("ann"))
        ends: list[CompensationEnded] = []
        forgetful = ActorSystem(agency.agent, journal=journal)
        forgetful.on(CompensationEnded, ends.append)
        async with forgetful as system:
            await system.session("ann").outcome("second")
            await until(lambda: ends)
    assert ends[0].error is not None
    assert "ActorSystem(tools=...)" in ends[0].error.message


async def test_who_waits_for_its_own_session_while_undoing_is_told_so() -> None:
    errors: list[str] = []

    async def undo(call: CompletedCall, result: str) -> None:
        try:
            await system.session("ann").outcome("m1")
        except WouldDeadlock as error:
            errors.append(str(error))

    @tool(compensate=undo)
    async def book() -> str:
        return "booked"

    async def agent(turn: Turn) -> str:
        await turn.one(book())
        await asyncio.Event().wait()
        return ""

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a", message_id="m1")
        await asyncio.sleep(1)
        await session.rollback()
    assert len(errors) == 1


async def test_who_may_not_interrupt_may_not_undo_either() -> None:
    agency = Agency()

    def own(message: SessionMessage, view: SessionView) -> bool:
        return all(other.sender == message.sender for other in view.messages)

    async with agency.system(who_may_interrupt=own) as system, asyncio.timeout(LONG):
        session = system.session("group")
        first = await session.send("hotel", sender="ann")
        await agency.worked_on(1)
        await session.send("car.", sender="bob", policy=Rollback())
        await asyncio.sleep(10)
        assert agency.undone == []
        assert agency.open == ["hotel"]
        await session.send("boat.", sender="ann", policy=Rollback())
        assert await status_of(first) == (MessageStatus.CANCELLED, Reason.ROLLBACK)


async def test_a_rollback_closes_a_quiet_window_and_what_waits_starts() -> None:
    agency = Agency()
    system = agency.system(debounce=Debounce(quiet=60, max_wait=600))
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        first = await session.send("hotel.")
        before = asyncio.get_running_loop().time()
        assert await session.rollback() == RollbackResult(None, None)
        assert (await first.outcome()).status is MessageStatus.ANSWERED
        assert asyncio.get_running_loop().time() - before < 1
