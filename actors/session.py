"""The session's actor: the pure machine's hands."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

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
from ..messages.errors import AcceptanceUnknown, JournalCorrupt, UnknownMessage, WavebreakError
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
from ..messages.policies import Now, Policy
from ..messages.reasons import Reason, TurnOutcome
from ..messages.view import SessionView
from .actor import AsyncioActor, Lifecycle
from .control import RuntimeControl
from .exit import Exit, ExitKind
from .machine.evolve import fold
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
    StopRequest,
    StopResult,
)
from .turn_engine import TurnInput
from .waiters import Waiters

if TYPE_CHECKING:
    import asyncio

    from ..journal.base import Commit, Journal
    from ..messages.ids import SessionKey
    from ..messages.message import Delivery, SessionMessage
    from ..messages.records import CallRecord, PartialResults
    from .hub import EventHub
    from .mailbox import Mailbox


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
        self._releases = Releases(self._journal_lost)
        self._waiters = Waiters()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._shown = ""

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
        recorded = self._services.journal.load(self._key)
        if isinstance(recorded, Recorded):
            self._loaded(recorded, None)
        else:
            self._actor_go((recorded, self._loaded))

    def _loaded(self, recorded: Recorded | None, error: BaseException | None) -> None:
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

    def _actor_loop_running(self) -> None:
        super()._actor_loop_running()
        if self.state.status is Status.FAILED:
            return
        outbox = self.state.outbox
        try:
            self._apply(Open(self._services.now(), self._services.new_uid()))
        except Exception as error:  # noqa: BLE001 - this session is quarantined, no other
            self._quarantine(error)
        for delivery in outbox:
            self._services.deliver(self._key, delivery)

    # --- messages ---

    def handle(self, envelope: Envelope) -> Any:
        """Handle what the framework sends here; all else is the program's, by ``on_receive``."""
        message: object = envelope.message
        kind = type(message)
        if kind in _COMMANDS:
            self._apply(cast("Command", message))
            return None
        handler = self._HANDLERS.get(kind)
        if handler is None:
            return super().handle(envelope)
        return handler(self, message, envelope.stamp)

    def _on_send(self, request: SendRequest, stamp: int) -> Awaitable[None] | None:
        if request.policy is None and type(self).choose_policy is not SessionActor.choose_policy:
            return self._choose_and_send(request, stamp)
        self._send(request, request.policy or self._services.policy, stamp)
        return None

    async def _choose_and_send(self, request: SendRequest, stamp: int) -> None:
        policy = self._services.policy
        try:
            chosen = self.choose_policy(request.message, self.view)
            policy = await chosen if inspect.isawaitable(chosen) else chosen
        except Exception as error:  # noqa: BLE001 - no message is lost because a chooser is wrong
            logger.opt(exception=error).error("choose_policy of {} failed", self)
        self._send(request, policy, stamp)

    def _send(self, request: SendRequest, policy: Policy, stamp: int) -> None:
        now = self._services.now()
        message = request.message
        if not message.received_at:
            message = message.trusted({**message.__dict__, "received_at": now})
        deadline_at = None if request.deadline is None else now + request.deadline
        command = Send(now, stamp, message, policy, deadline_at, request.fingerprint)
        try:
            request.receipt.duplicate = not self._apply(command)
        except WavebreakError as error:
            request.accepted.try_set_error(error)
            return
        self._releases.when_durable(
            partial(request.accepted.try_set, request.receipt),
            partial(request.accepted.try_set_error, AcceptanceUnknown(message.message_id)),
        )

    def _on_stop(self, request: StopRequest, stamp: int) -> None:
        now, running = self._services.now(), self.state.running
        self._apply(Stop(now, stamp, request.how, request.backlog, request.reason, request.detail))
        if running is None or request.from_within:
            result = StopResult(running.number if running else None, None)
            self._releases.when_durable(partial(request.stopped.try_set, result))
        else:
            self._waiters.add_stop(request)

    def _on_outcome(self, request: OutcomeRequest, _stamp: int) -> None:
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
            self._releases.when_durable(partial(request.outcome.try_set, known.outcome))

    def _on_read(self, request: ReadRequest, _stamp: int) -> None:
        saved = self.state.saved
        try:
            state = request.model() if saved is None else request.model.model_validate(saved)
        except ValueError as error:
            request.state.try_set_error(error)
        else:
            self._releases.when_durable(partial(request.state.try_set, state))

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
        self._releases.when_durable(partial(self._services.hub.publish, self._key, event))

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

    async def _on_hook(self, hook: _Hook, _stamp: int) -> None:
        try:
            result = hook.function(hook.argument)
            if inspect.isawaitable(result):
                await result
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
        if commit.done and self._releases.is_empty and commit.error is None:
            self._release(entries)
        else:
            self._releases.after(commit, partial(self._release, entries))
        self._arm_timer()
        return True

    def _release(self, entries: list[Entry]) -> None:
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
            messages=tuple(waiting.message for waiting in running.messages),
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
        if entry.wave and self._control is not None and self._commit is not None:
            self._control.admit(entry.wave, self._commit)

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
        if event.outcome is TurnOutcome.FINISHED:
            self._services.journal.snapshot(self._key, self.state)
        self._call_hooks(event)
        self._tell_quiet()

    def _post(self, event: Said | TurnEnded) -> None:
        if event.delivery_id is not None:
            for delivery in self.state.outbox:
                if delivery.delivery_id == event.delivery_id:
                    self._services.deliver(self._key, delivery)

    def _tell_quiet(self) -> None:
        if self._waiters.shutdown is not None and self.state.running is None:
            self._releases.when_durable(self._waiters.tell_quiet)

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

    # --- the end of this incarnation ---

    def _actor_loop_teardown(
        self, ended: Exit = _STOPPED, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._control is not None:
            self._control.tell_stop(Now(), Reason.CRASHED)
        if ended.kind is ExitKind.NORMAL:
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
        _Hook: _on_hook,
        _JournalLost: _on_journal_lost,
    }


_COMMANDS = frozenset(
    {
        DeliveryDone,
        Progress,
        Save,
        Say,
        StepDone,
        TimeIsUp,
        TokenCancelled,
    }
)
"""What goes to the machine as it is."""
