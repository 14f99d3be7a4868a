from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from wavebreak.actors.exit import AskFailed, Exit, ExitKind, Notice
from wavebreak.messages.errors import ChildStartFailed
from wavebreak.supervisors.child_spec import ChildSpec
from wavebreak.supervisors.children import Report, ReportKind
from wavebreak.supervisors.watch import UnknownCause, watch, when_started
from wavebreak.supervisors.watched import watched

from .supervised import LOOP, THREAD, LoopWorker, Script, ThreadWorker, World

pytestmark = pytest.mark.real_time


def start(world: World) -> Any:
    worker: Any = world.kind.worker
    if issubclass(worker, pykka.ThreadingActor):
        worker = watched(worker)
    return worker.start(world.script)


async def test_a_failing_ask_is_noticed_and_the_actor_lives_on(world: World) -> None:
    ref = start(world)
    notices: list[Notice] = []
    watch(ref, notices.append)
    failure = ValueError("no")
    answer: Any = ref.ask(failure, block=False)
    with pytest.raises(ValueError, match="no"):
        await asyncio.to_thread(answer.get)
    ended = await world.end(ref, "normal")
    assert ended.kind is ExitKind.NORMAL
    assert notices == [AskFailed(failure), ended]


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(1)])
async def test_a_failing_on_start_is_noticed(world: World, raised: BaseException) -> None:
    world.script.fail["w"] = raised
    ref = start(world)
    started = when_started(ref)
    ended = await world.gone(ref)
    assert (ended.cause, ended.phase) == (raised, "start")
    assert started.error() is raised


@pytest.mark.parametrize("how", ["abnormal", "exit", "shutdown", "kill"])
async def test_every_end_is_told_once_with_its_cause_also_afterwards(
    world: World, how: str
) -> None:
    ref = start(world)
    await when_started(ref)
    notices: list[Notice] = []
    watch(ref, notices.append)
    other = watch(ref, notices.append)
    other()
    ended = await world.end(ref, how)
    assert ended.cause is not None
    assert notices == [ended]
    assert await world.gone(ref) == ended


def test_a_base_exception_ends_a_watched_actor_and_no_other() -> None:
    script = Script()
    ref, other = (watched(ThreadWorker).start(script) for _ in range(2))
    with pytest.raises(pykka.ActorDeadError) as caught:
        ref.ask(SystemExit(3))
    assert isinstance(caught.value.__cause__, SystemExit)
    assert other.ask("hello") == "hello"
    other.stop()


def test_a_watched_class_passes_for_the_one_it_is_made_of() -> None:
    made = watched(ThreadWorker)
    assert (made.__name__, made.__module__) == (ThreadWorker.__name__, ThreadWorker.__module__)
    assert watched(made) is made
    ref = made.start(Script())
    assert pykka.ActorRegistry.get_by_class_name("ThreadWorker") == [ref]
    assert pykka.ActorRegistry.get_by_class(ThreadWorker) == [ref]
    ref.stop()


def test_who_asks_a_killed_actor_is_answered() -> None:
    script = Script()
    ref = watched(ThreadWorker).start(script)
    ref.tell("hang")
    asked = ref.ask("hello", block=False)
    from wavebreak.supervisors.watched import let_go  # noqa: PLC0415

    let_go(ref)
    script.gate.set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=5)


async def test_the_end_of_an_opaque_actor_is_noticed_without_its_cause() -> None:
    world = World(THREAD)
    ref: Any = ThreadWorker.start(world.script)
    await when_started(ref)
    ref.tell(ValueError("unseen"))
    ended = await world.gone(ref)
    assert isinstance(ended.cause, UnknownCause)
    # Watched only after the thread has gone.
    assert isinstance((await world.gone(ref)).cause, UnknownCause)


