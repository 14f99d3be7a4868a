from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from wavebreak.messages.errors import ChildNotFound, NotInPool, PoolFull
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.children import ChildState
from wavebreak.supervisors.settings import Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import LoopWorker, World

POOL = Strategy.SIMPLE_ONE_FOR_ONE
RUNNING = ChildState.RUNNING


async def test_a_pool_has_what_is_started_in_it_and_names_children_by_reference(
    world: World,
) -> None:
    """``child_adm_simple``."""
    sup = await world.supervise(world.pool_spec(), strategy=POOL)
    assert await sup.which_children() == []
    assert await world.counts(sup) == [1, 0, 0, 0]
    first = await sup.start_child()
    assert await world.counts(sup) == [1, 1, 0, 1]
    second = await sup.start_child()
    assert await world.refs(sup) == [first, second]
    with pytest.raises(NotInPool, match="'child1'"):
        await sup.terminate_child("child1")
    await sup.terminate_child(first)
    assert await world.refs(sup) == [second]
    assert not first.is_alive()
    await sup.terminate_child(first)
    stranger: Any = world.kind.worker.start(world.script)
    with pytest.raises(ChildNotFound):
        await sup.terminate_child(stranger)
    assert stranger.is_alive()
    await world.end(stranger, "normal")
    for refused in (sup.restart_child("child1"), sup.delete_child("child1")):
        with pytest.raises(NotInPool):
            await refused
    await world.stop(sup)


async def test_a_child_of_a_pool_is_restarted_alone(world: World) -> None:
    """``simple_one_for_one``."""
    sup = await world.supervise(world.pool_spec(), strategy=POOL)
    first, second = [await sup.start_child() for _ in range(2)]
    await world.end(first, "abnormal")
    refs = await world.refs(sup)
    assert (len(refs), second in refs, first in refs) == (2, True, False)
    await world.end(second, "abnormal")
    await world.end((await world.refs(sup))[0], "abnormal")
    await world.gone(sup)


async def test_a_child_of_a_pool_is_restarted_with_its_own_arguments(world: World) -> None:
    """``simple_one_for_one``: and ``sup_start_map_simple``."""
    sup = await world.supervise(world.pool_spec(), strategy=POOL)
    await sup.start_child("a")
    await world.end(await sup.start_child(name="b"), "abnormal")
    assert await world.counts(sup) == [1, 2, 0, 2]
    assert world.script.names("start") == ["a", "b", "b"]
    await world.stop(sup)


async def test_a_pool_restarts_children_that_came_with_something(on_loop: World) -> None:
    """``simple_one_for_one_extra``."""

    def start() -> Any:
        return LoopWorker.start(on_loop.script), "extra_info"

    sup = await on_loop.supervise(ChildSpec("pool", start), strategy=POOL)
    first, extra = await sup.start_child()
    assert extra == "extra_info"
    second, _ = await sup.start_child()
    await on_loop.end(first, "abnormal")
    refs = await on_loop.refs(sup)
    assert (len(refs), second in refs) == (2, True)
    await on_loop.stop(sup)


async def test_a_child_of_a_pool_that_never_starts_again_ends_the_pool(world: World) -> None:
    """``simple_one_for_one_escalation``."""
    sup = await world.supervise(world.pool_spec(), strategy=POOL, intensity=4)
    first, second = await sup.start_child("a"), await sup.start_child("b")
    world.script.fail["a"] = ValueError("no")
    await world.end(first, "abnormal")
    await world.gone(sup)
    assert not second.is_alive()
    assert world.script.names("start").count("a") == 1 + 4


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.PERMANENT])
async def test_a_child_of_a_pool_that_does_not_want_to_come_back_is_forgotten(
    on_loop: World, restart: Restart
) -> None:
    """``simple_one_for_one_restart_ignore``."""
    lives = [True, True, False]

    def start() -> Any:
        return LoopWorker.start(on_loop.script) if lives.pop(0) else None

    sup = await on_loop.supervise(
        ChildSpec("pool", start, restart=restart), strategy=POOL, intensity=10
    )
    await on_loop.end(await sup.start_child(), "abnormal")
    (second,) = await on_loop.refs(sup)
    await on_loop.end(second, "abnormal")
    assert await sup.which_children() == []
    await on_loop.stop(sup)


class Big:
    """An argument that it would cost something to keep."""


@pytest.mark.matrix(quick=1)
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("pool", [True, False])
async def test_only_children_that_may_come_back_keep_their_arguments(
    on_loop: World, restart: Restart, pool: bool
) -> None:
    """``do_not_save_start_parameters_for_temporary_children``, ``simple_..._corruption``."""

    class Taker(LoopWorker):
        def __init__(self, big: Big) -> None:
            del big
            super().__init__(on_loop.script)

    big = Big()
    gone = weakref.ref(big)
    if pool:
        sup = await on_loop.supervise(ChildSpec("p", Taker, restart=restart), strategy=POOL)
        # Once before: it must not begin to keep them after the first end.
        await on_loop.end(await sup.start_child(Big()), "normal")
        await sup.start_child(big)
    else:
        sup = await on_loop.supervise()
        await sup.start_child(ChildSpec("p", Taker, args=(big,), restart=restart))
    del big
    gc.collect()
    assert (gone() is None) is (restart is Restart.TEMPORARY)
    await on_loop.stop(sup)


async def test_a_pool_counts_its_children(on_loop: World) -> None:
    """``count_children``, ``which_children_simple_one_for_one``."""
    sup = await on_loop.supervise(on_loop.pool_spec(Restart.TEMPORARY), strategy=POOL)
    refs = [await sup.start_child() for _ in range(200)]
    assert await on_loop.counts(sup) == [1, 200, 0, 200]
    assert await on_loop.refs(sup) == refs
    assert {info.id for info in await sup.which_children()} == {None}
    for ref in refs:
        await on_loop.end(ref, "kill")
    assert await on_loop.counts(sup) == [1, 0, 0, 0]
    await on_loop.stop(sup)


async def test_a_pool_counts_children_that_are_supervisors(on_loop: World) -> None:
    """``count_children_supervisor``."""
    spec = ChildSpec("pool", Supervisor, restart=Restart.TEMPORARY)
    sup = await on_loop.supervise(spec, strategy=POOL)
    for _ in range(20):
        await sup.start_child()
    assert await on_loop.counts(sup) == [1, 20, 20, 0]
    await on_loop.stop(sup)


async def test_a_pool_counts_children_that_are_restarting(world: World) -> None:
    """``count_restarting_children``."""
    sup = await world.supervise(world.pool_spec(), strategy=POOL, intensity=1_000_000)
    refs = [await sup.start_child(name) for name in ("a", "b", "c")]
    world.script.fail.update(a=ValueError("no"), b=ValueError("no"))
    for ref in refs[:2]:
        await world.end(ref, "abnormal")
    assert await world.counts(sup) == [1, 1, 0, 3]
    world.script.fail.clear()
    while (await world.counts(sup))[1] < 3:
        pass
    assert await world.counts(sup) == [1, 3, 0, 3]
    await sup.terminate_child(refs[2])
    assert await world.counts(sup) == [1, 2, 0, 2]
    await world.stop(sup)


async def test_a_pool_has_a_bound(world: World) -> None:
    sup = await world.supervise(world.pool_spec(), strategy=POOL, max_children=2)
    first = await sup.start_child()
    await sup.start_child()
    with pytest.raises(PoolFull, match="2 children"):
        await sup.start_child()
    await sup.terminate_child(first)
    await sup.start_child()
    await world.stop(sup)
