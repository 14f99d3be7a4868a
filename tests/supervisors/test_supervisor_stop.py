from __future__ import annotations

import asyncio
import math
from typing import Any

import pykka
import pytest

from wavebreak.actors.exit import ExitKind
from wavebreak.messages.errors import ChildNotFound, TooManyAbandoned
from wavebreak.supervisors.child_spec import KILL, ChildSpec, Restart
from wavebreak.supervisors.children import Report, ReportKind
from wavebreak.supervisors.settings import Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import LoopWorker, SlowWorker, StubbornWorker, World


def reports_of(sup: Any) -> list[Report]:
    reports: list[Report] = []
    sup.subscribe(reports.append)
    return reports


async def test_a_child_without_a_limit_is_waited_for(on_loop: World) -> None:
    """``sup_stop_infinity``: for a supervisor it is the default, for a worker it may be."""

    class Patient(LoopWorker):
        def on_stop(self) -> Any:
            return asyncio.sleep(100_000)

    sup = await on_loop.supervise(on_loop.spec("c1", worker=Patient, shutdown=math.inf))
    before = asyncio.get_running_loop().time()
    await on_loop.stop(sup)
    assert asyncio.get_running_loop().time() - before == 100_000


async def test_a_supervisor_is_given_as_long_as_its_children_take(on_loop: World) -> None:
    """``sup_stop_infinity``: five seconds each, and more of them than one worker would get."""
    inner = [on_loop.spec(str(number), worker=SlowWorker) for number in range(10)]
    sup = await on_loop.supervise(ChildSpec("inner", Supervisor, args=(inner,)))
    await on_loop.stop(sup)
    assert on_loop.script.names("stop") == [str(number) for number in reversed(range(10))]


async def test_a_worker_has_five_seconds_to_stop_and_is_cancelled_then(on_loop: World) -> None:
    """``sup_stop_timeout``."""
    sup = await on_loop.supervise(on_loop.spec("c1"), on_loop.spec("c2"))
    reports = reports_of(sup)
    first, second = await on_loop.refs(sup)
    second.tell("hang")
    before = asyncio.get_running_loop().time()
    await on_loop.stop(sup)
    assert asyncio.get_running_loop().time() - before == pytest.approx(5.0)
    assert first.exit.kind is ExitKind.NORMAL
    assert second.exit.kind is ExitKind.KILLED
    assert [(one.child_id, one.ended and one.ended.kind) for one in reports] == [
        ("c2", ExitKind.KILLED),
        ("c1", ExitKind.NORMAL),
    ]


async def test_a_pool_stops_all_at_once_under_one_timer(on_loop: World) -> None:
    """``sup_stop_timeout_dynamic``."""
    sup = await on_loop.supervise(
        on_loop.pool_spec(shutdown=1.0), strategy=Strategy.SIMPLE_ONE_FOR_ONE
    )
    refs = [await sup.start_child(str(number)) for number in range(4)]
    for ref in refs[:3]:
        ref.tell("hang")
    before = asyncio.get_running_loop().time()
    await on_loop.stop(sup)
    assert asyncio.get_running_loop().time() - before == pytest.approx(1.0)
    kinds = [ref.exit.kind for ref in refs]
    assert kinds == [ExitKind.KILLED] * 3 + [ExitKind.NORMAL]


