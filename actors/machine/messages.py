"""Clauses: what a message does, by its policy and the session's status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import MessageIdReused, SessionFailed, SystemClosed
from ...messages.events import MessageAccepted
from ...messages.policies import AfterWave, Enqueue, Now
from ...messages.reasons import Backlog, MessageStatus, Reason
from .turns import next_turn, request_stop

if TYPE_CHECKING:
    from ...messages.commands import Command, Send
    from .draft import Draft


def start(draft: Draft, send: Send) -> None:
    """Accept, and start a turn: the session is free."""
    if _accept(draft, send):
        next_turn(draft)


def wait(draft: Draft, send: Send) -> None:
    """Accept; the running turn goes on."""
    _accept(draft, send)


def interrupt(draft: Draft, send: Send) -> None:
    """Accept, and tell the running turn to stop."""
    how = send.policy
    if _accept(draft, send) and isinstance(how, AfterWave | Now):
        request_stop(draft, how, Reason.SUPERSEDED, by=send.message.message_id)


def join(draft: Draft, send: Send) -> None:
    """A stop is under way: the message waits for its end, and makes it no softer."""
    stop = draft.running.stop
    assert stop is not None
    if not _accept(draft, send):
        return
    if isinstance(send.policy, Now) and not stop.fenced:
        request_stop(draft, send.policy, stop.reason, by=send.message.message_id)


def refuse_closed(draft: Draft, send: Send) -> None:
    """The system shuts down: what is new has to be sent again."""
    if not _is_known(draft, send):
        msg = f"session {str(draft.state.key)!r} is closing: send the message again after restart"
        raise SystemClosed(msg)


def refuse_failed(draft: Draft, command: Command) -> None:
    """The journal is corrupt."""
    del command
    msg = f"the journal of session {str(draft.state.key)!r} is corrupt: repair it, then resume"
    raise SessionFailed(msg)


def _accept(draft: Draft, send: Send) -> bool:
    """Take the message on; False when it has been before, or is covered by a stop."""
    if _is_known(draft, send):
        return False
    message = send.message
    draft.emit(
        MessageAccepted,
        message_type=type(message).__name__,
        message=message,
        policy=send.policy,
        deadline_at=send.deadline_at,
        fingerprint=send.fingerprint,
    )
    return not _is_covered(draft, send)


def _is_covered(draft: Draft, send: Send) -> bool:
    """Whether a stop that was read first was put after this message, and so ends it too."""
    if send.stamp >= draft.state.covers:
        return False
    if not isinstance(send.policy, Enqueue):
        # It would have been in the turn that was stopped, or have interrupted it.
        draft.end_message(send.message.message_id, MessageStatus.CANCELLED, Reason.STOPPED)
        return True
    if draft.state.covered_by is Backlog.DROP:
        draft.end_message(send.message.message_id, MessageStatus.DROPPED, Reason.STOPPED)
        return True
    return False


def _is_known(draft: Draft, send: Send) -> bool:
    """Whether this message was accepted before; its id with another content is an error."""
    known = draft.state.remembered.get(send.message.message_id)
    if known is None:
        return False
    if known.fingerprint != send.fingerprint:
        msg = (
            f"message_id {send.message.message_id!r} was used in session "
            f"{str(draft.state.key)!r} for another content: choose a new id"
        )
        raise MessageIdReused(msg)
    return True
