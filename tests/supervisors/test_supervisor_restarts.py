from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest

from wavebreak.actors.exit import ExitKind
from wavebreak.messages.errors import ChildAlreadyPresent, ChildRestarting, Shutdown
from wavebreak.supervisors.child_spec import KILL, Restart
from wavebreak.supervisors.children import ChildState, Report, ReportKind
from wavebreak.supervisors.settings import Strategy

from .supervised import World

RUNNING, DOWN, RESTARTING = ChildState.RUNNING, ChildState.DOWN, ChildState.RESTARTING
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
IN_ORDER = ["normal", "shutdown", "shutdown with a reason"]
ABNORMAL = ["abnormal", "exit", "kill"]
GROUPS = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]

# --- every restart type by every way to end ---


@pytest.mark.parametrize("how", [*IN_ORDER, *ABNORMAL])
async def test_a_permanent_child_is_always_restarted(world: World, how: str) -> None:
    """``permanent_normal``, ``permanent_shutdown``, ``permanent_abnormal``."""
    sup = await world.supervise(world.spec("c1"))
    before = await world.ref(sup, "c1")
    await world.end(before, how)
    after = await world.ref(sup, "c1")
    assert after is not None
    assert after is not before
    assert await world.counts(sup) == [1, 1, 0, 1]
    await world.stop(sup)


@pytest.mark.parametrize("how", IN_ORDER)
async def test_a_transient_child_that_ends_in_order_stays_down_and_its_spec_stays(
    world: World, how: str
) -> None:
    """``transient_normal``, ``transient_shutdown``."""
    sup = await world.supervise(world.spec("c1", TRANSIENT))
    await world.end(await world.ref(sup, "c1"), how)
    assert await world.states(sup) == {"c1": DOWN}
    assert await world.counts(sup) == [1, 0, 0, 1]
    ref = await sup.restart_child("c1")
    assert await world.refs(sup) == [ref]
    await world.stop(sup)


@pytest.mark.parametrize("how", ABNORMAL)
async def test_a_transient_child_is_restarted_after_an_abnormal_end(world: World, how: str) -> None:
    """``transient_abnormal``."""
    sup = await world.supervise(world.spec("c1", TRANSIENT))
    await world.end(await world.ref(sup, "c1"), how)
    assert await world.states(sup) == {"c1": RUNNING}
    await world.stop(sup)


@pytest.mark.parametrize("how", [*IN_ORDER, *ABNORMAL])
async def test_a_temporary_child_is_never_restarted_and_is_forgotten(
    world: World, how: str
) -> None:
    """``temporary_normal``, ``temporary_shutdown``, ``temporary_abnormal``."""
    sup = await world.supervise(world.spec("c1", TEMPORARY), intensity=0)
    await world.end(await world.ref(sup, "c1"), how)
    assert await sup.which_children() == []
    assert await world.counts(sup) == [0, 0, 0, 0]
    await sup.start_child(world.spec("c1", TEMPORARY))
    await world.stop(sup)


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_temporary_sibling_that_is_stopped_along_is_forgotten(
    world: World, strategy: Strategy
) -> None:
    """``temporary_bystander``."""
    sup = await world.supervise(
        world.spec("c1"), world.spec("c2", TEMPORARY), strategy=strategy, intensity=2
    )
    await world.end(await world.ref(sup, "c1"), "normal")
    assert await world.states(sup) == {"c1": RUNNING}
    await world.stop(sup)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, *GROUPS])
@pytest.mark.parametrize("how", ["abnormal", "normal", "terminated"])
async def test_only_temporary_children_lose_their_spec(
    world: World, strategy: Strategy, how: str
) -> None:
    """``do_not_save_child_specs_for_temporary_children``."""
    specs = [world.spec(str(restart), restart) for restart in Restart]
    sup = await world.supervise(*specs, strategy=strategy, intensity=9)
    for spec in specs:
        if how == "terminated":
            await sup.terminate_child(spec.id)
        elif (ref := await _found(world, sup, spec.id)) is not None:
            await world.end(ref, how)
    assert "temporary" not in await world.states(sup)
    assert {"permanent", "transient"} <= (await world.states(sup)).keys()
    await world.stop(sup)


async def _found(world: World, sup: Any, name: str) -> pykka.ActorRef[Any] | None:
    """Give a child that a sibling's end may have taken along."""
    return await world.ref(sup, name) if name in await world.states(sup) else None


# --- the budget ---


async def test_restarts_that_are_far_enough_apart_go_on_for_ever(on_loop: World) -> None:
    """``multiple_restarts``."""
    sup = await on_loop.supervise(on_loop.spec("c1", shutdown=KILL), intensity=1, period=1)
    for _ in range(4):
        await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
        await asyncio.sleep(2.1)
    await sup.terminate_child("c1")
    await sup.delete_child("c1")
    await on_loop.stop(sup)


