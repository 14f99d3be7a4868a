"""Running one call: starting it, asking it to end, and telling of its end exactly once."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from ..messages.errors import InvalidResult
from ..messages.reasons import CallStatus
from . import endings
from .cancellation import CancellationToken
from .context import CURRENT
from .eager import begin_task
from .execution import Asked, BlockingJob, CallEnd, Phase, Prepared
from .inline import Inline
from .retrying import RetriedJob, Tries, TriesEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .dependencies import Scope
    from .execution import Gate, Outcome
    from .threads import WorkerThreads
    from .tool import Tool


# An enum's member costs 55 ns to look up on its class, and this is done for every call.
_RUNNING = Phase.RUNNING
_ABANDONED = Phase.ABANDONED
_ENDED = Phase.ENDED
_COMPLETED = CallStatus.COMPLETED
# 70 ns instead of the 150 ns of a named tuple's own.
_new_end: Callable[[type[CallEnd], tuple[Any, ...]], CallEnd] = cast("Any", tuple).__new__


class _Beginning:
    """Stands for a task that is about to begin, or is in its first step."""

    def cancel(self) -> None:
        """Nothing yet: when the step is over, it is looked at who asked for that meanwhile."""


_BEGINNING: Final = _Beginning()


class CallRunner:
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
        "_agent",
        "_cancellings",
        "_enters_scope",
        "_escaped",
        "_fatal",
        "_inline",
        "_late",
        "_left",
        "_loop",
        "_makes_tasks",
        "_no_more_tries",
        "_on_end",
        "_retryable",
        "_scope",
        "_threads",
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

    def _all_ended(self) -> None:
        """The last call that was left was told of as ended."""
        raise NotImplementedError

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
        one.handle = _BEGINNING
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
                end = _new_end(CallEnd, (_COMPLETED, valid, result, None, None))
        self._ended(one, end)
        del one, end  # from Python 3.12 on, the error's own frames know this one

    # Stopping

    def _withdraw(self, one: Prepared) -> bool:
        """Have a call never start, if it has not."""
        if one.phase is not Phase.WAITING or (one.job is not None and not one.job.withdraw()):
            return False
        if one.handle is not None:
            one.handle.cancel()
        last = one.job.last if isinstance(one.job, RetriedJob) else None
        # Between two tries it was started, and its end was seen.
        self._ended(one, endings.SKIPPED if last is None else self._failed(last))
        return True

    def _cut(self, one: Prepared) -> None:
        """Ask an async call to end, once; what is protected or in a thread goes on."""
        if one.job is None and one.asked is None and not one.tool.protected:
            self._ask(one, Asked.STOP)

    def _ask(self, one: Prepared, why: Asked) -> None:
        one.asked = why
        if one.handle is not None:
            one.handle.cancel()

    def _abandon(self, one: Prepared, end: CallEnd) -> None:
        """Tell of a call as ended, although it goes on."""
        one.phase = Phase.ABANDONED
        self._late += (one,)
        if one.job is not None:
            self._threads.abandon()
            _disarm(one)  # an async call keeps its timer: it can still be ended by it
        if self._inline is not None and one.handle is self._inline:
            self._inline.detach()
        self._told(one, end)

    def _overdue(self, one: Prepared) -> None:
        one.timer = None
        tool = one.tool
        if one.job is None:
            if one.asked is None:
                self._ask(one, Asked.TIMEOUT)
        elif one.job.withdraw():
            if one.handle is not None:
                one.handle.cancel()
            self._ended(one, self._failed(endings.overdue(tool)))
        else:
            error = endings.overdue(tool)
            self._abandon(one, endings.timed_out(tool, None, retryable=self._retryable(error)))

    # Ending

    def _returned(self, tool: Tool[..., Any], value: Any) -> CallEnd:
        try:
            valid, result = tool.accept(value)
        except Exception as error:  # noqa: BLE001  whatever a foreign validator raises
            return self._failed(error)
        return _new_end(CallEnd, (_COMPLETED, valid, result, None, None))

    def _raised(self, one: Prepared, error: BaseException) -> CallEnd:
        if isinstance(error, TriesEnded):
            return self._failed(error.__cause__ or error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            if one.phase is not Phase.ABANDONED:
                self._fatal = self._fatal or error
            return self._failed(error)
        is_cancel = isinstance(error, asyncio.CancelledError)
        if is_cancel and _is_inline(one):
            self._escaped = self._agent_is_cancelled()
        tool = one.tool
        if one.asked is Asked.TIMEOUT:
            retryable = self._retryable(endings.overdue(tool))
            return endings.timed_out(tool, error, retryable=retryable)
        if one.asked is Asked.STOP or (is_cancel and self._was_cut_by_others(one)):
            return endings.cut_off(tool, error)
        return self._failed(error)

    def _failed(self, error: BaseException) -> CallEnd:
        return endings.failed(error, retryable=self._retryable(error))

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

    def _ended(self, one: Prepared, end: CallEnd) -> None:
        """Tell of an end, and wake who waits for it."""
        if one.timer is not None:
            _disarm(one)
        is_late = one.phase is _ABANDONED
        one.phase = _ENDED
        one.handle = None  # its task holds a context, and that holds the call
        if is_late:
            self._ended_late(one, end)
        else:
            self._told(one, end)

    def _told(self, one: Prepared, end: CallEnd) -> None:
        one.end = end
        try:
            self._tell(one, end)
        except BaseException as error:  # noqa: BLE001  raised by run(), once the wave is over
            self._fatal = self._fatal or error
        self._left = left = self._left - 1
        if not left:
            self._all_ended()

    def _ended_late(self, one: Prepared, end: CallEnd) -> None:
        """It was told of as ended when it was abandoned; its wave is over, or does not wait."""
        self._late = tuple(late for late in self._late if late is not one)
        if one.job is not None:
            self._threads.recover()
        try:
            self._tell_late(one, end)
        except BaseException as error:  # noqa: BLE001  as above
            self._fatal = self._fatal or error

    def _tell(self, one: Prepared, end: CallEnd) -> None:
        """Tell of an end; a subclass may do something else."""
        if self._on_end is not None:
            self._on_end(one, end)

    def _tell_late(self, one: Prepared, end: CallEnd) -> None:
        """Tell of the real end of a call that was told of as ended before; as ``_tell``."""
        self._tell(one, end)

    def _agent_is_cancelled(self) -> bool:
        return self._agent is not None and self._agent.cancelling() > self._cancellings

    def _was_cut_by_others(self, one: Prepared) -> bool:
        """Whether somebody else cancelled the task that the call runs in."""
        handle = one.handle
        if _is_inline(one):
            return self._escaped
        if handle is _BEGINNING:
            handle = asyncio.current_task(self._loop)
        if isinstance(handle, asyncio.Task):
            return cast("asyncio.Task[None]", handle).cancelling() > 0
        return False

    def _is_closing(self, one: Prepared) -> bool:
        """Whether a GeneratorExit is the end of the coroutine, and not something a tool raised."""
        if isinstance(one.handle, Inline):
            return one.handle.is_closing
        return not self._loop.is_running()


def _is_inline(one: Prepared) -> bool:
    """Whether a call that is running runs in the agent's task; it has no handle at first."""
    return one.handle is None or isinstance(one.handle, Inline)


def _disarm(one: Prepared) -> None:
    if one.timer is not None:
        one.timer.cancel()
        one.timer = None
