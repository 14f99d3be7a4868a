from __future__ import annotations

import asyncio

from pydantic import BaseModel

from wavebreak import (
    ActorSystem,
    Delivery,
    DeliveryKind,
    Delta,
    Event,
    HistoryKind,
    MessageStatus,
    Reply,
    Turn,
    TurnRestarted,
)
from wavebreak.testing import RecordingDeliver, gate


class Basket(BaseModel):
    items: list[str] = []


async def test_what_is_said_is_delivered_before_the_reply_and_in_order() -> None:
    deliver = RecordingDeliver()

    async def agent(turn: Turn) -> str:
        assert turn.say("looking")
        assert turn.say("still looking")
        return "found"

    async with ActorSystem(agent, deliver=deliver) as system:
        receipt = await system.session("ann", tenant="acme").send("a", message_id="m1")
        await receipt.outcome()
        await deliver.until(3)

    assert deliver.texts == ["looking", "still looking", "found"]
    kinds = [delivery.kind for delivery in deliver.deliveries]
    assert kinds == [DeliveryKind.SAID, DeliveryKind.SAID, DeliveryKind.REPLY]
    assert [delivery.answers for delivery in deliver.deliveries] == [(), (), ("m1",)]
    assert {delivery.tenant for delivery in deliver.deliveries} == {"acme"}
    assert len({delivery.delivery_id for delivery in deliver.deliveries}) == 3


async def test_an_equal_saying_of_a_new_attempt_is_not_delivered_again_and_another_is() -> None:
    deliver = RecordingDeliver()

    async def agent(turn: Turn) -> str:
        turn.say("looking")
        turn.say(f"attempt {turn.attempt}")
        if turn.attempt == 1:
            await asyncio.sleep(0)
            raise OSError("gone")
        return "found"

    async with ActorSystem(agent, deliver=deliver) as system:
        await (await system.session("ann").send("a")).outcome()
        await deliver.until(4)

    assert deliver.texts == ["looking", "attempt 1", "attempt 2", "found"]


async def test_nothing_is_said_after_the_turn_was_told_to_stop() -> None:
    deliver, hold = RecordingDeliver(), gate("hold")
    refused: list[bool] = []

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            try:
                await turn.wave(turn.call("hold", {}))
            finally:
                refused.append(turn.say("I still talk"))
                refused.append(turn.delta("and talk"))
        return "next"

    tools = (hold.tool(1, effect="read"),)
    async with ActorSystem(agent, deliver=deliver, tools=tools) as system:
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        second = await session.send("b")
        hold.let_go()
        await second.outcome()

    assert refused == [False, False]
    assert deliver.texts == ["next"]


async def deltas_of(system: ActorSystem, events: list[str]) -> None:
    def note(event: Event) -> None:
        if isinstance(event, Delta):
            assert event.position is None
            events.append(event.text)
        elif isinstance(event, TurnRestarted) and event.discard:
            events.append("(discard)")

    system.on(Event, note)


async def test_an_equal_prefix_of_deltas_is_not_streamed_again() -> None:
    events: list[str] = []

    async def agent(turn: Turn) -> str:
        turn.delta("Hello")
        turn.delta(", wor")
        if turn.attempt == 1:
            await asyncio.sleep(0.01)
            raise OSError("gone")
        turn.delta("ld")
        return "Hello, world"

    async with ActorSystem(agent) as system:
        await deltas_of(system, events)
        await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(0)

    assert events == ["Hello", ", wor", "ld"]


async def test_other_deltas_of_a_new_attempt_tell_clients_to_discard_the_old_ones() -> None:
    events: list[str] = []

    async def agent(turn: Turn) -> str:
        turn.delta("Hel")
        turn.delta("lo" if turn.attempt == 1 else "p")
        if turn.attempt == 1:
            await asyncio.sleep(0.01)
            raise OSError("gone")
        turn.delta("!")
        return "Help!"

    async with ActorSystem(agent) as system:
        await deltas_of(system, events)
        await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(0)

    assert events == ["Hel", "lo", "(discard)", "Help", "!"]


