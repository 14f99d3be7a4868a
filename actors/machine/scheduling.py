"""Messages that are not due yet: which is the next, and how one enters the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import MailboxFull
from ...messages.events import MessageDue
from ...messages.reasons import MessageStatus, Reason
from .bounds import drop_oldest
from .state import Status, earlier

if TYPE_CHECKING:
    from ...messages.commands import Due
    from .draft import Draft
    from .state import Scheduled, SessionState

_NEVER_NOW = frozenset({Status.RECOVERING, Status.CLOSING, Status.FAILED})
"""Where nothing enters: what is due stays scheduled."""


def scheduled_one(state: SessionState, message_id: str) -> Scheduled | None:
    """The message of that id, if it is not due yet."""
    for one in state.scheduled:
        if one.message.message_id == message_id:
            return one
    return None


def next_due(state: SessionState) -> Scheduled | None:
    """The scheduled message that is to enter the session next."""
    if not state.scheduled or state.status in _NEVER_NOW:
        return None
    return state.scheduled[0]


def due_with_scheduled(state: SessionState, when: float | None) -> float | None:
    """When the state wants to be told the time, with what is scheduled; ``when`` without."""
    one = next_due(state)
    return when if one is None else earlier(one.due_at, when)


def make_room_for_scheduled(draft: Draft) -> None:
    """Refuse a message for which there is no room; those that are due do not count here.

    Raises:
        MailboxFull: as many messages are scheduled as may be.
    """
    capacity = draft.rules.capacity
    if len(draft.state.scheduled) >= capacity:
        msg = (
            f"{capacity} messages are scheduled in session {str(draft.state.key)!r} already: "
            f"withdraw one, or give the system a larger capacity than {capacity}"
        )
        raise MailboxFull(msg)


def enter(draft: Draft, due: Due, *, waits: bool) -> bool:
    """A scheduled message enters the session, for which there always is room: it was accepted.

    Args:
        draft: the decision.
        due: says which, and what it does to a running turn.
        waits: whether it has to wait for a turn.

    Returns:
        False if it has expired: the process was down for so long.
    """
    message_id = due.message.message_id
    one = scheduled_one(draft.state, message_id)
    assert one is not None, "who says that it is due has looked"
    patience = draft.rules.expires_after
    expires_at = None if patience is None else one.due_at + patience
    if expires_at is not None and draft.at >= expires_at:
        draft.end_message(message_id, MessageStatus.EXPIRED, Reason.EXPIRED)
        return False
    draft.emit(
        MessageDue,
        message_id=message_id,
        accepted=one.accepted,
        policy=due.policy,
        expires_at=expires_at if waits else None,
    )
    if waits:
        drop_oldest(draft)
    return True
