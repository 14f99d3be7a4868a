"""What has to hold of turns: one after the other, silent when told to stop, each for a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...messages.entries import Progressed
from ...messages.events import (
    Delta,
    MessageAccepted,
    MessageEnded,
    Said,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ...messages.policies import AfterWave, Now, Rollback
from ...messages.reasons import CallStatus, Reason, TurnOutcome
from .blame import is_own_fault
from .names import AGENT, CALLS, ONE, ORDER, PARTIAL, REASON, SILENT

if TYPE_CHECKING:
    from .facts import Facts

BROKEN_OFF = frozenset({"kill", "restart", "lose", "unsure"})
"""After these an incarnation takes over what another has begun."""

_CUT_OFF = frozenset({CallStatus.CANCELLED, CallStatus.UNKNOWN})

_NOT_BEGUN = -1.0

LITTLE = 1.0
"""Seconds that a bound may be missed by: commits take time, and timers have a grain."""


class _Turn:
    """A turn, as the journal has it so far."""

    def __init__(self, started: TurnStarted) -> None:
        self.number = started.turn
        self.since = started.at
        self.messages = started.message_ids
        self.attempt = 1
        self.stop: StopRequested | None = None
        self.open: dict[str, float | None] = {}
        self.wave = 0
        self.ended: TurnEnded | None = None
        self.protects = 0.0
        self.cut_off = ""


def check_turns(facts: Facts) -> None:
    """One turn after the other, silent once it was told to stop; each wave behind the last."""
    turns = _Turns(facts)
    for entry in facts.log:
        handler = turns.HANDLERS.get(type(entry))
        if handler is not None:
            handler(turns, entry)
    _check_published(facts)


class _Turns:
    """Walks through a journal, turn by turn."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._turn: _Turn | None = None
        self._owed: tuple[str, ...] = ()
        self._accepted: dict[str, int] = {}

    def _message(self, entry: MessageAccepted) -> None:
        self._accepted[entry.message.message_id] = len(self._accepted)

    def _started(self, entry: TurnStarted) -> None:
        facts, turn, owed = self._facts, self._turn, self._owed
        if turn is not None and turn.ended is None:
            facts.breaks(ONE, f"turn {entry.turn} started before turn {turn.number} ended")
        if not set(owed) <= set(entry.message_ids):
            words = f"turn {entry.turn} lacks messages of the one before, which was interrupted"
            facts.breaks(PARTIAL, words)
        places = [self._accepted.get(id_, 0) for id_ in entry.message_ids]
        if places != sorted(places):
            words = f"turn {entry.turn} has its messages in the order {entry.message_ids}"
            facts.breaks(PARTIAL, words)
        self._turn, self._owed = _Turn(entry), ()

    def _restarted(self, entry: TurnRestarted) -> None:
        turn = self._turn
        if turn is not None:
            turn.attempt, turn.wave, turn.open = entry.attempt, 0, {}

    def _stop(self, entry: StopRequested) -> None:
        turn = self._turn
        if turn is None or entry.turn != turn.number:
            return
        if turn.stop is None or not isinstance(entry.how, AfterWave):
            turn.stop = entry

    def _said(self, entry: Said) -> None:
        if self._turn is not None and self._turn.stop is not None:
            words = f"turn {entry.turn} said {entry.text!r} after it was told to stop"
            self._facts.breaks(SILENT, words)

    def _progressed(self, entry: Progressed) -> None:
        if self._turn is not None and not entry.is_late:
            _check_progress(self._facts, self._turn, entry)

    def _ended(self, entry: TurnEnded) -> None:
        turn = self._turn
        if turn is None:
            return
        turn.ended = entry
        _check_end(self._facts, turn, entry)
        if entry.outcome is TurnOutcome.INTERRUPTED:
            self._owed = turn.messages

    def _message_ended(self, entry: MessageEnded) -> None:
        self._owed = tuple(one for one in self._owed if one != entry.message_id)

    HANDLERS: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        MessageAccepted: _message,
        TurnStarted: _started,
        TurnRestarted: _restarted,
        StopRequested: _stop,
        Said: _said,
        Progressed: _progressed,
        TurnEnded: _ended,
        MessageEnded: _message_ended,
    }


