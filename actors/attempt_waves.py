"""The waves of an attempt: answered from the ledger, reported, admitted, and run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..messages.commands import Progress
from ..messages.errors import ToolDefinitionError, WavebreakError, WaveFailed
from ..messages.events import idempotency_key
from ..messages.ids import CallId
from ..messages.reasons import CallStatus, Effect
from ..messages.records import CallDone, CallError, CallRecord, CallStarted
from ..tools.call import ToolCall
from ..tools.endings import SKIPPED
from ..tools.execution import CallEnd, Prepared, failure_of
from .attempt import Attempt
from .ledger import Ledger, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages.errors import CallFailed
    from ..messages.ids import IdempotencyKey
    from .attempt_input import Environment, TurnInput
    from .control import RuntimeControl

T = TypeVar("T")

_COMPLETED = CallStatus.COMPLETED  # looked up once: it is asked for at every call
_new = tuple[Any, ...].__new__  # 70 ns instead of the 150 ns of a named tuple's own, twice a call


class _Answered(NamedTuple):
    """What the ledger says to a call: its end and where that comes from, or the key it keeps."""

    end: CallEnd | None
    origin: CallId | None
    key: IdempotencyKey | None


_START = _Answered(None, None, None)


class WaveCall(Prepared):
    """A call of a wave, with what the session was told of it."""

    __slots__ = ("started",)

    started: CallStarted  # set right after it was made


class AttemptWaves(Attempt):
    """Runs the waves of one attempt and reports them to the session; as :class:`Attempt`."""

    __slots__ = ("_answers", "_calls", "_id_prefix", "_ledger", "_number", "_wave_at")

    def __init__(self, given: TurnInput, control: RuntimeControl, environment: Environment) -> None:
        super().__init__(given, control, environment)
        self._ledger: Ledger | None = None
        if given.log or given.previous is not None:
            self._ledger = Ledger(given.log, given.previous, given.session.unknown, given.senders)
        self._id_prefix = f"{given.number}.{given.attempt}."
        self._answers = False
        self._number = 0
        self._wave_at = 0.0
        self._calls: Sequence[WaveCall] = ()

    def release(self) -> None:
        """The attempt is over: let go of what would keep all of this alive in a circle."""
        super().release()
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
            waiting = ours if self._may_all_start() else self._waiting(ours)
            try:
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
        prefix = CallId(f"{self._id_prefix}{wave}.")
        keys = idempotency_key(self.input.uid, prefix)  # a call's key ends as its id does
        answers = self._answers = self._ledger is not None or bool(self.input.session.unknown())
        answer = _START
        ours: list[WaveCall] = []
        begun: list[CallStarted] = []
        for place, call in enumerate(calls, 1):
            call_id: Any = f"{prefix}{place}"
            key: Any = f"{keys}{place}"
            if answers:
                answer = self._answer(call, now)
                key = answer.key or key
            one = WaveCall(call, call_id, key, None, wave)
            one.end = answer.end
            tool = one.tool
            one.started = started = _new(
                CallStarted,
                (
                    call_id,
                    tool.name,
                    tool.version,
                    call.json_arguments,
                    tool.effect,
                    tool.protected,
                    tool.timeout,
                    tool.carry,
                    key,
                    answer.origin,
                    tool.compensation is not None,
                    None if tool.same_as is None else call.same_as,
                ),
            )
            ours.append(one)
            begun.append(started)
            if not tool.is_read:
                self._begin_write(one, wave)
        self._report(now, wave, tuple(begun))
        return wave, ours

    def _begin_write(self, one: WaveCall, wave: int) -> None:
        """Take note of a call that changes something: what was read before is stale from here."""
        if self._ledger is not None and one.end is None:
            self._ledger.started(self.input.number, self.input.attempt, wave)
        if one.tool.compensation is not None:
            self.environment.toolbox.remember(one.tool)

    def _answer(self, call: ToolCall[Any], now: float) -> _Answered:
        """What the ledger says to a call, if it knows anything of it."""
        record, key = self._knowing().answer(call, now)
        if record is None:
            return _Answered(None, None, key)
        end = _restored(call, record, self.input.number)
        if end is None:
            return _START
        # Its key is that of the call that was made: by it, one can ask what became of that.
        return _Answered(end, record.origin, record.idempotency_key)

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

    def _waiting(self, calls: list[WaveCall]) -> list[WaveCall]:
        """Those that the ledger did not answer; what is not a read waits for the commit."""
        gate: asyncio.Future[None] | None = None
        commit = self.control.commit
        if commit is not None and (not commit.done or commit.error is not None):
            gate = asyncio.get_running_loop().create_future()
            commit.add_done_callback(partial(_open_gate, gate))
        waiting: list[WaveCall] = []
        for call in calls:
            if call.end is not None:
                self._tell(call, call.end)
                continue
            if not call.tool.is_read:
                call.gate = gate
            waiting.append(call)
        return waiting

    def _tell(self, one: Prepared, end: CallEnd) -> None:
        """Take note of a call's end, to be told with what comes next, or in a moment."""
        assert isinstance(one, WaveCall), "the runner runs what it is given"
        done = _done(one, end, False)
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
        done = (_done(one, end, True),)
        self.control.report(Progress(self.environment.now(), self.control.fence, done))

    def _end_wave(self) -> None:
        """The wave is over, unless the agent went before its calls; told with what comes next."""
        if self.is_running:
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
        done = _done(call, end, False)
        return record_of(call.started, done, self.control.fence, self._wave_at, at, given.senders)


def _done(call: WaveCall, end: CallEnd, late: bool) -> CallDone:
    status, _, result, error, _ = end
    origin = call.started.answered_from
    return _new(
        CallDone,
        (call.wave, call.call_id, call.tool.name, status, result, error, origin, late),
    )


def _restored(call: ToolCall[Any], record: CallRecord, turn: int) -> CallEnd | None:
    """The end that a record gives to an equal call; None when it cannot be used any more."""
    if record.status is not CallStatus.COMPLETED:
        return CallEnd(record.status, None, None, record.error, None)
    try:
        value = call.tool.restore(record.result)
    except WavebreakError as error:
        if record.turn != turn or record.effect is Effect.READ:
            return None
        # It was done in this turn and must not be done again; its result is lost to new code.
        what = CallError(type=type(error).__name__, message=str(error))
        return CallEnd(CallStatus.FAILED, None, None, what, error)
    return CallEnd(CallStatus.COMPLETED, value, record.result, None, None)


def _open_gate(gate: asyncio.Future[None], commit: Any) -> None:
    if gate.done():
        return
    if commit.error is None:
        gate.set_result(None)
    else:
        gate.set_exception(commit.error)
        gate.exception()  # who waits for it sees it; that nobody does is no news for the loop
