"""What is counted of entries beside them: a start looks at that, and not at all sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..messages.entries import Progressed
from ..messages.events import DeliveryEnded, MessageAccepted, MessageDue, MessageEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages.entries import Entry


def more_unfinished(entries: Sequence[Entry]) -> int:
    """How many more messages and deliveries are to be ended after ``entries`` than before.

    A session with none is at rest, and is not started before somebody wants something of it.
    """
    more = 0
    for entry in entries:
        kind = type(entry)
        if kind is Progressed:
            continue
        # By the dict: pydantic takes 5 µs to say that there is no such attribute.
        fields = entry.__dict__
        if kind is MessageAccepted:
            more += fields.get("due_at") is None
        elif kind is MessageDue:
            more += 1
        elif kind in _ENDS and fields.get("scheduled") is None:
            more -= 1
        if kind is not DeliveryEnded and fields.get("delivery_id") is not None:
            more += 1
    return more


def scheduled_by(entries: Sequence[Entry]) -> list[tuple[int, float | None]]:
    """Where messages were accepted that are due then, or, with None, are scheduled no more."""
    scheduled: list[tuple[int, float | None]] = []
    for entry in entries:
        if isinstance(entry, MessageAccepted):
            if entry.due_at is not None and entry.position is not None:
                scheduled.append((entry.position, entry.due_at))
        elif isinstance(entry, MessageDue):
            scheduled.append((entry.accepted, None))
        elif isinstance(entry, MessageEnded) and entry.scheduled is not None:
            scheduled.append((entry.scheduled, None))
    return scheduled


_ENDS: Final = frozenset({MessageEnded, DeliveryEnded})
