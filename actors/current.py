"""Which turn the running code belongs to, so that a wait that can never end is refused."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..messages.errors import WouldDeadlock

if TYPE_CHECKING:
    from ..messages.ids import SessionKey


class CurrentTurn:
    """A turn whose agent, or one of its tools, is running."""

    __slots__ = ("active", "key")

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.active = True


_CURRENT: ContextVar[CurrentTurn | None] = ContextVar("wavebreak_current_turn", default=None)


def enter_turn(key: SessionKey) -> CurrentTurn:
    """Say that the code from here on, in this context, belongs to a turn of session ``key``."""
    current = CurrentTurn(key)
    _CURRENT.set(current)
    return current


def is_within(key: SessionKey) -> bool:
    """Whether the running code belongs to a turn of session ``key`` that has not ended."""
    current = _CURRENT.get()
    return current is not None and current.active and current.key == key


def refuse_within(key: SessionKey, what: str) -> None:
    """Refuse a wait for something that cannot happen before the running turn has ended.

    Raises:
        WouldDeadlock: the running code belongs to a turn of that session.
    """
    if is_within(key):
        msg = (
            f"waiting for {what} inside a turn of session {str(key)!r} could never end: return "
            "first, or wait from another session or from outside"
        )
        raise WouldDeadlock(msg)
