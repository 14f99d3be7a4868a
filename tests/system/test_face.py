from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

import wavebreak
from wavebreak import (
    ActorSystem,
    Attachment,
    Enqueue,
    Event,
    InvalidArguments,
    InvalidMessage,
    InvalidSetting,
    MessageAccepted,
    MessageIdReused,
    MessageStatus,
    Plan,
    Reply,
    SessionActor,
    SessionMessage,
    SessionView,
    ToolDefinitionError,
    Turn,
    TurnInfo,
    UnknownMessage,
    UnknownTool,
    UserMessage,
    WaveFailed,
    WaveInProgress,
    WaveStarted,
    WouldDeadlock,
    dep,
    tool,
)
from wavebreak.testing import gate


async def echo(turn: Turn) -> str:
    return turn.text


class OrderShipped(SessionMessage):
    order: int

    def as_text(self) -> str:
        return f"order {self.order} shipped"


@pytest.mark.parametrize("bad", ["", None, 7])
async def test_a_session_id_is_a_text_that_is_not_empty(bad: Any) -> None:
    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidMessage, match="session_id="):
            system.session(bad)


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, "nothing to say"),
        ("  \n", {}, "nothing to say"),
        (None, {}, "a text or a SessionMessage, not None"),
        (OrderShipped(order=1), {}, "message_types=\\(OrderShipped,\\)"),
        ("a", {"deadline": 0}, "deadline=0"),
        ("a", {"deadline": float("nan")}, "deadline=nan"),
        ("a", {"policy": "now"}, "policy='now'"),
        ("a", {"message_id": ""}, "message_id=''"),
        ("a", {"metadata": {"x": object()}}, "cannot be sent"),
    ],
)
async def test_a_message_that_cannot_be_sent_is_refused_at_the_call(
    content: Any, options: dict[str, Any], words: str
) -> None:
    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidMessage, match=words):
            system.session("ann").send(content, **options)


async def test_an_empty_text_may_come_with_an_attachment() -> None:
    async with ActorSystem(echo) as system:
        receipt = await system.session("ann").send("", attachments=[Attachment(media_id="7")])
        assert (await receipt.outcome()).status is MessageStatus.ANSWERED


def test_an_attachment_is_somewhere() -> None:
    with pytest.raises(ValueError, match="url or a media_id"):
        Attachment()


async def test_a_programs_own_messages_reach_the_turn_as_they_are() -> None:
    got: list[SessionMessage] = []

    async def agent(turn: Turn) -> str:
        got.extend(turn.messages)
        return turn.text

    async with ActorSystem(agent, message_types=(OrderShipped,)) as system:
        receipt = await system.session("ann").send(OrderShipped(order=5), sender="shop")
        outcome = await receipt.outcome()

    assert outcome.reply == Reply(text="order 5 shipped")
    (message,) = got
    assert isinstance(message, OrderShipped)
    assert (message.order, message.sender) == (5, "shop")
    assert message.message_id
    assert message.received_at > 0


async def test_a_programs_own_message_is_as_it_was_when_it_has_been_sent() -> None:
    times: list[float] = []

    async def agent(turn: Turn) -> str:
        times.extend(message.received_at for message in turn.messages)
        return "thanks"

    mine = OrderShipped(message_id="mine", order=1)
    async with ActorSystem(agent, message_types=(OrderShipped,)) as system:
        for session_id in ("ann", "ben"):
            await (await system.session(session_id).send(mine)).outcome()
            await asyncio.sleep(1.0)
    assert mine == OrderShipped(message_id="mine", order=1)
    assert times[1] - times[0] >= 1.0


async def test_the_same_message_id_is_answered_once_and_refused_for_another_text() -> None:
    turns: list[str] = []

    async def agent(turn: Turn) -> str:
        turns.append(turn.text)
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        first = await session.send("a", message_id="m1")
        again = await session.send("a", message_id="m1")
        with pytest.raises(MessageIdReused, match="'m1'"):
            await session.send("b", message_id="m1")
        assert (first.duplicate, again.duplicate) == (False, True)
        assert await first.outcome() == await again.outcome()
        with pytest.raises(UnknownMessage, match="'m2'"):
            await session.outcome("m2")

    assert turns == ["a"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"agent": None}, "agent=None"),
        ({"agent": print}, "an async function"),
        ({"policy": "now"}, "policy='now'"),
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"threads": 0}, "threads=0"),
        ({"retry_on": OSError}, "retry_on="),
        ({"deliver": 5}, "deliver=5"),
        ({"session_actor": int}, "session_actor="),
        ({"message_types": (int,)}, "message_types="),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        ActorSystem(**{"agent": cast("Any", echo), **settings})


def test_a_tool_that_is_no_tool_is_refused() -> None:
    with pytest.raises(ToolDefinitionError):
        ActorSystem(echo, tools=(print,))  # type: ignore[arg-type]


