"""Which turn the running code belongs to, so that a wait that can never end is refused."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Generator

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


class _Hook(NamedTuple):
    """A session whose actor is in the middle of a hook, and the task that the hook runs in."""

    key: SessionKey
    task: asyncio.Task[Any] | None


_HOOK: ContextVar[_Hook | None] = ContextVar("wavebreak_current_hook", default=None)


@contextlib.contextmanager
def hook_of(key: SessionKey) -> Generator[None]:
    """Say that session ``key`` handles nothing as long as this task is within the block."""
    token = _HOOK.set(_Hook(key, asyncio.current_task()))
    try:
        yield
    finally:
        _HOOK.reset(token)


def refuse_in_hook(key: SessionKey) -> None:
    """Refuse a wait, in a hook of session ``key``, for what that session is to do.

    Raises:
        WouldDeadlock: the running code is such a hook.
    """
    hook = _HOOK.get()
    # A task that the hook has started may well wait.
    if hook is not None and hook.key == key and hook.task is asyncio.current_task():
        msg = (
            f"a hook of session {str(key)!r} waits for that session, which waits for the hook: "
            "do not await what the call gives, or do it in a task of its own"
        )
        raise WouldDeadlock(msg)


def is_its_own(error: BaseException) -> bool:
    """Whether a program's function raised this of itself; no message is lost because it is wrong.

    Otherwise it is we who are cancelled, or the whole program ends. What the function awaits may
    be cancelled too, and ``SystemExit`` is as good as any other error: neither ends a session.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return not isinstance(error, GeneratorExit | KeyboardInterrupt)
