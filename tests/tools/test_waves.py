from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.errors import WaveInProgress
from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd

COMPLETED = CallStatus.COMPLETED


@tool(effect="read")
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read")
def in_thread(number: int) -> int:
    return number


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


async def test_results_come_in_the_order_of_the_calls_whatever_ends_first(
    make_waves: Callable[[], Waves],
) -> None:
    waves = make_waves()
    ends = await waves.run(sleep(3), in_thread(7), sleep(1), sleep(2))
    assert [end.value for end in ends] == [3, 7, 1, 2]
    assert statuses(ends) == [COMPLETED] * 4


async def test_a_wave_takes_as_long_as_its_longest_call(make_waves: Callable[[], Waves]) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await make_waves().run(sleep(3), sleep(5), sleep(4))
    assert loop.time() - begin == 5


async def test_a_hundred_calls_run_in_one_wave(make_waves: Callable[[], Waves]) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    ends = await waves.run(*(sleep(1 + number % 3) for number in range(100)))
    assert [end.value for end in ends] == [1 + number % 3 for number in range(100)]
    assert loop.time() - begin == 3
    assert len(waves.told) == 100


async def test_a_hundred_blocking_calls_share_the_threads(make_waves: Callable[[], Waves]) -> None:
    waves = make_waves()
    ends = await waves.run(*(in_thread(number) for number in range(100)))
    assert [end.value for end in ends] == list(range(100))
    assert len(waves.told) == 100


async def test_an_empty_wave_ends_at_once(make_waves: Callable[[], Waves]) -> None:
    assert await make_waves().run() == []


async def test_one_wave_runs_after_the_other(make_waves: Callable[[], Waves]) -> None:
    waves = make_waves()
    for number in range(3):
        (end,) = await waves.run(sleep(number))
        assert end.value == number
    assert [call_id for call_id, _ in waves.told] == ["c1", "c2", "c3"]


async def test_a_second_wave_while_one_runs_is_refused(make_waves: Callable[[], Waves]) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(sleep(1), sleep(2)))
    await asyncio.sleep(0)
    with pytest.raises(WaveInProgress, match="a wave runs: await it before you start the next"):
        await waves.run(sleep(1))
    assert len(await task) == 2


async def test_only_the_last_async_call_that_is_not_protected_runs_in_the_agents_task(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    agent = asyncio.current_task()
    waves = make_waves()

    async def is_inline() -> bool:
        return asyncio.current_task() is agent

    plain = work.call(is_inline)
    protected = work.call(is_inline, protected=True, timeout=5)
    for calls, inline in (
        ([plain], [True]),
        ([plain, plain, plain], [False, False, True]),
        ([plain, protected], [True, False]),
        ([protected], [False]),
        ([plain, in_thread(1)], [True, 1]),
        ([in_thread(1)], [1]),
    ):
        assert [end.value for end in await waves.run(*calls)] == inline


async def test_an_end_is_told_once_and_at_once_as_each_call_ends(
    make_waves: Callable[[], Waves],
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    times: list[float] = []
    waves.on_end = lambda prepared, end: times.append(loop.time() - begin)
    prepared = waves.prepare(sleep(3), sleep(1), sleep(2))
    ends = await waves.runner.run(prepared)
    assert [call_id for call_id, _ in waves.told] == ["c2", "c3", "c1"]
    assert times == [1, 2, 3]
    assert [one.end for one in prepared] == ends
    assert waves.runner.open == ()
    assert [one.handle for one in prepared] == [None] * 3  # a circle: it holds the call


async def test_the_result_is_told_validated_and_in_its_json_form(
    make_waves: Callable[[], Waves],
) -> None:
    @tool
    async def give() -> set[int]:
        return {3}

    (end,) = await make_waves().run(give())
    assert (end.status, end.value, end.result) == (COMPLETED, {3}, [3])
    assert (end.error, end.exception) == (None, None)


async def test_the_loops_own_way_to_make_tasks_is_used(make_waves: Callable[[], Waves]) -> None:
    made: list[object] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    ends = await make_waves().run(sleep(1), sleep(1))
    loop.set_task_factory(None)
    assert len(ends) == 2
    assert len(made) == 1


async def test_a_wave_that_waits_for_nothing_is_over_when_it_has_begun(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    async def at_once() -> int:
        return 1

    async def later() -> int:
        await asyncio.sleep(1)
        return 2

    waves = make_waves()
    (one,) = waves.prepare(work.call(at_once))
    assert waves.runner.begin([one]) is False
    assert one.end is not None
    assert one.end.value == 1
    assert not waves.runner.is_running
    assert waves.runner.begin(waves.prepare(*map(work.call, [at_once, at_once]))) is False

    for calls in ([later], [later, later], [later, at_once], [at_once, later]):
        prepared = waves.prepare(*map(work.call, calls))
        assert waves.runner.begin(prepared) is True
        await waves.runner.join()
        values = [one.end and one.end.value for one in prepared]
        assert values == [{at_once: 1, later: 2}[call] for call in calls]
