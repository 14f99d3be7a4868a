"""The plain pattern of today: one ``asyncio.Task`` a session, ``cancel()`` and start over.

This is what chat backends do when the user writes again: the running task is cancelled, and a new
one begins with everything that is still unanswered. It loses no message and never speaks twice;
what it had finished, it does again, and a call that was cut off may have happened.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Message = TypeVar("Message")
ReplyT = TypeVar("ReplyT")


class Chat(Generic[Message, ReplyT]):
    """Sessions, each with at most one task that works on its unanswered messages.

    Args:
        agent: answers the messages of a session.
        deliver: takes the reply to the user.
    """

    def __init__(
        self,
        agent: Callable[[str, Sequence[Message]], Awaitable[ReplyT]],
        deliver: Callable[[str, ReplyT, Sequence[Message]], Awaitable[None]],
    ) -> None:
        self._agent = agent
        self._deliver = deliver
        self._unanswered: dict[str, list[Message]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def send(self, session_id: str, message: Message) -> None:
        """Take a message; whatever the session is doing is thrown away and begun anew."""
        self._unanswered.setdefault(session_id, []).append(message)
        running = self._tasks.get(session_id)
        if running is not None:
            running.cancel()
        self._tasks[session_id] = asyncio.create_task(self._answer(session_id))

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, session_id: str) -> None:
        task = asyncio.current_task()
        try:
            messages = list(self._unanswered[session_id])
            reply = await self._agent(session_id, messages)
            del self._unanswered[session_id][: len(messages)]
            await self._deliver(session_id, reply, messages)
        finally:
            # Only what is its own: a newer task may have taken the place.
            if self._tasks.get(session_id) is task:
                del self._tasks[session_id]
