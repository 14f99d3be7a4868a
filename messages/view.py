"""What a chooser or a hook may see of a session."""

from __future__ import annotations

from .message import SessionMessage
from .model import Frozen


class ScheduledMessage(Frozen):
    """A message that was accepted, and is not due yet.

    Args:
        message: the message.
        due_at: seconds since the epoch.
    """

    message: SessionMessage
    due_at: float


class SessionView(Frozen):
    """A session at one moment; read-only.

    Args:
        status: the session's state, by its name in the table.
        turn: the number of the running turn, or of the last one.
        messages: what the running turn works on, oldest first; empty when none runs.
        wave: the last wave that the running turn began.
        tools: of the calls of that wave that have not ended, the name of each one's tool.
        calls_completed: how many of its calls have completed.
        waiting: how many messages wait for a turn.
        scheduled: those that are not due yet, the next one first.
    """

    tenant: str
    session_id: str
    status: str
    turn: int
    messages: tuple[SessionMessage, ...] = ()
    wave: int = 0
    tools: tuple[str, ...] = ()
    calls_completed: int = 0
    waiting: int = 0
    scheduled: tuple[ScheduledMessage, ...] = ()
