from __future__ import annotations

import math
from typing import Any

import pykka
import pytest

from wavebreak.actors.exit import ExitKind
from wavebreak.messages.errors import (
    ChildAlreadyPresent,
    ChildStartFailed,
    InvalidChildSpec,
    InvalidSetting,
)
from wavebreak.supervisors.child_spec import KILL, ChildSpec, Restart
from wavebreak.supervisors.children import ChildState
from wavebreak.supervisors.restart_policy import Backoff
from wavebreak.supervisors.settings import AutoShutdown, Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import LoopWorker, ThreadWorker, World

TEMPORARY, PERMANENT = Restart.TEMPORARY, Restart.PERMANENT


def nobody() -> None:
    """Start nothing: OTP's ``ignore``."""


async def test_a_supervisor_starts_and_stops_in_order(on_loop: World) -> None:
    """``sup_start_normal``."""
    sup = await on_loop.supervise()
    await on_loop.stop(sup)
    assert (await on_loop.gone(sup)).kind is ExitKind.NORMAL


async def test_a_child_that_chose_not_to_run_is_kept_as_down(world: World) -> None:
    """``sup_start_ignore_child``."""
    sup = await world.supervise()
    assert await sup.start_child(ChildSpec("c1", nobody)) is None
    ref = await sup.start_child(world.spec("c2"))
    assert await world.refs(sup) == [None, ref]
    assert await world.counts(sup) == [2, 1, 0, 2]
    await world.stop(sup)


async def test_a_temporary_child_that_chose_not_to_run_is_forgotten_at_the_start(
    world: World,
) -> None:
    """``sup_start_ignore_temporary_child``."""
    sup = await world.supervise(
        ChildSpec("c1", nobody, restart=TEMPORARY), world.spec("c2", TEMPORARY)
    )
    assert await world.states(sup) == {"c2": ChildState.RUNNING}
    assert await world.counts(sup) == [1, 1, 0, 1]
    await world.stop(sup)


async def test_a_temporary_child_that_chose_not_to_run_is_forgotten(world: World) -> None:
    """``sup_start_ignore_temporary_child_start_child``."""
    sup = await world.supervise()
    assert await sup.start_child(ChildSpec("c1", nobody, restart=TEMPORARY)) is None
    await sup.start_child(world.spec("c2", TEMPORARY))
    assert await world.states(sup) == {"c2": ChildState.RUNNING}
    await world.stop(sup)


@pytest.mark.parametrize("restart", [TEMPORARY, PERMANENT])
async def test_a_pool_forgets_a_child_that_chose_not_to_run(
    on_loop: World, restart: Restart
) -> None:
    """``sup_start_ignore_temporary_child_start_child_simple``, ``..._permanent_child_...``."""

    def start(*, run: bool) -> pykka.ActorRef[Any] | None:
        return LoopWorker.start(on_loop.script) if run else None

    sup = await on_loop.supervise(
        ChildSpec("pool", start, restart=restart), strategy=Strategy.SIMPLE_ONE_FOR_ONE
    )
    assert await sup.start_child(run=False) is None
    ref = await sup.start_child(run=True)
    assert await on_loop.refs(sup) == [ref]
    assert await on_loop.counts(sup) == [1, 1, 0, 1]
    await on_loop.stop(sup)
    assert (await on_loop.gone(sup)).kind is ExitKind.NORMAL


async def test_what_is_no_reference_is_no_child(on_loop: World) -> None:
    """``sup_start_error_return``."""
    start: Any = lambda: "invalid"  # noqa: E731
    sup = Supervisor.start([ChildSpec("c1", start)])
    with pytest.raises(ChildStartFailed, match=r"'c1'.*'invalid'"):
        await sup.started()
    assert (await on_loop.gone(sup)).phase == "start"


async def test_a_failure_during_the_start_stops_what_was_started_in_reverse(world: World) -> None:
    """``sup_start_fail``."""
    world.script.fail["c3"] = failure = OSError("no")
    sup = Supervisor.start([world.spec(name) for name in ("c1", "c2", "c3", "c4")])
    with pytest.raises(ChildStartFailed, match="'c3'") as caught:
        await sup.started()
    assert caught.value.child_id == "c3"
    assert caught.value.__cause__ is failure
    await world.gone(sup)
    assert world.script.names("start") == ["c1", "c2", "c3"]
    assert world.script.names("stop") == ["c2", "c1"]


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(1)])
async def test_a_dynamic_start_that_fails_leaves_nothing(
    world: World, raised: BaseException
) -> None:
    """``sup_start_child_returns_error``."""
    sup = await world.supervise()
    world.script.fail["c1"] = raised
    with pytest.raises(ChildStartFailed) as caught:
        await sup.start_child(world.spec("c1"))
    assert caught.value.__cause__ is raised
    assert await sup.which_children() == []
    await world.stop(sup)


