"""One attempt of a turn: its boundaries, and what it reports to the session."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from ..messages.commands import Progress
from ..messages.errors import ActorError, TurnInterrupted, TurnOver, WaveInProgress
from ..messages.policies import Rollback
from ..messages.reasons import Reason
from ..messages.records import CallDone
from ..tools.dependencies import TurnInfo
from ..tools.waves import WaveRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages.policies import Way
    from ..messages.records import CallStarted
    from ..tools.cancellation import CancellationToken
    from .attempt_input import AgentEnd, Environment, TurnInput
    from .control import RuntimeControl

# 70 ns instead of the 150 ns of a named tuple's own.
_new_progress: Callable[[type[Progress], tuple[Any, ...]], Progress] = cast("Any", tuple).__new__


class Attempt(WaveRunner):
    """The line between an agent and its session: where it may go on, and what came of it.

    It is the runner of its waves, rather than having one: an object less in each turn, and nothing
    that leads in a circle.

    Args:
        given: what the attempt begins with.
        control: the line to the session.
        environment: what all turns share.
    """

    __slots__ = (
        "_busy",
        "_done",
        "_flushes",
        "_interrupted",
        "_reports",
        "_stepping",
        "_thread",
        "_wave_done",
        "control",
        "end",
        "environment",
        "input",
        "scope",
        "total_waves",
    )

    def __init__(
        self,
        given: TurnInput,
        control: RuntimeControl,
        environment: Environment,
    ) -> None:
        dependencies = environment.dependencies
        self.scope = dependencies.nothing or dependencies.scope(
            TurnInfo(given.key.tenant, given.key.session_id, given.senders)
        )
        super().__init__(
            threads=environment.threads, scope=self.scope, retryable=environment.retryable
        )
        self.input = given
        self.control = control
        self.environment = environment
        self.total_waves: int | None = None
        self.end: AgentEnd | None = None
        self._stepping: asyncio.Task[Any] | None = None
        self._thread = get_ident()
        self._busy = False
        self._interrupted = False
        # What ended since the last report, if anything has: a list less for each running turn.
        self._done: list[CallDone] | None = None
        self._wave_done = 0
        self._reports = 0
        self._flushes: int | None = None  # how many reports there were when a moment began

    def release(self) -> None:
        """The attempt is over: let go of what would keep all of this alive in a circle."""
        self.control.release()
        super().release()

    @property
    def token(self) -> CancellationToken:
        """The turn's token."""
        return self.control.get_token()

    # --- boundaries ---

    @property
    def stop_requested(self) -> bool:
        """Whether the turn has to end at its next boundary."""
        return self.control.how is not None

    async def boundary(self) -> None:
        """End the turn here, if it was told to stop.

        Raises:
            TurnInterrupted: it was.
            TurnOver: its agent has ended.
        """
        control = self.control
        if control.mailbox.pending:
            await control.catch_up()
        if control.how is not None or control.is_over:
            if self._interrupted:
                # An agent that swallows this in a loop must not keep the loop from all others.
                await asyncio.sleep(0)
            self._interrupted = True
            raise self._interruption()

    def _interruption(self) -> TurnInterrupted | TurnOver:
        if self.control.how is None and self.control.is_over:
            return self._over()
        return TurnInterrupted(self.control.reason or Reason.STOPPED)

    def _over(self) -> TurnOver:
        msg = (
            f"the agent of turn {self.input.number} has ended, and nothing begins in its turn any "
            "more: await what the agent starts before it returns"
        )
        return TurnOver(msg)

    def _refuse_elsewhere(self) -> None:
        """The turn belongs to its loop's thread; nothing of it is guarded against others."""
        if get_ident() != self._thread:
            msg = (
                f"turn {self.input.number} was used on another thread than its loop's: let the "
                "agent or an async tool do it, or call it by loop.call_soon_threadsafe(...)"
            )
            raise ActorError(msg)

    def _occupy(self) -> None:
        if get_ident() != self._thread:
            self._refuse_elsewhere()
        if self.control.is_over and self.control.how is None:
            raise self._over()
        if self._busy:
            msg = (
                f"turn {self.input.number} runs a wave or a step already: await it before you "
                "start the next one, or put the calls into one wave"
            )
            raise WaveInProgress(msg)
        self._busy = True

    def told(self, how: Way) -> None:
        """The session has told the attempt to stop, by ``how``."""
        if isinstance(how, Rollback):
            self.cancel_reads()
        elif self.control.fenced:
            self.cancel()
        else:
            self.end_tries()
            if self._stepping is not None:
                self._stepping.cancel()

    # --- reports ---

    # What ended is reported with whatever comes next in the same go, so that the end of a wave
    # and the start of the next are one report and one commit; at the latest after a moment.

    def progress(self) -> Progress | None:
        """What has not been reported yet; for the supervisor, when the runtime has ended."""
        if self._done is None and not self._wave_done:
            return None
        return self._further(self.environment.now(), 0, ())

    def _further(self, now: float, wave: int, calls: tuple[CallStarted, ...]) -> Progress:
        """What happened since the last report, and the wave that begins, if one does."""
        done = () if self._done is None else tuple(self._done)
        wave_done = self._wave_done
        self._done = None
        self._wave_done = 0
        self._reports += 1
        return _new_progress(Progress, (now, self.control.fence, done, wave_done, wave, calls))

    def flush(self) -> None:
        """Report what has not been reported yet."""
        progress = self.progress()
        if progress is not None:
            self.control.report(progress)

    def _flush_later(self) -> None:
        self._flushes = self._reports
        self.environment.moments.later(self._flush_now)

    def _flush_now(self) -> None:
        is_old = self._flushes == self._reports
        self._flushes = None
        if is_old:
            self.flush()
        elif self._done is not None or self._wave_done:
            self._flush_later()  # it ended after the moment had begun
