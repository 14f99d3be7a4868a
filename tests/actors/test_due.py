"""One callback of the loop for all actors of it that have something to do."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pykka
import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.due import Due
from wavebreak.actors.reference import LoopActorRef

MANY = 50


class Recorder(AsyncioActor):
    """Notes what it gets; calls what is callable."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.seen.append(message() if callable(message) else message)


def actors_of(refs: list[LoopActorRef[Recorder]]) -> list[Recorder]:
    return [actor for ref in refs if (actor := ref._actor) is not None]


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the loops of the test are called meanwhile, by their ways."""
    called: list[str] = []
    for way in ("call_soon", "call_soon_threadsafe"):
        real = getattr(asyncio.BaseEventLoop, way)

        def call(
            loop: Any, callback: Any, *args: Any, real: Any = real, way: str = way, **context: Any
        ) -> Any:
            if getattr(callback, "__func__", None) is Due._run:
                called.append(way)
            return real(loop, callback, *args, **context)

        monkeypatch.setattr(asyncio.BaseEventLoop, way, call)
    return called


async def test_many_actors_are_started_told_and_stopped_by_a_callback_each_time(
    callbacks: list[str],
) -> None:
    refs = [Recorder.start() for _ in range(MANY)]
    assert callbacks == ["call_soon"]
    await asyncio.sleep(0)
    actors = actors_of(refs)
    for n in range(3):
        for ref in refs:
            ref.tell(n)
    assert callbacks == ["call_soon"] * 2
    await asyncio.sleep(0)
    assert [actor.seen for actor in actors] == [[0, 1, 2]] * MANY
    stopped = [ref.stop(block=False) for ref in refs]
    assert callbacks == ["call_soon"] * 3
    assert all([await one for one in stopped])


@pytest.mark.real_time
async def test_a_thread_calls_the_loop_once_for_all_that_it_tells(callbacks: list[str]) -> None:
    refs = [Recorder.start() for _ in range(MANY)]
    await asyncio.sleep(0)
    actors = actors_of(refs)
    told = threading.Event()

    def tell() -> None:
        for ref in refs:
            ref.tell(1)
        told.set()

    callbacks.clear()
    thread = threading.Thread(target=tell)
    thread.start()
    told.wait()  # so that the loop has no turn in between
    thread.join()
    assert callbacks == ["call_soon_threadsafe"]
    await asyncio.sleep(0)
    assert [actor.seen for actor in actors] == [[1]] * MANY
    await asyncio.gather(*(ref.stop(block=False) for ref in refs))


async def test_who_is_told_by_one_that_was_called_has_the_next_turn() -> None:
    one, two = Recorder.start(), Recorder.start()
    await asyncio.sleep(0)
    (first, second) = actors_of([one, two])
    one.tell("early")
    two.tell(lambda: one.tell("late"))
    await asyncio.sleep(0)
    assert (first.seen, len(second.seen)) == (["early"], 1)
    await asyncio.sleep(0)
    assert first.seen == ["early", "late"]
    await asyncio.gather(one.stop(block=False), two.stop(block=False))


async def test_one_that_breaks_does_not_keep_the_others_from_their_turn() -> None:
    class Broken(Recorder):
        breaks = True

        def _actor_pump(self) -> None:
            if self.breaks:
                self.breaks = False
                raise LookupError
            super()._actor_pump()

    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    refs: list[LoopActorRef[Any]] = [Recorder.start(), Broken.start(), Recorder.start()]
    await asyncio.sleep(0)
    actors = actors_of(refs)
    for ref in refs:
        ref.tell(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [type(error) for error in complaints] == [LookupError]
    assert [actor.seen for actor in actors] == [[1], [], [1]]
    loop.set_exception_handler(None)
    actors[1]._actor_pump()
    await asyncio.gather(*(ref.stop(block=False) for ref in refs))


def test_a_loop_that_is_closed_keeps_nobody() -> None:
    loop = asyncio.new_event_loop()
    due = Due(loop)
    loop.close()
    actor = AsyncioActor(loop=loop)
    gone = weakref.ref(actor)
    with pytest.raises(RuntimeError):
        due.add(actor)
    with pytest.raises(RuntimeError):  # and says so to the next one, too
        due.add(actor)
    del actor
    gc.collect()
    assert gone() is None


def test_what_was_due_on_a_closed_loop_is_let_go_when_another_one_is_used() -> None:
    async def use() -> None:
        await Recorder.start().stop(block=False)

    loop = asyncio.new_event_loop()
    ref = Recorder.start_on(loop)
    loop.close()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(1)
    asyncio.run(use())
    assert loop not in AsyncioActor._actor_living._due
