"""A future of what a session is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .current import refuse_in_hook
from .future import Future

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from ..messages.ids import SessionKey
    from .session_face import Gate

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
