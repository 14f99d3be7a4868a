"""Running a plan alone, without actors."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from loguru import logger

from ..messages.errors import CancelledException, WaveFailed
from ..messages.events import CancellationHandled, ExecutionCancelled
from ..messages.ids import CallId, idempotency_key
from ..messages.reasons import CallStatus
from .cancellation import CancellationToken
from .dependencies import Dependencies, Given, TurnInfo
from .execution import CallEnd, Prepared, failure_of, record_of
from .plan import Plan, Planned, Results
from .threads import WorkerThreads
from .waves import WaveRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..messages.events import Event

    Observer = Callable[[Event], object]


async def run_waves(
    plan: Plan,
    *,
    cancel_token: CancellationToken | None = None,
    on_event: Observer | None = None,
    deps: Dependencies | Given | None = None,
    threads: WorkerThreads | None = None,
) -> Results:
    """Run a plan wave by wave.

    Args:
        plan: what to run.
        cancel_token: looked at before each wave and after the last, never inside one.
        on_event: told of a cancellation: ``execution_cancelled``, then ``cancellation_handled``.
        deps: what the tools get by ``dep(Type)``.
        threads: where blocking tools run; threads of its own by default.

    Returns:
        The results by planned call.

    Raises:
        CancelledException: the token was cancelled, before the wave that it names.
        WaveFailed: a call of a wave did not complete; the wave was finished, no other begun.
        InvalidArguments: a result does not fit the call that takes it; its wave is not begun.
    """
    token = CancellationToken() if cancel_token is None else cancel_token
    dependencies = deps if isinstance(deps, Dependencies) else Dependencies(deps)
    scope = dependencies.scope(TurnInfo())
    own_threads = WorkerThreads() if threads is None else None
    token.hold()
    try:
        if scope.needs_opening:
            await scope.open()
        runner = WaveRunner(
            threads=threads or own_threads or WorkerThreads(),
            scope=scope,
            token=token,
            retryable=_never,
            on_end=_ignored,
        )
        return await _run(plan, runner, token, on_event)
    finally:
        token.release()
        if own_threads is not None:
            own_threads.close()
        await scope.close()


async def _run(
    plan: Plan, runner: WaveRunner, token: CancellationToken, on_event: Observer | None
) -> Results:
    run_id = uuid.uuid4().hex
    results: dict[Planned[Any], Any] = {}
    waves = plan.waves()
    for number, wave in enumerate(waves, start=1):
        _stop_if_cancelled(token, on_event, number, len(waves), results)
        prepared = [
            _prepare(planned.resolve(results), run_id, number, place)
            for place, planned in enumerate(wave, start=1)
        ]
        ends = await runner.run(prepared)
        _raise_failures(prepared, ends)
        results.update((one, end.value) for one, end in zip(wave, ends, strict=True))
    _stop_if_cancelled(token, on_event, len(waves) + 1, len(waves), results)
    return Results(results)


def _prepare(call: Any, run_id: str, wave: int, place: int) -> Prepared:
    call_id = CallId(f"{wave}.{place}")
    return Prepared(call, call_id, idempotency_key(run_id, call_id), wave=wave)


def _raise_failures(prepared: Sequence[Prepared], ends: Sequence[CallEnd]) -> None:
    if all(end.status is CallStatus.COMPLETED for end in ends):
        return
    records = [record_of(one, end) for one, end in zip(prepared, ends, strict=True)]
    failures = [
        failure_of(record, end.exception)
        for record, end in zip(records, ends, strict=True)
        if end.status is not CallStatus.COMPLETED
    ]
    raise WaveFailed(records, failures)


def _stop_if_cancelled(
    token: CancellationToken,
    on_event: Observer | None,
    wave_num: int,
    total: int,
    results: Mapping[Planned[Any], Any],
) -> None:
    reason = token.cancel_reason
    if reason is None:
        return
    where = f"before wave {wave_num} of {total}" if wave_num <= total else f"after {total} waves"
    message = f"cancelled {where}: {reason}"
    if on_event is not None:
        _tell_cancelled(
            on_event, message, reason, wave_num=wave_num, total=total, count=len(results)
        )
    raise CancelledException(message, Results(results), wave_num, reason)


def _tell_cancelled(
    on_event: Observer, message: str, reason: str, *, wave_num: int, total: int, count: int
) -> None:
    now = time.time()
    cancelled = ExecutionCancelled(
        tenant="",
        session_id="",
        at=now,
        wave_num=wave_num,
        total_waves=total,
        partial_results_count=count,
        cancel_reason=reason,
    )
    handled = CancellationHandled(
        tenant="",
        session_id="",
        at=now,
        message=message,
        wave_num=wave_num,
        partial_results_count=count,
    )
    for event in (cancelled, handled):
        try:
            on_event(event)
        except Exception:  # noqa: BLE001  an observer's failure must not hide the cancellation
            logger.exception("an observer failed at {}", event.kind)


def _never(error: BaseException) -> bool:
    del error
    return False


def _ignored(prepared: Prepared, end: CallEnd) -> None:
    del prepared, end
