"""A runtime is an actor as any other, but one that is only made when somebody looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import ActorSystem, MessageStatus, RuntimeActor, tool
from wavebreak.actors.actor import Lifecycle
from wavebreak.actors.runtime import function_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak import Turn
    from wavebreak.messages.message import MessageOutcome


@tool(effect="read")
async def look(what: str) -> str:
    await asyncio.sleep(1)
    return what


async def agent(turn: Turn) -> str:
    if turn.text == "fail":
        raise ValueError("no")
    if turn.text == "crash" and turn.attempt == 1:
        raise OSError("gone")
    if turn.text == "exit":
        raise SystemExit(1)
    await turn.wave(look("a"), look("b"))
    await turn.wave(look("c"))
    return turn.text


class Unseen(RuntimeActor):
    async def run(self, turn: Turn) -> str:
        return await agent(turn)


class Seen(Unseen):
    """Somebody holds its reference from its first moment."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        assert self.actor_ref.is_alive()


class SeenLate(Unseen):
    async def run(self, turn: Turn) -> str:
        try:
            return await super().run(turn)
        finally:
            assert self.actor_ref.is_alive()


class Hooked(Unseen):
    async def on_start(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)

    async def on_stop(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)


async def told(runtime: type[RuntimeActor], drive: Callable[[Any], Awaitable[object]]) -> list[str]:
    """What subscribers are told of a conversation."""
    async with ActorSystem(runtime) as system:
        with system.events() as events:
            await drive(system)
        return [f"{type(event).__name__} {event.turn}" async for event in events]


async def one(system: ActorSystem, text: str) -> MessageOutcome:
    return await (await system.session("ann").send(text, message_id=text)).outcome()


async def interrupted(system: ActorSystem) -> object:
    session = system.session("ann")
    first = await session.send("first", message_id="m1")
    await asyncio.sleep(0.5)
    second = await session.send("second", message_id="m2")
    return await first.outcome(), await second.outcome()


async def stopped(system: ActorSystem) -> object:
    session = system.session("ann")
    first = await session.send("first", message_id="m1")
    await asyncio.sleep(0.5)
    return await session.stop(), await first.outcome()


DRIVES: dict[str, Callable[[Any], Awaitable[object]]] = {
    "finishes": lambda system: one(system, "x"),
    "fails": lambda system: one(system, "fail"),
    "crashes": lambda system: one(system, "crash"),
    "exits": lambda system: one(system, "exit"),
    "is interrupted": interrupted,
    "is stopped": stopped,
}


@pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
async def test_a_runtime_that_is_seen_does_the_same_as_one_that_is_not(
    drive: Callable[[Any], Awaitable[object]],
) -> None:
    expected = await told(function_runtime(agent), drive)
    assert expected[-1].startswith("MessageEnded")
    for kind in (Unseen, Seen, SeenLate, Hooked):
        assert await told(kind, drive) == expected, kind


async def test_a_runtime_that_nobody_looks_at_is_no_actor() -> None:
    living: list[int] = []

    class Counting(RuntimeActor):
        async def run(self, turn: Turn) -> str:
            await asyncio.sleep(0)
            living.append(self._actor_living.on(self._loop))
            if turn.text == "look":
                _ = self.actor_ref
            living.append(self._actor_living.on(self._loop))
            return "ok"

    async with ActorSystem(Counting) as system:
        await one(system, "do not")
        await one(system, "look")

    before, after, again, looked = living
    assert before == after == again
    assert looked == again + 1


async def test_a_runtime_can_be_told_things_and_is_found_stopped_afterwards() -> None:
    heard: list[object] = []
    runtimes: list[RuntimeActor] = []

    class Listening(RuntimeActor):
        async def run(self, turn: Turn) -> str:
            runtimes.append(self)
            if turn.text == "early":
                assert await self.actor_ref.ask("a", block=False) == "heard a"
                assert self.lifecycle is Lifecycle.RUNNING
            return "ok"

        def on_receive(self, message: Any) -> Any:
            heard.append(message)
            return f"heard {message}"

    async with ActorSystem(Listening) as system:
        await one(system, "early")
        await one(system, "late")
        for runtime in runtimes:
            assert not runtime.actor_ref.is_alive()
            assert runtime.actor_ref.exit is not None
            assert runtime.actor_ref.exit.kind == "normal"
            assert runtime.lifecycle is Lifecycle.STOPPED

    assert heard == ["a"]


async def test_the_reference_of_a_runtime_is_the_same_from_every_thread() -> None:
    found: list[object] = []

    class Asking(RuntimeActor):
        async def run(self, turn: Turn) -> str:
            del turn
            looks = [asyncio.to_thread(lambda: self.actor_ref) for _ in range(4)]
            found.extend(await asyncio.gather(*looks))
            found.append(self.actor_ref)
            return "ok"

    async with ActorSystem(Asking) as system:
        assert (await one(system, "x")).status is MessageStatus.ANSWERED

    assert len(found) == 5
    assert len(set(map(id, found))) == 1


async def test_what_a_runtime_does_not_have_is_missing_as_anywhere() -> None:
    missing: list[bool] = []

    class Looking(RuntimeActor):
        async def run(self, turn: Turn) -> str:
            del turn
            missing.append(hasattr(self, "anything"))
            return "ok"

    async with ActorSystem(Looking) as system:
        await one(system, "x")

    assert missing == [False]
