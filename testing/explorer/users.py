"""The users of a run: what they send, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import TYPE_CHECKING, Any

from ...messages.errors import (
    AcceptanceUnknown,
    Detached,
    SessionError,
    SystemClosed,
    WavebreakError,
)
from .facts import Sent
from .names import DURABLE, ENDS
from .script import Restart, Say, Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...actors.future import Future
    from ...actors.hub import EventStream
    from ...actors.session_face import Receipt
    from ...messages.policies import AfterWave, Now
    from .play import Play
    from .script import Line

HANG = 5_000.0
"""Virtual seconds after which something is said to hang."""

DEADLINE = 600.0
"""Seconds that every turn has, in schedules in which a deadline passes."""

_TRIES = 12
"""How often a sender tries who was not told whether his message was accepted."""


class Users:
    """Do what the script says, and what is injected, over all lives of the system.

    Args:
        play: the run.
        deadlines: whether a deadline passes in it.
    """

    def __init__(self, play: Play, *, deadlines: bool) -> None:
        self._play = play
        self._has_deadlines = deadlines
        self._line = 0
        self._gaps = 0
        self._followers: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Another life of the system begins."""
        self._gaps = 0
        self._followers = []

    @property
    def wait(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not task.done() for task in self._followers)

    async def drive(self, script: Sequence[Line]) -> None:
        """Do what the script says, from where it was left when the system died."""
        while self._line < len(script):
            line = script[self._line]
            if line.after is None:
                await self.all_told()
            elif line.after:
                await asyncio.sleep(line.after)
            self._line += 1
            match line:
                case Say():
                    self.send(Sent("", line.text, line.policy, line.sender, line.deadline))
                case Stop():
                    self.stop(line.how, line.backlog)
                case Restart():
                    self._play.restart()
                    await asyncio.sleep(HANG)
        await self.all_told()

    async def all_told(self) -> None:
        """Wait until everybody who asked was answered."""
        while waiting := [task for task in self._followers if not task.done()]:
            done, _ = await asyncio.wait(waiting, timeout=HANG)
            if not done:
                self._play.hangs(f"not in {HANG:.0f} seconds")
                self._play.hung = True
                return

    def send(self, sent: Sent) -> None:
        """Write a message; who does follows what becomes of it."""
        self._play.facts.sent.append(sent)
        sent.id = sent.id or f"m{len(self._play.facts.sent)}"
        if self._has_deadlines:
            sent.deadline = DEADLINE
        self._play.mark("sent", sent)
        if self._play.session is not None:
            self.follow(sent)

    def follow(self, sent: Sent) -> None:
        """Put the message into the mailbox at once, and see what becomes of it."""
        accepted = None
        if not sent.accepted:
            accepted = self._try(sent)
            if accepted is None:
                return
        self._follow_task(self._until_told(sent, accepted))

    def _follow_task(self, work: Any) -> None:
        self._followers = [task for task in self._followers if not task.done()]
        # Who sends in the middle of a turn is not part of that turn.
        context = self._play.clean.copy()
        self._followers.append(self._play.loop.create_task(work, context=context))

    def _try(self, sent: Sent) -> Future[Receipt] | None:
        session = self._play.session
        assert session is not None, "nothing is sent while no system runs"
        try:
            return session.send(
                sent.text,
                message_id=sent.id,
                policy=sent.policy,
                sender=sent.sender,
                deadline=sent.deadline,
            )
        except SystemClosed:
            return None  # it is sent again in the next life

    async def _until_told(self, sent: Sent, accepted: Future[Receipt] | None) -> None:
        try:
            if accepted is not None and not await self._until_accepted(sent, accepted):
                return
            session = self._play.session
            if session is None:
                return
            outcome = await session.outcome(sent.id)
        except (Detached, SystemClosed):
            if not self._play.again:
                self._play.facts.breaks(ENDS, f"{sent.text!r} was let go of by a system that runs")
        except WavebreakError as error:
            # UnknownMessage, for one: it was accepted, and is gone.
            self._play.facts.breaks(ENDS, f"{sent.text!r} was accepted, and then: {error}")
            sent.error = error
        else:
            if not self._play.durable.has_ended(sent.id):
                self._play.facts.breaks(DURABLE, f"the outcome of {sent.text!r} was told too early")
            sent.outcome = outcome

    async def _until_accepted(self, sent: Sent, accepted: Future[Receipt]) -> bool:
        for _ in range(_TRIES):
            try:
                await accepted
            except AcceptanceUnknown:
                await asyncio.sleep(1.0)
                again = self._try(sent) if self._play.session is not None else None
                if again is None:
                    return False
                accepted = again
            except (SystemClosed, Detached):
                return False
            except WavebreakError as error:
                sent.error = error
                self._play.mark("refused", sent)
                return False
            else:
                sent.accepted = True
                if not self._play.durable.has_accepted(sent.id):
                    words = f"{sent.text!r} was acknowledged before it was durable"
                    self._play.facts.breaks(DURABLE, words)
                return True
        self._play.facts.breaks(ENDS, f"{sent.text!r} was never accepted in {_TRIES} tries")
        return False

    def stop(self, how: AfterWave | Now, backlog: str = "keep") -> None:
        """Ask for a stop."""
        if self._play.session is not None:
            with contextlib.suppress(SystemClosed):
                stopped = self._play.session.stop(how, backlog=backlog)  # type: ignore[arg-type]
                self._play.facts.drops = self._play.facts.drops or backlog == "drop"
                self._follow_task(self._until_stopped(stopped))
                self._play.mark("stop", how)

    async def _until_stopped(self, stopped: Future[Any]) -> None:
        with contextlib.suppress(SessionError, SystemClosed, Detached):
            await stopped

    async def read(self, stream: EventStream) -> None:
        """Read what is published, and look whether it is in order."""
        last = None
        async for event in stream:
            self._play.facts.published.append(event)
            if event.position is None:
                continue
            if event.position > self._play.durable.position:
                words = f"{type(event).__name__} was published before it was durable"
                self._play.facts.breaks(DURABLE, words)
            # What was written, and not known to be when a commit failed, is only read again.
            gaps = self._missed(last, event.position)
            if gaps > sum(one.what in {"lose", "unsure"} for one in self._play.facts.injected):
                words = f"subscribers saw position {event.position} after {last}"
                self._play.facts.breaks(DURABLE, words)
            last = event.position

    def _missed(self, last: int | None, position: int) -> float:
        """How many gaps subscribers have seen in this life; infinity when it went back."""
        if last is not None and position <= last:
            return inf
        self._gaps += last is not None and position != last + 1
        return self._gaps