async def test_an_opaque_actor_whose_thread_dies_is_noticed() -> None:
    world = World(THREAD)
    sup = await world.supervise()

    def opaque() -> Any:
        return ThreadWorker.start(world.script)

    ref: Any = await sup.start_child(ChildSpec("c1", opaque))
    reports: list[Report] = []
    sup.subscribe(reports.append)
    ref.tell(ValueError("unseen"))
    await world.gone(ref)
    while await world.ref(sup, "c1") in (ref, None):
        await asyncio.sleep(0.001)
    assert isinstance(reports[0].cause, UnknownCause)
    await world.stop(sup)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_died_in_an_opaque_start_counts_as_dead() -> None:
    world = World(THREAD)
    world.script.fail["w"] = SystemExit(1)
    sup = await world.supervise()
    refs: list[Any] = []

    def opaque() -> Any:
        refs.append(ThreadWorker.start(world.script))
        return refs[-1]

    with pytest.raises(ChildStartFailed) as caught:
        await sup.start_child(ChildSpec("c1", opaque))
    assert isinstance(caught.value.__cause__, UnknownCause)
    assert not refs[0].is_alive()
    assert pykka.ActorRegistry.get_all() == []
    await world.stop(sup)


async def test_an_end_just_after_the_start_is_not_missed(world: World) -> None:
    class Brief(world.kind.worker):  # type: ignore[name-defined, misc]
        def on_start(self) -> Any:
            super().on_start()
            if len(world.script.done) < 3:
                self.actor_ref.tell(ValueError("at once"))
            return asyncio.sleep(0) if world.kind is LOOP else None

    sup = await world.supervise(ChildSpec("c1", Brief, args=(world.script,)), intensity=5)
    while len(world.script.done) < 3:
        await asyncio.sleep(0.001)
    assert (await world.refs(sup))[0].is_alive()
    await world.stop(sup)


async def test_no_second_incarnation_starts_while_the_first_is_in_on_stop() -> None:
    world = World(THREAD)
    stopping, go_on = threading.Event(), threading.Event()

    class Slow(ThreadWorker):
        def on_stop(self) -> None:
            stopping.set()
            go_on.wait(10)
            super().on_stop()

    sup = await world.supervise(ChildSpec("c1", Slow, args=(world.script,)))
    (ref,) = await world.refs(sup)
    ref.stop(block=False)
    await asyncio.to_thread(stopping.wait, 5)
    assert not ref.is_alive()
    assert await world.counts(sup) == [1, 1, 0, 1]
    assert world.script.done == [("start", "w")]
    go_on.set()
    await world.gone(ref)
    assert await world.counts(sup) == [1, 1, 0, 1]
    assert world.script.done == [("start", "w"), ("stop", "w"), ("start", "w")]
    await world.stop(sup)


async def test_a_supervisor_reports_the_asks_that_fail(world: World) -> None:
    sup = await world.supervise(world.spec("c1"))
    reports: list[Report] = []
    unsubscribe = sup.subscribe(reports.append)
    ref = await world.ref(sup, "c1")
    failure = ValueError("no")
    answer: Any = ref.ask(failure, block=False)
    with pytest.raises(ValueError, match="no"):
        await asyncio.to_thread(answer.get)
    while not reports:  # a thread answers first, and tells of it then
        await asyncio.sleep(0.001)
    assert [(one.kind, one.cause) for one in reports] == [(ReportKind.ASK_FAILED, failure)]
    unsubscribe()
    await world.stop(sup)
    assert len(reports) == 1


async def test_a_watcher_that_fails_harms_nobody(world: World) -> None:
    ref = start(world)

    def fails(notice: Notice) -> None:
        raise ValueError(notice)

    watch(ref, fails)
    assert isinstance(await world.end(ref, "abnormal"), Exit)


async def test_a_loop_actor_with_an_async_start_is_waited_for() -> None:
    world = World(LOOP)

    class Slow(LoopWorker):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0.01)
            self.script.start(self.name)

    sup = await world.supervise(ChildSpec("c1", Slow, args=(world.script,)))
    assert world.script.done == [("start", "w")]
    await world.stop(sup)
