"""What really happened in a session, written down by its tools and people, not by a framework.

The tools note each start and end of theirs, the agents when they run, the people when they write.
``audit.py`` reads it afterwards.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@dataclass(slots=True)
class Start:
    """One start of a tool.

    Args:
        key: tool and arguments; equal calls have equal keys.
        once: whether it changes the world.
        turn: the turn that started it.
        wave: its place among the session's waves, over all turns.
        began: the loop's time.
        ended: the loop's time, or None when it was cut off or still runs.
        spent: recorded seconds that it worked.
    """

    key: str
    once: bool
    turn: int
    wave: int
    began: float
    ended: float | None = None
    spent: float = 0.0


@dataclass(slots=True)
class Run:
    """One run of an agent on a turn.

    Args:
        turn: the turn's number.
        messages: what it worked on.
        returned: whether the agent came to its end, rather than being stopped.
    """

    turn: int
    messages: tuple[str, ...]
    returned: bool = False


class Answer(NamedTuple):
    """A reply that was delivered.

    Args:
        reply_id: tells it from the others of its session.
        messages: those that it answers.
        at: the loop's time.
    """

    reply_id: str
    messages: tuple[str, ...]
    at: float


@dataclass(slots=True)
class Tape:
    """The record of one session.

    Args:
        sent: the loop's time at which each message was sent.
        accepted: how many of them were confirmed.
        outcomes: how each message ended; a second entry is a defect.
        landed: messages sent while an earlier one was still unanswered.
        starts: every start of a tool.
        runs: every run of an agent.
        finished: the turns that ended with a reply.
        interrupted: the turns that ended without one, to be taken up by the next.
        carried: by turn and key, calls that were answered without a start.
        replies: every reply that was delivered.
        wrong: results and replies that are not what was recorded, in words.
        max_runtimes: the most agents that ever ran at the same time.
    """

    sent: dict[str, float] = field(default_factory=dict[str, float])
    accepted: int = 0
    outcomes: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    landed: int = 0
    starts: list[Start] = field(default_factory=list[Start])
    runs: list[Run] = field(default_factory=list[Run])
    finished: set[int] = field(default_factory=set[int])
    interrupted: set[int] = field(default_factory=set[int])
    carried: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    replies: list[Answer] = field(default_factory=list[Answer])
    wrong: list[str] = field(default_factory=list[str])
    max_runtimes: int = 0
    _running: int = 0
    _working: int = 0
    _wave: int = 0

    def note_sent(self, message_id: str, now: float) -> None:
        """A person writes."""
        self.landed += any(message not in self.outcomes for message in self.sent)
        self.sent[message_id] = now

    def note_outcome(self, message_id: str, status: str) -> None:
        """A message ends."""
        self.outcomes.setdefault(message_id, []).append(status)

    def note_reply(self, reply_id: str, messages: Sequence[str], now: float) -> None:
        """A reply is delivered."""
        self.replies.append(Answer(reply_id, tuple(messages), now))

    @contextmanager
    def running(self, turn: int, messages: Sequence[str]) -> Generator[None]:
        """Note the run of an agent."""
        run = Run(turn, tuple(messages))
        self.runs.append(run)
        self._running += 1
        self.max_runtimes = max(self.max_runtimes, self._running)
        try:
            yield
            run.returned = True
        finally:
            self._running -= 1

    async def work(self, key: str, *, once: bool, seconds: float, speed: float) -> None:
        """Be a tool at work.

        Args:
            key: tool and arguments.
            once: whether it changes the world.
            seconds: how long it takes, in recorded seconds.
            speed: how many recorded seconds pass in one of the loop's.
        """
        loop = asyncio.get_running_loop()
        # The calls of a wave start together and a wave ends before the next: when nothing is at
        # work, a new wave begins.
        self._wave += not self._working
        self._working += 1
        turn = self.runs[-1].turn if self.runs else 0
        start = Start(key, once, turn, self._wave, loop.time())
        self.starts.append(start)
        try:
            await asyncio.sleep(seconds / speed)
            start.ended = loop.time()
            start.spent = seconds
        finally:
            self._working -= 1
            if start.ended is None:
                start.spent = min(seconds, (loop.time() - start.began) * speed)
