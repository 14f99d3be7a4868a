"""The ledger: what became of every call and step, and which of it answers an equal one.

One rule serves a crash and an interruption alike (DESIGN §5): calls are told apart by tool with
its version, canonical validated arguments and occurrence - never by position, because models,
clocks and new code make other calls at the same place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages.entries import Progressed, rows_of
from ..messages.events import Said, StepEnded
from ..messages.reasons import CallStatus, Effect
from ..messages.records import CallError, CallRecord
from ..tools.call import equality_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from ..messages.entries import Entry, Line
    from ..messages.ids import IdempotencyKey
    from ..messages.records import PartialResults
    from ..tools.call import ToolCall


_EFFECTS = {str(effect): effect for effect in Effect}
_STATUSES = {str(status): status for status in CallStatus}
_OF_CALLS = (bytes, Progressed)


def record_of(  # noqa: PLR0917 - the two halves of a call, and where they belong
    started: Sequence[Any],
    done: Sequence[Any],
    fence: Sequence[int],
    started_at: float,
    ended_at: float,
    senders: tuple[str | None, ...],
) -> CallRecord:
    """A call's whole record, from its beginning and its end.

    Args:
        started: a ``CallStarted``, or what JSON has of one.
        done: a ``CallDone``, or what JSON has of one.
        fence: of the attempt that made it.
        started_at: seconds since the epoch.
        ended_at: seconds since the epoch.
        senders: whose messages the turn worked on.
    """
    id_, tool, version, arguments, effect, _, _, carry, key, origin, compensated, same_as = started
    wave, _, _, status, result, error, _, _ = done
    _, turn, attempt = fence
    return CallRecord.trusted(
        {
            "call_id": id_,
            "tool": tool,
            "version": version,
            "arguments": arguments,
            "effect": _EFFECTS[effect],
            "carry": carry,
            "idempotency_key": key,
            "answered_from": origin,
            "turn": turn,
            "attempt": attempt,
            "wave": wave,
            "status": _STATUSES[status],
            "result": result,
            "error": CallError(**error) if error.__class__ is dict else error,
            "started_at": started_at,
            "ended_at": ended_at,
            "senders": senders,
            "compensated": compensated,
            "same_as": same_as,
        }
    )


def records_of(
    log: Iterable[Entry | Line], senders: tuple[str | None, ...]
) -> Iterator[CallRecord]:
    """The records of a turn's log, in the order in which the calls were given.

    Of lines they are made of what JSON has, without the entries in between: a third of the price,
    and whoever wrote to a turn that works waits for this.
    """
    rows = rows_of([one for one in log if isinstance(one, _OF_CALLS)])
    ends = {done[1]: (done, at) for _, at, _, ended, *_ in rows for done in ended}
    for _, at, fence, _, _, _, calls in rows:
        for started in calls:
            end = ends.get(started[0])
            if end is not None:
                yield record_of(started, end[0], fence, at, end[1], senders)


class Answer(NamedTuple):
    """What the ledger says to a call: a record that answers it, or an old key to start it with."""

    record: CallRecord | None = None
    idempotency_key: IdempotencyKey | None = None


_NOTHING: Mapping[str, list[Any]] = MappingProxyType({})

START = Answer()
"""Nothing is known of an equal call: start it, with a key of its own."""


class Ledger:
    """Answers the calls and steps of one attempt from what was done before it.

    Args:
        log: the turn's events of its earlier attempts.
        previous: what the chain of interrupted turns left.
        unknown: gives the calls that may have happened, as they stand now.
        senders: whose messages the turn works on.
    """

    __slots__ = (
        "_anew",
        "_carried",
        "_last_write",
        "_said",
        "_senders",
        "_slots",
        "_steps",
        "_taken",
        "_unknown",
    )

    def __init__(
        self,
        log: Sequence[Entry | Line],
        previous: PartialResults | None,
        unknown: Callable[[], tuple[CallRecord, ...]],
        senders: tuple[str | None, ...],
    ) -> None:
        self._unknown = unknown
        self._senders = senders
        # Most turns have nothing to take over: a dict each would be the collector's work.
        self._slots: Mapping[str, list[CallRecord]] = _NOTHING
        self._anew: Mapping[str, list[CallRecord]] = _NOTHING
        self._steps: Mapping[str, list[Any]] = _NOTHING
        self._said: Counter[str] | None = None
        self._taken: tuple[CallRecord, ...] = ()
        earlier = previous.calls if previous is not None else ()
        done: tuple[CallRecord, ...] = ()
        if log:
            done = tuple(records_of(log, self._senders))
            self._take_over(log, done)
        used = {r.answered_from for r in done if r.answered_from and not is_unused(r)}
        self._carried: dict[str, list[CallRecord]] = _by_key(
            r for r in earlier if r.status is CallStatus.COMPLETED and r.origin not in used
        )
        writes = [_order(r) for r in (*earlier, *done) if _is_write(r)]
        self._last_write = max(writes, default=(0, 0, 0))

    def _take_over(self, log: Sequence[Entry | Line], done: Sequence[CallRecord]) -> None:
        """What the turn's own attempts before this one leave."""
        requests = _requests(done)
        self._slots = _by_key(r for r in requests if not _is_made_anew(r))
        self._anew = _by_key(r for r in requests if _is_made_anew(r))
        steps: dict[str, list[Any]] = {}
        for event in log:
            if isinstance(event, StepEnded):
                steps.setdefault(event.key, []).append(event.result)
        self._steps = steps
        self._said = Counter(event.text for event in log if isinstance(event, Said))

    def answer(self, call: ToolCall[Any], now: float) -> Answer:
        """What to do with ``call``, the next one equal to it; each answer is given once.

        Args:
            call: the call.
            now: seconds since the epoch, for results that are carried for a time.
        """
        unknown = self._unknown()
        if not unknown and not self._slots and not self._carried and not self._anew:
            return START
        key = call.equality
        slot = self._slots.get(key)
        while slot:
            answer = self._of_this_turn(slot.pop(0), key, unknown, call, now)
            if answer is not START:
                return answer
        answer = self._of_before(key, unknown, call, now)
        anew = self._anew.get(key)
        return _settled(anew.pop(0), call) if anew and answer is START else answer

    def _of_this_turn(
        self,
        record: CallRecord,
        key: str,
        unknown: tuple[CallRecord, ...],
        call: ToolCall[Any],
        now: float,
    ) -> Answer:
        if is_unused(record):
            return self._of_before(key, unknown, call, now)
        live = next((r for r in unknown if r.call_id == record.origin), None)
        if live is None and record.status is CallStatus.UNKNOWN:
            return START  # it is not, by now: what settled it has a place of its own
        if live is not None and _is_made_anew(live):
            # It has failed, late; what is there answers before anything is made anew.
            self._anew = {**self._anew, key: [*self._anew.get(key, ()), live]}
            return START
        if live is not None and self._is_given_away(live, call):
            return START
        return self._take(live or record, call)

    def _of_before(
        self, key: str, may_have: tuple[CallRecord, ...], call: ToolCall[Any], now: float
    ) -> Answer:
        """By occurrence: of what the chain completed and what may have happened, the older."""
        unknown = self._may_have_happened(key, may_have, call)
        carried = self._carried.get(key)
        if carried and (unknown is None or _is_older(carried[0], unknown, call)):
            answer = self._of_the_chain(carried, call, now)
            if not carried:  # with nothing left, no call has to be compared
                del self._carried[key]
            if answer.record is not None:
                return answer
        return START if unknown is None else self._take(unknown, call)

    def _may_have_happened(
        self, key: str, unknown: tuple[CallRecord, ...], call: ToolCall[Any]
    ) -> CallRecord | None:
        """An equal call that is unknown, or that was and of which the result came late."""
        for record in unknown:
            if record.status is CallStatus.FAILED:
                continue  # that answers its own place only
            if _key(record) != key or self._is_given_away(record, call):
                continue
            if not answers(record) or (not call.is_fresh and record.senders == self._senders):
                return record
        return None

    def _take(self, record: CallRecord, call: ToolCall[Any]) -> Answer:
        if _uses_up(record, call):
            # It is unknown no longer when the end of this call is recorded; until then another
            # call of the same wave must not take it too. Never started, it comes back as new.
            self._taken = (*self._taken, record)
        return _settled(record, call)

    def _is_given_away(self, record: CallRecord, call: ToolCall[Any]) -> bool:
        return _uses_up(record, call) and any(record is taken for taken in self._taken)

    def _of_the_chain(self, carried: list[CallRecord], call: ToolCall[Any], now: float) -> Answer:
        while carried:
            record = carried.pop(0)
            if call.is_fresh:
                break  # it was this call's turn, and is refused; the next one is the next call's
            if self._still_good(record, now):
                return Answer(record)
        return START

    def _still_good(self, record: CallRecord, now: float) -> bool:
        if not _may_be_carried(record, now) or record.senders != self._senders:
            return False
        return record.effect is not Effect.READ or self._last_write < _order(record)

    def started(self, turn: int, attempt: int, wave: int) -> None:
        """A call that is not a read was started: reads of earlier waves are stale from here on."""
        self._last_write = (turn, attempt, wave)

    def step(self, key: str) -> tuple[Any] | None:
        """The remembered result of the next step of that key, in a tuple, or None."""
        remembered = self._steps.get(key)
        return (remembered.pop(0),) if remembered else None

    def was_said(self, text: str) -> bool:
        """Whether an earlier attempt has said this already; each saying counts once."""
        if not self._said or self._said[text] == 0:
            return False
        self._said[text] -= 1
        return True


