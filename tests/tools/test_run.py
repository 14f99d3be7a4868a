from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from wavebreak.messages.errors import (
    CallFailed,
    CancelledException,
    InvalidArguments,
    OutcomeUnknown,
    TokenHeld,
    WaveFailed,
)
from wavebreak.messages.events import CancellationHandled, Event, ExecutionCancelled
from wavebreak.messages.reasons import CallStatus
from wavebreak.tools.cancellation import CancellationToken
from wavebreak.tools.context import current_call
from wavebreak.tools.dependencies import Dependencies, TurnInfo, dep
from wavebreak.tools.plan import Plan, Results
from wavebreak.tools.run import run_waves
from wavebreak.tools.threads import WorkerThreads
from wavebreak.tools.tool import tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from wavebreak.tools.plan import Planned


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []


@tool
async def say(text: str, delay: float = 0.0) -> str:
    dep(Log).lines.append(f"{text} begins")
    await asyncio.sleep(delay)
    dep(Log).lines.append(f"{text} ends")
    return text.upper()


@tool
async def cancel(reason: str) -> str:
    dep(Log).lines.append(f"cancel {reason}")
    dep(CancellationToken).cancel(reason)
    await asyncio.sleep(1)
    return reason


@tool
async def fail(words: str) -> str:
    raise ValueError(words)


@tool
def upper(text: str) -> str:
    return text.upper()


class World:
    """A plan of three waves, and what is seen of its run."""

    def __init__(self) -> None:
        self.log = Log()
        self.token = CancellationToken()
        self.events: list[Event] = []
        self.plan = Plan()
        self.deps: dict[type[Any], Any] = {Log: self.log, CancellationToken: self.token}

    async def run(self) -> Results:
        return await run_waves(
            self.plan, cancel_token=self.token, on_event=self.events.append, deps=self.deps
        )

    def chain(self, *texts: str) -> list[Planned[str]]:
        planned: list[Planned[str]] = []
        for text in texts:
            planned.append(self.plan.add(say(text), after=planned[-1:]))
        return planned


# Results


async def test_a_plan_gives_its_results_by_planned_call() -> None:
    world = World()
    a = world.plan.add(say("a"))
    b = world.plan.add(say(a.result))
    results = await world.run()
    assert results[a] == "A"
    assert results[b] == "A"
    assert dict(results) == {a: "A", b: "A"}
    assert list(results) == [a, b]


async def test_an_empty_plan_gives_nothing() -> None:
    assert dict(await run_waves(Plan())) == {}


async def test_the_calls_of_a_wave_run_concurrently_and_the_waves_one_after_the_other() -> None:
    world = World()
    a = world.plan.add(say("a", delay=2))
    world.plan.add(say("b", delay=1))
    world.plan.add(say("c"), after=(a,))
    begin = asyncio.get_running_loop().time()
    await world.run()
    assert asyncio.get_running_loop().time() - begin == 2
    lines = world.log.lines
    assert set(lines[:2]) == {"a begins", "b begins"}
    assert lines[2:] == ["b ends", "a ends", "c begins", "c ends"]


async def test_a_plan_can_be_run_again() -> None:
    world = World()
    world.chain("a", "b")
    assert await world.run() == await world.run()


async def test_a_model_result_is_handed_on_as_it_is() -> None:
    plan = Plan()
    first = plan.add(upper("abc"))
    second = plan.add(upper(first.result[0]))
    assert (await run_waves(plan))[second] == "A"


async def test_it_runs_on_a_plain_loop_in_threads_of_its_own_or_in_given_ones() -> None:
    plan = Plan()
    planned = plan.add(upper("abc"))
    assert (await run_waves(plan))[planned] == "ABC"
    threads = WorkerThreads(1)
    assert (await run_waves(plan, threads=threads))[planned] == "ABC"
    assert (await run_waves(plan, threads=threads))[planned] == "ABC"
    threads.close()


async def test_each_call_has_an_id_and_a_key_of_its_own() -> None:
    seen: list[tuple[str, str]] = []

    @tool
    async def look() -> None:
        seen.append((current_call().call_id, current_call().idempotency_key))

    plan = Plan()
    first = plan.add(look())
    plan.add(look())
    plan.add(look(), after=(first,))
    await run_waves(plan)
    await run_waves(plan)
    assert sorted(call_id for call_id, _ in seen) == ["1.1", "1.1", "1.2", "1.2", "2.1", "2.1"]
    assert len({key for _, key in seen}) == 6


