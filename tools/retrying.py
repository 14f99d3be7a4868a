"""Trying a call again while its wave runs: after which errors, how often, how long apart.

When to stop and how long to wait is tenacity's to say, which is only imported for tools that ask
for it. The waiting is the runner's: on the loop's clock, and ended at once by a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..messages.errors import MissingExtra, ToolDefinitionError
from ..messages.reasons import Effect
from .execution import BlockingJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import tenacity


class Retries(NamedTuple):
    """How often a call is tried again, and after which errors.

    Args:
        times: tries after the first one, at most.
        wait_initial: seconds before the second try; it doubles with each, and up to as much again
            is added at random.
        wait_max: seconds that no wait exceeds.
        on: classes of errors, looked for inside groups too; None means the system's ``retry_on``.
    """

    times: int = 3
    wait_initial: float = 0.1
    wait_max: float = 5.0
    on: tuple[type[Exception], ...] | None = None


class RetryRule:
    """A tool's retries, with what tenacity makes of them.

    Raises:
        MissingExtra: tenacity is not installed.
    """

    __slots__ = ("_new_state", "_on", "_stop", "_wait", "retries")

    def __init__(self, tool_name: str, retries: Retries) -> None:
        try:
            import tenacity  # noqa: PLC0415 - 20 ms, and only who asks for it has it
        except ImportError as error:
            msg = (
                f"tool {tool_name!r}: retries need tenacity, which is not installed: "
                "pip install 'wavebreak[retries]'"
            )
            raise MissingExtra(msg) from error
        self.retries = retries
        self._on = retries.on
        self._stop = tenacity.stop_after_attempt(retries.times + 1)
        doubling = tenacity.wait_exponential(retries.wait_initial, retries.wait_max)
        self._wait = doubling + tenacity.wait_random(0, retries.wait_initial)
        retrying = tenacity.Retrying(stop=self._stop, wait=self._wait)
        new_state: Callable[..., tenacity.RetryCallState] = tenacity.RetryCallState
        self._new_state = partial(new_state, retrying, None, (), {})

    def __repr__(self) -> str:
        return repr(self.retries)

    def begin(self, retryable: Callable[[BaseException], bool]) -> Tries:
        """The tries of one call.

        Args:
            retryable: whether the system's ``retry_on`` names an error.
        """
        on = self._on
        names = retryable if on is None else partial(_is_one_of, on)
        return Tries(names, self._stop, self._wait, self._new_state(), self.retries.wait_max)


class Tries:
    """The tries of one call so far.

    Args:
        names: whether an error is one to try again after.
        stop: tenacity's, whether that was the last try.
        wait: tenacity's, how long to wait.
        state: tenacity's, of this call. No error is kept in it: its traceback would lead back.
        longest: seconds that no wait exceeds.
    """

    __slots__ = ("_ended", "_longest", "_names", "_state", "_stop", "_wait", "_waiter")

    def __init__(
        self,
        names: Callable[[BaseException], bool],
        stop: Callable[[tenacity.RetryCallState], bool],
        wait: Callable[[tenacity.RetryCallState], float],
        state: tenacity.RetryCallState,
        longest: float,
    ) -> None:
        self._names = names
        self._stop = stop
        self._wait = wait
        self._state = state
        self._longest = longest
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def end(self) -> None:
        """Have no further try; whoever waits for the next one is woken."""
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wait_after(self, error: BaseException) -> float | None:
        """Seconds until the next try, or None when there is none after ``error``."""
        state = self._state
        if self._ended or not isinstance(error, Exception) or not self._names(error):
            return None
        if self._stop(state):
            return None
        seconds = min(self._wait(state), self._longest)
        state.prepare_for_next_attempt()
        return seconds

    async def work(
        self, attempt: Callable[[], Awaitable[Any]], is_asked: Callable[[], bool]
    ) -> Any:
        """Try until it succeeds, or there is no further try.

        Args:
            attempt: begins a try.
            is_asked: whether the call was asked to end.

        Raises:
            TriesEnded: it was ended, or cancelled, between two tries.
            BaseException: what the last try raised.
        """
        while True:
            try:
                return await attempt()
            except Exception as error:
                seconds = None if is_asked() else self.wait_after(error)
                if seconds is None:
                    raise
                last = error
            with contextlib.suppress(asyncio.CancelledError):
                await self._pause(seconds)
            try:
                if self._ended or is_asked():
                    # Not unknown: the end of the last try was seen.
                    raise TriesEnded from last
            finally:
                del last  # its traceback leads to this frame

    async def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._ended = True
            raise
        finally:
            timer.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class TriesEnded(Exception):
    """A call was cancelled between two tries; what the last one raised is its cause."""


class RetriedJob(BlockingJob):
    """A try of a blocking function.

    Args:
        tries: of the call.
        last: what the try before it raised.
    """

    __slots__ = ("last", "tries")

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        tries: Tries,
        last: BaseException | None = None,
    ) -> None:
        super().__init__(function, arguments)
        self.tries = tries
        self.last = last

    def again(self, error: BaseException) -> RetriedJob:
        """The next try, after ``error``."""
        return RetriedJob(self._function, self._arguments, self.tries, error)


def checked_retries(tool_name: str, retries: object, effect: Effect) -> RetryRule | None:
    """Look at the option ``retries`` of a tool.

    Raises:
        ToolDefinitionError: it cannot be used.
        MissingExtra: tenacity is not installed.
    """
    if retries is None:
        return None
    is_number = isinstance(retries, int) and not isinstance(retries, bool)
    rule = Retries(cast("int", retries)) if is_number else retries
    if not isinstance(rule, Retries):
        msg = f"tool {tool_name!r}: retries={retries!r}: give how often, or Retries(...)"
        raise ToolDefinitionError(msg)
    if effect is Effect.ONCE:
        msg = (
            f"tool {tool_name!r}: retries={retries!r}: a `once` tool is never started again; give "
            'effect="idempotent" if its system knows a call by its idempotency key'
        )
        raise ToolDefinitionError(msg)
    _check_numbers(tool_name, rule)
    return RetryRule(tool_name, rule)


def _check_numbers(tool_name: str, rule: Retries) -> None:
    times, initial, longest, on = rule
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        msg = f"tool {tool_name!r}: retries: times={times!r}: give 1 or more, or leave them out"
        raise ToolDefinitionError(msg)
    for name, seconds in (("wait_initial", initial), ("wait_max", longest)):
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not (seconds >= 0 and isfinite(seconds)):
            msg = f"tool {tool_name!r}: retries: {name}={seconds!r}: give seconds, 0 or more"
            raise ToolDefinitionError(msg)
    if on is None:
        return
    classes = isinstance(on, tuple) and all(
        isinstance(one, type) and issubclass(one, Exception) for one in on
    )
    if not classes or not on:
        msg = f"tool {tool_name!r}: retries: on={on!r}: give a tuple of exception classes"
        raise ToolDefinitionError(msg)


def _is_one_of(on: tuple[type[BaseException], ...], error: BaseException) -> bool:
    if isinstance(error, on):
        return True
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return any(_is_one_of(on, one) for one in inner)
    return False
