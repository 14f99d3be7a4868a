"""The runtime supervisor: starts runtimes, notices how each ended, collects what it finished."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from loguru import logger

from ..actors.actor import AsyncioActor
from ..actors.exit import Exit
from ..actors.failures import in_words
from ..actors.mailbox import Envelope, Lane
from ..actors.requests import AbandonRuntime, EndRuntime, StartCompensation
from ..actors.runtime import Abandon
from ..actors.turn_engine import TurnEngine
from ..messages.commands import RuntimeExit
from ..messages.making import maker
from ..messages.policies import Now
from ..messages.reasons import Reason
from .bulletin import Readers
from .children import Report, ReportKind
from .compensations import CompensationDown, Compensations
from .policy import Action
from .runtimes import Child, RuntimeId

if TYPE_CHECKING:
    from ..actors.attempt_input import Environment
    from ..actors.runtime import RuntimeActor
    from .restart_policy import RestartPolicy
    from .runtimes import Runtimes


_new_exit = maker(RuntimeExit)


class RuntimeSupervisor(AsyncioActor):
    """Supervises the runtimes of all sessions: a budget for each turn, never an escalation.

    At most one runtime of a session is not fenced: an order for a session whose runtime still
    lives fences that one, and waits for its end for ``grace`` seconds. When it dies itself, the
    runtimes go on, and its next life takes them over.

    Args:
        runtimes: those that there are.
        runtime: the class of runtimes.
        environment: what all turns share.
        policy: how often a turn is attempted.
        grace: seconds to wait for the runtime that another incarnation of a session left.
        compensate_timeout: seconds one try to undo a call may take.
        reports: who wants to be told of ends.
    """

    def __init__(
        self,
        runtimes: Runtimes,
        runtime: type[RuntimeActor],
        environment: Environment,
        policy: RestartPolicy,
        grace: float = 5.0,
        *,
        compensate_timeout: float = 60.0,
        reports: Readers[Report],
    ) -> None:
        super().__init__(mailbox=runtimes.place.mailbox)
        self._runtimes = runtimes
        self._runtime = runtime
        self._environment = environment
        self._policy = policy
        self._grace = grace
        self._reports = reports
        self._children = runtimes.children
        self._abandoned = runtimes.abandoned
        self._compensations = Compensations(
            runtimes.undoings, environment, policy, compensate_timeout, runtimes.hand
        )

    def on_start(self) -> None:
        """Take over the runtimes that are there; what is being undone goes on by itself."""
        self._runtimes.place.take(self)
        for child in (*self._children.values(), *self._abandoned):
            self._adopt(child)

    def _adopt(self, child: Child) -> None:
        child.supervisor = self
        runtime, timer = child.runtime, child.timer
        ended = _NOT_STARTED if runtime is None else runtime._actor_exit  # noqa: SLF001
        if timer is not None:
            timer.cancel()
            then = self._start_child if runtime is None else self._give_up
            child.timer = self._loop.call_at(timer.when(), then, child)
            if runtime is None:
                child.control.on_told = lambda _how: self._cancel_start(child)
        elif ended is not None:
            # If that was told before, it waits in the mailbox; and this one does nothing more.
            self._report_down(child, ended)

    @property
    def abandoned(self) -> int:
        """How many runtimes nobody waits for any more, and which have not ended."""
        return len(self._abandoned)

    @property
    def running(self) -> int:
        """How many runtimes are at work or about to start."""
        return len(self._children)

    def handle(self, envelope: Envelope) -> Any:
        """Start, abandon, or take note of an end."""
        message: object = envelope.message
        handler = self._actor_direct.get(type(message))
        return super().handle(envelope) if handler is None else handler(self, message)

    def _compensate(self, order: StartCompensation) -> None:
        self._compensations.start(order)

    def _compensation_down(self, message: CompensationDown) -> None:
        self._compensations.down(message, self._loop)

    # --- starting ---

    def _start_or_end(self, child: Child) -> None:
        if child.ended is None:
            self._order(child)
        else:
            self._down(child)

    def _order(self, order: Child) -> None:
        before = self._children.get(order.key)
        if before is None:
            self._enter(order)
            return
        # Another incarnation of the session left it: it may not work beside the new one.
        before.successor = order
        before.control.tell_stop(Now(), Reason.CRASHED)
        if before.runtime is None:
            self._cancel_start(before)
        elif before.timer is None:
            before.timer = self._loop.call_later(self._grace, self._give_up, before)

    def _enter(self, child: Child) -> None:
        self._children[child.key] = child
        child.supervisor = self
        control = child.control
        if child.delay > 0 and control.how is None:
            child.timer = self._loop.call_later(child.delay, self._start_child, child)
            # Told to stop before it began: there is no runtime to find that out by itself.
            control.on_told = lambda _how: self._cancel_start(child)
        else:
            self._start_child(child)

    def _start_child(self, child: Child) -> None:
        child.timer = child.control.on_told = None
        try:
            child.engine = TurnEngine(child.given, child.control, self._environment)
            child.runtime = self._runtime._actor_begin(  # noqa: SLF001 - one of ours
                child.engine, child, self._actor_context, at_once=child.at_once
            )
        except BaseException as error:  # noqa: BLE001 - a start that fails is an end like any other
            logger.opt(exception=error).error("a runtime of session {} did not start", child.key)
            self._report_down(child, Exit.of(error, "start"))

    def _report_down(self, child: Child, ended: Exit) -> None:
        child.ended = ended
        with contextlib.suppress(pykka.ActorDeadError):  # the system was closed
            self.hand(child)

    def _cancel_start(self, child: Child) -> None:
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None
            self._report_down(child, _NOT_STARTED)

    # --- ending ---

    def told(self, child: Child) -> None:
        """Take note of a runtime's end, and begin what follows; for who has written again, at once.

        Beside many sessions a turn of the loop is what the wait consists of.
        """
        runtimes, control = self._runtimes, child.control
        if control.how is None or runtimes.orders is not None:
            self.hand(child)  # what follows in the go of another end has its turn later, too
            return
        orders = runtimes.orders = []
        try:
            self.hand(child)
            # Not before: an agent that begins now finds its session, and this actor, free.
            at_once = len(orders)
            for place, order in enumerate(orders):
                if place < at_once and isinstance(order, Child) and order.ended is None:
                    self._begin_at_once(order)
                else:
                    runtimes.hand(order)
        finally:
            runtimes.orders = None

    def _begin_at_once(self, child: Child) -> None:
        child.at_once = True
        self._runtimes.hand(child)
        child.at_once = False  # if it has to wait after all, it is as any other
        if child.runtime is not None:
            child.runtime._actor_run_at_once()  # noqa: SLF001 - one of ours

    def _down(self, child: Child) -> None:
        ended = child.ended
        assert ended is not None, "it is what this is told for"
        if child.is_down:
            return
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None
        self._abandoned.discard(child)
        told = self._exit_of(child, ended)
        if self._reports:
            self._reports.tell(_report_of(child, ended, told))  # before the session goes on
        runtimes = self._runtimes
        if runtimes.orders is not None:
            self._report(child, told)
            return
        orders = runtimes.orders = []
        try:
            self._report(child, told)
            while orders:
                order = orders.pop(0)
                self._actor_direct[type(order)](self, order)
        finally:
            runtimes.orders = None
            for order in orders:  # only if this actor dies of an error: for its next life
                runtimes.hand(order)

    def _report(self, child: Child, told: RuntimeExit) -> None:
        child.control.report_exit(told)
        if child.engine is not None:
            child.engine.release()
        child.is_down = True
        self._leave(child)

    def _leave(self, child: Child) -> None:
        """Clean up by identity: a newer runtime of the session may be there already."""
        key = child.key
        if self._children.get(key) is child:
            del self._children[key]
            if child.successor is not None:
                self._enter(child.successor)
        if child.over is not None:
            child.over()
            child.over = None

    def _exit_of(self, child: Child, ended: Exit) -> RuntimeExit:
        """How the runtime ended, with what it had finished, and whether another may follow."""
        engine = child.engine
        end = engine.end if engine is not None else None
        error = ended.cause if end is None else end.error
        crashed = error is not None and self._is_crash(error)
        retry_after = (
            self._policy.retry_after(child.given.attempt, random.random())  # noqa: S311
            if crashed
            else None
        )
        return _new_exit(
            (
                self._environment.now(),
                child.control.fence,
                end.reply if end is not None else None,
                error is None and (end is None or end.interrupted),
                in_words(error) if error is not None else "",
                crashed,
                retry_after,
                engine.progress() if engine is not None else None,
                engine.total_waves if engine is not None else None,
            )
        )

    def _is_crash(self, error: BaseException) -> bool:
        """An agent's own exception fails its turn at once; all else is a death."""
        return not isinstance(error, Exception) or self._environment.retryable(error)

    def _abandon(self, message: AbandonRuntime) -> None:
        child = self._children.get(message.key)
        if child is None or child.control is not message.control:
            return
        message.control.tell_stop(Now(), Reason.STOPPED)
        self._let_go(child)

    def _end(self, message: EndRuntime) -> None:
        child = self._children.get(message.key)
        if child is None or child.control is not message.control:
            message.over()
            return
        child.over = message.over
        if child.runtime is None:
            self._cancel_start(child)
        elif child.timer is None:
            child.timer = self._loop.call_later(message.within, self._give_up, child)

    def _give_up(self, child: Child) -> None:
        child.timer = None
        self._let_go(child)

    def _let_go(self, child: Child) -> None:
        """Wait for it no longer; it is fenced, and counted until it ends."""
        if child.runtime is not None and child.runtime.actor_ref.is_alive():
            logger.warning("a runtime of session {} is abandoned", child.key)
            if self._reports:
                self._reports.tell(_report_of(child, None, None))
            self._abandoned.add(child)
            child.runtime.actor_ref.put(Abandon(), Lane.CONTROL)
        self._leave(child)

    _actor_direct: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {
        Child: _start_or_end,
        AbandonRuntime: _abandon,
        EndRuntime: _end,
        StartCompensation: _compensate,
        CompensationDown: _compensation_down,
    }

    async def on_stop(self) -> None:  # type: ignore[override]
        """End what still runs, if the system does."""
        if self._runtimes.place.ends:
            await self._runtimes.end()


def _report_of(child: Child, ended: Exit | None, told: RuntimeExit | None) -> Report:
    """What a runtime came to, with all that its turn had finished by then."""
    given, control, engine = child.given, child.control, child.engine
    end = engine.end if engine is not None else None
    cause = end.error if end is not None else ended.cause if ended is not None else None
    restarts = told is not None and told.retry_after is not None
    return Report(
        ReportKind.ABANDONED if told is None else ReportKind.ENDED,
        RuntimeId(*given.key, given.number, given.attempt),
        None if child.runtime is None else child.runtime._actor_own_ref,  # noqa: SLF001
        ended,
        cause,
        Action.RESTART if restarts else Action.DROP,
        control.partial_results(told.progress if told is not None else None),
    )


_NOT_STARTED = Exit.of(InterruptedError("told to stop before it was started"), "start")
