from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.plan import Plan
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd, Prepared

COMPLETED = CallStatus.COMPLETED
FAILED = CallStatus.FAILED


@tool(effect="read")
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read")
def in_thread(number: int) -> int:
    return number


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


@pytest.mark.parametrize("place", [0, 1])
async def test_a_failing_call_does_not_stop_its_sibling(
    place: int, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    calls = [sleep(5)]
    error = ValueError("broken")
    calls.insert(place, work.raising(error))
    ends = await waves.run(*calls)
    assert ends[1 - place].value == 5
    end = ends[place]
    assert end.status is FAILED
    assert end.exception is error
    assert end.error is not None
    assert (end.error.type, end.error.message, end.error.retryable) == (
        "ValueError",
        "broken",
        False,
    )


async def test_what_may_be_got_over_is_marked_as_retryable(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    ends = await make_waves().run(work.raising(OSError("x")), work.raising(ValueError("x")))
    assert [end.error and end.error.retryable for end in ends] == [True, False]


async def test_an_exception_group_is_a_failure_like_any_other(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def fail(error: Exception) -> None:
        await asyncio.sleep(1)
        raise error

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(ValueError("one")))
            group.create_task(fail(KeyError("two")))

    for calls in ([work.call(body)], [work.call(body), sleep(3)]):
        end = (await make_waves().run(*calls))[0]
        assert end.status is FAILED
        assert type(end.exception) is ExceptionGroup
        group: Any = end.exception
        assert {repr(error) for error in group.exceptions} == {
            "ValueError('one')",
            "KeyError('two')",
        }
        assert end.error is not None
        assert end.error.type == "ExceptionGroup"
    agent = asyncio.current_task()
    assert agent is not None
    assert agent.cancelling() == 0  # the group has cancelled the task it ran in


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("where", ["inline", "task", "thread"])
async def test_what_is_no_exception_fails_the_call_and_is_raised_after_the_wave(
    error: BaseException, where: str, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()

    def in_a_thread() -> None:
        raise error

    call = work.blocking_call(in_a_thread) if where == "thread" else work.raising(error)
    calls = [sleep(5), call] if where == "inline" else [call, sleep(5)]
    with pytest.raises(type(error)) as raised:
        await waves.run(*calls)
    assert raised.value is error
    assert sorted(status for _, status in waves.told) == [COMPLETED, FAILED]
    (end,) = await waves.run(sleep(1))
    assert end.status is COMPLETED


async def test_a_base_exception_group_is_raised_after_the_wave_too(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    error = BaseExceptionGroup("x", [SystemExit(1), ValueError("y")])
    waves = make_waves()
    with pytest.raises(BaseExceptionGroup):
        await waves.run(work.raising(error), sleep(3))
    assert sorted(status for _, status in waves.told) == [COMPLETED, FAILED]


async def test_a_stray_cancelled_error_is_a_failure(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    def in_a_thread() -> None:
        raise asyncio.CancelledError

    stray = work.raising(asyncio.CancelledError())
    ends = await make_waves().run(stray, work.blocking_call(in_a_thread), stray)
    assert statuses(ends) == [FAILED] * 3
    assert [end.error and end.error.type for end in ends] == ["CancelledError"] * 3


async def test_a_call_whose_task_somebody_else_cancels_is_cut_off(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await asyncio.sleep(10)

    async def cancel() -> None:
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()

    ends = await make_waves().run(
        work.call(body, effect="read"), work.call(body), work.call(cancel)
    )
    assert statuses(ends) == [CallStatus.CANCELLED, CallStatus.UNKNOWN, COMPLETED]


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration()])
async def test_stop_iteration_is_a_failure(
    error: Exception, make_waves: Callable[[], Waves], work: Work
) -> None:
    def in_a_thread() -> None:
        raise error

    ends = await make_waves().run(
        work.raising(error), work.blocking_call(in_a_thread), work.raising(error)
    )
    assert statuses(ends) == [FAILED] * 3


async def test_a_wrong_result_fails_the_call_with_the_tools_name(
    make_waves: Callable[[], Waves],
) -> None:
    @tool
    async def count() -> int:
        return "many"  # type: ignore[return-value]

    @tool
    def thing() -> Any:
        return object()

    ends = await make_waves().run(count(), thing())
    assert statuses(ends) == [FAILED, FAILED]
    assert [end.error and end.error.type for end in ends] == ["InvalidResult", "InvalidResult"]
    assert "tool 'count' returned 'many'" in str(ends[0].exception)
    assert "tool 'thing' returned <object" in str(ends[1].exception)


async def test_a_blocking_tool_that_returns_a_coroutine_is_told_to_be_async(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def inner() -> int:
        return 1

    (end,) = await make_waves().run(work.blocking_call(inner))
    assert end.status is FAILED
    assert "tool 'work' returned a coroutine: define it with `async def`" in str(end.exception)


async def test_a_validator_that_breaks_fails_the_call(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("even its words are broken")

    (end,) = await make_waves().run(work.raising(Broken()))
    assert end.error is not None
    assert (end.error.type, end.error.message) == (
        "Broken",
        "(its words cannot be had: RuntimeError)",
    )


async def test_the_words_of_an_error_always_fit_into_a_journal(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    (end,) = await make_waves().run(work.raising(ValueError("tëxt \ud800")))
    assert end.error is not None
    assert end.error.message == "tëxt \\ud800"
    assert end.error.model_dump_json()


async def test_a_call_that_belongs_into_a_plan_fails(make_waves: Callable[[], Waves]) -> None:
    call = sleep(Plan().add(sleep(1)).result)
    ends = await make_waves().run(call, sleep(1))
    assert statuses(ends) == [FAILED, COMPLETED]
    assert "give it to plan.add(...)" in str(ends[0].exception)


async def test_closed_threads_fail_a_blocking_call(make_waves: Callable[[], Waves]) -> None:
    waves = make_waves()
    waves.threads.close()
    ends = await waves.run(in_thread(1), sleep(1))
    assert statuses(ends) == [FAILED, COMPLETED]
    assert "worker threads are closed" in str(ends[0].exception)


async def test_a_listener_that_fails_is_raised_after_the_wave(
    make_waves: Callable[[], Waves],
) -> None:
    waves = make_waves()

    def broken(prepared: Prepared, end: CallEnd) -> None:
        if prepared.call_id == "c1":
            raise RuntimeError("broken listener")

    waves.on_end = broken
    with pytest.raises(RuntimeError, match="broken listener"):
        await waves.run(sleep(1), sleep(2))
    assert len(waves.told) == 2
