"""Undoing one completed call: one try of its tool's compensation, in an actor of its own."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages.errors import WavebreakError
from ..tools.cancellation import CancellationToken
from ..tools.compensation import CompletedCall, undo_key
from ..tools.context import CURRENT, CallContext
from ..tools.dependencies import TurnInfo
from ..tools.execution import BlockingJob
from .actor import AsyncioActor
from .current import enter_turn

if TYPE_CHECKING:
    from ..messages.ids import SessionKey
    from ..messages.records import CallRecord
    from ..tools.execution import Outcome
    from ..tools.threads import WorkerThreads
    from ..tools.tool import Tool
    from .mailbox import Envelope
    from .turn_engine import Environment


LINGERS = 5.0
"""Seconds that an async compensation has to end in when its time is over."""


class StillRuns(WavebreakError, TimeoutError):
    """A compensation is over its time and does not end: it is not tried again beside itself."""


class _Tried(NamedTuple):
    """The try is over; to the actor, from its task."""

    error: BaseException | None


class CompensatingActor(AsyncioActor):
    """Undoes one call, and ends: in order, or by what the compensation raised.

    It is no part of the session and of no runtime, so that neither a stop nor their deaths cut it.

    Args:
        key: the session's.
        call: the record of the call that is undone.
        environment: what all turns share.
        timeout: seconds a try may take, where the tool has no timeout of its own.
    """

    __slots__ = ("_call", "_environment", "_key", "_limit", "_token", "_until", "_work")

    capacity = None

    def __init__(
        self, key: SessionKey, call: CallRecord, environment: Environment, timeout: float
    ) -> None:
        super().__init__()
        self._key = key
        self._call = call
        self._environment = environment
        self._limit = timeout
        self._token = CancellationToken()
        self._until: float | None = None
        self._work: asyncio.Task[None] | None = None

    def context(self) -> CallContext:
        """The undoing as its function sees it by ``current_call()``."""
        call, key = self._call, undo_key(self._call.idempotency_key)
        return CallContext(call.call_id, key, self._token, self._until, self._loop.time)

    def handle(self, envelope: Envelope) -> Any:
        """End when the try is over; by its error, if it ended by one."""
        message = envelope.message
        if isinstance(message, _Tried):
            if message.error is not None:
                raise message.error
            return self._stop()
        return super().handle(envelope)

    def _start_actor_loop(self) -> None:
        self._actor_start_here()

    def _actor_loop_running(self) -> None:
        super()._actor_loop_running()
        self._work = self._loop.create_task(self._try())

    def on_stop(self) -> None:
        """The system closes over it; the next start of the session has the call undone again."""
        if self._work is not None:
            self._work.cancel()

    async def _try(self) -> None:
        """Undo the call; nothing that is raised leaves this coroutine."""
        enter_turn(self._key)
        CURRENT.set(self)
        tenant, session_id = self._key
        scope = self._environment.dependencies.scope(
            TurnInfo(tenant, session_id, self._call.senders)
        )
        error: BaseException | None = None
        try:
            scope.enter()
            await scope.open()
            await self._undo()
        except BaseException as raised:  # noqa: BLE001 - SystemExit would end the loop
            error = raised
        try:
            await scope.close()
        except BaseException as raised:  # noqa: BLE001 - as above; what came first counts
            error = error or raised
        self._work = None
        if self.actor_ref.is_alive():
            self.hand(_Tried(error))

    async def _undo(self) -> None:
        call = self._call
        tool = self._environment.toolbox.compensating(call.tool, call.version)
        compensation = tool.compensation
        assert compensation is not None, "the toolbox has looked"
        completed = CompletedCall(
            call.tool,
            tool.bind(call.arguments).arguments,
            call.call_id,
            call.idempotency_key,
        )
        result = tool.restore(call.result)
        if tool.timeout is not None:
            self._limit = tool.timeout
        self._until = self._loop.time() + self._limit
        if compensation.blocking:
            made = await self._in_thread(tool, completed, result)
        else:
            made = compensation.function(completed, result)
        if inspect.isawaitable(made):
            await self._awaited(made)

    async def _awaited(self, made: Any) -> None:
        """Await it in a task of its own: it may swallow that it is cancelled."""
        task = self._loop.create_task(_caught(made))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._limit)
            if not done:
                self._token.cancel("the time of the compensation is over")
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=LINGERS)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            raise StillRuns(self._overdue())
        error = None if task.cancelled() else task.result()
        if task.cancelled() or isinstance(error, asyncio.CancelledError):
            raise TimeoutError(self._overdue())
        if error is not None:
            raise error

    async def _in_thread(self, tool: Tool[..., Any], completed: CompletedCall, result: Any) -> Any:
        assert tool.compensation is not None, "who calls this has looked"
        threads = self._environment.threads
        job = BlockingJob(partial(tool.compensation.function, completed, result), {})
        future = threads.submit(self._loop, copy_context(), job)
        await asyncio.wait({future}, timeout=self._limit)
        if not future.done():
            self._token.cancel("the time of the compensation is over")
            if job.withdraw():
                future.cancel()
                raise TimeoutError(self._overdue())
            threads.abandon()
            future.add_done_callback(partial(_counted_out, threads))
            raise StillRuns(self._overdue())
        outcome: Outcome = future.result()
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def _overdue(self) -> str:
        return f"the compensation of tool {self._call.tool!r} did not end within {self._limit} s"


async def _caught(made: Any) -> BaseException | None:
    """Await it, and give what it raised: raised out of a task, a SystemExit would end the loop."""
    try:
        await made
    except BaseException as error:  # noqa: BLE001 - it is raised again where it belongs
        return error
    return None


def _counted_out(threads: WorkerThreads, _future: asyncio.Future[Any]) -> None:
    threads.recover()
