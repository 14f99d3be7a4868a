"""What a good engineer writes by hand for an interruptible conversation, with bare asyncio.

The yardstick of ``hotpath.py``, and frozen: a test holds its hash, so that later figures compare
with the same thing. One task and one queue a session. A turn's calls run in waves, each call as a
task, gathered. Between two waves a flag is checked: when the user has written again, the turn ends,
and the next one starts with all unanswered messages and with every result that was completed.

No journal, no validation, no supervision: it does this one job, and does it properly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

Agent: TypeAlias = "Callable[[Turn], Awaitable[str]]"
Deliver: TypeAlias = "Callable[[str, str], Awaitable[None]]"
Key: TypeAlias = "tuple[str, tuple[Hashable, ...]]"
"""A tool's name and its arguments."""


class Interrupted(Exception):
    """The user wrote again: the turn ends here."""


@dataclass(slots=True)
class Call:
    """One call of a wave.

    Args:
        name: the tool's name.
        arguments: hashable, so that equal calls are found again.
        run: makes the coroutine that does the work.
    """

    name: str
    arguments: tuple[Hashable, ...]
    run: Callable[..., Coroutine[Any, Any, Any]]

    @property
    def key(self) -> Key:
        """What makes two calls equal."""
        return self.name, self.arguments


@dataclass(slots=True)
class Message:
    """What the user wrote, and who waits for the reply to it."""

    text: str
    answered: asyncio.Future[str]


@dataclass(slots=True)
class Turn:
    """The work on all unanswered messages.

    Args:
        messages: the texts, oldest first.
        previous: completed results of the interrupted turns before, by tool and arguments; an
            equal call takes the first of them.
    """

    session: Session
    messages: list[str]
    previous: dict[Key, deque[Any]]
    completed: list[tuple[Key, Any]] = field(default_factory=list["tuple[Key, Any]"])

    async def wave(self, *calls: Call) -> list[Any]:
        """Run calls side by side and give their results, in order.

        Raises:
            Interrupted: before or after the wave, when the user has written again.
            ExceptionGroup: with what failed; the other calls are not disturbed.
        """
        self.check()
        results: list[Any] = await asyncio.gather(
            *(asyncio.create_task(self._call(call)) for call in calls), return_exceptions=True
        )
        self.check()
        failures = [result for result in results if isinstance(result, Exception)]
        if failures:
            msg = f"{len(failures)} of {len(calls)} calls failed"
            raise ExceptionGroup(msg, failures)
        return results

    def check(self) -> None:
        """End the turn if the user has written again."""
        if self.session.interrupted:
            raise Interrupted

    async def _call(self, call: Call) -> Any:
        key = call.key
        earlier = self.previous.get(key)
        result = earlier.popleft() if earlier else await call.run(*call.arguments)
        self.completed.append((key, result))
        return result


class Session:
    """One conversation: a queue of messages, and a task that answers them.

    Args:
        session_id: its name.
        agent: answers a turn.
        deliver: takes a reply to the user.
    """

    def __init__(self, session_id: str, agent: Agent, deliver: Deliver) -> None:
        self.session_id = session_id
        self.interrupted = False
        self._agent = agent
        self._deliver = deliver
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._unanswered: list[Message] = []
        self._task = asyncio.create_task(self._work(), name=f"session {session_id}")

    def send(self, text: str) -> asyncio.Future[str]:
        """Take a message; the future is the reply to it."""
        message = Message(text, asyncio.get_running_loop().create_future())
        self._inbox.put_nowait(message)
        self.interrupted = True
        return message.answered

    async def close(self) -> None:
        """End the session; whoever still waits is told."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._take_waiting()
        for message in self._unanswered:
            message.answered.cancel()

    async def _work(self) -> None:
        carried: list[tuple[Key, Any]] = []
        while True:
            if not self._unanswered:
                self._unanswered.append(await self._inbox.get())
            self._take_waiting()
            turn = self._turn(carried)
            try:
                reply = await self._agent(turn)
                turn.check()
                await self._deliver(self.session_id, reply)
            except Interrupted:
                carried = self._left_over(turn)
            except Exception as error:  # noqa: BLE001 - whatever it is, the senders get it
                self._answer(error)
                carried = self._left_over(turn)
            else:
                self._answer(reply)
                carried = []

    def _take_waiting(self) -> None:
        while not self._inbox.empty():
            self._unanswered.append(self._inbox.get_nowait())
        self.interrupted = False

    def _turn(self, carried: list[tuple[Key, Any]]) -> Turn:
        previous: dict[Key, deque[Any]] = {}
        for key, result in carried:
            previous.setdefault(key, deque()).append(result)
        return Turn(self, [message.text for message in self._unanswered], previous)

    def _left_over(self, turn: Turn) -> list[tuple[Key, Any]]:
        """Give what the turn completed, and what it had been given and did not use."""
        unused = [(key, result) for key, results in turn.previous.items() for result in results]
        return [*turn.completed, *unused]

    def _answer(self, reply: str | Exception) -> None:
        for message in self._unanswered:
            if message.answered.done():
                continue  # whoever waited has gone
            if isinstance(reply, Exception):
                message.answered.set_exception(reply)
            else:
                message.answered.set_result(reply)
        self._unanswered.clear()
