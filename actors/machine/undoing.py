"""What a rollback undoes, and what stands in its way; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import CompensationStarted, RollbackRefused, RollbackStarted
from ...messages.policies import Rollback
from ...messages.reasons import CallStatus, Effect, Reason
from ...tools.compensation import undo_key
from ..left_over import partial_results

if TYPE_CHECKING:
    from ...messages.records import CallRecord
    from .draft import Draft
    from .state import SessionState, Stopping


def chain_of(state: SessionState) -> tuple[CallRecord, ...]:
    """Every call of the running turn and of the turns that it goes on from, as it stands now.

    In the order in which they were begun. Of a call that was unknown, what is known by now; one
    that a later call with its key has settled is left out.
    """
    running = state.running
    assert running is not None, "the table calls this in states with a turn only"
    left = partial_results(running, state.previous, Reason.ROLLBACK, None)
    now = {record.call_id: record for record in state.unknown}
    calls = (now.get(r.call_id) if r.status is CallStatus.UNKNOWN else r for r in left.calls)
    return tuple(record for record in calls if record is not None)


def after_rollback(state: SessionState) -> tuple[CallRecord, ...]:
    """The calls that may have happened, once the chain is undone.

    None of the chain answers any more. What could not be undone is unknown: it was done, and
    somebody has tried to undo it.
    """
    undoing = state.undoing
    assert undoing is not None, "nothing is rolled back without"
    chain = {record.call_id for record in chain_of(state)}
    others = tuple(record for record in state.unknown if record.call_id not in chain)
    end = {"status": CallStatus.UNKNOWN, "result": None}
    return (*others, *(record.model_copy(update=end) for record in undoing.failed))


def is_rollback(stop: Stopping) -> bool:
    """Whether the turn is to be undone; a stop that came before its calls had ended outranks it."""
    return isinstance(stop.how, Rollback) and stop.backlog is None


def begin_rollback(draft: Draft) -> bool:
    """Every call has ended: begin to undo them, or write down what stands in the way."""
    running = draft.running
    chain = chain_of(draft.state)
    for record in chain:
        why = _why_not(record)
        if why:
            draft.emit(
                RollbackRefused,
                running.number,
                call_id=record.call_id,
                tool=record.tool,
                detail=f"call {record.call_id} of {record.tool!r} {why}",
            )
            return False
    calls = [r.call_id for r in chain if r.compensated and r.status is CallStatus.COMPLETED]
    draft.emit(RollbackStarted, running.number, calls=tuple(reversed(calls)))
    return True


def _why_not(record: CallRecord) -> str:
    if record.status is CallStatus.UNKNOWN:
        return "may have happened"
    is_done_once = record.status is CallStatus.COMPLETED and record.effect is Effect.ONCE
    return "has happened, and nothing undoes it" if is_done_once and not record.compensated else ""


def undo_first(draft: Draft) -> bool:
    """Write down that the first call that is left is being undone; False when none is left."""
    undoing = draft.state.undoing
    assert undoing is not None, "a rollback was begun"
    if not undoing.left:
        return False
    record = undoing.left[0]
    draft.emit(
        CompensationStarted,
        draft.running.number,
        call_id=record.call_id,
        tool=record.tool,
        idempotency_key=undo_key(record.idempotency_key),
    )
    return True
