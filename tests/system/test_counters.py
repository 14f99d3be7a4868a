"""What is counted, and that the fence stands before every output: what it refuses is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from wavebreak import (
    ActorSystem,
    AfterWave,
    Enqueue,
    How,
    MailboxFull,
    MessageIdReused,
    MessageRejected,
    Now,
    Reject,
    Turn,
    TurnInterrupted,
    TurnOver,
)
from wavebreak.messages.commands import RuntimeExit, Save, Say, Streamed
from wavebreak.messages.ids import Fence
from wavebreak.messages.message import Reply
from wavebreak.testing import RecordingDeliver, gate

from ..actors.test_counters import Recorded


class Notes(BaseModel):
    text: str = ""


async def wait(turn: Turn) -> str:
    await asyncio.sleep(10 if turn.text != "quick" else 0)
    return "done"


async def test_nothing_is_counted_when_nothing_is_out_of_the_ordinary() -> None:
    async def agent(turn: Turn) -> str:
        turn.say("one moment")
        turn.delta("do")
        turn.save(Notes(text="x"))
        return "done"

    metrics = Recorded()
    system = ActorSystem(agent, deliver=RecordingDeliver(), metrics=metrics)
    async with system:
        await (await system.session("ann").send("a")).outcome()
    assert system.counters() == {}
    assert metrics.told == []


@pytest.mark.parametrize("error", [ValueError(), SystemExit(1), asyncio.CancelledError()], ids=repr)
async def test_metrics_that_fail_harm_nothing_and_the_systems_own_count_goes_on(
    error: BaseException,
) -> None:
    class Broken:
        def count(self, name: str, value: int = 1, /, **labels: str) -> None:
            raise error

        def observe(self, name: str, seconds: float, /, **labels: str) -> None:
            raise error

    async def agent(turn: Turn) -> str:
        await turn.step(lambda: asyncio.sleep(10), key="think")
        return "ok"

    async with ActorSystem(agent, metrics=Broken()) as system:
        session = system.session("ann")
        await session.send("a")
        receipt = await session.send("b", policy=Now())
        assert (await receipt.outcome()).turn == 2
        assert system.counters()['cancellations{reason="superseded"}'] == 1


async def test_cancellations_are_counted_by_reason_and_failures_apart() -> None:
    async def agent(turn: Turn) -> str:
        if turn.text == "fail":
            raise ValueError
        return await wait(turn)

    metrics = Recorded()
    async with ActorSystem(agent, metrics=metrics) as system:
        session = system.session("ann")
        await (await session.send("fail")).outcome()
        await (await session.send("late", deadline=2)).outcome()
        await session.send("a")
        await asyncio.sleep(1)
        await session.send("b", policy=Now())
        await asyncio.sleep(1)
        await session.stop(AfterWave(patience=3))
        counted = system.counters()
    assert {name: value for name, value in counted.items() if "latency" not in name} == {
        'cancellations{reason="deadline"}': 1,
        'cancellations{reason="stopped"}': 1,
        'cancellations{reason="superseded"}': 1,
        'failures{reason="error"}': 1,
    }
    assert counted['interrupt_latency_sum{reason="stopped"}'] == pytest.approx(3, abs=0.1)
    assert counted['interrupt_latency_count{reason="superseded"}'] == 1
    assert [told[0] for told in metrics.told].count("observe") == 3


async def test_what_is_refused_of_messages_is_counted_by_its_error() -> None:
    async with ActorSystem(wait, capacity=2) as system:
        session = system.session("ann")
        await (await session.send("quick", message_id="m1")).outcome()
        with pytest.raises(MessageIdReused):
            await session.send("other", message_id="m1")
        for text in ("slow", "one", "two"):
            await session.send(text, policy=Enqueue())
        with pytest.raises(MailboxFull):
            await session.send("one too many", policy=Enqueue())
        with pytest.raises(MessageRejected):
            await session.send("not now", policy=Reject())
        assert system.counters()['refused_messages{error="MessageRejected"}'] == 1
        assert system.counters()['refused_messages{error="MailboxFull"}'] == 1
        assert system.counters()['refused_messages{error="MessageIdReused"}'] == 1


async def test_dead_letters_are_counted() -> None:
    deliver = RecordingDeliver()
    deliver.fail(2)
    async with ActorSystem(wait, deliver=deliver, deliver_attempts=2) as system:
        await (await system.session("ann").send("quick")).outcome()
        await deliver.until_tried(2)
        await asyncio.sleep(1)
        assert (
            system.counters() == {"dead_letters": len(system.dead_letters)} == {"dead_letters": 1}
        )


async def test_threads_that_are_given_up_are_counted() -> None:
    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        return str(await turn.one(turn.call("hold", {})))

    async with ActorSystem(agent, tools=(hold.tool(1, blocking=True),)) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        await session.stop(Now(grace=0))
        counted = system.counters()["abandoned_threads"]
        hold.let_go()
    assert counted == 1


# --- the fence ---

SPEAK: dict[str, Callable[[Turn], object]] = {
    "say": lambda turn: turn.say("I still talk"),
    "delta": lambda turn: turn.delta("I still talk"),
}


@pytest.mark.parametrize("how", [AfterWave(patience=0.5), Now()])
@pytest.mark.parametrize("what", SPEAK)
async def test_a_turn_that_was_told_to_stop_is_refused_its_words(what: str, how: How) -> None:
    deliver = RecordingDeliver()
    taken: list[object] = []

    async def agent(turn: Turn) -> str:
        try:
            await asyncio.sleep(10)
        finally:
            taken.append(SPEAK[what](turn))
        return "too late"

    async with ActorSystem(agent, deliver=deliver, courtesy=lambda kind, view: "") as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await session.stop(how)
        counted = system.counters()
        history = [entry.kind for entry in await session.history()]
    assert taken == [False]
    assert counted[f'refused_outputs{{what="{what}"}}'] == 1
    assert deliver.texts == []
    assert history == ["message", "ended"]


async def test_a_reply_that_comes_too_late_is_refused_and_counted() -> None:
    deliver = RecordingDeliver()

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await asyncio.sleep(10)
            return "too late"
        assert turn.previous is not None
        assert turn.previous.draft is not None
        return f"not {turn.previous.draft.text}"

    async with ActorSystem(agent, deliver=deliver) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await (await session.send("b")).outcome()
        await deliver.until(1)
        assert system.counters()['refused_outputs{what="reply"}'] == 1
    assert deliver.texts == ["not too late"]


async def test_a_turn_that_is_fenced_saves_nothing_and_that_is_counted() -> None:
    async def agent(turn: Turn) -> str:
        if turn.number == 2:
            return turn.state(Notes).text
        try:
            await asyncio.sleep(10)
        finally:
            turn.save(Notes(text="from the grave"))
        return "too late"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await session.stop(Now())
        assert system.counters()['refused_outputs{what="save"}'] == 1
        assert await session.read(Notes) == Notes()


async def test_what_an_agent_left_behind_is_refused_when_its_turn_is_over() -> None:
    left: list[Turn] = []

    async def agent(turn: Turn) -> str:
        left.append(turn)
        return "done"

    async with ActorSystem(agent) as system:
        await (await system.session("ann").send("a")).outcome()
        (turn,) = left
        assert not turn.say("I still talk")
        assert not turn.delta("I still talk")
        with pytest.raises(TurnOver):
            turn.save(Notes())
        assert system.counters() == {
            'refused_outputs{what="delta"}': 1,
            'refused_outputs{what="save"}': 1,
            'refused_outputs{what="say"}': 1,
        }


async def test_what_carries_an_old_fence_is_refused_by_the_session_itself() -> None:
    deliver = RecordingDeliver()
    controls: list[object] = []

    async def agent(turn: Turn) -> str:
        control = turn._engine.control
        epoch, number, attempt = control.fence
        old, now = Fence(epoch - 1, number, attempt), turn._engine.environment.now()
        control.report(Say(now, old, "from the grave"))
        control.report(Save(now, old, {"text": "from the grave"}))
        control.report(Streamed(now, old, "from the grave", restart=False))
        reply = Reply(text="from the grave")
        control.report(RuntimeExit(now, old, reply, False, "", False, None, None, None))
        controls.append(control)
        await turn.step(lambda: 1, key="a boundary")
        return "done"

    async with ActorSystem(agent, deliver=deliver) as system:
        session = system.session("ann")
        await (await session.send("a")).outcome()
        await deliver.until(1)
        assert system.counters() == {
            f'refused_outputs{{what="{what}"}}': 1 for what in ("delta", "reply", "save", "say")
        }
        assert [entry.text for entry in await session.history()] == ["a", "done"]
        assert await session.read(Notes) == Notes()
    assert deliver.texts == ["done"]


async def test_an_interruption_is_no_error_for_an_agent_that_speaks_after_it() -> None:
    said: list[bool] = []

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            try:
                await turn.step(lambda: asyncio.sleep(10), key="think")
            except TurnInterrupted:
                said.append(turn.say("and yet"))
        return "done"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await (await session.send("b")).outcome()
        assert system.counters()['refused_outputs{what="say"}'] == 1
    assert said == [False]