async def test_dependencies_are_opened_and_closed_around_the_plan() -> None:
    log = Log()

    @asynccontextmanager
    async def make(turn: TurnInfo) -> AsyncGenerator[Log]:
        log.lines.append(f"opened for {turn}")
        yield log
        log.lines.append("closed")

    plan = Plan()
    plan.add(say("a"))
    await run_waves(plan, deps=Dependencies({Log: make}))
    opened = "opened for TurnInfo(tenant='', session_id='', senders=())"
    assert log.lines == [opened, "a begins", "a ends", "closed"]
    plan.add(fail("x"))
    with pytest.raises(WaveFailed):
        await run_waves(plan, deps={Log: make})
    assert log.lines[-1] == "closed"


# Failures


async def test_a_failing_call_does_not_stop_its_siblings_and_no_later_wave_is_run() -> None:
    world = World()
    a = world.plan.add(say("a", delay=3))
    broken = world.plan.add(fail("broken"))
    world.plan.add(say("c"), after=(a,))
    del broken
    with pytest.raises(WaveFailed) as error:
        await world.run()
    assert world.log.lines == ["a begins", "a ends"]
    assert [record.status for record in error.value.records] == [
        CallStatus.COMPLETED,
        CallStatus.FAILED,
    ]
    assert error.value.records[0].result == "A"


async def test_the_failure_is_an_exception_group_with_every_record_in_reach() -> None:
    plan = Plan()
    for words in ("one", "two"):
        plan.add(fail(words))
    plan.add(upper("x"))
    with pytest.raises(ExceptionGroup) as error:
        await run_waves(plan)
    group = error.value
    assert isinstance(group, WaveFailed)
    assert len(group.records) == 3
    first, second = group.exceptions
    assert isinstance(first, CallFailed)
    assert first.record is group.records[0]
    assert first.record.error is not None
    assert first.record.error.message == "one"
    assert first.record.arguments == {"words": "one"}
    assert isinstance(first.__cause__, ValueError)
    assert str(second) == "call 1.2 of tool 'fail' ended as failed: ValueError: two"
    assert "2 of 3 calls did not complete (fail)" in str(group)


async def test_failures_can_be_told_apart_with_except_star() -> None:
    @tool(timeout=1)
    async def slow() -> None:
        await asyncio.sleep(10)

    plan = Plan()
    plan.add(slow())
    plan.add(fail("x"))
    unknown: list[BaseException] = []
    failed: list[BaseException] = []
    records: list[int] = []
    try:
        await run_waves(plan)
    except* OutcomeUnknown as group:
        unknown.extend(group.exceptions)
        records.append(len(group.records) if isinstance(group, WaveFailed) else 0)
    except* CallFailed as group:
        failed.extend(group.exceptions)
    assert [str(error).partition(":")[0] for error in unknown + failed] == [
        "call 1.1 of tool 'slow' ended as unknown",
        "call 1.2 of tool 'fail' ended as failed",
    ]
    assert isinstance(unknown[0].__cause__, TimeoutError)
    assert records == [2]


async def test_a_result_that_does_not_fit_the_next_call_is_told_before_its_wave() -> None:
    world = World()
    a = world.plan.add(say("a"))
    world.plan.add(say("b"), after=(a,))
    world.plan.add(say(a.result, delay=a.result))  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="tool 'say': argument 'delay' = 'A'"):
        await world.run()
    assert world.log.lines == ["a begins", "a ends"]


async def test_what_exits_the_program_does_so_after_the_wave() -> None:
    @tool
    async def leave() -> None:
        raise SystemExit(3)

    world = World()
    world.plan.add(leave())
    world.plan.add(say("a", delay=1))
    with pytest.raises(SystemExit):
        await world.run()
    assert world.log.lines == ["a begins", "a ends"]


# Cancellation


async def test_a_cancelled_token_stops_before_the_wave_that_is_named() -> None:
    world = World()
    a = world.plan.add(say("a"))
    b = world.plan.add(cancel("user left"), after=(a,))
    c = world.plan.add(say("c"), after=(b,))
    with pytest.raises(CancelledException) as error:
        await world.run()
    assert error.value.wave_num == 3
    assert dict(error.value.partial_results) == {a: "A", b: "user left"}
    assert c not in error.value.partial_results
    assert error.value.message == "cancelled before wave 3 of 3: user left"
    assert str(error.value) == error.value.message
    assert world.log.lines == ["a begins", "a ends", "cancel user left"]


async def test_a_wave_that_runs_is_never_cancelled() -> None:
    world = World()
    world.plan.add(cancel("now"))
    a = world.plan.add(say("a", delay=100))
    with pytest.raises(CancelledException) as error:
        await world.run()
    assert error.value.partial_results[a] == "A"
    assert "a ends" in world.log.lines


async def test_a_token_cancelled_before_stops_before_the_first_wave() -> None:
    world = World()
    world.chain("a", "b")
    world.token.cancel("never mind")
    with pytest.raises(CancelledException) as error:
        await world.run()
    assert (error.value.wave_num, dict(error.value.partial_results)) == (1, {})
    assert world.log.lines == []


