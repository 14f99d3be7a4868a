from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.testing import QuietEvent
from wavebreak.tools.cancellation import CancellationToken
from wavebreak.tools.dependencies import Dependencies, TurnInfo
from wavebreak.tools.execution import CallEnd, Prepared
from wavebreak.tools.threads import WorkerThreads
from wavebreak.tools.tool import tool
from wavebreak.tools.waves import WaveRunner

if TYPE_CHECKING:
    from wavebreak.messages.reasons import CallStatus
    from wavebreak.tools.call import ToolCall
    from wavebreak.tools.dependencies import Scope


class Waves:
    """A wave runner, and what it told.

    ``told`` has each call's id with each status it was told to have ended with.
    """

    def __init__(self, threads: WorkerThreads, scope: Scope | None = None) -> None:
        self.told: list[tuple[str, CallStatus]] = []
        self.ends: dict[str, list[CallEnd]] = {}
        self.token = CancellationToken()
        self.threads = threads
        self.on_end: Callable[[Prepared, CallEnd], None] = lambda prepared, end: None
        self.runner = WaveRunner(
            threads=threads,
            scope=scope or Dependencies().scope(TurnInfo()),
            token=self.token,
            retryable=lambda error: isinstance(error, OSError),
            on_end=self._on_end,
        )
        self._number = 0
        self._told_more = asyncio.Event()

    def prepare(
        self, *calls: ToolCall[Any], gate: asyncio.Future[None] | None = None
    ) -> list[Prepared]:
        """Prepare calls, with ids c1, c2, … and keys k1, k2, and so on."""
        prepared: list[Prepared] = []
        for call in calls:
            self._number += 1
            call_id = CallId(f"c{self._number}")
            key = IdempotencyKey(f"k{self._number}")
            prepared.append(Prepared(call, call_id, key, gate))
        return prepared

    async def run(self, *calls: ToolCall[Any]) -> list[CallEnd]:
        """Run calls as a wave."""
        return await self.runner.run(self.prepare(*calls))

    def start(self, *prepared: Prepared) -> asyncio.Task[list[CallEnd]]:
        """Run a wave in a task of its own, as an agent does."""
        return asyncio.create_task(self.runner.run(prepared))

    async def until_told(self, count: int) -> None:
        """Wait until so many ends were told."""
        while len(self.told) < count:
            self._told_more.clear()
            await self._told_more.wait()

    def _on_end(self, prepared: Prepared, end: CallEnd) -> None:
        self.told.append((prepared.call_id, end.status))
        self.ends.setdefault(prepared.call_id, []).append(end)
        self._told_more.set()
        self.on_end(prepared, end)


class Work:
    """What tools do; notes it down."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.release = QuietEvent()

    def sleep(self, seconds: float = 100, **options: Any) -> ToolCall[Any]:
        async def work() -> str:
            self.log.append("begins")
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise
            self.log.append("ends")
            return "slept"

        return self.call(work, **options)

    def block(self, **options: Any) -> ToolCall[Any]:
        @tool(name="block", **options)
        def work() -> str:
            self.log.append("blocks")
            self.release.wait()
            return "released"

        return work()

    def stubborn(self, seconds: float = 100, **options: Any) -> ToolCall[Any]:
        """Goes on for so many seconds, whatever it is told."""

        async def work() -> str:
            end = asyncio.get_running_loop().time() + seconds
            while (left := end - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    self.log.append("cancelled")
            return "done"

        return self.call(work, **options)

    def call(self, work: Callable[[], Awaitable[Any]], **options: Any) -> ToolCall[Any]:
        """Make a call of a tool that does some work."""

        @tool(name="work", **options)
        async def work_() -> Any:
            return await work()

        return work_()

    def blocking_call(self, work: Callable[[], Any], **options: Any) -> ToolCall[Any]:
        """Make a call of a blocking tool that does some work."""

        @tool(name="work", **options)
        def work_() -> Any:
            return work()

        return work_()

    def raising(self, error: BaseException, **options: Any) -> ToolCall[Any]:
        """Make a call that fails after a second."""

        async def work() -> None:
            await asyncio.sleep(1)
            raise error

        return self.call(work, **options)


@pytest.fixture
def work() -> Work:
    """Work for tools."""
    return Work()


@pytest.fixture
def threads() -> Generator[WorkerThreads]:
    threads = WorkerThreads(4)
    yield threads
    threads.close()


@pytest.fixture
def make_waves(threads: WorkerThreads) -> Callable[..., Waves]:
    """Make a runner; to be called on the loop."""

    def make(scope: Scope | None = None) -> Waves:
        return Waves(threads, scope)

    return make
