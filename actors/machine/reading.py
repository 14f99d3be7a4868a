"""The history as it is read: what the journal has of it, call by call, as true as is known; pure.

Every entry is made from the end on, so that the last ones cost the same however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from ...messages.history import HistoryEntry, HistoryKind
from ...messages.reasons import CallStatus, Reason
from ...messages.records import CRASHED
from ..ledger import record_of
from .history import WHY, cut, turn_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...messages.entries import Progressed
    from ...messages.history import Work
    from ...messages.ids import CallId
    from ...messages.records import CallDone, CallRecord

_WORDS = frozenset({HistoryKind.STREAMED, HistoryKind.REPLY})

_UNSEEN = {
    CallStatus.SKIPPED: "was not started",
    CallStatus.CANCELLED: "was cut off; it only reads, so it has changed nothing",
    CallStatus.UNKNOWN: "was started and its end was not seen, so it may have happened",
}


class Readable(NamedTuple):
    """What is shown of a history.

    Args:
        entries: the last ones, oldest first; no result without its call.
        enough: whether there were as many as were asked for.
    """

    entries: tuple[HistoryEntry, ...]
    enough: bool


class _Corrections:
    """What became known of entries when they had been written; the newest word counts."""

    __slots__ = ("ends", "heard")

    def __init__(self, stored: Sequence[HistoryEntry]) -> None:
        self.heard: dict[int, int] = {}
        self.ends: dict[CallId, tuple[CallDone, float]] = {}
        for entry in stored:
            if entry.kind is HistoryKind.CORRECTION:
                if entry.heard is not None:
                    self.heard[entry.turn] = entry.heard
                if entry.work is not None:
                    self.ends.update(_ends(entry.work.entries()))


def readable(stored: Sequence[HistoryEntry], limit: int) -> Readable:
    """The last ``limit`` entries of what a journal has, and of what is not settled.

    Args:
        stored: the end of the history as it is stored, oldest first.
        limit: how many to give at most.
    """
    corrections = _Corrections(stored)
    shown: list[HistoryEntry] = []
    for entry in reversed(stored):
        if len(shown) >= limit:
            break
        if entry.kind is HistoryKind.WORK and entry.work is not None:
            shown.extend(reversed(_calls(entry.turn, entry.work, corrections)))
        elif entry.kind in _WORDS:
            words = cut(entry, corrections.heard.get(entry.turn))
            if words is not None:
                shown.append(words)
        elif entry.kind is not HistoryKind.CORRECTION:
            shown.append(entry)
    enough = len(shown) >= limit
    return Readable(tuple(_well_formed(shown[:limit][::-1])), enough)


def _well_formed(entries: Sequence[HistoryEntry]) -> Iterator[HistoryEntry]:
    """Leave out the results of which the call is further back than what is shown."""
    called: set[CallId] = set()
    for entry in entries:
        if entry.call is not None:
            if entry.kind is HistoryKind.CALL:
                called.add(entry.call.call_id)
            elif entry.call.call_id not in called:
                continue
        yield entry


def _ends(log: Sequence[Progressed]) -> dict[CallId, tuple[CallDone, float]]:
    return {done.call_id: (done, entry.at) for entry in log for done in entry.done}


def _calls(turn: int, work: Work, corrections: _Corrections) -> list[HistoryEntry]:
    """The calls of each wave, then their results; of a call that has not ended, nothing."""
    log = work.entries()
    ends = _ends(log)
    shown: list[HistoryEntry] = []
    for entry in log:
        records: list[CallRecord] = []
        for started in entry.calls:
            end = corrections.ends.get(started.call_id) or ends.get(started.call_id)
            if end is not None:
                done, at = end
                record = record_of(started, done, entry.fence, entry.at, at, work.senders)
                if not _was_made_before(record, turn):
                    records.append(record)
        shown += [_call(turn, record) for record in records]
        shown += [_result(turn, record, work) for record in records]
    return shown


def _was_made_before(record: CallRecord, turn: int) -> bool:
    """Whether an earlier attempt of the turn made this very call, and it answered."""
    origin = record.answered_from
    return origin is not None and turn_of(origin) == turn


def _call(turn: int, record: CallRecord) -> HistoryEntry:
    text = f"{record.tool}({to_json(record.arguments).decode()})"
    return HistoryEntry(
        kind=HistoryKind.CALL, turn=turn, text=text, call=record, at=record.started_at
    )


def _result(turn: int, record: CallRecord, work: Work) -> HistoryEntry:
    return HistoryEntry(
        kind=HistoryKind.RESULT,
        turn=turn,
        text=_in_words(record, work),
        call=record,
        interrupted=record.status in _UNSEEN,
        at=record.ended_at,
    )


def _in_words(record: CallRecord, work: Work) -> str:
    """What the call came to, and the truth about why it did not come to more."""
    if record.status is CallStatus.COMPLETED:
        result = record.result
        return result if isinstance(result, str) else to_json(result).decode()
    error = record.error
    own = "" if error is None else f"{error.type}: {error.message}"
    if record.status is CallStatus.FAILED:
        return f"failed: {own}" if own else "failed"
    return f"{_UNSEEN[record.status]}{_why(record, work, own)}"


def _why(record: CallRecord, work: Work, own: str) -> str:
    error = record.error
    if error is not None and error.type == CRASHED:
        return f": the work on it crashed ({error.message})"
    if error is not None and error.type != "CancelledError":
        return f": {own}"
    reason = _reason(record, work)
    return f": {WHY.get(reason, str(reason))}" if reason is not None else ""


def _reason(record: CallRecord, work: Work) -> Reason | None:
    """Why the turn did not wait for the call; None when the agent itself did not."""
    if record.attempt < work.attempt:
        return Reason.CRASHED
    if record.wave < work.wave:
        return None
    if work.stopped_at is not None and record.ended_at < work.stopped_at:
        return None
    return work.reason
