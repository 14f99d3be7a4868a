"""What is not done again: the calls of a turn, and of the interrupted turns before it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ...messages.entries import Progressed
from ...messages.events import (
    CompensationEnded,
    MessageAccepted,
    RollbackStarted,
    SessionOpened,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ...messages.reasons import CallStatus, Effect, TurnOutcome
from ...tools.call import equality_of
from .names import CALLS, ONCE, PARTIAL, UNDONE

if TYPE_CHECKING:
    from ...messages.records import CallDone, CallStarted
    from .facts import Facts, Ran


class _Made(NamedTuple):
    """A call of a wave: what the journal has of its beginning, and whose messages it is for."""

    call: CallStarted
    equality: str
    senders: frozenset[str | None]
    turn: int
    attempt: int


class Chains:
    """Walks through a journal as a ledger would have to, and looks at what really ran.

    Args:
        facts: the run.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._ran: dict[str, Ran] = {ran.call_id: ran for ran in facts.ran if ran.call_id}
        self._sender: dict[str, str | None] = {}
        self._made: dict[str, _Made] = {}
        # What an equal call must be answered by: of this chain, by calls that really ran.
        self._settled: dict[str, list[_Made]] = defaultdict(list)
        self._unknown: dict[str, _Made] = {}
        self._wrote = False
        self._completed: set[str] = set()  # in turns of the chain that ended unfinished
        self._completed_now: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._asked_since: dict[str, int] = {}
        self._epoch = 0
        self._turn = 0
        self._attempt = 1
        self._senders: frozenset[str | None] = frozenset()

    def check(self) -> None:
        """Note every call that was made again, and every result that got lost."""
        for entry in self._facts.log:
            handler = self._HANDLERS.get(type(entry))
            if handler is not None:
                handler(self, entry)
        self._check_twice()

    def _opened(self, entry: SessionOpened) -> None:
        self._epoch = entry.epoch

    def _accepted(self, entry: MessageAccepted) -> None:
        self._sender[entry.message.message_id] = entry.message.sender

    def _started(self, entry: TurnStarted) -> None:
        self._turn, self._attempt = entry.turn, 1
        self._senders = frozenset(self._sender.get(one) for one in entry.message_ids)
        self._asked.clear()
        self._check_previous()

    def _restarted(self, entry: TurnRestarted) -> None:
        self._attempt = entry.attempt
        self._asked.clear()

    def _progressed(self, entry: Progressed) -> None:
        for done in entry.done:
            self._end(done)
        for call in entry.calls:
            self._begin(call)

    def _turn_ended(self, entry: TurnEnded) -> None:
        goes_on = entry.outcome is not TurnOutcome.FINISHED and "rolled" not in entry.outcome.value
        if goes_on:
            self._completed |= self._completed_now
        else:
            self._settled.clear()
            self._completed.clear()
            self._wrote = False
        self._completed_now = set()

    def _roll_back(self, entry: RollbackStarted) -> None:
        order = {id_: place for place, id_ in enumerate(self._made)}
        places = [order.get(id_, -1) for id_ in entry.calls]
        if places != sorted(places, reverse=True):
            words = f"turn {entry.turn} is undone in the order {entry.calls}"
            self._facts.breaks(UNDONE, words)
        done = self._completed | self._completed_now
        wanted = {id_ for id_ in done if self._made[id_].call.tool in self._facts.compensable}
        if not wanted <= set(entry.calls):
            words = f"turn {entry.turn} is rolled back, and {min(wanted)} was not undone"
            self._facts.breaks(UNDONE, words)

    def _check_undone(self, entry: CompensationEnded) -> None:
        completed = entry.status is CallStatus.COMPLETED
        if completed and entry.call_id not in self._facts.undone:
            self._facts.breaks(UNDONE, f"call {entry.call_id} is said to be undone, and was not")

    def _begin(self, call: CallStarted) -> None:
        equality = equality_of(call.tool, call.version, call.arguments)
        made = _Made(call, equality, self._senders, self._turn, self._attempt)
        self._made[call.call_id] = made
        place = self._asked[equality]
        self._asked[equality] += 1
        ran = self._ran.get(call.call_id)
        if ran is None or call.answered_from is not None:
            return
        if ran.fresh or ran.again:
            return
        if not call.idempotency_key.endswith(f"-{call.call_id}"):
            keys = [one.call.idempotency_key for one in self._unknown.values()]
            if ran.effect == "once" and call.idempotency_key in keys:
                self._facts.breaks(ONCE, f"{ran!r} may have run, and nobody had said again()")
            return
        if ran.effect == "once":
            unknown = [one for one in self._unknown.values() if one.equality == equality]
            if place < len(unknown):
                words = f"{ran!r} was started again: call {unknown[0].call.call_id} may have run"
                self._facts.breaks(ONCE, words)
                return
        before = [one for one in self._settled[equality] if self._counts(one)]
        if place < len(before):
            promise = ONCE if ran.effect == "once" else CALLS
            words = f"{ran!r} was run again: call {before[place].call.call_id} had completed"
            self._facts.breaks(promise, words)

    def _counts(self, one: _Made) -> bool:
        """Whether a completed call has to answer an equal one at this place."""
        earlier = (one.turn, one.attempt) < (self._turn, self._attempt)
        if one.turn == self._turn:
            return earlier
        is_read = one.call.effect is Effect.READ
        stale = is_read and self._wrote
        return earlier and one.call.carry is True and one.senders == self._senders and not stale

    def _end(self, done: CallDone) -> None:
        made = self._made.get(done.call_id)
        if made is None:
            return
        if done.late:
            self._unknown.pop(done.call_id, None)
            return
        if done.answered_from is not None:
            if done.status is CallStatus.COMPLETED:
                self._unknown.pop(done.answered_from, None)
                self._completed_now.add(done.answered_from)
            return
        if done.status is CallStatus.SKIPPED:
            return
        if made.call.effect is not Effect.READ:
            self._wrote = True
            if done.status is CallStatus.CANCELLED:
                words = f"call {done.call_id} of {done.tool} was cut off, and is not unknown"
                self._facts.breaks(ONCE, words)
        if done.status is CallStatus.COMPLETED:
            self._settled[made.equality].append(made)
            self._completed_now.add(done.call_id)
            self._unknown = {
                id_: one
                for id_, one in self._unknown.items()
                if one.call.idempotency_key != made.call.idempotency_key
            }
        elif done.status is CallStatus.UNKNOWN and made.call.effect is Effect.ONCE:
            self._unknown[done.call_id] = made

    def _check_previous(self) -> None:
        """What the turns before have completed is in ``turn.previous`` of this one."""
        for attempt in self._facts.attempts:
            # One of an epoch before worked on a turn of which the journal has lost the start.
            control = attempt.control
            lost = control is not None and control.fence.epoch < self._epoch
            if attempt.turn != self._turn or lost:
                continue
            left = attempt.previous.completed if attempt.previous is not None else ()
            missing = self._completed - {record.origin for record in left}
            if missing:
                made = self._made[min(missing)]
                words = (
                    f"turn {self._turn} does not know of {made.call.tool}"
                    f"({', '.join(f'{v!r}' for v in made.call.arguments.values())}), which had "
                    f"completed in turn {made.turn}"
                )
                self._facts.breaks(PARTIAL, words)

    def _check_twice(self) -> None:
        """No call was started twice, and what completed is not recorded as unknown."""
        starts: Counter[tuple[str, int]] = Counter()
        lost = sum(one.what in {"lose", "unsure"} for one in self._facts.injected)
        for ran in self._facts.ran:
            # A read may start before that is durable, and so once more after a kill.
            starts[ran.call_id, ran.life if ran.effect == "read" else 0] += bool(ran.call_id)
        for (call_id, _), times in starts.items():
            # The same goes for a commit that failed.
            if times > 1 + (lost if self._ran[call_id].effect == "read" else 0):
                promise = ONCE if self._ran[call_id].effect == "once" else CALLS
                self._facts.breaks(promise, f"call {call_id} was started {times} times")
        if lost:
            return  # its end may be what was lost
        for call_id in self._unknown:
            one = self._ran.get(call_id)
            # Of a life that was cut short nobody can know how its calls ended.
            if one is not None and one.ended == "completed" and one.life == self._facts.lives:
                words = f"{one!r} completed, and is recorded as unknown for good"
                self._facts.breaks(PARTIAL, words)

    _HANDLERS: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        SessionOpened: _opened,
        MessageAccepted: _accepted,
        TurnStarted: _started,
        TurnRestarted: _restarted,
        Progressed: _progressed,
        RollbackStarted: _roll_back,
        CompensationEnded: _check_undone,
        TurnEnded: _turn_ended,
    }
