"""Clauses: what a sender does to messages that wait: resume, withdraw, edit, take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import InvalidMessage, SystemClosed
from ...messages.events import MessageEdited, MessagesTaken, Resumed
from ...messages.message import UserMessage
from ...messages.policies import Steer
from ...messages.reasons import MessageStatus, Reason
from .scheduling import scheduled_one
from .state import Scheduled
from .turns import next_turn

if TYPE_CHECKING:
    from ...messages.commands import Command, Edit, Resume, Take, Withdraw
    from .draft import Draft
    from .state import SessionState, Waiting


def waits(state: SessionState, message_id: str) -> Waiting | Scheduled | None:
    """The message of that id, if it waits; what is in the running turn does not."""
    for waiting in (*state.waiting, *state.parked, *state.asides):
        if waiting.message.message_id == message_id:
            return waiting
    return scheduled_one(state, message_id)


def may_be_edited(state: SessionState, message_id: str) -> bool:
    """Whether nobody has seen the words of a message yet."""
    waiting = waits(state, message_id)
    if waiting is None or isinstance(waiting, Scheduled):
        return waiting is not None
    if waiting.was_in_turn:
        return False
    return not (state.asides and state.asides[0] is waiting)


def resume(draft: Draft, command: Resume) -> None:
    """What was parked waits again; if the session is free it starts."""
    del command
    if draft.state.parked:
        draft.emit(Resumed)
        next_turn(draft)


def refuse_resume(draft: Draft, command: Command) -> None:
    """The system shuts down: what is parked stays so."""
    del command
    msg = f"session {str(draft.state.key)!r} is closing: resume it after restart"
    raise SystemClosed(msg)


def withdraw(draft: Draft, command: Withdraw) -> None:
    """End the message, if it waits."""
    if waits(draft.state, command.message_id) is not None:
        draft.end_message(command.message_id, MessageStatus.CANCELLED, Reason.WITHDRAWN)


def edit(draft: Draft, command: Edit) -> None:
    """Put other words in place of the message's, if nobody has seen them."""
    if not may_be_edited(draft.state, command.message_id):
        return
    waiting = waits(draft.state, command.message_id)
    assert waiting is not None
    if not isinstance(waiting.message, UserMessage):
        msg = (
            f"message {command.message_id!r} is a {type(waiting.message).__name__} and has no text "
            "to edit: withdraw it, and send another"
        )
        raise InvalidMessage(msg)
    if not command.text.strip() and not waiting.message.attachments:
        msg = (
            f"message {command.message_id!r} would say nothing, text={command.text!r}: give it "
            "other words, or withdraw it"
        )
        raise InvalidMessage(msg)
    draft.emit(MessageEdited, message_id=command.message_id, text=command.text)


def take(draft: Draft, command: Take) -> None:
    """The turn takes what it was offered; from here on it answers that too."""
    if not draft.state.is_current(command.fence):
        return
    offered = [w.message.message_id for w in draft.state.waiting if type(w.policy) is Steer]
    if offered:
        running = draft.running
        draft.emit(
            MessagesTaken, running.number, attempt=running.attempt, message_ids=tuple(offered)
        )
