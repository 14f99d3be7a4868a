from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.reasons import CallStatus, Effect
from wavebreak.testing import QuietEvent
from wavebreak.tools.context import current_call
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd

COMPLETED = CallStatus.COMPLETED
FAILED = CallStatus.FAILED
UNKNOWN = CallStatus.UNKNOWN


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


@pytest.mark.parametrize("retries", [True])
@pytest.mark.parametrize("where", ["inline", "task", "protected", "thread"])
@pytest.mark.parametrize(
    ("effect", "status"),
    [(Effect.READ, FAILED), (Effect.IDEMPOTENT, UNKNOWN), (Effect.ONCE, UNKNOWN)],
)
async def test_over_its_timeout_a_read_has_failed_and_anything_else_is_unknown(
    effect: Effect,
    status: CallStatus,
    where: str,
    retries: bool,
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    if where == "thread":
        call = work.block(effect=effect, timeout=4)
    else:
        call = work.sleep(effect=effect, timeout=4, protected=where == "protected")
    calls = [call, work.sleep(2)] if where == "task" else [work.sleep(2), call]
    ends = await waves.run(*calls)
    end = ends[calls.index(call)]
    assert sorted(statuses(ends)) == sorted([COMPLETED, status])
    assert loop.time() - begin == 4
    assert isinstance(end.exception, TimeoutError)
    assert end.error is not None
    name = call.tool.name
    assert end.error.message == f"tool {name!r} did not end within 4.0 s"
    assert end.error.type == "TimeoutError"
    assert end.error.retryable is retries
    work.release.set()
    if where == "thread":
        await waves.until_told(3)
        assert waves.told[2] == ("c2", COMPLETED)
        assert waves.ends["c2"][1].value == "released"


async def test_a_call_within_its_timeout_is_left_alone(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    ends = await waves.run(work.sleep(2, timeout=3), work.sleep(2, timeout=3))
    assert statuses(ends) == [COMPLETED, COMPLETED]
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
    await asyncio.sleep(10)
    assert len(waves.told) == 2


async def test_a_blocking_call_may_not_wait_longer_than_its_timeout_for_a_thread(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    ran: list[int] = []

    @tool(timeout=3)
    def never() -> None:
        ran.append(1)

    task = waves.start(*waves.prepare(*[work.block()] * 4, never()))
    await asyncio.sleep(5)
    assert waves.told == [("c5", FAILED)]
    assert isinstance(waves.ends["c5"][0].exception, TimeoutError)
    work.release.set()
    assert statuses(await task) == [COMPLETED] * 4 + [FAILED]
    assert ran == []


async def test_the_timeout_begins_when_the_gate_opens(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    gate: asyncio.Future[None] = loop.create_future()
    loop.call_later(10, gate.set_result, None)
    ends = await waves.runner.run(waves.prepare(work.sleep(2, timeout=3), gate=gate))
    assert statuses(ends) == [COMPLETED]


async def test_a_tool_that_returns_when_its_timeout_is_over_is_completed(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    ends = await waves.run(work.stubborn(5, timeout=1), work.stubborn(5, timeout=1))
    assert [(end.status, end.value) for end in ends] == [(COMPLETED, "done")] * 2
    assert work.log == ["cancelled"] * 2


async def test_a_tool_that_raises_when_its_timeout_is_over_has_timed_out(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    async def body() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("broken")

    ends = await make_waves().run(
        work.call(body, timeout=1), work.call(body, timeout=1, effect="read")
    )
    assert statuses(ends) == [UNKNOWN, FAILED]
    for end in ends:
        assert isinstance(end.exception, TimeoutError)
        assert isinstance(end.exception.__cause__, ValueError)


async def test_a_tools_own_timeout_error_is_a_failure(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    async def body() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(5)

    ends = await make_waves().run(work.call(body, timeout=3), work.call(body, timeout=3))
    assert statuses(ends) == [FAILED, FAILED]


async def test_a_stop_does_not_disturb_the_clean_up_after_a_timeout(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    log: list[str] = []

    async def body() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(3)
            log.append("cleaned up")

    waves = make_waves()
    task = waves.start(*waves.prepare(*[work.call(body, timeout=1)] * 2))
    await asyncio.sleep(2)
    waves.runner.cancel()
    ends = await task
    assert log == ["cleaned up"] * 2
    assert all(isinstance(end.exception, TimeoutError) for end in ends)


async def test_a_timeout_while_a_stop_is_under_way_does_not_cancel_again(
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
    task = waves.start(*waves.prepare(*[work.call(body, timeout=3)] * 2))
    await asyncio.sleep(1)
    waves.runner.cancel()
    ends = await task
    assert statuses(ends) == [UNKNOWN] * 2
    assert log == ["cleaned up"] * 2
    assert all(isinstance(end.exception, asyncio.CancelledError) for end in ends)


async def test_the_time_left_of_a_blocking_call_goes_down_in_its_thread(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    release = QuietEvent()
    started = threading.Event()

    @tool(timeout=9)
    def body() -> float | None:
        before = current_call().time_left
        started.set()
        release.wait()
        after = current_call().time_left
        assert before is not None
        assert after is not None
        return before - after

    asyncio.get_running_loop().call_later(4, release.set)
    (end,) = await waves.run(body())
    assert end.value == 4
