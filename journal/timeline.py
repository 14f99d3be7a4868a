"""A session as a journal has it, as lines that can be read from top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from ..messages.entries import Progressed
from ..messages.errors import JournalCorrupt
from ..messages.events import (
    CallEnded,
    CompensationEnded,
    CourtesySaid,
    DeliveryEnded,
    Event,
    MessageAccepted,
    MessageDue,
    MessageEdited,
    MessageEnded,
    RollbackRefused,
    Said,
    Saved,
    SessionOpened,
    StepEnded,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from ..messages.history import HistoryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..messages.entries import Entry
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.records import CallDone, CallStarted
    from .folding import Folded
    from .inspect import Inspection
    from .rows import Found


class Line(NamedTuple):
    """Something that happened.

    Args:
        at: seconds since the epoch.
        turn: it belongs to; 0 for none.
        kind: the event's, or ``call``: one that a wave has made, with how it ended.
        text: in words.
        position: in the journal; None if the event is not kept, but only the history of it.
        outcome: how a call, a turn, a message or a delivery ended; ``open`` if a call has not.
        effect: of a call.
        key: by which a call or a delivery can be asked for elsewhere.
    """

    at: float
    turn: int
    kind: str
    text: str
    position: int | None = None
    outcome: str = ""
    effect: str = ""
    key: str = ""


class Timeline(NamedTuple):
    """A session.

    Args:
        now: what the fold of its journal comes to; None if it cannot be folded.
        kept_from: the position from which on events are kept.
        lines: what happened, in order.
        trouble: why it cannot be folded.
    """

    key: SessionKey
    now: Folded | None
    kept_from: int
    lines: tuple[Line, ...]
    trouble: str = ""


def timeline_of(inspection: Inspection, key: SessionKey, *, turns: int = 0) -> Timeline:
    """Read a session.

    Of turns before its snapshot there is only the history: what was said, and the calls.

    Args:
        inspection: of the journal.
        key: the session.
        turns: how many of the last turns are told; 0 for all.

    Raises:
        JournalError: there is no such session.
        JournalCorrupt: its rows cannot be read.
    """
    found = inspection.session(key)
    entries = inspection.kept(found)
    now, trouble = _folded(inspection, found)
    events = list(_events(key, entries))
    kept_from = events[0].position or 0 if events else (now.position if now else 0) + 1
    first = min((event.turn for event in events if isinstance(event, TurnStarted)), default=None)
    told = _Told(_calls(entries))
    history = list(_of_history(_history(inspection, found), first))
    known = {line.turn for line in history}  # of which some events may be kept, and some not
    events = [event for event in events if not event.turn or event.turn not in known]
    lines = [
        *history,
        *(line for event in events if (line := told.line(event)) is not None),
        *_open_calls(entries),
    ]
    inspection.confirm()
    begin = max((line.turn for line in lines), default=0) - turns + 1 if turns else 0
    last = [place for place, line in enumerate(lines) if 0 < line.turn < begin]
    return Timeline(key, now, kept_from, tuple(lines[last[-1] + 1 if last else 0 :]), trouble)


def _folded(inspection: Inspection, found: Found) -> tuple[Folded | None, str]:
    try:
        return inspection.folded(found), ""
    except JournalCorrupt as error:
        return None, str(error)


def _history(inspection: Inspection, found: Found) -> Iterator[HistoryEntry]:
    for row in found.rows["history"]:
        yield from inspection.codec.read_history(row, f"the history of session {str(found.key)!r}")


def _events(key: SessionKey, entries: Iterable[Entry]) -> Iterator[Event]:
    for entry in entries:
        if isinstance(entry, Progressed):
            yield from entry.events(key)
        else:
            yield entry


def _open_calls(entries: Sequence[Entry]) -> Iterator[Line]:
    """Calls that have begun and not ended, as far as it is known."""
    progress = [entry for entry in entries if isinstance(entry, Progressed)]
    ended = {done.call_id for entry in progress for done in entry.done}
    for entry in progress:
        for call in entry.calls:
            if call.call_id not in ended:
                yield _call(call, None, entry.fence.turn, entry.at, None)


def _calls(entries: Iterable[Entry]) -> dict[str, CallStarted]:
    """The calls that waves have begun, by their ids."""
    waves = (entry.calls for entry in entries if isinstance(entry, Progressed))
    return {call.call_id: call for calls in waves for call in calls}


# --- from the history ---


def _of_history(entries: Iterable[HistoryEntry], before: int | None) -> Iterator[Line]:
    for entry in entries:
        if before is not None and entry.turn >= before:
            continue  # there are the events themselves
        if entry.kind is HistoryKind.WORK and entry.work is not None:
            log = entry.work.entries()
            yield from _of_work(entry.turn, _calls(log), log)
        elif entry.kind is HistoryKind.ENDED:
            yield Line(entry.at, entry.turn, "turn_ended", entry.text, outcome=str(entry.outcome))
        elif entry.kind is not HistoryKind.CORRECTION:
            yield Line(entry.at, entry.turn, str(entry.kind), entry.text)


def _of_work(
    turn: int, started: Mapping[str, CallStarted], log: Sequence[Progressed]
) -> Iterator[Line]:
    ended: set[str] = set()
    for entry in log:
        for done in entry.done:
            ended.add(done.call_id)
            yield _call(started.get(done.call_id), done, turn, entry.at, None)
    for call_id in started.keys() - ended:
        yield _call(started[call_id], None, turn, log[-1].at, None)


def _call(
    started: CallStarted | None,
    done: CallDone | CallEnded | None,
    turn: int,
    at: float,
    position: int | None,
) -> Line:
    tool = started.tool if started is not None else done.tool if done is not None else ""
    given = (
        ""
        if started is None
        else ", ".join(f"{name}={_json(value)}" for name, value in started.arguments.items())
    )
    text = f"{tool}({given})"
    outcome = "open"
    if done is not None:
        outcome = str(done.status)
        if done.error is not None:
            text += f" -> {done.error.type}: {done.error.message}"
        elif done.result is not None:
            text += f" -> {_json(done.result)}"
        if done.answered_from is not None:
            text += f" (answered from {done.answered_from})"
    return Line(
        *(at, turn, "call", text, position, outcome),
        effect="" if started is None else str(started.effect),
        key="" if started is None else started.idempotency_key,
    )


def _json(value: Any) -> str:
    return to_json(value).decode()


# --- from the events ---


class _Told:
    """Makes lines of events.

    Args:
        started: the calls, by their ids.
    """

    def __init__(self, started: Mapping[str, CallStarted]) -> None:
        self._started = started

    def line(self, event: Event) -> Line | None:
        """The line of an event; None if others say the same."""
        if isinstance(event, CallEnded):
            started = self._started.get(event.call_id)
            return _call(started, event, event.turn, event.at, event.position)
        if isinstance(event, WaveEnded):
            return None
        kind = str(getattr(event, "kind", type(event).__name__))
        tell = _WORDS.get(type(event))
        text, outcome, key = tell(event) if tell is not None else ("", "", "")
        return Line(event.at, event.turn or 0, kind, text, event.position, outcome, key=key)


_Words = tuple[str, str, str]


def _accepted(event: MessageAccepted) -> _Words:
    sender = f"{event.message.sender}: " if event.message.sender else ""
    return f"{sender}{event.message.as_text()}", "", event.message.message_id


def _turn_ended(event: TurnEnded) -> _Words:
    why = "" if event.reason is None else str(event.reason)
    words = [why, event.detail, event.reply.text if event.reply is not None else ""]
    return ": ".join(word for word in words if word), str(event.outcome), event.delivery_id or ""


def _message_ended(event: MessageEnded) -> _Words:
    text = event.reply.text if event.reply is not None else event.detail
    return text, str(event.status), event.message_id


def _stop(event: StopRequested) -> _Words:
    words = f"{event.how.kind}, {event.reason}"
    return f"{words}: {event.detail}" if event.detail else words, "", event.by or ""


def _wave(event: WaveStarted) -> _Words:
    tools = ", ".join(call.tool for call in event.calls)
    return f"wave {event.wave} of attempt {event.attempt}: {tools}", "", ""


_WORDS: dict[type[Event], Callable[[Any], _Words]] = {
    SessionOpened: lambda event: (f"epoch {event.epoch}", "", ""),
    MessageAccepted: _accepted,
    MessageDue: lambda event: ("", "", event.message_id),
    MessageEdited: lambda event: (event.text, "", event.message_id),
    MessageEnded: _message_ended,
    TurnStarted: lambda event: (f"on {', '.join(event.message_ids)}", "", ""),
    TurnRestarted: lambda event: (f"attempt {event.attempt}: {event.cause}", "", ""),
    TurnEnded: _turn_ended,
    WaveStarted: _wave,
    StepEnded: lambda event: (f"{event.key} -> {_json(event.result)}", "", ""),
    Said: lambda event: (event.text, "", event.delivery_id or ""),
    Saved: lambda event: (_json(event.state), "", ""),
    StopRequested: _stop,
    RollbackRefused: lambda event: (event.detail, "", event.call_id),
    CompensationEnded: lambda event: (event.tool, str(event.status), event.call_id),
    CourtesySaid: lambda event: (event.text, str(event.courtesy), event.delivery_id or ""),
    DeliveryEnded: lambda event: (event.detail, str(event.status), event.delivery_id),
}
