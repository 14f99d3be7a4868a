"""One call as a wave runs it, from being prepared to its end."""

from __future__ import annotations

import threading
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ..messages.errors import CallFailed, OutcomeUnknown
from ..messages.reasons import CallStatus
from ..messages.records import CallError, CallRecord
from .context import CallContext

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..messages.ids import CallId, IdempotencyKey
    from .call import ToolCall
    from .cancellation import CancellationToken


class Phase(Enum):
    """Where a call is on its way; it only ever goes down this list."""

    WAITING = auto()
    """Behind its gate, for its first step, or (it has a job) perhaps for a thread."""
    RUNNING = auto()
    ABANDONED = auto()
    """It was told of as ended, and its real end may follow."""
    ENDED = auto()


_WAITING: Final = Phase.WAITING  # looked up once, instead of on its class at every call


class Asked(Enum):
    """Why a call was asked to end before it had."""

    STOP = auto()
    TIMEOUT = auto()


class CallEnd(NamedTuple):
    """How a call ended.

    Args:
        value: what it returned, validated; None unless completed.
        result: the same in its JSON form.
        error: what is kept of the exception.
        exception: the exception itself, while it is alive.
    """

    status: CallStatus
    value: Any = None
    result: Any = None
    error: CallError | None = None
    exception: BaseException | None = None


class Handle(Protocol):
    """Whatever runs a call's coroutine and can be asked to end it."""

    def cancel(self) -> object:
        """Have the coroutine see a CancelledError."""
        ...


class Host(Protocol):
    """What a call has to know of the runner that runs it."""

    def clock(self) -> float:
        """Monotonic seconds."""
        ...

    @property
    def token(self) -> CancellationToken:
        """What the tool sees as ``current_call().token``."""
        ...


class Gate(Protocol):
    """What calls wait for before they are started; a future is one."""

    def done(self) -> bool:
        """Whether they need not wait any more."""
        ...

    def cancelled(self) -> bool:
        """Whether it will never be open."""
        ...

    def exception(self) -> BaseException | None:
        """Why it will never be open; it is done."""
        ...

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Call ``callback`` with the gate soon after it is done, on the loop."""
        ...


class Prepared:
    """A call that a wave can run.

    Args:
        call: what to run.
        call_id: names it within its session.
        idempotency_key: for foreign systems.
        gate: the call is not started before this is done; an error in it skips the call.
        wave: its wave, from 1.
    """

    __slots__ = (
        "asked",
        "call",
        "call_id",
        "deadline",
        "end",
        "gate",
        "handle",
        "host",
        "idempotency_key",
        "job",
        "phase",
        "timer",
        "tool",
        "wave",
    )

    host: Host  # set by the runner before the tool is started

    def __init__(
        self,
        call: ToolCall[Any],
        call_id: CallId,
        idempotency_key: IdempotencyKey,
        gate: Gate | None = None,
        wave: int = 1,
    ) -> None:
        self.call = call
        self.tool = call.tool  # which is asked for at every step
        self.call_id = call_id
        self.idempotency_key = idempotency_key
        self.gate = gate
        self.wave = wave
        self.phase = _WAITING
        self.asked: Asked | None = None
        self.end: CallEnd | None = None
        self.handle: Handle | None = None
        self.job: BlockingJob | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None

    def __repr__(self) -> str:
        return f"<Prepared {self.call_id} {self.call!r} {self.phase.name.lower()}>"

    @property
    def is_open(self) -> bool:
        """Whether its real end was not seen yet."""
        return self.phase is not Phase.ENDED

    def context(self) -> CallContext:
        """The call as its tool sees it."""
        host = self.host
        return CallContext(
            self.call_id, self.idempotency_key, host.token, self.deadline, host.clock
        )


class Outcome(NamedTuple):
    """What a blocking function came to; an exception is data here, so that any kind passes."""

    value: Any
    error: BaseException | None


class BlockingJob:
    """A blocking function with its arguments, that either starts or is withdrawn."""

    __slots__ = ("_arguments", "_claim", "_function")

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self._function = function
        self._arguments = arguments
        # Whoever takes it first decides, the thread by starting or the loop by withdrawing.
        self._claim = threading.Lock()

    def __call__(self) -> Outcome:
        """Run it in the thread that calls this."""
        if not self._claim.acquire(blocking=False):
            return Outcome(None, None)
        try:
            return Outcome(self._function(**self._arguments), None)
        except BaseException as error:  # noqa: BLE001  told to the runner, which decides
            return Outcome(None, error)

    def withdraw(self) -> bool:
        """Have it never start.

        Returns:
            False when it has started.
        """
        return self._claim.acquire(blocking=False)


def record_of(prepared: Prepared, end: CallEnd, *, turn: int = 0, attempt: int = 1) -> CallRecord:
    """The ledger's entry of a call."""
    call = prepared.call
    tool = call.tool
    return CallRecord(
        call_id=prepared.call_id,
        tool=tool.name,
        version=tool.version,
        arguments=call.json_arguments,
        effect=tool.effect,
        carry=tool.carry,
        idempotency_key=prepared.idempotency_key,
        turn=turn,
        attempt=attempt,
        wave=prepared.wave,
        status=end.status,
        result=end.result,
        error=end.error,
        compensated=tool.compensation is not None,
        same_as=call.same_as,
    )


def failure_of(record: CallRecord, exception: BaseException | None = None) -> CallFailed:
    """The error that tells of a call that did not complete, with its cause while that lives."""
    kind = OutcomeUnknown if record.status is CallStatus.UNKNOWN else CallFailed
    failure = kind(record)
    failure.__cause__ = exception
    return failure
