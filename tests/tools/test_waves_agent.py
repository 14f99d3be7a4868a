from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages.errors import WaveInProgress
from wavebreak.messages.reasons import CallStatus, Effect

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work

COMPLETED = CallStatus.COMPLETED
SKIPPED = CallStatus.SKIPPED
CANCELLED = CallStatus.CANCELLED
UNKNOWN = CallStatus.UNKNOWN

CUT_OFF = [(Effect.READ, CANCELLED), (Effect.IDEMPOTENT, UNKNOWN), (Effect.ONCE, UNKNOWN)]


@pytest.mark.parametrize(("effect", "status"), CUT_OFF)
async def test_a_timeout_around_a_wave_cancels_and_awaits_its_calls(
    effect: Effect, status: CallStatus, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await waves.run(work.sleep(1), work.sleep(effect=effect), work.sleep(effect=effect))
    assert [told for _, told in waves.told] == [COMPLETED, status, status]
    assert work.log.count("cancelled") == 2
    assert waves.runner.open == ()
    assert task.cancelling() == 0
    (end,) = await waves.run(work.sleep(1))
    assert end.status is COMPLETED


@pytest.mark.parametrize(("effect", "status"), CUT_OFF)
async def test_what_cannot_be_cancelled_is_abandoned_at_once_when_the_agent_is_cancelled(
    effect: Effect, status: CallStatus, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    gate: asyncio.Future[None] = loop.create_future()
    prepared = waves.prepare(
        work.block(effect=effect),
        work.sleep(8, effect=effect, protected=True, timeout=20),
        work.sleep(),
    )
    prepared += waves.prepare(work.sleep(), gate=gate)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await waves.runner.run(prepared)
    assert loop.time() - begin == 3
    assert sorted(waves.told) == [
        ("c1", status),
        ("c2", status),
        ("c3", UNKNOWN),
        ("c4", SKIPPED),
    ]
    work.release.set()
    await waves.until_told(6)
    assert sorted(waves.told[4:]) == [("c1", COMPLETED), ("c2", COMPLETED)]
    assert loop.time() - begin >= 8


async def test_the_agents_cancellation_waits_for_the_clean_up_of_its_calls(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    log: list[str] = []

    async def body() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)
            log.append("cleaned up")

    waves = make_waves()
    task = waves.start(*waves.prepare(work.call(body), work.call(body)))
    await asyncio.sleep(1)
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError) as error:
        await task
    assert error.value.args == ("why",)
    assert log == ["cleaned up"] * 2
    assert [status for _, status in waves.told] == [UNKNOWN] * 2


@pytest.mark.parametrize("inline", [True, False])
async def test_an_agent_cancelled_twice_waits_no_longer(
    inline: bool, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    calls = [work.stubborn(50)]
    if not inline:
        calls.append(work.sleep(1))
    task = waves.start(*waves.prepare(*calls))
    await asyncio.sleep(2)
    task.cancel()
    await asyncio.sleep(1)
    assert not task.done()
    task.cancel()
    await asyncio.sleep(1)
    if inline:
        waves.runner.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ("c1", UNKNOWN) in waves.told
    await waves.until_told(len(calls) + 1)
    assert ("c1", COMPLETED) in waves.told


async def test_a_task_call_that_swallows_does_not_save_its_agent_from_a_cancellation(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.stubborn(5), work.sleep(1)))
    await asyncio.sleep(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(waves.told) == [("c1", COMPLETED), ("c2", COMPLETED)]


async def test_after_a_cancel_the_agent_may_go_and_open_calls_have_their_time(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    prepared = waves.prepare(
        work.sleep(9, protected=True, timeout=20), work.block(), work.sleep(effect="read")
    )
    task = waves.start(*prepared)
    await asyncio.sleep(1)
    waves.runner.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - begin == 1
    assert waves.told == [("c3", CANCELLED)]
    assert waves.runner.open == tuple(prepared[:2])
    assert waves.runner.protected_left == 19
    with pytest.raises(WaveInProgress):
        await waves.run(work.sleep())
    work.release.set()
    await waves.runner.drained()
    assert sorted(waves.told[1:]) == [("c1", COMPLETED), ("c2", COMPLETED)]


@pytest.mark.parametrize("moment", [0, 1])
async def test_after_a_cancel_a_tool_that_swallows_does_not_save_its_agent(
    moment: float, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.stubborn(5)))
    await asyncio.sleep(1)
    waves.runner.cancel()
    await asyncio.sleep(moment)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waves.told == [("c1", COMPLETED)]
    assert work.log == ["cancelled"]


async def test_a_cancelled_agent_is_let_go_when_its_stubborn_call_is_abandoned(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.stubborn(50)))
    await asyncio.sleep(1)
    waves.runner.cancel()
    task.cancel()
    await asyncio.sleep(5)
    assert not task.done()
    waves.runner.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    await waves.until_told(2)
    assert waves.told == [("c1", UNKNOWN), ("c1", COMPLETED)]


async def test_the_exit_of_a_tool_comes_before_the_agents_cancellation(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()

    async def leave() -> None:
        raise SystemExit(3)

    outcome: list[BaseException] = []

    async def agent() -> None:
        try:
            await waves.run(work.call(leave), work.sleep())
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    task = asyncio.create_task(agent())
    await asyncio.sleep(1)
    task.cancel()
    await task
    assert isinstance(outcome[0], SystemExit)


async def test_an_agent_that_is_closed_closes_the_call_in_it(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    log: list[str] = []

    async def body() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("closed")

    agent = waves.runner.run(waves.prepare(work.call(body)))
    agent.send(None)
    agent.close()
    assert log == ["closed"]
    assert waves.told == []


async def test_a_tool_that_ends_well_after_its_timeout_does_not_save_its_agent(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.stubborn(5, timeout=1)))
    await asyncio.sleep(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waves.told == [("c1", COMPLETED)]


async def test_a_cancel_and_the_agents_cancellation_are_one_to_the_tool(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    log: list[str] = []

    async def spin() -> None:
        try:
            while True:
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    for body in (spin, None):
        waves = make_waves()
        call = work.stubborn(5) if body is None else work.call(body)
        task = waves.start(*waves.prepare(call))
        for _ in range(5):
            await asyncio.sleep(0)
        waves.runner.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waves.told == [("c1", COMPLETED if body is None else UNKNOWN)]
    assert log == ["cleaned up"]
    assert work.log == ["cancelled"]


async def test_a_task_that_a_cancelled_tool_waits_for_is_cancelled_and_awaited(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    log: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            log.append("inner")

    async def body() -> None:
        try:
            await asyncio.create_task(inner())
        finally:
            log.append("outer")

    waves = make_waves()
    task = waves.start(*waves.prepare(work.call(body)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["inner", "outer"]


async def test_a_cancellation_is_forgotten_by_the_next_wave(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("x")

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    waves = make_waves()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await waves.run(work.sleep())
    (end,) = await waves.run(work.call(body))
    assert end.status is CallStatus.FAILED
