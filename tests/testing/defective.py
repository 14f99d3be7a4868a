"""How a framework of this kind goes wrong: functions of ours, made as they must not be."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from wavebreak import (
    CallStatus,
    Effect,
    MessageStatus,
    Reason,
    Steer,
    TurnOutcome,
)
from wavebreak.actors.control import RuntimeControl
from wavebreak.actors.ledger import Answer, Ledger
from wavebreak.actors.machine import evolve, reports, table, turns
from wavebreak.actors.machine.state import SessionState, Waiting
from wavebreak.actors.mailbox import Mailbox
from wavebreak.actors.recorded import RecordedActor
from wavebreak.actors.release import Releases
from wavebreak.actors.turn_engine import TurnEngine
from wavebreak.messages.commands import Progress, Say
from wavebreak.messages.events import MessageEnded, TurnEnded, TurnStarted
from wavebreak.messages.records import CallStarted, PartialResults
from wavebreak.supervisors.runtime_supervisor import RuntimeSupervisor
from wavebreak.supervisors.runtimes import Child

Patch = Callable[[], AbstractContextManager[Any]]


def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replace ``owner.name`` by what ``make`` makes of it; it has to be there, and to fit.

    One that is not called as it is now would break everything, and be found for that.
    """

    def patch() -> AbstractContextManager[Any]:
        whole = getattr(owner, name)
        broken = make(whole)
        if callable(whole):
            given = inspect.signature(whole).parameters.values()
            inspect.signature(broken).bind(
                *[one for one in given if one.kind is one.POSITIONAL_OR_KEYWORD]
            )
        return mock.patch.object(owner, name, broken)

    return patch


def in_table(command: type, **clauses: Any) -> Patch:
    """Replace clauses of one row of the session's table."""
    return lambda: mock.patch.dict(table.TABLE, {command: table.TABLE[command]._replace(**clauses)})


def in_fold(event: type, make: Callable[[Any], Any]) -> Patch:
    """Replace how an event is folded."""
    fold = evolve._FOLD
    return lambda: mock.patch.dict(fold, {event: make(fold[event])})


def cleans_up_by_key(_leave: Any) -> Any:
    def leave(self: RuntimeSupervisor, child: Child) -> None:
        if self._children.pop(child.key, None) and child.successor is not None:
            self._enter(child.successor)

    return leave


@contextlib.contextmanager
def inherits_the_stop() -> Generator[None]:
    told: dict[int, RuntimeControl] = {}
    begin, stop = RuntimeControl.__init__, RuntimeControl.tell_stop

    def began(self: RuntimeControl, fence: Any, mailbox: Mailbox, *rest: Any) -> None:
        begin(self, fence, mailbox, *rest)
        before = told.get(id(mailbox))
        if before is not None:
            self.how, self.reason = before.how, before.reason

    def stopped(self: RuntimeControl, *how: Any) -> None:
        stop(self, *how)
        told[id(self.mailbox)] = self

    with (
        mock.patch.object(RuntimeControl, "__init__", began),
        mock.patch.object(RuntimeControl, "tell_stop", stopped),
    ):
        yield


def starts_beside(_order: Any) -> Any:
    def order(self: RuntimeSupervisor, start: Any) -> None:
        self._enter(start)

    return order


@contextlib.contextmanager
def starts_beside_unfenced() -> Generator[None]:
    stop = RuntimeControl.tell_stop

    def not_after_a_crash(self: RuntimeControl, how: Any, reason: Reason) -> None:
        if reason is not Reason.CRASHED:
            stop(self, how, reason)

    with (
        mock.patch.object(RuntimeControl, "tell_stop", not_after_a_crash),
        replaced(RuntimeSupervisor, "_order", starts_beside)(),
    ):
        yield


def cuts_the_wave(told: Any) -> Any:
    def cut(self: TurnEngine, how: Any) -> None:
        told(self, how)
        self.cancel()

    return cut


def ends_at_once(interrupt: Any) -> Any:
    def stop(draft: Any, send: Any) -> None:
        interrupt(draft, send)
        if draft.state.running is not None and draft.state.running.stop is not None:
            turns.end_stopped(draft, None, None)

    return stop


def reports_results_late(_further: Any) -> Any:
    def further(self: TurnEngine, now: float, wave: int, calls: Any) -> Progress:
        return Progress(now, self.control.fence, (), 0, wave, calls)

    return further


def forgets_what_waits(fold: Any) -> Any:
    def started(state: SessionState, event: TurnStarted) -> SessionState:
        after: SessionState = fold(state, event)
        return after._replace(waiting=())

    return started


def forgets_the_interrupted(fold: Any) -> Any:
    def ended(state: SessionState, event: TurnEnded) -> SessionState:
        after: SessionState = fold(state, event)
        return after._replace(waiting=state.waiting, batch=0)

    return ended


def backwards(chain_of: Any) -> Any:
    def chain(state: SessionState) -> Any:
        return tuple(reversed(chain_of(state)))

    return chain


