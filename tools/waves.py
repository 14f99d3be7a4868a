"""The wave runner: runs tool calls concurrently, and knows at any moment how each stands."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from ..messages.errors import WaveInProgress
from . import endings
from .execution import Prepared
from .inline import Inline
from .retrying import RetriedJob
from .running import CallRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages.ids import CallId
    from .cancellation import CancellationToken
    from .dependencies import Scope
    from .execution import CallEnd, Gate
    from .threads import WorkerThreads


class WaveRunner(CallRunner):
    """Runs the waves of one turn, one at a time.

    ``on_end`` is called synchronously, once for each call, as it ends. A call that was abandoned
    (or is blocking and over its timeout) ends twice: first when nobody waits for it any more, and
    once more when its real end is seen; ``prepared.end`` stays the first.

    The arguments are those of :class:`CallRunner`.
    """

    __slots__ = ("_draining", "_stopped", "_tails", "_waiter", "_wave")

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
        super().__init__(
            threads=threads,
            scope=scope,
            retryable=retryable,
            token=token,
            on_end=on_end,
            loop=loop,
            time=time,
        )
        self._wave: Sequence[Prepared] = ()
        self._stopped = False
        self._tails: set[asyncio.Task[None]] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._draining: list[asyncio.Future[None]] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call of the last wave was not told of as ended."""
        return self._left > 0

    @property
    def open(self) -> tuple[Prepared, ...]:
        """The calls whose real end was not seen yet, abandoned ones too."""
        return (*[one for one in self._wave if one.end is None], *self._late)

    @property
    def protected_left(self) -> float:
        """Seconds that running protected calls have left of their timeouts; 0 without any."""
        running = [one for one in self._wave if one.end is None and one.tool.protected]
        ends = [one.deadline for one in running if one.deadline is not None]
        return max(0.0, max(ends) - self.clock()) if ends else 0.0

    async def run(self, prepared: Sequence[Prepared]) -> list[CallEnd]:
        """Run a wave; it never raises for a call that failed.

        Args:
            prepared: the calls.

        Returns:
            Their ends, in their order.

        Raises:
            WaveInProgress: the wave before it still runs.
            CancelledError: the agent's own task was cancelled. Every call has ended then, or was
                abandoned; only after :meth:`cancel` some may be open still, and told of later.
            BaseException: what a tool raised that is no Exception (SystemExit), after the wave.
        """
        if self.begin(prepared):
            await self.join()
        return [one.end for one in prepared if one.end is not None]

    async def hold(
        self, prepared: Sequence[Prepared], opens: asyncio.Future[None] | None
    ) -> Sequence[Prepared]:
        """Have a wave wait as a whole, before it begins; nobody but the agent waits for that.

        Args:
            prepared: the calls.
            opens: done when they may begin; an error in it skips them. None if they may now.

        Returns:
            those that are left, for :meth:`begin`.

        Raises:
            CancelledError: the agent's own task was cancelled; none of them is started.
        """
        if opens is None:
            return prepared
        self._wave = prepared
        self._left = len(prepared)
        self._waiter = opens
        try:
            await opens
        except asyncio.CancelledError:
            for one in prepared:
                if one.end is None:
                    self._withdraw(one)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is why they are skipped
            end = endings.skipped(error, retryable=self._retryable(error))
            for one in prepared:
                if one.end is None:
                    self._ended(one, end)
        self._left = 0
        return [one for one in prepared if one.end is None]

    def begin(self, prepared: Sequence[Prepared]) -> bool:
        """Start a wave, and run it as far as it comes without waiting.

        Returns:
            Whether anything is left, and :meth:`join` is to be awaited at once.

        Raises:
            WaveInProgress: the wave before it still runs.
        """
        if self._left:
            msg = "a wave runs: await it before you start the next"
            raise WaveInProgress(msg)
        self._agent = agent = asyncio.current_task(self._loop)
        self._cancellings = 0 if agent is None else agent.cancelling()
        self._enters_scope = not self._scope.is_active
        self._wave = prepared
        self._left = len(prepared)
        inline = None if self._stopped else _inlinable(prepared)
        for one in prepared:
            one.host = self
            if one is inline or one.end is not None:  # on_end may have cancelled the wave
                continue
            if self._stopped:
                self._ended(one, endings.SKIPPED)
            elif one.gate is not None or not one.tool.is_one_task:
                self._start_behind_gate(one)
            else:
                self._task(one, self._perform(one))
        if inline is not None and inline.end is None:
            self._step(inline)
        if self._left or self._inline is not None or self._fatal is not None:
            return True
        self._agent = None
        return False

    @property
    def inline(self) -> Inline | None:
        """The call that runs in the agent's task, if one does and has not ended.

        Who awaits it by itself, and :meth:`join` only when the wave is not :meth:`settled` then,
        saves a coroutine that would stay for as long as the wave does.
        """
        return self._inline

    def settled(self) -> bool:
        """Take note that the wave is over; False if :meth:`join` is to be awaited."""
        if self._left or self._fatal is not None:
            return False
        inline = self._inline
        if inline is not None and (inline.thrown is not None or not inline.is_done):
            return False
        self._inline = self._agent = None
        return True

    def _step(self, one: Prepared) -> None:
        """Run a call as far as it comes without waiting; most that is left needs no more."""
        work = self._perform(one)
        context = copy_context()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration:
            return
        self._inline = inline = Inline(work, context, self._loop, waits_for)
        one.handle = inline
        if one.asked is not None:  # by itself, in its first step
            inline.cancel()
        if one.end is not None:
            inline.detach()

    async def join(self) -> None:
        """Wait until the wave is over; raises what :meth:`run` does."""
        cancelled: asyncio.CancelledError | None = None
        inline = self._inline
        if inline is not None:
            if not inline.is_over:
                await inline
            self._inline = None
            if inline.thrown is not None or not inline.is_done:
                cancelled = self._cancellation_behind(inline)
        # After cancel() the agent may go, and the open calls still have their time to end.
        while self._left and not (cancelled is not None and self._stopped):
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                cancelled = self._give_up(error, cancelled)
        self._agent = None
        if self._fatal is not None:
            fatal, self._fatal = self._fatal, None
            raise fatal
        if cancelled is not None:
            # Another one: what this leads through has the calls, and that is the end of one.
            raise asyncio.CancelledError(*cancelled.args)

    def cancel(self) -> None:
        """End what is not protected, and start nothing more.

        A call that was not started is skipped. An async one sees a CancelledError. A blocking or
        protected one stays open until it ends or is abandoned.
        """
        self._stopped = True
        self.end_tries()
        for one in self._wave:
            if one.end is None and not self._withdraw(one):
                self._cut(one)

    def cancel_reads(self) -> None:
        """As :meth:`cancel`, but what was started and is not a read goes on to its end."""
        self._stopped = True
        self.end_tries()
        for one in self._wave:
            if one.end is None and not self._withdraw(one) and one.tool.is_read:
                self._cut(one)

    @property
    def is_writing_inline(self) -> bool:
        """Whether what would be cancelled with the agent's task is a call that is no read."""
        inline = self._inline
        return inline is not None and any(
            one.handle is inline and not one.tool.is_read for one in self._wave
        )

    def end_tries(self) -> None:
        """Have no call tried again; what waits for its next try ends by its last error."""
        self._no_more_tries = True
        for tries in tuple(self._trying or ()):
            tries.end()
        for one in self._wave:
            if one.end is None and isinstance(one.job, RetriedJob) and one.job.last is not None:
                self._withdraw(one)

    def release(self) -> None:
        """No more waves: let go of who is told of ends, and of the last wave."""
        super().release()
        self._wave = ()

    def abandon(self) -> list[CallId]:
        """Cancel, and wait no longer for what is open; its late end is still told.

        Returns:
            The calls that were open.
        """
        self.cancel()
        return self._abandon_all()

    async def drained(self) -> None:
        """Wait until every call of the wave was told of as ended; abandoned ones are."""
        while self._left:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._draining = [*(self._draining or ()), waiter]
            await waiter

    def _cancellation_behind(self, inline: Inline) -> asyncio.CancelledError | None:
        """The agent's cancellation, if that and not a tool has cancelled the agent's task.

        An ``asyncio.timeout`` or ``TaskGroup`` within the tool cancels the task that it runs in,
        to catch that itself, and the groups of Python 3.11 do not take it back. So it was the
        agent if it came out of the tool, or if the tool was told to stop anyway.
        """
        if not inline.is_done:
            tail = self._loop.create_task(inline.finish())
            self._tails = self._tails or set()
            self._tails.add(tail)
            tail.add_done_callback(self._tails.discard)
        escaped, self._escaped = self._escaped, False
        thrown, inline.thrown = inline.thrown, None  # which leads through the frames of inline
        if thrown is None or not self._agent_is_cancelled():
            return None
        if escaped or inline.kept_back or self._stopped:
            return self._give_up(thrown, None)
        while self._agent is not None and self._agent.cancelling() > self._cancellings:
            self._agent.uncancel()
        return None

    def _give_up(
        self, error: asyncio.CancelledError, before: asyncio.CancelledError | None
    ) -> asyncio.CancelledError:
        """The agent does not wait any more: end what can be ended, and abandon the rest."""
        if before is not None:  # cancelled once more while the calls clean up
            self._abandon_all()
            return before
        if self._stopped:  # it was ended already as far as it can be
            return error
        for one in self._wave:
            if one.end is not None or self._withdraw(one):
                continue
            if one.job is not None or one.tool.protected:
                self._abandon(one, endings.abandoned(one.tool))
            else:
                self._cut(one)
        return error

    def _all_ended(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._draining:
            draining, self._draining = self._draining, None
            for waiter in draining:
                if not waiter.done():
                    waiter.set_result(None)

    def _abandon_all(self) -> list[CallId]:
        left = [one for one in self._wave if one.end is None]
        for one in left:
            self._abandon(one, endings.abandoned(one.tool))
        return [one.call_id for one in left]


def _inlinable(prepared: Sequence[Prepared]) -> Prepared | None:
    """The last call that can run in the agent's task."""
    for one in reversed(prepared):
        if one.tool.is_inlinable and (one.gate is None or _is_open(one.gate)):
            return one
    return None


def _is_open(gate: Gate) -> bool:
    return gate.done() and not gate.cancelled() and gate.exception() is None
