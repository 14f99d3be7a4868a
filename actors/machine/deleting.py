"""The clause of a session that is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import SessionDeleted, TurnEnded
from ...messages.policies import Now
from ...messages.reasons import Backlog, MessageStatus, Reason, TurnOutcome
from .turns import end_all, request_stop, tell_cancelled

if TYPE_CHECKING:
    from ...messages.commands import Delete
    from .draft import Draft


def delete(draft: Draft, command: Delete) -> None:
    """End the turn and every message at once; none of this is recorded, as nothing is kept."""
    running = draft.state.running
    if running is not None:
        how = Now(grace=command.grace)
        request_stop(draft, how, Reason.DELETED, backlog=Backlog.DROP)
        tell_cancelled(draft, running, Reason.DELETED, None)
        draft.emit(
            TurnEnded,
            running.number,
            outcome=TurnOutcome.STOPPED,
            reason=Reason.DELETED,
            wave_num=running.wave + 1,
        )
    messages = (*(running.messages if running is not None else ()), *draft.state.unended)
    end_all(draft, running, messages, MessageStatus.CANCELLED, Reason.DELETED)
    draft.emit(SessionDeleted)
