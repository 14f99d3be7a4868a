"""Futures of what a session is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..messages.message import MessageOutcome
from .current import refuse_in_hook, refuse_within
from .future import Future

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from ..messages.ids import SessionKey
    from .gate import Gate

T = TypeVar("T")


class SessionFuture(Future[T]):
    """What a session is to do; not to be waited for in a hook of the same session."""

    __slots__ = ("_key",)

    def __init__(self, key: SessionKey, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._key = key

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            refuse_in_hook(self._key)
        return super().__await__()


class SentFuture(SessionFuture[T]):
    """What a session is to do with what it was sent; who awaits it has that done, if it is free.

    Args:
        key: the session's.
        gate: the way to it.
    """

    __slots__ = ("_gate",)

    def __init__(self, key: SessionKey, gate: Gate) -> None:
        super().__init__(key, gate.loop)
        self._gate = gate

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            refuse_in_hook(self._key)
            self._gate.help(self._key)
        return super().__await__()


class OutcomeFuture(SessionFuture[MessageOutcome]):
    """How a message ended; not to be waited for inside a turn of the same session."""

    __slots__ = ()

    def get(self, *, timeout: float | None = None) -> MessageOutcome:
        """Wait in another thread than the loop's.

        Raises:
            WouldDeadlock: called on the loop's thread, or inside a turn of the session.
        """
        if not self.done():
            refuse_within(self._key, "an outcome")
        return super().get(timeout=timeout)

    def __await__(self) -> Generator[Any, None, MessageOutcome]:
        if not self.done():
            refuse_within(self._key, "an outcome")
        return super().__await__()
