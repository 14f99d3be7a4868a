"""The history of a session: what a turn adds to it when it ends; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import Said
from ...messages.history import HistoryEntry, HistoryKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...messages.message import Reply, SessionMessage
    from .state import Running


def history_of(running: Running, reply: Reply, at: float) -> Iterator[HistoryEntry]:
    """The entries of a turn that finishes: its messages, what it said, its reply."""
    turn = running.number
    for waiting in running.messages:
        message = waiting.message
        yield _entry(
            HistoryKind.MESSAGE, turn, message.as_text(), message.received_at, message=message
        )
    yield from said_in(running, interrupted=False)
    if reply.text or reply.attachments or reply.data:
        yield _entry(HistoryKind.REPLY, turn, reply.text, at, reply=reply)


def said_in(running: Running, *, interrupted: bool) -> Iterator[HistoryEntry]:
    """The entries of what a turn said; it was said, also when the turn was interrupted then."""
    for event in running.log:
        if isinstance(event, Said):
            yield _entry(
                HistoryKind.SAID, running.number, event.text, event.at, interrupted=interrupted
            )


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