def _by_key(records: Iterable[CallRecord]) -> dict[str, list[CallRecord]]:
    found: dict[str, list[CallRecord]] = {}
    for record in records:
        found.setdefault(_key(record), []).append(record)
    return found


def _settled(record: CallRecord, call: ToolCall[Any]) -> Answer:
    """What a record of this turn, or of the unknown calls, says to an equal call."""
    again = call.is_again or record.effect is Effect.IDEMPOTENT
    if again and record.status is CallStatus.UNKNOWN:
        # With the old key: the foreign system can see that it is the same request.
        return Answer(None, record.idempotency_key)
    if not _is_made_anew(record):
        return Answer(record)
    return START if record.effect is Effect.READ else Answer(None, record.idempotency_key)


def _requests(records: Iterable[CallRecord]) -> Collection[CallRecord]:
    """What became of each request of a turn over its attempts so far, in order of their ends.

    A request is a call with those that were made again with its key, or answered from it.
    """
    names: dict[str, str] = {}
    requests: dict[str, CallRecord] = {}
    for record in records:
        own = record.answered_from or record.idempotency_key
        name = names[record.call_id] = names.get(record.origin, own)
        before = requests.get(name)
        if before is None or _is_made_anew(before):
            # What is made anew has its place from then on: another may have answered in its stead.
            requests.pop(name, None)
            requests[name] = record
        elif not answers(before) and record.status is not CallStatus.SKIPPED:
            requests[name] = record
    return requests.values()


