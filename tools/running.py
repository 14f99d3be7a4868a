"""Running calls: in a task, in the task of their agent, or in a thread; again, if they may."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from ..messages.errors import InvalidResult
from . import endings
from .call_ends import BEGINNING, COMPLETED, CallEnds, new_end
from .cancellation import CancellationToken
from .context import CURRENT
from .eager import begin_task
from .execution import BlockingJob, CallEnd, Phase
from .retrying import RetriedJob, Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .dependencies import Scope
    from .execution import Gate, Outcome, Prepared
    from .inline import Inline
    from .threads import WorkerThreads
    from .tool import Tool


_RUNNING = Phase.RUNNING  # looked up once, for every call
_ENDED = Phase.ENDED


class CallRunner(CallEnds):
    """Runs calls, each by itself; :class:`WaveRunner` makes waves of them.

    It is a base class and not a part, because what it does is done for every call of every wave.

    Args:
        threads: where blocking tools run.
        scope: the dependencies of the turn, opened.
        retryable: whether an exception is one that a new attempt may get over.
        token: what the tools see as ``current_call().token``; it is not looked at.
        on_end: told of every end.
        loop: the running loop by default.
        time: monotonic seconds, on the loop's clock, which is the default.
    """

    __slots__ = (
        "_enters_scope",
        "_makes_tasks",
        "_no_more_tries",
        "_scope",
        "_time",
        "_token",
        "_trying",
    )

    def __init__(
        self,
        *,
        threads: WorkerThreads,
        scope: Scope,
        retryable: Callable[[BaseException], bool],
        token: CancellationToken | None = None,
        on_end: Callable[[Prepared, CallEnd], None] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        time: Callable[[], float] | None = None,
    ) -> None:
        self._token = token
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self._time = time
        # Unless a program has a way of its own, they begin at once.
        self._makes_tasks = self._loop.get_task_factory() is None
        self._threads = threads
        self._scope = scope
        self._retryable = retryable
        self._on_end = on_end
        self._enters_scope = False
        self._left = 0  # calls of the wave that were not told of as ended
        self._late: tuple[Prepared, ...] = ()  # rare: no container in each turn for them
        self._inline: Inline | None = None
        self._fatal: BaseException | None = None
        self._agent: asyncio.Task[Any] | None = None
        self._cancellings = 0
        self._escaped = False  # whether the agent's cancellation came out of the inline call
        self._trying: set[Tries] | None = None
        self._no_more_tries = False

    @property
    def token(self) -> CancellationToken:
        """What the tools see as ``current_call().token``."""
        if self._token is None:
            self._token = CancellationToken()
        return self._token

    def clock(self) -> float:
        """Monotonic seconds, on the loop's clock unless it was given another."""
        return self._loop.time() if self._time is None else self._time()

    def release(self) -> None:
        """No more waves: let go of who is told of ends, unless a late one may come."""
        if not self._late:
            self._on_end = None

    # Starting

    def _start_behind_gate(self, one: Prepared) -> None:
        if one.gate is None:
            self._begin(one)
        elif one.gate.done():
            self._gate_opened(one, one.gate)
        else:
            one.gate.add_done_callback(partial(self._gate_opened, one))

    def _gate_opened(self, one: Prepared, gate: Gate) -> None:
        if one.end is not None:
            return
        error = asyncio.CancelledError() if gate.cancelled() else gate.exception()
        if error is None:
            self._begin(one)
        else:
            self._ended(one, endings.skipped(error, retryable=self._retryable(error)))

    def _begin(self, one: Prepared) -> None:
        tool = one.tool
        if tool.blocking:
            self._begin_in_thread(one)
        elif tool.retries is None:
            self._task(one, self._perform(one))
        else:
            self._task(one, self._perform(one, self._tried))

    async def _tried(self, one: Prepared) -> Any:
        """Try an async call as often as its tool says."""
        tool, arguments = one.tool, one.call.arguments
        tries = self._tries_of(tool)
        self._trying = self._trying or set()
        self._trying.add(tries)
        try:
            return await tries.work(
                lambda: tool.function(**arguments), lambda: one.asked is not None
            )
        finally:
            self._trying.discard(tries)

    def _tries_of(self, tool: Tool[..., Any]) -> Tries:
        assert tool.retries is not None, "who calls this has looked"
        return tool.retries.begin(self._retryable)

    def _task(self, one: Prepared, work: Coroutine[Any, Any, None]) -> None:
        """Begin a call in a task of its own; most that has nothing to wait for is over then."""
        one.handle = BEGINNING
        task: asyncio.Task[None]
        if self._makes_tasks:
            task = begin_task(work, self._loop, one.call_id)
        else:
            task = self._loop.create_task(work, name=one.call_id)
        if one.phase is not _ENDED:
            one.handle = task
            if one.asked is not None:  # by itself, in its first step
                task.cancel()

    def _begin_in_thread(self, one: Prepared) -> None:
        call, tool = one.call, one.tool
        self._arm(one, tool.timeout)
        if tool.retries is None:
            one.job = BlockingJob(tool.function, call.arguments)
        else:
            one.job = RetriedJob(tool.function, call.arguments, self._tries_of(tool))
        self._submit(one, one.job)

    def _submit(self, one: Prepared, job: BlockingJob) -> None:
        context = copy_context()
        context.run(self._enter, one)
        try:
            future = self._threads.submit(self._loop, context, job)
        except Exception as error:  # noqa: BLE001  no thread is to be had: this call has failed
            self._ended(one, self._failed(error))
        else:
            one.handle = future
            future.add_done_callback(partial(self._thread_ended, one))

    def _is_tried_again(self, one: Prepared, error: BaseException) -> bool:
        """Whether a blocking call that raised is tried again, after a wait on the loop."""
        job = one.job
        if not isinstance(job, RetriedJob) or one.phase is Phase.ABANDONED:
            return False
        if self._no_more_tries:
            return False
        seconds = job.tries.wait_after(error)
        if seconds is None:
            return False
        # There already while it waits: so a stop, or the timeout, can withdraw it.
        one.job = again = job.again(error)
        one.handle = self._loop.call_later(seconds, self._submit, one, again)
        return True

    def _arm(self, one: Prepared, timeout: float | None) -> None:
        if timeout is not None:
            one.deadline = self.clock() + timeout
            one.timer = self._loop.call_later(timeout, self._overdue, one)

    def _enter(self, one: Prepared) -> None:
        CURRENT.set(one)
        if self._enters_scope:
            self._scope.enter()

    async def _perform(
        self, one: Prepared, work: Callable[[Prepared], Coroutine[Any, Any, Any]] | None = None
    ) -> None:
        """Run an async call and tell of its end, whatever that is; nothing may escape."""
        CURRENT.set(one)
        if self._enters_scope:
            self._scope.enter()
        one.phase = _RUNNING
        tool = one.tool
        if tool.timeout is not None:
            self._arm(one, tool.timeout)
        try:
            if work is None:
                value = await tool.function(**one.call.arguments)
            else:
                value = await work(one)
        except BaseException as error:  # out of a task a SystemExit would end the loop
            if isinstance(error, GeneratorExit) and self._is_closing(one):
                raise
            # Without this frame, which knows the call, which knows its end, which has the error.
            end = self._raised(one, error.with_traceback(endings.below(error)))
        else:
            try:
                valid, result = tool.accept(value)
            except Exception as error:  # noqa: BLE001  whatever a foreign validator raises
                end = self._failed(error)
            else:
                end = new_end(CallEnd, (COMPLETED, valid, result, None, None))
        self._ended(one, end)
        del one, end  # from Python 3.12 on, the error's own frames know this one

    def _thread_ended(self, one: Prepared, future: asyncio.Future[Outcome]) -> None:
        if one.phase is Phase.ENDED:  # it was withdrawn
            return
        if future.cancelled():  # the threads were closed under it
            self._ended(one, endings.abandoned(one.tool))
            return
        value, error = future.result()
        if error is not None and self._is_tried_again(one, error):
            return
        if error is not None:
            end = self._raised(one, error)
        elif inspect.iscoroutine(value):
            value.close()
            msg = f"tool {one.tool.name!r} returned a coroutine: define it with `async def`"
            end = self._failed(InvalidResult(msg))
        else:
            end = self._returned(one.tool, value)
        self._ended(one, end)
