"""What a session's handle needs of the system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .mailbox import Envelope, Lane

if TYPE_CHECKING:
    import asyncio

    from ..messages.ids import SessionKey


class Gate(Protocol):
    """What a handle needs of the system."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that sessions live on."""
        ...

    def put(
        self, key: SessionKey, envelope: Envelope, lane: Lane = ..., *, bounded: bool = ...
    ) -> None:
        """Put an envelope into a session's mailbox."""
        ...

    def hand(self, key: SessionKey, message: object) -> None:
        """Have a session handle a request, now if it can."""
        ...

    def help(self, key: SessionKey) -> None:
        """Have a session handle what it was sent, now if it can."""
        ...
