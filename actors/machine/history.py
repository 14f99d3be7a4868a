"""The history of a session: what a turn adds to it when it ends; pure.

A chain of interrupted turns adds its entries when it ends, all at once and in order: a message is
in the history once, and behind it what became of it. Until then they are ``state.unsettled``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard, cast, overload

from pydantic_core import to_json

from ...messages.entries import Progressed, entry_of, time_of
from ...messages.events import CourtesySaid, Event, MessagesTaken, Said
from ...messages.history import HistoryEntry, HistoryKind, Work, WrittenHistory, as_log
from ...messages.ids import Fence
from ...messages.reasons import Reason, TurnOutcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ...messages.entries import Line, Logged
    from ...messages.events import Heard, TurnEnded
    from ...messages.ids import CallId
    from ...messages.message import Reply, SessionMessage
    from ...messages.records import CallDone
    from .state import Running, SessionState, Waiting


WHY = {
    Reason.SUPERSEDED: "the user wrote again",
    Reason.STOPPED: "it was stopped on request",
    Reason.DEADLINE: "its time was over",
    Reason.DISCONNECT: "the connection to the user was lost",
    Reason.SHUTDOWN: "the system was shut down",
    Reason.ERROR: "it failed",
    Reason.CRASHED: "it crashed",
    Reason.ROLLBACK: "it was to be undone",
}
"""Why a turn ended without a reply, in words that are true whoever reads them."""


def finished(
    running: Running, known: Sequence[HistoryEntry], reply: Reply, at: float
) -> Sequence[HistoryEntry]:
    """The entries of a turn that finishes: its messages, its calls, what it said, its reply."""
    is_plain = reply.text.strip() and running.words.heard is None
    if is_plain and _is_all_calls(running.log):
        return _Finished(running, known, reply, at)
    return _finished(running, known, reply, at)


def _form(kind: HistoryKind, *given: str) -> bytes:
    """An entry as JSON, but for what is given in their order; the rest is as it is by default."""
    fields = [b'"%b":%%b' % name.encode() for name in HistoryEntry.model_fields if name in given]
    return b'{"kind":%b,%b}' % (to_json(kind), b",".join(fields))


_MESSAGE: Final = _form(HistoryKind.MESSAGE, "turn", "text", "message_type", "message", "at")
_WORK: Final = _form(HistoryKind.WORK, "turn", "text", "work", "at")
_REPLY: Final = _form(HistoryKind.REPLY, "turn", "text", "reply", "at")


class _Finished(WrittenHistory):
    """What a plain turn adds to the history, made when somebody reads it: in memory few do.

    Most turns are plain: messages, calls and a reply, behind what is known of their chain.
    """

    __slots__ = ("_at", "_known", "_length", "_reply", "_running")

    def __init__(
        self, running: Running, known: Sequence[HistoryEntry], reply: Reply, at: float
    ) -> None:
        self._running = running
        self._known = known
        self._reply = reply
        self._at = at
        self._length = _new_messages(running, known) + len(known) + bool(running.log) + 1

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> HistoryEntry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[HistoryEntry]: ...
    def __getitem__(self, place: int | slice) -> HistoryEntry | Sequence[HistoryEntry]:
        return _finished(self._running, self._known, self._reply, self._at)[place]

    def __iter__(self) -> Iterator[HistoryEntry]:
        return iter(_finished(self._running, self._known, self._reply, self._at))

    def as_json(self) -> bytes:
        """As the entries are written one by one, in 5 instead of 12 µs for a turn of 10 calls."""
        running, known, reply = self._running, self._known, self._reply
        turn, ids = b"%d" % running.number, _ids_of(known)
        parts = [to_json(entry) for entry in known]
        for one in running.messages:
            message = one.message
            if message.message_id not in ids:
                named = to_json(message.as_text()), to_json(type(message).__name__)
                at = to_json(message.received_at)
                parts.append(_MESSAGE % (turn, *named, to_json(message), at))
        if running.log and _is_all_calls(running.log):
            # The lines are JSON: as a text within that they would take as long as all the rest.
            log = b"[%b]" % b",".join(running.log)
            _, *others = _work_of(running, None, ())
            work = b"[%b,%b" % (log, to_json(others)[1:])
            parts.append(_WORK % (turn, b'""', work, to_json(time_of(running.log[0]))))
        parts.append(_REPLY % (turn, to_json(reply.text), to_json(reply), to_json(self._at)))
        return b"[%b]" % b",".join(parts)


def _new_messages(running: Running, known: Sequence[HistoryEntry]) -> int:
    """How many of a turn's messages are not known."""
    if not known:
        return len(running.messages)
    ids = _ids_of(known)
    return len([one for one in running.messages if one.message.message_id not in ids])


