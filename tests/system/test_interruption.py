from __future__ import annotations

import asyncio

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallStatus,
    Enqueue,
    Event,
    MessageStatus,
    Now,
    Reason,
    Receipt,
    Turn,
    TurnEnded,
    TurnInterrupted,
    TurnOutcome,
    tool,
)
from wavebreak.testing import RecordingDeliver, gate


async def two_waves(turn: Turn) -> str:
    (found,) = await turn.wave(turn.call("search", {"text": "rome"}))
    (price,) = await turn.wave(turn.call("price", {"text": str(found)}))
    return f"{turn.text} -> {price}"


async def test_a_second_message_stops_the_turn_after_its_wave_and_the_next_has_the_results() -> (
    None
):
    search, price = gate("search"), gate("price")
    price.let_go()
    deliver = RecordingDeliver()
    previous: list[tuple[str, ...]] = []

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            previous.append(tuple(record.tool for record in turn.previous.completed))
        return await two_waves(turn)

    tools = (search.tool("hotel", effect="read"), price.tool(100, effect="read"))
    async with ActorSystem(agent, tools=tools, deliver=deliver) as system:
        session = system.session("ann")
        first = await session.send("rome")
        await search.reached()
        second = await session.send("cheap")
        search.let_go()
        outcomes = [await first.outcome(), await second.outcome()]

    assert [outcome.status for outcome in outcomes] == [MessageStatus.ANSWERED] * 2
    assert [outcome.turn for outcome in outcomes] == [2, 2]
    assert previous == [("search",)]
    assert search.arrived == 1, "the completed search answers the equal call of the next turn"
    assert deliver.texts == ["rome\ncheap -> 100"]


async def test_the_interrupted_turn_sees_its_wave_to_the_end_and_begins_no_other() -> None:
    search, price = gate("search"), gate("price")
    price.let_go()
    ended: list[TurnEnded] = []
    async with ActorSystem(
        two_waves, tools=(search.tool("x", effect="read"), price.tool(1, effect="read"))
    ) as system:
        system.on(TurnEnded, ended.append)
        session = system.session("ann")
        await session.send("a")
        await search.reached()
        receipt = await session.send("b")
        assert price.arrived == 0
        search.let_go()
        await receipt.outcome()
        await asyncio.sleep(0)

    left = ended[0].partial_results
    assert ended[0].outcome is TurnOutcome.INTERRUPTED
    assert ended[0].reason is Reason.SUPERSEDED
    assert left is not None
    assert [(call.tool, call.status) for call in left.calls] == [("search", CallStatus.COMPLETED)]
    assert price.arrived == 1


@pytest.mark.parametrize("effect", ["read", "once"])
async def test_now_cancels_a_running_call_which_is_cancelled_if_a_read_and_unknown_otherwise(
    effect: str,
) -> None:
    work = gate("work")
    seen: list[CallStatus] = []

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            seen.extend(call.status for call in turn.previous.calls)
            return "done"
        await turn.wave(turn.call("work", {}))
        return "never"

    stand_in = work.tool("x", effect="read" if effect == "read" else "once")
    async with ActorSystem(agent, tools=(stand_in,), policy=Now()) as system:
        session = system.session("ann")
        await session.send("a")
        await work.reached()
        outcome = await (await session.send("b")).outcome()

    assert outcome.reply is not None
    assert outcome.reply.text == "done"
    assert seen == [CallStatus.CANCELLED if effect == "read" else CallStatus.UNKNOWN]


async def test_enqueued_messages_have_a_turn_each_in_order() -> None:
    order: list[str] = []

    async def agent(turn: Turn) -> str:
        order.append(turn.text)
        await asyncio.sleep(1)
        return turn.text

    async with ActorSystem(agent, policy=Enqueue()) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in ("a", "b", "c")]
        outcomes = [await receipt.outcome() for receipt in receipts]

    assert order == ["a", "b", "c"]
    assert [outcome.turn for outcome in outcomes] == [1, 2, 3]


async def test_three_messages_at_once_never_run_two_runtimes_and_the_third_is_answered() -> None:
    running: set[int] = set()
    most = 0

    @tool(effect="read")
    async def work(number: int) -> int:
        await asyncio.sleep(0.1)
        return number

    async def agent(turn: Turn) -> str:
        nonlocal most
        running.add(turn.number)
        most = max(most, len(running))
        try:
            for number in range(3):
                await turn.wave(work(number))
            return turn.text
        finally:
            running.discard(turn.number)

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        receipts: list[Receipt] = []
        for text in ("a", "b", "c"):
            receipts.append(await session.send(text))
            await asyncio.sleep(0.02)
        outcomes = [await receipt.outcome() for receipt in receipts]

    assert most == 1
    assert {outcome.status for outcome in outcomes} == {MessageStatus.ANSWERED}
    assert outcomes[2].reply is not None
    assert outcomes[2].reply.text.endswith("c")


async def test_an_agent_that_swallows_the_interruption_is_interrupted_all_the_same() -> None:
    hold = gate("hold")
    raised = 0

    async def agent(turn: Turn) -> str:
        nonlocal raised
        for _ in range(3):
            try:
                await turn.wave(turn.call("hold", {"text": str(turn.number)}))
            except TurnInterrupted:
                raised += 1
        return "I go on as if nothing were"

    async with ActorSystem(agent, tools=(hold.tool(1, effect="read"),)) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        second = await session.send("b")
        hold.let_go()
        outcome = await second.outcome()

    assert raised == 3, "it is raised again at every later boundary"
    assert outcome.turn == 2


