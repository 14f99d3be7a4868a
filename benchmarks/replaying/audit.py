"""What the tapes of a replay amount to, and what must not be on them.

Pure functions over :class:`Tape`; nothing here knows which system was recorded.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .tape import Start, Tape

ANSWERED = "answered"


class Report(NamedTuple):
    """The figures of one system; the fields are those of the JSON file.

    Args:
        messages_lost: sent, and without an outcome.
        calls_completed: starts of tools that came to their end.
        calls_carried: calls answered from an interrupted turn, and not started.
        calls_rerun: started although a fresh, unused result could have answered.
        once_duplicates: starts of bookings beyond the occurrences that were recorded.
        max_runtimes_per_session: the most agents of one session at the same time.
        tool_seconds: recorded seconds that tools worked.
        tool_seconds_wasted: those of them that went into no reply.
        interrupt_latency_p50_ms: from a message that interrupts to the first call of the new turn,
            less what the running wave still needed; real milliseconds.
        replies: those that were delivered.
        replies_behind: delivered although the same person had sent another message meanwhile.
        answered_mean_s: from a message to the reply that answers it; recorded seconds.
    """

    messages_sent: int
    messages_accepted: int
    messages_answered: int
    messages_lost: int
    turns_finished: int
    turns_interrupted: int
    calls_completed: int
    calls_carried: int
    calls_rerun: int
    once_duplicates: int
    max_runtimes_per_session: int
    tool_seconds: float
    tool_seconds_wasted: float
    interrupt_latency_p50_ms: float | None
    interrupt_latency_p99_ms: float | None
    replies: int
    replies_behind: int
    answered_mean_s: float | None
    answered_p50_s: float | None
    answered_p90_s: float | None


def report(
    tapes: Iterable[Tape], recorded: Iterable[Mapping[str, int]], speed: float = 1.0
) -> Report:
    """Add up the sessions of a replay.

    Args:
        tapes: the sessions' records.
        recorded: for each of them, how often each call occurs in the recording.
        speed: recorded seconds that passed in one of the loop's.
    """
    tapes = list(tapes)
    latencies = sorted(late for tape in tapes for late in interrupt_latencies(tape))
    waits = sorted(wait * speed for tape in tapes for wait in answer_waits(tape))
    spent = sum(start.spent for tape in tapes for start in tape.starts)
    return Report(
        messages_sent=sum(len(tape.sent) for tape in tapes),
        messages_accepted=sum(tape.accepted for tape in tapes),
        messages_answered=sum(map(_answered, tapes)),
        messages_lost=sum(message not in tape.outcomes for tape in tapes for message in tape.sent),
        turns_finished=sum(len(tape.finished) for tape in tapes),
        turns_interrupted=sum(len(tape.interrupted) for tape in tapes),
        calls_completed=sum(start.ended is not None for tape in tapes for start in tape.starts),
        calls_carried=sum(tape.carried.total() for tape in tapes),
        calls_rerun=sum(calls_rerun(tape) for tape in tapes),
        once_duplicates=sum(map(once_duplicates, tapes, recorded)),
        max_runtimes_per_session=max((tape.max_runtimes for tape in tapes), default=0),
        tool_seconds=round(spent, 1),
        tool_seconds_wasted=round(max(0.0, spent - sum(map(useful_seconds, tapes))), 1),
        interrupt_latency_p50_ms=_milliseconds(latencies, 50),
        interrupt_latency_p99_ms=_milliseconds(latencies, 99),
        replies=sum(len(tape.replies) for tape in tapes),
        replies_behind=sum(map(replies_behind, tapes)),
        answered_mean_s=round(fmean(waits), 2) if waits else None,
        answered_p50_s=round(percentile(waits, 50), 2) if waits else None,
        answered_p90_s=round(percentile(waits, 90), 2) if waits else None,
    )


def problems(tapes: Mapping[str, Tape], figures: Report) -> list[str]:
    """Everything on the tapes that an interruptible conversation must not show, in words."""
    found = [
        f"{value} {words}"
        for value, words in (
            (figures.messages_lost, "messages lost"),
            (figures.messages_sent - figures.messages_accepted, "messages not accepted"),
            (figures.messages_sent - figures.messages_answered, "messages not answered"),
            (figures.calls_rerun, "calls run again although a result was there"),
            (figures.once_duplicates, "bookings started more often than they were recorded"),
        )
        if value
    ]
    if figures.max_runtimes_per_session > 1:
        found.append(f"{figures.max_runtimes_per_session} runtimes of one session at once")
    for session, tape in tapes.items():
        found.extend(f"session {session}: {words}" for words in tape.wrong)
        found.extend(f"session {session}: {words}" for words in _not_exactly_once(tape))
    return found


def calls_rerun(tape: Tape) -> int:
    """Count starts for which an equal call of the chain before had a result to spare."""
    again = 0
    used = Counter(tape.carried)
    for start in tape.starts:
        place = (start.turn, start.key)
        spare = sum(1 for old in _chain_before(tape, start.turn) if _could_answer(tape, old, start))
        if used[place] < spare:
            again += 1
            used[place] += 1
    return again


def once_duplicates(tape: Tape, recorded: Mapping[str, int]) -> int:
    """Count starts of bookings beyond those recorded."""
    starts = Counter(start.key for start in tape.starts if start.once)
    return sum(max(0, count - recorded.get(key, 0)) for key, count in starts.items())


def useful_seconds(tape: Tape) -> float:
    """Add up the seconds of completed calls that went into a reply."""
    useful = 0.0
    for turn in tape.finished:
        useful += sum(s.spent for s in tape.starts if s.turn == turn and s.ended is not None)
        wanted = Counter({key: n for (at, key), n in tape.carried.items() if at == turn})
        for old in _chain_before(tape, turn):
            if wanted[old.key] > 0:
                wanted[old.key] -= 1
                useful += old.spent
    return useful


def interrupt_latencies(tape: Tape) -> Iterator[float]:
    """Seconds from each interrupting message to the next turn's first call.

    What the running wave still needed is not in it: it counts from the end of the last call of the
    old turn that was let finish.
    """
    for old, new in zip(tape.runs, tape.runs[1:], strict=False):
        wrote = [tape.sent[m] for m in new.messages if m not in old.messages]
        first = [start.began for start in tape.starts if start.turn == new.turn]
        if old.turn not in tape.interrupted or not wrote or not first:
            continue
        ends = [s.ended for s in tape.starts if s.turn == old.turn and s.ended is not None]
        yield min(first) - max([min(wrote), *ends])


def answer_waits(tape: Tape) -> Iterator[float]:
    """The loop's seconds from each message to the first reply that answers it."""
    answered: dict[str, float] = {}
    for reply in tape.replies:
        for message in reply.messages:
            answered.setdefault(message, reply.at)
    return (answered[message] - at for message, at in tape.sent.items() if message in answered)


