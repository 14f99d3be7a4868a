"""Clauses: messages that are answered beside the turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.message import Reply
from ...messages.reasons import MessageStatus, Reason

if TYPE_CHECKING:
    from ...messages.commands import AsideDone
    from .draft import Draft


def end_aside(draft: Draft, done: AsideDone) -> None:
    """The handler has answered the message, or failed at it."""
    if all(w.message.message_id != done.message_id for w in draft.state.asides):
        return  # it was withdrawn meanwhile
    if done.error:
        draft.end_message(done.message_id, MessageStatus.FAILED, Reason.ERROR, detail=done.error)
        return
    draft.end_message(
        done.message_id,
        MessageStatus.ANSWERED,
        reply=Reply(text=done.text),
        delivery_id=draft.delivery_id() if done.text else None,
    )
