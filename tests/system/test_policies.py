"""What a new message may do to a running turn, through the whole house."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Aside,
    CallStatus,
    Collect,
    Debounce,
    DeliveryKind,
    Enqueue,
    MessageAccepted,
    MessageRejected,
    MessageStatus,
    Now,
    Policy,
    Reason,
    Receipt,
    Reject,
    Rollback,
    SessionActor,
    SessionMessage,
    SessionView,
    Steer,
    Turn,
    TurnEnded,
    TurnOutcome,
    tool,
)
from wavebreak.testing import RecordingDeliver, gate

from .auditing import Audit

ALL: tuple[Policy, ...] = (
    AfterWave(patience=1),
    Now(grace=1),
    Rollback(grace=1),
    Steer(),
    Enqueue(),
    Collect(),
    Reject(),
    Aside(),
)


async def ten_seconds(turn: Turn) -> str:
    await turn.step(lambda: asyncio.sleep(10), key="think")
    return turn.text


# --- Steer ---


async def test_a_message_is_offered_to_the_running_turn_which_answers_it_too() -> None:
    search = gate("search")
    texts: list[str] = []

    async def agent(turn: Turn) -> str:
        assert await turn.new_messages() == ()
        await turn.wave(turn.call("search", {}))
        taken = await turn.new_messages()
        texts.extend(message.as_text() for message in taken)
        assert await turn.new_messages() == (), "each is taken once"
        return turn.text

    deliver = RecordingDeliver()
    tools = (search.tool(1, effect="read"),)
    async with ActorSystem(agent, tools=tools, deliver=deliver) as system:
        session = system.session("ann")
        first = await session.send("rome")
        await search.reached()
        second = await session.send("with breakfast", policy=Steer())
        search.let_go()
        outcomes = [await first.outcome(), await second.outcome()]
    assert texts == ["with breakfast"]
    assert [(outcome.status, outcome.turn) for outcome in outcomes] == [
        (MessageStatus.ANSWERED, 1),
        (MessageStatus.ANSWERED, 1),
    ]
    assert deliver.texts == ["rome\nwith breakfast"]


async def test_what_was_taken_is_among_the_messages_of_the_next_attempt() -> None:
    seen: list[tuple[int, str]] = []

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(1)
        await turn.new_messages()
        seen.append((turn.attempt, turn.text))
        if turn.attempt == 1:
            raise OSError("gone")
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        second = await session.send("b", policy=Steer())
        outcome = await second.outcome()
    assert seen == [(1, "a\nb"), (2, "a\nb")]
    assert outcome.turn == 1


async def test_what_is_not_taken_is_the_next_turn_before_anything_else_that_waits() -> None:
    async with ActorSystem(ten_seconds) as system:
        session = system.session("ann")
        receipts = [
            await session.send("a"),
            await session.send("b", policy=Enqueue()),
            await session.send("c", policy=Steer()),
            await session.send("d", policy=Steer()),
        ]
        turns = [(await receipt.outcome()).turn for receipt in receipts]
    assert turns == [1, 3, 2, 2]


async def test_a_turn_that_was_told_to_stop_is_interrupted_where_it_would_take() -> None:
    async def agent(turn: Turn) -> str:
        while len(turn.messages) < 3:
            await asyncio.sleep(1)
            await turn.new_messages()
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await session.send("b", policy=Steer())
        outcome = await (await session.send("c", policy=AfterWave())).outcome()
    assert (outcome.turn, outcome.reply and outcome.reply.text) == (2, "a\nb\nc")


# --- Collect, Reject ---


async def test_all_that_is_collected_behind_a_turn_is_the_next_one() -> None:
    async with ActorSystem(ten_seconds, policy=Collect()) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in "abcd"]
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert [outcome.turn for outcome in outcomes] == [1, 2, 2, 2]


async def test_a_message_that_does_not_wait_is_refused_while_a_turn_runs() -> None:
    async with ActorSystem(ten_seconds, policy=Reject()) as system:
        session = system.session("ann")
        first = await session.send("a")
        with pytest.raises(MessageRejected, match="send it again when that has ended"):
            await session.send("b", message_id="b")
        await first.outcome()
        again = await session.send("b", message_id="b")
        assert not again.duplicate
        assert (await again.outcome()).status is MessageStatus.ANSWERED


# --- Debounce ---


async def test_a_burst_is_one_turn() -> None:
    async def agent(turn: Turn) -> str:
        return turn.text

    deliver = RecordingDeliver()
    system = ActorSystem(agent, deliver=deliver, debounce=Debounce(quiet=0.5, max_wait=5))
    async with system:
        session = system.session("ann")
        receipts: list[Receipt] = []
        for text in ("hello", "I need", "a room"):
            receipts.append(await session.send(text))
            await asyncio.sleep(0.4)
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {outcome.turn for outcome in outcomes} == {1}
    assert deliver.texts == ["hello\nI need\na room"]


@pytest.mark.parametrize("debounce", [None, Debounce(quiet=1, max_wait=3)], ids=str)
async def test_an_endless_stream_gets_its_answers_and_every_message_is_accounted_for(
    debounce: Debounce | None,
) -> None:
    sizes: list[int] = []

    async def agent(turn: Turn) -> str:
        sizes.append(len(turn.messages))
        await asyncio.sleep(2)
        return turn.text

    audit = Audit()
    system = ActorSystem(audit.agent(agent), policy=Collect(), debounce=debounce)
    audit.watch(system)
    async with system:
        session = system.session("ann")
        receipts: list[Receipt] = []
        for number in range(200):
            receipts.append(await session.send(f"m{number}"))
            await asyncio.sleep(0.25)
        before = len(sizes)
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {outcome.status for outcome in outcomes} == {MessageStatus.ANSWERED}
    assert before >= 9, "the stream did not keep the turns from starting"
    assert sum(sizes) == 200
    audit.check()


# --- who chooses ---


def is_question(message: SessionMessage) -> bool:
    return message.as_text().endswith("?")


async def test_a_function_of_the_message_and_the_session_chooses_the_policy() -> None:
    views: list[SessionView] = []

    def choose(message: SessionMessage, view: SessionView) -> Policy:
        views.append(view)
        if is_question(message):
            return Aside()
        return Enqueue() if view.tenant == "slow" else Now()

    async def here(message: SessionMessage, view: SessionView) -> str:
        return f"turn {view.turn} is at {view.messages[0].as_text()!r}"

    deliver = RecordingDeliver()
    async with ActorSystem(ten_seconds, policy=choose, aside=here, deliver=deliver) as system:
        session = system.session("ann")
        work = await session.send("work")
        await asyncio.sleep(1)
        status = await (await session.send("are you still there?")).outcome()
        assert (await work.outcome()).turn == 1, "a status question must not cancel the work"
        slow = system.session("bob", tenant="slow")
        turns = [await slow.send("a"), await slow.send("b")]
        assert [(await receipt.outcome()).turn for receipt in turns] == [1, 2]
    assert status.reply is not None
    assert status.reply.text == "turn 1 is at 'work'"
    assert deliver.deliveries[0].kind is DeliveryKind.ASIDE
    assert views[1].messages[0].as_text() == "work"


async def test_the_nearest_choice_counts_message_before_handle_before_hook_before_system() -> None:
    chosen: dict[str, str] = {}

    class Hooked(SessionActor):
        def choose_policy(self, message: SessionMessage, view: SessionView) -> Policy:
            return Collect()

    async def later(message: SessionMessage, view: SessionView) -> Policy:
        await asyncio.sleep(0)
        return Steer()

    def note(event: MessageAccepted) -> None:
        chosen[event.message.message_id] = event.policy.kind

    async def agent(turn: Turn) -> str:
        return turn.text

    for kind in (SessionActor, Hooked):
        async with ActorSystem(agent, policy=later, session_actor=kind) as system:
            system.on(MessageAccepted, note)
            plain = system.session("ann")
            await plain.send("a", message_id=f"{kind.__name__} alone")
            handle = system.session("ann", policy=Enqueue())
            await handle.send("b", message_id="by the handle")
            await handle.send("c", message_id="by itself", policy=Now())
            choosing = system.session("ann", policy=lambda message, view: Reject())
            await (await choosing.send("d", message_id="by the handle's function")).outcome()
    assert chosen == {
        "SessionActor alone": "steer",
        "Hooked alone": "collect",
        "by the handle": "enqueue",
        "by itself": "now",
        "by the handle's function": "reject",
    }


@pytest.mark.parametrize("error", [ValueError("what"), SystemExit(1), asyncio.CancelledError()])
async def test_a_function_that_fails_loses_no_message_and_cancels_no_work(
    error: BaseException,
) -> None:
    def broken(message: SessionMessage, view: SessionView) -> Policy:
        raise error

    async def forbidden(message: SessionMessage, view: SessionView) -> bool:
        await asyncio.sleep(1)
        raise error

    system = ActorSystem(ten_seconds, policy=broken, who_may_interrupt=forbidden)
    async with system:
        session = system.session("ann")
        receipts = [await session.send("a"), await session.send("b")]
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert [outcome.turn for outcome in outcomes] == [1, 2]


@pytest.mark.parametrize("which", ["policy", "who_may_interrupt"])
async def test_a_function_that_hangs_holds_up_neither_its_message_nor_a_stop_for_good(
    which: str,
) -> None:
    async def hang(message: SessionMessage, view: SessionView) -> Any:
        await asyncio.Event().wait()
        return Now()

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(1000)
        return turn.text

    chooser = hang if which == "policy" else AfterWave()
    permits = hang if which == "who_may_interrupt" else None
    async with ActorSystem(agent, policy=chooser, who_may_interrupt=permits) as system:
        session = system.session("ann")
        first = await session.send("first", policy=Now())
        sent = session.send("second")
        await asyncio.sleep(1)  # it is being asked
        stopped = session.stop(Now())
        async with asyncio.timeout(15):
            assert (await stopped).outcome is TurnOutcome.STOPPED
            receipt = await sent
        assert (await first.outcome()).status is MessageStatus.CANCELLED
        assert receipt.message_id


@pytest.mark.parametrize("policy", [AfterWave(), Now()], ids=lambda policy: policy.kind)
async def test_another_senders_message_is_queued_and_attributed(policy: Policy) -> None:
    senders: list[tuple[str | None, ...]] = []

    async def agent(turn: Turn) -> str:
        senders.append(tuple(message.sender for message in turn.messages))
        return await ten_seconds(turn)

    async def same_person(message: SessionMessage, view: SessionView) -> bool:
        await asyncio.sleep(0)
        return message.sender in {ours.sender for ours in view.messages}

    async with ActorSystem(agent, who_may_interrupt=same_person, policy=policy) as system:
        group = system.session("group")
        receipts = [
            await group.send("a room", sender="ann"),
            await group.send("me too", sender="bob"),
            await group.send("in Rome", sender="ann"),
        ]
        await asyncio.sleep(1)
        receipts.append(await group.send("for two", sender="eve"))
        turns = [(await receipt.outcome()).turn for receipt in receipts]
    assert turns == [2, 2, 2, 3], "ann's second message takes what waited with it"
    assert senders == [("ann",), ("ann", "bob", "ann"), ("eve",)]


# --- together ---


async def test_ten_interruptions_in_one_second_leave_one_turn_and_one_reply() -> None:
    deliver = RecordingDeliver()
    audit = Audit()
    system = ActorSystem(audit.agent(ten_seconds), deliver=deliver)
    audit.watch(system)
    async with system:
        session = system.session("ann")
        receipts: list[Receipt] = []
        for number in range(11):
            receipts.append(await session.send(f"m{number}"))
            await asyncio.sleep(0.1)
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {(outcome.status, outcome.turn) for outcome in outcomes} == {
        (MessageStatus.ANSWERED, 11)
    }
    assert deliver.texts == ["\n".join(f"m{number}" for number in range(11))]
    audit.check(deliver)


async def test_a_hundred_messages_in_one_wave_are_all_answered_by_the_next_turn() -> None:
    search = gate("search")

    async def agent(turn: Turn) -> str:
        await turn.wave(turn.call("search", {}))
        return str(len(turn.messages))

    audit = Audit()
    system = ActorSystem(audit.agent(agent), tools=(search.tool(1, effect="read"),))
    audit.watch(system)
    async with system:
        session = system.session("ann")
        receipts = [await session.send("m0")]
        await search.reached()
        receipts += [await session.send(f"m{number}") for number in range(1, 101)]
        search.let_go()
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {outcome.turn for outcome in outcomes} == {2}
    assert {outcome.reply and outcome.reply.text for outcome in outcomes} == {"101"}
    assert search.arrived == 1
    audit.check()


@pytest.mark.parametrize("effect", ["read", "once"])
async def test_now_in_a_wave_of_three_tells_the_next_turn_what_became_of_each(
    effect: Literal["read", "once"],
) -> None:
    started, ended, kept = gate("started"), gate("ended"), gate("kept")
    ended.let_go()
    seen: list[dict[str, CallStatus]] = []
    told: list[dict[str, CallStatus]] = []

    async def agent(turn: Turn) -> str:
        if turn.previous is not None:
            seen.append({call.tool: call.status for call in turn.previous.calls})
            return "done"
        await turn.wave(*(turn.call(name, {}) for name in ("ended", "started", "kept")))
        return "never"

    def note(event: TurnEnded) -> None:
        if event.partial_results is not None:
            told.append({call.tool: call.status for call in event.partial_results.calls})

    # Blocking tools wait for a thread of the pool: one that got none was never started.
    tools = (
        ended.tool(1, effect=effect),
        started.tool(2, effect=effect, blocking=True),
        kept.tool(3, effect=effect, blocking=True),
    )
    async with ActorSystem(agent, tools=tools, threads=1, policy=Now(grace=1)) as system:
        system.on(TurnEnded, note)
        session = system.session("ann")
        await session.send("a")
        await started.reached()
        await asyncio.sleep(0.1)
        outcome = await (await session.send("b")).outcome()
        started.let_go()
        kept.let_go()
    cut_off = CallStatus.CANCELLED if effect == "read" else CallStatus.UNKNOWN
    expected = {
        "ended": CallStatus.COMPLETED,
        "started": cut_off,
        "kept": CallStatus.SKIPPED,
    }
    assert seen == [expected]
    assert told == [expected]
    assert outcome.reply is not None
    assert outcome.reply.text == "done"
    assert kept.arrived == 0


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.kind)
async def test_a_once_call_is_started_once_by_the_ledger_that_the_tool_keeps(
    policy: Policy,
) -> None:
    ledger: Counter[str] = Counter()

    @tool
    async def book(room: str) -> str:
        ledger[room] += 1
        await asyncio.sleep(1.5)
        return f"booked {room}"

    async def agent(turn: Turn) -> str:
        for room in ("blue", "red", "green"):
            await turn.new_messages()
            await turn.settle(book(room))
        return turn.text

    async def handler(message: SessionMessage, view: SessionView) -> str:
        return "here"

    audit = Audit()
    system = ActorSystem(audit.agent(agent), policy=policy, aside=handler)
    audit.watch(system)
    async with system:
        session = system.session("ann")
        receipts: list[Receipt] = []
        for number in range(12):
            first = None if number else Enqueue()
            try:
                receipts.append(await session.send(f"m{number}", policy=first))
            except MessageRejected:
                assert isinstance(policy, Reject)
            await asyncio.sleep(0.7)
        outcomes = [await receipt.outcome() for receipt in receipts]
    assert {outcome.status for outcome in outcomes} == {MessageStatus.ANSWERED}
    finished = {
        event.turn
        for event in audit.events["", "ann"]
        if isinstance(event, TurnEnded) and event.outcome is TurnOutcome.FINISHED
    }
    # A turn that finished hands nothing on: its successor asks for rooms of its own.
    assert set(ledger) == {"blue", "red", "green"}
    assert max(ledger.values()) <= len(finished)
    audit.check()


async def test_a_turn_that_takes_longer_than_the_system_allows_times_out_with_its_results() -> None:
    @tool(effect="read")
    async def look() -> int:
        return 7

    async def agent(turn: Turn) -> str:
        await turn.wave(look())
        await asyncio.sleep(100)
        return "never"

    ended: list[TurnEnded] = []
    async with ActorSystem(agent, turn_deadline=3) as system:
        system.on(TurnEnded, ended.append)
        outcome = await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(1)
    assert (outcome.status, outcome.reason) == (MessageStatus.FAILED, Reason.DEADLINE)
    assert ended[0].outcome is TurnOutcome.TIMED_OUT
    left = ended[0].partial_results
    assert left is not None
    assert [call.result for call in left.completed] == [7]
