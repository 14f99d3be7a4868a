"""What every event has."""

from __future__ import annotations

from .model import Frozen


class Event(Frozen):
    """Something that happened in a session.

    Args:
        tenant: the session's tenant.
        session_id: the session's id.
        turn: the turn it belongs to, if it belongs to one.
        position: its place in the session's journal, from 1 without gaps; None for what is only
            streamed (``delta``).
        at: seconds since the epoch.
    """

    tenant: str
    session_id: str
    turn: int | None
    position: int | None = None
    at: float