def _ids_of(known: Sequence[HistoryEntry]) -> Collection[str]:
    """The messages that are known."""
    if isinstance(known, InterruptedHistory):
        return known.message_ids
    return {e.message.message_id for e in known if e.message is not None} if known else ()


def _finished(
    running: Running, known: Sequence[HistoryEntry], reply: Reply, at: float
) -> list[HistoryEntry]:
    entries = [*known, *_turn(running, known, None, interrupted=False)]
    entry = _entry(HistoryKind.REPLY, running.number, reply.text, at, reply=reply)
    if not _is_empty(entry):
        entries.append(entry)
        entries += _heard_so_far(running, at)
    return entries


def _heard_so_far(running: Running, at: float) -> Iterator[HistoryEntry]:
    """Beside the words, not instead of them: more of them may turn out to have been heard."""
    if running.words.heard is not None:
        yield _heard(running.number, running.words.heard, at)


def cut(entry: HistoryEntry, heard: int | None) -> HistoryEntry | None:
    """An entry of a turn's words as far as they were heard; None if nothing is left of it."""
    if heard is not None and heard < len(entry.text):
        entry = entry.model_copy(update={"text": entry.text[:heard], "interrupted": True})
    return None if _is_empty(entry) else entry


def _is_empty(entry: HistoryEntry) -> bool:
    reply = entry.reply
    has_more = reply is not None and (reply.attachments or reply.data)
    return not (entry.text.strip() or has_more)


def unfinished(
    running: Running,
    known: Sequence[HistoryEntry],
    event: TurnEnded,
    overtaking: Iterable[Waiting] = (),
) -> list[HistoryEntry]:
    """The entries of a turn that ended without a reply.

    Args:
        running: the turn.
        known: the entries of the chain before it, which are not given again.
        event: how it ended.
        overtaking: messages that interrupted it, and end with it.
    """
    entries = so_far(running, known, event.streamed, event.at, event.reason, interrupted=True)
    if overtaking:
        entries += _messages(running.number, overtaking, ())
    entries.append(_ended(running, event.outcome, event.reason, event.detail, event.at))
    return entries


def interrupted(
    running: Running, known: Sequence[HistoryEntry], event: TurnEnded
) -> Sequence[HistoryEntry]:
    """What is known of a chain when one more turn of it was interrupted."""
    known = tuple(known)
    if event.streamed or running.words.heard is not None or not _is_all_calls(running.log):
        return (*known, *unfinished(running, known, event))
    return InterruptedHistory(running, known, event)


class InterruptedHistory(Sequence[HistoryEntry]):
    """What is known of a chain behind a plain turn, made when somebody reads it.

    The user waits for what is decided when a turn is interrupted; nobody reads this before the
    chain ends, and of a journal in memory mostly nobody ever does.
    """

    __slots__ = ("_at", "_detail", "_known", "_length", "_reason", "_running")

    def __init__(self, running: Running, known: tuple[HistoryEntry, ...], event: TurnEnded) -> None:
        self._running = running
        self._known = known
        # Not the event: it knows the records, and a history is kept for long.
        self._reason = event.reason
        self._detail = event.detail
        self._at = event.at
        self._length = len(known) + _new_messages(running, known) + bool(running.log) + 1

    @property
    def message_ids(self) -> Collection[str]:
        """Its messages."""
        ids = [waiting.message.message_id for waiting in self._running.messages]
        return {*_ids_of(self._known), *ids} if self._known else ids

    def _entries(self) -> tuple[HistoryEntry, ...]:
        running, known, reason = self._running, self._known, self._reason
        turn = _turn(running, known, reason, interrupted=True)
        end = _ended(running, TurnOutcome.INTERRUPTED, reason, self._detail, self._at)
        return (*known, *turn, end)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> HistoryEntry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[HistoryEntry]: ...
    def __getitem__(self, place: int | slice) -> HistoryEntry | Sequence[HistoryEntry]:
        return self._entries()[place]

    def __iter__(self) -> Iterator[HistoryEntry]:
        return iter(self._entries())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return self._entries() == tuple(cast("Sequence[object]", other))

    __hash__ = None  # type: ignore[assignment]  # as what it consists of


