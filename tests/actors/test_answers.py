"""Who awaits an answer of an actor that is free does not wait for a turn of the loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.due import SPARE
from wavebreak.actors.exit import Exit, ExitKind
from wavebreak.actors.reference import LoopActorRef


class Echo(AsyncioActor):
    """Answers with what it was asked; calls what is callable, and awaits what that gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message()
        self.seen.append(message)
        return message


def do(handler: Callable[[], Any]) -> Callable[[], Any]:
    """Give a lambda its type."""
    return handler


def actor_of(ref: LoopActorRef[Any]) -> Echo:
    actor = ref._actor
    assert isinstance(actor, Echo)
    return actor


async def started() -> LoopActorRef[Echo]:
    ref = Echo.start()
    await ref.ask(0, block=False)
    await asyncio.sleep(0)
    actor_of(ref).seen.clear()
    return ref


class Turns:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.count = -1
        self.go_on = True
        self._again()

    def _again(self) -> None:
        self.count += 1
        if self.go_on:
            asyncio.get_running_loop().call_soon(self._again)

    def stop(self) -> int:
        self.go_on = False
        return self.count


async def test_an_answer_that_needs_no_waiting_costs_no_turn_of_the_loop() -> None:
    ref = await started()
    turns = Turns()
    assert [await ref.ask(n, block=False) for n in range(5)] == [0, 1, 2, 3, 4]
    assert turns.stop() == 0
    await ref.stop(block=False)


async def test_what_was_sent_before_is_handled_before() -> None:
    ref = await started()
    actor = actor_of(ref)
    for n in range(5):
        ref.tell(n)
    first, second = ref.ask("first", block=False), ref.ask("second", block=False)
    ref.tell("behind")
    turns = Turns()
    assert await second == "second"
    assert turns.stop() == 0
    assert first.get() == "first"
    assert actor.seen[:7] == [0, 1, 2, 3, 4, "first", "second"]
    await ref.stop(block=False)
    assert actor.seen[7:] == ["behind"]


async def test_the_loop_has_its_turns_however_often_somebody_asks() -> None:
    refs = [await started(), await started()]
    await asyncio.sleep(0)
    turns = Turns()
    for n in range(10 * SPARE):
        await refs[n % 2].ask(n, block=False)
    assert turns.stop() >= 9  # all who wait share what is done before the next one
    await asyncio.gather(*(ref.stop(block=False) for ref in refs))


async def test_a_flood_in_front_of_an_ask_is_not_handled_in_one_go() -> None:
    ref = await started()
    actor = actor_of(ref)
    for n in range(5 * SPARE):
        ref.tell(n)
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(len(actor.seen)))
    await ref.ask("asked", block=False)
    assert seen[0] <= 2 * SPARE
    assert actor.seen == [*range(5 * SPARE), "asked"]
    await ref.stop(block=False)


async def test_it_is_handled_in_the_context_of_the_actor() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    ref = await started()
    variable.set("the asker's")
    assert await ref.ask(do(variable.get), block=False) == "default"
    await ref.ask(do(lambda: variable.set("the actor's")), block=False)
    assert variable.get() == "the asker's"
    assert await ref.ask(do(variable.get), block=False) == "the actor's"
    await ref.stop(block=False)


async def test_an_asker_in_the_context_of_the_actor_waits_for_a_turn() -> None:
    ref = await started()
    turns = Turns()

    async def ask() -> Any:
        return await ref.ask(1, block=False)

    loop = asyncio.get_running_loop()
    assert await asyncio.Task(ask(), loop=loop, context=actor_of(ref)._actor_context) == 1
    assert turns.stop() > 1
    await ref.stop(block=False)


