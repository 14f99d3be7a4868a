"""Two things at once, in every order."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Enqueue,
    MessageStatus,
    Now,
    Receipt,
    RuntimeActor,
    SessionActor,
    Tool,
    Turn,
    TurnOutcome,
    tool,
)
from wavebreak.actors.turn_engine import AgentEnd
from wavebreak.messages.commands import Progress, RuntimeExit
from wavebreak.testing import RecordingDeliver

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak import Future, Session
    from wavebreak.actors.mailbox import Envelope
    from wavebreak.messages.policies import Policy

POLICIES: tuple[Policy, ...] = (AfterWave(), Now(), Enqueue())


def kind_of(policy: Policy) -> str:
    return policy.kind


class Race:
    """A conversation whose second message comes at a moment of the test's choice.

    The first turn has one wave of one call, which ends when ``end_call`` is called. Every call is
    ``once`` and made for the texts of its turn, so that doing one again shows.
    """

    def __init__(self, policy: Policy, *, in_thread: bool = False) -> None:
        self.policy = policy
        self.in_thread = in_thread
        self.pause = 0.0
        self.audit = Audit()
        self.deliver = RecordingDeliver()
        self.calls: Counter[str] = Counter()
        self.session: Session | None = None
        self.second: Future[Receipt] | None = None
        self.called = asyncio.Event()
        self._may_end = asyncio.Event()
        self.at: Callable[[str], None] = lambda point: None
        self.tool = self._tool()

    def _tool(self) -> Tool[[str], str]:
        @tool
        async def work(text: str) -> str:
            self.calls[text] += 1
            self.called.set()
            await self._may_end.wait()
            self.at("the call, at its end")
            return text

        return work

    def end_call(self) -> None:
        self._may_end.set()

    def send(self) -> None:
        """Send the second message, once; if so wanted from another thread, while this one waits."""
        if self.second is not None or self.session is None:
            return
        if not self.in_thread:
            self.second = self._send()
            return
        sent: list[Future[Receipt]] = []
        thread = threading.Thread(target=lambda: sent.append(self._send()))
        thread.start()
        thread.join()
        (self.second,) = sent

    def _send(self) -> Future[Receipt]:
        assert self.session is not None
        return self.session.send("second", message_id="m2", policy=self.policy)

    async def agent(self, turn: Turn) -> str:
        self.at("the agent, before its wave")
        (text,) = await turn.wave(self.tool(turn.messages[-1].as_text()))
        self.at("the agent, after its wave")
        if self.pause:
            await asyncio.sleep(self.pause)
        try:
            return f"{turn.number}: {text}"
        finally:
            self.at("the agent, at its return")

    def runtime(self) -> type[RuntimeActor]:
        race, agent = self, self.audit.agent(self.agent)

        class Runtime(RuntimeActor):
            async def run(self, turn: Turn) -> Any:
                return await agent(turn)

            def handle(self, envelope: Envelope) -> Any:
                if not isinstance(envelope.message, AgentEnd):
                    return super().handle(envelope)
                race.at("the runtime, before its exit")
                try:
                    return super().handle(envelope)
                finally:
                    race.at("the runtime, after its exit")

        return Runtime

    def session_actor(self) -> type[SessionActor]:
        race = self

        class Watched(SessionActor):
            def handle(self, envelope: Envelope) -> Any:
                name = race.report_of(envelope.message)
                if name is None:
                    return super().handle(envelope)
                race.at(f"the session, before it hears of {name}")
                try:
                    return super().handle(envelope)
                finally:
                    race.at(f"the session, after it heard of {name}")

            def on_turn_ended(self, event: object) -> None:
                race.at("the session's hook")

        return Watched

    @staticmethod
    def report_of(message: object) -> str | None:
        if isinstance(message, RuntimeExit):
            return "the exit"
        if isinstance(message, Progress):
            return "the wave's end" if message.wave_done else "the wave's begin"
        return None

    async def run(self, drive: Callable[[], Awaitable[None]]) -> None:
        """Have the conversation, and see that both messages were handled exactly once."""
        system = ActorSystem(
            self.runtime(), deliver=self._delivered, session_actor=self.session_actor()
        )
        self.audit.watch(system)
        async with system:
            self.session = system.session("ann")
            first = await self.session.send("first", message_id="m1")
            await self.called.wait()
            await drive()
            assert self.second is not None, "the moment never came"
            second = await self.second
            outcomes = [await first.outcome(), await second.outcome()]
            runtimes = system._tree.runtimes.place.actor if system._tree else None
            assert runtimes is not None
            assert (runtimes.running, runtimes.abandoned) == (0, 0)
        assert [outcome.status for outcome in outcomes] == [MessageStatus.ANSWERED] * 2
        assert second.duplicate is False
        self.audit.check(self.deliver)
        self._check_calls()

    async def _delivered(self, delivery: Any) -> None:
        self.at("the channel")
        await self.deliver(delivery)

    def _check_calls(self) -> None:
        """Nothing was done twice; but what was cut off may have been said to be unknown."""
        assert set(self.calls.values()) <= {1}, self.calls


POINTS = (
    "the call, at its end",
    "the agent, after its wave",
    "the agent, at its return",
    "the session, before it hears of the wave's end",
    "the session, after it heard of the wave's end",
    "the runtime, before its exit",
    "the runtime, after its exit",
    "the session, before it hears of the exit",
    "the session, after it heard of the exit",
    "the session's hook",
    "the channel",
)


@pytest.mark.matrix(quick=10)
@pytest.mark.parametrize("in_thread", [False, True], ids=["on the loop", "in a thread"])
@pytest.mark.parametrize("policy", POLICIES, ids=kind_of)
@pytest.mark.parametrize("point", POINTS)
async def test_a_message_at_any_point_around_the_end_of_the_last_call_is_handled_once(
    point: str, policy: Policy, in_thread: bool
) -> None:
    race = Race(policy, in_thread=in_thread)

    def at(here: str) -> None:
        if here == point:
            race.send()

    async def drive() -> None:
        race.at = at
        # Else the wave's end is told of with the exit.
        race.pause = 0.01 if "wave's end" in point else 0.0
        race.end_call()
        await asyncio.sleep(1)

    await race.run(drive)


TICKS = range(-3, 6)
"""Turns of the loop from the end of the call to the message; the reply is out after two."""


@pytest.mark.matrix(quick=10)
@pytest.mark.parametrize("in_thread", [False, True], ids=["on the loop", "in a thread"])
@pytest.mark.parametrize("policy", POLICIES, ids=kind_of)
@pytest.mark.parametrize("ticks", TICKS)
async def test_a_message_at_any_tick_around_the_end_of_the_last_call_is_handled_once(
    ticks: int, policy: Policy, in_thread: bool
) -> None:
    race = Race(policy, in_thread=in_thread)

    async def drive() -> None:
        acts = [(0, 1, race.end_call), (ticks, 0 if ticks < 0 else 2, race.send)]
        last = min(0, ticks)
        for tick, _, act in sorted(acts, key=lambda one: one[:2]):
            for _ in range(tick - last):
                await asyncio.sleep(0)
            last = tick
            act()

    await race.run(drive)


@pytest.mark.matrix(quick=6)
@pytest.mark.parametrize("policy", POLICIES, ids=kind_of)
@pytest.mark.parametrize("order", list(itertools.permutations(("end", "send", "other"))))
async def test_callbacks_of_one_tick_may_come_in_any_order(
    order: tuple[str, ...], policy: Policy
) -> None:
    race = Race(policy)

    async def drive() -> None:
        loop = asyncio.get_running_loop()
        assert race.session is not None
        acts: dict[str, Callable[[], None]] = {
            "end": race.end_call,
            "send": race.send,
            "other": partial(race.session.tell, "anything"),
        }
        for name in order:
            loop.call_soon(acts[name])
        await asyncio.sleep(0)

    await race.run(drive)


@pytest.mark.matrix(quick=6)
@pytest.mark.parametrize("gap", [0.0, 0.01, 0.02, 0.025])
@pytest.mark.parametrize(
    "policies",
    list(itertools.product(POLICIES, repeat=2)),
    ids=lambda two: "+".join(map(kind_of, two)),
)
async def test_three_messages_within_50_ms_never_run_two_unfenced_runtimes(
    policies: tuple[Policy, Policy], gap: float
) -> None:
    audit, deliver = Audit(), RecordingDeliver()
    started: Counter[tuple[str, int]] = Counter()

    @tool(effect="idempotent")
    async def work(text: str, number: int) -> int:
        started[text, number] += 1
        await asyncio.sleep(0.02)
        return number

    async def agent(turn: Turn) -> str:
        for number in range(3):
            await turn.wave(work(turn.messages[0].as_text(), number))
        return turn.text

    system = ActorSystem(audit.agent(agent), deliver=deliver)
    audit.watch(system)
    async with system:
        session = system.session("ann")
        receipts = [await session.send("a")]
        for text, policy in zip("bc", policies, strict=True):
            await asyncio.sleep(gap)
            receipts.append(await session.send(text, policy=policy))
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert [outcome.status for outcome in outcomes] == [MessageStatus.ANSWERED] * 3
    assert outcomes[2].reply is not None
    assert outcomes[2].reply.text.endswith("c")
    audit.check(deliver)
    completed_twice = {call: n for call, n in started.items() if n > 1}
    if Now not in map(type, policies):
        assert not completed_twice, "what was completed is carried over"


async def test_the_end_of_the_old_turn_removes_nothing_of_the_new_one() -> None:
    """The old runtime outlives its turn, and ends in the middle of the next one."""
    let_go = asyncio.Event()
    audit, deliver = Audit(), RecordingDeliver()
    started: list[str] = []

    @tool
    async def work(text: str) -> str:
        started.append(text)
        await asyncio.sleep(10)
        return text

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await swallow_until(let_go)
            turn.say("I am still here")
            await turn.wave(work("of the old turn"))
        (done,) = await turn.wave(work("of the new turn"))
        return done

    system = ActorSystem(audit.agent(agent), deliver=deliver)
    audit.watch(system)
    async with system:
        session = system.session("ann")
        await session.send("a")
        second = await session.send("b", policy=Now(grace=1))
        await asyncio.sleep(2)
        let_go.set()
        outcome = await second.outcome()
    assert started == ["of the new turn"]
    assert outcome.turn == 2
    assert deliver.texts == ["of the new turn"]
    audit.check(deliver)


@pytest.mark.parametrize("policy", POLICIES, ids=kind_of)
async def test_a_wave_that_is_overtaken_before_anything_of_it_starts_is_skipped_not_unknown(
    policy: Policy,
) -> None:
    """The session records the wave's begin and the stop in one go, behind a slow hook."""
    sessions: list[Session] = []
    booked: list[int] = []
    waiting = asyncio.Event()

    class Slow(SessionActor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.sleep(message)

    @tool
    async def book() -> str:
        booked.append(1)
        return "booked"

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            sessions[0].tell(5)
            await asyncio.sleep(1)
            asyncio.get_running_loop().call_soon(waiting.set)
        return await turn.one(book())

    audit = Audit()
    system = ActorSystem(audit.agent(agent), session_actor=Slow)
    audit.watch(system)
    async with system:
        sessions.append(system.session("ann"))
        await sessions[0].send("a")
        await waiting.wait()
        second = await (await sessions[0].send("b", policy=policy)).outcome()
    assert second.status is MessageStatus.ANSWERED, second.error
    assert second.reply is not None
    assert second.reply.text == "booked"
    assert len(booked) == (2 if isinstance(policy, Enqueue) else 1)
    audit.check()


async def test_a_wave_that_is_given_up_before_it_was_admitted_lends_its_number_to_no_other() -> (
    None
):
    sessions: list[Session] = []
    left: list[tuple[str, str, str | None]] = []

    class Slow(SessionActor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.sleep(message)

    @tool(effect="read")
    async def first() -> str:
        return "the first"

    @tool(effect="read")
    async def second() -> str:
        return "the second"

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            left.extend((one.tool, one.status, one.result) for one in turn.previous.calls)
            return "done"
        sessions[0].tell(5)
        await asyncio.sleep(1)
        try:
            async with asyncio.timeout(1):
                await turn.wave(first())
        except TimeoutError:
            pass
        await turn.wave(second())
        await asyncio.sleep(100)
        return "never"

    audit = Audit()
    system = ActorSystem(audit.agent(agent), session_actor=Slow)
    audit.watch(system)
    async with system:
        sessions.append(system.session("ann"))
        await sessions[0].send("a")
        await asyncio.sleep(10)
        await (await sessions[0].send("b", policy=Now())).outcome()
    assert left == [("first", "skipped", None), ("second", "completed", "the second")]
    audit.check()


@pytest.mark.real_time
async def test_many_threads_may_send_and_stop_while_turns_end() -> None:
    audit, deliver = Audit(), RecordingDeliver()

    @tool(effect="read")
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def agent(turn: Turn) -> str:
        for number in range(2):
            await turn.wave(work(number))
        return turn.text

    statuses: list[MessageStatus] = []
    stops: list[TurnOutcome | None] = []

    def client(session: Session, number: int) -> None:
        for index in range(15):
            policy = POLICIES[(number + index) % 3]
            receipt = session.send(f"{number}.{index}", policy=policy).get(timeout=10)
            if index % 5 == 4:
                stops.append(session.stop().get(timeout=10).outcome)
            statuses.append(receipt.outcome().get(timeout=10).status)

    system = ActorSystem(audit.agent(agent), deliver=deliver)
    audit.watch(system)
    async with system:
        sessions = [system.session("ann"), system.session("ben")]
        await asyncio.gather(
            *(asyncio.to_thread(client, sessions[number % 2], number) for number in range(4))
        )
    assert len(statuses) == 60
    assert set(statuses) <= {MessageStatus.ANSWERED, MessageStatus.CANCELLED}
    assert len(stops) == 12
    audit.check(deliver)


async def test_a_wave_does_not_begin_while_the_session_handles_a_message() -> None:
    log: list[str] = []
    is_busy, over = asyncio.Event(), asyncio.Event()

    class Listening(SessionActor):
        async def on_receive(self, message: object) -> None:
            is_busy.set()
            await asyncio.sleep(1)
            log.append("handled")

    @tool(effect="read")
    async def look() -> int:
        log.append("looked")
        return 1

    async def agent(turn: Turn) -> str:
        session.tell("listen")
        await is_busy.wait()
        seen = await turn.one(look())
        over.set()
        return str(seen)

    async with ActorSystem(agent, session_actor=Listening) as system:
        session = system.session("ann")
        receipt = await session.send("a")
        await over.wait()  # nothing else waits for the session until then
        assert log == ["handled", "looked"]
        await receipt.outcome()