def replies_behind(tape: Tape) -> int:
    """Count replies that were delivered when a later message had been sent and not answered."""
    behind = 0
    answered: set[str] = set()
    for reply in tape.replies:
        answered.update(reply.messages)
        behind += any(at < reply.at and m not in answered for m, at in tape.sent.items())
    return behind


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Take the value below or at which ``percent`` of the ordered values lie.

    Raises:
        ValueError: when there are none.
    """
    if not ordered:
        msg = "no values, no percentile"
        raise ValueError(msg)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def _answered(tape: Tape) -> int:
    return sum(tape.outcomes.get(message) == [ANSWERED] for message in tape.sent)


def _chain_before(tape: Tape, turn: int) -> list[Start]:
    """What was completed in the turns before, back to the last one that finished."""
    last = max((number for number in tape.finished if number < turn), default=-1)
    return [s for s in tape.starts if last < s.turn < turn and s.ended is not None]


def _could_answer(tape: Tape, old: Start, start: Start) -> bool:
    """Tell whether the old result would do: a read is stale once something was booked."""
    if old.key != start.key or old.ended is None or old.ended > start.began:
        return False
    return old.once or not any(
        booking.once and old.wave <= booking.wave < start.wave for booking in tape.starts
    )


def _not_exactly_once(tape: Tape) -> Iterator[str]:
    for message, statuses in tape.outcomes.items():
        if statuses[0] != ANSWERED:
            yield f"message {message} ended as {statuses[0]}"
        if len(statuses) > 1:
            yield f"message {message} ended {len(statuses)} times: {', '.join(statuses)}"
    for reply, count in Counter(reply.reply_id for reply in tape.replies).items():
        if count > 1:
            yield f"reply {reply} was delivered {count} times"
    if len(tape.replies) != len(tape.finished):
        yield f"{len(tape.finished)} turns finished, {len(tape.replies)} replies delivered"
    answers = Counter(message for reply in tape.replies for message in reply.messages)
    for message in tape.sent:
        if answers[message] != 1:
            yield f"message {message} was answered by {answers[message]} replies"


def _milliseconds(latencies: Sequence[float], percent: float) -> float | None:
    return round(percentile(latencies, percent) * 1000, 3) if latencies else None
