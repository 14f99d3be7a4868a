"""Sessions that die, at every message and in every hook."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Enqueue,
    MessageStatus,
    Receipt,
    Reply,
    SessionActor,
    SessionFailed,
    Turn,
    TurnOutcome,
    WavebreakError,
)
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit
from .conversing import Answers, Trouble, agent_of, check_answers, conversation, swallow_until

if TYPE_CHECKING:
    from wavebreak.actors.mailbox import Envelope
    from wavebreak.messages.ids import SessionKey

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


@pytest.mark.matrix(quick=1)
@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("before", [True, False], ids=["before it", "after it"])
async def test_a_session_that_dies_at_any_message_leaves_nobody_waiting(
    before: bool, error: type[BaseException]
) -> None:
    at, count = 0, 1
    while at < count:
        at += 1
        trouble = Trouble(at, error)
        count = await _die_at(trouble, before=before)
    assert count > 30, "the conversation is long enough"


async def _die_at(trouble: Trouble, *, before: bool) -> int:
    class Fragile(SessionActor):
        def handle(self, envelope: Envelope) -> Any:
            if before:
                trouble.maybe()
            result = super().handle(envelope)
            if not before:
                trouble.maybe()
            return result

    audit, deliver, hold = Audit(), RecordingDeliver(), gate("hold")
    started: list[str] = []
    system = ActorSystem(
        audit.agent(agent_of(started)),
        tools=(hold.tool("held", effect="read"),),
        session_actor=Fragile,
        deliver=deliver,
    )
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        answers = await conversation(system, hold)
        await asyncio.sleep(30)
    check_answers(answers, started)
    audit.check(deliver)
    return trouble.count


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("hook", ["choose_policy", "on_turn_ended", "on_interrupted", "on_receive"])
@pytest.mark.parametrize("slow", [False, True], ids=["plain", "async"])
async def test_a_hook_may_raise_what_it_likes(
    hook: str, slow: bool, error: type[BaseException]
) -> None:
    calls = 0

    async def later(value: Any) -> Any:
        await asyncio.sleep(0.1)
        return act(value)

    def act(value: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return value

    class Hooked(SessionActor):
        def choose_policy(self, message: object, view: object) -> Any:
            return self._do("choose_policy", AfterWave(patience=5))

        def on_turn_ended(self, event: object) -> Any:
            return self._do("on_turn_ended", None)

        def on_interrupted(self, partial_results: object) -> Any:
            return self._do("on_interrupted", None)

        def on_receive(self, message: object) -> Any:
            return self._do("on_receive", message)

        def _do(self, name: str, value: Any) -> Any:
            if name != hook:
                return value
            return later(value) if slow else act(value)

    audit, deliver, hold = Audit(), RecordingDeliver(), gate("hold")
    started: list[str] = []
    system = ActorSystem(
        audit.agent(agent_of(started)),
        tools=(hold.tool("held", effect="read"),),
        session_actor=Hooked,
        deliver=deliver,
    )
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        answers = Answers()
        await answers.send(session, "a")
        session.tell("anything")
        await asyncio.sleep(1)
        waiting = asyncio.create_task(answers.send(session, "b"))
        await asyncio.sleep(1)
        hold.let_go()
        await waiting
        await answers.wait()
        await asyncio.sleep(30)
        assert await session.ask("alive?") in {"alive?", None}
    assert calls > 0
    assert set(answers.outcomes.values()) == {MessageStatus.ANSWERED}
    audit.check(deliver)


@pytest.mark.parametrize("ends", ["a turn", "nothing"])
async def test_a_stop_that_outlives_its_session_covers_no_message_that_came_after_it(
    ends: str,
) -> None:
    class Fragile(SessionActor):
        def on_receive(self, message: Any) -> None:
            raise RuntimeError(message)

    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        if turn.number == 1 and ends == "a turn":
            await turn.wave(turn.call("hold", {}))
        return turn.text

    stand_in = hold.tool(1, effect="read", stubborn=True)
    async with ActorSystem(agent, session_actor=Fragile, tools=(stand_in,)) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        stopped = session.stop()
        await asyncio.sleep(0)
        session.tell("die")
        later = session.send("later")
        await asyncio.sleep(10)
        hold.let_go()
        result = await stopped
        outcome = await (await later).outcome()
    assert outcome.status is MessageStatus.ANSWERED
    wanted = (1, TurnOutcome.STOPPED) if ends == "a turn" else (None, None)
    assert (result.turn, result.outcome) == wanted


async def test_a_session_that_stops_itself_comes_back_for_those_who_wait() -> None:
    class Leaving(SessionActor):
        def on_receive(self, message: Any) -> None:
            self.stop()

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(5)
        return turn.text

    audit = Audit()
    system = ActorSystem(audit.agent(agent), session_actor=Leaving)
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        receipt = await session.send("a")
        outcome = receipt.outcome()
        session.tell("leave")
        after = session.send("b", policy=Enqueue())
        assert (await outcome).status is MessageStatus.ANSWERED
        assert (await (await after).outcome()).status is MessageStatus.ANSWERED
        beside = await system.session("ben").send("c")
        assert (await beside.outcome()).status is MessageStatus.ANSWERED
    audit.check()


@pytest.mark.parametrize("where", ["__init__", "on_start"])
async def test_a_session_that_does_not_start_says_so_and_no_other_suffers(where: str) -> None:
    broken = True

    class Broken(SessionActor):
        def __init__(self, key: SessionKey, *args: Any) -> None:
            super().__init__(key, *args)
            if broken and where == "__init__" and key.session_id == "ann":
                raise RuntimeError("no such table")

        def on_start(self) -> None:
            if broken and where == "on_start" and self._key.session_id == "ann":
                raise RuntimeError("no such table")

    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, session_actor=Broken) as system, asyncio.timeout(LONG):
        ann = system.session("ann")
        with pytest.raises(SessionFailed, match="RuntimeError: no such table"):
            await ann.send("a")
        beside = await system.session("ben").send("b")
        assert (await beside.outcome()).status is MessageStatus.ANSWERED
        broken = False
        outcome = await (await ann.send("a")).outcome()
        assert outcome.status is MessageStatus.ANSWERED, "it is tried anew"


async def test_what_was_delivered_is_not_delivered_again_because_its_session_died() -> None:
    """The acknowledgement waits behind the hook that the session dies of."""

    class Fragile(SessionActor):
        async def on_turn_ended(self, event: object) -> None:
            await asyncio.sleep(1)
            raise SystemExit

    deliver = RecordingDeliver()

    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, session_actor=Fragile, deliver=deliver) as system:
        await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(30)
    assert deliver.texts == ["a"]
    assert set(deliver.attempts.values()) == {1}


async def test_a_hook_that_waits_for_its_own_session_is_told_instead_of_hanging() -> None:
    errors: list[str] = []
    systems: list[ActorSystem] = []
    tasks: list[asyncio.Task[Receipt]] = []

    class Waiting(SessionActor):
        async def on_turn_ended(self, event: Any) -> None:
            if event.turn > 1:
                return
            session = systems[0].session("ann")
            for ask in (
                lambda: session.send("b", policy=Enqueue()),
                lambda: session.ask("anything"),
                lambda: session.read(Reply),
                session.stop,
                lambda: session.outcome("m1"),
            ):
                try:
                    await ask()
                except WavebreakError as error:
                    errors.append(type(error).__name__)

            async def send() -> Receipt:
                return await session.send("c", policy=Enqueue())

            tasks.append(asyncio.create_task(send()))

    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, session_actor=Waiting) as system, asyncio.timeout(LONG):
        systems.append(system)
        session = system.session("ann")
        await (await session.send("a", message_id="m1")).outcome()
        receipt = await tasks[0]
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED
    assert errors == ["WouldDeadlock"] * 5


async def test_a_supervisor_survives_a_runtime_whose_session_is_gone() -> None:
    """The runtime ends after its session was closed for good."""

    class Leaving(SessionActor):
        def on_receive(self, message: Any) -> None:
            self.stop()

    enough = asyncio.Event()

    async def agent(turn: Turn) -> str:
        await swallow_until(enough)
        return turn.text

    async with ActorSystem(agent, session_actor=Leaving) as system, asyncio.timeout(LONG):
        ann = system.session("ann")
        await ann.send("a")
        ann.tell("leave")
        await asyncio.sleep(1)
        enough.set()
        await asyncio.sleep(1)
        assert system._tree is not None
        assert system._tree.runtimes.place.is_alive()
        beside = await system.session("ben").send("b")
        assert (await beside.outcome()).status is MessageStatus.ANSWERED
