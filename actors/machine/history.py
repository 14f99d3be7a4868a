"""The history of a session: what a turn adds to it when it ends; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import Said
from ...messages.history import HistoryEntry, HistoryKind

if TYPE_CHECKING:
    from ...messages.message import Reply, SessionMessage
    from .state import Running


_MESSAGE, _REPLY = HistoryKind.MESSAGE, HistoryKind.REPLY  # looked up once


def history_of(running: Running, reply: Reply, at: float) -> list[HistoryEntry]:
    """The entries of a turn that finishes: its messages, what it said, its reply."""
    turn = running.number
    entries = [
        _entry(_MESSAGE, turn, message.as_text(), message.received_at, message=message)
        for message in [waiting.message for waiting in running.messages]
    ]
    entries += said_in(running, interrupted=False)
    if reply.text or reply.attachments or reply.data:
        entries.append(_entry(_REPLY, turn, reply.text, at, reply=reply))
    return entries


def said_in(running: Running, *, interrupted: bool) -> list[HistoryEntry]:
    """The entries of what a turn said; it was said, also when the turn was interrupted then."""
    return [
        _entry(HistoryKind.SAID, running.number, event.text, event.at, interrupted=interrupted)
        for event in running.log
        if isinstance(event, Said)
    ]


def _entry(
    kind: HistoryKind,
    turn: int,
    text: str,
    at: float,
    *,
    message: SessionMessage | None = None,
    reply: Reply | None = None,
    interrupted: bool = False,
) -> HistoryEntry:
    return HistoryEntry.trusted(
        {
            "kind": kind,
            "turn": turn,
            "text": text,
            "message_type": "" if message is None else type(message).__name__,
            "message": message,
            "reply": reply,
            "interrupted": interrupted,
            "at": at,
        }
    )
