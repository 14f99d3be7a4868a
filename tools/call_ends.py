"""How calls end: asked to, by themselves or late; each is told of as ended exactly once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from ..messages.reasons import CallStatus
from . import endings
from .execution import Asked, CallEnd, Phase, Prepared
from .inline import Inline
from .retrying import RetriedJob, TriesEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from .threads import WorkerThreads
    from .tool import Tool


# Looked up once, for it is done for every call: an enum's member costs 55 ns on its class.
_ABANDONED = Phase.ABANDONED
_ENDED = Phase.ENDED
COMPLETED = CallStatus.COMPLETED
# 70 ns instead of the 150 ns of a named tuple's own.
new_end: Callable[[type[CallEnd], tuple[Any, ...]], CallEnd] = cast("Any", tuple).__new__


class Beginning:
    """Stands for a task that is about to begin, or is in its first step."""

    def cancel(self) -> None:
        """Nothing yet: when the step is over, it is looked at who asked for that meanwhile."""


BEGINNING: Final = Beginning()


class CallEnds:
    """The ends of calls; :class:`CallRunner`, which begins them, also makes what is kept here."""

    __slots__ = (
        "_agent",
        "_cancellings",
        "_escaped",
        "_fatal",
        "_inline",
        "_late",
        "_left",
        "_loop",
        "_on_end",
        "_retryable",
        "_threads",
    )

    _agent: asyncio.Task[Any] | None
    _cancellings: int
    _escaped: bool
    _fatal: BaseException | None
    _inline: Inline | None
    _late: tuple[Prepared, ...]
    _left: int
    _loop: asyncio.AbstractEventLoop
    _on_end: Callable[[Prepared, CallEnd], None] | None
    _retryable: Callable[[BaseException], bool]
    _threads: WorkerThreads

    def _all_ended(self) -> None:
        """The last call that was left was told of as ended."""
        raise NotImplementedError

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
        one.phase = _ABANDONED
        self._late += (one,)
        if one.job is not None:
            self._threads.abandon()
            disarm(one)  # an async call keeps its timer: it can still be ended by it
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
        return new_end(CallEnd, (COMPLETED, valid, result, None, None))

    def _raised(self, one: Prepared, error: BaseException) -> CallEnd:
        if isinstance(error, TriesEnded):
            return self._failed(error.__cause__ or error)
        if not isinstance(error, Exception | asyncio.CancelledError):
            if one.phase is not _ABANDONED:
                self._fatal = self._fatal or error
            return self._failed(error)
        is_cancel = isinstance(error, asyncio.CancelledError)
        if is_cancel and is_inline(one):
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

    def _ended(self, one: Prepared, end: CallEnd) -> None:
        """Tell of an end, and wake who waits for it."""
        if one.timer is not None:
            disarm(one)
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
        if is_inline(one):
            return self._escaped
        if handle is BEGINNING:
            handle = asyncio.current_task(self._loop)
        if isinstance(handle, asyncio.Task):
            return cast("asyncio.Task[None]", handle).cancelling() > 0
        return False

    def _is_closing(self, one: Prepared) -> bool:
        """Whether a GeneratorExit is the end of the coroutine, and not something a tool raised."""
        if isinstance(one.handle, Inline):
            return one.handle.is_closing
        return not self._loop.is_running()


def is_inline(one: Prepared) -> bool:
    """Whether a call that is running runs in the agent's task; it has no handle at first."""
    return one.handle is None or isinstance(one.handle, Inline)


def disarm(one: Prepared) -> None:
    """The call has no timeout any more."""
    if one.timer is not None:
        one.timer.cancel()
        one.timer = None
