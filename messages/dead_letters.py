"""What was given up: kept for a while, so that somebody can look at it and do it by hand."""

from __future__ import annotations

from enum import StrEnum

from pydantic import SerializeAsAny

from .message import Delivery, SessionMessage
from .model import Frozen
from .records import PartialResults


class DeadLetterKind(StrEnum):
    """What was given up."""

    TURN = "turn"
    """A turn that ended its runtime more often than it may; its messages ended as failed."""
    DELIVERY = "delivery"
    """A reply, or words, that no attempt brought to the user."""
    TOLD = "told"
    """A program's own message to a session that came to its end before it."""


class DeadLetter(Frozen):
    """Something that a session gave up; the session lives on.

    Args:
        kind: what it is.
        tenant: the session's tenant.
        session_id: the session's id.
        at: seconds since the epoch.
        cause: why, in words.
        turn: of a turn its number.
        messages: of a turn what it worked on.
        partial_results: of a turn what it, and the chain before it, had finished.
        delivery: of a delivery that.
        told: of what was told its ``repr``.
    """

    kind: DeadLetterKind
    tenant: str
    session_id: str
    at: float
    cause: str = ""
    turn: int | None = None
    messages: tuple[SerializeAsAny[SessionMessage], ...] = ()
    partial_results: PartialResults | None = None
    delivery: Delivery | None = None
    told: str = ""
