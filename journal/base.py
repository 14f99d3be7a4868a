"""The journal's protocol: an append-only record of each session's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from ..messages.entries import Entry
    from ..messages.events import Event
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.message import SessionMessage


class Commit:
    """Whether appended events are durable yet.

    A commit completes on the loop's thread, once; ``error`` is set when the journal could not say
    that it has the events. That is *unknown*, not failed: they may be there after a reopening.
    """

    __slots__ = ("_callbacks", "done", "error")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.error: Exception | None = None
        self._callbacks: tuple[Callable[[Commit], object], ...] = ()

    def add_done_callback(self, callback: Callable[[Commit], object]) -> None:
        """Call ``callback`` with this commit when it is done; at once when it is."""
        if self.done:
            callback(self)
        else:
            self._callbacks += (callback,)

    def complete(self, error: Exception | None = None) -> None:
        """For journals: the events are durable, or nobody can say (``error``)."""
        self.done = True
        self.error = error
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback(self)


class Recorded(NamedTuple):
    """What a journal has of a session: a state up to some position, and the events after it.

    Args:
        snapshot: the state as it was given to :meth:`Journal.snapshot`; None if there is none.
        entries: the entries after the snapshot, in order.
        floor: above it lie the positions, and the epochs, of what was begun under this key; 0
            unless a session of the key was erased.
    """

    snapshot: object | None
    entries: Sequence[Entry]
    floor: int = 0


class Erased(NamedTuple):
    """That a session is erased.

    Args:
        commit: when it is durable; what is begun under the key then is new.
        clean: when nothing of it can be found any more where it was, either; it has no error but
            that of ``commit``. With ``unless_after`` it does not say so, see
            :class:`RetainingJournal`.
    """

    commit: Commit
    clean: Commit


class Journal(Protocol):
    """Where sessions write down what happened; their state is a fold over it.

    Every method is called on the loop's thread and must not block it.
    """

    @property
    def survives(self) -> bool:
        """Whether the events outlive the process."""
        ...

    async def open(self) -> None:
        """Get ready; called once before anything else.

        Raises:
            OSError: the journal cannot be used.
        """
        ...

    async def close(self) -> None:
        """Write what is pending and let go of everything."""
        ...

    def append(
        self, key: SessionKey, entries: Sequence[Entry], history: Sequence[HistoryEntry] = ()
    ) -> Commit:
        """Record ``entries`` of one session, all or none, in the order of the calls.

        Args:
            key: the session.
            entries: what happened.
            history: what that adds to the session's history, in one with them.
        """
        ...

    def snapshot(self, key: SessionKey, state: object) -> None:
        """Remember the session's state, so that the entries so far need not be folded again.

        Given at the ends of turns; to a journal that does not outlive the process after every
        decision, for there the state is as durable as its entries.
        """
        ...

    def erase(
        self, key: SessionKey, above: int = 0, *, unless_after: float | None = None
    ) -> Erased:
        """Forget a session, all of it or nothing.

        Args:
            key: the session; one that is not known is no error.
            above: what is begun under the key later has its positions and epochs above this, and
                above everything that was recorded.
            unless_after: leave it alone if something waits for it, or was written of it since
                then (in seconds since the epoch).
        """
        ...

    def load(self, key: SessionKey) -> Recorded | Awaitable[Recorded]:
        """What is known of a session, nothing of one that is new; an awaitable if that takes time.

        Raises:
            JournalCorrupt: the session's record cannot be read.
        """
        ...

    async def history(self, key: SessionKey, limit: int) -> Sequence[HistoryEntry]:
        """The last ``limit`` history entries, oldest first, as far as they are kept."""
        ...


@runtime_checkable
class RetainingJournal(Journal, Protocol):
    """A journal that knows which sessions nobody uses."""

    def note_time(self, now: float) -> Commit:
        """Note that somebody looks at how old sessions are; first before any is started.

        Of a long pause before that, or of a clock that was set meanwhile, nothing counts.

        Args:
            now: seconds since the epoch.
        """
        ...

    def unused(self, since: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions that nothing waits for, and nobody has used since then, some at a time.

        Args:
            since: seconds since the epoch.
        """
        ...

    def clean(self) -> Commit:
        """Done when no trace is left of sessions that were erased with ``unless_after``.

        For these it is not looked for one by one.
        """
        ...


