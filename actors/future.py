"""One future for coroutines and for threads."""

from __future__ import annotations

import asyncio
import functools
import queue
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import pykka
from loguru import logger

from ..messages.errors import WouldDeadlock
from .mailbox import running_on

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    ExcInfo: TypeAlias = tuple[
        type[BaseException] | None, BaseException | None, TracebackType | None
    ]

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")

_Told: TypeAlias = "Callable[[Future[T]], object] | asyncio.Future[None]"

_LOOK_AGAIN = 1.0
"""Seconds after which a blocked ``get()`` looks whether its loop has been closed under it."""


class _Several(list[Any]):
    """Those who are told of one future, when they are more than one."""

    __slots__ = ()


class Future(pykka.Future[T], Generic[T]):
    """A value that comes later: awaited on any loop, or got from any other thread.

    A waiter that is cancelled, or that gives up, cancels nothing. An error that nobody asks for
    is not complained about. ``map`` and its like are worked out when the value comes, on the
    thread that brings it, and never block.

    Args:
        loop: the loop that will complete it; on its own thread ``get()`` cannot wait. With None
            ``get()`` waits on no thread that runs a loop.
    """

    __slots__ = ("_callbacks", "_done", "_error", "_loop", "_value")

    # One for all, held for some bytecodes at a time, and nothing of a user's runs while it is.
    # It can be taken again: a finalizer may come in between, and complete another future.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    # What few futures have is not prepared in each of them.
    _hook: Callable[[float | None], T] | None = None
    _hook_runs: bool = False
    _traceback: TracebackType | None = None

    _value: Any  # a T, once it is done
    _error: BaseException | None

    # Who is told: nobody, one, or several; a coroutine that waits is there as what it waits for.
    _callbacks: Callable[[Future[T]], object] | asyncio.Future[None] | _Several | None

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        # Pykka's own __init__ only prepares what is replaced here; value and error are there
        # once it is done.
        self._loop = loop
        self._done = False
        self._callbacks = None

    def __repr__(self) -> str:
        if not self._done:
            return "<Future pending>"
        return f"<Future {self._error!r}>" if self._error else f"<Future {self._value!r}>"

    # --- completing it --------------------------------------------------------------------------

    def set(self, value: T | None = None) -> None:
        """Complete it with a value, from any thread.

        Raises:
            queue.Full: it was completed before.
        """
        if not self._complete(value, None):
            raise queue.Full

    def set_error(self, error: BaseException) -> None:
        """Complete it with an error, from any thread.

        Raises:
            queue.Full: it was completed before.
        """
        if not self._complete(None, error):
            raise queue.Full

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Complete it with an error the way Pykka does.

        Args:
            exc_info: as of ``sys.exc_info()``, which is taken when there is none.

        Raises:
            queue.Full: it was completed before.
            TypeError: there is no exception to be set.
        """
        kind, error, traceback = exc_info or sys.exc_info()
        if error is None:
            if kind is None:
                msg = "no exception is being handled: pass exc_info, or use set_error(error)"
                raise TypeError(msg)
            error = kind()
        self.set_error(error.with_traceback(traceback))

    def try_set(self, value: T | None = None) -> bool:
        """Complete it with a value, unless it is complete; say whether it was this one."""
        return self._complete(value, None)

    def try_set_error(self, error: BaseException) -> bool:
        """Complete it with an error, unless it is complete; say whether it was this one."""
        return self._complete(None, error)

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have a blocking function make the value when somebody asks for it.

        Args:
            func: called with a timeout in seconds or None: by ``get()`` on its own thread, for
                any other waiter on a daemon thread, so that it never blocks a loop.

        Raises:
            queue.Full: it was completed before.
        """
        with self._lock:
            if self._done:
                raise queue.Full
            self._hook = func
            waited_for = self._callbacks is not None
        if waited_for:
            self._run_hook()

    def _complete(
        self, value: T | None, error: BaseException | None, *, by_hook: bool = False
    ) -> bool:
        with self._lock:
            if self._done or (self._hook is not None and not by_hook):
                return False
            self._value = value
            self._error = error
            if error is not None:
                self._traceback = error.__traceback__
            self._done = True
            callbacks, self._callbacks = self._callbacks, None
        if isinstance(callbacks, _Several):
            for callback in callbacks:
                self._call(callback)
        elif callbacks is not None:
            self._call(callbacks)
        return True

    def _call(self, callback: _Told[T]) -> None:
        try:
            if isinstance(callback, asyncio.Future):
                _wake(callback)  # pyright: ignore[reportUnknownArgumentType] - of one parameter
            else:
                callback(self)
        except BaseException as error:  # noqa: BLE001 - it must end neither the setter nor its loop
            logger.opt(exception=error).error("a callback of a future failed: {!r}", callback)

    def _run_hook(self) -> None:
        """Have the hook make the value on a thread of its own, once."""
        with self._lock:
            hook = self._hook
            if hook is None or self._hook_runs or self._done:
                return
            self._hook_runs = True
        _in_thread(functools.partial(_ferry, hook, self))

    # --- waiting for it -------------------------------------------------------------------------

    def done(self) -> bool:
        """Say whether the value, or the error, is there."""
        return self._done

    def error(self) -> BaseException | None:
        """Look at the error it was completed with; None for a value, or as long as it is open."""
        return self._error if self._done else None

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Call a function with this future when it is done.

        Args:
            callback: called on whatever thread completes the future, in the middle of what that
                does; at once, and here, if it is done. What it raises is logged, no more.
        """
        self._add(callback)

    def _add(self, callback: _Told[T]) -> None:
        with self._lock:
            done = self._done
            if not done:
                before = self._callbacks
                if before is None:
                    self._callbacks = callback
                elif isinstance(before, _Several):
                    before.append(callback)
                else:
                    self._callbacks = _Several((before, callback))
        if done:
            self._call(callback)
        elif self._hook is not None:
            self._run_hook()

    def remove_done_callback(self, callback: Callable[[Future[T]], object]) -> bool:
        """Take back a callback that was not called yet; say whether it was there."""
        return self._remove(callback)

    def _remove(self, callback: _Told[T]) -> bool:
        with self._lock:
            callbacks = self._callbacks
            if isinstance(callbacks, _Several):
                if callback not in callbacks:
                    return False
                callbacks.remove(callback)
            elif callbacks == callback:
                self._callbacks = None
            else:
                return False
            return True

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the value, on a thread that runs no loop of ours.

        Args:
            timeout: seconds; None for as long as it takes.

        Raises:
            WouldDeadlock: it is not done, and waiting here would stop the loop that is to do it.
            pykka.Timeout: it did not come in time.
            pykka.ActorDeadError: its loop was closed, so it can never come.
            BaseException: the error it was completed with.
        """
        if not self._done:
            self._refuse_on_loop()
            hook = None if self._hook_runs else self._hook
            if hook is not None:
                # As in Pykka: what the hook raises is not kept, so that a timeout can be retried.
                self._complete(hook(timeout), None, by_hook=True)
            else:
                self._block(timeout)
        return self._outcome()

    def _refuse_on_loop(self) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._loop is None or self._loop is running:
            msg = "get() would block the event loop it is called on: await the future instead"
            raise WouldDeadlock(msg)

    def _block(self, timeout: float | None) -> None:
        gate = threading.Lock()
        gate.acquire()  # released by whoever completes the future
        release = functools.partial(_release_gate, gate)
        deadline = None if timeout is None else time.monotonic() + timeout
        self.add_done_callback(release)
        try:
            while not gate.acquire(timeout=_slice(deadline)):
                if deadline is not None and time.monotonic() >= deadline and not self._done:
                    msg = f"no value within {timeout} seconds"
                    raise pykka.Timeout(msg)
                if self._loop is not None and self._loop.is_closed() and not self._done:
                    msg = "the event loop was closed before the value came"
                    raise pykka.ActorDeadError(msg)
        finally:
            self.remove_done_callback(release)

    def _outcome(self) -> T:
        if self._error is not None:
            # Its own traceback each time, or it would grow with every waiter.
            raise self._error.with_traceback(self._traceback)
        return self._value  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the value on the running loop, whichever that is."""
        if not self._done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._add(waiter)
            try:
                yield from waiter
            finally:
                if not self._done:
                    self._remove(waiter)
        if self._error is None:
            return self._value  # type: ignore[no-any-return]
        return self._outcome()

    __iter__ = __await__

    # --- deriving from it -----------------------------------------------------------------------

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """Make a future of what ``func`` gives for the value.

        Args:
            func: called on the thread that brings the value.
        """
        mapped: Future[M] = Future(self._loop)

        def work(done: Future[T]) -> None:
            try:
                value = func(done._outcome())
            except BaseException as error:  # noqa: BLE001 - it is kept for whoever asks
                mapped.try_set_error(error)
            else:
                mapped.try_set(value)

        self.add_done_callback(work)
        return mapped

    def filter(self: Future[Iterable[J]], func: Callable[[J], bool]) -> Future[Iterable[J]]:
        """Make a future of the list of those items that ``func`` is true for."""

        def pick(items: Iterable[J]) -> Iterable[J]:
            return [item for item in items if func(item)]

        return self.map(pick)

    def reduce(self: Future[Iterable[J]], func: Callable[[R, J], R], *args: R) -> Future[R]:
        """Make a future of the items folded from left to right, as ``functools.reduce`` does."""

        def fold(items: Iterable[J]) -> R:
            return functools.reduce(func, items, *args)

        return self.map(fold)

    def join(self, *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """Make a future of the list of the values of this and other futures.

        Args:
            futures: any Pykka futures; those of another kind are waited for by a thread each.
        """
        joined: Future[Iterable[Any]] = Future(self._loop)
        _Join([self, *(Future.bridge(future, self._loop) for future in futures)], joined).go_on()
        return joined

    # --- making one -----------------------------------------------------------------------------

    @staticmethod
    def completed(value: J, loop: asyncio.AbstractEventLoop | None = None) -> Future[J]:
        """Make a future that has its value already."""
        future: Future[J] = Future(loop)
        future._complete(value, None)
        return future

    @staticmethod
    def failed(error: BaseException, loop: asyncio.AbstractEventLoop | None = None) -> Future[Any]:
        """Make a future that has failed already."""
        future: Future[Any] = Future(loop)
        future._complete(None, error)
        return future

    @staticmethod
    def bridge(
        foreign: pykka.Future[J], loop: asyncio.AbstractEventLoop | None = None
    ) -> Future[J]:
        """Make a future of ours of any Pykka future, whose own ``await`` would block the loop.

        Args:
            foreign: waited for by a daemon thread, unless it is one of ours.
            loop: the loop the new one belongs to.
        """
        if isinstance(foreign, Future):
            return foreign
        future: Future[J] = Future(loop)
        _in_thread(functools.partial(_ferry, lambda timeout: foreign.get(timeout=timeout), future))
        return future


class _Join:
    """Takes the values in order, as Pykka does: the first error in order is the error."""

    __slots__ = ("_futures", "_joined", "_values")

    def __init__(self, futures: list[Future[Any]], joined: Future[Iterable[Any]]) -> None:
        self._futures = futures
        self._joined = joined
        self._values: list[Any] = []

    def go_on(self, _future: Future[Any] | None = None) -> None:
        """Take the values that are there, then wait for the next; on one thread at a time."""
        while len(self._values) < len(self._futures):
            future = self._futures[len(self._values)]
            if not future.done():
                future.add_done_callback(self.go_on)
                return
            try:
                self._values.append(future._outcome())  # noqa: SLF001
            except BaseException as error:  # noqa: BLE001 - it is kept for whoever asks
                self._joined.try_set_error(error)
                return
        self._joined.try_set(self._values)


def _wake(waiter: asyncio.Future[None]) -> None:
    loop = waiter.get_loop()
    if running_on(loop):
        if not waiter.done():
            waiter.set_result(None)
        return
    try:
        loop.call_soon_threadsafe(_let_go, waiter)
    except RuntimeError:
        # A closed loop has nobody left who waits.
        if not loop.is_closed():
            raise


def _let_go(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _release_gate(gate: threading.Lock, _future: Future[Any]) -> None:
    gate.release()


def _slice(deadline: float | None) -> float:
    if deadline is None:
        return _LOOK_AGAIN
    return min(max(deadline - time.monotonic(), 0.0), _LOOK_AGAIN)


def _ferry(get: Callable[[float | None], J], future: Future[J]) -> None:
    """Wait for a value on this thread, and bring it to a future."""
    try:
        value = get(None)
    except BaseException as error:  # noqa: BLE001 - it is kept for whoever asks
        future._complete(None, error, by_hook=True)  # noqa: SLF001
    else:
        future._complete(value, None, by_hook=True)  # noqa: SLF001


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="wavebreak-bridge", daemon=True).start()
