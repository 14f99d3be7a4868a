"""Clauses: messages that are answered beside the turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.message import Reply
from ...messages.reasons import CourtesyKind, MessageStatus, Reason
from .history import aside

if TYPE_CHECKING:
    from ...messages.commands import AsideDone
    from .draft import Draft


def end_aside(draft: Draft, done: AsideDone) -> None:
    """The handler has answered the message, or failed at it."""
    state = draft.state
    ours = [w for w in state.asides if w.message.message_id == done.message_id]
    if not ours:
        return  # it was withdrawn meanwhile
    draft.settle(tuple(aside(ours[0], "" if done.error else done.text, draft.at)))
    if done.error:
        draft.wish(CourtesyKind.FAILED, state.turn)
        draft.end_message(done.message_id, MessageStatus.FAILED, Reason.ERROR, detail=done.error)
        return
    draft.end_message(
        done.message_id,
        MessageStatus.ANSWERED,
        reply=Reply(text=done.text),
        delivery_id=draft.delivery_id() if done.text else None,
    )
