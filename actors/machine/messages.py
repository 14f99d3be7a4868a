"""Clauses: what a message does, by its policy and the session's status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.commands import Due
from ...messages.errors import (
    MessageIdReused,
    MessageRejected,
    SessionFailed,
    SystemClosed,
    corrupt,
)
from ...messages.events import MessageAccepted
from ...messages.policies import AfterWave, Enqueue, Now, Reject, Rollback
from ...messages.reasons import Backlog, MessageStatus, Reason
from .bounds import drop_oldest, make_room
from .scheduling import enter, make_room_for_scheduled, scheduled_one
from .turns import next_turn, request_stop
from .windows import extend_window, start_all

if TYPE_CHECKING:
    from ...messages.commands import Command, Schedule, Send
    from .draft import Draft


def start(draft: Draft, send: Send) -> None:
    """Accept, and start a turn: the session is free."""
    if accept(draft, send):
        next_turn(draft)


def start_or_collect(draft: Draft, send: Send) -> None:
    """Accept, and start a turn, or open the quiet window that comes before it."""
    if draft.rules.debounce is None:
        start(draft, send)
    else:
        collect(draft, send)


def collect(draft: Draft, send: Send) -> None:
    """Accept; the quiet window begins anew, but does not last longer than it may."""
    if accept(draft, send, waits=True):
        extend_window(draft)


def close_window(draft: Draft, send: Send) -> None:
    """Accept, close the quiet window, and start what waits, with this message, as one turn."""
    if accept(draft, send):
        start_all(draft)


def wait(draft: Draft, send: Send) -> None:
    """Accept; it waits for its turn."""
    accept(draft, send, waits=True)


def interrupt(draft: Draft, send: Send) -> None:
    """Accept, and tell the running turn to stop."""
    how = send.policy
    if accept(draft, send, waits=True) and isinstance(how, AfterWave | Now | Rollback):
        request_stop(draft, how, Reason.SUPERSEDED, by=send.message.message_id)


def offer(draft: Draft, send: Send) -> None:
    """Accept; the running turn may take it, and goes on."""
    accept(draft, send, waits=True)


def join(draft: Draft, send: Send) -> None:
    """A stop is under way: the message waits for its end, and makes it no softer."""
    stop = draft.running.stop
    assert stop is not None
    if not accept(draft, send, waits=True):
        return
    if isinstance(send.policy, Now) and not stop.fenced:
        request_stop(draft, send.policy, stop.reason, by=send.message.message_id)


def reject(draft: Draft, send: Send) -> None:
    """A turn runs, and the message does not want to wait for it."""
    if _is_known(draft, send):
        return
    if type(send) is Due:
        draft.end_message(send.message.message_id, MessageStatus.DROPPED, Reason.REJECTED)
        return
    raise MessageRejected(_rejected(draft))


def _rejected(draft: Draft) -> str:
    return (
        f"session {str(draft.state.key)!r} works on a turn, and the message's policy is Reject(): "
        "send it again when that has ended, or with another policy"
    )


def aside(draft: Draft, send: Send) -> None:
    """Accept; the handler answers it, and if there is none it starts a turn."""
    if not _accept_aside(draft, send):
        start(draft, _as_queued(send))


def aside_or_wait(draft: Draft, send: Send) -> None:
    """Accept; the handler answers it beside the turn, and if there is none it waits for its own."""
    if not _accept_aside(draft, send):
        wait(draft, _as_queued(send))


def _accept_aside(draft: Draft, send: Send) -> bool:
    if not draft.rules.aside:
        return False
    if _is_known(draft, send):
        return True
    if type(send) is Due:
        enter(draft, send, waits=False)
    else:
        make_room(draft)
        _take_on(draft, send)
    drop_oldest(draft)
    return True


def _as_queued(send: Send) -> Send:
    return send._replace(policy=Enqueue())


def schedule(draft: Draft, command: Schedule) -> None:
    """Accept; it does nothing before its time has come."""
    if _is_known(draft, command):
        return
    make_room_for_scheduled(draft)
    draft.emit(
        MessageAccepted,
        message_type=type(command.message).__name__,
        message=command.message,
        policy=command.policy,
        choose=command.choose,
        deadline_at=command.deadline_at,
        fingerprint=command.fingerprint,
        priority=command.priority,
        due_at=command.due_at,
    )


def refuse_closed(draft: Draft, send: Send | Schedule) -> None:
    """The system shuts down: what is new has to be sent again, what is due waits for the start."""
    if type(send) is not Due and not _is_known(draft, send):
        msg = f"session {str(draft.state.key)!r} is closing: send the message again after restart"
        raise SystemClosed(msg)


def refuse_failed(draft: Draft, command: Command) -> None:
    """The journal is corrupt."""
    del command
    raise SessionFailed(corrupt(draft.state.key))


def not_yet(draft: Draft, command: Command) -> None:
    """No incarnation has taken over: the mailbox keeps it, and nothing comes to here."""
    del command
    msg = f"session {str(draft.state.key)!r} is being recovered: send again"
    raise SessionFailed(msg)


def accept(draft: Draft, send: Send, *, waits: bool = False) -> bool:
    """Take the message on; False when it has been before, or is covered by a stop."""
    if _is_known(draft, send):
        return False
    if type(send) is Due:
        return enter(draft, send, waits=waits)
    if send.stamp < draft.state.covers.stamp:
        end = _covered(draft, send)
        if end is not None:
            _end_covered(draft, send, end)
            return False
    if not waits:
        _take_on(draft, send)
        return True
    make_room(draft)
    _take_on(draft, send, expires_after=draft.rules.expires_after)
    drop_oldest(draft)
    return True


def _end_covered(draft: Draft, send: Send, end: MessageStatus | Backlog) -> None:
    if isinstance(end, MessageStatus):
        _take_on(draft, send)
        draft.end_message(send.message.message_id, end, Reason.STOPPED)
    else:
        make_room(draft)
        _take_on(draft, send, parked=True)
        drop_oldest(draft)


def _take_on(
    draft: Draft, send: Send, *, parked: bool = False, expires_after: float | None = None
) -> None:
    message = send.message
    draft.emit(
        MessageAccepted,
        message_type=type(message).__name__,
        message=message,
        policy=send.policy,
        deadline_at=send.deadline_at,
        fingerprint=send.fingerprint,
        priority=send.priority,
        expires_at=None if expires_after is None else draft.at + expires_after,
        parked=parked,
    )


def _covered(draft: Draft, send: Send) -> MessageStatus | Backlog | None:
    """What becomes of a message that a stop covers: it was read first, and put after it.

    As if they had been handled in the order of their stamps: what would have been in the turn,
    or have interrupted it, is cancelled with it; what would have waited goes by the backlog.

    Returns:
        How the message ends, or that it is parked; None when it is as any other.
    """
    covers, policy = draft.state.covers, send.policy
    collects = isinstance(policy, AfterWave) or policy.kind in ("steer", "collect")
    if covers.idle and not (collects and draft.rules.debounce is not None):
        return MessageStatus.CANCELLED
    if isinstance(policy, Reject):
        raise MessageRejected(_rejected(draft))
    if isinstance(policy, AfterWave | Now) and not covers.idle:
        return MessageStatus.CANCELLED
    backlog = covers.backlog(send.stamp)
    if backlog is Backlog.DROP:
        return MessageStatus.DROPPED
    return None if backlog is Backlog.KEEP else backlog


def _is_known(draft: Draft, send: Send | Schedule) -> bool:
    """Whether this message was accepted before; its id with another content is an error.

    One that is due was, and is known when it has entered the session, or has ended.
    """
    known = draft.state.remembered.get(send.message.message_id)
    if known is None:
        return False
    if type(send) is Due:
        return scheduled_one(draft.state, send.message.message_id) is None
    if known.fingerprint != send.fingerprint:
        msg = (
            f"message_id {send.message.message_id!r} was used in session "
            f"{str(draft.state.key)!r} for another content: choose a new id"
        )
        raise MessageIdReused(msg)
    return True
