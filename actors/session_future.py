"""A future of what a session is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .current import refuse_in_hook
from .future import Future

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from ..messages.ids import SessionKey

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
