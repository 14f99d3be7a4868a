"""The session's actor: the pure machine's hands."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import pykka
from loguru import logger

from ..journal.base import Recorded
from ..messages.commands import (
    Command,
    DeliveryDone,
    Open,
    Progress,
    RuntimeExit,
    Save,
    Say,
    Send,
    Shutdown,
    StepDone,
    Stop,
    Streamed,
    TimeIsUp,
    TokenCancelled,
)
from ..messages.errors import (
    AcceptanceUnknown,
    JournalCorrupt,
    SessionError,
    SessionFailed,
    SystemClosed,
    UnknownMessage,
    WavebreakError,
)
from ..messages.events import (
    Delta,
    Entry,
    Event,
    MessageEnded,
    Progressed,
    Said,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ..messages.policies import POLICIES, Now, Policy
from ..messages.reasons import Reason, TurnOutcome
from ..messages.view import SessionView
from .actor import AsyncioActor, Lifecycle
from .control import RuntimeControl
from .current import hook_of
from .exit import Exit, ExitKind
from .machine.evolve import fold
from .machine.reports import advance
from .machine.state import Rules, SessionState, Status, due, view_of
from .machine.table import decide
from .mailbox import Envelope, Lane
from .release import Releases
from .requests import (
    AbandonRuntime,
    Barrier,
    OutcomeRequest,
    ReadRequest,
    SendRequest,
    ShutdownRequest,
    StartRuntime,
    StopAgain,
    StopRequest,
    StopResult,
)
from .steps import is_awaitable
from .turn_engine import TurnInput
from .waiters import Waiters

if TYPE_CHECKING:
    import asyncio

    from ..journal.base import Commit, Journal
    from ..messages.ids import SessionKey
    from ..messages.message import Delivery, SessionMessage
    from ..messages.records import CallRecord, PartialResults
    from .future import Future
    from .hub import EventHub
    from .mailbox import Mailbox
    from .steps import Step


_STOPPED = Exit(ExitKind.NORMAL, None, "stop")


class Services(NamedTuple):
    """What a session is handed by whoever starts it.

    Args:
        policy: of messages that bring none.
        now: the clock, in seconds since the epoch.
        new_uid: makes up a session's uid.
        runtimes: tells the runtime supervisor.
        deliver: hands a delivery on, once it may leave.
    """

    journal: Journal
    rules: Rules
    policy: Policy
    hub: EventHub
    now: Callable[[], float]
    new_uid: Callable[[], str]
    runtimes: Callable[[StartRuntime | AbandonRuntime], None]
    deliver: Callable[[SessionKey, Delivery], None]


class _JournalLost(NamedTuple):
    """The journal could not say whether it has what was appended."""

    error: Exception


class _Redeliver(NamedTuple):
    """What was on its way to the user when this incarnation took over.

    Handed on behind what already waits in the mailbox: its acknowledgement may be there.
    """

    outbox: tuple[Delivery, ...]


class _Hook(NamedTuple):
    """A program's hook, to be called as a message of its own."""

    function: Callable[[Any], Any]
    argument: Any


