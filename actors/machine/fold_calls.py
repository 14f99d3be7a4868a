"""What becomes of a session by what happened to calls; parts of the fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.reasons import CallStatus
from ..ledger import record_of
from .folds import running_of
from .history import is_unsettled, late_end, turn_of

if TYPE_CHECKING:
    from ...messages.entries import Progressed
    from ...messages.records import CallDone, CallRecord
    from .state import Running, SessionState


def progressed(state: SessionState, entry: Progressed) -> SessionState:
    """Calls ended, a wave is over, the next one begins."""
    position = entry.position + entry.span - 1
    if entry.is_late:
        for done in entry.done:
            state = _late_end(state, done, entry.at)
        return state._replace(position=position)
    running = running_of(state)
    for done in entry.done:
        if state.unknown or done.status is CallStatus.UNKNOWN:
            unknown = _still_unknown(state.unknown, running, done, entry)
            state = state._replace(unknown=unknown)
    return state.got_further(position, running.with_progress(entry))


def _still_unknown(
    unknown: tuple[CallRecord, ...], running: Running, done: CallDone, entry: Progressed
) -> tuple[CallRecord, ...]:
    """The unknown calls after the end of another: it is one itself, or settles one.

    Not before its end: until then it may turn out that it was never started.
    """
    if done.answered_from is not None:
        # A late result answers one equal call.
        used = done.answered_from if done.status is CallStatus.COMPLETED else None
        return tuple(r for r in unknown if r.call_id != used)
    started = next(call for call in running.open if call.call_id == done.call_id)
    same = [r for r in unknown if r.idempotency_key == started.idempotency_key]
    others = tuple(r for r in unknown if r not in same)
    late = [r for r in same if r.status is CallStatus.COMPLETED]
    if done.status is CallStatus.SKIPPED:
        # As new: the attempt's ledger has given the old ones away.
        return (*others, *(r.model_copy() for r in same))
    if late and done.status is not CallStatus.COMPLETED:
        return (*others, *late)
    if done.status is not CallStatus.UNKNOWN:
        return others
    record = record_of(
        started, done, entry.fence, running.wave_started_at, entry.at, running.senders
    )
    return (*others, record)


def _late_end(state: SessionState, done: CallDone, at: float) -> SessionState:
    end = {"status": done.status, "result": done.result, "error": done.error, "ended_at": at}
    unknown = tuple(
        record.model_copy(update=end) if record.call_id == done.call_id else record
        for record in state.unknown
    )
    if is_unsettled(state, turn_of(done.call_id)):
        state = state._replace(unsettled=(*state.unsettled, late_end(done, at)))
    # A failure answers within its turn only, as one does that was seen in time.
    turn = None if state.running is None else state.running.number
    return state._replace(
        unknown=tuple(r for r in unknown if r.status is not CallStatus.FAILED or r.turn == turn)
    )


def open_or_done(unknown: tuple[CallRecord, ...]) -> tuple[CallRecord, ...]:
    """What of these a further turn has to know of."""
    return tuple(record for record in unknown if record.status is not CallStatus.FAILED)
