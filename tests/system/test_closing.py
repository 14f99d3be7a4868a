"""A system closes at any moment, whatever is under way and whatever hangs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Delivery,
    Enqueue,
    Future,
    MemoryJournal,
    MessageAccepted,
    MessageOutcome,
    MessageStatus,
    Now,
    Reply,
    Session,
    SessionActor,
    SystemClosed,
    Turn,
    WavebreakError,
)
from wavebreak.testing import LeakCheck, RecordingDeliver, VirtualTimeLoop, gate, run

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wavebreak.journal.base import Recorded
    from wavebreak.messages.ids import SessionKey
    from wavebreak.messages.policies import Policy

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def echo(turn: Turn) -> str:
    return turn.text


async def ask(system: ActorSystem, session_id: str, text: str = "a") -> MessageStatus:
    receipt = await system.session(session_id).send(text)
    return (await receipt.outcome()).status


class Busy:
    """A system in which everything is under way that can be.

    Args:
        close_within: as of the system.
    """

    def __init__(self, close_within: float = 4.0) -> None:
        self.gates = {name: gate(name) for name in ("held", "stubborn", "blocked")}
        self.let_go = asyncio.Event()
        self.asked: dict[str, Future[Any]] = {}
        self.system = ActorSystem(
            self._agent,
            tools=(
                self.gates["held"].tool(1),
                self.gates["stubborn"].tool(1, stubborn=True),
                self.gates["blocked"].tool(1, blocking=True),
            ),
            deliver=self._deliver,
            close_within=close_within,
        )

    async def _agent(self, turn: Turn) -> str:
        match turn.session_id:
            case "held" | "stubborn" | "blocked":
                await turn.wave(turn.call(turn.session_id, {}))
            case "dying":
                raise OSError("gone")
            case "thinking":
                await turn.step(self.let_go.wait, key="think")
            case _:
                turn.say("a word")
        return turn.text

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.session_id == "unheard":
            await self.let_go.wait()

    def ask(self) -> None:
        """Send, stop and ask in several sessions, and keep what comes of it."""
        for name in ("held", "stubborn", "blocked", "dying", "thinking", "unheard", "plain"):
            session = self.system.session(name)
            self.asked[f"{name}: accepted"] = session.send(name, message_id="m1")
            self.asked[f"{name}: outcome"] = session.outcome("m1")
            self.asked[f"{name}: queued"] = session.send("next", message_id="m2", policy=Enqueue())
            self.asked[f"{name}: outcome of what is queued"] = session.outcome("m2")
            self.asked[f"{name}: state"] = session.read(Reply)
        self.asked["thinking: stopped"] = self.system.session("thinking").stop(Now(grace=100))
        self.asked["stubborn: stopped"] = self.system.session("stubborn").stop()

    def end(self) -> None:
        """Let everything go that was held."""
        self.let_go.set()
        for one in self.gates.values():
            one.let_go()

    def check(self) -> None:
        """Everybody was answered, by a value or by one of our errors."""
        open_ = [name for name, future in self.asked.items() if not future.done()]
        assert open_ == []
        foreign = {
            name: error
            for name, future in self.asked.items()
            if (error := future.error()) is not None and not isinstance(error, WavebreakError)
        }
        assert foreign == {}


def timers_of_ours(loop: asyncio.AbstractEventLoop) -> list[str]:
    scheduled = cast("list[asyncio.TimerHandle]", getattr(loop, "_scheduled", []))
    return [repr(timer) for timer in scheduled if not timer.cancelled()]


async def close_after(ticks: int) -> None:
    """Close a busy system after so many turns of the loop, and open it again."""
    loop = asyncio.get_running_loop()
    busy = Busy()
    async with asyncio.timeout(LONG) as limit:
        async with busy.system:
            busy.ask()
            for _ in range(ticks):
                await asyncio.sleep(0)
            before = loop.time()
        assert loop.time() - before < 4 + 6 + 10, "what close_within says, and some graces"
        busy.check()
        limit.reschedule(None)
        assert timers_of_ours(loop) == []
        limit.reschedule(loop.time() + LONG)
        busy.end()
        async with busy.system:
            assert await ask(busy.system, "again") is MessageStatus.ANSWERED
            assert await ask(busy.system, "plain", "once more") is MessageStatus.ANSWERED


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_busy_system_closes_at_any_moment_within_its_bound_and_leaves_nobody_waiting(
    ticks: int,
) -> None:
    await close_after(ticks)


@pytest.mark.slow
def test_a_busy_system_closes_after_any_number_of_turns_of_the_loop() -> None:
    for ticks in range(200):
        with LeakCheck() as check:
            check.run(close_after(ticks))


@pytest.mark.parametrize("seconds", [0.001, 0.05, 1.0, 3.0, 8.0, 40.0])
async def test_a_busy_system_closes_after_some_time_too(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    busy = Busy()
    async with asyncio.timeout(LONG):
        async with busy.system:
            busy.ask()
            await asyncio.sleep(seconds)
            before = loop.time()
        assert loop.time() - before < 4 + 6 + 10
    busy.check()
    busy.end()


class Hanging(SessionActor):
    """A session of which one hook never comes to an end."""

    hook = ""
    stubborn: asyncio.Event | None = None

    async def _hang(self, name: str) -> None:
        while name == self.hook:
            try:
                await asyncio.sleep(1_000_000)
            except asyncio.CancelledError:
                if self.stubborn is None or self.stubborn.is_set():
                    raise

    async def on_start(self) -> None:  # type: ignore[override]
        await self._hang("on_start")

    async def on_stop(self) -> None:  # type: ignore[override]
        await self._hang("on_stop")

    async def on_turn_ended(self, event: object) -> None:
        await self._hang("on_turn_ended")

    async def choose_policy(self, message: object, view: object) -> Policy:
        await self._hang("choose_policy")
        return AfterWave()

    async def on_receive(self, message: object) -> None:
        await self._hang("on_receive")


@pytest.mark.parametrize("stubborn", [False, True], ids=["", "swallowing its cancellation"])
@pytest.mark.parametrize(
    "hook", ["on_start", "choose_policy", "on_turn_ended", "on_receive", "on_stop"]
)
async def test_a_hook_that_hangs_does_not_keep_the_system_from_closing(
    hook: str, stubborn: bool
) -> None:
    class Stuck(Hanging):
        pass

    Stuck.hook = hook
    Stuck.stubborn = asyncio.Event() if stubborn else None
    loop = asyncio.get_running_loop()
    asked: list[Future[Any]] = []
    async with asyncio.timeout(LONG):
        async with ActorSystem(echo, session_actor=Stuck, close_within=2) as system:
            session = system.session("ann")
            session.tell("anything")
            asked += [session.send("a", message_id="m1"), session.outcome("m1")]
            asked += [session.stop(), session.ask("anything")]
            await asyncio.sleep(1)
            before = loop.time()
        assert loop.time() - before < 20
    assert [one for one in asked if not one.done()] == []
    errors = [error for one in asked if (error := one.error()) is not None]
    assert all(isinstance(error, WavebreakError) or "Dead" in repr(error) for error in errors)
    if Stuck.stubborn is not None:
        Stuck.stubborn.set()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("stubborn", [False, True], ids=["", "swallowing its cancellation"])
@pytest.mark.parametrize("what", ["deliver", "handler", "load"])
async def test_what_a_program_gave_and_hangs_does_not_keep_the_system_from_closing(
    what: str, stubborn: bool
) -> None:
    enough = asyncio.Event()

    async def hang(_argument: Any = None) -> Any:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    class SlowJournal(MemoryJournal):
        def load(self, key: SessionKey) -> Recorded:
            return cast("Recorded", hang()) if what == "load" else super().load(key)

    loop = asyncio.get_running_loop()
    deliver = hang if what == "deliver" else RecordingDeliver()
    system = ActorSystem(echo, deliver=deliver, journal=SlowJournal(), close_within=2)
    async with asyncio.timeout(LONG):
        async with system:
            if what == "handler":
                system.on(MessageAccepted, hang)
            accepted = system.session("ann").send("a")
            await asyncio.sleep(1)
            before = loop.time()
        assert loop.time() - before < 20
    assert accepted.done()
    enough.set()
    await asyncio.sleep(1)


async def test_a_turn_that_closes_its_own_system_ends_and_the_system_is_closed() -> None:
    systems: list[ActorSystem] = []

    async def agent(turn: Turn) -> str:
        await systems[0].__aexit__(None, None, None)
        return "closed"

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LONG):
        async with ActorSystem(agent) as system:
            systems.append(system)
            outcome = (await system.session("ann").send("a")).outcome()
            await asyncio.sleep(1)
            before = loop.time()
        assert loop.time() - before < 20
    assert (await outcome).status is MessageStatus.CANCELLED
    with pytest.raises(SystemClosed):
        system.session("ann")


async def test_who_waits_for_the_close_may_be_cancelled_and_it_is_closed_all_the_same() -> None:
    busy = Busy()
    async with asyncio.timeout(LONG):
        await busy.system.__aenter__()
        busy.ask()
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await busy.system.__aexit__(None, None, None)
        await busy.system.__aexit__(None, None, None)
        busy.check()
        busy.end()


@pytest.mark.real_time
async def test_threads_that_send_while_the_system_closes_are_answered() -> None:
    go = threading.Event()
    results: Counter[str] = Counter()

    def client(session: Session) -> None:
        go.wait(5)
        for number in range(200):
            try:
                session.send(str(number), policy=Enqueue()).get(timeout=10)
            except WavebreakError as error:
                results[type(error).__name__] += 1
            else:
                results["accepted"] += 1

    for _ in range(5):
        go.clear()
        async with ActorSystem(echo) as system:
            clients = [
                asyncio.create_task(asyncio.to_thread(client, system.session(f"s{number}")))
                for number in range(4)
            ]
            await asyncio.sleep(0)
            go.set()
            await asyncio.sleep(0.005)
        await asyncio.gather(*clients)
    assert results.total() == 5 * 4 * 200
    assert set(results) <= {"accepted", "SystemClosed"}


def test_a_stubborn_agent_does_not_keep_a_blocking_program_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wavebreak.actors.loop_thread.END_WITHIN", 0.05)
    monkeypatch.setattr("wavebreak.supervisors.runtimes._LAST", 0.05)
    enough = threading.Event()

    async def agent(turn: Turn) -> str:
        while not enough.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return "at last"

    with ActorSystem(agent, close_within=0) as system:
        session = system.session("ann")
        receipt = session.send("a").get(timeout=5)
        session.stop(Now(grace=0)).get(timeout=5)
        assert receipt.outcome().get(timeout=5).status is MessageStatus.CANCELLED
    enough.set()


def test_a_loop_that_is_closed_under_a_system_does_not_keep_the_next_one_from_starting() -> None:
    outcomes: list[Future[MessageOutcome]] = []

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(1000)
        return "never"

    async def left_alone() -> None:
        system = ActorSystem(agent)
        await system.__aenter__()
        for number in range(20):  # of which some session is buried before its runtime is
            receipt = await system.session(f"s{number}").send("a")
            outcomes.append(receipt.outcome())
        await asyncio.sleep(1)
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1000)

    async def another() -> str:
        async def quick(turn: Turn) -> str:
            return "done"

        async with ActorSystem(quick) as system:
            outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.reply is not None
        return outcome.reply.text

    loop = VirtualTimeLoop()
    main = loop.create_task(left_alone())
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(main)
    left = [main, *asyncio.all_tasks(loop)]
    loop.close()
    assert run(another()) == "done"
    assert all(outcome.done() for outcome in outcomes), "nobody is left waiting"
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        with contextlib.suppress(BaseException):
            cast("Coroutine[Any, Any, Any]", task.get_coro()).close()
