from __future__ import annotations

import asyncio

import pytest

from wavebreak import (
    ActorSystem,
    CallFailed,
    MessageStatus,
    OutcomeUnknown,
    Reason,
    Reply,
    RuntimeActor,
    SessionActor,
    Turn,
    TurnEnded,
    TurnOutcome,
    TurnRestarted,
    tool,
)
from wavebreak.testing import RecordingDeliver, gate


async def test_a_runtime_that_dies_is_started_again_and_its_completed_calls_answer() -> None:
    started: list[str] = []

    @tool
    async def book(what: str) -> str:
        started.append(what)
        return f"booked {what}"

    async def agent(turn: Turn) -> str:
        (booked,) = await turn.wave(book("room"))
        if turn.attempt < 3:
            raise SystemExit("the process's idea of an end")
        return booked

    restarts: list[TurnRestarted] = []
    async with ActorSystem(agent) as system:
        system.on(TurnRestarted, restarts.append)
        outcome = await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(0)

    assert outcome.reply == Reply(text="booked room")
    assert outcome.turn == 1
    assert started == ["room"], "completed calls answer within the turn"
    assert [event.attempt for event in restarts] == [2, 3]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), OSError("gone")]
)
async def test_a_turn_whose_runtime_keeps_dying_fails_with_its_cause_and_the_session_lives_on(
    error: BaseException,
) -> None:
    attempts = 0

    async def agent(turn: Turn) -> str:
        nonlocal attempts
        if turn.text == "poison":
            attempts += 1
            raise error
        return "fine"

    ended: list[TurnEnded] = []
    async with ActorSystem(agent) as system:
        system.on(TurnEnded, ended.append)
        session = system.session("ann")
        outcome = await (await session.send("poison")).outcome()
        after = await (await session.send("hello")).outcome()
        await asyncio.sleep(0)

    assert attempts == 3
    assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, Reason.CRASHED)
    assert type(error).__name__ in outcome.error
    assert ended[0].outcome is TurnOutcome.FAILED
    assert after.status is MessageStatus.ANSWERED


async def test_an_agents_own_exception_fails_the_turn_at_once() -> None:
    attempts = 0

    async def agent(turn: Turn) -> str:
        nonlocal attempts
        attempts += 1
        raise ValueError("no such hotel")

    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a")).outcome()

    assert attempts == 1
    assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, Reason.ERROR)
    assert outcome.error == "ValueError: no such hotel"


async def test_an_error_that_retry_on_names_is_found_inside_a_group_and_a_failed_call() -> None:
    tries = 0

    @tool(effect="read")
    async def fetch() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("reset")
        return "here"

    async def agent(turn: Turn) -> str:
        (fetched,) = await turn.wave(fetch())
        return fetched

    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a")).outcome()

    assert outcome.reply == Reply(text="here")
    assert tries == 3, "a failure that retry_on names is made anew"


async def test_a_finally_failed_call_answers_in_the_next_attempt() -> None:
    tries = 0

    @tool
    async def book() -> str:
        nonlocal tries
        tries += 1
        raise ValueError("full")

    async def agent(turn: Turn) -> str:
        with pytest.raises(CallFailed) as caught:
            await turn.one(book())
        if turn.attempt == 1:
            raise SystemExit
        error = caught.value.record.error
        return f"sorry: {error.message if error else ''}"

    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a")).outcome()

    assert outcome.reply == Reply(text="sorry: full")
    assert tries == 1


async def test_a_once_call_that_was_cut_off_by_a_crash_is_unknown_until_the_agent_says_again() -> (
    None
):
    keys: list[str] = []
    book = gate("book")

    async def agent(turn: Turn) -> str:
        if turn.attempt == 1:
            task = asyncio.ensure_future(turn.wave(turn.call("book", {})))
            await book.reached()
            task.cancel()
            raise SystemExit
        try:
            await turn.one(turn.call("book", {}))
        except OutcomeUnknown as unknown:
            keys.append(unknown.record.idempotency_key)
            return str(await turn.one(turn.call("book", {}).again()))
        return "never"

    async with ActorSystem(agent, tools=(book.tool("booked"),)) as system:
        receipt = await system.session("ann").send("a")
        await book.reached()
        await asyncio.sleep(1)
        book.let_go()
        outcome = await receipt.outcome()

    assert outcome.reply == Reply(text="booked")
    assert len(keys) == 1


async def test_a_stop_during_the_backoff_of_a_restart_ends_the_turn_at_once() -> None:
    died = asyncio.Event()

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            died.set()
            raise OSError("gone")
        return "next"

    loop = asyncio.get_running_loop()
    async with ActorSystem(agent) as system:
        session = system.session("ann")
        first = await session.send("a")
        await died.wait()
        before = loop.time()
        second = await session.send("b")
        assert (await second.outcome()).reply == Reply(text="next")
        assert loop.time() - before < 0.05
        assert (await first.outcome()).turn == 2


async def test_a_session_whose_actor_dies_comes_back_with_its_mailbox_and_finishes_its_turn() -> (
    None
):
    hold = gate("hold")
    deliver = RecordingDeliver()

    class Fragile(SessionActor):
        def on_receive(self, message: object) -> None:
            raise RuntimeError(message)

    async def agent(turn: Turn) -> str:
        (held,) = await turn.wave(turn.call("hold", {}))
        return f"{turn.attempt}: {held}"

    system = ActorSystem(
        agent, tools=(hold.tool("x", effect="read"),), session_actor=Fragile, deliver=deliver
    )
    async with system:
        session = system.session("ann")
        receipt = await session.send("a")
        outcome = receipt.outcome()
        await hold.reached()
        session.tell("die")
        await hold.reached(2)
        hold.let_go()
        assert (await outcome).status is MessageStatus.ANSWERED

    assert deliver.texts == ["2: x"]


async def test_the_class_form_of_an_agent_is_a_runtime_with_a_run_method() -> None:
    class Polite(RuntimeActor):
        async def run(self, turn: Turn) -> str:
            return f"please: {turn.text}"

    async with ActorSystem(Polite) as system:
        outcome = await (await system.session("ann").send("a")).outcome()

    assert outcome.reply == Reply(text="please: a")


async def test_hooks_of_a_session_are_called_and_their_errors_end_nothing() -> None:
    called: list[str] = []

    class Hooked(SessionActor):
        async def on_turn_ended(self, event: TurnEnded) -> None:
            called.append(event.outcome)
            await asyncio.sleep(1)
            raise RuntimeError("a hook's own")

        def on_interrupted(self, partial_results: object) -> None:
            called.append("hook")

    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        await turn.wave(turn.call("hold", {"text": str(turn.number)}))
        return turn.text

    tools = (hold.tool(1, effect="read"),)
    async with ActorSystem(agent, session_actor=Hooked, tools=tools) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        second = await session.send("b")
        hold.let_go()
        assert (await second.outcome()).status is MessageStatus.ANSWERED
        await asyncio.sleep(5)

    assert called == ["hook", "interrupted", "finished"]


async def test_a_tool_that_raises_system_exit_ends_its_runtime_and_no_other() -> None:
    @tool
    async def leave() -> str:
        raise SystemExit

    async def agent(turn: Turn) -> str:
        if turn.text == "leave":
            return await turn.one(leave())
        await asyncio.sleep(1)
        return "still here"

    async with ActorSystem(agent) as system:
        other = await system.session("ben").send("stay")
        outcome = await (await system.session("ann").send("leave")).outcome()
        assert outcome.status is MessageStatus.FAILED
        assert (await other.outcome()).reply == Reply(text="still here")