async def failure_of(agent: Any, **settings: Any) -> str:
    async with ActorSystem(agent, **settings) as system:
        return (await (await system.session("ann").send("a")).outcome()).error


async def test_a_wave_of_something_that_is_no_call_is_a_clear_error() -> None:
    async def agent(turn: Turn) -> str:
        with pytest.raises(ToolDefinitionError, match="not <function"):
            await turn.wave(cast("Any", echo))
        return "ok"

    assert await failure_of(agent) == ""


async def test_unknown_tools_and_wrong_arguments_of_a_model_are_clear_errors() -> None:
    @tool(effect="read")
    async def search(city: str) -> str:
        return city

    async def agent(turn: Turn) -> str:
        with pytest.raises(UnknownTool, match="serach"):
            turn.call("serach", {})
        with pytest.raises(InvalidArguments, match="search"):
            turn.call("search", {"town": "rome"})
        return await turn.one(turn.call("search", {"city": "rome"}))

    assert await failure_of(agent, tools=(search,)) == ""


async def test_a_result_that_cannot_be_serialised_fails_the_call_and_not_the_actor() -> None:
    @tool(effect="read")
    async def odd() -> object:
        return object()

    async def agent(turn: Turn) -> str:
        with pytest.raises(WaveFailed) as caught:
            await turn.wave(odd())
        assert caught.value.records[0].error is not None
        return "ok"

    assert await failure_of(agent) == ""


async def test_a_second_wave_or_step_while_one_runs_is_refused() -> None:
    hold = gate("hold")

    async def agent(turn: Turn) -> str:
        first = asyncio.ensure_future(turn.wave(turn.call("hold", {})))
        await hold.reached()
        with pytest.raises(WaveInProgress, match="await it"):
            await turn.wave(turn.call("hold", {}))
        with pytest.raises(WaveInProgress):
            await turn.step(lambda: 1, key="one")
        hold.let_go()
        await first
        return "ok"

    assert await failure_of(agent, tools=(hold.tool(1),)) == ""


async def test_an_agent_that_returns_no_reply_fails_its_turn() -> None:
    async def agent(turn: Turn) -> Any:
        return None

    assert "return a str or a Reply" in await failure_of(agent)


async def test_waiting_for_an_outcome_of_the_own_session_would_deadlock_and_says_so() -> None:
    systems: list[ActorSystem] = []

    async def agent(turn: Turn) -> str:
        session = systems[0].session("ann")
        receipt = await session.send("b", policy=Enqueue())
        with pytest.raises(WouldDeadlock, match="inside a turn"):
            await receipt.outcome()
        other = await systems[0].session("ben").send("c")
        return (await other.outcome()).status

    async def either(turn: Turn) -> str:
        return await agent(turn) if turn.text == "a" else turn.text

    async with ActorSystem(either) as system:
        systems.append(system)
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.reply == Reply(text="answered")


async def test_settle_gives_records_and_raises_for_no_failed_call() -> None:
    @tool(effect="read")
    async def good() -> int:
        return 1

    @tool(effect="read")
    async def bad() -> int:
        raise ValueError("no")

    async def agent(turn: Turn) -> str:
        records = await turn.settle(good(), bad())
        return " ".join(record.status for record in records)

    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a")).outcome()
    assert outcome.reply == Reply(text="completed failed")


async def test_dependencies_reach_tools_and_can_be_overridden() -> None:
    class Client:
        def __init__(self, who: str) -> None:
            self.who = who

    @tool(effect="read")
    def whoami() -> str:
        return dep(Client).who

    def for_turn(turn: TurnInfo) -> Client:
        return Client(f"{turn.tenant}/{turn.session_id}/{turn.senders}")

    async def agent(turn: Turn) -> str:
        return await turn.one(whoami())

    async with ActorSystem(agent, deps={Client: for_turn}) as system:
        session = system.session("ann", tenant="acme")
        outcome = await (await session.send("a", sender="ann")).outcome()
        assert outcome.reply == Reply(text="acme/ann/('ann',)")
        with system.override({Client: Client("a double")}):
            outcome = await (await session.send("b", sender="ann")).outcome()
        assert outcome.reply == Reply(text="a double")


async def test_dependencies_reach_the_agent_and_are_opened_and_closed_with_its_turn() -> None:
    life: list[str] = []

    class Model:
        def think(self) -> str:
            life.append("thought")
            return "hm"

    @asynccontextmanager
    async def model(_turn: TurnInfo) -> AsyncGenerator[Model]:
        life.append("opened")
        yield Model()
        life.append("closed")

    async def agent(turn: Turn) -> str:
        return dep(Model).think()

    async with ActorSystem(agent, deps={Model: model}) as system:
        outcome = await (await system.session("ann").send("a")).outcome()

    assert outcome.reply == Reply(text="hm")
    assert life == ["opened", "thought", "closed"]


