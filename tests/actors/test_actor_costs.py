"""What many actors cost: the same each, however many live."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc

import pykka

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.reference import LoopActorRef

MANY = 4000
BATCH = 100


class Idle(AsyncioActor):
    pass


async def start(count: int) -> list[LoopActorRef[Idle]]:
    refs = [Idle.start() for _ in range(count)]
    await asyncio.sleep(0)
    return refs


async def stop(refs: list[LoopActorRef[Idle]]) -> None:
    for stopped in [ref.stop(block=False) for ref in refs]:
        await stopped


async def batch_cost() -> float:
    """Processor seconds that starting, looking up and stopping a batch takes, at best."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        refs = await start(BATCH)
        assert all(ref.is_alive() for ref in refs)
        await stop(refs)
        best = min(best, time.process_time() - begin)
    return best


async def test_starting_and_stopping_cost_the_same_however_many_live() -> None:
    gc.disable()
    try:
        alone = await batch_cost()
        many = await start(MANY)
        among_many = await batch_cost()
    finally:
        gc.enable()
    assert pykka.ActorRegistry.get_all() == []
    # A registry that is a list makes this 30 and more.
    assert among_many < 4 * alone
    await stop(many)


async def test_an_idle_actor_takes_at_most_1300_bytes() -> None:
    await stop(await start(50))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        refs = await start(500)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(refs) < 1300
    await stop(refs)
