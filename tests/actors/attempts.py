"""Attempts of turns that make calls by the ledger, as the engine does, but run no tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wavebreak.actors.ledger import Answer, Ledger
from wavebreak.actors.machine.state import Rules
from wavebreak.messages.ids import CallId, Fence, IdempotencyKey, idempotency_key
from wavebreak.messages.reasons import CallStatus
from wavebreak.messages.records import CallDone, CallError, CallStarted
from wavebreak.tools.tool import tool

from .machine.driving import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavebreak.messages.records import CallRecord
    from wavebreak.tools.call import ToolCall

COMPLETED, FAILED, SKIPPED, CANCELLED, UNKNOWN = CallStatus

FINAL = CallError(type="ValueError", message="no such room")
RETRYABLE = CallError(type="OSError", message="no line", retryable=True)


@tool(effect="read")
async def look(room: int = 1) -> str:
    """Look at a room."""
    raise NotImplementedError


@tool
async def book(room: int = 1) -> str:
    """Book a room."""
    raise NotImplementedError


@tool(effect="idempotent")
async def put(room: int = 1) -> str:
    """Put something into a room."""
    raise NotImplementedError


class Got(NamedTuple):
    """What became of a call.

    Args:
        call_id: its id.
        status: how it ended.
        result: what it gave: of a call that was started, its id.
        answered_from: the call that answered it; None if it was started.
        key: its idempotency key.
    """

    call_id: CallId
    status: CallStatus
    result: Any
    answered_from: CallId | None
    key: IdempotencyKey

    @property
    def was_started(self) -> bool:
        return self.answered_from is None


class Attempts:
    """One session, whose turns and attempts follow each other as a test says."""

    def __init__(self) -> None:
        self.session = opened(Rules(max_attempts=1000))
        self.began: list[Got] = []
        self._messages = 0
        self.begin()

    def begin(self, sender: str | None = None) -> None:
        """Send a message, and begin the turn that it starts."""
        self._messages += 1
        self.session.send(f"m{self._messages}", sender=sender)
        self._new_attempt()

    def _new_attempt(self) -> None:
        running = self.session.running
        self.ledger = Ledger(
            running.log,
            self.session.state.previous,
            lambda: self.session.state.unknown,
            running.senders,
        )

    # --- how attempts end, and others begin ---

    def crash(self) -> None:
        self.session.crash()
        self._new_attempt()

    def recover(self) -> None:
        self.session.crash_and_open()
        self._new_attempt()

    def interrupt(self, sender: str | None = None) -> None:
        self._messages += 1
        self.session.send(f"m{self._messages}", sender=sender)
        self.session.exit()
        self._new_attempt()

    def finish(self, sender: str | None = None) -> None:
        self.session.exit("done")
        self.begin(sender)

    def fail(self) -> None:
        self.session.exit(cause="ValueError: no")
        self.begin()

    def stop(self) -> None:
        self.session.stop()
        self.session.exit()
        self.begin()

    # --- what they do ---

    def wave(self, *calls: ToolCall[Any], ends: Sequence[CallStatus | CallError] = ()) -> list[Got]:
        """Run a wave.

        Args:
            calls: the calls.
            ends: how those end that are started, in order; the rest completes.
        """
        given = [*ends, *[COMPLETED] * len(calls)]
        started = self.open_wave(*calls)
        done: list[CallDone] = []
        for each, record in started:
            end = _answered(each, record) if record is not None else _ended(each, given.pop(0))
            done.append(end)
        self.session.report(*done, wave_done=self.session.running.wave)
        got = [
            Got(each.call_id, end.status, end.result, each.answered_from, each.idempotency_key)
            for (each, _), end in zip(started, done, strict=True)
        ]
        self.began += [each for each in got if each.was_started]
        return got

    def one(self, call: ToolCall[Any], end: CallStatus | CallError = COMPLETED) -> Got:
        """Run a wave of one call."""
        return self.wave(call, ends=[end])[0]

    def open_wave(self, *calls: ToolCall[Any]) -> list[tuple[CallStarted, CallRecord | None]]:
        """Begin a wave; each call, and the record that answers it."""
        wave = self.session.running.wave + 1
        ours = [self._prepared(each, wave, place) for place, each in enumerate(calls, 1)]
        self.session.report(wave=wave, calls=tuple(each for each, _ in ours))
        return ours

    def _prepared(
        self, call: ToolCall[Any], wave: int, place: int
    ) -> tuple[CallStarted, CallRecord | None]:
        session = self.session
        number, attempt = session.running.number, session.running.attempt
        call_id = CallId(f"{number}.{attempt}.{wave}.{place}")
        answer: Answer = self.ledger.answer(call, session.at)
        record = answer.record
        if record is None and not call.tool.is_read:
            self.ledger.started(number, attempt, wave)
        started = CallStarted(
            call_id,
            call.tool.name,
            call.tool.version,
            call.json_arguments,
            call.tool.effect,
            call.tool.protected,
            call.tool.timeout,
            call.tool.carry,
            answer.idempotency_key or idempotency_key(session.state.uid, call_id),
            None if record is None else record.origin,
        )
        return started, record

    def late(self, got: Got, end: CallStatus | CallError = COMPLETED) -> None:
        """Let the end of a call be seen at last."""
        self.late_of(got.call_id, end)

    def late_of(self, call_id: CallId, end: CallStatus | CallError) -> None:
        """As :meth:`late`, by the call's id."""
        turn, attempt, wave, _ = map(int, call_id.split("."))
        error = end if isinstance(end, CallError) else None
        status = FAILED if isinstance(end, CallError) else end
        result = call_id if status is COMPLETED else None
        done = CallDone(wave, call_id, "?", status, result, error, None, late=True)
        self.session.report(done, fence=Fence(1, turn, attempt))


def _answered(started: CallStarted, record: CallRecord) -> CallDone:
    wave = int(started.call_id.split(".")[2])
    return CallDone(
        wave,
        started.call_id,
        started.tool,
        record.status,
        record.result,
        record.error,
        started.answered_from,
    )


def _ended(started: CallStarted, end: CallStatus | CallError) -> CallDone:
    wave = int(started.call_id.split(".")[2])
    status = FAILED if isinstance(end, CallError) else end
    result = started.call_id if status is COMPLETED else None
    error = end if isinstance(end, CallError) else None
    return CallDone(wave, started.call_id, started.tool, status, result, error)