def answers(record: CallRecord) -> bool:
    """Whether a call's result can answer an equal one."""
    return record.status is CallStatus.COMPLETED


def is_unused(record: CallRecord) -> bool:
    """Whether it was to be answered from an earlier call, and the attempt died before it was."""
    return record.status is CallStatus.SKIPPED and record.answered_from is not None


def _uses_up(record: CallRecord, call: ToolCall[Any]) -> bool:
    """Whether the record's result, or its key, is for one call only."""
    return answers(record) or call.is_again or record.effect is Effect.IDEMPOTENT


def _is_made_anew(record: CallRecord) -> bool:
    """Whether a new attempt makes the call anew; what else there is answers before."""
    if record.status is CallStatus.FAILED:
        return record.error is not None and record.error.retryable
    skipped = record.status is CallStatus.SKIPPED and record.answered_from is None
    return skipped or record.status is CallStatus.CANCELLED


def _is_older(carried: CallRecord, unknown: CallRecord, call: ToolCall[Any]) -> bool:
    """Whether a call takes what was completed before what is unknown; `again` asks for that."""
    return not call.is_again and _order(carried) <= _order(unknown)


def _key(record: CallRecord) -> str:
    return equality_of(record.tool, record.version, record.arguments, record.same_as)


def _order(record: CallRecord) -> tuple[int, int, int]:
    return (record.turn, record.attempt, record.wave)


def _is_write(record: CallRecord) -> bool:
    """Whether it is a start of something that is not a read; a carried use is no start."""
    started = record.status is not CallStatus.SKIPPED and record.answered_from is None
    return record.effect is not Effect.READ and started


def _may_be_carried(record: CallRecord, now: float) -> bool:
    if isinstance(record.carry, bool):
        return record.carry
    return now - record.ended_at <= record.carry