def _check_progress(facts: Facts, turn: _Turn, entry: Progressed) -> None:
    for done in entry.done:
        timeout = turn.open.pop(done.call_id, _NOT_BEGUN)
        if timeout is _NOT_BEGUN:
            facts.breaks(CALLS, f"call {done.call_id} of {done.tool} ended twice, or never began")
        if done.status in _CUT_OFF and done.answered_from is None and timeout is None:
            turn.cut_off = f"call {done.call_id} of {done.tool} was cut off"
    if not entry.wave:
        return
    if turn.stop is not None:
        words = f"turn {turn.number} began wave {entry.wave} after it was told to stop"
        facts.breaks(SILENT, words)
    if turn.open:
        words = f"wave {entry.wave} began while call {next(iter(turn.open))} had not ended"
        facts.breaks(ORDER, words)
    if entry.wave <= turn.wave:
        facts.breaks(ORDER, f"wave {entry.wave} began after wave {turn.wave}")
    turn.wave = entry.wave
    turn.open = {call.call_id: call.timeout for call in entry.calls}
    turn.protects = max((call.timeout or 0.0 for call in entry.calls if call.protected), default=0)


def _check_end(facts: Facts, turn: _Turn, entry: TurnEnded) -> None:
    if turn.open:
        call = next(iter(turn.open))
        facts.breaks(CALLS, f"turn {turn.number} ended and its call {call} did not")
    _check_reason(facts, turn, entry)
    if entry.outcome is not TurnOutcome.FINISHED:
        return
    if turn.stop is not None:
        facts.breaks(SILENT, f"turn {turn.number} was told to stop and finished all the same")
    text = entry.reply.text if entry.reply is not None else None
    said = [
        attempt.returned
        for attempt in facts.attempts
        if attempt.turn == turn.number and attempt.number == turn.attempt
    ]
    if text not in said:
        words = f"turn {turn.number}, attempt {turn.attempt} replied {text!r}: its agent did not"
        facts.breaks(SILENT, words)


def _check_reason(facts: Facts, turn: _Turn, entry: TurnEnded) -> None:
    """A turn fails for an error of its agent, and one that was told to stop ends in time."""
    if entry.outcome is TurnOutcome.FAILED:
        attempts = [one for one in facts.attempts if one.turn == turn.number]
        raised = any(one.raised is not None for one in attempts)
        if entry.reason is Reason.ERROR and not raised:
            facts.breaks(REASON, f"turn {turn.number} failed, and its agent had raised nothing")
        last = attempts[-1] if attempts else None
        error = last.raised if last is not None else None
        calm = not facts.injected
        if isinstance(error, Exception) and is_own_fault(error, facts.raises, calm=calm):
            facts.breaks(AGENT, f"turn {turn.number} failed by {last.where if last else ''}")
    stop = turn.stop
    if stop is None:
        return
    whole = not facts.happened({"crash", "deadline", *BROKEN_OFF}, turn.since, entry.at)
    if turn.cut_off and whole and isinstance(stop.how, AfterWave):
        facts.breaks(ORDER, f"{turn.cut_off}, and the turn was to stop after its wave")
    jumped = facts.happened({"deadline", *BROKEN_OFF}, stop.at, entry.at)
    if jumped or isinstance(stop.how, Rollback):
        return  # what undoes a call takes its time
    how = stop.how
    bound = how.grace if isinstance(how, Now) else how.patience + Now().grace
    if entry.at - stop.at > max(bound, turn.protects) + LITTLE:
        words = f"turn {turn.number} ended {entry.at - stop.at:.1f} s after it was told to stop"
        facts.breaks(REASON, words)


def _check_published(facts: Facts) -> None:
    stopped: set[int] = set()
    for event in facts.published:
        if isinstance(event, StopRequested) and event.turn is not None:
            stopped.add(event.turn)
        elif isinstance(event, Delta) and event.turn in stopped:
            facts.breaks(SILENT, f"turn {event.turn} streamed after it was told to stop")
