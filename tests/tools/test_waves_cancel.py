from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages.reasons import CallStatus, Effect

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd, Prepared

COMPLETED = CallStatus.COMPLETED
SKIPPED = CallStatus.SKIPPED
CANCELLED = CallStatus.CANCELLED
UNKNOWN = CallStatus.UNKNOWN

CUT_OFF = [(Effect.READ, CANCELLED), (Effect.IDEMPOTENT, UNKNOWN), (Effect.ONCE, UNKNOWN)]


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


@pytest.mark.parametrize(("effect", "status"), CUT_OFF)
async def test_an_async_call_that_runs_is_cancelled_a_read_or_becomes_unknown(
    effect: Effect, status: CallStatus, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(*[work.sleep(effect=effect)] * 3))
    await asyncio.sleep(1)
    waves.runner.cancel()
    ends = await task
    assert statuses(ends) == [status] * 3
    assert [status for _, status in waves.told] == [status] * 3
    assert work.log == ["begins"] * 3 + ["cancelled"] * 3
    assert isinstance(ends[0].exception, asyncio.CancelledError)
    assert ends[0].error is not None
    assert ends[0].error.message == "cancelled while it ran"


async def test_a_call_that_waits_for_its_gate_is_skipped(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = waves.start(*waves.prepare(work.sleep(), work.block(), gate=gate))
    await asyncio.sleep(1)
    waves.runner.cancel()
    assert [status for _, status in waves.told] == [SKIPPED, SKIPPED]
    assert statuses(await task) == [SKIPPED, SKIPPED]
    gate.set_result(None)
    await asyncio.sleep(1)
    assert work.log == []
    assert len(waves.told) == 2


async def test_the_gate_itself_is_not_cancelled(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = waves.start(*waves.prepare(work.sleep(), gate=gate))
    await asyncio.sleep(1)
    waves.runner.cancel()
    await task
    assert not gate.cancelled()
    other = make_waves()
    task = other.start(*other.prepare(work.sleep(), gate=gate))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not gate.cancelled()


async def test_a_call_that_waits_for_a_thread_is_skipped(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(*[work.block()] * 6))
    await asyncio.sleep(1)
    assert work.log == ["blocks"] * 4
    waves.runner.cancel()
    assert [status for _, status in waves.told] == [SKIPPED, SKIPPED]
    work.release.set()
    assert statuses(await task) == [COMPLETED] * 4 + [SKIPPED] * 2
    assert work.log == ["blocks"] * 4


async def test_calls_behind_one_that_stops_the_turn_at_once_are_skipped(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()

    async def stop() -> str:
        waves.runner.cancel()
        return "stopped"

    calls = [work.call(stop), work.sleep(), work.sleep(protected=True, timeout=5), work.sleep()]
    assert statuses(await waves.run(*calls)) == [COMPLETED, SKIPPED, SKIPPED, SKIPPED]
    assert work.log == []


async def test_calls_before_one_that_stops_the_turn_at_once_have_begun(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()

    async def stop() -> str:
        waves.runner.cancel()
        return "stopped"

    calls = [work.sleep(effect="read"), work.sleep(), work.sleep(protected=True, timeout=200)]
    ends = await waves.run(*calls, work.call(stop))
    assert statuses(ends) == [CallStatus.CANCELLED, UNKNOWN, COMPLETED, COMPLETED]


async def test_a_call_that_stops_the_turn_in_its_first_step_is_cut_off_when_it_waits(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()

    async def stop() -> str:
        waves.runner.cancel()
        work.log.append("goes on")
        await asyncio.sleep(5)
        return "?"

    ends = await waves.run(work.call(stop), work.sleep())
    assert statuses(ends) == [UNKNOWN, SKIPPED]
    assert work.log == ["goes on"]


async def test_a_call_that_has_ended_stays_as_it_ended(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.sleep(1), work.sleep(9), work.sleep(1)))
    await asyncio.sleep(2)
    waves.runner.cancel()
    assert statuses(await task) == [COMPLETED, UNKNOWN, COMPLETED]
    assert len(waves.told) == 3


async def test_a_blocking_call_that_runs_stays_open_until_it_ends(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    prepared = waves.prepare(work.block(effect="read"), work.sleep())
    task = waves.start(*prepared)
    await asyncio.sleep(1)
    waves.runner.cancel()
    await asyncio.sleep(50)
    assert waves.runner.open == (prepared[0],)
    assert not task.done()
    work.release.set()
    ends = await task
    assert statuses(ends) == [COMPLETED, UNKNOWN]
    assert ends[0].value == "released"


async def test_a_protected_call_that_runs_finishes(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.sleep(5, protected=True, timeout=10), work.sleep()))
    await asyncio.sleep(1)
    waves.runner.cancel()
    assert statuses(await task) == [COMPLETED, UNKNOWN]
    assert work.log == ["begins", "begins", "cancelled", "ends"]


async def test_a_protected_call_has_no_more_than_its_timeout(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    task = waves.start(*waves.prepare(work.sleep(100, protected=True, timeout=10)))
    await asyncio.sleep(4)
    waves.runner.cancel()
    assert waves.runner.protected_left == 6
    (end,) = await task
    assert end.status is UNKNOWN
    assert isinstance(end.exception, TimeoutError)
    assert loop.time() - begin == 10
    assert waves.runner.protected_left == 0


async def test_a_tool_that_swallows_the_cancellation_is_completed(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(*[work.stubborn(5)] * 2))
    await asyncio.sleep(1)
    waves.runner.cancel()
    ends = await task
    assert [(end.status, end.value) for end in ends] == [(COMPLETED, "done")] * 2
    assert work.log == ["cancelled"] * 2


@pytest.mark.parametrize(("effect", "status"), CUT_OFF)
async def test_a_tool_that_raises_something_else_when_cancelled_is_cut_off_all_the_same(
    effect: Effect, status: CallStatus, make_waves: Callable[[], Waves], work: Work
) -> None:
    async def body() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise ConnectionError("lost")

    waves = make_waves()
    call = work.call(body, effect=effect)
    task = waves.start(*waves.prepare(call, call))
    await asyncio.sleep(1)
    waves.runner.cancel()
    ends = await task
    assert statuses(ends) == [status] * 2
    assert [end.error and end.error.type for end in ends] == ["ConnectionError"] * 2
    assert [end.error and end.error.retryable for end in ends] == [False] * 2


async def test_a_tool_has_time_to_clean_up_and_is_cancelled_only_once(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    log: list[str] = []

    async def body() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)
            log.append("cleaned up")

    waves = make_waves()
    task = waves.start(*waves.prepare(*[work.call(body)] * 2))
    await asyncio.sleep(1)
    for _ in range(3):
        waves.runner.cancel()
        await asyncio.sleep(1)
    assert statuses(await task) == [UNKNOWN, UNKNOWN]
    assert log == ["cleaned up"] * 2


async def test_nothing_is_started_after_a_cancel(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    waves.runner.cancel()
    protected = work.sleep(protected=True, timeout=3)
    ends = await waves.run(work.sleep(), work.block(), protected)
    assert statuses(ends) == [SKIPPED] * 3
    assert len(waves.told) == 3
    assert work.log == []


@pytest.mark.parametrize("place", [0, 1])
async def test_a_tool_may_stop_its_own_turn(
    place: int, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    log: list[str] = []

    async def stop() -> None:
        await asyncio.sleep(1)
        waves.runner.cancel()
        log.append("goes on")
        await asyncio.sleep(50)
        log.append("not here")

    loop = asyncio.get_running_loop()
    begin = loop.time()
    calls = [work.sleep()]
    calls.insert(place, work.call(stop))
    assert statuses(await waves.run(*calls)) == [UNKNOWN, UNKNOWN]
    assert log == ["goes on"]
    assert loop.time() - begin == 1


async def test_a_listener_may_stop_the_turn_while_the_wave_is_being_started(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    broken.set_exception(OSError("disk"))

    def stop(prepared: Prepared, end: CallEnd) -> None:
        if prepared.call_id == "c2":
            waves.runner.cancel()

    waves.on_end = stop
    prepared = waves.prepare(work.sleep(effect="read"))
    prepared += waves.prepare(work.sleep(), gate=broken)
    prepared += waves.prepare(work.sleep(), work.sleep())
    ends = await waves.runner.run(prepared)
    assert statuses(ends) == [CallStatus.CANCELLED, SKIPPED, SKIPPED, SKIPPED]
    assert work.log == ["begins", "cancelled"]
    assert len(waves.told) == 4


async def test_a_timeout_or_group_within_a_tool_obeys_a_cancel(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def within_timeout() -> None:
        async with asyncio.timeout(50):
            await asyncio.sleep(100)

    async def within_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(100))
            await asyncio.sleep(100)

    async def within_gather() -> None:
        await asyncio.gather(asyncio.sleep(100), asyncio.sleep(100))

    for within in (within_timeout, within_group, within_gather):
        waves = make_waves()
        calls = (work.call(within, effect="read"), work.call(within))
        task = waves.start(*waves.prepare(*calls))
        await asyncio.sleep(1)
        waves.runner.cancel()
        assert statuses(await task) == [CANCELLED, UNKNOWN]


async def test_a_tool_that_never_waits_for_long_is_cancelled_too(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    rounds: list[int] = []

    async def spin() -> None:
        while True:
            rounds.append(1)
            if len(rounds) > 1000:
                raise AssertionError("was not cancelled")
            await asyncio.sleep(0)

    task = waves.start(*waves.prepare(work.call(spin)))
    for _ in range(5):
        await asyncio.sleep(0)
    waves.runner.cancel()
    assert statuses(await task) == [UNKNOWN]
    assert len(rounds) < 20
