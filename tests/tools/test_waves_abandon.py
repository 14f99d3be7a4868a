from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.reasons import CallStatus, Effect
from wavebreak.tools.context import current_call
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from tests.tools.conftest import Waves, Work
    from wavebreak.tools.execution import CallEnd

COMPLETED = CallStatus.COMPLETED
FAILED = CallStatus.FAILED
SKIPPED = CallStatus.SKIPPED
CANCELLED = CallStatus.CANCELLED
UNKNOWN = CallStatus.UNKNOWN

CUT_OFF = [(Effect.READ, CANCELLED), (Effect.IDEMPOTENT, UNKNOWN), (Effect.ONCE, UNKNOWN)]


def statuses(ends: list[CallEnd]) -> list[CallStatus]:
    return [end.status for end in ends]


@pytest.mark.parametrize(("effect", "status"), CUT_OFF)
async def test_what_does_not_end_is_abandoned_and_its_late_end_is_told(
    effect: Effect, status: CallStatus, make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    stubborn = work.stubborn(20, effect=effect)
    prepared = waves.prepare(stubborn, work.block(effect=effect), work.sleep(2), stubborn)
    task = waves.start(*prepared)
    await asyncio.sleep(3)
    waves.runner.cancel()
    await asyncio.sleep(5)
    assert not task.done()
    assert waves.runner.abandon() == ["c1", "c2", "c4"]
    assert [told for told in waves.told if told[0] != "c3"] == [
        ("c1", status),
        ("c2", status),
        ("c4", status),
    ]
    ends = await task
    assert statuses(ends) == [status, status, COMPLETED, status]
    assert loop.time() - begin == 8
    assert ends[0].error is not None
    assert ends[0].error.message == "abandoned while it ran"
    assert waves.threads.abandoned == 1
    assert set(waves.runner.open) == {prepared[0], prepared[1], prepared[3]}
    await waves.runner.drained()  # nobody waits for what is abandoned

    work.release.set()
    await waves.until_told(7)
    assert sorted(waves.told[4:]) == [("c1", COMPLETED), ("c2", COMPLETED), ("c4", COMPLETED)]
    assert waves.ends["c2"][1].value == "released"
    assert waves.ends["c4"][1].value == "done"
    assert waves.runner.open == ()
    assert waves.threads.abandoned == 0
    assert [one.end for one in prepared] == ends


async def test_abandoning_cancels_first(make_waves: Callable[[], Waves], work: Work) -> None:
    waves = make_waves()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    prepared = waves.prepare(work.sleep(), gate=gate)
    prepared += waves.prepare(work.sleep(effect="read"), work.sleep())
    task = waves.start(*prepared)
    await asyncio.sleep(1)
    assert waves.runner.abandon() == ["c2", "c3"]
    assert statuses(await task) == [SKIPPED, CANCELLED, UNKNOWN]
    await waves.until_told(5)
    assert sorted(waves.told[3:]) == [("c2", CANCELLED), ("c3", UNKNOWN)]
    assert work.log == ["begins", "begins", "cancelled", "cancelled"]


async def test_a_protected_call_that_is_abandoned_goes_on_to_its_timeout(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    calls = [
        work.sleep(5, protected=True, timeout=9),
        work.sleep(50, protected=True, timeout=9),
    ]
    task = waves.start(*waves.prepare(*calls))
    await asyncio.sleep(1)
    waves.runner.abandon()
    assert statuses(await task) == [UNKNOWN, UNKNOWN]
    await waves.until_told(4)
    assert waves.told[2:] == [("c1", COMPLETED), ("c2", UNKNOWN)]
    assert isinstance(waves.ends["c2"][1].exception, TimeoutError)
    assert loop.time() - begin == pytest.approx(9, abs=0.01)


async def abandoned_inline(
    waves: Waves, work: Work, body: Callable[[], Awaitable[Any]]
) -> tuple[CallEnd, CallEnd]:
    """The two ends of a call that runs in the agent's task and is abandoned after a second."""
    loop = asyncio.get_running_loop()
    task = waves.start(*waves.prepare(work.call(body)))
    await asyncio.sleep(1)
    waves.runner.cancel()
    await asyncio.sleep(0)
    begin = loop.time()
    waves.runner.abandon()
    for _ in range(5):
        await asyncio.sleep(0)
    assert task.done()
    assert loop.time() == begin
    (end,) = await task
    await waves.until_told(2)
    assert waves.ends["c1"][0] is end
    return end, waves.ends["c1"][1]


async def stubborn_at_a_future() -> str:
    loop = asyncio.get_running_loop()
    end = loop.time() + 9
    while loop.time() < end:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(end - loop.time())
    return "future"


async def stubborn_at_a_task() -> str:
    return await asyncio.create_task(stubborn_at_a_future()) + " of a task"


async def stubborn_spinning() -> str:
    loop = asyncio.get_running_loop()
    loop.call_later(9, (stop := asyncio.Event()).set)
    turns = 0
    while not stop.is_set() and turns < 10_000:
        turns += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0 if turns < 100 else 1)
    return "spinning"


async def stubborn_that_fails() -> str:
    await stubborn_at_a_future()
    raise ValueError("late")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (stubborn_at_a_future, "future"),
        (stubborn_at_a_task, "future of a task"),
        (stubborn_spinning, "spinning"),
    ],
)
async def test_the_agent_goes_on_at_once_also_when_it_runs_the_abandoned_call_itself(
    body: Callable[[], Awaitable[Any]],
    value: str,
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    end, late = await abandoned_inline(make_waves(), work, body)
    assert end.status is UNKNOWN
    assert (late.status, late.value) == (COMPLETED, value)


async def test_a_late_failure_of_what_was_cut_off_stays_unknown(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    _, late = await abandoned_inline(make_waves(), work, stubborn_that_fails)
    assert late.status is UNKNOWN
    assert late.error is not None
    assert late.error.message == "late"


async def test_an_abandoned_call_keeps_its_contextvars(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def body() -> str:
        variable.set("mine")
        await stubborn_at_a_future()
        return f"{variable.get()} {current_call().call_id}"

    _, late = await abandoned_inline(make_waves(), work, body)
    assert late.value == "mine c1"


async def test_a_late_exit_does_not_end_a_later_wave(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()

    @tool(timeout=2)
    def leave() -> None:
        work.release.wait()
        raise SystemExit(3)

    (end,) = await waves.run(leave())
    assert end.status is UNKNOWN
    work.release.set()
    await waves.until_told(2)
    assert waves.told[1] == ("c1", FAILED)
    (end,) = await waves.run(work.sleep(1))
    assert end.status is COMPLETED


async def test_a_call_that_was_abandoned_does_not_time_out_any_more(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.block(timeout=5)))
    await asyncio.sleep(1)
    waves.runner.abandon()
    await task
    await asyncio.sleep(10)
    assert waves.told == [("c1", UNKNOWN)]
    assert waves.threads.abandoned == 1
    work.release.set()
    await waves.until_told(2)
    assert waves.threads.abandoned == 0


async def test_abandoning_twice_or_nothing_tells_nothing_more(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    assert waves.runner.abandon() == []
    waves = make_waves()
    task = waves.start(*waves.prepare(work.block()))
    await asyncio.sleep(1)
    assert waves.runner.abandon() == ["c1"]
    assert waves.runner.abandon() == []
    await task
    assert len(waves.told) == 1
    work.release.set()
    await waves.until_told(2)


async def test_closing_the_threads_ends_what_was_open_in_them(
    make_waves: Callable[[], Waves],
    work: Work,
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.block(), work.block(effect="read")))
    await asyncio.sleep(1)
    waves.threads.close()
    assert statuses(await task) == [UNKNOWN, CANCELLED]
    work.release.set()
    assert waves.runner.open == ()
    while waves.threads.running:
        await asyncio.sleep(0.001)


async def test_drained_waits_until_every_call_was_told_of(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    await waves.runner.drained()
    task = waves.start(*waves.prepare(work.sleep(3), work.sleep(5)))
    await asyncio.sleep(1)
    await waves.runner.drained()
    assert len(waves.told) == 2
    await task


async def test_several_may_wait_and_one_may_give_up(
    make_waves: Callable[[], Waves], work: Work
) -> None:
    waves = make_waves()
    task = waves.start(*waves.prepare(work.sleep(3)))
    await asyncio.sleep(1)
    waiting = [asyncio.create_task(waves.runner.drained()) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    await asyncio.gather(waiting[1], waiting[2], task)
    assert waiting[0].cancelled()