async def test_by_default_one_restart_in_five_seconds_is_allowed(on_loop: World) -> None:
    """``sup_start_map``: the defaults of the flags."""
    sup = await on_loop.supervise(on_loop.spec("c1"), intensity=1, period=5.0)
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    await asyncio.sleep(5.01)
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    assert sup.is_alive()
    await asyncio.sleep(4.9)
    await on_loop.end(await on_loop.ref(sup, "c1"), "abnormal")
    await on_loop.gone(sup)


async def test_only_the_child_that_ended_is_restarted(world: World) -> None:
    """``one_for_one``."""
    sup = await world.supervise(world.spec("c1"), world.spec("c2"))
    first, second = await world.refs(sup)
    await world.end(first, "abnormal")
    assert (await world.refs(sup))[1] is second
    assert await world.counts(sup) == [2, 2, 0, 2]
    await world.end(second, "abnormal")
    await world.end((await world.refs(sup))[0], "abnormal")
    assert _is_shutdown(await world.gone(sup))


async def test_one_restart_too_many_ends_the_supervisor_and_the_others_in_reverse(
    world: World,
) -> None:
    """``one_for_one_escalation``: and what is reported of it."""
    sup = await world.supervise(*(world.spec(name) for name in "abc"), intensity=0)
    reports: list[Report] = []
    sup.subscribe(reports.append)
    await world.end(await world.ref(sup, "b"), "abnormal")
    assert _is_shutdown(await world.gone(sup))
    assert world.script.names("stop") == ["c", "a"]
    kinds = [(report.kind, report.child_id, report.action) for report in reports]
    assert kinds == [
        (ReportKind.ENDED, "b", "escalate"),
        (ReportKind.EXCEEDED, "b", None),
        (ReportKind.ENDED, "c", None),
        (ReportKind.ENDED, "a", None),
    ]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, *GROUPS])
async def test_a_restart_that_never_succeeds_spends_the_budget(
    world: World, strategy: Strategy
) -> None:
    """``one_for_one_escalation``, ``one_for_all_escalation``, ``rest_for_one_escalation``."""
    sup = await world.supervise(world.spec("c1"), world.spec("c2"), strategy=strategy, intensity=4)
    first, second = await world.refs(sup)
    failing = "c1" if strategy is Strategy.ONE_FOR_ONE else "c2"
    world.script.fail[failing] = ValueError("no")
    await world.end(first, "abnormal")
    assert _is_shutdown(await world.gone(sup))
    assert not second.is_alive()
    # The first try belongs to the end of the child, and each failed one costs one more.
    assert world.script.names("start").count(failing) == 1 + 4


async def test_manual_operations_cost_nothing(world: World) -> None:
    """``child_adm``: as often as one likes."""
    sup = await world.supervise(world.spec("c1"), intensity=0)
    for _ in range(3):
        await sup.terminate_child("c1")
        await sup.restart_child("c1")
    assert sup.is_alive()
    await world.stop(sup)


def _is_shutdown(ended: Any) -> bool:
    return ended.kind is ExitKind.NORMAL and isinstance(ended.cause, Shutdown)


# --- the strategies ---


async def test_one_for_all_restarts_them_all(world: World) -> None:
    """``one_for_all``."""
    sup = await world.supervise(world.spec("c1"), world.spec("c2"), strategy=Strategy.ONE_FOR_ALL)
    before = await world.refs(sup)
    await world.end(before[0], "abnormal")
    after = await world.refs(sup)
    assert not {*before} & {*after}
    assert await world.counts(sup) == [2, 2, 0, 2]
    await world.end(after[1], "abnormal")
    await world.end((await world.refs(sup))[0], "abnormal")
    assert _is_shutdown(await world.gone(sup))


async def test_siblings_that_end_at_once_are_restarted_together_once(world: World) -> None:
    """``one_for_all``: what was already known to be dead is no further event."""
    sup = await world.supervise(
        world.spec("c1"), world.spec("c2"), strategy=Strategy.ONE_FOR_ALL, intensity=1
    )
    refs = await world.refs(sup)
    for ref in refs:
        ref.tell(ValueError("abnormal"))
    for ref in refs:
        await world.gone(ref)
    assert await world.counts(sup) == [2, 2, 0, 2]
    assert world.script.names("start") == ["c1", "c2", "c1", "c2"]
    await world.stop(sup)


async def test_one_for_all_stops_restarted_siblings_again_when_another_does_not_start(
    world: World,
) -> None:
    """``one_for_all_other_child_fails_restart``."""
    sup = await world.supervise(
        world.spec("c1"), world.spec("c2"), strategy=Strategy.ONE_FOR_ALL, intensity=3
    )
    _fail_once(world, sup, "c2")
    world.script.done.clear()
    await world.end(await world.ref(sup, "c1"), "abnormal")
    assert await _settled(world, sup) == {"c1": RUNNING, "c2": RUNNING}
    assert world.script.done == [
        ("stop", "c2"),
        ("start", "c1"),
        ("start", "c2"),
        ("stop", "c1"),
        ("start", "c1"),
        ("start", "c2"),
    ]
    await world.stop(sup)