_TOLD = frozenset({HistoryKind.SAID, HistoryKind.COURTESY})


def undone(
    running: Running, known: Sequence[HistoryEntry], event: TurnEnded
) -> Iterator[HistoryEntry]:
    """The entries of a chain that was undone: what the user was told, and that it was undone."""
    for entry in (*known, *_turn(running, known, None, interrupted=True)):
        if entry.kind in _TOLD:
            yield entry
    yield _ended(running, event.outcome, event.reason, event.detail, event.at)


def _ended(
    running: Running, outcome: TurnOutcome, reason: Reason | None, detail: str, at: float
) -> HistoryEntry:
    why = WHY.get(reason, str(reason)) if reason is not None else outcome
    return _entry(
        HistoryKind.ENDED,
        running.number,
        f"{why} ({detail})" if detail else why,
        at,
        outcome=outcome,
        reason=reason,
        interrupted=True,
    )


def so_far(
    running: Running,
    known: Sequence[HistoryEntry],
    streamed: str,
    at: float,
    reason: Reason | None = None,
    *,
    interrupted: bool = False,
) -> list[HistoryEntry]:
    """The entries of a turn as it stands, but for those that are known."""
    entries = _turn(running, known, reason, interrupted=interrupted)
    if streamed.strip():
        number = running.number
        entries.append(_entry(HistoryKind.STREAMED, number, streamed, at, interrupted=interrupted))
        if interrupted:  # what goes on may be heard yet
            entries += _heard_so_far(running, at)
    return entries


def unanswered(state: SessionState, streamed: str, at: float) -> tuple[HistoryEntry, ...]:
    """What is not in the journal's history yet, as it stands: the running turn and its chain."""
    running, known = state.running, state.unsettled
    if running is None:
        return tuple(known)
    return (*known, *so_far(running, known, streamed, at))


