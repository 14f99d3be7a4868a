"""A session's state as the program may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.view import ScheduledMessage, SessionView

if TYPE_CHECKING:
    from .state import SessionState


def view_of(state: SessionState) -> SessionView:
    """The state as choosers and hooks may see it."""
    running = state.running
    return SessionView(
        tenant=state.key.tenant,
        session_id=state.key.session_id,
        status=state.status,
        turn=state.turn,
        messages=tuple(waiting.message for waiting in running.messages) if running else (),
        wave=running.wave if running else 0,
        tools=tuple(call.tool for call in running.open) if running else (),
        calls_completed=running.completed if running else 0,
        waiting=len(state.waiting),
        scheduled=scheduled_of(state) if state.scheduled else (),
    )


def scheduled_of(state: SessionState) -> tuple[ScheduledMessage, ...]:
    """The messages that are not due yet, as they may be seen."""
    return tuple(
        ScheduledMessage(message=one.message, due_at=one.due_at) for one in state.scheduled
    )