async def test_rest_for_one_restarts_the_child_and_those_after_it(world: World) -> None:
    """``rest_for_one``."""
    sup = await world.supervise(
        *(world.spec(name) for name in ("c1", "c2", "c3")), strategy=Strategy.REST_FOR_ONE
    )
    before = await world.refs(sup)
    await world.end(before[1], "abnormal")
    after = await world.refs(sup)
    assert after[0] is before[0]
    assert not {*before[1:]} & {*after[1:]}
    assert await world.counts(sup) == [3, 3, 0, 3]
    await world.end(after[2], "abnormal")
    await world.end((await world.refs(sup))[1], "abnormal")
    assert _is_shutdown(await world.gone(sup))


async def test_rest_for_one_goes_on_from_the_one_that_does_not_start(world: World) -> None:
    """``rest_for_one_other_child_fails_restart``."""
    sup = await world.supervise(
        world.spec("c1"), world.spec("c2"), strategy=Strategy.REST_FOR_ONE, intensity=3
    )
    _fail_once(world, sup, "c2")
    world.script.done.clear()
    await world.end(await world.ref(sup, "c1"), "abnormal")
    assert await _settled(world, sup) == {"c1": RUNNING, "c2": RUNNING}
    assert world.script.done == [
        ("stop", "c2"),
        ("start", "c1"),
        ("start", "c2"),
        ("start", "c2"),
    ]
    await world.stop(sup)


def _fail_once(world: World, sup: Any, name: str) -> None:
    world.script.fail[name] = ValueError("not yet")

    def told(report: Report) -> None:
        if report.kind is ReportKind.START_FAILED:
            world.script.fail.clear()

    sup.subscribe(told)


async def _settled(world: World, sup: Any) -> dict[Any, ChildState]:
    while RESTARTING in (states := await world.states(sup)).values():
        await asyncio.sleep(0)
    return states


# --- restart loops that can be stopped in the middle ---


async def _hang(world: World, sup: Any, name: str) -> pykka.ActorRef[Any]:
    """Have a child in a loop of restarts, and come back in the middle of it."""
    world.script.fail[name] = ValueError("no")
    ref = await world.ref(sup, name)
    await world.end(ref, "abnormal")
    return ref  # type: ignore[no-any-return]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE])
async def test_a_child_in_a_restart_loop_can_be_terminated(
    world: World, strategy: Strategy
) -> None:
    """``hanging_restart_loop``, ``hanging_restart_loop_rest_for_one``."""
    sup = await world.supervise(
        *(world.spec(name, shutdown=KILL) for name in ("c1", "c2", "c3")),
        strategy=strategy,
        intensity=1_000_000,
    )
    first = await world.ref(sup, "c1")
    await _hang(world, sup, "c2")
    with pytest.raises(ChildAlreadyPresent):
        await sup.start_child(world.spec("c2"))
    with pytest.raises(ChildRestarting):
        await sup.restart_child("c2")
    with pytest.raises(ChildRestarting):
        await sup.delete_child("c2")
    third = DOWN if strategy is Strategy.REST_FOR_ONE else RUNNING
    assert await world.states(sup) == {"c1": RUNNING, "c2": RESTARTING, "c3": third}
    assert await world.ref(sup, "c2") is None
    assert await world.counts(sup) == [3, 1 + (third is RUNNING), 0, 3]
    await sup.terminate_child("c2")
    assert (await world.states(sup))["c2"] is DOWN
    assert await world.ref(sup, "c1") is first
    tried = world.script.names("start").count("c2")
    world.script.fail.clear()
    await asyncio.sleep(0)
    assert world.script.names("start").count("c2") == tried
    await sup.restart_child("c2")
    await _hang(world, sup, "c2")
    await world.stop(sup)


async def test_a_child_of_a_pool_in_a_restart_loop_can_be_terminated(world: World) -> None:
    """``hanging_restart_loop_simple``."""
    sup = await world.supervise(
        world.pool_spec(shutdown=KILL), strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=1_000_000
    )
    ref = await sup.start_child("c1")
    world.script.fail["c1"] = ValueError("no")
    await world.end(ref, "abnormal")
    assert await world.states(sup) == {None: RESTARTING}
    assert await world.counts(sup) == [1, 0, 0, 1]
    await sup.terminate_child(ref)
    assert await sup.which_children() == []
    world.script.fail.clear()
    ref = await sup.start_child("c1")
    world.script.fail["c1"] = ValueError("no")
    await world.end(ref, "abnormal")
    await world.stop(sup)
    assert not sup.is_alive()
