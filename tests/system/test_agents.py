"""Agents that do what they must not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from wavebreak import (
    ActorError,
    ActorSystem,
    AfterWave,
    Delivery,
    MessageStatus,
    Now,
    Reason,
    Reply,
    Session,
    Turn,
    TurnInterrupted,
    TurnOver,
    WaveFailed,
    tool,
)
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


@tool(effect="read")
async def look(number: int = 0) -> int:
    await asyncio.sleep(number)
    return number


class Behaviour(NamedTuple):
    """What an agent does, and how the message ends that it is to answer."""

    agent: Callable[[Turn], Coroutine[Any, Any, str]]
    status: MessageStatus
    says: str
    """Its reply, or what is said of its failure."""


async def two_waves_at_once(turn: Turn) -> str:
    ends = await asyncio.gather(turn.wave(look(1)), turn.wave(look(1)), return_exceptions=True)
    return " ".join(type(end).__name__ for end in ends)


async def fails_by_two_waves_at_once(turn: Turn) -> str:
    await asyncio.gather(turn.wave(look(1)), turn.wave(look(1)))
    return "never"


async def gives_up_a_wave(turn: Turn) -> str:
    try:
        async with asyncio.timeout(1):
            await turn.wave(look(5), look(0))
    except TimeoutError:
        pass
    (number,) = await turn.wave(look(2))
    return f"went on with {number}"


async def cancels_itself_and_returns(turn: Turn) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "returned"


async def cancels_itself(turn: Turn) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return "never"


async def catches_everything(turn: Turn) -> str:
    task = asyncio.current_task()
    assert task is not None
    caught = 0
    for _ in range(3):
        task.cancel()
        try:
            await turn.wave(look(1))
        except BaseException:  # noqa: BLE001 - what it is about
            caught += 1
    return f"caught {caught}"


async def says_it_was_interrupted(turn: Turn) -> str:
    raise TurnInterrupted(Reason.STOPPED)


async def raises_a_group(turn: Turn) -> str:
    raise BaseExceptionGroup("of its own", [TurnInterrupted(Reason.STOPPED), ValueError("x")])


async def raises_what_has_no_words(turn: Turn) -> str:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Wordless


async def runs_waves_in_a_task_group(turn: Turn) -> str:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(turn.wave(look(1)))
    return str(task.result())


async def goes_on_after_an_exit(turn: Turn) -> str:
    @tool(effect="read")
    async def leave() -> int:
        raise SystemExit

    with contextlib.suppress(SystemExit):
        await turn.wave(leave())
    return f"went on with {await turn.one(look(0))}"


BEHAVIOURS = [
    Behaviour(two_waves_at_once, MessageStatus.ANSWERED, "tuple WaveInProgress"),
    Behaviour(fails_by_two_waves_at_once, MessageStatus.FAILED, "WaveInProgress: turn 1 runs"),
    Behaviour(gives_up_a_wave, MessageStatus.ANSWERED, "went on with 2"),
    Behaviour(cancels_itself_and_returns, MessageStatus.ANSWERED, "returned"),
    Behaviour(cancels_itself, MessageStatus.FAILED, "CancelledError"),
    Behaviour(catches_everything, MessageStatus.ANSWERED, "caught 3"),
    Behaviour(says_it_was_interrupted, MessageStatus.FAILED, "TurnInterrupted: stopped"),
    Behaviour(raises_a_group, MessageStatus.FAILED, "BaseExceptionGroup: of its own"),
    Behaviour(raises_what_has_no_words, MessageStatus.FAILED, "Wordless: (its words cannot be"),
    Behaviour(runs_waves_in_a_task_group, MessageStatus.ANSWERED, "(1,)"),
    Behaviour(goes_on_after_an_exit, MessageStatus.ANSWERED, "went on with 0"),
]


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.agent.__name__)
async def test_whatever_an_agent_does_its_turn_ends_once_and_the_others_go_on(
    behaviour: Behaviour,
) -> None:
    audit = Audit()

    async def agent(turn: Turn) -> str:
        return await behaviour.agent(turn) if turn.text == "misbehave" else turn.text

    system = ActorSystem(audit.agent(agent))
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        ann = system.session("ann")
        outcome = await (await ann.send("misbehave")).outcome()
        others = [await ann.send("next"), await system.session("ben").send("beside")]
        ends = [await receipt.outcome() for receipt in others]
    assert outcome.status is behaviour.status
    assert (outcome.reply.text if outcome.reply else outcome.error).startswith(behaviour.says)
    assert [end.status for end in ends] == [MessageStatus.ANSWERED] * 2
    audit.check()


@pytest.mark.parametrize("policy", [Now(grace=2), AfterWave(patience=3)])
async def test_an_agent_that_swallows_its_cancellation_is_abandoned_and_starts_nothing_more(
    policy: Now | AfterWave,
) -> None:
    enough = asyncio.Event()
    audit, deliver = Audit(), RecordingDeliver()
    refused: list[object] = []

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await swallow_until(enough)
            refused.extend((turn.say("still here"), turn.delta("still here")))
            for act in (turn.wave(look()), turn.step(lambda: 1, key="one")):
                with pytest.raises(TurnInterrupted):
                    await act
        return turn.text

    system = ActorSystem(audit.agent(agent), deliver=deliver)
    audit.watch(system)
    loop = asyncio.get_running_loop()
    async with system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        before = loop.time()
        outcome = await (await session.send("b", policy=policy)).outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert loop.time() - before == pytest.approx(2 if isinstance(policy, Now) else 8)
        assert system._tree is not None
        runtimes = system._tree.runtimes.place.actor
        assert runtimes is not None
        assert runtimes.abandoned == 1
        enough.set()
        await asyncio.sleep(1)
        assert runtimes.abandoned == 0
    assert refused == [False, False]
    assert deliver.texts == ["a\nb"]
    audit.check(deliver)


class Kept(NamedTuple):
    """A turn that somebody kept after it had ended."""

    turn: Turn
    ran: list[str]

    async def use(self) -> None:
        """All that a turn can do is refused, and told of."""

        @tool
        async def act() -> str:
            self.ran.append("a call")
            return "done"

        turn = self.turn
        for begin in (
            lambda: turn.wave(act()),
            lambda: turn.one(act()),
            lambda: turn.settle(act()),
            lambda: turn.step(lambda: self.ran.append("a step"), key="one"),
        ):
            with pytest.raises(TurnOver, match="turn 1 has ended"):
                await begin()
        with pytest.raises(TurnOver):
            turn.save(Reply(text="saved"))
        assert turn.say("said") is False
        assert turn.delta("streamed") is False


@pytest.mark.parametrize("where", ["outside", "another turn", "another session", "its own task"])
async def test_a_turn_that_is_kept_after_its_end_starts_says_and_saves_nothing(where: str) -> None:
    kept: list[Kept] = []
    tasks: list[asyncio.Task[None]] = []
    deliver = RecordingDeliver()

    async def later() -> None:
        await asyncio.sleep(1)
        await kept[0].use()

    async def agent(turn: Turn) -> str:
        if turn.text == "keep":
            kept.append(Kept(turn, []))
            if where == "its own task":
                tasks.append(asyncio.create_task(later()))
        elif "another" in where:
            await kept[0].use()
        return turn.text

    audit = Audit()
    system = ActorSystem(audit.agent(agent), deliver=deliver)
    audit.watch(system)
    async with system, asyncio.timeout(LONG):
        ann, ben = system.session("ann"), system.session("ben")
        await (await ann.send("keep")).outcome()
        other = ben if where == "another session" else ann
        outcome = await (await other.send("use")).outcome()
        assert outcome.error == ""
        if where == "outside":
            await kept[0].use()
        for task in tasks:
            await task
        await asyncio.sleep(1)
    assert kept[0].ran == []
    assert sorted(deliver.texts) == ["keep", "use"]
    audit.check(deliver)


async def test_a_turn_is_not_to_be_used_on_another_thread() -> None:
    turns: list[Turn] = []
    refused: list[str] = []
    deliver = RecordingDeliver()

    @tool(effect="read")
    def blocking() -> int:
        for act in (
            lambda: turns[0].say("from a thread"),
            lambda: turns[0].delta("from a thread"),
            lambda: turns[0].save(Reply()),
            lambda: asyncio.run(turns[0].wave(look())),
            lambda: asyncio.run(turns[0].step(lambda: 1, key="one")),
        ):
            try:
                act()
            except ActorError as error:
                refused.append(str(error))
        return 1

    async def agent(turn: Turn) -> str:
        turns.append(turn)
        await turn.wave(blocking())
        return "done"

    async with ActorSystem(agent, deliver=deliver) as system:
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.status is MessageStatus.ANSWERED
        await deliver.until(1)
    assert len(refused) == 5
    assert all("another thread" in words for words in refused)
    assert deliver.texts == ["done"]


@pytest.mark.parametrize("kind", ["async", "stubborn", "blocked"])
async def test_an_agent_that_returns_while_its_wave_runs_is_answered_and_the_wave_is_let_go(
    kind: str,
) -> None:
    hold = gate("hold")
    held = hold.tool(1, blocking=kind == "blocked", stubborn=kind == "stubborn")
    tasks: list[asyncio.Task[Any]] = []
    after: list[BaseException | None] = []

    async def agent(turn: Turn) -> str:
        async def wave() -> None:
            try:
                await turn.wave(turn.call("hold", {}))
            except WaveFailed as error:
                after.append(error)

        tasks.append(asyncio.create_task(wave()))
        await hold.reached()
        return "returned"

    audit = Audit()
    system = ActorSystem(audit.agent(agent), tools=(held,))
    audit.watch(system)
    loop = asyncio.get_running_loop()
    async with system, asyncio.timeout(LONG):
        before = loop.time()
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.reply == Reply(text="returned")
        assert loop.time() - before == pytest.approx(0 if kind == "async" else 5)
        await asyncio.gather(*tasks)
        assert [type(error) for error in after] == [WaveFailed]
        hold.let_go()
        await asyncio.sleep(1)
    audit.check()


async def test_a_cancellation_that_comes_too_late_for_the_agent_does_not_cut_its_clean_up() -> None:
    """The agent is told to stop at its boundary, while its own task runs."""
    log: list[str] = []
    sessions: list[Session] = []

    class Pool:
        pass

    @contextlib.asynccontextmanager
    async def pool(_turn: object) -> AsyncGenerator[Pool]:
        log.append("open")
        try:
            yield Pool()
        finally:
            await asyncio.sleep(0.1)
            log.append("closed")

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            sessions[0].send("b", policy=Now())
            await turn.wave(look())
        return turn.text

    async with ActorSystem(agent, deps={Pool: pool}) as system:
        sessions.append(system.session("ann"))
        outcome = await (await sessions[0].send("a")).outcome()
    assert outcome.turn == 2
    assert log == ["open", "closed", "open", "closed"]


@pytest.mark.parametrize("how", ["say", "wave", "wait"])
async def test_an_agent_that_recurses_up_to_the_limit_fails_and_its_session_goes_on(
    how: str,
) -> None:
    async def go_on(turn: Turn, depth: int) -> None:
        if how == "say":
            turn.say(str(depth))
        elif how == "wave":
            await turn.wave(at_once())
        else:
            await turn.wave(look(), at_once())
        await go_on(turn, depth + 1)

    async def below(turn: Turn, frames: int) -> None:
        await (below(turn, frames - 1) if frames else go_on(turn, 0))

    @tool(effect="read")
    async def at_once() -> int:
        return 1

    async def agent(turn: Turn) -> str:
        if turn.text != "well":
            await below(turn, int(turn.text))
        return "well"

    async def deliver(delivery: Delivery) -> None:
        del delivery

    async with ActorSystem(agent, deliver=deliver) as system:
        for frames in range(2):  # so that it is not always the same place where it ends
            session = system.session(str(frames))
            async with asyncio.timeout(LONG):
                failed = await (await session.send(str(frames))).outcome()
                assert failed.status is MessageStatus.FAILED
                answered = await (await session.send("well")).outcome()
                assert answered.status is MessageStatus.ANSWERED