async def test_an_actor_that_is_busy_is_waited_for() -> None:
    ref = await started()
    let_go = asyncio.Event()
    held = ref.ask(do(let_go.wait), block=False)
    asked = asyncio.ensure_future(wait_for(ref.ask("next", block=False)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asked.done()
    assert actor_of(ref).seen == []
    let_go.set()
    assert await held
    assert await asked == "next"
    await ref.stop(block=False)


async def wait_for(future: pykka.Future[Any]) -> Any:
    return await future


async def test_an_async_handler_is_begun_by_who_waits_and_goes_on_by_itself() -> None:
    ref = await started()
    order: list[str] = []

    async def slow() -> str:
        order.append("begins")
        await asyncio.sleep(1)
        return "done"

    asked = ref.ask(slow, block=False)
    waiting = asyncio.ensure_future(wait_for(asked))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["begins"]
    waiting.cancel()  # who waits cancels nothing
    assert await asked == "done"
    await ref.stop(block=False)


async def test_an_actor_that_asks_another_is_answered_at_once() -> None:
    asker, asked = await started(), await started()

    async def relay() -> Any:
        return await asked.ask("relayed", block=False)

    assert await asker.ask(relay, block=False) == "relayed"
    await asyncio.gather(asker.stop(block=False), asked.stop(block=False))


async def test_what_the_handler_raises_comes_to_who_waits_and_ends_nothing() -> None:
    ref = await started()
    with pytest.raises(ZeroDivisionError):
        await ref.ask(do(lambda: 1 / 0), block=False)
    assert await ref.ask("alive", block=False) == "alive"
    await ref.stop(block=False)


async def test_a_tell_before_it_that_fails_ends_the_actor_under_who_waits() -> None:
    ref = await started()
    ref.tell(do(lambda: 1 / 0))
    with pytest.raises(pykka.ActorDeadError):
        await ref.ask("never", block=False)
    assert isinstance(ref.exit, Exit)
    assert ref.exit.kind is ExitKind.FAILED


async def test_a_deadly_handler_ends_its_actor_and_not_who_waits() -> None:
    ref = await started()

    def leave() -> None:
        raise SystemExit

    with pytest.raises(pykka.ActorDeadError):
        await ref.ask(leave, block=False)
    assert isinstance(ref.exit, Exit)
    assert ref.exit.kind is ExitKind.KILLED


async def test_it_is_woken_as_before_for_what_comes_later() -> None:
    ref = await started()
    actor = actor_of(ref)
    await ref.ask(1, block=False)
    ref.tell(2)
    await asyncio.sleep(0)
    assert actor.seen == [1, 2]
    ref.tell(3)
    await asyncio.sleep(0)
    assert actor.seen == [1, 2, 3]
    await ref.stop(block=False)


def test_somebody_on_another_loop_waits_for_the_loop_of_the_actor() -> None:
    theirs = asyncio.new_event_loop()
    ref = Echo.start_on(theirs)
    theirs.run_until_complete(asyncio.sleep(0))
    asked = ref.ask("from elsewhere", block=False)

    async def wait() -> None:
        waiting = asyncio.ensure_future(wait_for(asked))
        for _ in range(3):
            await asyncio.sleep(0)
        assert waiting.cancel()

    asyncio.run(wait())
    assert actor_of(ref).seen == []
    assert theirs.run_until_complete(asked) == "from elsewhere"
    theirs.run_until_complete(ref.stop(block=False))
    theirs.close()


async def test_a_program_that_recurses_up_to_the_limit_breaks_no_actor_that_it_asks() -> None:
    ref = await started()

    async def ask_at(depth: int) -> None:
        await ref.ask(depth, block=False)
        await ask_at(depth + 1)

    async def below(frames: int) -> None:
        await (below(frames - 1) if frames else ask_at(0))

    for frames in range(20):  # so that each place in the actor's code is where it ends once
        with pytest.raises(RecursionError):
            async with asyncio.timeout(5):
                await below(frames)
        async with asyncio.timeout(5):
            assert await ref.ask("well", block=False) == "well"
    await ref.stop(block=False)


async def test_who_is_asked_within_an_answer_shares_what_may_be_done_before_the_next_turn() -> None:
    outer, inner = await started(), await started()

    def ask_on() -> None:
        async def ask() -> None:
            for _ in range(SPARE - 2):
                await inner.ask(0, block=False)

        with pytest.raises(StopIteration):  # all of it was answered at once
            ask().send(None)

    turns = Turns()
    await outer.ask(do(ask_on), block=False)
    await outer.ask(0, block=False)
    assert turns.count == 0
    await outer.ask(0, block=False)
    assert turns.stop() > 0
    for ref in (outer, inner):
        await ref.stop(block=False)
