"""Who asked a session something, and is answered: once what it says is durable, and always."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from loguru import logger

from ..messages.commands import (
    Heard,
    Send,
    Shutdown,
    Stop,
    UndoTurn,
)
from ..messages.errors import (
    AcceptanceUnknown,
    SessionError,
    SessionFailed,
    SystemClosed,
    UnknownMessage,
    WavebreakError,
    corrupt,
)
from ..messages.making import maker
from ..messages.message import note_receipt
from ..messages.policies import INTERRUPTING, POLICIES, Aside, Enqueue, Policy
from ..messages.reasons import TurnOutcome
from ..messages.view import SessionView
from .actor import Lifecycle
from .current import hook_of, is_its_own
from .exit import NORMAL, Exit, ExitKind
from .machine.history import first_unsettled, unanswered, waiting
from .machine.state import Status
from .machine.view import view_of
from .mailbox import Envelope
from .recorded import RecordedActor, Services
from .requests import (
    HeardRequest,
    HistoryRequest,
    LookRequest,
    OutcomeRequest,
    ReadRequest,
    RollbackAgain,
    RollbackRequest,
    RollbackResult,
    ScheduledRequest,
    ScheduleRequest,
    SendRequest,
    ShutdownRequest,
    StopAgain,
    StopRequest,
    StopResult,
)
from .waiters import Waiters

if TYPE_CHECKING:
    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.message import SessionMessage
    from ..messages.policies import Chooser
    from .future import Future
    from .mailbox import Mailbox
    from .steps import Step


_new_send = maker(Send)
_FAILED: Final = Status.FAILED  # looked up once: it is asked for at every question

DECIDES_WITHIN = 10.0
"""Seconds that a chooser, or ``who_may_interrupt``, may take before it counts as failed."""


class AnsweringActor(RecordedActor):
    """Takes messages, stops and questions; nobody who asked is left waiting.

    The arguments are those of :class:`RecordedActor`.
    """

    __slots__ = ("_choosing", "_waiters")

    def __init__(self, key: SessionKey, services: Services, mailbox: Mailbox) -> None:
        super().__init__(key, services, mailbox)
        self._waiters = Waiters()
        self._choosing: SendRequest | None = None

    def choose_policy(
        self, message: SessionMessage, view: SessionView
    ) -> Policy | Awaitable[Policy]:
        """Choose the policy of a message that brings none; plain or async.

        While an async choice is under way, the messages behind it wait.
        """
        chooser = self._services.chooser
        return self._services.policy if chooser is None else chooser(message, view)

    @property
    def view(self) -> SessionView:
        """The session as choosers and hooks may see it."""
        return view_of(self.state)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way, and nobody waits for anything."""
        return self._waiters.is_empty and self._choosing is None and super().is_at_rest

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
        elif isinstance(request, RollbackRequest | RollbackAgain):
            request.rolled_back.try_set_error(self._unconfirmed(error, "rollback"))
        elif isinstance(request, OutcomeRequest | HeardRequest | HistoryRequest):
            self._ask_again(request)
        elif isinstance(request, ShutdownRequest):
            self._waiters.shutdown = request  # passed on with the others
        elif isinstance(request, ReadRequest):
            request.state.try_set_error(error)
        elif isinstance(request, LookRequest):
            request.seen.try_set_error(error)

    def _unconfirmed(self, cause: BaseException | None = None, what: str = "stop") -> SessionError:
        key = str(self._key)
        msg = f"it is not known whether the {what} of session {key!r} counts: ask for it again"
        error = SessionError(msg)
        error.__cause__ = cause
        return error

    def _is_failed(self, waiter: Future[Any]) -> bool:
        """Whether the journal is corrupt; then there is no answer but this."""
        if self.state.status is not _FAILED:
            return False
        waiter.try_set_error(SessionFailed(corrupt(self._key)))
        return True

    def _on_send(self, request: SendRequest, stamp: int) -> Awaitable[None] | None:
        services, policy = self._services, request.policy
        if policy is None:
            own = type(self).choose_policy is not AnsweringActor.choose_policy
            if own or services.chooser is not None:
                return self._choose_and_send(request, self.choose_policy, stamp)
            policy = services.policy
        elif callable(policy):
            return self._choose_and_send(request, policy, stamp)
        if services.who_may_interrupt is not None and self._interrupts(policy):
            return self._choose_and_send(request, None, stamp)
        self._send(request, policy, stamp)
        return None

    def _interrupts(self, policy: Policy) -> bool:
        return self.state.running is not None and isinstance(policy, INTERRUPTING)

    async def _choose_and_send(
        self, request: SendRequest, chooser: Chooser | None, stamp: int
    ) -> None:
        self._choosing = request
        policy = request.policy or self._services.policy
        policy = await self._decide_policy(request.message, policy, chooser)
        self._choosing = None
        if self.lifecycle is not Lifecycle.STOPPED:  # else it was given up meanwhile, and answered
            self._send(request, policy, stamp)

    async def _decide_policy(
        self, message: SessionMessage, policy: Policy | Chooser, chooser: Chooser | None
    ) -> Policy:
        """Have the program's functions say what a message does to the running turn."""
        if chooser is not None:
            policy = await self._chosen(chooser, message)
        assert not callable(policy), "a chooser was given here"
        permission = self._services.who_may_interrupt
        if (
            permission is not None
            and self._interrupts(policy)
            and not await self._permitted(permission, message)
        ):
            return Enqueue()
        return policy

    async def _permitted(
        self, permission: Callable[[SessionMessage, SessionView], Any], message: SessionMessage
    ) -> bool:
        """Whether the message may interrupt the running turn; not if that cannot be found out."""
        try:
            verdict = permission(message, self.view)
            return bool(await self._decided(verdict) if inspect.isawaitable(verdict) else verdict)
        except BaseException as error:
            if not is_its_own(error):
                raise
            logger.opt(exception=error).error("who_may_interrupt of {} failed", self)
            return False

    async def _chosen(self, chooser: Chooser, message: SessionMessage) -> Policy:
        try:
            chosen = chooser(message, self.view)
            policy = await self._decided(chosen) if inspect.isawaitable(chosen) else chosen
        except BaseException as error:
            if not is_its_own(error):
                raise
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
        note_receipt(message, now)
        deadline_at = None if request.deadline is None else now + request.deadline
        command = _new_send(
            (now, stamp, message, policy, deadline_at, request.fingerprint, request.priority)
        )
        try:
            request.receipt.duplicate = not self._apply(command)
        except WavebreakError as error:
            self._services.counters.count("refused_messages", error=type(error).__name__)
            request.accepted.try_set_error(error)
            return
        if type(policy) is Aside:
            self._when_durable(self._attend)
        if self._releases is None:
            request.accepted.try_set(request.receipt)
            return
        self._releases.when_durable(
            partial(request.accepted.try_set, request.receipt),
            partial(request.accepted.try_set_error, AcceptanceUnknown(message.message_id)),
        )

    def _attend(self) -> None:
        """Have the messages answered that wait for that beside the turns."""

    def _came_too_late(self, request: SendRequest | ScheduleRequest) -> bool:
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
        # What is being undone is not cut, and so is not waited for.
        if running is None or request.from_within or self.state.undoing is not None:
            self._tell_stopped(request, StopResult(running.number if running else None, None))
        else:
            self._waiters.add_stop(request, stamp, running.number)

    def _on_rollback(self, request: RollbackRequest, _stamp: int) -> None:
        if self._is_failed(request.rolled_back):
            return
        running = self.state.running
        self._apply(UndoTurn(self._services.now(), request.grace, request.detail))
        if running is None or request.from_within:
            turn = None if running is None else running.number
            self._tell_rolled_back(request, RollbackResult(turn, None))
        else:
            self._waiters.add_rollback(request, running.number)

    def _on_rollback_again(self, again: RollbackAgain, stamp: int) -> None:
        """The turn goes on being undone, or has ended, unless the request was lost with it."""
        state, request = self.state, again.request
        running, ended = state.running, state.ended
        if running is None or running.number != again.turn:
            is_it = ended is not None and ended.turn == again.turn
            result = RollbackResult(again.turn, None, "the session was started again meanwhile")
            if is_it and ended is not None:
                result = RollbackResult(*ended)
            self._tell_rolled_back(request, result)
        elif running.stop is not None and running.stop.fenced:
            self._waiters.add_rollback(request, again.turn)
        else:
            self._on_rollback(request, stamp)

    def _tell_rolled_back(self, request: RollbackRequest, result: RollbackResult) -> None:
        rolled_back = request.rolled_back
        self._when_durable(
            partial(rolled_back.try_set, result),
            lambda: rolled_back.try_set_error(self._unconfirmed(None, "rollback")),
        )

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

    def _ask_again(
        self,
        request: OutcomeRequest
        | ReadRequest
        | HeardRequest
        | HistoryRequest
        | LookRequest
        | ScheduledRequest,
    ) -> None:
        """Leave a question to the next incarnation, which knows what the journal has."""
        self.actor_inbox.put(Envelope(request), bounded=False)

    def _on_outcome(self, request: OutcomeRequest) -> None:
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

    def _on_heard(self, request: HeardRequest, _stamp: int) -> None:
        if self._is_failed(request.heard):
            return
        try:
            self._apply(Heard(self._services.now(), request.turn, request.characters))
        except WavebreakError as error:
            request.heard.try_set_error(error)
        else:
            self._when_durable(request.heard.try_set, partial(self._ask_again, request))

    def _on_history(self, request: HistoryRequest, _stamp: int) -> None:
        if self._is_failed(request.entries):
            return
        state = self.state
        tail: tuple[HistoryEntry, ...] = ()
        if request.unanswered:
            tail = unanswered(state, self._shown, self._services.now())
            tail = (*tail, *waiting(state.waiting, tail))
        read = self._services.histories.answer
        self._when_durable(
            partial(read, self._key, request, tail, first_unsettled(state)),
            partial(self._ask_again, request),
        )

    def _on_shutdown(self, request: ShutdownRequest, _stamp: int) -> None:
        self._waiters.shutdown = request
        self._apply(Shutdown(self._services.now(), request.how))
        self._tell_quiet()

    def _tell_quiet(self) -> None:
        if self._waiters.shutdown is None:
            return
        if self.state.running is None or self.state.status is Status.FAILED:
            self._when_durable(self._waiters.tell_quiet)

    async def _decided(self, result: Awaitable[Any]) -> Any:
        """As :meth:`_hooked`, within a bound: whatever comes waits behind it, a stop too."""
        async with asyncio.timeout(DECIDES_WITHIN):
            return await self._hooked(result)

    async def _hooked(self, result: Awaitable[Any]) -> Any:
        """Await what a program's hook gave; the session handles nothing meanwhile."""
        with hook_of(self._key):
            return await result

    def _actor_loop_teardown(
        self, ended: Exit = NORMAL, envelope: Envelope | None = None, result: object = None
    ) -> None:
        if self._choosing is not None and ended.cause is not None:
            self._leave(self._choosing, ended.cause)
        inbox = self.actor_inbox
        closed = ended.kind is ExitKind.NORMAL and self._waiters.shutdown is not None
        if closed or inbox.loop.is_closed():  # then there is no next incarnation either
            self._waiters.detach(self._key)
        else:
            self._waiters.pass_on(inbox)
        super()._actor_loop_teardown(ended, envelope, result)

    ANSWERED: ClassVar[Mapping[type, Callable[[Any, Any, int], Any]]] = {
        SendRequest: _on_send,
        StopRequest: _on_stop,
        RollbackRequest: _on_rollback,
        RollbackAgain: _on_rollback_again,
        ReadRequest: _on_read,
        HeardRequest: _on_heard,
        HistoryRequest: _on_history,
        ShutdownRequest: _on_shutdown,
        StopAgain: _on_stop_again,
    }

    ASKED: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {OutcomeRequest: _on_outcome}
    """What is asked in every turn: when it comes makes no difference."""
