"""Messages that enter the session at their time: accepted, told of, and let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..messages.commands import Due, Schedule, TimeIsUp
from ..messages.errors import AcceptanceUnknown, WavebreakError
from ..messages.policies import Aside
from .actor import Lifecycle
from .answering import AnsweringActor
from .deleting import DeletingActor
from .machine.scheduling import next_due
from .machine.view import scheduled_of
from .requests import ScheduledRequest, ScheduleRequest

if TYPE_CHECKING:
    from ..messages.policies import Chooser, Policy
    from .machine.state import Scheduled


class SchedulingActor(DeletingActor):
    """Looks after the messages that are not due yet.

    The arguments are those of :class:`RecordedActor`.
    """

    __slots__ = ()

    def _open(self) -> Exception | None:
        error = super()._open()
        if self.state.scheduled:
            self._when_durable(self._have_woken)
        return error

    def rest(self) -> bool:
        """End for now, and be woken when something is due."""
        rests = super().rest()
        if rests:
            self._have_woken()
        return rests

    def _have_woken(self) -> None:
        """See to it that the session is started when its next message is due, if it rests then."""
        scheduled, wake_at = self.state.scheduled, self._services.wake_at
        if scheduled and wake_at is not None:
            wake_at(self._key, scheduled[0].due_at)

    def _leave(self, request: object, error: BaseException) -> None:
        if isinstance(request, ScheduleRequest):
            unknown = AcceptanceUnknown(request.message.message_id)
            unknown.__cause__ = error
            request.accepted.try_set_error(unknown)
        elif isinstance(request, ScheduledRequest):
            self._ask_again(request)
        else:
            super()._leave(request, error)

    # --- accepted now ---

    def _on_schedule(self, request: ScheduleRequest, _stamp: int) -> None:
        services, now, message = self._services, self._services.now(), request.message
        due_at = max(now, request.when + now if request.is_delay else request.when)
        policy = request.policy
        command = Schedule(
            now,
            message,
            services.policy if policy is None else policy,
            policy is None,
            due_at,
            None if request.deadline is None else due_at + request.deadline,
            request.fingerprint,
            request.priority,
        )
        if self._waiters.shutdown is not None and self._came_too_late(request):
            return
        try:
            request.receipt.duplicate = not self._apply(command)
        except WavebreakError as error:
            services.counters.count("refused_messages", error=type(error).__name__)
            request.accepted.try_set_error(error)
            return
        self._when_durable(
            partial(self._scheduled, request),
            partial(request.accepted.try_set_error, AcceptanceUnknown(message.message_id)),
        )

    def _scheduled(self, request: ScheduleRequest) -> None:
        self._have_woken()
        request.accepted.try_set(request.receipt)

    def _on_scheduled(self, request: ScheduledRequest, _stamp: int) -> None:
        if not self._is_failed(request.answer):
            self._when_durable(
                partial(request.answer.try_set, scheduled_of(self.state)),
                partial(self._ask_again, request),
            )

    # --- in its time ---

    def _on_time_is_up(self, command: TimeIsUp, stamp: int) -> Awaitable[None] | None:
        super()._on_time_is_up(command, stamp)
        while self._waiters.shutdown is None:
            one = next_due(self.state)
            if one is None or one.due_at > command.at:
                break
            later = self._let_in(one)
            # One after the other: behind what waits already the timer of the next one is due.
            if later is not None or self.actor_inbox.pending:
                return later
        return None

    def _let_in(self, one: Scheduled) -> Awaitable[None] | None:
        services, policy = self._services, one.policy
        chooser: Chooser | None = None
        if policy is None:
            policy = services.policy
            own = type(self).choose_policy is not AnsweringActor.choose_policy
            chooser = self.choose_policy if own or services.chooser is not None else None
        asked = services.who_may_interrupt is not None and self._interrupts(policy)
        if chooser is not None or asked:
            return self._choose_and_let_in(one, policy, chooser)
        self._enter(one, policy)
        return None

    async def _choose_and_let_in(
        self, one: Scheduled, policy: Policy, chooser: Chooser | None
    ) -> None:
        policy = await self._decide_policy(one.message, policy, chooser)
        if self.lifecycle is not Lifecycle.STOPPED:  # else the next incarnation lets it in
            self._enter(one, policy)

    def _enter(self, one: Scheduled, policy: Policy) -> None:
        due = Due(self._services.now(), 0, one.message, policy, one.deadline_at, "", one.priority)
        if self._apply(due) and type(policy) is Aside:
            self._when_durable(self._attend)

    SCHEDULING: ClassVar[Mapping[type, Callable[[Any, Any, int], Any]]] = {
        ScheduleRequest: _on_schedule,
        ScheduledRequest: _on_scheduled,
        TimeIsUp: _on_time_is_up,
    }
