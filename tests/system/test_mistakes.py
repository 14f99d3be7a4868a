"""A newcomer's mistakes: told in words, and nothing is lost."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from pydantic import BaseModel

from wavebreak import (
    ActorSystem,
    AfterWave,
    Delivery,
    InvalidMessage,
    InvalidSetting,
    MessageAccepted,
    MessageStatus,
    Reply,
    Session,
    SessionActor,
    Steer,
    StopRequested,
    SystemClosed,
    ToolDefinitionError,
    Turn,
    WaveFailed,
    tool,
)
from wavebreak.testing import RecordingDeliver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def echo(turn: Turn) -> str:
    return turn.text


async def ask(system: ActorSystem, session_id: str, text: str = "a") -> MessageStatus:
    receipt = await system.session(session_id).send(text)
    return (await receipt.outcome()).status


def test_a_system_that_was_not_entered_says_how_to() -> None:
    with pytest.raises(SystemClosed, match="async with"):
        ActorSystem(echo).session("ann")


@pytest.mark.parametrize("agent", [print, None, "agent", SessionActor], ids=repr)
def test_an_agent_that_is_no_async_function_is_refused(agent: Any) -> None:
    with pytest.raises(InvalidSetting, match="agent="):
        ActorSystem(agent)


async def test_a_receipt_and_an_outcome_may_be_awaited_as_often_as_one_likes() -> None:
    async with ActorSystem(echo) as system:
        accepted = system.session("ann").send("a")
        assert await accepted is await accepted
        outcome = (await accepted).outcome()
        assert await outcome == await outcome


async def test_a_system_is_entered_once_at_a_time() -> None:
    system = ActorSystem(echo)

    async def enter() -> MessageStatus:
        async with system:
            return await ask(system, "ann")

    first, second = await asyncio.gather(enter(), enter(), return_exceptions=True)
    assert first is MessageStatus.ANSWERED
    assert isinstance(second, InvalidSetting)
    assert await enter() is MessageStatus.ANSWERED


async def test_two_systems_at_once_do_not_know_of_each_other() -> None:
    async with ActorSystem(echo) as one, ActorSystem(echo) as other:
        both = await asyncio.gather(*(ask(system, "ann") for system in (one, other)))
        assert both == [MessageStatus.ANSWERED] * 2
        handle = one.session("ann")
        assert (await (await handle.send("b")).outcome()).turn == 2
        assert (await (await other.session("ann").send("b", message_id="x")).outcome()).turn == 2


def test_a_session_may_be_used_on_another_loop_than_its_systems() -> None:
    with ActorSystem(echo) as system:
        session = system.session("ann")

        async def elsewhere() -> MessageStatus:
            return (await (await session.send("a")).outcome()).status

        assert asyncio.run(elsewhere()) is MessageStatus.ANSWERED


@pytest.mark.real_time
async def test_a_blocking_system_within_a_running_loop_works_for_as_long_as_it_is_open() -> None:
    with ActorSystem(echo) as system:
        assert await ask(system, "ann") is MessageStatus.ANSWERED
        accepted = system.session("ann").send("b").get(timeout=5)
        assert accepted.outcome().get(timeout=5).status is MessageStatus.ANSWERED


async def test_a_handle_of_a_closed_system_is_not_one_of_the_same_system_opened_again() -> None:
    system = ActorSystem(echo)
    async with system:
        old = system.session("ann")
    async with system:
        with pytest.raises(SystemClosed):
            old.send("a")
        assert await ask(system, "ann") is MessageStatus.ANSWERED


async def test_a_plain_deliver_has_delivered() -> None:
    delivered: list[str] = []

    def deliver(delivery: Delivery) -> None:
        delivered.append(delivery.reply.text)

    async with ActorSystem(echo, deliver=cast("Any", deliver)) as system:
        await ask(system, "ann")
        await asyncio.sleep(60)
    assert delivered == ["a"]


@pytest.mark.parametrize(
    "error", [RuntimeError, SystemExit, asyncio.CancelledError, KeyboardInterrupt]
)
@pytest.mark.parametrize("slow", [False, True], ids=["plain", "async"])
async def test_a_handler_that_raises_is_called_for_the_next_event_too(
    slow: bool, error: type[BaseException]
) -> None:
    seen: list[str] = []

    def plain(event: MessageAccepted) -> None:
        seen.append(event.message.as_text())
        raise error

    async def handler(event: MessageAccepted) -> None:
        await asyncio.sleep(0)
        plain(event)

    async with ActorSystem(echo) as system:
        system.on(MessageAccepted, handler if slow else plain)
        for text in "abc":
            await ask(system, "ann", text)
    assert seen == ["a", "b", "c"]


LONE = "half of a pair: \ud83d"


class Use(NamedTuple):
    """A method, and what it is given."""

    name: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})

    def of(self, thing: object) -> Any:
        return getattr(thing, self.name)(*self.arguments, **self.options)


def send(**options: Any) -> Use:
    return Use("send", ("a",), options)


@pytest.mark.parametrize(
    "use",
    [
        Use("send", (LONE,)),
        Use("send", (LONE,), {"message_id": "m"}),
        send(message_id=LONE),
        send(sender=LONE),
        send(sender=5),
        send(metadata={"x": LONE}),
        send(metadata={"x": object()}),
        send(metadata={1: 2}),
        send(metadata=5),
        send(attachments=5),
        send(deadline=float("inf")),
        send(deadline=10**400),
        send(deadline=True),
        Use("stop", (), {"reason": 5}),
        Use("stop", (), {"reason": LONE}),
        Use("stop", ("now",)),
        Use("stop", (), {"backlog": "later"}),
        send(priority="high"),
        send(priority=True),
        send(policy=Steer),
        Use("withdraw", ("",)),
        Use("edit", ("a", 5)),
        Use("outcome", (None,)),
        Use("outcome", ([1],)),
        Use("outcome", ("",)),
        Use("read", (int,)),
        Use("read", (5,)),
    ],
    ids=repr,
)
async def test_what_cannot_be_used_is_refused_at_the_call(use: Use) -> None:
    async with ActorSystem(echo) as system:
        assert await ask(system, "ann") is MessageStatus.ANSWERED
        with pytest.raises(InvalidMessage):
            use.of(system.session("ann"))
        assert await ask(system, "ann") is MessageStatus.ANSWERED


@pytest.mark.parametrize(
    ("session_id", "tenant"), [(LONE, ""), ("ann", LONE), ("ann", None), ("ann", 5), (None, "")]
)
async def test_a_sessions_name_is_text(session_id: Any, tenant: Any) -> None:
    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidMessage):
            system.session(session_id, tenant=tenant)


class OwnPolicy(AfterWave):
    pass


async def test_a_policy_is_one_of_ours_as_it_is() -> None:
    with pytest.raises(InvalidSetting, match="policy="):
        ActorSystem(echo, policy=OwnPolicy())
    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidMessage, match="policy="):
            system.session("ann").send("a", policy=OwnPolicy())
        with pytest.raises(InvalidMessage, match="how="):
            system.session("ann").stop(OwnPolicy())


@pytest.mark.parametrize("choice", [None, "now", AfterWave, OwnPolicy()], ids=repr)
async def test_a_chooser_that_chooses_no_policy_loses_no_message(choice: Any) -> None:
    class Choosing(SessionActor):
        def choose_policy(self, message: object, view: object) -> Any:
            return choice

    async with ActorSystem(echo, session_actor=Choosing) as system:
        assert await ask(system, "ann") is MessageStatus.ANSWERED


async def test_texts_may_be_huge_and_in_any_script() -> None:
    async with ActorSystem(echo) as system:
        for text in ("x" * 5_000_000, "שלום 👋🏽 \x00 \u202e ﷽", "\n \t a"):
            outcome = await (await system.session("ann/ben 👋").send(text)).outcome()
            assert outcome.reply == Reply(text=text)


class Strict(BaseModel):
    number: int


class Counted(BaseModel):
    count: int = 0


class Named(BaseModel):
    name: Any


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (LONE, "UTF-8"),
        (Reply(text=LONE), "UTF-8"),
        (Reply(data={"x": object()}), "does not survive JSON"),
        (Reply(data={"x": LONE}), "does not survive JSON"),
        (None, "return a str or a Reply"),
        (b"bytes", "return a str or a Reply"),
    ],
)
async def test_a_reply_that_cannot_be_sent_fails_its_turn_and_says_why(
    reply: Any, words: str
) -> None:
    async def agent(turn: Turn) -> Any:
        return reply

    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.status is MessageStatus.FAILED
        assert words in outcome.error


@pytest.mark.parametrize(
    "use",
    [
        Use("say", (LONE,)),
        Use("say", (5,)),
        Use("delta", (LONE,)),
        Use("delta", (None,)),
        Use("save", ({"a": "dict"},)),
        Use("state", (Strict,)),
        Use("save", (Named(name=LONE),)),
    ],
    ids=repr,
)
async def test_what_a_turn_cannot_say_or_save_is_an_error_in_the_agent(use: Use) -> None:
    caught: list[str] = []

    async def agent(turn: Turn) -> str:
        try:
            use.of(turn)
        except Exception as error:  # noqa: BLE001 - whichever
            caught.append(type(error).__name__)
        turn.save(Counted(count=1))
        return "ok"

    deliver = RecordingDeliver()
    async with ActorSystem(agent, deliver=deliver) as system:
        assert await ask(system, "ann") is MessageStatus.ANSWERED
        assert (await system.session("ann").read(Counted)).count == 1
    assert len(caught) == 1
    assert deliver.texts == ["ok"]


async def test_a_state_that_a_validator_refuses_is_told_to_who_reads_it() -> None:
    class Odd(BaseModel):
        count: int = 0

        def model_post_init(self, context: Any) -> None:
            raise KeyError("odd")

    async def agent(turn: Turn) -> str:
        turn.save(Counted())
        return "ok"

    async with ActorSystem(agent) as system:
        await ask(system, "ann")
        for model in (Odd, Strict):
            with pytest.raises((KeyError, ValueError)):
                await system.session("ann").read(model)
        assert await ask(system, "ann") is MessageStatus.ANSWERED


async def test_a_step_whose_result_is_no_json_fails_in_the_agent() -> None:
    async def agent(turn: Turn) -> str:
        with pytest.raises(TypeError, match="cannot be remembered"):
            await turn.step(object, key="odd")
        with pytest.raises(TypeError, match="cannot be remembered"):
            await turn.step(lambda: {"emoji": LONE}, key="half of a model's answer")
        with pytest.raises(InvalidMessage):
            await turn.step(lambda: 1, key=LONE)
        return "ok"

    async with ActorSystem(agent) as system:
        assert await ask(system, "ann") is MessageStatus.ANSWERED


async def test_a_token_is_cancelled_for_any_reason_and_the_journal_can_hold_it() -> None:
    async def agent(turn: Turn) -> str:
        turn.cancel_token.cancel(LONE)
        await turn.step(lambda: 1, key="boundary")
        return "never"

    reasons: list[str] = []
    async with ActorSystem(agent) as system:
        system.on(StopRequested, lambda event: reasons.append(event.detail))
        assert await ask(system, "ann") is MessageStatus.CANCELLED
    assert len(reasons) == 1
    reasons[0].encode()


async def test_tools_of_the_same_name_are_refused_and_any_systems_tools_may_be_used() -> None:
    @tool(effect="read")
    async def look() -> int:
        return 1

    same_name = look
    with pytest.raises(ToolDefinitionError, match="'look'"):
        ActorSystem(echo, tools=(look, same_name))

    async def agent(turn: Turn) -> str:
        return str(await turn.one(look()))

    async with ActorSystem(echo, tools=(look,)), ActorSystem(agent) as other:
        assert await ask(other, "ann") is MessageStatus.ANSWERED


async def test_a_tool_that_is_a_generator_is_refused() -> None:
    async def letters() -> Any:
        yield "a"

    def numbers() -> Any:
        yield 1

    for function in (letters, numbers):
        with pytest.raises(ToolDefinitionError, match="generator"):
            tool(function)


async def test_a_wave_reports_a_tool_that_waits_for_its_own_turn_to_end_only_by_its_timeout() -> (
    None
):
    """A tool that waits for the outcome of its own session is told; its wave has it."""
    sessions: list[Session] = []

    @tool(effect="read")
    async def waiting() -> str:
        return (await sessions[0].outcome("m1")).status

    async def agent(turn: Turn) -> str:
        with pytest.raises(WaveFailed) as failed:
            await turn.wave(waiting())
        error = failed.value.records[0].error
        return error.type if error is not None else ""

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        sessions.append(system.session("ann"))
        receipt = await sessions[0].send("a", message_id="m1")
        assert (await receipt.outcome()).reply == Reply(text="WouldDeadlock")


async def test_a_timer_that_comes_a_little_early_is_set_again() -> None:
    """Loops may call a timer before its time, by their clock's resolution."""
    loop = asyncio.get_running_loop()
    on_time = loop.call_later

    def early(delay: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        return on_time(delay * 0.9, callback, *args, **kwargs)

    async def agent(turn: Turn) -> str:
        await asyncio.sleep(LONG)
        return "never"

    async with ActorSystem(agent) as system:
        receipt = await system.session("ann").send("a")
        await asyncio.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "call_later", early)
            before = loop.time()
            second = await system.session("ann").send("b", policy=AfterWave(patience=7))
            stopped = system.session("ann").stop(AfterWave(patience=7))
            await stopped
            assert loop.time() - before == pytest.approx(7, abs=1e-3)
        assert (await receipt.outcome()).status is MessageStatus.CANCELLED
        assert (await second.outcome()).status is MessageStatus.CANCELLED
