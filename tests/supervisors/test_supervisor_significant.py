from __future__ import annotations

import pytest

from wavebreak.actors.exit import ExitKind
from wavebreak.messages.errors import Shutdown
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.children import ChildState
from wavebreak.supervisors.settings import AutoShutdown, Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import World

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT
TEMPORARY, TRANSIENT = Restart.TEMPORARY, Restart.TRANSIENT


@pytest.mark.parametrize("auto", [AutoShutdown.NEVER, ANY, ALL])
@pytest.mark.parametrize(
    ("restart", "how"), [(TEMPORARY, "abnormal"), (TEMPORARY, "normal"), (TRANSIENT, "normal")]
)
async def test_the_end_of_other_children_does_not_end_a_supervisor(
    world: World, auto: AutoShutdown, restart: Restart, how: str
) -> None:
    """``nonsignificant_temporary``, ``nonsignificant_transient``."""
    sup = await world.supervise(world.spec("c1", restart), auto_shutdown=auto)
    await world.end(await world.ref(sup, "c1"), how)
    assert await world.counts(sup) in ([0, 0, 0, 0], [1, 0, 0, 1])
    await world.stop(sup)


@pytest.mark.parametrize("how", ["normal", "shutdown", "abnormal"])
async def test_any_significant_temporary_child_ends_its_supervisor(world: World, how: str) -> None:
    """``significant_temporary``: any."""
    sup = await world.supervise(
        world.spec("other"),
        world.spec("c1", TEMPORARY, significant=True),
        world.spec("c2", TEMPORARY, significant=True),
        auto_shutdown=ANY,
    )
    await world.end(await world.ref(sup, "c1"), how)
    ended = await world.gone(sup)
    assert ended.kind is ExitKind.NORMAL
    assert isinstance(ended.cause, Shutdown)
    assert world.script.names("stop")[-2:] == ["c2", "other"]


@pytest.mark.parametrize("how", ["normal", "shutdown", "abnormal"])
async def test_the_last_significant_temporary_child_ends_its_supervisor(
    world: World, how: str
) -> None:
    """``significant_temporary``: all."""
    sup = await world.supervise(
        world.spec("other"),
        world.spec("c1", TEMPORARY, significant=True),
        world.spec("c2", TEMPORARY, significant=True),
        auto_shutdown=ALL,
    )
    await world.end(await world.ref(sup, "c1"), how)
    assert await world.counts(sup) == [2, 2, 0, 2]
    await world.end(await world.ref(sup, "c2"), how)
    await world.gone(sup)


@pytest.mark.parametrize("auto", [ANY, ALL])
async def test_a_significant_transient_child_counts_when_it_ends_in_order(
    world: World, auto: AutoShutdown
) -> None:
    """``significant_transient``."""
    sup = await world.supervise(
        world.spec("c1", TRANSIENT, significant=True),
        world.spec("c2", TRANSIENT, significant=True),
        auto_shutdown=auto,
    )
    await world.end(await world.ref(sup, "c1"), "abnormal")
    assert await world.counts(sup) == [2, 2, 0, 2]
    await world.end(await world.ref(sup, "c1"), "normal")
    if auto is ALL:
        assert await world.counts(sup) == [2, 1, 0, 2]
        await world.end(await world.ref(sup, "c2"), "normal")
    await world.gone(sup)


@pytest.mark.parametrize("auto", [ANY, ALL])
@pytest.mark.parametrize("restart", [TEMPORARY, TRANSIENT])
async def test_a_pool_of_significant_children_ends_with_them(
    world: World, auto: AutoShutdown, restart: Restart
) -> None:
    """``significant_simple``."""
    sup = await world.supervise(
        world.pool_spec(restart, significant=True),
        strategy=Strategy.SIMPLE_ONE_FOR_ONE,
        auto_shutdown=auto,
    )
    refs = [await sup.start_child() for _ in range(2)]
    await world.end(refs[0], "normal")
    if auto is ALL:
        assert await world.counts(sup) == [1, 1, 0, 1]
        await world.end(refs[1], "normal")
    await world.gone(sup)


@pytest.mark.parametrize("restart", [TEMPORARY, TRANSIENT])
async def test_what_the_supervisor_stops_itself_does_not_end_it(
    world: World, restart: Restart
) -> None:
    """``significant_bystander``."""
    sup = await world.supervise(
        world.spec("c1"),
        world.spec("c2", restart, significant=True),
        strategy=Strategy.REST_FOR_ONE,
        auto_shutdown=ANY,
    )
    await world.end(await world.ref(sup, "c1"), "abnormal")
    down = {} if restart is TEMPORARY else {"c2": ChildState.RUNNING}
    assert await world.states(sup) == {"c1": ChildState.RUNNING, **down}
    if restart is TRANSIENT:
        await sup.terminate_child("c2")
    assert await world.counts(sup) == [1 + len(down), 1, 0, 1 + len(down)]
    await world.stop(sup)


@pytest.mark.parametrize("restart", [TEMPORARY, TRANSIENT])
async def test_the_end_of_significant_children_goes_up_a_tree(
    world: World, restart: Restart
) -> None:
    """``significant_escalation``."""
    inner = ChildSpec(
        "inner",
        Supervisor,
        args=([world.spec("c1", restart, significant=True)],),
        kwargs={"auto_shutdown": ANY},
        restart=restart,
        significant=True,
    )
    top = await world.supervise(world.spec("other"), inner, auto_shutdown=ANY)
    sup = await world.ref(top, "inner")
    await world.end(await world.ref(sup, "c1"), "normal")
    await world.gone(top)
    assert world.script.names("stop")[-1] == "other"
