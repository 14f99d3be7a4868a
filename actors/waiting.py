"""Waiting for a commit in a coroutine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from ..journal.base import Commit


async def committed(commit: Commit, loop: asyncio.AbstractEventLoop) -> None:
    """Wait until a commit is done.

    Raises:
        Exception: nobody can say whether it is durable.
    """
    if not commit.done:
        done: asyncio.Future[Commit] = loop.create_future()
        commit.add_done_callback(partial(set_if_open, done))
        await done
    if commit.error is not None:
        raise commit.error


def set_if_open(waiter: asyncio.Future[Any], value: object) -> None:
    """Let who waits go on, if it still does."""
    if not waiter.done():
        waiter.set_result(value)