async def test_a_reply_that_comes_after_an_interrupting_message_is_the_draft_of_the_next_turn() -> (
    None
):
    at_work, go_on = asyncio.Event(), asyncio.Event()
    deliver = RecordingDeliver()

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            assert turn.previous.draft is not None
            return f"after {turn.previous.draft.text!r}"
        at_work.set()
        await go_on.wait()
        return "too late"

    async with ActorSystem(agent, deliver=deliver) as system:
        session = system.session("ann")
        await session.send("a")
        await at_work.wait()
        second = await session.send("b")
        go_on.set()
        await second.outcome()

    assert deliver.texts == ["after 'too late'"]


async def test_a_stop_cancels_the_messages_of_the_turn_and_of_those_that_interrupted_it() -> None:
    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        await turn.wave(turn.call("hold", {}))
        return "never"

    async with ActorSystem(agent, tools=(hold.tool(1),)) as system:
        session = system.session("ann")
        first = await session.send("a")
        await hold.reached()
        second = await session.send("b")
        queued = await session.send("c", policy=Enqueue())
        stopping = session.stop(reason="enough", backlog="drop")
        hold.let_go()
        result = await stopping
        outcomes = [await receipt.outcome() for receipt in (first, second, queued)]

    assert (result.turn, result.outcome) == (1, TurnOutcome.STOPPED)
    assert [outcome.status for outcome in outcomes] == [
        MessageStatus.CANCELLED,
        MessageStatus.CANCELLED,
        MessageStatus.DROPPED,
    ]


async def test_a_stop_covers_a_message_that_was_sent_just_before_it() -> None:
    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        accepted = session.send("a")
        stopped = session.stop()
        outcome = await (await accepted).outcome()
        await stopped

    assert outcome.status is MessageStatus.CANCELLED


async def test_a_tool_that_stops_its_own_session_ends_the_turn_and_hangs_nothing() -> None:
    systems: list[ActorSystem] = []

    @tool
    async def give_up() -> None:
        result = await systems[0].session("ann").stop(reason="pointless")
        assert result.turn == 1
        assert result.outcome is None, "inside the turn it is answered before the turn's end"

    async def agent(turn: Turn) -> str:
        await turn.one(give_up())
        return "never"

    async with ActorSystem(agent) as system:
        systems.append(system)
        session = system.session("ann")
        outcome = await (await session.send("a")).outcome()
        assert outcome.status is MessageStatus.CANCELLED
        assert (await (await session.send("b")).outcome()).turn == 2


async def test_cancelling_the_turns_token_is_a_stop_after_its_wave() -> None:
    @tool(effect="read")
    async def work(number: int) -> int:
        return number

    async def agent(turn: Turn) -> str:
        await turn.wave(work(1))
        turn.cancel_token.cancel("the user hung up")
        await turn.wave(work(2))
        return "never"

    ended: list[Event] = []
    async with ActorSystem(agent) as system:
        system.on(TurnEnded, ended.append)
        outcome = await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(0)

    assert outcome.status is MessageStatus.CANCELLED
    (end,) = ended
    assert isinstance(end, TurnEnded)
    assert end.outcome is TurnOutcome.STOPPED
    assert end.detail == "the user hung up"


async def test_a_deadline_ends_the_turn_as_timed_out_with_its_partial_results() -> None:
    ended: list[TurnEnded] = []

    @tool(effect="read")
    async def quick() -> int:
        return 1

    @tool(effect="read")
    async def slow() -> int:
        await asyncio.sleep(100)
        return 2

    async def agent(turn: Turn) -> str:
        await turn.wave(quick())
        await turn.wave(slow())
        return "never"

    async with ActorSystem(agent) as system:
        system.on(TurnEnded, ended.append)
        outcome = await (await system.session("ann").send("a", deadline=5)).outcome()
        await asyncio.sleep(0)

    assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, Reason.DEADLINE)
    assert ended[0].outcome is TurnOutcome.TIMED_OUT
    left = ended[0].partial_results
    assert left is not None
    assert [call.status for call in left.calls] == [CallStatus.COMPLETED, CallStatus.CANCELLED]


async def test_patience_over_makes_it_now_and_grace_over_abandons_what_does_not_end() -> None:
    hold = gate("hold")
    loop = asyncio.get_running_loop()

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await turn.wave(turn.call("hold", {}))
        return "next"

    stubborn = hold.tool(1, effect="read", stubborn=True)
    async with ActorSystem(agent, tools=(stubborn,), policy=AfterWave(patience=7)) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        begun = loop.time()
        outcome = await (await session.send("b")).outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert loop.time() - begun == pytest.approx(12.0), "7 s of patience, 5 s of grace"
        hold.let_go()


async def test_a_protected_call_finishes_although_the_turn_is_stopped_now() -> None:
    @tool(protected=True, timeout=20)
    async def pay() -> str:
        await asyncio.sleep(10)
        return "paid"

    paying = asyncio.Event()
    calls: list[tuple[str, CallStatus]] = []

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            calls.extend((call.tool, call.status) for call in turn.previous.calls)
            return "ok"
        paying.set()
        await turn.wave(pay())
        return "never"

    async with ActorSystem(agent, policy=Now(grace=1)) as system:
        session = system.session("ann")
        await session.send("a")
        await paying.wait()
        await asyncio.sleep(0.1)
        await (await session.send("b")).outcome()

    assert calls == [("pay", CallStatus.COMPLETED)]


async def test_a_running_step_is_cancelled_at_once() -> None:
    cancelled: list[str] = []
    loop = asyncio.get_running_loop()
    thinking = asyncio.Event()

    async def think() -> str:
        thinking.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append("think")
            raise
        return "a thought"

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await turn.step(think)
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await thinking.wait()
        before = loop.time()
        outcome = await (await session.send("b")).outcome()
        assert loop.time() == before

    assert cancelled == ["think"]
    assert outcome.turn == 2