class SessionActor(AsyncioActor):
    """One conversation: decides what a message does, records it, and carries it out.

    Subclass it for hooks (``on_start``, ``on_stop``, ``on_failure``, ``on_receive`` for messages
    of your own by ``session.tell`` and ``session.ask``, ``choose_policy``, ``on_interrupted``,
    ``on_turn_ended``), and give the class to ``ActorSystem(..., session_actor=...)``.
    """

    __slots__ = (
        "_choosing",
        "_commit",
        "_control",
        "_due",
        "_key",
        "_releases",
        "_services",
        "_shown",
        "_timer",
        "_waiters",
        "state",
    )

    def __init__(self, key: SessionKey, services: Services, mailbox: Mailbox) -> None:
        super().__init__(mailbox=mailbox)
        self._key = key
        self._services = services
        self.state = SessionState(key)
        self._control: RuntimeControl | None = None
        self._commit: Commit | None = None
        self._releases: Releases | None = None  # until a commit has to be waited for
        self._waiters = Waiters()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._shown = ""
        self._choosing: SendRequest | None = None

    # --- hooks ---

    def choose_policy(
        self, message: SessionMessage, view: SessionView
    ) -> Policy | Awaitable[Policy]:
        """Choose the policy of a message that brings none; plain or async.

        While an async choice is under way, the messages behind it wait.
        """
        del message, view
        return self._services.policy

    def on_interrupted(self, partial_results: PartialResults) -> Any:
        """The running turn was interrupted, and left this; plain or async."""

    def on_turn_ended(self, event: TurnEnded) -> Any:
        """A turn ended, in whatever way, and that is durable; plain or async."""

    @property
    def view(self) -> SessionView:
        """The session as choosers and hooks may see it."""
        return view_of(self.state)

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
        state = snapshot if isinstance(snapshot, SessionState) else self.state
        try:
            state = fold(state, recorded.entries)
        except Exception as error:  # noqa: BLE001 - this session is quarantined, no other
            self._quarantine(error)
        else:
            # Whatever it was doing, an earlier incarnation did: this one takes over by `Open`.
            self.state = state._replace(status=Status.RECOVERING)

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

    # --- messages ---

    def handle(self, envelope: Envelope) -> Any:
        """Handle what the framework sends here; all else is the program's, by ``on_receive``."""
        message: object = envelope.message
        kind = type(message)
        if kind is Progress:
            self._go_on(cast("Progress", message))
            return None
        if kind in _COMMANDS:
            self._apply(cast("Command", message))
            return None
        handler = self._HANDLERS.get(kind)
        if handler is None:
            result = super().handle(envelope)
            return result if result is None or not is_awaitable(result) else self._hooked(result)
        return handler(self, message, envelope.stamp)

    def _actor_end(
        self, ended: Exit, envelope: Envelope | None = None, result: object = None
    ) -> Step | None:
        if envelope is not None and ended.cause is not None:
            self._leave(envelope.message, ended.cause)
        return super()._actor_end(ended, envelope, result)

    def _leave(self, request: object, error: BaseException) -> None:
        """Answer who asked for what ends this incarnation: nobody is left waiting."""
        if isinstance(request, SendRequest):
            unknown = AcceptanceUnknown(request.message.message_id)
            unknown.__cause__ = error
            request.accepted.try_set_error(unknown)
        elif isinstance(request, StopRequest | StopAgain):
            request.stopped.try_set_error(self._unconfirmed(error))
        elif isinstance(request, OutcomeRequest):
            self._ask_again(request)
        elif isinstance(request, ShutdownRequest):
            self._waiters.shutdown = request  # passed on with the others
        elif isinstance(request, ReadRequest):
            request.state.try_set_error(error)

    def _unconfirmed(self, cause: BaseException | None = None) -> SessionError:
        msg = f"it is not known whether the stop of session {str(self._key)!r} counts: stop again"
        error = SessionError(msg)
        error.__cause__ = cause
        return error

    def _is_failed(self, waiter: Future[Any]) -> bool:
        """Whether the journal is corrupt; then there is no answer but this."""
        if self.state.status is not Status.FAILED:
            return False
        msg = f"the journal of session {str(self._key)!r} is corrupt: repair it, then resume"
        waiter.try_set_error(SessionFailed(msg))
        return True

    def _on_send(self, request: SendRequest, stamp: int) -> Awaitable[None] | None:
        if request.policy is None and type(self).choose_policy is not SessionActor.choose_policy:
            return self._choose_and_send(request, stamp)
        self._send(request, request.policy or self._services.policy, stamp)
        return None

    async def _choose_and_send(self, request: SendRequest, stamp: int) -> None:
        self._choosing = request
        policy = await self._chosen(request.message)
        self._choosing = None
        if self.lifecycle is not Lifecycle.STOPPED:  # else it was given up meanwhile, and answered
            self._send(request, policy, stamp)

    async def _chosen(self, message: SessionMessage) -> Policy:
        try:
            chosen = self.choose_policy(message, self.view)
            policy = await self._hooked(chosen) if inspect.isawaitable(chosen) else chosen
        except Exception as error:  # noqa: BLE001 - no message is lost because a chooser is wrong
            logger.opt(exception=error).error("choose_policy of {} failed", self)
        else:
            if type(policy) in POLICIES:
                return policy
            logger.error("choose_policy of {} chose {!r}, which is no policy", self, policy)
        return self._services.policy

    def _send(self, request: SendRequest, policy: Policy, stamp: int) -> None:
        now = self._services.now()
        message = request.message
        if self._waiters.shutdown is not None and self._came_too_late(request):
            return
        if not message.received_at:
            message = message.trusted({**message.__dict__, "received_at": now})
        deadline_at = None if request.deadline is None else now + request.deadline
        command = Send(now, stamp, message, policy, deadline_at, request.fingerprint)
        try:
            request.receipt.duplicate = not self._apply(command)
        except WavebreakError as error:
            request.accepted.try_set_error(error)
            return
        if self._releases is None:
            request.accepted.try_set(request.receipt)
            return
        self._releases.when_durable(
            partial(request.accepted.try_set, request.receipt),
            partial(request.accepted.try_set_error, AcceptanceUnknown(message.message_id)),
        )

    def _came_too_late(self, request: SendRequest) -> bool:
        """Whether the session has come to rest for good; what it knows it still confirms."""
        state = self.state
        if state.status is not Status.IDLE or request.message.message_id in state.remembered:
            return False
        msg = f"session {str(self._key)!r} is closing: send the message again after restart"
        request.accepted.try_set_error(SystemClosed(msg))
        return True

    def _on_stop(self, request: StopRequest, stamp: int) -> None:
        if self._is_failed(request.stopped):
            return
        now, running = self._services.now(), self.state.running
        self._apply(Stop(now, stamp, request.how, request.backlog, request.reason, request.detail))
        if running is None or request.from_within:
            self._tell_stopped(request, StopResult(running.number if running else None, None))
        else:
            self._waiters.add_stop(request, stamp, running.number)

    def _on_stop_again(self, again: StopAgain, stamp: int) -> None:
        """The turn ended when this incarnation took over, unless the stop was lost with it."""
        running, request = self.state.running, again.request
        if running is None or running.number != again.turn:
            ended = StopResult(again.turn, TurnOutcome.STOPPED)
            known = self.state.turn >= again.turn
            self._tell_stopped(request, ended if known else StopResult(None, None))
        elif running.stop is not None and running.stop.backlog is not None:
            self._waiters.add_stop(request, again.stamp, again.turn)
        else:
            self._on_stop(request, min(again.stamp, stamp))  # a new mailbox counts anew

    def _tell_stopped(self, request: StopRequest, result: StopResult) -> None:
        stopped = request.stopped
        self._when_durable(
            partial(stopped.try_set, result),
            lambda: stopped.try_set_error(self._unconfirmed()),
        )

    def _ask_again(self, request: OutcomeRequest | ReadRequest) -> None:
        """Leave a question to the next incarnation, which knows what the journal has."""
        self.actor_inbox.put(Envelope(request), bounded=False)

    def _on_outcome(self, request: OutcomeRequest, _stamp: int) -> None:
        if self._is_failed(request.outcome):
            return
        known = self.state.remembered.get(request.message_id)
        if known is None:
            msg = (
                f"session {str(self._key)!r} does not know message {request.message_id!r}: it "
                "was never accepted, or so long ago that it is forgotten"
            )
            request.outcome.try_set_error(UnknownMessage(msg))
        elif known.outcome is None:
            self._waiters.add_outcome(request)
        else:
            self._when_durable(
                partial(request.outcome.try_set, known.outcome), partial(self._ask_again, request)
            )

    def _on_read(self, request: ReadRequest, _stamp: int) -> None:
        if self._is_failed(request.state):
            return
        saved = self.state.saved
        try:
            state = request.model() if saved is None else request.model.model_validate(saved)
        except Exception as error:  # noqa: BLE001 - a program's validators raise what they like
            request.state.try_set_error(error)
        else:
            self._when_durable(
                partial(request.state.try_set, state), partial(self._ask_again, request)
            )

    def _on_streamed(self, streamed: Streamed, _stamp: int) -> None:
        running = self.state.running
        if running is None or streamed.fence != self.state.fence or running.stop is not None:
            return
        tenant, session_id = self._key
        turn, attempt = running.number, running.attempt
        if streamed.restart:
            self._shown = ""
            restarted = TurnRestarted(
                tenant=tenant,
                session_id=session_id,
                turn=turn,
                attempt=attempt,
                at=streamed.at,
                cause="this attempt shows another preview than the one before",
                discard=True,
            )
            self._publish(restarted)
        self._shown += streamed.text
        self._publish(
            Delta(
                tenant=tenant,
                session_id=session_id,
                turn=turn,
                attempt=attempt,
                at=streamed.at,
                text=streamed.text,
            )
        )

    def _publish(self, event: Event) -> None:
        self._when_durable(partial(self._services.hub.publish, self._key, event))

    def _on_barrier(self, barrier: Barrier, _stamp: int) -> None:
        if not barrier.reached.done():
            barrier.reached.set_result(None)

    def _on_exit(self, command: RuntimeExit, _stamp: int) -> None:
        if self._control is not None and self._control.fence == command.fence:
            self._control.ended = True
        self._apply(command)

    def _on_shutdown(self, request: ShutdownRequest, _stamp: int) -> None:
        self._waiters.shutdown = request
        self._apply(Shutdown(self._services.now(), request.how))
        self._tell_quiet()

    async def _hooked(self, result: Awaitable[Any]) -> Any:
        """Await what a program's hook gave; the session handles nothing meanwhile."""
        with hook_of(self._key):
            return await result

    async def _on_hook(self, hook: _Hook, _stamp: int) -> None:
        try:
            result = hook.function(hook.argument)
            if inspect.isawaitable(result):
                await self._hooked(result)
        except Exception as error:  # noqa: BLE001 - a hook's error is not the conversation's
            logger.opt(exception=error).error("{} of {} failed", hook.function.__name__, self)

    def _on_journal_lost(self, lost: _JournalLost, _stamp: int) -> None:
        raise lost.error

    # --- decide, append, evolve, carry out ---

    def _apply(self, command: Command) -> bool:
        """Let the machine decide, record what happened, carry it out; whether anything did."""
        services = self._services
        decision = decide(self.state, command, services.rules)
        entries = decision.entries
        if not entries:
            return False
        commit = self._commit = services.journal.append(self._key, entries, decision.history)
        self.state = decision.state
        for entry in entries:
            act = self._AT_ONCE.get(type(entry))
            if act is not None:
                act(self, entry)
        if self._releases is None and commit.done and commit.error is None:
            self._release(entries)
        else:
            self._hold(commit, entries)
        self._arm_timer()
        return True

    def _hold(self, commit: Commit, entries: Sequence[Entry]) -> None:
        """Let out what these entries allow when they are durable, in order."""
        if self._releases is None:
            self._releases = Releases(self._journal_lost)
        self._releases.after(commit, partial(self._release_later, entries))

    def _release_later(self, entries: Sequence[Entry]) -> None:
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

    def _go_on(self, report: Progress) -> None:
        """As :meth:`_apply`, in 1.7 instead of 2.7 µs: the runtime reports at every wave."""
        further = advance(self.state, report)
        if further is None:
            self._apply(report)
            return
        state, entry = further
        services = self._services
        commit = self._commit = services.journal.append(self._key, (entry,))
        self.state = state
        self._admit_wave(entry)
        if self._releases is not None or not commit.done or commit.error is not None:
            self._hold(commit, (entry,))
        elif services.hub.watched:
            self._tell_subscribers(entry)

    def _release(self, entries: Sequence[Entry]) -> None:
        """Let out what these entries allow; they are durable."""
        watched = self._services.hub.watched
        for entry in entries:
            act = self._WHEN_DURABLE.get(type(entry))
            if act is not None:
                act(self, entry)
            if watched:
                self._tell_subscribers(entry)

    def _tell_subscribers(self, entry: Entry) -> None:
        hub, key = self._services.hub, self._key
        for event in entry.events(key) if isinstance(entry, Progressed) else (entry,):
            hub.publish(key, event)

    def _journal_lost(self, error: Exception) -> None:
        """Nobody can say what the journal has: end, so that the next incarnation folds it."""
        with contextlib.suppress(pykka.ActorDeadError):  # there is none: the system closes
            self.actor_inbox.put(Envelope(_JournalLost(error)), Lane.CONTROL)

    # at once, within the process

    def _start_runtime(self, event: TurnStarted | TurnRestarted) -> None:
        state = self.state
        running = state.running
        if running is None or running.number != event.turn:
            return
        control = self._control = RuntimeControl(
            state.fence, self.actor_inbox, self, self._services.now
        )
        again = isinstance(event, TurnRestarted)
        if not again:
            self._shown = ""
        given = TurnInput(
            key=self._key,
            uid=state.uid,
            number=running.number,
            attempt=running.attempt,
            messages=tuple([waiting.message for waiting in running.messages]),
            senders=running.senders,
            previous=state.previous,
            saved=state.saved,
            log=running.log,
            unknown=self._unknown,
            streamed=self._shown,
        )
        delay = event.delay if isinstance(event, TurnRestarted) else 0.0
        self._services.runtimes(StartRuntime(self._key, given, control, delay))

    def _unknown(self) -> tuple[CallRecord, ...]:
        return self.state.unknown

    def _admit_wave(self, entry: Progressed) -> None:
        control, commit = self._control, self._commit
        if entry.wave and control is not None and commit is not None:
            control.admit(entry.wave, commit)

    def _tell_stop(self, event: StopRequested) -> None:
        if self._control is not None and self.state.running is not None:
            self._control.tell_stop(event.how, event.reason)

    def _let_go(self, _event: TurnEnded) -> None:
        """The turn has ended; a runtime that has not is fenced, and nobody waits for it."""
        control, self._control = self._control, None
        if control is not None and not control.ended:
            self._services.runtimes(AbandonRuntime(self._key, control))

    # when durable, to the outside

    def _tell_outcome(self, event: MessageEnded) -> None:
        if self._waiters.waits_for(event.message_id):
            known = self.state.remembered.get(event.message_id)
            if known is not None and known.outcome is not None:
                self._waiters.tell_outcome(event.message_id, known.outcome)

    def _tell_turn_ended(self, event: TurnEnded) -> None:
        self._waiters.tell_turn_ended(event)
        self._post(event)
        if event.outcome is not TurnOutcome.INTERRUPTED:
            self._services.journal.snapshot(self._key, self.state)
        self._call_hooks(event)
        self._tell_quiet()

    def _post(self, event: Said | TurnEnded) -> None:
        if event.delivery_id is not None:
            for delivery in self.state.outbox:
                if delivery.delivery_id == event.delivery_id:
                    self._services.deliver(self._key, delivery)

    def _tell_quiet(self) -> None:
        if self._waiters.shutdown is None:
            return
        if self.state.running is None or self.state.status is Status.FAILED:
            self._when_durable(self._waiters.tell_quiet)

    def _call_hooks(self, event: TurnEnded) -> None:
        kind, left = type(self), event.partial_results
        interrupted = event.outcome is TurnOutcome.INTERRUPTED and left is not None
        if interrupted and kind.on_interrupted is not SessionActor.on_interrupted:
            self._later(_Hook(self.on_interrupted, left))
        if kind.on_turn_ended is not SessionActor.on_turn_ended:
            self._later(_Hook(self.on_turn_ended, event))

    def _later(self, hook: _Hook) -> None:
        """Call a program's hook as a message of its own, which may take its time."""
        self.actor_inbox.put(Envelope(hook), Lane.SUPERVISION)

    # --- time ---

    def _arm_timer(self) -> None:
        when = due(self.state)
        if when == self._due:
            return
        self._due = when
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when is not None:
            delay = max(0.0, when - self._services.now())
            self._timer = self._loop.call_later(delay, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = self._due = None
        if self.lifecycle is Lifecycle.RUNNING:
            self.actor_inbox.put(Envelope(TimeIsUp(self._services.now())), bounded=False)

    def _on_time_is_up(self, command: TimeIsUp, _stamp: int) -> None:
        when = due(self.state)
        if not self._apply(command) and when is not None and when > command.at:
            self._arm_timer()  # loops may call a timer a little early

    # --- the end of this incarnation ---

    def _actor_loop_teardown(
        self, ended: Exit = _STOPPED, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._control is not None:
            self._control.tell_stop(Now(), Reason.CRASHED)
        if self._releases is not None:
            self._releases.let_go()
        if self._choosing is not None and ended.cause is not None:
            self._leave(self._choosing, ended.cause)
        if ended.kind is ExitKind.NORMAL and self._waiters.shutdown is not None:
            self._waiters.detach(self._key)
        else:
            self._waiters.pass_on(self.actor_inbox)
        super()._actor_loop_teardown(ended, envelope, result)

    _AT_ONCE: ClassVar[dict[type, Callable[[SessionActor, Any], None]]] = {
        TurnStarted: _start_runtime,
        TurnRestarted: _start_runtime,
        Progressed: _admit_wave,
        StopRequested: _tell_stop,
        TurnEnded: _let_go,
    }
    """What follows from an event within the process: nothing that anybody outside could see."""

    _WHEN_DURABLE: ClassVar[dict[type, Callable[[SessionActor, Any], None]]] = {
        MessageEnded: _tell_outcome,
        Said: _post,
        TurnEnded: _tell_turn_ended,
    }
    """What follows from an event outside: nothing leaves before it is durable."""

    _HANDLERS: ClassVar[dict[type, Callable[[SessionActor, Any, int], Any]]] = {
        SendRequest: _on_send,
        StopRequest: _on_stop,
        OutcomeRequest: _on_outcome,
        ReadRequest: _on_read,
        ShutdownRequest: _on_shutdown,
        Barrier: _on_barrier,
        Streamed: _on_streamed,
        RuntimeExit: _on_exit,
        StopAgain: _on_stop_again,
        TimeIsUp: _on_time_is_up,
        _Hook: _on_hook,
        _Redeliver: _on_redeliver,
        _JournalLost: _on_journal_lost,
    }


_COMMANDS = frozenset(
    {
        DeliveryDone,
        Save,
        Say,
        StepDone,
        TokenCancelled,
    }
)
"""What goes to the machine as it is."""
