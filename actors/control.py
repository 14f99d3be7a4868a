"""What a session and the runtime of one attempt share: the stop flag, the token, the way back.

All of it is touched on the loop's thread only, except the token. The stop is a flag that the
session sets as soon as it has decided: a stop that queues behind work comes too late (COSTS 5).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pykka

from ..messages.commands import TokenCancelled
from ..messages.policies import AfterWave, Now, Rollback, fences
from ..messages.text import storable
from ..tools.cancellation import CancellationToken
from .backlog_requests import TakeRequest
from .mailbox import Envelope, Lane
from .requests import Barrier

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..journal.base import Commit
    from ..messages.commands import Progress, Report, RuntimeExit, Streamed
    from ..messages.ids import Fence
    from ..messages.policies import Way
    from ..messages.reasons import Reason
    from ..messages.records import PartialResults
    from .mailbox import Mailbox
    from .runtime import RuntimeActor
    from .session import SessionActor


class _Nobody:
    """In the place of a session that was deleted."""

    __slots__ = ()

    def hand(self, message: object) -> None:
        """Take a report, which is of no use to anybody."""
        if isinstance(message, TakeRequest) and not message.taken.done():
            message.taken.set_result(())

    pass_on = hand

    def _actor_hand(self, message: object) -> bool:
        """As :meth:`hand`."""
        self.hand(message)
        return True

    def take_progress(self, _report: Progress) -> bool:
        """Take a report as any other."""
        return False

    def drain(self) -> bool:
        """Nothing waits."""
        return True

    def partial_results(self, _fence: Fence, _further: Progress | None) -> None:
        """Nothing is known."""


class RuntimeControl:
    """One attempt's line between its runtime and its session.

    Args:
        fence: the attempt's fence.
        mailbox: the session's mailbox, which outlives incarnations of the session's actor.
        session: the session's actor as it is now.
        now: the clock, in seconds since the epoch.
    """

    __slots__ = (
        "_admission",
        "_now",
        "_session",
        "_take_back",
        "_token",
        "admitted",
        "commit",
        "ended",
        "fence",
        "how",
        "is_over",
        "mailbox",
        "on_told",
        "reason",
        "runtime",
    )

    def __init__(
        self,
        fence: Fence,
        mailbox: Mailbox,
        session: SessionActor,
        now: Callable[[], float],
    ) -> None:
        self.fence = fence
        self.mailbox = mailbox
        self.how: Way | None = None
        self.reason: Reason | None = None
        self.admitted = 0
        self.ended = False
        self.is_over = False
        self.commit: Commit | None = None
        self.on_told: Callable[[Way], None] | None = None
        self.runtime: RuntimeActor | None = None
        self._session: SessionActor | _Nobody = session
        self._now = now
        self._token: CancellationToken | None = None
        self._take_back: Callable[[], None] | None = None
        self._admission: asyncio.Future[None] | None = None

    @property
    def fenced(self) -> bool:
        """Whether the attempt may not say, save or start anything any more."""
        return self.how is not None and fences(self.how)

    @property
    def wants_attention(self) -> bool:
        """Whether the attempt was told to stop, or may be by what waits for the session."""
        return self.how is not None or self.mailbox.first is not None

    def agent_ended(self) -> None:
        """Let whatever the agent left behind begin nothing, and not wait for being let."""
        self.is_over = True
        self._wake()

    def release(self) -> None:
        """The attempt is over; nobody is told any more."""
        self.on_told = self.runtime = None
        if self._take_back is not None:
            self._take_back()
            self._take_back = None

    def get_token(self) -> CancellationToken:
        """The turn's cancellation token, made when somebody first looks at it."""
        token = self._token
        if token is None:
            token = self._token = CancellationToken()
            if self.reason is not None:
                token.cancel(self.reason)
            else:
                self._take_back = token.add_callback(self._token_cancelled)
            token.hold()
        return token

    def _token_cancelled(self) -> None:
        if self.how is None:
            reason = self._token.cancel_reason if self._token else None
            command = TokenCancelled(self._now(), self.fence, storable(str(reason or "")))
            self.mailbox.put(Envelope(command), Lane.CONTROL)

    # --- the runtime's side ---

    def report(self, report: Report | Streamed | TakeRequest) -> None:
        """Tell the session, or whoever reads its mailbox after it; never refused for its size."""
        if not self._session._actor_hand(report):  # noqa: SLF001 - one of ours
            self._put(report)

    def report_exit(self, exit_: RuntimeExit) -> None:
        """As :meth:`report`, from a stack that is not the agent's."""
        try:
            self._session.hand(exit_)
        except pykka.ActorDeadError:
            # It was let go meanwhile, and this brings it back; or the system is closed.
            self._session.pass_on(exit_)

    def _put(self, report: Report | Streamed | TakeRequest) -> None:
        try:
            self.mailbox.put(Envelope(report), bounded=False)
        except pykka.ActorDeadError:
            self._session.pass_on(report)  # as above

    def go_on(self, progress: Progress) -> None:
        """As :meth:`report`, for what is reported at every wave."""
        if not self._session.take_progress(progress):
            self.report(progress)

    async def catch_up(self) -> None:
        """Let the session handle what waits for it, so that a stop is known before going on."""
        if self.mailbox.pending and not self._session.drain():
            # The session is in the middle of an asynchronous hook; it tells when it got here.
            here = asyncio.get_running_loop().create_future()
            self.mailbox.put(Envelope(Barrier(here)), bounded=False)
            await here

    async def admission(self, wave: int) -> bool:
        """Whether the session has recorded the beginning of ``wave``; else the turn has to end."""
        if self.mailbox.pending:
            await self.catch_up()
        while self.admitted != wave and self.how is None and not self.is_over:
            self._admission = asyncio.get_running_loop().create_future()
            await self._admission
        return self.admitted == wave and self.how is None and not self.is_over

    def partial_results(self, further: Progress | None) -> PartialResults | None:
        """What the turn has finished, with what was not reported yet; None if it has ended."""
        return self._session.partial_results(self.fence, further)

    # --- the session's side ---

    def forget(self) -> None:
        """The session was deleted: nobody is told anything, and nothing brings it back."""
        self._session = _Nobody()

    def admit(self, wave: int, commit: Commit) -> None:
        """The beginning of ``wave`` is recorded, and durable when ``commit`` is done."""
        self.admitted = wave
        self.commit = commit
        if self._admission is not None:
            self._wake()

    def tell_stop(self, how: Way, reason: Reason) -> None:
        """Tell the runtime to stop; a harder way may follow, never a softer one."""
        if self.how is not None and _HARDNESS[type(how)] <= _HARDNESS[type(self.how)]:
            return
        self.how = how
        self.reason = reason
        if self._token is not None:
            self._token.cancel(reason)
        self._wake()
        if self.runtime is not None:
            self.runtime._actor_told(how)  # noqa: SLF001 - one of ours
        elif self.on_told is not None:
            self.on_told(how)

    def _wake(self) -> None:
        waiting, self._admission = self._admission, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


_HARDNESS: Final = {AfterWave: 0, Rollback: 1, Now: 2}
"""On calls: a rollback lets those end that are not reads, so a stop that is `Now` goes further."""
