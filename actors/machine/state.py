"""The session's state: what a fold over its journal yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator

from ...messages.entries import Entry, Logged, Progressed, completed_by, entry_of
from ...messages.events import Event, TurnStarted
from ...messages.history import HistoryEntry
from ...messages.ids import CallId, Fence, SessionKey
from ...messages.making import maker
from ...messages.message import Delivery, MessageOutcome, NamedMessage, Reply
from ...messages.policies import Debounce, Policy, Way, fences
from ...messages.reasons import Backlog, CallStatus, Overflow, Reason, TurnOutcome
from ...messages.records import CallRecord, CallStarted, PartialResults


class Status(StrEnum):
    """Where a session is in its life; one value, never a handful of booleans."""

    RECOVERING = "recovering"
    """No incarnation has taken over yet; the mailbox is not read."""
    IDLE = "idle"
    COLLECTING = "collecting"
    """A quiet window is open: the turn starts when it closes."""
    RUNNING = "running"
    STOPPING = "stopping"
    """The wave is finishing, or what was cancelled has its grace."""
    CLOSING = "closing"
    """The system shuts down: the turn is ending, nothing starts."""
    FAILED = "failed"
    """The journal cannot be read."""


class Waiting(NamedTuple):
    """A message that was accepted and has not ended.

    Args:
        expires_at: seconds since the epoch at which it ends if it still waits.
        priority: those with a higher one are before it as long as they wait.
        admitted: the position of its acceptance: the order of admission.
        was_in_turn: whether it comes back from a turn that was interrupted.
    """

    message: NamedMessage
    policy: Policy
    deadline_at: float | None
    expires_at: float | None = None
    priority: int = 0
    admitted: int = 0
    was_in_turn: bool = False

    def come_back(self) -> Waiting:
        """The same message when its turn was interrupted; ``_replace`` takes five times as long."""
        message, policy, deadline_at, _, priority, admitted, _ = self
        return Waiting(message, policy, deadline_at, None, priority, admitted, was_in_turn=True)


class Scheduled(NamedTuple):
    """A message that was accepted, and is not due yet.

    Args:
        due_at: seconds since the epoch at which it enters the session.
        accepted: the position of its acceptance.
        policy: what it does to a running turn then; None for what is chosen then.
    """

    message: NamedMessage
    due_at: float
    accepted: int
    policy: Policy | None
    deadline_at: float | None
    priority: int = 0


class Covers(NamedTuple):
    """Which messages that are still in the mailbox a stop covers, by their stamps.

    Args:
        stamp: of the last stop; what has a lower one is covered.
        park: of the last stop that parks.
        drop: of the last stop that drops.
        idle: whether there was no turn to stop: then the first message that is covered would have
            been the turn.
    """

    stamp: int = 0
    park: int = 0
    drop: int = 0
    idle: bool = False

    def backlog(self, stamp: int) -> Backlog:
        """What becomes of a message with this stamp that would have waited; the hardest counts."""
        if stamp < self.drop:
            return Backlog.DROP
        return Backlog.PARK if stamp < self.park else Backlog.KEEP


NOTHING = Covers()


class Window(NamedTuple):
    """A quiet window: until when it is open, and at the latest."""

    until: float
    latest: float


class Undoing(NamedTuple):
    """The completed calls of a turn that is rolled back.

    Args:
        left: those that are still to be undone; the first one is being undone.
        failed: those that could not be.
    """

    left: tuple[CallRecord, ...]
    failed: tuple[CallRecord, ...] = ()


class Stopping(NamedTuple):
    """That the running turn was told to stop: how, why, and until when that is waited for.

    ``backlog`` is set for a stop (the turn's messages are cancelled) and None for an
    interruption (they live on in the next turn). ``undoing`` is set from when a rollback was
    begun; nothing cuts it, and no time is waited for any more.
    """

    how: Way
    reason: Reason
    detail: str
    until: float
    backlog: Backlog | None
    by: tuple[str, ...]
    undoing: Undoing | None = None

    @property
    def fenced(self) -> bool:
        """Whether the turn may not speak, save or start anything any more."""
        return fences(self.how)


class Words(NamedTuple):
    """What is kept of a running turn for the sake of what is said about it.

    Args:
        noticed_at: when the user was last told that it goes on; 0 if that was never told.
        notices: how often that was told.
        heard: how many characters of its words the user has heard; None if nobody says.
        stopped_at: when it was first told to stop.
    """

    noticed_at: float = 0.0
    notices: int = 0
    heard: int | None = None
    stopped_at: float | None = None


class Running(NamedTuple):
    """The running turn: its messages, and its ledger as the journal's own entries.

    Args:
        log: the entries; those of calls by their lines, see :attr:`entries`.
        wave: the last wave of this attempt that began, or 0.
        bound_at: when the turn times out whatever its messages say.
        began_at: when the turn was started, in seconds since the epoch.
        version: the agent's, when the turn was started.
        wave_done: the last wave of this attempt of which every call has ended, or 0.
        completions: how many calls have completed, as long as none was answered from another one;
            see :attr:`completed`.
    """

    number: int
    attempt: int
    messages: tuple[Waiting, ...]
    deadline_at: float | None
    log: tuple[Logged, ...] = ()
    wave: int = 0
    saved: Any = None
    stop: Stopping | None = None
    bound_at: float | None = None
    words: Words = Words()
    began_at: float = 0.0
    version: str = ""
    wave_done: int = 0
    completions: int | None = None

    @staticmethod
    def begun(
        event: TurnStarted, messages: tuple[Waiting, ...], deadline_at: float | None
    ) -> Running:
        """The turn that ``event`` starts; in half the time that the class itself takes."""
        values = event.turn, 1, messages, deadline_at, (), 0, None, None, event.deadline_at
        return _new_running((*values, _NO_WORDS, event.at, event.version, 0, 0))

    def with_progress(self, entry: Progressed) -> Running:
        """The same turn, further by ``entry``; not by ``_replace``, which takes twice as long."""
        fields = list(self)
        fields[_LOG] = (*self.log, entry.line)
        if entry.wave:
            fields[_WAVE] = entry.wave
        if entry.wave_done:
            fields[_WAVE_DONE] = entry.wave_done
        completions = self.completions
        for end in entry.done:
            if completions is None or end.answered_from is not None:
                completions = None
                break
            completions += end.status is _COMPLETED
        fields[_COMPLETIONS] = completions
        return _new_running(fields)

    def _latest_first(self) -> Iterator[Entry]:
        """The entries from the last one back; only those that are looked at are decoded."""
        for entry in reversed(self.log):
            yield entry if isinstance(entry, Event) else entry_of(entry)

    @property
    def open(self) -> tuple[CallStarted, ...]:
        """The calls of the last wave that have not ended."""
        if self.wave_done == self.wave:
            return ()
        ended: set[CallId] = set()
        for entry in self._latest_first():
            if isinstance(entry, Progressed):
                if entry.wave_done == self.wave:
                    return ()
                if entry.wave:
                    return tuple(call for call in entry.calls if call.call_id not in ended)
                ended.update([done.call_id for done in entry.done])
        return ()

    @property
    def wave_started_at(self) -> float:
        """When the last wave began, in seconds since the epoch."""
        for entry in self._latest_first():
            if isinstance(entry, Progressed) and entry.wave:
                return entry.at
        return 0.0

    @property
    def completed(self) -> int:
        """How many calls have completed so far; one that answered a later attempt counts once."""
        if self.completions is not None:
            return self.completions  # nothing has to be decoded for that
        lines = [line for line in self.log if isinstance(line, bytes)]
        return len({call_id for line in lines for call_id in completed_by(line)})

    @property
    def senders(self) -> tuple[str | None, ...]:
        """Whose messages the turn works on."""
        if len(self.messages) == 1:
            return (self.messages[0].message.sender,)
        senders = {w.message.sender for w in self.messages}
        return tuple(senders if len(senders) == 1 else sorted(senders, key=str))


class Ended(NamedTuple):
    """How a turn ended, for who asks later."""

    turn: int
    outcome: TurnOutcome
    detail: str


class Remembered(NamedTuple):
    """What is kept of a message for de-duplication and for late questions.

    Args:
        fingerprint: of the content; "" if its id was made up here: nobody can send that again.
        outcome: how it ended; None as long as it has not.
        ended_at: when, in seconds since the epoch; 0 as long as it has not.
    """

    fingerprint: str
    outcome: MessageOutcome | None
    ended_at: float = 0.0


OPEN = Remembered("", None)
"""A message of which there is nothing to compare, and which has not ended: as most begin."""


class SessionState(NamedTuple):
    """A session; immutable, and equal to the fold of its journal at every moment.

    Args:
        position: of the last event.
        turn: the number of the last turn that was started.
        running: the running turn.
        waiting: accepted messages that are in no turn, in the order of their turns.
        batch: how many of the first waiting messages become one turn; 0 means by their policies.
        previous: what the chain of turns that did not finish left behind.
        unknown: calls that may have happened, and those of which a late end was seen since: a
            result until it has answered, a failure until the end of the call's turn.
        saved: the session's own state, of the last finished turn.
        outbox: deliveries that have not ended.
        remembered: recent messages by id.
        covers: the messages, put before a stop and handled after it, that it covers.
        last_reply: of the last finished turn, for the outcomes of its messages.
        parked: accepted messages that wait for nothing but to be resumed.
        window: the quiet window, if one is open.
        asides: messages that are answered beside the turns; the first one is being handled.
        expires_at: when the first of what waits expires.
        ended: the last turn that ended.
        unsettled: what a chain of interrupted turns will add to the history when it ends.
        floor: epochs up to this one were of a session that was deleted.
        scheduled: messages that are not due yet, the next one first.
    """

    key: SessionKey
    position: int = 0
    running: Running | None = None
    status: Status = Status.RECOVERING
    epoch: int = 0
    uid: str = ""
    turn: int = 0
    waiting: tuple[Waiting, ...] = ()
    batch: int = 0
    previous: PartialResults | None = None
    unknown: tuple[CallRecord, ...] = ()
    saved: Any = None
    outbox: tuple[Delivery, ...] = ()
    remembered: Mapping[str, Remembered] = MappingProxyType({})
    covers: Covers = NOTHING
    last_reply: Reply | None = None
    parked: tuple[Waiting, ...] = ()
    window: Window | None = None
    asides: tuple[Waiting, ...] = ()
    expires_at: float | None = None
    ended: Ended | None = None
    unsettled: Annotated[Sequence[HistoryEntry], AfterValidator(tuple)] = ()
    floor: int = 0
    scheduled: tuple[Scheduled, ...] = ()

    def changed(self, position: int, **fields: Any) -> SessionState:
        """The state at another position, with some fields changed; half the price of _replace."""
        values = list(self)
        values[1] = position
        for name, value in fields.items():
            values[_PLACES[name]] = value
        return _new(values)

    def got_further(self, position: int, running: Running) -> SessionState:
        """The same state with these two changed; three times as fast as ``_replace``."""
        fields = list(self)
        fields[POSITION] = position
        fields[RUNNING] = running
        return _new(fields)

    @property
    def undoing(self) -> Undoing | None:
        """What is left of a rollback that was begun."""
        running = self.running
        return None if running is None or running.stop is None else running.stop.undoing

    def is_current(self, fence: Fence) -> bool:
        """Whether something with this fence belongs to the running attempt."""
        running = self.running
        if running is None or self.undoing is not None:
            return False
        epoch, turn, attempt = fence
        return attempt == running.attempt and turn == running.number and epoch == self.epoch

    @property
    def unanswered(self) -> tuple[Waiting, ...]:
        """All that was accepted, has not ended, is due and is not in the running turn."""
        return (*self.waiting, *self.parked, *self.asides)

    @property
    def unended(self) -> tuple[Waiting | Scheduled, ...]:
        """All that was accepted, has not ended, and is not in the running turn."""
        return (*self.unanswered, *self.scheduled)

    @property
    def fence(self) -> Fence:
        """The fence of the running attempt; that of no turn when none runs."""
        if self.running is None:
            return Fence(self.epoch, self.turn, 0)
        return Fence(self.epoch, self.running.number, self.running.attempt)


def begun(key: SessionKey, floor: int) -> SessionState:
    """A session of which nothing is recorded; ``floor`` is what an earlier one of its key left."""
    return SessionState(key, floor, epoch=floor, floor=floor) if floor else SessionState(key)


_new = maker(SessionState)
_COMPLETED: Final = CallStatus.COMPLETED  # looked up once: it is asked for at every call
_NO_WORDS: Final = Words()
_new_running = maker(Running)
_LOG, _WAVE, _WAVE_DONE, _COMPLETIONS = map(
    Running._fields.index, ("log", "wave", "wave_done", "completions")
)
_PLACES: Final = {name: place for place, name in enumerate(SessionState._fields)}

# What changes in every turn is changed in a list of the fields, by their places: a fifth of what
# ``_replace`` takes. They are in the order of the fields.
# fmt: off
(
    _KEY, POSITION, RUNNING, STATUS, _EPOCH, _UID, TURN, WAITING, BATCH, PREVIOUS, UNKNOWN, SAVED,
    OUTBOX, REMEMBERED, _COVERS, LAST_REPLY, _PARKED, _WINDOW, _ASIDES, _EXPIRES_AT, ENDED,
    UNSETTLED, _FLOOR, _SCHEDULED,
) = _PLACES.values()
# fmt: on


class Rules(NamedTuple):
    """The settings that the pure machine needs.

    Args:
        version: the agent's version.
        delivers: whether replies and words are delivered, and so must wait for an end.
        survives: whether the journal outlives the process.
        max_attempts: attempts a turn may have in all.
        aside: whether there is a handler that answers messages beside the turns.
        debounce: the quiet window before a turn starts from idle.
        capacity: messages that may wait in the session.
        overflow: what a message does that finds so many.
        expires_after: seconds after which a message ends that still waits for its first turn.
        turn_deadline: seconds after its start at which a turn times out.
        courteous: whether the session says something by itself.
        own_words: whether the program has words for that; without, an interruption has none.
        notify_after: seconds after which it tells that a turn goes on, and again; None for never.
        notify_times: how often it tells that of a turn.
    """

    version: str = ""
    delivers: bool = True
    survives: bool = False
    max_attempts: int = 3
    aside: bool = False
    debounce: Debounce | None = None
    capacity: int = 10_000
    overflow: Overflow = Overflow.REJECT
    expires_after: float | None = None
    turn_deadline: float | None = None
    courteous: bool = False
    own_words: bool = True
    notify_after: float | None = None
    notify_times: int = 1


def due(state: SessionState) -> float | None:
    """When the state wants to be told the time, in seconds since the epoch."""
    running, expires = state.running, state.expires_at
    if running is None:
        window = state.window
        return None if window is None else earlier(window.until, expires)
    stop, deadline = running.stop, running.deadline_at
    if stop is not None:
        if stop.undoing is not None:
            return None if state.status is Status.CLOSING else expires
        deadline = stop.until if stop.fenced else earlier(stop.until, deadline)
        if state.status is Status.CLOSING:
            return deadline
    return deadline if expires is None else earlier(expires, deadline)


def earlier(one: float, other: float | None) -> float:
    """The earlier of two times, of which the second may be never."""
    return one if other is None or one < other else other
