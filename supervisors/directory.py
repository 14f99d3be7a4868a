"""The session directory: starts a session's actor when it is needed, and lets it go when not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from ..actors.actor import AsyncioActor
from ..actors.exit import ExitKind
from ..actors.failures import in_words
from ..messages.errors import SessionFailed
from .children import Report, ReportKind
from .door import BREAK_WITHIN, STOP_WITHIN, SessionDown, StartSession, actor_of
from .policy import Action, Budget, repetition
from .restart_policy import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ..actors.exit import Exit
    from ..actors.mailbox import Envelope
    from ..actors.recorded import Services
    from ..actors.session import SessionActor
    from ..messages.ids import SessionKey
    from .alarm import Alarm
    from .door import Cell, Door

SWEPT = 256
"""Sessions that are looked at in one go, before others of the loop have their turn."""

SWEEPS = 4
"""How often a session is looked at while it has to be idle for; so much finer is the time."""


class DirectoryRules(NamedTuple):
    """How the directory treats sessions.

    Args:
        budget: restarts of one session; one more within the period is too many.
        idle_after: seconds after which a session that does nothing is let go; None for never.
        backoff: what to wait before a restart, but for the first one.
    """

    budget: Budget
    idle_after: float | None = None
    backoff: Backoff = Backoff()


class SessionDirectory(AsyncioActor):
    """Starts sessions on first use and again after a death; a budget each, never an escalation.

    A session that is idle is let go, and comes back with the next message. When the directory dies
    itself, the sessions go on, and its next life takes them over.

    Args:
        door: where the sessions' mailboxes are.
        session_actor: the class of sessions.
        services: what they are handed.
        rules: how it treats them.
        has_runtime: whether a runtime of a session has not ended.
        tell: told of every end, see ``Report``.
        alarm: wakes sessions that rest when something of them is due.
    """

    # Sessions that begin in one turn of the loop. Of 10,000 that come at once those go on first
    # that have begun: all of them half-way through a turn take 275 MB instead of 159, and half as
    # much processor time again, the garbage collector's. With 64 the last waits twice as long.
    _actor_burst = 128

    def __init__(
        self,
        door: Door,
        session_actor: type[SessionActor],
        services: Services,
        rules: DirectoryRules,
        *,
        has_runtime: Callable[[SessionKey], bool],
        tell: Callable[[Report], None],
        alarm: Alarm,
    ) -> None:
        super().__init__(mailbox=door.place.mailbox)
        self._door = door
        self._session_actor = session_actor
        self._services = services
        self._rules = rules
        self._has_runtime = has_runtime
        self._tell = tell
        self._alarm = alarm
        self._sweeper: Any = None

    def on_start(self) -> None:
        """Take over the sessions that the one before has left."""
        door = self._door
        door.place.take(self)
        for cell in (*door.cells.values(), *door.leaving.values()):
            self._adopt(cell)
        if self._rules.idle_after is not None:
            self._sweep_later()
        self._alarm.start()

    def _adopt(self, cell: Cell) -> None:
        ref, timer = cell.ref, cell.timer
        leaving = self._door.leaving.get(cell.key) is cell
        if ref is not None and ref.exit is not None:
            self._down(SessionDown(cell, ref, ref.exit))
        elif timer is not None:
            timer.cancel()
            then = self._break_off if leaving else self._start_again
            cell.timer = self._loop.call_at(timer.when(), then, cell)
        elif ref is None:
            self._start_session(cell)

    def handle(self, envelope: Envelope) -> Any:
        """Start a session, or take note of its end."""
        message = envelope.message
        if isinstance(message, StartSession):
            return self._start_session(message.cell)
        if isinstance(message, SessionDown):
            return self._down(message)
        return super().handle(envelope)

    # --- starting ---

    def _start_session(self, cell: Cell) -> None:
        if cell.ref is not None or cell.mailbox.closed:
            return
        before = self._door.leaving.get(cell.key)
        if before is not None:
            before.successor = cell  # no second incarnation beside one that is in its on_stop
            return
        if self._door.spent and not cell.stamps:
            cell.stamps = self._door.spent.get(cell.key, ())
        cell.since = self._loop.time()
        try:
            ref = self._session_actor.start(cell.key, self._services, cell.mailbox)
        except BaseException as error:  # noqa: BLE001 - a program's own __init__, and its problem
            self._spend(cell, error)
            return
        cell.ref = ref
        ref.watch(cell)

    # --- ends ---

    def _down(self, message: SessionDown) -> None:
        cell, ref, ended = message
        if cell.ref is not ref:
            return
        cell.ref = None
        if self._door.leaving.get(cell.key) is cell:
            self._left(cell, ended)
        elif ended.kind is ExitKind.NORMAL:
            self._report(ReportKind.ENDED, cell, ref, ended=ended, action=Action.DROP)
            self._door.forward(cell)
        else:
            self._spend(cell, ended.cause, ref, ended)

    def _spend(
        self,
        cell: Cell,
        cause: BaseException | None,
        ref: Any = None,
        ended: Exit | None = None,
    ) -> None:
        """Start it again with its mailbox, or, over its budget, answer those who wait for it."""
        rules, now = self._rules, self._loop.time()
        verdict = rules.budget.spend(cell.stamps, now)
        cell.stamps = verdict.stamps
        kind = ReportKind.ENDED if ref is not None else ReportKind.START_FAILED
        if verdict.action is Action.RESTART:
            self._report(kind, cell, ref, cause=cause, ended=ended, action=Action.RESTART)
            cell.repetition = repetition(rules.backoff, cell.repetition, now - cell.since)
            self._start_later(cell)
        else:
            self._report(kind, cell, ref, cause=cause, ended=ended, action=Action.DROP)
            self._report(ReportKind.EXCEEDED, cell, cause=cause)
            self._give_session_up(cell, cause)

    def _start_later(self, cell: Cell) -> None:
        """It comes back with its mailbox, folds its journal, and fences what it left."""
        draw = random.random()  # noqa: S311 - it only spreads
        delay = self._rules.backoff.delay(cell.repetition - 1, draw) if cell.repetition else 0.0
        cell.repetition += 1
        logger.warning("session {} died and is started again in {:.1f} s", cell.key, delay)
        cell.timer = self._loop.call_later(delay, self._start_again, cell)

    def _start_again(self, cell: Cell) -> None:
        cell.timer = None
        if self._door.cells.get(cell.key) is cell:
            cell.restarts += 1
            self._start_session(cell)

    def _give_session_up(self, cell: Cell, cause: BaseException | None) -> None:
        """Let nobody wait for what does not come; a later message is one more try."""
        door, key = self._door, cell.key
        often, period = self._rules.budget
        why = in_words(cause) if cause is not None else "for no reason"
        logger.opt(exception=cause).error("session {} was restarted too often", key)
        msg = (
            f"session {str(key)!r} does not stay alive: more than {often} restarts within"
            f" {period:g} s ({why}); mend that, and send again"
        )
        error = SessionFailed(msg)
        error.__cause__ = cause
        oldest = self._loop.time() - period
        for other, stamps in tuple(door.spent.items()):
            if stamps[-1] < oldest:
                del door.spent[other]
        door.spent[key] = cell.stamps
        door.bury(cell, error)

    # --- passivation ---

    def _sweep_later(self) -> None:
        seconds = (self._rules.idle_after or 0.0) / SWEEPS
        self._sweeper = self._loop.call_later(seconds, self._sweep, None)

    def _sweep(self, left: list[Cell] | None) -> None:
        """Look at some sessions, and at the others in the next turns of the loop."""
        cells = list(self._door.cells.values()) if left is None else left
        now = self._loop.time()
        for cell in cells[-SWEPT:]:
            self._look_at(cell, now)
        del cells[-SWEPT:]
        if cells:
            self._sweeper = self._loop.call_soon(self._sweep, cells)
        else:
            self._sweep_later()

    def _look_at(self, cell: Cell, now: float) -> None:
        actor = actor_of(cell)
        if actor is None:
            return
        mark = (cell.mailbox.last_stamp, actor.state.position)
        if cell.mark != mark:
            cell.mark, cell.idle_since = mark, now
        elif now - cell.idle_since >= (self._rules.idle_after or 0.0):
            self._let_go(cell)

    def sweep(self, tenant: str | None) -> list[SessionKey]:
        """Let every session go now that is at rest.

        Args:
            tenant: of this tenant, or of all.

        Returns:
            those that were let go.
        """
        cells = [c for c in self._door.cells.values() if tenant is None or c.key.tenant == tenant]
        for cell in cells:
            self._let_go(cell)
        return [cell.key for cell in cells if self._door.cells.get(cell.key) is not cell]

    def let_go(self, key: SessionKey) -> None:
        """Have a session end that is at rest, for now."""
        cell = self._door.cells.get(key)
        if cell is not None:
            self._let_go(cell)

    def _let_go(self, cell: Cell) -> None:
        """Have an idle session end; nothing is lost with it, and nobody notices."""
        actor = actor_of(cell)
        if actor is None or self._door.closed or self._has_runtime(cell.key):
            return
        self._door.leaving[cell.key] = cell
        if not actor.rest():
            del self._door.leaving[cell.key]
            return
        self._door.forget(cell)
        if cell.ref is not None and cell.ref.exit is None:
            # Its on_stop takes its time; a message that comes now waits for its end.
            cell.timer = self._loop.call_later(STOP_WITHIN, self._break_off, cell)

    def _break_off(self, cell: Cell) -> None:
        if cell.ref is not None:
            logger.warning("session {} does not end, and is broken off", cell.key)
            cell.ref.break_off()
            cell.timer = self._loop.call_later(BREAK_WITHIN, self._give_up, cell)

    def _give_up(self, cell: Cell) -> None:
        cell.timer = None
        if cell.ref is not None:
            cell.ref.give_up()

    def _left(self, cell: Cell, ended: Exit) -> None:
        if cell.timer is not None:
            cell.timer.cancel()
            cell.timer = None
        del self._door.leaving[cell.key]
        self._report(ReportKind.ENDED, cell, cause=ended.cause, ended=ended)
        if ended.cause is not None:
            logger.opt(exception=ended.cause).warning("session {} did not rest well", cell.key)
        successor, cell.successor = cell.successor, None
        if successor is not None:
            self._start_session(successor)

    # --- the end ---

    def _report(
        self,
        kind: ReportKind,
        cell: Cell,
        ref: Any = None,
        *,
        cause: BaseException | None = None,
        ended: Exit | None = None,
        action: Action | None = None,
    ) -> None:
        self._tell(Report(kind, cell.key, ref, ended, cause, action))

    async def on_stop(self) -> None:  # type: ignore[override]
        """End the sessions, if the system does."""
        self._stop_sweeping()
        await self._alarm.end()
        if self._door.place.ends:
            await self._door.end()

    async def on_failure(  # type: ignore[override]
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Leave the sessions to the next life."""
        self._stop_sweeping()
        await self._alarm.end()

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