async def test_a_token_cancelled_in_the_last_wave_is_seen_after_it() -> None:
    world = World()
    a = world.plan.add(say("a"))
    b = world.plan.add(cancel("late"), after=(a,))
    with pytest.raises(CancelledException) as error:
        await world.run()
    assert error.value.wave_num == 3
    assert dict(error.value.partial_results) == {a: "A", b: "late"}
    assert error.value.message == "cancelled after 2 waves: late"


async def test_an_empty_plan_is_cancelled_too() -> None:
    world = World()
    world.token.cancel("x")
    with pytest.raises(CancelledException) as error:
        await world.run()
    assert error.value.wave_num == 1
    assert [type(event) for event in world.events] == [ExecutionCancelled, CancellationHandled]


async def test_a_deadline_stops_with_operation_timeout() -> None:
    world = World()
    world.chain("a", "b")
    world.token = CancellationToken(deadline=0)
    with pytest.raises(CancelledException, match="Operation timeout"):
        await world.run()


async def test_a_child_token_stops_with_its_parent() -> None:
    world = World()
    world.chain("a")
    parent = CancellationToken()
    world.token = parent.child()
    parent.cancel("shutdown")
    with pytest.raises(CancelledException, match="shutdown"):
        await world.run()


async def test_each_event_is_told_once_for_a_cancellation() -> None:
    world = World()
    a = world.plan.add(cancel("user left"))
    world.plan.add(say("b"), after=(a,))
    world.plan.add(say("c"), after=(a,))
    with pytest.raises(CancelledException) as error:
        await world.run()
    cancelled, handled = world.events
    assert isinstance(cancelled, ExecutionCancelled)
    assert cancelled.wave_num == 2
    assert cancelled.total_waves == 2
    assert cancelled.partial_results_count == 1
    assert cancelled.cancel_reason == "user left"
    assert isinstance(handled, CancellationHandled)
    assert handled.message == error.value.message
    assert handled.wave_num == 2
    assert handled.partial_results_count == 1
    for event in world.events:
        assert (event.tenant, event.session_id, event.turn, event.position) == ("", "", None, None)
        assert event.at > 0
    with pytest.raises(CancelledException):
        await world.run()
    assert len(world.events) == 4


async def test_a_token_that_is_never_cancelled_or_none_changes_nothing() -> None:
    world = World()
    world.chain("a", "b")
    with_token = await world.run()
    without = await run_waves(world.plan, deps=world.deps)
    assert with_token == without
    assert world.events == []


async def test_a_wave_that_failed_is_told_as_failed_although_it_was_cancelled_too() -> None:
    world = World()
    world.plan.add(cancel("x"))
    world.plan.add(fail("y"))
    with pytest.raises(WaveFailed):
        await world.run()
    assert world.events == []


@pytest.fixture
def logged() -> Generator[list[str]]:
    lines: list[str] = []
    logger.enable("wavebreak")
    sink = logger.add(lambda message: lines.append(str(message)), format="{message}")
    yield lines
    logger.remove(sink)
    logger.disable("wavebreak")


async def test_an_observer_that_fails_does_not_hide_the_cancellation(logged: list[str]) -> None:
    token = CancellationToken()
    token.cancel("x")

    def broken(event: Event) -> None:
        raise ValueError(type(event))

    with pytest.raises(CancelledException):
        await run_waves(Plan(), cancel_token=token, on_event=broken)
    assert "an observer failed at execution_cancelled" in logged[0]
    assert "an observer failed at cancellation_handled" in logged[1]


async def test_a_token_cannot_be_reset_while_a_plan_runs_on_it() -> None:
    world = World()

    @tool
    async def reset() -> None:
        dep(CancellationToken).reset()

    world.plan.add(reset())
    with pytest.raises(WaveFailed) as error:
        await world.run()
    assert isinstance(error.value.exceptions[0].__cause__, TokenHeld)
    world.token.reset()


async def test_the_tools_see_the_token() -> None:
    world = World()

    @tool
    async def look() -> bool:
        return current_call().token is dep(CancellationToken)

    planned = world.plan.add(look())
    assert (await world.run())[planned] is True


async def test_cancelling_the_task_cancels_the_calls_and_closes_the_dependencies() -> None:
    log = Log()

    @asynccontextmanager
    async def make(turn: TurnInfo) -> AsyncGenerator[Log]:
        try:
            yield log
        finally:
            log.lines.append("closed")

    plan = Plan()
    plan.add(say("a", delay=100))
    plan.add(say("b", delay=100))
    task = asyncio.create_task(run_waves(plan, deps={Log: make}))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(log.lines) == ["a begins", "b begins", "closed"]