class StateForm(Protocol):
    """How a session's state is written down; journals do not know what is in one."""

    def position(self, state: object) -> int:
        """The position of the last event in a state."""
        ...

    def dump(self, state: object) -> bytes:
        """The bytes of a state."""
        ...

    def load(self, data: bytes) -> object:
        """The state of these bytes.

        Raises:
            ValueError: they are none of a state.
        """
        ...


@runtime_checkable
class LastingJournal(Journal, Protocol):
    """A journal that outlives the process, and so writes things down in bytes."""

    def bind(self, message_types: Mapping[str, type[SessionMessage]], state: StateForm) -> None:
        """Learn how to write things down; called before :meth:`open`.

        Args:
            message_types: the program's own classes of messages, by name.
            state: the form of sessions' states.
        """
        ...

    def unfinished(self) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions that something waits for, some at a time.

        That is a message that has not ended, or a delivery that has not: all else can rest.
        """
        ...


class WriterLife(NamedTuple):
    """How the one who writes a journal is.

    Args:
        is_writing: whether what is appended is written; else it is tried again.
        restarts: how often it had to begin anew.
        waiting: entries that are to be written.
        trouble: why it is not.
    """

    is_writing: bool
    restarts: int
    waiting: int
    trouble: str


@runtime_checkable
class WrittenJournal(Journal, Protocol):
    """A journal that is written by somebody who may fail, and begins anew by itself."""

    def life(self) -> WriterLife | None:
        """How the writer is at this moment; None if the journal is not open."""
        ...


@runtime_checkable
class RestingJournal(Protocol):
    """A journal that keeps something in memory for each session that is in memory, too."""

    def let_go(self, key: SessionKey) -> None:
        """Keep nothing of a session that rests from now on; all of it is written.

        Whoever brings it back loads it.
        """
        ...


@runtime_checkable
class SchedulingJournal(Journal, Protocol):
    """A journal that knows when something of a session is due, for those that rest.

    What is scheduled is in the entries: a ``message_accepted`` with ``due_at`` is due then, until a
    ``message_due``, or a ``message_ended`` with ``scheduled``, says otherwise. A session of which
    something is due must not be taken for one that nobody uses any more.
    """

    def due(self, until: float) -> AsyncIterator[Sequence[SessionKey]]:
        """The sessions of which something is due until then, some at a time.

        Args:
            until: seconds since the epoch.
        """
        ...

    async def next_due(self, after: float) -> float | None:
        """When the first of what is due after that is; None if there is nothing.

        Args:
            after: seconds since the epoch.
        """
        ...


@runtime_checkable
class BrowsableJournal(Journal, Protocol):
    """A journal that can be looked into beside the sessions' work, as a service does.

    What is read here takes nothing over: the sessions go on as if nobody had looked.
    """

    async def peek(self, key: SessionKey) -> Recorded:
        """What is known of a session, as :meth:`Journal.load` has it.

        Raises:
            JournalCorrupt: the session's record cannot be read.
        """
        ...

    async def events(self, key: SessionKey, after: int, limit: int = 1000) -> Sequence[Event]:
        """The first events of a session behind position ``after``, as far as they are kept.

        Older ones may be gone: then the first that is given has a position beyond ``after + 1``.

        Args:
            key: the session.
            after: a position, or 0 for all of them.
            limit: how many at most.

        Raises:
            JournalCorrupt: the session's record cannot be read.
        """
        ...

    async def sessions(
        self, tenant: str | None, after: SessionKey | None, limit: int
    ) -> Sequence[SessionKey]:
        """The names of some sessions, in their order.

        Args:
            tenant: of this tenant, or of all.
            after: the last one that was given before.
            limit: how many at most.
        """
        ...
