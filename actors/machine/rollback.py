"""Clauses: a turn that is to be undone, and what becomes of undoing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import CompensationEnded
from ...messages.policies import Rollback
from ...messages.reasons import CallStatus, Reason
from .messages import accept
from .queue import window_of
from .turns import begin, request_stop, undo_next

if TYPE_CHECKING:
    from ...messages.commands import CompensationDone, Send, UndoTurn
    from .draft import Draft


def roll_back(draft: Draft, command: UndoTurn) -> None:
    """Tell the running turn to end, and to be undone when its calls have ended."""
    request_stop(draft, Rollback(grace=command.grace), Reason.ROLLBACK, detail=command.detail)


def close_for_rollback(draft: Draft, command: UndoTurn) -> None:
    """There is nothing to undo: close the window, and start what waits."""
    roll_back(draft, command)
    begin(draft, window_of(draft.state.waiting))


def raise_to_rollback(draft: Draft, command: UndoTurn) -> None:
    """The turn is stopping already: it is undone as well, unless it is by a stop."""
    _rise(draft, Rollback(grace=command.grace), detail=command.detail)


def join_rollback(draft: Draft, send: Send) -> None:
    """The message waits for the turn's end; the turn is undone, unless it is stopping by a stop."""
    assert isinstance(send.policy, Rollback), "it is this policy's row"
    if accept(draft, send, waits=True):
        _rise(draft, send.policy, by=send.message.message_id)


def _rise(draft: Draft, how: Rollback, *, detail: str = "", by: str | None = None) -> None:
    stop = draft.running.stop
    assert stop is not None, "the turn is stopping"
    if stop.backlog is None and stop.undoing is None:
        request_stop(draft, how, stop.reason, detail=detail, by=by)


def compensated(draft: Draft, done: CompensationDone) -> None:
    """A call was undone, or could not be: go on with the one before it, or end the turn."""
    undoing = draft.state.undoing
    if undoing is None or undoing.left[0].call_id != done.call_id:
        return  # told twice: an incarnation before this one had asked for it as well
    if undoing.left[0].idempotency_key != done.idempotency_key:
        return  # of a session that was deleted
    draft.emit(
        CompensationEnded,
        draft.running.number,
        call_id=done.call_id,
        tool=undoing.left[0].tool,
        status=CallStatus.COMPLETED if done.error is None else CallStatus.FAILED,
        error=done.error,
    )
    undo_next(draft)