async def test_a_plan_runs_in_waves_and_gives_results_by_planned_call() -> None:
    @tool(effect="read")
    async def search(city: str) -> list[str]:
        return [f"{city} 1", f"{city} 2"]

    @tool(effect="read")
    async def price(hotel: str) -> int:
        return len(hotel)

    async def agent(turn: Turn) -> str:
        plan = Plan()
        found = plan.add(search("rome"))
        first, second = (plan.add(price(found.result[n])) for n in (0, 1))
        results = await turn.run(plan)
        return f"{results[found]} {results[first]} {results[second]}"

    waves: list[int] = []
    async with ActorSystem(agent) as system:
        system.on(WaveStarted, lambda event: waves.append(len(event.calls)))
        outcome = await (await system.session("ann").send("a")).outcome()
        await asyncio.sleep(0)

    assert outcome.reply == Reply(text="['rome 1', 'rome 2'] 6 6")
    assert waves == [1, 2]


async def test_a_session_can_be_told_and_asked_messages_of_the_programs_own() -> None:
    class Counting(SessionActor):
        count = 0

        def on_receive(self, message: Any) -> int:
            self.count += message
            return self.count

    async with ActorSystem(echo, session_actor=Counting) as system:
        session = system.session("ann")
        session.tell(2)
        assert await session.ask(3) == 5


async def test_a_session_actor_may_choose_policies_and_a_wrong_choice_loses_no_message() -> None:
    views: list[SessionView] = []

    class Choosing(SessionActor):
        async def choose_policy(self, message: SessionMessage, view: SessionView) -> Enqueue:
            views.append(view)
            await asyncio.sleep(1)
            if message.as_text() == "oops":
                raise RuntimeError("a chooser's own")
            return Enqueue()

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(100)
        return turn.text

    async with ActorSystem(agent, session_actor=Choosing, policy=Enqueue()) as system:
        session = system.session("ann")
        receipts = [await session.send(text) for text in ("a", "b", "oops")]
        outcomes = [await receipt.outcome() for receipt in receipts]

    assert [outcome.turn for outcome in outcomes] == [1, 2, 3]
    assert [view.status for view in views] == ["idle", "running", "running"]
    assert views[1].messages[0].as_text() == "a"


async def test_events_have_positions_without_gaps_and_name_their_session() -> None:
    async with ActorSystem(echo) as system:
        session = system.session("ann", tenant="acme")
        with session.events() as events, system.events() as everything:
            await (await session.send("a")).outcome()
            await (await system.session("ben").send("b")).outcome()
        mine = [event async for event in events]
        every = [event async for event in everything]

    assert [event.position for event in mine] == list(range(1, len(mine) + 1))
    assert {(event.tenant, event.session_id) for event in mine} == {("acme", "ann")}
    assert {event.session_id for event in every} == {"ann", "ben"}
    assert system._hub.subscribers == 0


async def test_a_handlers_error_is_not_the_sessions() -> None:
    def broken(event: Event) -> None:
        raise SystemExit

    async with ActorSystem(echo) as system:
        system.on(MessageAccepted, broken)
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.status is MessageStatus.ANSWERED


def test_a_blocking_program_has_a_loop_in_a_thread_of_its_own() -> None:
    with ActorSystem(echo) as system:
        session = system.session("ann")
        outcome = session.send("a").get(timeout=5).outcome().get(timeout=5)
        assert outcome.reply == Reply(text="a")
        session.tell("anything")


def test_messages_from_many_threads_each_get_one_outcome() -> None:
    outcomes: list[MessageStatus] = []
    lock = threading.Lock()

    def client(system: ActorSystem, number: int) -> None:
        session = system.session(f"s{number % 3}")
        for index in range(20):
            outcome = session.send(f"{number}.{index}").get(timeout=10).outcome().get(timeout=10)
            with lock:
                outcomes.append(outcome.status)

    with ActorSystem(echo) as system:
        threads = [threading.Thread(target=client, args=(system, n)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert outcomes == [MessageStatus.ANSWERED] * 120


@pytest.mark.real_time
async def test_a_blocking_get_on_the_loops_own_thread_is_refused() -> None:
    async with ActorSystem(echo) as system:
        accepted = system.session("ann").send("a")
        with pytest.raises(WouldDeadlock):
            accepted.get()
        assert isinstance(await accepted, wavebreak.Receipt)


def test_a_system_that_was_closed_can_be_opened_again() -> None:
    system = ActorSystem(echo)
    for _ in range(2):
        with system:
            session = system.session("ann")
            outcome = session.send("a").get(timeout=5).outcome().get(timeout=5)
            assert outcome.status is MessageStatus.ANSWERED


def test_a_user_message_keeps_what_its_channel_said() -> None:
    message = UserMessage(text="a", metadata={"chat": 7})
    assert message.metadata == {"chat": 7}
    with pytest.raises(ValueError, match="frozen"):
        message.text = "b"  # type: ignore[misc]
