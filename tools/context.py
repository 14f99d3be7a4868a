"""What a tool can learn about the call it runs for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from ..messages.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages.ids import CallId, IdempotencyKey
    from .cancellation import CancellationToken


class CallContext:
    """The running call, as its tool sees it.

    Args:
        call_id: names the call within its session.
        idempotency_key: for foreign systems; the same again when the call is retried.
        token: cancelled when the turn should stop; a blocking tool can look at it.
        deadline: when the call's timeout is over, on ``clock``; None without a timeout.
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_deadline", "call_id", "idempotency_key", "token")

    def __init__(
        self,
        call_id: CallId,
        idempotency_key: IdempotencyKey,
        token: CancellationToken,
        deadline: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.call_id = call_id
        self.idempotency_key = idempotency_key
        self.token = token
        self._deadline = deadline
        self._clock = clock

    @property
    def time_left(self) -> float | None:
        """Seconds until the call's timeout, 0 when it is over; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())


class RunningCall(Protocol):
    """What is put into a call's context; it makes the face of itself only when asked."""

    def context(self) -> CallContext:
        """The call as its tool sees it."""
        ...


CURRENT: ContextVar[RunningCall] = ContextVar("wavebreak_call")


def current_call() -> CallContext:
    """The call that the calling tool runs for, also in a worker thread.

    Raises:
        DependencyError: there is none.
    """
    try:
        running = CURRENT.get()
    except LookupError:
        msg = "current_call() was called outside of a tool: there is no call here"
        raise DependencyError(msg) from None
    return running.context()
