"""What becomes of a running turn that is told to stop, or is rolled back; parts of the fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.policies import AfterWave, Now, Rollback, fences
from ...messages.reasons import CallStatus, Reason
from .folds import covering, position_of, running_of
from .state import Status, Stopping, Undoing, Words
from .undoing import chain_of

if TYPE_CHECKING:
    from ...messages.events import (
        CompensationEnded,
        Event,
        RollbackRefused,
        RollbackStarted,
        StopRequested,
    )
    from .state import Running, SessionState


def stop_requested(state: SessionState, event: StopRequested) -> SessionState:
    """The session was told to stop, or its turn is, or to stop harder."""
    state = covering(state, event)
    running = state.running
    if running is None:
        if state.window is None:
            return state.changed(position_of(event))
        closing = event.reason is Reason.SHUTDOWN
        return state.changed(
            position_of(event), status=Status.CLOSING if closing else Status.IDLE, window=None
        )
    before = running.stop
    how = event.how
    until = event.at + (how.patience if isinstance(how, AfterWave) else how.grace)
    if fences(how):
        # A stop's bound is the larger of its grace and what protected calls have left.
        protected = (c.timeout or 0.0 for c in running.open if c.protected)
        until = max([until, *(running.wave_started_at + timeout for timeout in protected)])
    if before is not None and before.fenced == fences(how):
        # A stop that is told again does not get more time.
        until = min(until, before.until)
    stop = Stopping(how, event.reason, event.detail, until, event.backlog, _by(event))
    if before is not None:
        stop = _told_again(before, stop)
    closing = state.status is Status.CLOSING or event.reason is Reason.SHUTDOWN
    status = Status.CLOSING if closing else Status.STOPPING
    words = running.words
    if before is None:
        words = Words(words.noticed_at, words.notices, words.heard, event.at)
    running = running._replace(stop=stop, words=words)
    return state.changed(position_of(event), status=status, running=running)


def _by(event: StopRequested) -> tuple[str, ...]:
    return () if event.by is None else (event.by,)


def _told_again(before: Stopping, stop: Stopping) -> Stopping:
    """A stop that is told again, or rises, and what it keeps of the one before."""
    stopped = before.backlog is not None
    decided = stopped or before.reason is Reason.DEADLINE or isinstance(before.how, Rollback)
    return stop._replace(
        # A shutdown only bounds a turn of which it is clear already how it ends.
        reason=before.reason if decided and stop.reason is Reason.SHUTDOWN else stop.reason,
        detail=stop.detail or before.detail,
        backlog=stop.backlog or before.backlog,
        # A message that comes after the stop does not ask for the same as those before it.
        by=before.by if stopped else (*before.by, *stop.by),
        undoing=before.undoing,
    )


def rollback_started(state: SessionState, event: RollbackStarted) -> SessionState:
    """The turn is rolled back: these calls are to be undone."""
    calls = {record.call_id: record for record in chain_of(state)}
    return _undoing(state, event, Undoing(tuple(calls[call_id] for call_id in event.calls)))


def rollback_refused(state: SessionState, event: RollbackRefused) -> SessionState:
    """Something stands in the way of a rollback, which was a ``Now`` then."""
    running, stop = _stopping(state)
    grace = stop.how.grace if isinstance(stop.how, Rollback) else 0.0
    words = f"not rolled back: {event.detail}"
    detail = f"{stop.detail}; {words}" if stop.detail else words
    stop = stop._replace(how=Now(grace=grace), detail=detail)
    return state.changed(position_of(event), running=running._replace(stop=stop))


def compensation_ended(state: SessionState, event: CompensationEnded) -> SessionState:
    """A call was undone, or could not be."""
    undoing = state.undoing
    assert undoing is not None, "nothing is undone but in a rollback"
    ended, *left = undoing.left
    failed = () if event.status is CallStatus.COMPLETED else (ended,)
    return _undoing(state, event, Undoing(tuple(left), (*undoing.failed, *failed)))


def _undoing(state: SessionState, event: Event, undoing: Undoing) -> SessionState:
    running, stop = _stopping(state)
    stop = stop._replace(undoing=undoing)
    return state.changed(position_of(event), running=running._replace(stop=stop))


def _stopping(state: SessionState) -> tuple[Running, Stopping]:
    running = running_of(state)
    assert running.stop is not None, "only what was told to stop is rolled back"
    return running, running.stop
