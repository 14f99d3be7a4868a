"""The waves of an attempt: answered from the ledger, reported, admitted, and run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..messages.commands import Progress
from ..messages.errors import ToolDefinitionError, WaveFailed
from ..messages.ids import idempotency_key
from ..messages.reasons import CallStatus
from ..tools.call import ToolCall
from ..tools.endings import SKIPPED
from ..tools.execution import failure_of
from .attempt import Attempt
from .ledger import Ledger, record_of
from .wave_call import CommitGate, WaveCall

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ..journal.base import Commit
    from ..messages.errors import CallFailed
    from ..messages.records import CallRecord, CallStarted
    from ..tools.execution import CallEnd, Prepared
    from .attempt_input import Environment, TurnInput
    from .control import RuntimeControl

T = TypeVar("T")

_COMPLETED = CallStatus.COMPLETED  # looked up once: it is asked for at every call


class AttemptWaves(Attempt):
    """Runs the waves of one attempt and reports them to the session; as :class:`Attempt`."""

    __slots__ = (
        "_answers",
        "_calls",
        "_has_past",
        "_id_prefix",
        "_key_prefix",
        "_ledger",
        "_number",
        "_wave_at",
    )

    def __init__(self, given: TurnInput, control: RuntimeControl, environment: Environment) -> None:
        super().__init__(given, control, environment)
        self._has_past = given.previous is not None or bool(given.log)
        self._ledger: Ledger | None = None  # made when it is first asked: somebody waits for us
        ids: Any = f"{given.number}.{given.attempt}."
        self._id_prefix: str = ids
        self._key_prefix: str = idempotency_key(given.uid, ids)  # a key ends as its call's id
        self._answers = False
        self._number = 0
        self._wave_at = 0.0
        self._calls: Sequence[WaveCall] = ()

    def release(self) -> None:
        """The attempt is over: let go of what would keep all of this alive in a circle."""
        super().release()
        for one in self._calls:
            # A cancelled call's error leads through contexts in which the call is the current one.
            if one.end is not None and one.end.exception is not None:
                one.end = one.end._replace(exception=None)
        self._calls = ()

    async def run_wave(
        self,
        calls: Sequence[ToolCall[Any]],
        giving: Callable[[AttemptWaves, Sequence[WaveCall]], T],
    ) -> T:
        """Run ``calls`` as the next wave; a failed call itself raises nothing.

        Args:
            calls: what to run.
            giving: makes the result of the calls as they have ended, in their order. It is asked
                for here so that no other coroutine has to wait for this one in every wave.
        """
        for call in calls:
            if not isinstance(call, ToolCall):
                msg = f"a wave takes calls of tools, such as search('x'), not {call!r}"
                raise ToolDefinitionError(msg)
        self._occupy()
        control = self.control
        try:
            if control.wants_attention:
                await self.boundary()
            self._calls = ()
            if not calls:
                return giving(self, ())
            wave, ours = self._begin_wave(calls)
            del calls  # which nobody needs any more, as long as the wave may take
            if control.admitted != wave or control.how is not None:
                await self._admission(wave, ours)
            self._number = wave
            self._calls = ours
            try:
                waiting = ours if self._may_all_start() else await self.hold(*self._waiting(ours))
                if waiting and self.begin(waiting):
                    if (inline := self.inline) is not None:
                        await inline
                    if not self.settled():
                        await self.join()
            finally:
                self._end_wave()
            if control.wants_attention:
                await self.boundary()
            return giving(self, ours)
        finally:
            self._busy = False

    def _begin_wave(self, calls: Sequence[ToolCall[Any]]) -> tuple[int, list[WaveCall]]:
        """Report the next wave, and give its number and its calls."""
        wave = self._number + 1
        now = self._wave_at = self.environment.now()
        ids, keys = f"{self._id_prefix}{wave}.", f"{self._key_prefix}{wave}."
        answers = self._answers = self._has_past or bool(self.input.session.unknown())
        ours: list[WaveCall] = []
        begun: list[CallStarted] = []
        for place, call in enumerate(calls, 1):
            call_id: Any = f"{ids}{place}"
            key: Any = f"{keys}{place}"
            one = WaveCall(call, call_id, key, None, wave)
            one.origin = None
            if answers:
                self._answer(one, now)
            ours.append(one)
            begun.append(one.started())
            if not one.tool.is_read:
                self._begin_write(one, wave)
        self.control.go_on(self._further(now, wave, tuple(begun)))
        return wave, ours

    def _begin_write(self, one: WaveCall, wave: int) -> None:
        """Take note of a call that changes something: what was read before is stale from here."""
        if self._ledger is not None and one.end is None:
            self._ledger.started(self.input.number, self.input.attempt, wave)
        if one.tool.compensation is not None:
            self.environment.toolbox.remember(one.tool)

    def _answer(self, one: WaveCall, now: float) -> None:
        """Have a call end, or take the key it had, as the ledger says."""
        record, key = self._knowing().answer(one.call, now)
        if record is not None:
            one.answer_by(record, self.input.number)
        elif key is not None:
            one.idempotency_key = key

    def _knowing(self) -> Ledger:
        """The attempt's ledger; made when there is something in it, which is seldom."""
        ledger = self._ledger
        if ledger is None:
            given = self.input
            ledger = Ledger(given.log, given.previous, given.session.unknown, given.senders)
            self._ledger = ledger
        return ledger

    async def _admission(self, wave: int, ours: list[WaveCall]) -> None:
        admitted = None
        try:
            admitted = await self.control.admission(wave)
        finally:
            # A wave of which the session has heard, or will, and which is not run after all:
            # nothing of it was started, and its number is used up.
            if admitted is None or (not admitted and self.control.admitted == wave):
                self._number = wave
                self._never_run(ours)
        if not admitted:
            raise self._interruption()

    def _never_run(self, calls: list[WaveCall]) -> None:
        for call in calls:
            self._tell(call, call.end or SKIPPED)

    def _may_all_start(self) -> bool:
        """Whether the ledger answered none of the calls, and no call has to wait for a commit."""
        commit = self.control.commit
        return not self._answers and (commit is None or (commit.done and commit.error is None))

    def _waiting(
        self, calls: Sequence[WaveCall]
    ) -> tuple[Sequence[Prepared], asyncio.Future[None] | None]:
        """Those that the ledger did not answer, and what they wait for as a whole.

        The wave begins then as it does in memory. Reads do not wait for the commit; where there
        are some, each of the others waits for it by itself.
        """
        waiting: list[WaveCall] = []
        has_reads = False
        for call in calls:
            if call.end is None:
                waiting.append(call)
                has_reads = has_reads or call.tool.is_read
            else:
                self._tell(call, call.end)
        commit = self.control.commit
        if not waiting or commit is None or (commit.done and commit.error is None):
            return waiting, None
        if not has_reads:
            opens: asyncio.Future[None] = self._loop.create_future()
            commit.add_done_callback(partial(_open, opens))
            return waiting, opens
        gate = CommitGate(commit, self._loop)
        for call in waiting:
            if not call.tool.is_read:
                call.gate = gate
        return waiting, None

    def _tell(self, one: Prepared, end: CallEnd) -> None:
        """Take note of a call's end, to be told with what comes next, or in a moment."""
        assert isinstance(one, WaveCall), "the runner runs what it is given"
        done = one.done(end)
        if self._done is None:
            self._done = [done]
        else:
            self._done.append(done)
        if self._flushes is None:
            self._flush_later()

    def _tell_late(self, one: Prepared, end: CallEnd) -> None:
        """Nobody waits for it any more: it was told of as ended before."""
        assert isinstance(one, WaveCall), "the runner runs what it is given"
        self.flush()
        done = (one.done(end, late=True),)
        self.control.report(Progress(self.environment.now(), self.control.fence, done))

    def _end_wave(self) -> None:
        """The wave is over, unless the agent went before its calls; told with what comes next."""
        if self._left:
            return
        self._wave_done = self._number
        if self._flushes is None:
            self._flush_later()

    def values(self, calls: Sequence[WaveCall]) -> tuple[Any, ...]:
        """What the calls of the last wave returned.

        Raises:
            WaveFailed: one or more did not complete.
        """
        values: list[Any] = []
        for call in calls:
            end = call.end
            if end is None or end.status is not _COMPLETED:
                raise WaveFailed(self.records(calls), self.failures(calls))
            values.append(end.value)
        return tuple(values)

    def failures(self, calls: Sequence[WaveCall]) -> list[CallFailed]:
        """Why those calls of the last wave that did not complete did not."""
        return [
            failure_of(self._record(call, call.end), call.end.exception)
            for call in calls
            if call.end is not None and call.end.status is not _COMPLETED
        ]

    def value(self, calls: Sequence[WaveCall]) -> Any:
        """What the only call of the last wave returned.

        Raises:
            CallFailed: it did not complete.
        """
        for failure in self.failures(calls):
            raise failure
        return self.values(calls)[0]

    def records(self, calls: Sequence[WaveCall]) -> tuple[CallRecord, ...]:
        """The records of the last wave's calls."""
        return tuple(self._record(one, one.end) for one in calls if one.end is not None)

    def _record(self, call: WaveCall, end: CallEnd) -> CallRecord:
        given, at = self.input, self.environment.now()
        fence = self.control.fence
        return record_of(call.started(), call.done(end), fence, self._wave_at, at, given.senders)


def _open(gate: asyncio.Future[None], commit: Commit) -> None:
    """Others wait for the same commit, and what may leave goes before what begins."""
    if gate.done():
        return
    if commit.error is None:
        gate.set_result(None)
    else:
        gate.set_exception(commit.error)
