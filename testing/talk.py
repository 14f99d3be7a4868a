"""A system for plain tests: it runs in virtual time, and is talked to without a coroutine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from ..system import ActorSystem
from .doubles import RecordingDeliver
from .leaks import Leak
from .virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Self

    from ..actors.session_face import Receipt, Session
    from ..messages.message import MessageOutcome
    from ..settings import Agent

T = TypeVar("T")


class Talk:
    """A running system, a user, and a clock that jumps; close it, best by ``with``.

    ``deliver`` has what reached the user, ``system`` is the system itself.

    Args:
        agent: as for ``ActorSystem``.
        options: for ``ActorSystem``.
    """

    def __init__(self, agent: Agent, **options: Any) -> None:
        self.deliver = RecordingDeliver()
        options.setdefault("deliver", self.deliver)
        self._loop = VirtualTimeLoop()
        self.system = ActorSystem(agent, **options)
        self._open = True
        try:
            self.run(self.system.__aenter__())
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the system's loop."""
        return self._loop.run_until_complete(main)

    def session(self, session_id: str = "user") -> Session:
        """A handle of a session; what it gives is awaited in :meth:`run`."""
        return self.system.session(session_id)

    def ask(self, text: str, session_id: str = "user", **options: Any) -> str:
        """Send a message, wait until it has ended, and give the reply's text; empty if none.

        Args:
            text: the message.
            session_id: whose.
            options: for ``session.send``.
        """
        reply = self.send(text, session_id, **options).reply
        return "" if reply is None else reply.text

    def send(self, text: str, session_id: str = "user", **options: Any) -> MessageOutcome:
        """Send a message and wait until it has ended.

        Args:
            text: the message.
            session_id: whose.
            options: for ``session.send``.
        """

        async def sent() -> MessageOutcome:
            receipt = await self.session(session_id).send(text, **options)
            return await receipt.outcome()

        return self.run(sent())

    def burst(self, *texts: str, every: float = 0.1, session_id: str = "user") -> list[str]:
        """Send several messages without waiting for answers; give what the user read then.

        Args:
            texts: the messages.
            every: seconds between them.
            session_id: whose.
        """

        async def sent() -> list[str]:
            before = len(self.deliver.deliveries)
            receipts: list[Receipt] = []
            for text in texts:
                receipts.append(await self.session(session_id).send(text))
                await asyncio.sleep(every)
            for receipt in receipts:
                await receipt.outcome()
            await asyncio.sleep(1.0)
            return self.deliver.texts[before:]

        return self.run(sent())

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.run(asyncio.sleep(seconds))

    def close(self) -> None:
        """Close the system.

        Raises:
            Leak: a task is left on its loop.
        """
        if not self._open:
            return
        self._open = False
        try:
            self.run(self.system.__aexit__(None, None, None))
            self.run(asyncio.sleep(1.0))
            left = asyncio.all_tasks(self._loop)
        finally:
            self._loop.close()
        if left:
            names = "".join(f"\n  {task!r}" for task in left)
            msg = f"tasks are left after the test; await or cancel them:{names}"
            raise Leak(msg)
