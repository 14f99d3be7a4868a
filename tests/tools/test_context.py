from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from wavebreak.messages.errors import DependencyError
from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.tools.cancellation import CancellationToken
from wavebreak.tools.context import CURRENT, CallContext, current_call


class Running:
    def __init__(self, context: CallContext) -> None:
        self._context = context

    def context(self) -> CallContext:
        return self._context


def call_until(deadline: float | None, now: float) -> CallContext:
    return CallContext(
        CallId("1.2"), IdempotencyKey("key"), CancellationToken(), deadline, lambda: now
    )


def test_outside_of_a_tool_there_is_no_current_call() -> None:
    with pytest.raises(DependencyError, match=r"current_call\(\) was called outside of a tool"):
        current_call()


def test_the_current_call_is_that_of_the_context() -> None:
    call = call_until(None, 0)
    context = copy_context()
    context.run(CURRENT.set, Running(call))
    assert context.run(current_call) is call


def test_the_current_call_reaches_what_a_tool_starts() -> None:
    call = call_until(None, 0)

    async def main() -> None:
        CURRENT.set(Running(call))

        async def inner() -> CallContext:
            return current_call()

        assert await asyncio.create_task(inner()) is call
        assert await asyncio.to_thread(current_call) is call

    asyncio.run(main())


def test_the_time_left_is_that_until_the_timeout() -> None:
    assert call_until(None, 5).time_left is None
    assert call_until(8, 5).time_left == 3
    assert call_until(4, 5).time_left == 0