async def test_the_state_of_a_turn_becomes_the_sessions_when_the_turn_finishes() -> None:
    hold = gate("hold")
    seen: list[list[str]] = []
    left: list[object] = []

    async def agent(turn: Turn) -> str:
        basket = turn.state(Basket)
        seen.append(list(basket.items))
        if turn.previous is not None:
            left.append(turn.previous.state)
        basket.items.append(turn.messages[-1].as_text())
        turn.save(basket)
        assert turn.state(Basket) == basket, "a turn reads what it wrote"
        if turn.text == "b":
            await turn.wave(turn.call("hold", {}))
        return "ok"

    async with ActorSystem(agent, tools=(hold.tool(1, effect="read"),)) as system:
        session = system.session("ann")
        await (await session.send("a")).outcome()
        assert await session.read(Basket) == Basket(items=["a"])
        await session.send("b")
        await hold.reached()
        third = await session.send("c")
        assert await session.read(Basket) == Basket(items=["a"])
        hold.let_go()
        await third.outcome()
        assert await session.read(Basket) == Basket(items=["a", "c"])

    assert seen == [[], ["a"], ["a"]]
    assert left == [{"items": ["a", "b"]}]


async def test_the_history_has_what_finished_turns_were_about_and_nothing_that_is_unanswered() -> (
    None
):
    histories: list[list[tuple[HistoryKind, str]]] = []

    async def agent(turn: Turn) -> Reply:
        history = await turn.history()
        histories.append([(entry.kind, entry.text) for entry in history])
        turn.say("hm")
        return Reply(text=f"re: {turn.text}")

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        for text in ("a", "b"):
            assert (await (await session.send(text)).outcome()).status is MessageStatus.ANSWERED

    assert histories == [
        [],
        [(HistoryKind.MESSAGE, "a"), (HistoryKind.SAID, "hm"), (HistoryKind.REPLY, "re: a")],
    ]


async def test_the_history_gives_the_last_entries_oldest_first() -> None:
    last: list[str] = []

    async def agent(turn: Turn) -> str:
        last[:] = [entry.text for entry in await turn.history(limit=3)]
        return f"re: {turn.text}"

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        for text in ("a", "b", "c"):
            await (await session.send(text)).outcome()

    assert last == ["re: a", "b", "re: b"]


async def test_a_channel_that_raises_is_tried_again_and_turns_go_on() -> None:
    deliver = RecordingDeliver()
    deliver.fail(2)

    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, deliver=deliver) as system:
        session = system.session("ann")
        first = await (await session.send("a")).outcome()
        second = await (await session.send("b")).outcome()
        assert {first.status, second.status} == {MessageStatus.ANSWERED}
        assert deliver.texts == []
        await deliver.until(2)

    assert deliver.texts == ["a", "b"], "in order for each session"


async def test_a_channel_that_hangs_or_exits_is_given_up_and_the_next_delivery_has_its_turn() -> (
    None
):
    tried: list[str] = []

    async def deliver(delivery: Delivery) -> None:
        text = delivery.reply.text
        tried.append(text)
        if text == "hang":
            await asyncio.sleep(10_000)
        if text == "exit":
            raise SystemExit

    async def agent(turn: Turn) -> str:
        return turn.text

    ended: list[str] = []
    system = ActorSystem(agent, deliver=deliver, deliver_attempts=2, deliver_timeout=3)
    async with system:
        system.on(Event, lambda e: ended.append(getattr(e, "status", "")))
        session = system.session("ann")
        for text in ("hang", "exit", "fine"):
            await (await session.send(text)).outcome()
        await asyncio.sleep(60)

    assert tried == ["hang", "hang", "exit", "exit", "fine"]
    assert [e for e in ended if e in ("delivered", "dead_lettered")] == [
        "dead_lettered",
        "dead_lettered",
        "delivered",
    ]
