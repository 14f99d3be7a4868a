"""What an attempt of a turn begins with, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..messages.entries import Logged
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.message import Reply, SessionMessage
    from ..messages.records import CallRecord, PartialResults
    from ..tools.dependencies import Dependencies
    from ..tools.registry import Toolbox
    from ..tools.threads import WorkerThreads
    from .counters import Counters
    from .moments import Moments


class OwnSession(Protocol):
    """What an attempt asks its session for, as it stands at that moment."""

    def unknown(self) -> tuple[CallRecord, ...]:
        """The calls that may have happened."""
        ...

    def unanswered(self) -> tuple[HistoryEntry, ...]:
        """What of the history is not settled."""
        ...


class TurnInput(NamedTuple):
    """What an attempt of a turn begins with.

    Args:
        uid: the session's, for idempotency keys.
        previous: what the interrupted turns before left.
        saved: the session's own state, of its last finished turn.
        log: the ledger of the turn's earlier attempts.
        session: whose turn it is.
        streamed: the deltas that earlier attempts have shown.
        seen: what the agent sees of the past, if that is more than ``previous``.
    """

    key: SessionKey
    uid: str
    number: int
    attempt: int
    messages: tuple[SessionMessage, ...]
    senders: tuple[str | None, ...]
    previous: PartialResults | None
    saved: Any
    log: tuple[Logged, ...]
    session: OwnSession
    streamed: str = ""
    seen: PartialResults | None = None


class Environment(NamedTuple):
    """What all turns of a system share.

    Args:
        retryable: whether ``retry_on`` names an error.
        now: the clock, in seconds since the epoch.
        moments: how long the end of a call may wait to be recorded, if nothing else is reported.
        history: reads the last entries of a session's history, as they are stored.
        counters: counts what is out of the ordinary.
    """

    toolbox: Toolbox
    dependencies: Dependencies
    threads: WorkerThreads
    retryable: Callable[[BaseException], bool]
    now: Callable[[], float]
    moments: Moments
    history: Callable[[SessionKey, int], Awaitable[Sequence[HistoryEntry]]]
    counters: Counters


class AgentEnd(NamedTuple):
    """How an agent ended: with a reply, because it was told to, or by an error."""

    reply: Reply | None
    interrupted: bool
    error: BaseException | None
