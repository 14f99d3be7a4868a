"""The engine under a turn: boundaries, waves, steps and words of one attempt."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ..messages.commands import Progress, Save, Say, StepDone, Streamed
from ..messages.errors import (
    ActorError,
    ToolDefinitionError,
    TurnInterrupted,
    TurnOver,
    WavebreakError,
    WaveFailed,
    WaveInProgress,
)
from ..messages.events import idempotency_key
from ..messages.ids import CallId
from ..messages.reasons import CallStatus, Effect, Reason
from ..messages.records import CallDone, CallError, CallRecord, CallStarted
from ..messages.text import check_text
from ..tools.call import ToolCall
from ..tools.dependencies import TurnInfo
from ..tools.endings import SKIPPED
from ..tools.execution import CallEnd, Prepared, failure_of
from ..tools.waves import WaveRunner
from .ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import BaseModel

    from ..messages.errors import CallFailed
    from ..messages.events import Entry
    from ..messages.history import HistoryEntry
    from ..messages.ids import IdempotencyKey, SessionKey
    from ..messages.message import Reply, SessionMessage
    from ..messages.policies import How
    from ..messages.records import PartialResults
    from ..tools.dependencies import Dependencies
    from ..tools.registry import Toolbox
    from ..tools.threads import WorkerThreads
    from .control import RuntimeControl
    from .moments import Moments

M = TypeVar("M", bound="BaseModel")

_COMPLETED = CallStatus.COMPLETED  # looked up once: it is asked for at every call
_new = tuple[Any, ...].__new__  # 70 ns instead of the 150 ns of a named tuple's own, twice a call


class TurnInput(NamedTuple):
    """What an attempt of a turn begins with.

    Args:
        uid: the session's, for idempotency keys.
        previous: what the interrupted turns before left.
        saved: the session's own state, of its last finished turn.
        log: the ledger of the turn's earlier attempts.
        unknown: gives the session's calls that may have happened, as they stand now.
        streamed: the deltas that earlier attempts have shown.
    """

    key: SessionKey
    uid: str
    number: int
    attempt: int
    messages: tuple[SessionMessage, ...]
    senders: tuple[str | None, ...]
    previous: PartialResults | None
    saved: Any
    log: tuple[Entry, ...]
    unknown: Callable[[], tuple[CallRecord, ...]]
    streamed: str = ""


class Environment(NamedTuple):
    """What all turns of a system share.

    Args:
        retryable: whether ``retry_on`` names an error.
        now: the clock, in seconds since the epoch.
        moments: how long the end of a call may wait to be recorded, if nothing else is reported.
        history: reads the last entries of a session's history.
    """

    toolbox: Toolbox
    dependencies: Dependencies
    threads: WorkerThreads
    retryable: Callable[[BaseException], bool]
    now: Callable[[], float]
    moments: Moments
    history: Callable[[SessionKey, int], Awaitable[Sequence[HistoryEntry]]]


class AgentEnd(NamedTuple):
    """How an agent ended: with a reply, because it was told to, or by an error."""

    reply: Reply | None
    interrupted: bool
    error: BaseException | None


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


class TurnEngine:
    """Runs the waves and steps of one attempt and reports them to the session.

    Args:
        given: what the attempt begins with.
        control: the line to the session.
        environment: what all turns share.
    """

    __slots__ = (
        "_answers",
        "_busy",
        "_calls",
        "_diverged",
        "_done",
        "_flushes",
        "_id_prefix",
        "_ledger",
        "_mine",
        "_saved",
        "_stepping",
        "_thread",
        "_wave",
        "_wave_at",
        "_wave_done",
        "control",
        "end",
        "environment",
        "input",
        "runner",
        "scope",
        "total_waves",
    )

    def __init__(
        self,
        given: TurnInput,
        control: RuntimeControl,
        environment: Environment,
    ) -> None:
        self.input = given
        self.control = control
        self.environment = environment
        dependencies = environment.dependencies
        self.scope = dependencies.nothing or dependencies.scope(
            TurnInfo(given.key.tenant, given.key.session_id, given.senders)
        )
        self.total_waves: int | None = None
        self.end: AgentEnd | None = None
        self.runner = WaveRunner(
            threads=environment.threads,
            scope=self.scope,
            token=control.get_token,
            retryable=environment.retryable,
            on_end=self._call_ended,
        )
        self._ledger: Ledger | None = None
        if given.log or given.previous is not None:
            self._ledger = Ledger(given.log, given.previous, given.unknown, given.senders)
        self._answers = False
        self._id_prefix = f"{given.number}.{given.attempt}."
        self._thread = get_ident()
        self._busy = False
        self._stepping: asyncio.Task[Any] | None = None
        self._wave = 0
        self._wave_at = 0.0
        self._calls: list[WaveCall] = []
        self._done: list[CallDone] = []
        self._wave_done = 0
        self._flushes: list[CallDone] | None = None
        self._saved: Any = None
        self._mine = ""
        self._diverged = False

    def release(self) -> None:
        """The attempt is over: let go of what would keep all of this alive in a circle."""
        self.control.release()
        self.runner.release()

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

    def _enter(self) -> None:
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

    def told(self, how: How) -> None:
        """The session has told the attempt to stop, by ``how``."""
        del how
        if self.control.fenced:
            self.runner.cancel()
        elif self._stepping is not None:
            self._stepping.cancel()

    # --- waves ---

    async def run_wave(self, calls: Sequence[ToolCall[Any]]) -> list[WaveCall]:
        """Run ``calls`` as the next wave; a failed call raises nothing.

        Returns:
            The calls, in their order; each has its end.
        """
        for call in calls:
            if not isinstance(call, ToolCall):
                msg = f"a wave takes calls of tools, such as search('x'), not {call!r}"
                raise ToolDefinitionError(msg)
        self._enter()
        control = self.control
        try:
            if control.wants_attention:
                await self.boundary()
            self._calls = []
            if not calls:
                return []
            wave, ours = self._begin_wave(calls)
            if control.admitted != wave or control.how is not None:
                await self._admission(wave, ours)
            self._wave = wave
            self._calls = ours
            waiting = ours if self._may_all_start() else self._waiting(ours)
            try:
                if waiting and self.runner.begin(waiting):
                    await self.runner.join()
            finally:
                self._end_wave()
            if control.wants_attention:
                await self.boundary()
            return ours
        finally:
            self._busy = False

    def _begin_wave(self, calls: Sequence[ToolCall[Any]]) -> tuple[int, list[WaveCall]]:
        """Report the next wave, and give its number and its calls."""
        wave = self._wave + 1
        now = self._wave_at = self.environment.now()
        uid, prefix = self.input.uid, f"{self._id_prefix}{wave}."
        ledger = self._ledger
        self._answers = ledger is not None or bool(self.input.unknown())
        ours: list[WaveCall] = []
        begun: list[CallStarted] = []
        for place, call in enumerate(calls, 1):
            tool = call.tool
            call_id = CallId(f"{prefix}{place}")
            answer = self._answer(call, now) if self._answers else _START
            key = answer.key or idempotency_key(uid, call_id)
            one = WaveCall(call, call_id, key, None, wave)
            one.end = answer.end
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
                ),
            )
            ours.append(one)
            begun.append(started)
            if ledger is not None and answer.end is None and not tool.is_read:
                ledger.started(self.input.number, self.input.attempt, wave)
        self._report(now, wave, tuple(begun))
        return wave, ours

    def _answer(self, call: ToolCall[Any], now: float) -> _Answered:
        """What the ledger says to a call, if it knows anything of it."""
        record, key = self._knowing().answer(call, now)
        if record is None:
            return _Answered(None, None, key)
        end = _restored(call, record, self.input.number)
        return _START if end is None else _Answered(end, record.origin, None)

    def _knowing(self) -> Ledger:
        """The attempt's ledger; made when there is something in it, which is seldom."""
        ledger = self._ledger
        if ledger is None:
            given = self.input
            ledger = Ledger(given.log, given.previous, given.unknown, given.senders)
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
                self._wave = wave
                self._never_run(ours)
        if not admitted:
            raise self._interruption()

    def _never_run(self, calls: list[WaveCall]) -> None:
        for call in calls:
            self._note(call, call.end or SKIPPED)

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
                self._note(call, call.end)
                continue
            if not call.call.tool.is_read:
                call.gate = gate
            waiting.append(call)
        return waiting

    def _call_ended(self, prepared: Prepared, end: CallEnd) -> None:
        """The runner's callback: once for each call, and again for a late result."""
        assert isinstance(prepared, WaveCall), "the runner runs what it is given"
        if end is prepared.end:
            self._note(prepared, end)
        else:
            self._report_late(prepared, end)

    def _report_late(self, call: WaveCall, end: CallEnd) -> None:
        """Nobody waits for it any more: it was told of as ended before."""
        self.flush()
        done = CallDone(
            call.wave, call.call_id, call.started.tool, end.status, end.result, end.error, late=True
        )
        self.control.report(Progress(self.environment.now(), self.control.fence, (done,)))

    def _note(self, call: WaveCall, end: CallEnd) -> None:
        started = call.started
        origin = started.answered_from
        done = (
            call.wave,
            call.call_id,
            started.tool,
            end.status,
            end.result,
            end.error,
            origin,
            False,
        )
        self._done.append(_new(CallDone, done))
        if self._flushes is None:
            self._flush_later()

    def _end_wave(self) -> None:
        """The wave is over, unless the agent went before its calls; told with what comes next."""
        for call in self._calls:
            if call.end is None:
                return
        self._wave_done = self._wave
        if self._flushes is None:
            self._flush_later()

    # What ended is reported with whatever comes next in the same go, so that the end of a wave
    # and the start of the next are one report and one commit; at the latest after a moment.

    def progress(self) -> Progress | None:
        """What has not been reported yet; for the supervisor, when the runtime has ended."""
        if not self._done and not self._wave_done:
            return None
        done, self._done = tuple(self._done), []
        wave_done, self._wave_done = self._wave_done, 0
        return Progress(self.environment.now(), self.control.fence, done, wave_done)

    def _report(self, now: float, wave: int, calls: tuple[CallStarted, ...]) -> None:
        done, self._done = tuple(self._done), []
        wave_done, self._wave_done = self._wave_done, 0
        control = self.control
        control.report(_new(Progress, (now, control.fence, done, wave_done, wave, calls)))

    def flush(self) -> None:
        """Report what has not been reported yet."""
        progress = self.progress()
        if progress is not None:
            self.control.report(progress)

    def _flush_later(self) -> None:
        self._flushes = self._done  # which is another list after every report
        self.environment.moments.later(self._flush_now)

    def _flush_now(self) -> None:
        is_old = self._flushes is self._done
        self._flushes = None
        if is_old:
            self.flush()
        elif self._done or self._wave_done:
            self._flush_later()  # it ended after the moment had begun

    def values(self, calls: Sequence[WaveCall]) -> tuple[Any, ...]:
        """What the calls of the last wave returned.

        Raises:
            WaveFailed: one or more did not complete.
        """
        values: list[Any] = []
        for call in calls:
            end = call.end
            if end is None or end.status is not _COMPLETED:
                raise WaveFailed(self.last_records(), self.failures(calls))
            values.append(end.value)
        return tuple(values)

    def failures(self, calls: Sequence[WaveCall]) -> list[CallFailed]:
        """Why those calls of the last wave that did not complete did not."""
        return [
            failure_of(self._record(call, call.end), call.end.exception)
            for call in calls
            if call.end is not None and call.end.status is not _COMPLETED
        ]

    def last_records(self) -> tuple[CallRecord, ...]:
        """The records of the last wave's calls, in the order in which they were given."""
        return tuple(self._record(one, one.end) for one in self._calls if one.end is not None)

    def _record(self, call: WaveCall, end: CallEnd) -> CallRecord:
        started = call.started
        return CallRecord(
            call_id=started.call_id,
            tool=started.tool,
            version=started.version,
            arguments=started.arguments,
            effect=started.effect,
            carry=started.carry,
            idempotency_key=started.idempotency_key,
            answered_from=started.answered_from,
            turn=self.input.number,
            attempt=self.input.attempt,
            wave=self._wave,
            status=end.status,
            result=end.result,
            error=end.error,
            started_at=self._wave_at,
            ended_at=self.environment.now(),
            senders=self.input.senders,
        )

    # --- steps ---

    async def run_step(self, f: Callable[[], Any], key: str | None, type_: type[Any] | None) -> Any:
        """Do ``f``, or give what an earlier attempt remembered of it."""
        name = key or _name_of(f)
        self._enter()
        try:
            await self.boundary()
            remembered = None if self._ledger is None else self._ledger.step(name)
            if remembered is not None:
                return _restored_step(remembered[0], f, type_)
            value = await self._do_step(f)
            result = _as_json(value, name)
            self.flush()
            self.control.report(StepDone(self.environment.now(), self.control.fence, name, result))
            await self.boundary()
        finally:
            self._busy = False
        return value

    async def _do_step(self, f: Callable[[], Any]) -> Any:
        value = f()
        if not inspect.isawaitable(value):
            return value
        task = self._stepping = asyncio.current_task()
        try:
            return await value
        except asyncio.CancelledError:
            if self.stop_requested and not self.control.fenced and task is not None:
                # The stop cancelled the step, not the agent, which ends at this boundary.
                task.uncancel()
                raise self._interruption() from None
            raise
        finally:
            self._stepping = None

    # --- words and state ---

    def say(self, text: str) -> bool:
        """Send words of their own, unless an earlier attempt has, or the turn has to stop."""
        self._refuse_elsewhere()
        check_text("text", text)
        if self.stop_requested or self.control.is_over:
            return False
        if self._ledger is None or not self._ledger.was_said(text):
            self.flush()
            self.control.report(Say(self.environment.now(), self.control.fence, text))
        return True

    def delta(self, text: str) -> bool:
        """Stream a piece of the preview; what earlier attempts have shown is not shown again."""
        self._refuse_elsewhere()
        check_text("text", text)
        if self.stop_requested or self.control.is_over:
            return False
        shown = self.input.streamed
        before = len(self._mine)
        self._mine += text
        if self._diverged or before >= len(shown):
            self._stream(text)
        elif shown.startswith(self._mine):
            pass
        elif self._mine.startswith(shown):
            self._stream(self._mine[len(shown) :])
        else:
            self._diverged = True
            self._stream(self._mine, restart=True)
        return True

    def _stream(self, text: str, *, restart: bool = False) -> None:
        now = self.environment.now()
        self.control.report(Streamed(now, self.control.fence, text, restart))

    def state(self, model: type[M]) -> M:
        """The session's own state as this attempt sees it."""
        saved = self.input.saved if self._saved is None else self._saved
        return model() if saved is None else model.model_validate(saved)

    def save(self, model: BaseModel) -> None:
        """Report the state to be saved."""
        self._refuse_elsewhere()
        if self.control.is_over:
            raise self._over()
        self._saved = model.model_dump(mode="json")
        self.flush()
        self.control.report(Save(self.environment.now(), self.control.fence, self._saved))

    async def history(self, limit: int) -> Sequence[HistoryEntry]:
        """The last entries of the session's history."""
        return await self.environment.history(self.input.key, limit)


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


def _name_of(f: Callable[[], Any]) -> str:
    while isinstance(f, partial):
        f = f.func
    name = getattr(f, "__qualname__", None)
    if name is None:
        msg = f"cannot name the step {f!r}: give it a key, turn.step(f, key='...')"
        raise TypeError(msg)
    return str(name)


def _as_json(value: Any, name: str) -> Any:
    try:
        return to_jsonable_python(value)
    except ValueError as error:
        msg = f"the result of step {name!r} cannot be remembered: {error}"
        raise TypeError(msg) from error


def _restored_step(result: Any, f: Callable[[], Any], type_: type[Any] | None) -> Any:
    wanted = type_
    if wanted is None:
        target = f.func if isinstance(f, partial) else f
        try:
            wanted = get_type_hints(target).get("return")
        except (NameError, TypeError):
            wanted = None
    return result if wanted is None else TypeAdapter(wanted).validate_python(result)