def takes_any_fence(_is_current: Any) -> Any:
    def is_current(self: SessionState, _fence: Any) -> bool:
        return self.running is not None

    return is_current


def puts_the_newest_first(by_admission: Any) -> Any:
    def reverse(messages: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
        return tuple(reversed(by_admission(messages)))

    return reverse


def loses_what_was_offered(_steered_first: Any) -> Any:
    def without(waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
        return tuple(w for w in waiting if not isinstance(w.policy, Steer))

    return without


def loses_a_wake_up(_pop: Any) -> Any:
    def pop(self: Mailbox) -> Any:
        return _pop(self) if self.pending else None

    return pop


def forgets_the_log(take_over: Any) -> Any:
    def taken(self: Ledger, log: Any, done: Any) -> None:
        del log, done
        take_over(self, (), ())

    return taken


def forgets_the_chain(begin: Any) -> Any:
    def begun(self: Ledger, log: Any, previous: Any, unknown: Any, senders: Any) -> None:
        del previous
        begin(self, log, None, unknown, senders)

    return begun


def does_it_at_once(_when_durable: Any) -> Any:
    def act_now(self: Releases, act: Any, otherwise: Any = None) -> None:
        del self, otherwise
        act()

    return act_now


def releases_at_once(_after: Any) -> Any:
    def after(self: Releases, commit: Any, entries: Any) -> None:
        del commit
        self._release(entries)

    return after


def forgets_what_it_has_seen(recover: Any) -> Any:
    def recovered(self: RecordedActor, found: Any) -> None:
        recover(self, found)
        self.state = self.state._replace(remembered={})

    return recovered


def takes_the_unknown_for_new(_may_have: Any) -> Any:
    def nothing_happened(self: Ledger, *given: Any) -> None:
        del self, given

    return nothing_happened


def makes_it_again(settled: Any) -> Any:
    def answer(record: Any, call: Any) -> Answer:
        if record.status is CallStatus.UNKNOWN:
            return Answer(None, record.idempotency_key)
        found: Answer = settled(record, call)
        return found

    return answer


def cancels_the_interrupted(end: Any) -> Any:
    def ended(draft: Any, outcome: TurnOutcome, reason: Any, *rest: Any) -> None:
        running = draft.running
        end(draft, outcome, reason, *rest)
        if outcome is TurnOutcome.INTERRUPTED:
            turns.end_all(draft, running, running.messages, MessageStatus.CANCELLED, reason)

    return ended


def stops_what_is_interrupted(end: Any) -> Any:
    def ended(draft: Any, outcome: TurnOutcome, *rest: Any) -> None:
        end(draft, TurnOutcome.STOPPED, *rest)
        del outcome

    return ended


def passes_on_nothing(_partial: Any) -> Any:
    def nothing(running: Any, previous: Any, reason: Any, draft: Any) -> PartialResults:
        del running, previous
        return PartialResults(reason=reason, draft=draft)

    return nothing


def forgets_the_turn_before(partial: Any) -> Any:
    def of_this_turn_only(running: Any, previous: Any, reason: Any, draft: Any) -> Any:
        del previous
        return partial(running, None, reason, draft)

    return of_this_turn_only


def writes_the_reply_first(finished: Any) -> Any:
    def reply_first(*given: Any) -> Any:
        return reversed(list(finished(*given)))

    return reply_first


def keeps_another_state(decide: Any) -> Any:
    def decided(state: SessionState, *given: Any) -> Any:
        decision = decide(state, *given)
        ended = [entry for entry in decision.entries if isinstance(entry, MessageEnded)]
        if not ended:
            return decision
        return decision._replace(state=decision.state._replace(saved="not what was journaled"))

    return decided


def collects_nothing(exit_of: Any) -> Any:
    def without_progress(self: RuntimeSupervisor, child: Child, ended: Any) -> Any:
        return exit_of(self, child, ended)._replace(progress=None)

    return without_progress


def never(_given: Any) -> Any:
    def nothing(*given: Any, **more: Any) -> None:
        del given, more

    return nothing


def no_time(due: Any) -> Any:
    def only_deadlines(state: SessionState) -> float | None:
        running = state.running
        stopped = running is not None and running.stop is not None
        found: float | None = None if stopped else due(state)
        return found

    return only_deadlines


def all_cancelled(_cut_off: Any) -> Any:
    def status(call: CallStarted) -> CallStatus:
        found: CallStatus = _cut_off(call)
        return found if call.effect is Effect.READ else CallStatus.CANCELLED

    return status


def says_on(say: Any) -> Any:
    del say

    def said(self: TurnEngine, text: str) -> bool:
        self.flush()
        self.control.report(Say(self.environment.now(), self.control.fence, text))
        return True

    return said


@contextlib.contextmanager
def speaks_after_a_stop() -> Generator[None]:
    with (
        replaced(TurnEngine, "say", says_on)(),
        in_table(Say, stopping=reports.say)(),
    ):
        yield
