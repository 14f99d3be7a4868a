"""What goes through a session's mailbox: requests, the runtime's reports, timers.

These are named tuples of what is already valid: they never leave the process. Each has ``at``,
the time in seconds since the epoch, because the session's machine is pure and has no clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .ids import CallId, DeliveryId, Fence, IdempotencyKey
from .message import Reply, SessionMessage
from .policies import How, Policy, Way
from .reasons import Backlog, CourtesyKind, DeliveryStatus, Reason
from .records import CallDone, CallError, CallStarted


class Open(NamedTuple):
    """An incarnation of the actor takes over.

    Args:
        uid: the session's, if it has none yet.
        above: the highest epoch that was in use in this process. The journal may have lost the
            incarnation that used it, whose runtime must not pass for one of this incarnation.
    """

    at: float
    uid: str
    above: int = 0


class Send(NamedTuple):
    """A message asks to be accepted."""

    at: float
    stamp: int
    message: SessionMessage
    policy: Policy
    deadline_at: float | None
    fingerprint: str
    priority: int = 0


class Schedule(NamedTuple):
    """A message asks to be accepted now, and to enter the session at its time.

    Args:
        policy: what it does to a running turn then.
        choose: whether that is chosen anew when it is due.
        due_at: seconds since the epoch; not before ``at``.
        deadline_at: seconds since the epoch.
    """

    at: float
    message: SessionMessage
    policy: Policy
    choose: bool
    due_at: float
    deadline_at: float | None
    fingerprint: str
    priority: int = 0


class Due(Send):
    """The time of a scheduled message has come; it is that of its id, whatever else it says."""

    __slots__ = ()


class Stop(NamedTuple):
    """Somebody asks the running turn to stop; ``stamp`` covers every message put before."""

    at: float
    stamp: int
    how: Way
    backlog: Backlog
    reason: Reason
    detail: str


class Resume(NamedTuple):
    """What was parked may go on."""

    at: float


class Withdraw(NamedTuple):
    """The sender takes a message back that waits."""

    at: float
    message_id: str


class Edit(NamedTuple):
    """The sender puts other words in place of those of a message that waits."""

    at: float
    message_id: str
    text: str


class Delete(NamedTuple):
    """Somebody asks for the session to be forgotten; ``grace`` is what its calls have to end in."""

    at: float
    grace: float


class UndoTurn(NamedTuple):
    """Somebody asks for the running turn to be rolled back, without a message."""

    at: float
    grace: float
    detail: str


class CompensationDone(NamedTuple):
    """A call was undone, or could not be; ``error`` is what the last try raised.

    It has no fence: a call is undone for the session, whichever incarnation asked for it. Its key
    tells it from a call of that id in a session that was deleted.
    """

    at: float
    call_id: CallId
    error: CallError | None
    idempotency_key: IdempotencyKey


class Shutdown(NamedTuple):
    """The system closes: refuse messages, end the running turn, start nothing."""

    at: float
    how: How


class Progress(NamedTuple):
    """The runtime got further: calls ended, a wave is done, the next one begins; in that order.

    What happens in one go is one report, so that the end of a wave and the start of the next
    share a commit.

    Args:
        done: the calls that ended since the last report.
        wave_done: the wave of which every call has ended, or 0.
        wave: the wave that begins, or 0.
        calls: the calls of that wave.
    """

    at: float
    fence: Fence
    done: tuple[CallDone, ...] = ()
    wave_done: int = 0
    wave: int = 0
    calls: tuple[CallStarted, ...] = ()


class StepDone(NamedTuple):
    """A step ended."""

    at: float
    fence: Fence
    key: str
    result: Any


class Say(NamedTuple):
    """The turn says something to the user."""

    at: float
    fence: Fence
    text: str


class Save(NamedTuple):
    """The turn saves the session's state."""

    at: float
    fence: Fence
    state: Any


class Take(NamedTuple):
    """The turn takes the messages that it was offered."""

    at: float
    fence: Fence


class AsideDone(NamedTuple):
    """The ``aside`` handler has ended with a message.

    Args:
        text: its answer.
        error: what it raised, in words; then there is no answer.
    """

    at: float
    message_id: str
    text: str
    error: str


class RuntimeExit(NamedTuple):
    """A runtime is no more; put together by the runtime supervisor.

    Exactly one of ``reply``, ``interrupted`` and ``cause`` says how it ended.

    Args:
        reply: what the agent returned, also when it had been told to stop.
        interrupted: whether it ended because it was told to.
        cause: what it raised or died of, in words.
        crashed: whether that was a death, or an error that ``retry_on`` names, rather than an
            agent's own failure.
        retry_after: seconds until the next attempt if the restart policy allows one, else None.
        progress: what it had finished and not reported yet.
        total_waves: how many waves it would have run, if it ran a plan.
    """

    at: float
    fence: Fence
    reply: Reply | None
    interrupted: bool
    cause: str
    crashed: bool
    retry_after: float | None
    progress: Progress | None
    total_waves: int | None


class TokenCancelled(NamedTuple):
    """The running turn's cancellation token was cancelled."""

    at: float
    fence: Fence
    detail: str


class TimeIsUp(NamedTuple):
    """A timer that the state asked for went off."""

    at: float


class DeliveryDone(NamedTuple):
    """A delivery was acknowledged or given up."""

    at: float
    delivery_id: DeliveryId
    status: DeliveryStatus
    detail: str


class Heard(NamedTuple):
    """The channel says how much of a turn's words the user has heard."""

    at: float
    turn: int
    characters: int


class Courtesy(NamedTuple):
    """What the session itself has to say of a turn; right behind the command that asked for it."""

    at: float
    kind: CourtesyKind
    turn: int
    text: str


class Streamed(NamedTuple):
    """A piece of the reply's preview; it is published in order and not journaled.

    Args:
        restart: whether it differs from what an earlier attempt showed, which must be discarded.
    """

    at: float
    fence: Fence
    text: str
    restart: bool


Report = Progress | StepDone | Say | Save | Take | RuntimeExit
Asked = Send | Schedule | Stop | UndoTurn | Delete | Resume | Withdraw | Edit | Shutdown | Heard
Told = TokenCancelled | TimeIsUp | DeliveryDone | AsideDone | CompensationDone | Courtesy
Command = Open | Asked | Told | Report
