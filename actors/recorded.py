"""The actor whose state is the fold of its journal, and out of which nothing leaves too early.

The session in three layers, each a file: what is recorded and recovered (here), who asked and is
answered (``answering.py``), the running turn and what follows from events (``session.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import pykka
from loguru import logger

from ..journal.base import Recorded, RestingJournal
from ..messages.commands import (
    Command,
    CompensationDone,
    Courtesy,
    DeliveryDone,
    Open,
    Save,
    Say,
    StepDone,
    TimeIsUp,
    TokenCancelled,
)
from ..messages.entries import Entry, Progressed, entry_of
from ..messages.errors import (
    JournalCorrupt,
)
from ..messages.policies import Chooser, Policy
from ..messages.reasons import Reason
from .actor import AsyncioActor, Lifecycle
from .exit import NORMAL, Exit
from .left_over import partial_results
from .machine.courtesy import notice_due
from .machine.draft import Decision
from .machine.evolve import FOLDS, fold
from .machine.scheduling import due_with_scheduled
from .machine.state import Rules, SessionState, Status, begun, due
from .machine.table import decide
from .machine.view import view_of
from .mailbox import Envelope, Lane
from .release import Releases
from .requests import (
    AbandonRuntime,
    EndRuntime,
    StartCompensation,
)

if TYPE_CHECKING:
    import asyncio

    from ..journal.base import Commit, Journal
    from ..messages.commands import Progress
    from ..messages.dead_letters import DeadLetter
    from ..messages.entries import Line
    from ..messages.ids import Fence, SessionKey
    from ..messages.message import Delivery, SessionMessage
    from ..messages.reasons import CourtesyKind
    from ..messages.records import PartialResults
    from ..messages.view import SessionView
    from .attempt_input import TurnInput
    from .control import RuntimeControl
    from .counters import Counters
    from .histories import Histories
    from .hub import EventHub
    from .mailbox import Mailbox
    from .steps import Step


class Services(NamedTuple):
    """What a session is handed by whoever starts it.

    Args:
        policy: of messages that bring none.
        now: the clock, in seconds since the epoch.
        new_uid: makes up a session's uid.
        start_runtime: has the runtime supervisor run an attempt, after so many seconds.
        runtimes: tells the runtime supervisor.
        forget: has whoever does something for a session forget it.
        deliver: hands a delivery on, once it may leave.
        report: tells a session, also one that was let go.
        dead_letter: keeps what was given up.
        counters: counts what is out of the ordinary.
        histories: reads the history for whoever asks.
        courtesy: what the session itself says on an occasion; empty for nothing.
        wake_at: has a session started at a time, if it rests then; without, one that has messages
            scheduled does not rest.
        chooser: chooses the policy of messages that bring none.
        who_may_interrupt: whether a message may interrupt the running turn.
        aside: answers messages beside the turns.
    """

    journal: Journal
    rules: Rules
    policy: Policy
    hub: EventHub
    now: Callable[[], float]
    new_uid: Callable[[], str]
    start_runtime: Callable[[TurnInput, RuntimeControl, float], None]
    runtimes: Callable[[AbandonRuntime | EndRuntime | StartCompensation], None]
    forget: Callable[[SessionKey], None]
    deliver: Callable[[SessionKey, Delivery], None]
    report: Callable[[SessionKey, object], None]
    dead_letter: Callable[[DeadLetter], None]
    counters: Counters
    histories: Histories
    courtesy: Callable[[CourtesyKind, SessionView], str]
    wake_at: Callable[[SessionKey, float], None] | None = None
    chooser: Chooser | None = None
    who_may_interrupt: Callable[[SessionMessage, SessionView], Any] | None = None
    aside: Callable[[SessionMessage, SessionView], Any] | None = None


Act: TypeAlias = "Callable[[Any, Any], None]"
"""What an actor does about an entry."""


def of_each(acts: Mapping[type, Act]) -> Mapping[type, Act | None]:
    """What is done about entries of each class there is: to look up one that is there is cheap."""
    kinds: tuple[type, ...] = (*FOLDS, Progressed)
    return {kind: acts.get(kind) for kind in kinds}


class JournalLost(NamedTuple):
    """The journal could not say whether it has what was appended."""

    error: BaseException


class _Redeliver(NamedTuple):
    """What was on its way to the user when this incarnation took over.

    Handed on behind what already waits in the mailbox: its acknowledgement may be there.
    """

    outbox: tuple[Delivery, ...]


class RecordedActor(AsyncioActor):
    """Recovers its state from the journal, lets the machine decide, and records what happened.

    Args:
        key: names the session.
        services: what it is handed.
        mailbox: the session's, which outlives incarnations.
    """

    __slots__ = (
        "_commit",
        "_due",
        "_key",
        "_releases",
        "_services",
        "_shown",
        "_timer",
        "state",
    )

    _AT_ONCE: ClassVar[Mapping[type, Act | None]] = {}
    """What follows from an event within the process: nothing that anybody outside could see."""

    _WHEN_DURABLE: ClassVar[Mapping[type, Act | None]] = {}
    """What follows from an event outside: nothing leaves before it is durable."""

    def __init__(self, key: SessionKey, services: Services, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._key = key
        self._services = services
        self.state = SessionState(key)
        self._commit: Commit | None = None
        self._releases: Releases | None = None  # until a commit has to be waited for
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._shown = ""

    # --- recovery: the same fold, no second path ---

    def _start_actor_loop(self) -> None:
        self._actor_start_here()

    def _actor_loop_setup(self) -> None:
        try:
            recorded = self._services.journal.load(self._key)
        except BaseException as error:  # noqa: BLE001 - it must not end whoever starts sessions
            self._loaded(None, error)
            return
        if isinstance(recorded, Recorded):
            self._loaded(recorded, None)
        else:
            self._actor_go((recorded, self._loaded))

    def _loaded(self, recorded: Recorded | None, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, JournalCorrupt):
            # It may be read another time: the directory tries again, and answers if it cannot.
            self._actor_go(self._actor_end(Exit.of(error, "start")))
            return
        if recorded is None:
            self._quarantine(error or JournalCorrupt(self._key))
        else:
            self._recover(recorded)
        super()._actor_loop_setup()

    def _recover(self, recorded: Recorded) -> None:
        snapshot = recorded.snapshot
        state = begun(self._key, recorded.floor)
        if isinstance(snapshot, SessionState):
            state = snapshot
        try:
            state = fold(state, recorded.entries)
        except Exception as error:  # noqa: BLE001 - this session is quarantined, no other
            self._quarantine(error)
        else:
            # Whatever it was doing, an earlier incarnation did: this one takes over by `Open`.
            self.state = state._replace(status=Status.RECOVERING)

    async def _reload(self) -> None:
        """Read the journal again, of a session that has failed; what it raises is for the asker."""
        loading = self._services.journal.load(self._key)
        recorded = loading if isinstance(loading, Recorded) else await loading
        self.state = SessionState(self._key, status=Status.FAILED)
        self._recover(recorded)

    def _quarantine(self, error: BaseException) -> None:
        logger.opt(exception=error).error("session {} cannot be recovered", self._key)
        self.state = self.state._replace(status=Status.FAILED)

    def _actor_started(self, result: object, error: BaseException | None) -> Step | None:
        if error is None and self.state.status is not Status.FAILED:
            error = self._open()
        return super()._actor_started(result, error)

    def _open(self) -> Exception | None:
        """Take over; what the journal raises is given back, for a later incarnation to try."""
        before = self.state
        inbox = self.actor_inbox
        command = Open(self._services.now(), self._services.new_uid(), inbox.mark)
        try:
            self._apply(command)
        except Exception as error:  # noqa: BLE001 - this session is quarantined, no other
            try:
                decide(before, command, self._services.rules)
            except Exception as broken:  # noqa: BLE001 - so it was the machine, not the journal
                self._quarantine(broken)
                return None
            return error
        finally:
            inbox.mark = max(inbox.mark, self.state.epoch)
        if before.outbox:
            self.actor_inbox.put(Envelope(_Redeliver(before.outbox)), bounded=False)
        return None

    def _on_redeliver(self, message: _Redeliver, _stamp: int) -> None:
        left = {delivery.delivery_id for delivery in self.state.outbox}
        for delivery in message.outbox:
            if delivery.delivery_id in left:
                self._services.deliver(self._key, delivery)

    # --- rest ---

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way: no message without its end, no delivery, no timer.

        But for what is scheduled: the session is woken for that.
        """
        state = self.state
        return (
            state.status is Status.IDLE
            and state.running is None
            and not state.waiting
            and not state.outbox
            and (self._may_sleep() if state.scheduled else self._timer is None)
            and (self._releases is None or not self._releases.is_holding)
            and sum(known.outcome is None for known in state.remembered.values())
            == len(state.scheduled)
        )

    def _may_sleep(self) -> bool:
        """Whether nothing but messages that are not due yet wants to be told the time."""
        services = self._services
        return services.wake_at is not None and self.state.scheduled[0].due_at > services.now()

    def rest(self) -> bool:
        """End for now, if the session is at rest; the next message brings it back.

        Returns:
            whether it ends.
        """
        if not self.is_at_rest or not self.retire():
            return False
        journal = self._services.journal
        try:
            # Coming back is an entry of its own: they must not add up.
            journal.snapshot(self._key, self.state)
        except Exception as error:  # noqa: BLE001 - the entries are there without it
            logger.opt(exception=error).warning("session {} has no snapshot", self._key)
        if isinstance(journal, RestingJournal):
            journal.let_go(self._key)
        return True

    def pass_on(self, report: object) -> None:
        """Leave to the next incarnation what comes when the mailbox is closed: late ends."""
        self._services.report(self._key, report)

    def partial_results(self, fence: Fence, further: Progress | None) -> PartialResults | None:
        """What an attempt has finished so far; None if it is not the running one.

        Args:
            fence: the attempt's.
            further: what it has not reported yet.
        """
        running = self.state.running
        if running is None or running.number != fence[1] or running.attempt != fence[2]:
            return None
        if further is not None:
            done = Progressed(0, further.at, fence, further.done, further.wave_done)
            running = running.with_progress(done)
        reason = running.stop.reason if running.stop is not None else Reason.CRASHED
        return partial_results(running, self.state.previous, reason, None)

    # --- decide, append, evolve, carry out ---

    def _apply(self, command: Command) -> bool:
        """Let the machine decide, record what happened, carry it out; whether anything did."""
        services = self._services
        decision = decide(self.state, command, services.rules, self._shown)
        if decision.wishes:
            decision = self._with_courtesy(decision, command.at)
        state, entries, history, _ = decision
        if not entries:
            return False
        commit = self._commit = services.journal.append(self._key, entries, history)
        self.state = state
        at_once = self._AT_ONCE
        for entry in entries:
            act = at_once[type(entry)]
            if act is not None:
                act(self, entry)
        if self._releases is None and commit.done and commit.error is None:
            self._release(entries)
            if not services.rules.survives:
                # As durable as its entries, and no events are kept that nobody folds any more.
                services.journal.snapshot(self._key, self.state)
        else:
            self._hold(commit, entries)
        when = self._when_due()
        if when is not None and when != self._due:
            self._arm_timer(when)
        return True

    def _with_courtesy(self, decision: Decision, at: float) -> Decision:
        """Ask for the words that belong to a decision, and decide about them in one with it."""
        services, before = self._services, self.state
        state, entries, history, wishes = decision
        for kind, turn in wishes:
            ended = state.running is None or state.running.number != turn
            # Of a turn that has ended, the program is shown how it was.
            text = services.courtesy(kind, view_of(before if ended else state))
            said = decide(state, Courtesy(at, kind, turn, text), services.rules)
            state = said.state
            entries = [*entries, *said.entries]
            history = (*history, *said.history)
        return Decision(state, entries, history)

    def _hold(self, commit: Commit, entries: Sequence[Entry] | Line) -> None:
        """Let out what these entries allow when they are durable, in order."""
        if self._releases is None:
            self._releases = Releases(self._release_later, self._journal_lost)
        self._releases.after(commit, entries)

    def _release_later(self, entries: Sequence[Entry] | Line) -> None:
        if isinstance(entries, bytes):
            if not self._services.hub.watched:
                return
            entries = (entry_of(entries),)
        if self.lifecycle is not Lifecycle.STOPPED:
            self._release(entries)
        elif self._services.hub.watched:
            # The next incarnation has folded these: it answers, delivers and keeps the snapshot.
            for entry in entries:
                self._tell_subscribers(entry)

    def _when_durable(
        self, act: Callable[[], object], otherwise: Callable[[], object] | None = None
    ) -> None:
        if self._releases is None:
            act()
        else:
            self._releases.when_durable(act, otherwise)

    def _release(self, entries: Sequence[Entry]) -> None:
        """Let out what these entries allow; they are durable."""
        watched, when_durable = self._services.hub.watched, self._WHEN_DURABLE
        for entry in entries:
            act = when_durable[type(entry)]
            if act is not None:
                act(self, entry)
            if watched:
                self._tell_subscribers(entry)

    def _tell_subscribers(self, entry: Entry) -> None:
        hub, key = self._services.hub, self._key
        for event in entry.events(key) if isinstance(entry, Progressed) else (entry,):
            hub.publish(key, event)

    def _journal_lost(self, error: BaseException) -> None:
        """Nobody can say what the journal has: end, so that the next incarnation folds it."""
        with contextlib.suppress(pykka.ActorDeadError):  # there is none: the system closes
            self.actor_inbox.put(Envelope(JournalLost(error)), Lane.CONTROL)

    # at once, within the process

    def _on_journal_lost(self, lost: JournalLost, _stamp: int) -> None:
        raise lost.error

    # --- time ---

    def _arm_timer(self, when: float) -> None:
        """Be told the time then; a timer that is not needed any more looks again by itself."""
        if self._timer is not None:
            if self._due is not None and self._due <= when:
                return
            self._timer.cancel()
        self._due = when
        delay = max(0.0, when - self._services.now())
        self._timer = self._loop.call_later(delay, self._time_is_up)

    def _when_due(self) -> float | None:
        """When the state wants to be told the time."""
        state = self.state
        when = due(state)
        if state.scheduled:
            when = due_with_scheduled(state, when)
        rules = self._services.rules
        if rules.notify_after is None:
            return when
        notice = notice_due(state, rules)
        if when is None or notice is None:
            return notice if when is None else when
        return min(when, notice)

    def _time_is_up(self) -> None:
        self._timer = self._due = None
        if self.lifecycle is Lifecycle.RUNNING and self._when_due() is not None:
            self.actor_inbox.put(Envelope(TimeIsUp(self._services.now())), bounded=False)

    def _on_time_is_up(self, command: TimeIsUp, _stamp: int) -> Awaitable[None] | None:
        when = self._when_due()
        if not self._apply(command) and when is not None and when > command.at:
            self._arm_timer(when)  # it was another one's; loops may call a timer early, too
        return None

    def _actor_loop_teardown(
        self, ended: Exit = NORMAL, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._releases is not None:
            self._releases.let_go()
        super()._actor_loop_teardown(ended, envelope, result)

    DECIDED: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {
        CompensationDone: _apply,
        DeliveryDone: _apply,
        Save: _apply,
        Say: _apply,
        StepDone: _apply,
        TokenCancelled: _apply,
    }
    """What goes to the machine as it is."""

    RECORDED: ClassVar[Mapping[type, Callable[[Any, Any, int], Any]]] = {
        TimeIsUp: _on_time_is_up,
        _Redeliver: _on_redeliver,
        JournalLost: _on_journal_lost,
    }
