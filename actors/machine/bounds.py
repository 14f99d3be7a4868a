"""The bounds of what waits in a session: how much, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import MailboxFull
from ...messages.reasons import MessageStatus, Overflow, Reason

if TYPE_CHECKING:
    from .draft import Draft
    from .state import SessionState, Waiting


def make_room(draft: Draft) -> None:
    """Refuse a message for which there is no room, unless it takes that of an older one.

    Raises:
        MailboxFull: as many messages wait as may.
    """
    capacity = draft.rules.capacity
    if draft.rules.overflow is Overflow.REJECT and _over(draft.state, capacity - 1):
        msg = (
            f"{capacity} messages wait in session {str(draft.state.key)!r} already: send later, "
            f"or give the system a larger capacity than {capacity}"
        )
        raise MailboxFull(msg)


def drop_oldest(draft: Draft) -> None:
    """A message was accepted for which there was no room: the oldest that wait make it.

    After the acceptance, so that a quiet window does not end in between for want of messages.
    """
    if draft.rules.overflow is not Overflow.DROP_OLDEST:
        return
    over = _over(draft.state, draft.rules.capacity)
    for waiting in over:
        draft.end_message(waiting.message.message_id, MessageStatus.DROPPED, Reason.OVERFLOW)


def _over(state: SessionState, capacity: int) -> list[Waiting]:
    """Those of what waits that are more than may, oldest first.

    What comes back from a turn does not count, nor what is being answered beside it.
    """
    if len(state.waiting) + len(state.parked) + len(state.asides) <= capacity:
        return []
    count = [w for w in (*state.waiting, *state.parked) if not w.was_in_turn]
    count += state.asides[1:]
    count.sort(key=_admitted)
    return count[: max(0, len(count) - capacity)]


def _admitted(waiting: Waiting) -> int:
    return waiting.admitted


def expire(draft: Draft) -> None:
    """End what has waited for its first turn for longer than it may."""
    first = draft.state.expires_at
    if first is None or draft.at < first:
        return
    for waiting in draft.state.waiting:
        if waiting.expires_at is not None and draft.at >= waiting.expires_at:
            draft.end_message(waiting.message.message_id, MessageStatus.EXPIRED, Reason.EXPIRED)
