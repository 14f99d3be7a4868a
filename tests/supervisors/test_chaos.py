"""Actors of both kinds are ended at random, under supervisors of every strategy; seeded."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pykka
import pytest

from wavebreak.actors.exit import Exit
from wavebreak.actors.future import Future
from wavebreak.messages.errors import ChildRestarting, ChildRunning
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.children import ChildState, Report, ReportKind
from wavebreak.supervisors.life import force
from wavebreak.supervisors.settings import Strategy
from wavebreak.supervisors.supervisor import Supervisor

from .supervised import LOOP, THREAD, LoopWorker, Script, ThreadWorker, World

STEPS = 120


class Chaos:
    """A tree, what is done to it, and what has to hold."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)  # noqa: S311 - it shall be the same every time
        self.asked: list[Future[Any]] = []
        self.lives: dict[pykka.ActorRef[Any], int] = {}

    def told(self, report: Report) -> None:
        if report.kind is ReportKind.ENDED and report.ref is not None:
            self.lives[report.ref] = self.lives.get(report.ref, 0) + 1

    def specs(self, prefix: str) -> list[ChildSpec]:
        worker = self.world.kind.worker
        return [
            ChildSpec(
                f"{prefix}-{number}",
                worker,
                args=(self.world.script, f"{prefix}-{number}"),
                restart=self.dice.choice(list(Restart)),
                shutdown=self.dice.choice([5.0, "kill"]),
            )
            for number in range(4)
        ]

    async def step(self, sup: Any) -> None:
        script = self.world.script
        if self.dice.random() < 0.2:
            name = self.dice.choice(list(await self.world.states(sup)) or ["nobody"])
            script.fail = {name: self.dice.choice([OSError("no"), SystemExit(2)])}
        else:
            script.fail = {}
        refs = [ref for ref in await self.world.refs(sup) if ref is not None]
        if not refs:
            return
        ref = self.dice.choice(refs)
        self.asked.append(Future.bridge(ref.ask("hello", block=False)))
        way = self.dice.choice(["raise", "exit", "kill", "stop", "ask", "terminate"])
        if way == "kill":
            force(ref)
        elif way == "stop":
            ref.stop(block=False)
        elif way == "terminate":
            sup.terminate_child(self.dice.choice(list(await self.world.states(sup))))
        else:
            error = SystemExit(3) if way == "exit" else ValueError("chaos")
            if way == "ask":
                self.asked.append(Future.bridge(ref.ask(error, block=False)))
            else:
                tell(ref, error)


def tell(ref: Any, error: BaseException) -> None:
    """End an actor, if it is still there: a thread may end between a look and a tell."""
    with contextlib.suppress(pykka.ActorDeadError):
        ref.tell(error)


@pytest.fixture(autouse=True)
def patient_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not give up a thread that merely gets no processor: none of these hangs."""
    monkeypatch.setattr("wavebreak.supervisors.life.FORCE_WAIT", 10.0)


async def _settled(answer: Future[Any]) -> None:
    settled = Future[None]()
    answer.add_done_callback(lambda _answer: settled.try_set(None))
    await settled


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("kind", [LOOP, THREAD], ids=["loop", "thread"])
@pytest.mark.parametrize(
    "strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
)
@pytest.mark.parametrize("seed", range(3))
async def test_in_chaos_nothing_is_lost_that_the_budget_did_not_end(
    kind: Any, strategy: Strategy, seed: int
) -> None:
    chaos = Chaos(World(kind), seed)
    sup = Supervisor.start(chaos.specs("a"), strategy=strategy, intensity=100_000, period=1.0)
    sup.subscribe(chaos.told)
    await sup.started()
    for _ in range(STEPS):
        await chaos.step(sup)
        if chaos.dice.random() < 0.3:
            await asyncio.sleep(0)
    chaos.world.script.fail = {}
    assert sup.is_alive()
    while ChildState.RESTARTING in (await chaos.world.states(sup)).values():
        await asyncio.sleep(0.001)
    for info in await sup.which_children():
        if info.state is ChildState.DOWN:
            # A thread may be found dead only now: its restart then starts its siblings too.
            with contextlib.suppress(ChildRunning, ChildRestarting):
                await sup.restart_child(info.id)
    await sup.stop(block=False)
    for answer in chaos.asked:
        # Every message has an outcome: an answer, its error, or that the actor is dead.
        await asyncio.wait_for(_settled(answer), 30)
    # Each life was reported once, and none of them twice.
    assert set(chaos.lives.values()) == {1}
    starts = chaos.world.script.names("start")
    assert len(starts) >= len(chaos.lives)


@pytest.mark.slow
@pytest.mark.real_time
async def test_two_hundred_children_of_both_kinds_in_a_pool_survive_chaos() -> None:
    script = Script()
    world = World(LOOP)

    def start(number: int) -> Any:
        return LoopWorker.start(script, str(number))

    dice = random.Random(7)  # noqa: S311
    loops = Supervisor.start(
        [ChildSpec("pool", start)], strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=100_000
    )
    threads = Supervisor.start(
        [ChildSpec("pool", ThreadWorker, args=(script,))],
        strategy=Strategy.SIMPLE_ONE_FOR_ONE,
        intensity=100_000,
    )
    ended: list[Exit] = []
    for sup in (loops, threads):
        sup.subscribe(lambda report: ended.append(report.ended) if report.ended else None)
    for number in range(180):
        await loops.start_child(number)
    for number in range(20):
        await threads.start_child(str(number))
    for _ in range(300):
        sup = dice.choice([loops, loops, loops, threads])
        ref = dice.choice([ref for ref in await world.refs(sup) if ref is not None])
        tell(ref, dice.choice([ValueError("chaos"), SystemExit(1), KeyboardInterrupt()]))
        await asyncio.sleep(0)
    while (await loops.count_children()).active < 180 or (
        await threads.count_children()
    ).active < 20:
        await asyncio.sleep(0.001)
    await loops.stop(block=False)
    await threads.stop(block=False)
    assert len(ended) >= 200
