"""The promises: what has to hold of every run, whatever was done to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...actors.machine.evolve import fold
from ...actors.machine.state import SessionState
from ...messages.events import (
    DeliveryEnded,
    Delta,
    MessageAccepted,
    MessageEnded,
    Progressed,
    Said,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ...messages.history import HistoryKind
from ...messages.policies import AfterWave, Now, Rollback
from ...messages.reasons import CallStatus, MessageStatus, Reason, TurnOutcome
from .blame import is_own_fault
from .chains import CALLS, ONCE, PARTIAL, UNDONE, Chains
from .facts import KEY
from .knowledge import delivery_of
from .play import ENDS, LEFT, ONE, SILENT
from .reasons import ASKED, check_reasons

if TYPE_CHECKING:
    from .facts import Facts

HISTORY = "the history is well formed"
FOLD = "the live state is the folded journal"
ORDER = "a wave begins when the one before has ended"
DELIVERED = "what is answered is delivered"

_DELIVER_AGAIN = frozenset({"deadline", "lose", "unsure"})
"""After these a delivery may be made once more: it took too long, or nobody heard of its end."""

REASON = "a turn ends for a reason, and in time"
AGENT = "the agent fails by nothing of its own"

BROKEN_OFF = frozenset({"kill", "restart", "lose", "unsure"})
"""After these an incarnation takes over what another has begun."""

_CUT_OFF = frozenset({CallStatus.CANCELLED, CallStatus.UNKNOWN})

_NOT_BEGUN = -1.0

LITTLE = 1.0
"""Seconds that a bound may be missed by: commits take time, and timers have a grain."""

PROMISES = (
    ENDS,
    ONE,
    AGENT,
    ASKED,
    REASON,
    CALLS,
    ONCE,
    PARTIAL,
    UNDONE,
    SILENT,
    ORDER,
    DELIVERED,
    HISTORY,
    FOLD,
    LEFT,
)
"""The names of all promises, as failures give them; one more is about durability."""


def check(facts: Facts) -> None:
    """Note every promise that a run did not keep."""
    if facts.broken:
        return  # the run was broken off; what follows would only be its consequences
    check_fold(facts)
    check_messages(facts)
    check_turns(facts)
    check_reasons(facts)
    Chains(facts).check()
    check_deliveries(facts)
    check_history(facts)


def check_fold(facts: Facts) -> None:
    """The state that the session lives by is what its journal says."""
    try:
        folded = fold(SessionState(KEY), facts.log[: facts.log_at_rest])
    except Exception as error:  # noqa: BLE001 - whatever a journal that is wrong leads to
        facts.breaks(FOLD, f"the journal cannot be folded: {error!r}")
        return
    state = facts.state
    if state is None or folded == state:
        return
    pairs = zip(SessionState._fields, folded, state, strict=True)
    name, wanted, got = next(one for one in pairs if one[1] != one[2])
    facts.breaks(FOLD, f"{name} is {got!r}, and the journal says {wanted!r}")


def check_messages(facts: Facts) -> None:
    """Each accepted message ends exactly once, and its sender is told how."""
    accepted = Counter(e.message.message_id for e in facts.log if isinstance(e, MessageAccepted))
    ends = [entry for entry in facts.log if isinstance(entry, MessageEnded)]
    ended = Counter(entry.message_id for entry in ends)
    status = {entry.message_id: entry.status for entry in ends}
    for sent in facts.sent:
        many, times = accepted[sent.id], ended[sent.id]
        if sent.error is not None:
            if many:
                facts.breaks(ENDS, f"{sent.text!r} was refused and is accepted all the same")
            continue
        if many != 1:
            facts.breaks(ENDS, f"{sent.text!r} was accepted {many} times")
        elif times != 1:
            facts.breaks(ENDS, f"{sent.text!r} ended {times} times")
        elif sent.outcome is None:
            facts.breaks(ENDS, f"nobody was told how {sent.text!r} ended")
        elif sent.outcome.status is not status[sent.id]:
            words = f"told {sent.outcome.status}, recorded {status[sent.id]}"
            facts.breaks(ENDS, f"{sent.text!r}: {words}")
    for message_id in ended.keys() - accepted.keys():
        facts.breaks(ENDS, f"message {message_id} ended and was never accepted")


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


def check_deliveries(facts: Facts) -> None:
    """What a finished turn replied and what was said reaches the user, in order, once."""
    wanted = [id_ for id_ in map(delivery_of, facts.log) if id_]
    ended = Counter(str(e.delivery_id) for e in facts.log if isinstance(e, DeliveryEnded))
    got = [str(delivery.delivery_id) for delivery in facts.delivered]
    for delivery in facts.delivered:
        if delivery.delivery_id not in wanted:
            words = f"{delivery.reply.text!r} reached the user, and no turn had said it"
            facts.breaks(SILENT, words)
    # Each of these may have one delivery made once more, for all that is known.
    again = facts.lives - 1 + sum(one.what in _DELIVER_AGAIN for one in facts.injected)
    for place, id_ in enumerate(wanted, 1):
        times = got.count(id_)
        if not times or ended[id_] != 1:
            words = f"delivery {place} was made {times} times, and ended {ended[id_]} times"
            facts.breaks(DELIVERED, words)
        elif times > 1 + again:
            facts.breaks(DELIVERED, f"delivery {place} was made {times} times")
    firsts = list(dict.fromkeys(got))
    if firsts != wanted[: len(firsts)]:
        facts.breaks(DELIVERED, f"delivered in the order {firsts}, said in the order {wanted}")


def check_history(facts: Facts) -> None:
    """Each message once, before the reply to it; one reply for a turn that finished."""
    messages = Counter(
        entry.message.message_id
        for entry in facts.history
        if entry.kind is HistoryKind.MESSAGE and entry.message is not None
    )
    twice = [id_ for id_, times in messages.items() if times > 1]
    if twice:
        facts.breaks(HISTORY, f"message {twice[0]} is there {messages[twice[0]]} times")
    turns = [
        entry.turn
        for entry in facts.history
        # What was answered beside the turns has none; a correction is of an entry before it.
        if entry.turn and entry.kind is not HistoryKind.CORRECTION
    ]
    if turns != sorted(turns):
        facts.breaks(HISTORY, f"its turns are in the order {turns}")
    replied: set[int] = set()
    for entry in facts.history:
        if entry.kind is HistoryKind.REPLY:
            if entry.turn in replied:
                facts.breaks(HISTORY, f"turn {entry.turn} has two replies")
            replied.add(entry.turn)
        elif entry.kind is HistoryKind.MESSAGE and entry.turn in replied:
            facts.breaks(HISTORY, f"turn {entry.turn} has its reply before its messages")
    finished = {
        entry.turn
        for entry in facts.log
        if isinstance(entry, TurnEnded) and entry.outcome is TurnOutcome.FINISHED and _speaks(entry)
    }
    if replied != finished:
        facts.breaks(HISTORY, f"it has replies of turns {replied}, finished are {finished}")
    answered = {
        entry.message_id
        for entry in facts.log
        if isinstance(entry, MessageEnded)
        and entry.status is MessageStatus.ANSWERED
        and entry.reply is None  # else it was answered beside the turn
    }
    missing = answered - messages.keys()
    if missing:
        facts.breaks(HISTORY, f"message {min(missing)} was answered and is not there")


def _speaks(entry: TurnEnded) -> bool:
    reply = entry.reply
    return reply is not None and bool(reply.text or reply.attachments or reply.data)
