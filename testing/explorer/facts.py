"""What is known of one run: what was sent, what ran, what left, in the order in which it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...messages.ids import SessionKey

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from ...actors.control import RuntimeControl
    from ...actors.machine.state import SessionState
    from ...messages.entries import Entry
    from ...messages.events import Event
    from ...messages.history import HistoryEntry
    from ...messages.message import Delivery, MessageOutcome
    from ...messages.policies import Policy
    from ...messages.records import PartialResults
    from .script import Inject, Schedule

KEY = SessionKey("", "explored")
"""The one session of a run."""


EPOCH = 1_700_000_000.0
"""What a run takes for the time when its loop's clock is at 0, so that all runs see the same."""

_GRAIN = 0.01
"""Seconds by which the times of entries and of marks may differ."""


class Sent:
    """A message, and what its sender came to know."""

    __slots__ = ("accepted", "deadline", "error", "id", "outcome", "policy", "sender", "text")

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is
        text: str,
        policy: Policy | None = None,
        sender: str | None = None,
        deadline: float | None = None,
    ) -> None:
        self.id = id
        self.text = text
        self.policy = policy
        self.sender = sender
        self.deadline = deadline
        self.accepted = False
        self.error: Exception | None = None
        self.outcome: MessageOutcome | None = None

    @property
    def is_open(self) -> bool:
        """Whether its sender still waits."""
        return self.outcome is None and self.error is None


class Ran:
    """A tool that really ran.

    ``ended`` is "completed", "failed" or "cancelled"; empty as long as it runs, and for good when
    the process was killed.
    """

    __slots__ = (
        "again",
        "arguments",
        "call_id",
        "effect",
        "ended",
        "equality",
        "fresh",
        "key",
        "life",
        "result",
        "tool",
    )

    def __init__(self, tool: str, arguments: dict[str, Any], life: int) -> None:
        self.tool = tool
        self.arguments = arguments
        self.life = life
        self.call_id = ""
        self.key = ""
        self.equality = ""
        self.effect = ""
        self.fresh = False
        self.again = False
        self.ended = ""
        self.result: Any = None

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.tool}({words})"


class Attempt:
    """An agent's run."""

    __slots__ = (
        "active",
        "after",
        "control",
        "life",
        "messages",
        "number",
        "previous",
        "raised",
        "returned",
        "task",
        "turn",
        "where",
    )

    def __init__(self, turn: int, number: int, life: int, after: int) -> None:
        self.turn = turn
        self.number = number
        self.life = life
        self.after = after  # how many entries the journal had
        self.messages: tuple[str, ...] = ()
        self.previous: PartialResults | None = None
        self.control: RuntimeControl | None = None
        self.task: asyncio.Task[Any] | None = None
        self.active = True
        self.returned: str | None = None
        self.raised: BaseException | None = None
        self.where = ""  # what it raised, in words


class Mark(NamedTuple):
    """One thing on the timeline."""

    at: float
    kind: str
    what: Any


class Broken(NamedTuple):
    """A promise that was not kept.

    Args:
        promise: its name.
        words: what was seen.
    """

    promise: str
    words: str


class Facts:
    """All that is known of one run; what an ``invariant`` function is given.

    ``log`` has the journal's entries, ``events`` the same as events, ``sent`` the messages with
    their outcomes, ``ran`` the tools that really ran, ``undone`` the ids of the
    calls that really were undone, ``attempts`` the runs of the agent,
    ``delivered`` what reached the user, ``history`` the session's history, ``state`` its last
    state.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.sent: list[Sent] = []
        self.ran: list[Ran] = []
        self.attempts: list[Attempt] = []
        self.undone: list[str] = []
        self.compensable: frozenset[str] = frozenset()
        self.raises: tuple[type[Exception], ...] = ()
        self.options: dict[str, Any] = {}
        self.drops = False
        self.unseen = ""
        self.told: int | None = None
        self.delivered: list[Delivery] = []
        self.published: list[Event] = []
        self.log: list[Entry] = []
        self.log_at_rest = 0
        self.history: list[HistoryEntry] = []
        self.state: SessionState | None = None
        self.marks: list[Mark] = []
        self.moments: dict[str, int] = {}
        self.injected: list[Inject] = []
        self.lives = 1
        self.steps = 0
        self.broken: list[Broken] = []

    @property
    def replies(self) -> list[str]:
        """The texts that reached the user, in order."""
        return [delivery.reply.text for delivery in self.delivered]

    @property
    def outcomes(self) -> dict[str, str]:
        """How each message ended, by its text."""
        return {sent.text: sent.outcome.status.value for sent in self.sent if sent.outcome}

    @property
    def events(self) -> list[Event]:
        """The journal as events."""
        from ...messages.entries import Progressed  # noqa: PLC0415 - only when somebody asks

        found: list[Event] = []
        for entry in self.log:
            found += entry.events(KEY) if isinstance(entry, Progressed) else [entry]
        return found

    def runs_of(self, tool: str, ended: str = "") -> list[Ran]:
        """The runs of one tool.

        Args:
            tool: its name.
            ended: only those that ended so.
        """
        return [ran for ran in self.ran if ran.tool == tool and (not ended or ran.ended == ended)]

    def happened(self, what: Collection[str], since: float, until: float) -> bool:
        """Whether something was injected in some time, or the system began anew.

        Args:
            what: keys of ``INJECTIONS``.
            since: in seconds, as entries of the journal have it.
            until: likewise.
        """
        return any(
            since - _GRAIN <= EPOCH + mark.at <= until + _GRAIN
            for mark in self.marks
            if mark.kind == "life" or (mark.kind == "inject" and mark.what.what in what)
        )

    def was_asked(self, kind: str, until: float) -> bool:
        """Whether there is a mark of a kind before some time."""
        return any(one.kind == kind and EPOCH + one.at <= until + _GRAIN for one in self.marks)

    def breaks(self, promise: str, words: str) -> None:
        """Note that a promise was not kept."""
        self.broken.append(Broken(promise, " ".join(words.split())))
