from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from wavebreak.messages.errors import (
    ChildAlreadyPresent,
    ChildAlreadyStarted,
    ChildNotFound,
    ChildRunning,
)
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.children import ChildInfo, ChildState
from wavebreak.supervisors.settings import Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import Script, ThreadWorker, World

RUNNING, DOWN = ChildState.RUNNING, ChildState.DOWN


async def test_operations_are_refused_as_in_otp(world: World) -> None:
    """``child_adm``, and the matrix of ``extra_return``."""
    spec = world.spec("c1")
    sup = await world.supervise(spec)
    (ref,) = await world.refs(sup)
    assert await sup.which_children() == [ChildInfo("c1", ref, RUNNING, supervisor=False)]
    with pytest.raises(ChildAlreadyStarted) as caught:
        await sup.start_child(spec)
    assert (caught.value.child_id, caught.value.ref) == ("c1", ref)
    for unknown in (sup.terminate_child, sup.delete_child, sup.restart_child):
        with pytest.raises(ChildNotFound, match="'hej'"):
            await unknown("hej")
    for running in (sup.delete_child, sup.restart_child):
        with pytest.raises(ChildRunning, match="'c1'"):
            await running("c1")
    await sup.terminate_child("c1")
    assert not ref.is_alive()
    assert await world.states(sup) == {"c1": DOWN}
    assert await world.counts(sup) == [1, 0, 0, 1]
    await sup.terminate_child("c1")
    with pytest.raises(ChildAlreadyPresent, match="'c1'"):
        await sup.start_child(spec)
    second = await sup.restart_child("c1")
    assert await world.refs(sup) == [second]
    with pytest.raises(ChildNotFound):
        await sup.terminate_child(second)
    await sup.terminate_child("c1")
    await sup.delete_child("c1")
    with pytest.raises(ChildNotFound):
        await sup.restart_child("c1")
    assert await world.counts(sup) == [0, 0, 0, 0]
    assert (await sup.start_child(spec)).is_alive()
    await world.stop(sup)


async def test_a_supervisor_that_has_ended_answers_nothing(on_loop: World) -> None:
    """``child_adm``: ``noproc``."""
    sup = await on_loop.supervise()
    await on_loop.stop(sup)
    for asked in (
        sup.which_children(),
        sup.count_children(),
        sup.start_child(on_loop.spec("a")),
        sup.terminate_child("a"),
        sup.delete_child("a"),
        sup.restart_child("a"),
        sup.started(),
    ):
        with pytest.raises(pykka.ActorDeadError):
            await asked


async def test_children_are_told_of_in_the_order_of_their_start(world: World) -> None:
    """``which_children``; OTP tells them in reverse."""
    sup = await world.supervise(world.spec("b"), world.spec("a"))
    await sup.start_child(world.spec("c"))
    assert list(await world.states(sup)) == ["b", "a", "c"]
    await world.end(await world.ref(sup, "b"), "abnormal")
    assert list(await world.states(sup)) == ["b", "a", "c"]
    await world.stop(sup)


async def test_a_tree_restarts_what_was_in_its_specs(world: World) -> None:
    """``tree``."""
    inner = ChildSpec(
        "sup1", Supervisor, args=([world.spec("c1"), world.spec("c2")],), kwargs={"intensity": 4}
    )
    empty = ChildSpec("sup2", Supervisor, kwargs={"intensity": 4})
    third = ChildSpec("sup3", Supervisor, restart=Restart.TRANSIENT)
    top = await world.supervise(strategy=Strategy.ONE_FOR_ALL, intensity=4)
    sup1 = await top.start_child(inner)
    sup2 = await top.start_child(empty)
    await top.start_child(third)
    await top.terminate_child("sup3")
    assert await world.counts(top) == [3, 2, 3, 0]
    workers = await world.refs(sup1)
    third_child = await sup2.start_child(world.spec("c3"))
    await world.end(await sup2.start_child(world.spec("c4")), "abnormal")
    assert await world.refs(sup1) == workers
    assert (await world.refs(sup2))[0] is third_child
    world.script.fail["c3"] = ValueError("no")
    await world.end(third_child, "abnormal")
    await world.gone(sup2)
    # The terminated one comes back with the others, the dynamic children do not.
    assert await world.counts(top) == [3, 3, 3, 0]
    sup1, sup2, _ = await world.refs(top)
    assert await world.counts(sup1) == [2, 2, 0, 2]
    assert await world.counts(sup2) == [0, 0, 0, 0]
    await world.stop(top)


@pytest.mark.parametrize("how", ["kill", "exit", "abnormal"])
async def test_a_worker_deep_in_a_tree_comes_back(world: World, how: str) -> None:
    """``simple_global_supervisor``: ``kill_worker`` and ``exit_worker``."""
    inner = ChildSpec("inner", Supervisor, args=([world.spec("w")],))
    top = await world.supervise(inner, strategy=Strategy.ONE_FOR_ALL)
    (sup,) = await world.refs(top)
    (worker,) = await world.refs(sup)
    await world.end(worker, how)
    (after,) = await world.refs(sup)
    assert after is not worker
    assert await world.refs(top) == [sup]
    await world.stop(top)


async def test_a_worker_deep_in_a_tree_is_restarted_by_hand(world: World) -> None:
    """``simple_global_supervisor``: ``restart_worker``."""
    inner = ChildSpec("inner", Supervisor, args=([world.spec("w")],))
    top = await world.supervise(inner, strategy=Strategy.ONE_FOR_ALL)
    (sup,) = await world.refs(top)
    await sup.terminate_child("w")
    ref = await sup.restart_child("w")
    assert await world.refs(sup) == [ref]
    await world.stop(top)


async def test_a_supervisor_works_through_a_proxy_too(on_loop: World) -> None:
    sup: Any = (await on_loop.supervise(on_loop.spec("a"))).proxy()
    assert list(await sup.count_children()) == [1, 1, 0, 1]
    await on_loop.stop(sup.actor_ref)


def test_a_program_without_a_loop_of_its_own_supervises_too() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    script = Script()
    sup = Supervisor.start_on(loop, [ChildSpec("c1", ThreadWorker, args=(script,))])
    sup.started().get(timeout=5)
    (child,) = sup.which_children().get(timeout=5)
    child.ref.tell(ValueError("abnormal"))
    while sup.which_children().get(timeout=5)[0].ref in {child.ref, None}:
        pass
    assert sup.stop(timeout=5)
    assert script.names("start") == ["w", "w"]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def test_an_unexpected_message_does_no_harm(on_loop: World) -> None:
    """``child_unlink``: the message ``foo``."""
    sup = await on_loop.supervise(on_loop.spec("a"))
    sup.tell("foo")
    assert await on_loop.counts(sup) == [1, 1, 0, 1]
    await on_loop.stop(sup)
