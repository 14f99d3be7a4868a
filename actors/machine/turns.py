"""Turns: how they begin, are told to stop, and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.entries import Progressed
from ...messages.events import (
    CancellationHandled,
    ExecutionCancelled,
    MessageEnded,
    StopRequested,
    TurnEnded,
    TurnStarted,
)
from ...messages.policies import Way
from ...messages.reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    Effect,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from ...messages.records import CRASHED, CallDone, CallError
from ..left_over import partial_results
from .history import finished, undone, unfinished
from .queue import batch_of, by_admission
from .state import Running, Scheduled, Status, Stopping, Waiting
from .undoing import begin_rollback, is_rollback, undo_first

if TYPE_CHECKING:
    from ...messages.message import Reply
    from ...messages.records import CallStarted
    from .draft import Draft


# Looked up once: they are asked for in every turn.
_IDLE, _FINISHED, _ANSWERED = Status.IDLE, TurnOutcome.FINISHED, MessageStatus.ANSWERED


def next_turn(draft: Draft) -> None:
    """Start the next turn, if something waits and the session is free."""
    state = draft.state
    if state.waiting and state.status is _IDLE:
        begin(draft, batch_of(state))


def begin(draft: Draft, messages: tuple[Waiting, ...]) -> None:
    """Start a turn on these of the waiting messages."""
    rules = draft.rules
    if len(messages) == 1:  # as most turns are
        ids: tuple[str, ...] = (messages[0].message.message_id,)
    else:
        ids = tuple([w.message.message_id for w in by_admission(messages)])
    draft.emit(
        TurnStarted,
        draft.state.turn + 1,
        message_ids=ids,
        version=rules.version,
        deadline_at=None if rules.turn_deadline is None else draft.at + rules.turn_deadline,
    )


def request_stop(
    draft: Draft,
    how: Way,
    reason: Reason,
    *,
    detail: str = "",
    by: str | None = None,
    backlog: Backlog | None = None,
    covers: int | None = None,
) -> None:
    """Write down that the running turn is told to stop, or to stop harder."""
    running = draft.state.running
    turn = None
    if running is not None:
        turn = running.number
        if running.stop is None and reason is Reason.SUPERSEDED and draft.rules.own_words:
            draft.wish(CourtesyKind.INTERRUPTED, turn)
    draft.emit(
        StopRequested,
        turn,
        how=how,
        reason=reason,
        detail=detail,
        by=by,
        backlog=backlog,
        covers=covers,
    )


def finish(draft: Draft, reply: Reply) -> None:
    """The turn has its reply: its messages are answered."""
    running = draft.running
    turn, messages = running.number, running.messages
    draft.settle(finished(running, draft.state.unsettled, reply, draft.at))
    says_nothing = not (reply.text or reply.attachments or reply.data)
    draft.emit(
        TurnEnded,
        turn,
        outcome=_FINISHED,
        reply=reply,
        delivery_id=None if says_nothing else draft.delivery_id(),
    )
    for waiting in messages:
        draft.emit(MessageEnded, turn, message_id=waiting.message.message_id, status=_ANSWERED)
    next_turn(draft)


def fail(draft: Draft, reason: Reason, detail: str) -> None:
    """The turn failed, and its messages with it."""
    running = draft.running
    turn, messages = running.number, running.messages
    _end_unfinished(draft, TurnOutcome.FAILED, reason, detail, None)
    for waiting in messages:
        id_ = waiting.message.message_id
        draft.end_message(id_, MessageStatus.FAILED, reason, detail=detail, turn=turn)
    next_turn(draft)


def end_stopped(draft: Draft, draft_reply: Reply | None, total_waves: int | None) -> None:
    """The turn was told to stop, and has: end it by what the stop is for."""
    running = draft.running
    stop = running.stop
    assert stop is not None
    tell_cancelled(draft, running, stop.detail or stop.reason, total_waves)
    if is_rollback(stop):
        if begin_rollback(draft):
            undo_next(draft)
            return
        running = draft.running
        stop = running.stop or stop  # now with what stood in the way
    if stop.backlog is not None:
        _end_by_stop(draft, running, stop, draft_reply)
    elif stop.reason is Reason.DEADLINE:
        _end_unfinished(draft, TurnOutcome.TIMED_OUT, stop.reason, stop.detail, draft_reply)
        end_all(draft, running, running.messages, MessageStatus.FAILED, stop.reason)
    else:
        _end_unfinished(draft, TurnOutcome.INTERRUPTED, stop.reason, stop.detail, draft_reply)
    _go_on(draft, running)


def _go_on(draft: Draft, running: Running) -> None:
    if draft.state.status is Status.CLOSING and not draft.rules.survives:
        _lose(draft, running)
    next_turn(draft)


def _lose(draft: Draft, running: Running) -> None:
    """Nothing outlives the process: what would have been a turn again ends here."""
    state = draft.state
    if state.unsettled:
        draft.settle(state.unsettled)
        draft.wish(CourtesyKind.CANCELLED, running.number)
    end_all(draft, running, state.unended, MessageStatus.CANCELLED, Reason.SHUTDOWN)


def undo_next(draft: Draft) -> None:
    """Undo the next call of a turn that is rolled back; with none left the turn has ended."""
    if undo_first(draft):
        return
    running, undoing, known = draft.running, draft.state.undoing, draft.state.unsettled
    stop = running.stop
    assert stop is not None, "a rollback was begun"
    assert undoing is not None, "a rollback was begun"
    words = [f"{record.tool!r} ({record.call_id}) is not undone" for record in undoing.failed]
    overtaking = () if stop.backlog is None else _overtaking(draft, stop)
    draft.emit(
        TurnEnded,
        running.number,
        outcome=TurnOutcome.ROLLBACK_FAILED if words else TurnOutcome.ROLLED_BACK,
        reason=stop.reason,
        detail="; ".join([stop.detail, *words] if stop.detail else words),
        streamed=draft.streamed,
        wave_num=running.wave + 1,
    )
    event = draft.entries[-1]
    assert isinstance(event, TurnEnded), "it was written down just now"
    if words:  # something is left of it: the history has all
        draft.settle((*known, *unfinished(running, known, event, overtaking)))
        draft.wish(CourtesyKind.FAILED, running.number)
    else:
        draft.settle(tuple(undone(running, known, event)))
        if stop.reason is not Reason.SUPERSEDED:  # else the next turn answers
            draft.wish(CourtesyKind.CANCELLED, running.number)
    end_all(draft, running, running.messages, MessageStatus.CANCELLED, Reason.ROLLBACK)
    end_all(draft, running, overtaking, MessageStatus.CANCELLED, stop.reason)
    _go_on(draft, running)


def _end_by_stop(draft: Draft, running: Running, stop: Stopping, draft_reply: Reply | None) -> None:
    reason = stop.reason
    # The messages that interrupted the turn asked for the same thing, and go with it.
    overtaking = _overtaking(draft, stop)
    _end_unfinished(draft, TurnOutcome.STOPPED, reason, stop.detail, draft_reply, overtaking)
    end_all(draft, running, (*running.messages, *overtaking), MessageStatus.CANCELLED, reason)


def _overtaking(draft: Draft, stop: Stopping) -> tuple[Waiting, ...]:
    return tuple(w for w in draft.state.waiting if w.message.message_id in stop.by)


def end_all(
    draft: Draft,
    running: Running | None,
    messages: tuple[Waiting | Scheduled, ...],
    status: MessageStatus,
    reason: Reason,
) -> None:
    """End several messages in the same way."""
    # By their ids: those that come back from the turn are no longer quite what they were.
    own = {w.message.message_id for w in running.messages} if running else ()
    for waiting in messages:
        message_id = waiting.message.message_id
        turn = running.number if running and message_id in own else None
        draft.end_message(message_id, status, reason, turn=turn)


def _end_unfinished(  # noqa: PLR0917 - what a turn that did not finish is told to have been
    draft: Draft,
    outcome: TurnOutcome,
    reason: Reason,
    detail: str,
    draft_reply: Reply | None,
    overtaking: tuple[Waiting, ...] = (),
) -> None:
    running, known = draft.running, draft.state.unsettled
    draft.emit(
        TurnEnded,
        running.number,
        outcome=outcome,
        reason=reason,
        detail=detail,
        partial_results=partial_results(running, draft.state.previous, reason, draft_reply),
        streamed=draft.streamed,
        wave_num=running.wave + 1,
    )
    if outcome is TurnOutcome.INTERRUPTED:
        return  # it lives on: its entries are settled with those of the turn that ends the chain
    event = draft.entries[-1]
    assert isinstance(event, TurnEnded), "it was written down just now"
    draft.settle((*known, *unfinished(running, known, event, overtaking)))
    draft.wish(_OCCASIONS[outcome], running.number)


_OCCASIONS = {
    TurnOutcome.STOPPED: CourtesyKind.CANCELLED,
    TurnOutcome.FAILED: CourtesyKind.FAILED,
    TurnOutcome.TIMED_OUT: CourtesyKind.TIMED_OUT,
}


def tell_cancelled(draft: Draft, running: Running, why: str, total: int | None) -> None:
    """Write down before which wave the turn was stopped."""
    completed = running.completed
    wave_num = running.wave + 1
    draft.emit(
        ExecutionCancelled,
        running.number,
        wave_num=wave_num,
        total_waves=total,
        partial_results_count=completed,
        cancel_reason=why,
    )
    draft.emit(
        CancellationHandled,
        running.number,
        message=f"turn {running.number} was stopped before wave {wave_num}: {why}",
        wave_num=wave_num,
        partial_results_count=completed,
    )


def end_open_calls(draft: Draft, crash: str = "") -> None:
    """Nobody will see how these end: a read is cancelled, anything else that runs is unknown.

    Args:
        draft: the decision.
        crash: what their runtime died of, if it did: then nobody has cancelled them.
    """
    running = draft.running
    if not running.open:
        return
    error = CallError(type=CRASHED, message=crash) if crash else None
    left = tuple(
        CallDone(
            running.wave,
            call.call_id,
            call.tool,
            _cut_off(call),
            error=error,
            answered_from=call.answered_from,
        )
        for call in running.open
    )
    if left:
        state = draft.state
        draft.log(Progressed(state.position + 1, draft.at, state.fence, left))


def _cut_off(call: CallStarted) -> CallStatus:
    if call.answered_from is not None:
        return CallStatus.SKIPPED
    return CallStatus.CANCELLED if call.effect is Effect.READ else CallStatus.UNKNOWN
