"""Running a coroutine inside the task that waits for it, as if it had a task of its own.

A task costs 3-6 µs and a turn of the loop, awaiting directly 0.1 µs, so the last call of a wave
runs inside the agent's task. What a task gives has to be given here then: contextvars of its own,
and a ``cancel()`` that reaches the coroutine and not the agent around it. And ``detach()``, which
no task has: it lets the agent go on when the coroutine does not end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context

_NOTHING: Final = object()


class Inline:
    """Steps a coroutine in a context of its own; await it, once more if it was detached.

    Args:
        coroutine: what to run; it must catch what its work raises.
        context: its contextvars.
        loop: the running loop.
        waits_for: what the coroutine has yielded, if it was stepped already.
    """

    __slots__ = (
        "_asked",
        "_context",
        "_coroutine",
        "_detached",
        "_loop",
        "_must_cancel",
        "_waiter",
        "_waits_for",
        "is_closing",
        "is_done",
        "kept_back",
        "thrown",
    )

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        context: Context,
        loop: asyncio.AbstractEventLoop,
        waits_for: Any = _NOTHING,
    ) -> None:
        self._coroutine = coroutine
        self._context = context
        self._loop = loop
        self._waits_for = waits_for  # what the coroutine yielded and is not over
        self._waiter: asyncio.Future[None] | None = None
        self._asked = False
        self._must_cancel = False
        self._detached = False
        self.is_closing = False
        self.is_done = False
        self.thrown: asyncio.CancelledError | None = None  # the last one, ours or the agent's
        self.kept_back = False  # whether the agent's was not handed on

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to await: it is done, or was detached."""
        return self.is_done or self._detached

    def cancel(self) -> None:
        """Have the coroutine see a CancelledError, as ``Task.cancel`` does."""
        self._asked = True
        if not self._cancel_waited():
            self._must_cancel = True

    def detach(self) -> None:
        """Have the await return although the coroutine goes on; to be called after cancel()."""
        self._detached = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def finish(self) -> None:
        """Run the rest of a detached coroutine."""
        self._detached = False
        await self

    def __await__(self) -> Generator[Any, None, None]:
        error: BaseException | None = None
        while True:
            if self._waits_for is _NOTHING:
                try:
                    if error is None:
                        self._waits_for = self._context.run(self._coroutine.send, None)
                    else:
                        self._waits_for = self._context.run(self._coroutine.throw, error)
                except StopIteration:
                    self.is_done = True
                    return
                finally:
                    error = None  # its traceback holds this frame, which would hold it
            if self._detached:
                return
            waits_for = self._waits_for
            if waits_for.__class__ is asyncio.Future and not (self._asked or self._must_cancel):
                # Over as soon as it is cancelled, so the agent's task can wait for it itself.
                try:
                    yield waits_for
                except BaseException as caught:  # noqa: BLE001  it is the coroutine's, or our end
                    error = self._caught(caught)
                else:
                    error = self._went_on()
            else:
                error = yield from self._wait(waits_for)

    def _wait(self, waits_for: Any) -> Generator[Any, None, BaseException | None]:
        """Wait for what the coroutine waits for; gives what to throw into it, if anything."""
        if self._must_cancel and self._cancel_waited():
            self._must_cancel = False
        try:
            # A task takes its time when it is cancelled, and detach() must get through meanwhile.
            if not (asyncio.isfuture(waits_for) and waits_for.get_loop() is self._loop):
                yield waits_for
            else:
                yield from self._watch(waits_for)
                if self._detached and not waits_for.done():
                    return None
        except BaseException as error:  # noqa: BLE001  it is the coroutine's, or our end
            return self._caught(error)
        return self._went_on()

    def _caught(self, error: BaseException) -> BaseException:
        """Take what came instead of what was waited for; it is the coroutine's, and goes there."""
        if isinstance(error, GeneratorExit):
            self.is_closing = True
            self._coroutine.close()
            raise error
        self._waits_for = _NOTHING
        if isinstance(error, asyncio.CancelledError):
            self.thrown = error
            self._must_cancel = False
        return error

    def _went_on(self) -> BaseException | None:
        """What was waited for is over; gives what was asked for meanwhile."""
        self._waits_for = _NOTHING
        if self._must_cancel:
            self._must_cancel = False
            return asyncio.CancelledError()
        return None

    def _watch(self, future: asyncio.Future[Any]) -> Generator[Any, None, None]:
        """Wait for a future through one of our own."""
        future.add_done_callback(self._wake)
        try:
            while not (future.done() or self._detached):
                self._waiter = self._loop.create_future()
                try:
                    yield from self._waiter
                except asyncio.CancelledError as error:
                    # The agent's task was cancelled: hand it on, as a task that waits does, but
                    # not after our own cancel(), or the clean-up would be cut short.
                    self.thrown = error
                    if self._asked:
                        self.kept_back = True
                    elif not future.cancel():
                        raise
        finally:
            self._waiter = None
            future.remove_done_callback(self._wake)

    def _wake(self, future: asyncio.Future[Any]) -> None:
        del future
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cancel_waited(self) -> bool:
        return asyncio.isfuture(self._waits_for) and self._waits_for.cancel()
