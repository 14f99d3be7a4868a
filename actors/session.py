"""The session's actor: the pure machine's hands."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from loguru import logger

from ..messages.commands import (
    Progress,
    RuntimeExit,
    Save,
    Say,
    Streamed,
)
from ..messages.dead_letters import DeadLetter, DeadLetterKind
from ..messages.entries import Progressed
from ..messages.events import (
    CompensationStarted,
    CourtesySaid,
    Delta,
    MessageEnded,
    RollbackStarted,
    Said,
    SessionOpened,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ..messages.ids import Fence
from ..messages.making import maker
from ..messages.policies import Now
from ..messages.reasons import Reason, TurnOutcome
from .answering import AnsweringActor
from .backlog import BacklogActor
from .control import RuntimeControl
from .deleting import DeletingActor, Hook
from .exit import NORMAL, Exit
from .left_over import partial_results
from .machine.history import unanswered
from .machine.reports import advance
from .mailbox import Envelope, Lane
from .receiving import is_deep
from .recorded import Act, RecordedActor, Services, of_each
from .requests import (
    AbandonRuntime,
    Barrier,
    DeleteRequest,
    Look,
    LookRequest,
    StartCompensation,
)
from .scheduling import SchedulingActor
from .steps import is_awaitable
from .turn_engine import TurnInput

if TYPE_CHECKING:
    from ..messages.commands import CompensationDone
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.message import SessionMessage
    from ..messages.records import CallRecord, PartialResults
    from .machine.state import SessionState
    from .mailbox import Mailbox


# Looked up once: they are asked for at every end of a turn.
_FINISHED, _INTERRUPTED = TurnOutcome.FINISHED, TurnOutcome.INTERRUPTED

_new_input, _new_fence = maker(TurnInput), maker(Fence)


class SessionActor(SchedulingActor):
    """One conversation: decides what a message does, records it, and carries it out.

    Subclass it for hooks (``on_start``, ``on_stop``, ``on_failure``, ``on_receive`` for messages
    of your own by ``session.tell`` and ``session.ask``, ``choose_policy``, ``on_interrupted``,
    ``on_turn_ended``), and give the class to ``ActorSystem(..., session_actor=...)``.
    """

    __slots__ = ("_letters", "_messages", "_told_at")

    def __init__(self, key: SessionKey, services: Services, mailbox: Mailbox) -> None:
        super().__init__(key, services, mailbox)
        self._control: RuntimeControl | None = None
        self._told_at: float | None = None
        # Of the running turn; its dead letter needs them when the machine has let go of them.
        self._messages: tuple[SessionMessage, ...] = ()
        self._letters: dict[int, DeadLetter] | None = None

    def _open(self) -> Exception | None:
        running = self.state.running
        if running is not None:
            self._messages = tuple([waiting.message for waiting in running.messages])
        return super()._open()

    # --- hooks ---

    def on_interrupted(self, partial_results: PartialResults) -> Any:
        """The running turn was interrupted, and left this; plain or async."""

    def on_turn_ended(self, event: TurnEnded) -> Any:
        """A turn ended, in whatever way, and that is durable; plain or async."""

    @property
    def is_at_work(self) -> bool:
        """Whether an agent of the session has begun, and has not ended."""
        control = self._control
        runtime = None if control is None else control.runtime
        return runtime is not None and runtime._actor_agent_runs  # noqa: SLF001 - one of ours

    # --- messages ---

    def handle(self, envelope: Envelope) -> Any:
        """Handle what the framework sends here; all else is the program's, by ``on_receive``."""
        message: object = envelope.message
        kind = type(message)
        direct = self._DIRECT.get(kind)
        if direct is not None:
            direct(self, message)
            return None
        handler = self._HANDLERS.get(kind)
        if handler is None:
            result = super().handle(envelope)
            return result if result is None or not is_awaitable(result) else self._hooked(result)
        return handler(self, message, envelope.stamp)

    def _on_streamed(self, streamed: Streamed, _stamp: int) -> None:
        if self._releases is None:
            self._show(streamed)
        else:
            self._releases.when_durable(partial(self._show, streamed))

    def _show(self, streamed: Streamed) -> None:
        """The fence stands here, and not where it was put: a stop may have come in between."""
        running = self.state.running
        if running is None or streamed.fence != self.state.fence or running.stop is not None:
            self._services.counters.count("refused_outputs", what="delta")
            return
        if streamed.restart:
            self._shown = ""
        self._shown += streamed.text
        if self._services.hub.watched:
            self._publish(streamed)

    def _publish(self, streamed: Streamed) -> None:
        hub, (tenant, session_id) = self._services.hub, self._key
        _, turn, attempt = streamed.fence
        if streamed.restart:
            restarted = TurnRestarted(
                tenant=tenant,
                session_id=session_id,
                turn=turn,
                attempt=attempt,
                at=streamed.at,
                cause="this attempt shows another preview than the one before",
                discard=True,
            )
            hub.publish(self._key, restarted)
        delta = Delta(
            tenant=tenant,
            session_id=session_id,
            turn=turn,
            attempt=attempt,
            at=streamed.at,
            text=streamed.text,
            start=len(self._shown) - len(streamed.text),
        )
        hub.publish(self._key, delta)

    def _on_look(self, request: LookRequest, _stamp: int) -> None:
        seen = Look(self.state, self._shown if self.state.running is not None else "")
        self._when_durable(partial(request.seen.try_set, seen), partial(self._ask_again, request))

    def _on_barrier(self, barrier: Barrier, _stamp: int) -> None:
        if not barrier.reached.done():
            barrier.reached.set_result(None)

    def _on_output(self, command: Say | Save) -> None:
        if not self._apply(command):
            what = "say" if isinstance(command, Say) else "save"
            self._services.counters.count("refused_outputs", what=what)

    def _on_exit(self, command: RuntimeExit) -> None:
        control, stop = self._control, None
        if control is not None and control.fence == command.fence:
            control.ended = True
            running = self.state.running
            stop = None if running is None else running.stop
        else:
            control = None  # not the one that runs
        if command.reply is not None and (control is None or stop is not None):
            self._services.counters.count("refused_outputs", what="reply")
        self._apply(command)

    async def _on_hook(self, hook: Hook, _stamp: int) -> None:
        try:
            result = hook.function(hook.argument)
            if inspect.isawaitable(result):
                await self._hooked(result)
        except Exception as error:  # noqa: BLE001 - a hook's error is not the conversation's
            logger.opt(exception=error).error("{} of {} failed", hook.function.__name__, self)

    # --- carry out ---

    def take_progress(self, report: Progress) -> bool:
        """Record at once what the runtime reports at every wave, if nothing else is to be done.

        As what is handed over, but only what is ours runs here: it needs no context of its own.

        Returns:
            whether it was recorded; otherwise nothing happened.
        """
        inbox, services = self.actor_inbox, self._services
        if self._actor_busy or inbox.first is not None or inbox.queue or is_deep():
            return False
        if self._releases is not None or services.hub.watched:
            return False
        further = advance(self.state, report)
        if further is None:
            return False
        self._actor_busy = True
        try:
            self._record(further)
        except BaseException as error:  # noqa: BLE001 - it ends this actor, as any message's would
            # By the mailbox: its end, and what a program wrote for that, is not the agent's.
            self._journal_lost(error)
        self._actor_busy = False
        return True

    def _go_on(self, report: Progress) -> None:
        """As :meth:`_apply`, in half of the time: the runtime reports at every wave."""
        further = advance(self.state, report)
        if further is None:
            self._apply(report)
        elif self._record(further) and self._services.hub.watched:
            self._tell_subscribers(further[1])

    def _record(self, further: tuple[SessionState, Progressed]) -> bool:
        """Record that the running turn got further; whether that is durable already."""
        state, entry = further
        services = self._services
        commit = self._commit = services.journal.append(self._key, (entry,))
        self.state = state
        if entry.wave and self._control is not None:
            self._control.admit(entry.wave, commit)
        if self._releases is not None or not commit.done or commit.error is not None:
            self._hold(commit, (entry,) if services.hub.watched else entry.line)
            return False
        if not services.rules.survives:
            services.journal.snapshot(self._key, state)
        return True

    # at once, within the process

    def _start_runtime(self, event: TurnStarted | TurnRestarted) -> None:
        state = self.state
        running = state.running
        if running is None or running.number != event.turn:
            return
        fence = _new_fence((state.epoch, running.number, running.attempt))
        control = self._control = RuntimeControl(fence, self.actor_inbox, self, self._services.now)
        again = isinstance(event, TurnRestarted)
        seen: PartialResults | None = None
        if not again:
            self._shown = ""
        elif event.version != running.version:
            # Other code makes other calls: what it does not ask for is not lost on it.
            seen = partial_results(running, state.previous, Reason.CRASHED, None)
        self._messages = tuple([waiting.message for waiting in running.messages])
        given = _new_input(
            (
                self._key,
                state.uid,
                running.number,
                running.attempt,
                self._messages,
                running.senders,
                state.previous,
                state.saved,
                running.log,
                self,
                self._shown,
                seen,
            )
        )
        delay = event.delay if isinstance(event, TurnRestarted) else 0.0
        self._services.start_runtime(given, control, delay)

    def unknown(self) -> tuple[CallRecord, ...]:
        """The calls that may have happened, for the running attempt."""
        return self.state.unknown

    def unanswered(self) -> tuple[HistoryEntry, ...]:
        """What of the history is not settled, for the running attempt."""
        return unanswered(self.state, "", self._services.now())

    def _admit_wave(self, entry: Progressed) -> None:
        control, commit = self._control, self._commit
        if entry.wave and control is not None and commit is not None:
            control.admit(entry.wave, commit)

    def _tell_stop(self, event: StopRequested) -> None:
        if self._control is not None and self.state.running is not None:
            self._control.tell_stop(event.how, event.reason)
            if self._told_at is None:
                self._told_at = event.at

    def _let_go(self, event: TurnEnded | RollbackStarted) -> None:
        """The turn has ended, or is undone; nobody waits for a runtime that has not ended."""
        if isinstance(event, TurnEnded):
            if event.outcome is not _FINISHED:
                if event.reason is Reason.CRASHED and event.outcome is TurnOutcome.FAILED:
                    self._letters = {**(self._letters or {}), event.turn: self._dead_letter(event)}
                self._count(event)
            self._messages = ()
        control, self._control = self._control, None
        if control is not None and not control.ended:
            self._services.runtimes(AbandonRuntime(self._key, control))

    def _count(self, event: TurnEnded) -> None:
        counters, reason = self._services.counters, str(event.reason)
        failed = event.outcome is TurnOutcome.FAILED
        counters.count("failures" if failed else "cancellations", reason=reason)
        told_at, self._told_at = self._told_at, None
        if told_at is not None:
            counters.observe("interrupt_latency", max(0.0, event.at - told_at), reason=reason)

    def _dead_letter(self, event: TurnEnded) -> DeadLetter:
        return DeadLetter(
            kind=DeadLetterKind.TURN,
            tenant=event.tenant,
            session_id=event.session_id,
            at=event.at,
            cause=event.detail,
            turn=event.turn,
            messages=self._messages,
            partial_results=event.partial_results,
        )

    # when durable, to the outside

    def _tell_outcome(self, event: MessageEnded) -> None:
        message_id = event.message_id
        if self._waiters.waits_for(message_id):
            known = self.state.remembered.get(message_id)
            if known is not None and known.outcome is not None:
                self._waiters.tell_outcome(message_id, known.outcome)
        if event.delivery_id is not None:
            self._post(event)
        if self._attended is not None:
            self._look_aside()

    def _tell_turn_ended(self, event: TurnEnded) -> None:
        self._waiters.tell_turn_ended(event)
        self._post(event)
        if self._letters is not None and event.turn in self._letters:
            self._services.dead_letter(self._letters.pop(event.turn))
        services = self._services
        if (
            services.rules.survives or self._releases is not None
        ) and event.outcome is not _INTERRUPTED:
            services.journal.snapshot(self._key, self.state)
        self._call_hooks(event)
        self._tell_quiet()

    def _post(self, event: Said | CourtesySaid | TurnEnded | MessageEnded) -> None:
        delivery_id = event.delivery_id
        if delivery_id is not None:
            for delivery in self.state.outbox:
                if delivery.delivery_id == delivery_id:
                    self._services.deliver(self._key, delivery)

    def _compensate(self, event: CompensationStarted) -> None:
        """Have the call undone; not before it is durable that it is, so that it ends after all."""
        undoing = self.state.undoing
        if undoing is not None and undoing.left[0].call_id == event.call_id:
            call = undoing.left[0]
            self._services.runtimes(StartCompensation(self._key, call, self._compensated))

    def _compensated(self, done: CompensationDone) -> None:
        """Take the supervisor's report, or leave it to the next incarnation."""
        with contextlib.suppress(pykka.ActorDeadError):  # there is none: the system closes
            self.hand(done)

    def _call_hooks(self, event: TurnEnded) -> None:
        kind, left = type(self), event.partial_results
        if (
            left is not None
            and event.outcome is _INTERRUPTED
            and kind.on_interrupted is not SessionActor.on_interrupted
        ):
            self._later(Hook(self.on_interrupted, left))
        if kind.on_turn_ended is not SessionActor.on_turn_ended:
            self._later(Hook(self.on_turn_ended, event))

    def _later(self, hook: Hook) -> None:
        """Call a program's hook as a message of its own, which may take its time."""
        self.actor_inbox.put(Envelope(hook), Lane.SUPERVISION)

    def _actor_loop_teardown(
        self, ended: Exit = NORMAL, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if self._control is not None and not self._loop.is_closed():
            self._control.tell_stop(Now(), Reason.CRASHED)
        super()._actor_loop_teardown(ended, envelope, result)

    _AT_ONCE: ClassVar[Mapping[type, Act | None]] = of_each(
        {
            TurnStarted: _start_runtime,
            TurnRestarted: _start_runtime,
            Progressed: _admit_wave,
            StopRequested: _tell_stop,
            RollbackStarted: _let_go,
            TurnEnded: _let_go,
        }
    )

    _WHEN_DURABLE: ClassVar[Mapping[type, Act | None]] = of_each(
        {
            SessionOpened: BacklogActor._attend,  # noqa: SLF001 - it is one actor in several files
            MessageEnded: _tell_outcome,
            Said: _post,
            CourtesySaid: _post,
            CompensationStarted: _compensate,
            TurnEnded: _tell_turn_ended,
        }
    )

    _HANDLERS: ClassVar[Mapping[type, Callable[[Any, Any, int], Any]]] = {
        **RecordedActor.RECORDED,
        **AnsweringActor.ANSWERED,
        **BacklogActor.BACKLOG,
        **SchedulingActor.SCHEDULING,
        Barrier: _on_barrier,
        LookRequest: _on_look,
        Streamed: _on_streamed,
        Hook: _on_hook,
        DeleteRequest: DeletingActor._on_delete,  # noqa: SLF001 - as above
    }

    _DIRECT: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {
        **RecordedActor.DECIDED,
        **AnsweringActor.ASKED,
        Say: _on_output,
        Save: _on_output,
        Progress: _go_on,
        RuntimeExit: _on_exit,
    }
    """What the runtime and deliveries report, and what is asked in every turn."""

    _actor_direct = _DIRECT