async def test_a_start_whose_init_fails_leaves_nothing(world: World) -> None:
    """``sup_start_child_returns_error``: the other way to fail."""
    sup = await world.supervise()
    with pytest.raises(ChildStartFailed) as caught:
        await sup.start_child(
            ChildSpec("c1", world.kind.worker, args=("too", "many", "of", "them"))
        )
    assert isinstance(caught.value.__cause__, TypeError)
    assert await sup.which_children() == []
    await world.stop(sup)


async def test_a_manual_restart_that_fails_leaves_the_child_down(world: World) -> None:
    """``sup_start_restart_child_returns_error``."""
    sup = await world.supervise(world.spec("c1"))
    await sup.terminate_child("c1")
    world.script.fail["c1"] = ValueError("no")
    with pytest.raises(ChildStartFailed):
        await sup.restart_child("c1")
    assert await world.states(sup) == {"c1": ChildState.DOWN}
    await world.stop(sup)


async def test_a_start_that_fails_leaves_nothing_in_a_pool(world: World) -> None:
    """``sup_start_child_returns_error_simple``."""
    sup = await world.supervise(world.pool_spec(), strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    world.script.fail["a"] = ValueError("no")
    with pytest.raises(ChildStartFailed):
        await sup.start_child("a")
    assert await world.counts(sup) == [1, 0, 0, 0]
    await world.stop(sup)


async def test_a_spec_says_what_its_defaults_are(world: World) -> None:
    """``sup_start_map``."""
    sup = await world.supervise(world.spec("c1"), world.spec("c2", shutdown=KILL))
    spec = await sup.child_spec("c1")
    assert (spec.restart, spec.shutdown, spec.significant) == (PERMANENT, None, False)
    assert (await sup.child_spec("c2")).shutdown == KILL
    with pytest.raises(LookupError, match="'c4'"):
        await sup.child_spec("c4")
    await world.stop(sup)


async def test_a_pool_gives_its_spec_by_its_id(on_loop: World) -> None:
    """``sup_start_map_simple``."""
    sup = await on_loop.supervise(on_loop.pool_spec(), strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    assert (await sup.child_spec("pool")).id == "pool"
    await on_loop.stop(sup)


BAD: Any = [
    ({"id": None}, "id=None"),
    ({"id": ["c"]}, r"id=\['c'\]"),
    ({"start": "mfa"}, "start='mfa'"),
    ({"start": int}, "start=<class 'int'>"),
    ({"args": "one"}, "args='one'"),
    ({"kwargs": 3}, "kwargs=3"),
    ({"restart": "prmanent"}, "restart='prmanent'"),
    ({"shutdown": -10}, "shutdown=-10"),
    ({"shutdown": "brutal"}, "shutdown='brutal'"),
    ({"shutdown": math.nan}, "shutdown=nan"),
    ({"shutdown": True}, "shutdown=True"),
    ({"significant": "yes"}, "significant='yes'"),
    ({"significant": True}, "significant=True of child 'child'.*permanent"),
    ({"backoff": 3}, "backoff=3"),
    ({"backoff": Backoff(minimum=2, maximum=1)}, r"backoff=Backoff\(minimum=2"),
]


@pytest.mark.parametrize(("bad", "named"), BAD)
def test_a_bad_spec_is_refused_and_the_value_is_named(bad: dict[str, Any], named: str) -> None:
    """``child_specs``, ``child_specs_map`` and ``sup_start_map_faulty_specs``."""
    with pytest.raises(InvalidChildSpec, match=named):
        ChildSpec(**{"id": "child", "start": LoopWorker, **bad})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shutdown", [0, 2.5, math.inf, KILL, None])
@pytest.mark.parametrize("restart", [*Restart, "permanent"])
def test_a_good_spec_is_taken(shutdown: Any, restart: Any) -> None:
    """``child_specs``: the correct ones."""
    spec = ChildSpec("child", ThreadWorker, restart=restart, shutdown=shutdown)
    assert isinstance(spec.restart, Restart)


async def test_the_start_of_a_child_checks_its_spec_too(on_loop: World) -> None:
    """``child_specs``: in ``start_child``, and two of one id."""
    sup = await on_loop.supervise()
    for bad in (("hej",), (), (on_loop.spec("a"), on_loop.spec("b"))):
        with pytest.raises(InvalidChildSpec):
            await sup.start_child(*bad)
    await on_loop.stop(sup)
    with pytest.raises(InvalidChildSpec, match="'a' is there twice"):
        Supervisor.start([on_loop.spec("a"), on_loop.spec("a")])


FLAGS: Any = [
    ({"strategy": "none_for_one"}, "strategy='none_for_one'.*one_for_one"),
    ({"intensity": math.inf}, "intensity=inf"),
    ({"intensity": -1}, "intensity=-1"),
    ({"period": 0}, "period=0"),
    ({"period": math.inf}, "period=inf"),
    ({"auto_shutdown": "sometimes"}, "auto_shutdown='sometimes'"),
    ({"max_children": 3}, "max_children=3"),
    ({"max_abandoned": 0}, "max_abandoned=0"),
    ({"strategy": "simple_one_for_one"}, "exactly one"),
    ({"strategy": "simple_one_for_one", "children": [ChildSpec("a", nobody)] * 2}, "twice"),
]


@pytest.mark.parametrize(("bad", "named"), FLAGS)
async def test_a_bad_setting_is_refused_and_named(bad: dict[str, Any], named: str) -> None:
    """``sup_flags``, and ``child_specs`` for the number of children of a pool."""
    with pytest.raises((InvalidSetting, InvalidChildSpec), match=named):
        Supervisor.start(**bad)


async def test_a_supervisor_that_never_ends_by_itself_refuses_significant_children() -> None:
    """``significant_upgrade_never_any``: the refusal of impossible combinations."""
    spec = ChildSpec("c", nobody, restart=Restart.TRANSIENT, significant=True)
    with pytest.raises(InvalidChildSpec, match=r"significant=True of child 'c'.*auto_shutdown"):
        Supervisor.start([spec])
    sup = Supervisor.start(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    assert await sup.start_child(spec) is None
    await sup.stop(block=False)


async def test_the_reason_of_a_failed_start_passes_through_a_tree(world: World) -> None:
    """``faulty_application_shutdown``."""
    world.script.fail["worker"] = failure = OSError("undefined")
    inner = ChildSpec("inner", Supervisor, args=([world.spec("worker")],))
    sup = Supervisor.start([world.spec("first"), inner])
    with pytest.raises(ChildStartFailed, match="'inner'") as caught:
        await sup.started()
    cause = caught.value.__cause__
    assert isinstance(cause, ChildStartFailed)
    assert cause.child_id == "worker"
    assert cause.__cause__ is failure
    await world.gone(sup)
    assert world.script.names("stop") == ["first"]


async def test_children_start_in_order_and_stop_in_reverse(world: World) -> None:
    """``order_of_children``."""
    names = ["ch7", "ch3", "ch10", "ch2", "ch5"]
    sup = await world.supervise(
        *(world.spec(name) for name in names), strategy=Strategy.REST_FOR_ONE
    )
    assert world.script.names("start") == names
    await world.end(await world.ref(sup, "ch10"), "abnormal")
    assert list(await world.states(sup)) == names
    assert world.script.names("stop") == ["ch5", "ch2"]
    assert world.script.names("start") == [*names, "ch10", "ch2", "ch5"]
    await world.stop(sup)
    assert world.script.names("stop") == ["ch5", "ch2", *reversed(names)]


async def test_a_factory_may_give_something_with_the_reference(world: World) -> None:
    """``extra_return``."""
    worker: Any = world.kind.worker

    def start() -> Any:
        return worker.start(world.script), "extra"

    sup = await world.supervise(ChildSpec("c1", start))
    await sup.terminate_child("c1")
    ref, extra = await sup.restart_child("c1")
    assert (await world.refs(sup), extra) == ([ref], "extra")
    await sup.terminate_child("c1")
    with pytest.raises(ChildAlreadyPresent):
        await sup.start_child(ChildSpec("c1", start))
    await sup.delete_child("c1")
    _, extra = await sup.start_child(ChildSpec("c1", start))
    assert extra == "extra"
    await world.stop(sup)


async def test_a_factory_may_be_async(on_loop: World) -> None:
    async def start() -> Any:
        return LoopWorker.start(on_loop.script)

    sup = await on_loop.supervise(ChildSpec("c1", start))
    assert await on_loop.counts(sup) == [1, 1, 0, 1]
    await on_loop.stop(sup)


@pytest.mark.real_time
async def test_the_init_of_a_stock_actor_does_not_block_the_loop(on_thread: World) -> None:
    class Slow(ThreadWorker):
        def __init__(self, world: World) -> None:
            super().__init__(world.script)
            world.script.gate.wait(10)

    sup = Supervisor.start([ChildSpec("slow", Slow, args=(on_thread,))])
    other = LoopWorker.start(on_thread.script)
    assert await other.ask("hello", block=False) == "hello"
    assert not sup.started().done()
    on_thread.script.gate.set()
    await sup.started()
    await on_thread.stop(other)
    await on_thread.stop(sup)