async def test_a_pool_gives_each_child_the_time_it_takes(on_loop: World) -> None:
    """``simple_one_for_one_shutdown``."""
    spec = ChildSpec("pool", SlowWorker, args=(on_loop.script,), shutdown=2.0)
    sup = await on_loop.supervise(spec, strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    for number in range(20):
        await sup.start_child(str(number))
    before = asyncio.get_running_loop().time()
    await on_loop.stop(sup)
    assert asyncio.get_running_loop().time() - before == pytest.approx(1.0)
    assert len(on_loop.script.names("stop")) == 20


async def test_a_child_that_is_not_asked_is_ended_at_once(world: World) -> None:
    """``sup_stop_brutal_kill``."""
    sup = await world.supervise(world.spec("c1"), world.spec("c2", shutdown=KILL))
    reports = reports_of(sup)
    await world.stop(sup)
    kinds = {one.child_id: one.ended and one.ended.kind for one in reports}
    assert kinds == {"c1": ExitKind.NORMAL, "c2": ExitKind.KILLED}
    # Its clean-up is skipped, as it is when somebody is killed.
    assert world.script.names("stop") == ["c1"]


async def test_a_pool_that_does_not_ask_ends_all_at_once(world: World) -> None:
    """``sup_stop_brutal_kill_dynamic``."""
    sup = await world.supervise(
        world.pool_spec(shutdown=KILL), strategy=Strategy.SIMPLE_ONE_FOR_ONE
    )
    reports = reports_of(sup)
    for number in range(4):
        await sup.start_child(str(number))
    await world.stop(sup)
    assert [one.ended and one.ended.kind for one in reports] == [ExitKind.KILLED] * 4


async def test_a_kill_does_not_wait_behind_a_full_mailbox(on_loop: World) -> None:
    """``sup_stop_brutal_kill``: what waits is answered, and not handled."""
    sup = await on_loop.supervise(on_loop.spec("c1", shutdown=KILL))
    ref = await on_loop.ref(sup, "c1")
    ended = sup.terminate_child("c1")
    asked = ref.ask("hello", block=False)
    told = [ref.ask(number, block=False) for number in range(500)]
    await ended
    with pytest.raises(pykka.ActorDeadError):
        await told[-1]
    assert await asked == "hello"


@pytest.mark.parametrize("how", ["abnormal", "normal"])
async def test_a_child_that_ends_just_before_its_supervisor_is_not_started_again(
    world: World, how: str
) -> None:
    """``sup_stop_race``."""
    sup = await world.supervise(world.spec("c1"))
    ref = await world.ref(sup, "c1")
    stopped = sup.stop(block=False)
    if how == "abnormal":
        ref.tell(ValueError("abnormal"))
    else:
        ref.stop(block=False)
    await stopped
    assert world.script.names("start") == ["c1"]
    assert not ref.is_alive()


async def test_a_child_that_fails_while_it_stops_is_reported_with_its_cause(world: World) -> None:
    """``sup_stop_non_shutdown_exit_dynamic``."""

    class Failing(world.kind.worker):  # type: ignore[name-defined, misc]
        def on_stop(self) -> None:
            raise OSError("cannot stop")

    sup = await world.supervise(
        ChildSpec("pool", Failing, args=(world.script,)), strategy=Strategy.SIMPLE_ONE_FOR_ONE
    )
    reports = reports_of(sup)
    await sup.start_child("a")
    await world.stop(sup)
    (report,) = reports
    assert report.ended is not None
    assert (report.ended.kind, report.ended.phase) == (ExitKind.FAILED, "stop")
    assert str(report.cause) == "cannot stop"


async def test_a_child_that_hangs_does_not_hang_its_supervisor(on_loop: World) -> None:
    """``child_unlink``: a naughty child costs its time, and then other messages are read."""
    sup = await on_loop.supervise(on_loop.spec("c1", worker=StubbornWorker, shutdown=1.0))
    reports = reports_of(sup)
    ref = await on_loop.ref(sup, "c1")
    ref.tell("hang")
    terminated = sup.terminate_child("c1")
    with pytest.raises(ChildNotFound):
        await sup.terminate_child("foo")
    assert terminated.done()
    (report,) = reports
    assert (report.kind, report.ended) == (ReportKind.ABANDONED, None)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("anything")
    on_loop.script.gate.set()
    assert (await on_loop.gone(ref)).kind is ExitKind.NORMAL
    assert [one.kind for one in reports] == [ReportKind.ABANDONED, ReportKind.ENDED]
    await on_loop.stop(sup)


@pytest.mark.slow
@pytest.mark.real_time
async def test_a_thread_that_does_not_end_is_abandoned_and_counted(on_thread: World) -> None:
    sup = await on_thread.supervise(on_thread.spec("c1", shutdown=0.01))
    reports = reports_of(sup)
    ref = await on_thread.ref(sup, "c1")
    ref.tell("hang")
    while not on_thread.script.names("hang"):  # before that it could still be fenced
        await asyncio.sleep(0.001)
    await sup.terminate_child("c1")
    assert [one.kind for one in reports] == [ReportKind.ABANDONED]
    assert await sup.proxy().abandoned == 1
    assert not ref.is_alive()
    second = await sup.restart_child("c1")
    assert second.is_alive()
    on_thread.script.gate.set()
    ended = await on_thread.gone(ref)
    assert ended.kind is ExitKind.KILLED
    assert await sup.proxy().abandoned == 0
    assert [one.kind for one in reports] == [ReportKind.ABANDONED, ReportKind.ENDED]
    assert on_thread.script.names("stop") == []
    await on_thread.stop(sup)


@pytest.mark.slow
@pytest.mark.real_time
async def test_as_many_abandoned_threads_as_may_be_hold_back_further_starts(
    on_thread: World,
) -> None:
    sup = await on_thread.supervise(
        on_thread.spec("c1", shutdown=KILL),
        on_thread.spec("c2", Restart.PERMANENT),
        max_abandoned=1,
    )
    stuck, other = await on_thread.refs(sup)
    stuck.tell("hang")
    while not on_thread.script.names("hang"):
        await asyncio.sleep(0.001)
    await sup.terminate_child("c1")
    with pytest.raises(TooManyAbandoned, match="'c1'"):
        await sup.restart_child("c1")
    with pytest.raises(TooManyAbandoned):
        await sup.start_child(on_thread.spec("c3"))
    await on_thread.end(other, "abnormal")
    assert await on_thread.states(sup) == {"c1": "down", "c2": "restarting"}
    on_thread.script.gate.set()
    await on_thread.gone(stuck)
    assert await on_thread.states(sup) == {"c1": "down", "c2": "running"}
    await on_thread.stop(sup)


async def test_a_supervisor_that_is_killed_leaves_nobody_behind(on_loop: World) -> None:
    """``simple_global_supervisor``: ``kill_supervisor``, which OTP does not really support."""
    inner = ChildSpec(
        "inner", Supervisor, args=([on_loop.spec("w", worker=SlowWorker)],), shutdown=KILL
    )
    sup = await on_loop.supervise(inner)
    (before,) = await on_loop.refs(sup)
    (worker,) = await on_loop.refs(before)
    worker.tell("hang")
    await on_loop.stop(sup)
    assert (await on_loop.gone(worker)).kind is ExitKind.KILLED


async def test_who_has_to_be_forced_is_asked_before_for_what_it_had_finished(
    on_loop: World,
) -> None:
    class Diligent(LoopWorker):
        def partial_results(self) -> list[str]:
            return ["one", "two"]

    class Confused(LoopWorker):
        def partial_results(self) -> list[str]:
            raise ValueError("lost count")

    sup = await on_loop.supervise(
        on_loop.spec("c1", worker=Diligent),
        on_loop.spec("c2", worker=Confused),
        on_loop.spec("c3", worker=Diligent),
        on_loop.spec("c4"),
    )
    reports = reports_of(sup)
    first, second, _third, fourth = await on_loop.refs(sup)
    for ref in (first, second, fourth):
        ref.tell("hang")
    await on_loop.stop(sup)
    assert [(one.child_id, one.partial_results) for one in reports] == [
        ("c4", None),
        ("c3", None),
        ("c2", None),
        ("c1", ["one", "two"]),
    ]