def waiting(messages: Iterable[Waiting], known: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """The entries of messages that were in no turn yet; their turn is 0."""
    return _messages(0, messages, known)


def first_unsettled(state: SessionState) -> int:
    """The first turn of which nothing is in the journal's history."""
    for entry in state.unsettled:
        if entry.kind is not HistoryKind.CORRECTION:
            return entry.turn
    return state.turn + 1 if state.running is None else state.running.number


def aside(one: Waiting, answer: str, at: float) -> Iterator[HistoryEntry]:
    """A message that was answered beside the turns, and the answer if there is one."""
    yield from _messages(0, (one,), ())
    if answer.strip():
        yield _entry(HistoryKind.ASIDE, 0, answer, at)


def courtesy(event: CourtesySaid) -> HistoryEntry:
    """Words of the session itself."""
    return _entry(HistoryKind.COURTESY, event.turn, event.text, event.at)


# --- corrections: what becomes known of an entry when it has been written ---


def is_unsettled(state: SessionState, turn: int) -> bool:
    """Whether what happened in a turn is not in the journal's history yet."""
    running = state.running
    if running is not None and running.number == turn:
        return True
    return any(entry.turn == turn for entry in state.unsettled)


def turn_of(call_id: CallId) -> int:
    """The turn that made a call."""
    return int(call_id.partition(".")[0])


def late_end(done: CallDone, at: float) -> HistoryEntry:
    """The end, seen at last, of a call that was unknown."""
    turn = turn_of(done.call_id)
    log = as_log((Progressed(0, at, Fence(0, turn, 0), (done,)).line,))
    return _entry(HistoryKind.CORRECTION, turn, "", at, work=Work(log))


def heard(event: Heard) -> HistoryEntry:
    """How much of a turn's words the user has heard."""
    return _heard(event.turn, event.characters, event.at)


def _heard(turn: int, characters: int, at: float) -> HistoryEntry:
    return _entry(HistoryKind.CORRECTION, turn, "", at, heard=characters)


# --- the parts ---


def _turn(
    running: Running, known: Sequence[HistoryEntry], reason: Reason | None, *, interrupted: bool
) -> list[HistoryEntry]:
    """A turn's messages, calls and words, in order."""
    log = running.log
    if not _is_all_calls(log):
        return [
            *_from_the_start(running, known),
            *_work_and_words(running, reason, interrupted=interrupted),
        ]
    # As most turns are: twice as fast.
    entries = _messages(running.number, running.messages, known)
    if log:
        entries.append(_work(running, reason, log))
    return entries


def _is_all_calls(log: tuple[Logged, ...]) -> TypeGuard[tuple[Line, ...]]:
    """Whether a turn has done nothing but to call tools."""
    for entry in log:  # noqa: SIM110 - any() takes twice as long, at every end of a turn
        if not isinstance(entry, bytes):
            return False
    return True


def _messages(
    turn: int, messages: Iterable[Waiting], known: Sequence[HistoryEntry]
) -> list[HistoryEntry]:
    ids = _ids_of(known)
    return [
        _entry(HistoryKind.MESSAGE, turn, one.as_text(), one.received_at, message=one)
        for one in [waiting.message for waiting in messages]
        if one.message_id not in ids
    ]


def _from_the_start(running: Running, known: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """The turn's messages but for those that it took later, which come in their place."""
    later = {
        message_id
        for entry in running.log
        if isinstance(entry, MessagesTaken)
        for message_id in entry.message_ids
    }
    first = running.messages
    if later:
        first = tuple(one for one in first if one.message.message_id not in later)
    return _messages(running.number, first, known)


def _taken(running: Running, event: MessagesTaken) -> list[HistoryEntry]:
    ours = [one for one in running.messages if one.message.message_id in event.message_ids]
    return _messages(running.number, ours, ())


def _work_and_words(
    running: Running, reason: Reason | None, *, interrupted: bool
) -> Iterator[HistoryEntry]:
    """The calls and the words between them; words that fell into a wave come behind it."""
    calls: list[Line] = []
    words: list[HistoryEntry] = []
    open_calls = 0
    for entry in running.log:
        if not isinstance(entry, Event):
            calls.append(entry)
            whole = entry_of(entry)
            open_calls += len(whole.calls) - len(whole.done)
        elif isinstance(entry, Said | CourtesySaid) and entry.text.strip():
            words.append(_words(entry, interrupted=interrupted))
        elif isinstance(entry, MessagesTaken):
            words += _taken(running, entry)
        if words and not open_calls:
            if calls:
                yield _work(running, reason, tuple(calls))
            yield from words
            calls, words = [], []
    if calls:
        yield _work(running, reason, tuple(calls))
    yield from words


def _words(event: Event, *, interrupted: bool) -> HistoryEntry:
    if isinstance(event, CourtesySaid):
        return courtesy(event)
    assert isinstance(event, Said), "nothing else is words"
    turn, text, at = event.turn, event.text, event.at
    return _entry(HistoryKind.SAID, turn, text, at, interrupted=interrupted)


def _work_of(running: Running, reason: Reason | None, log: tuple[Line, ...]) -> Work:
    return Work(
        as_log(log),
        running.senders,
        running.attempt,
        running.wave,
        reason,
        running.words.stopped_at,
    )


def _work(running: Running, reason: Reason | None, log: tuple[Line, ...]) -> HistoryEntry:
    work = _work_of(running, reason, log)
    return _entry(HistoryKind.WORK, running.number, "", time_of(log[0]), work=work)


def _entry(
    kind: HistoryKind,
    turn: int,
    text: str,
    at: float,
    *,
    message: SessionMessage | None = None,
    reply: Reply | None = None,
    outcome: TurnOutcome | None = None,
    reason: Reason | None = None,
    work: Work | None = None,
    heard: int | None = None,
    interrupted: bool = False,
) -> HistoryEntry:
    return HistoryEntry.trusted(
        {
            "kind": kind,
            "turn": turn,
            "text": text,
            "message_type": "" if message is None else type(message).__name__,
            "message": message,
            "reply": reply,
            "call": None,
            "outcome": outcome,
            "reason": reason,
            "work": work,
            "heard": heard,
            "interrupted": interrupted,
            "at": at,
        }
    )
