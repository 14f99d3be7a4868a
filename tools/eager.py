"""Tasks that begin at once: what never has to wait costs no turn of the loop.

Python 3.12 has them. For 3.11 there is one here that does what those do, by what asyncio documents
for a task of one's own ("Extending"); and it is a ``Task``, which programs and libraries expect to
find as the current one.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import (  # the documented ones for a task of one's own
    _enter_task,
    _leave_task,
    _register_task,
    current_task,
)
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine

_FUTURE: Final[type[asyncio.Future[None]]] = asyncio.Future
"""What a task is apart from its steps."""


class EagerTask(asyncio.Task[None]):
    """A task whose first step is taken when it is made, within whatever runs then.

    Args:
        work: its coroutine.
        loop: the running loop.
        name: of the task.
    """

    __slots__ = (
        "_coro",
        "_fut_waiter",
        "_home",
        "_message",
        "_must_cancel",
        "_name",
        "_requests",
    )

    def __init__(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str
    ) -> None:
        # Not Task's own, which leaves the first step to the loop. What that keeps is kept here,
        # under the names by which libraries (anyio) look at a task.
        _FUTURE.__init__(self, loop=loop)
        self._coro = work
        self._name = name
        self._home = context = copy_context()
        self._fut_waiter: asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._message: Any = None
        self._requests = 0
        outer = current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        try:
            context.run(self._step)
        finally:
            if outer is not None:
                _enter_task(loop, outer)
        if not self.done():
            _register_task(self)

    def _step(self, error: BaseException | None = None) -> None:
        if self._must_cancel:
            if not isinstance(error, asyncio.CancelledError):
                error = self._cancelled()
            self._must_cancel = False
        self._fut_waiter = None
        loop = self._loop
        _enter_task(loop, self)
        try:
            work = self._coro
            waits_for = work.send(None) if error is None else work.throw(error)
        except StopIteration as stop:
            if self._must_cancel:  # asked for in its last step
                _FUTURE.cancel(self, self._message)
            else:
                _FUTURE.set_result(self, stop.value)
        except asyncio.CancelledError:
            _FUTURE.cancel(self, self._message)
        except BaseException as raised:
            _FUTURE.set_exception(self, raised)
            if not isinstance(raised, Exception):
                raise  # as any other task, it ends the loop
        else:
            self._wait_for(waits_for)
        finally:
            _leave_task(loop, self)
            error = None  # its traceback holds this frame, which would hold it

    def _wait_for(self, future: Any) -> None:
        blocking = getattr(future, "_asyncio_future_blocking", None)
        if blocking is None and future is None:
            self._loop.call_soon(self._step, context=self._home)
        elif not blocking or future is self or future.get_loop() is not self._loop:
            wrong = RuntimeError(f"task {self!r} cannot wait for {future!r}")
            self._loop.call_soon(self._step, wrong, context=self._home)
        else:
            future._asyncio_future_blocking = False  # noqa: SLF001 - as every task has to
            future.add_done_callback(self._wake, context=self._home)
            self._fut_waiter = future
            if self._must_cancel and future.cancel(self._message):
                self._must_cancel = False

    def _wake(self, future: asyncio.Future[Any]) -> None:
        try:
            future.result()
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's
            self._step(error)
        else:
            self._step()

    def _cancelled(self) -> asyncio.CancelledError:
        message = self._message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    def cancel(self, msg: Any = None) -> bool:
        """Have the coroutine see a CancelledError; False if it has ended."""
        if self.done():
            return False
        self._requests += 1
        if self._fut_waiter is None or not self._fut_waiter.cancel(msg):
            self._must_cancel = True
            self._message = msg
        return True

    def cancelling(self) -> int:
        """How often it was cancelled, less what was taken back."""
        return self._requests

    def uncancel(self) -> int:
        """Take one request to cancel back; what is left."""
        self._requests = max(0, self._requests - 1)
        return self._requests

    def get_coro(self) -> Coroutine[Any, Any, None]:
        """The coroutine."""
        return self._coro

    def get_name(self) -> str:
        """The name."""
        return self._name

    def set_name(self, value: object, /) -> None:
        """Give it another name."""
        self._name = str(value)


if sys.version_info >= (3, 12):

    def begin_task(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str
    ) -> asyncio.Task[None]:
        """A task, which has run as far as it comes without waiting."""
        return asyncio.Task(work, loop=loop, name=name, eager_start=True)

else:
    begin_task = EagerTask
