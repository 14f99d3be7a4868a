"""A catalogue of known defects: each is one that a framework of this kind has had, or would have.

A defect is a small patch of a named function of ours, and an agent that is explored with it in
place. When the name is no longer there, the patch fails, and so does its test.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from wavebreak import (
    AfterWave,
    CallStatus,
    CompletedCall,
    Debounce,
    Effect,
    MessageStatus,
    Now,
    Reason,
    Steer,
    Turn,
    TurnOutcome,
    tool,
)
from wavebreak.actors import ledger, recorded
from wavebreak.actors.control import RuntimeControl
from wavebreak.actors.hub import EventHub
from wavebreak.actors.ledger import Answer, Ledger
from wavebreak.actors.machine import evolve, messages, reports, table, turns, undoing
from wavebreak.actors.machine.state import SessionState, Waiting
from wavebreak.actors.mailbox import Mailbox
from wavebreak.actors.recorded import RecordedActor
from wavebreak.actors.release import Releases
from wavebreak.actors.turn_engine import TurnEngine
from wavebreak.actors.waiters import Waiters
from wavebreak.messages.commands import DeliveryDone, Progress, Say, TimeIsUp
from wavebreak.messages.events import MessageEnded, TurnEnded, TurnStarted
from wavebreak.messages.records import CallStarted, PartialResults
from wavebreak.supervisors.runtime_supervisor import Child, RuntimeSupervisor
from wavebreak.testing import explorer

if TYPE_CHECKING:
    from wavebreak.testing.explorer.script import Line

Patch = Callable[[], AbstractContextManager[Any]]
Agent = Callable[[Turn], Any]


@tool(effect="read")
async def search(city: str) -> list[str]:
    await asyncio.sleep(0.2)
    return [f"{city} Palace", f"{city} Inn"]


@tool
async def book(hotel: str) -> str:
    await asyncio.sleep(0.2)
    return f"{hotel} is booked"


async def travel(turn: Turn) -> str:
    """Searches, says something, books twice: two waves, a step, words."""
    hotels = await turn.one(search("Rome"))
    turn.say(f"{len(hotels)} hotels")
    await turn.step(lambda: len(hotels), key="count")
    turn.delta("I have ")
    booked = await turn.wave(*(book(hotel) for hotel in hotels))
    return f"{turn.number}: {', '.join(booked)}"


async def short(turn: Turn) -> str:
    """One wave of one call."""
    return f"{turn.number}: {await turn.one(book('Inn'))}"


@tool
async def dig(where: str) -> str:
    """Does not heed its cancellation, and takes longer than a grace."""
    work = asyncio.ensure_future(asyncio.sleep(7.0, where))
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((work,))
    return work.result()


async def obstinate(turn: Turn) -> str:
    """One wave of one call that cannot be broken off."""
    return f"{turn.number}: {await turn.one(dig(turn.text))}"


async def give_back(call: CompletedCall, result: str) -> None:
    await asyncio.sleep(0.1)


@tool(compensate=give_back)
async def reserve(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"{what} is reserved"


async def bookings(turn: Turn) -> str:
    """Two waves, each of which can be undone."""
    await turn.one(reserve("a table"))
    await turn.one(reserve("a room"))
    return "done"


class Defect(NamedTuple):
    """A known defect.

    Args:
        what: in words.
        patch: puts it in place.
        agent: what is explored.
        script: by what.
        inject: what is needed to see it; all by default.
        options: of the system.
    """

    what: str
    patch: Patch
    agent: Agent = travel
    script: Sequence[str | Line] = ("a", "b")
    inject: Iterable[str] = explorer.INJECTIONS
    options: dict[str, Any] = {}  # noqa: RUF012 - read only

    def __str__(self) -> str:
        return self.what.replace(" ", "_")


def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replace ``owner.name`` by what ``make`` makes of it; it has to be there."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def in_table(command: type, **clauses: Any) -> Patch:
    """Replace clauses of one row of the session's table."""
    return lambda: mock.patch.dict(table.TABLE, {command: table.TABLE[command]._replace(**clauses)})


def in_fold(event: type, make: Callable[[Any], Any]) -> Patch:
    """Replace how an event is folded."""
    fold = evolve._FOLD
    return lambda: mock.patch.dict(fold, {event: make(fold[event])})


# --- how each of them goes wrong ---


def cleans_up_by_key(_leave: Any) -> Any:
    def leave(self: RuntimeSupervisor, child: Child) -> None:
        if self._children.pop(child.order.key, None) and child.successor is not None:
            self._enter(Child(child.successor, self))

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
        self._enter(Child(start, self))

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


def reports_results_late(_report: Any) -> Any:
    def report(self: TurnEngine, now: float, wave: int, calls: Any) -> None:
        self.control.report(Progress(now, self.control.fence, (), 0, wave, calls))

    return report


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
    def taken(self: Ledger, log: Any, previous: Any) -> None:
        del log
        take_over(self, (), previous)

    return taken


def forgets_the_chain(take_over: Any) -> Any:
    def taken(self: Ledger, log: Any, previous: Any) -> None:
        del previous
        take_over(self, log, None)

    return taken


def does_it_at_once(_when_durable: Any) -> Any:
    def act_now(self: Releases, act: Any, otherwise: Any = None) -> None:
        del self, otherwise
        act()

    return act_now


def releases_at_once(_after: Any) -> Any:
    def after(self: Releases, commit: Any, act: Any) -> None:
        del self, commit
        act()

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


async def aloud(turn: Turn) -> str:
    """Says something while its wave is under way."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(0.15, turn.say, "still here")
    try:
        await turn.one(search("Rome"))
    finally:
        timer.cancel()
    return "done"


DEFECTS = (
    Defect(
        "clean-up by key instead of identity",
        replaced(RuntimeSupervisor, "_leave", cleans_up_by_key),
        obstinate,
        ["a", explorer.Say("b", after=0.1, policy=Now(grace=0.5))],
        ("lose", "unsure"),
    ),
    Defect("stop flag inherited by the next turn", inherits_the_stop),
    Defect(
        "a new turn is started beside the old one",
        starts_beside_unfenced,
        inject=("lose", "unsure"),
    ),
    Defect(
        "the turn is ended before its wave",
        lambda: mock.patch.dict(
            table.TABLE,
            {
                kind: row._replace(running=ends_at_once(row.running))
                for kind, row in table.TABLE.items()
                if kind is Now
            },
        ),
    ),
    Defect(
        "a result is recorded after its dependents started",
        replaced(TurnEngine, "_report", reports_results_late),
    ),
    Defect(
        "reply not fenced",
        replaced(SessionState, "is_current", takes_any_fence),
        short,
        ["a", explorer.Say("b", after=0.1, policy=Now(grace=0.5))],
    ),
    Defect(
        "what waits is lost when a turn starts",
        in_fold(TurnStarted, forgets_what_waits),
        short,
        ["a"],
        inject=("enqueue",),
    ),
    Defect("the interrupted messages are lost", in_fold(TurnEnded, forgets_the_interrupted)),
    Defect(
        "the interrupted messages are cancelled",
        replaced(turns, "_end_unfinished", cancels_the_interrupted),
    ),
    Defect(
        "an interruption is a stop", replaced(turns, "_end_unfinished", stops_what_is_interrupted)
    ),
    Defect(
        "a message is refused while a turn stops",
        in_table(AfterWave, stopping=messages.reject),
        script=["a", explorer.Say("b", after=0.1), explorer.Say("c", after=0.05)],
    ),
    Defect(
        "the newest message comes first", replaced(turns, "by_admission", puts_the_newest_first)
    ),
    Defect(
        "steer is lost when the turn ends",
        replaced(evolve, "steered_first", loses_what_was_offered),
        inject=("steer",),
    ),
    Defect(
        "compensations in the order of the calls",
        replaced(undoing, "chain_of", backwards),
        bookings,
        ["a"],
        ("rollback",),
        {"tools": (reserve,)},
    ),
    Defect(
        "a window never closes",
        in_table(TimeIsUp, collecting=reports.stale),
        short,
        ["a"],
        (),
        {"debounce": Debounce(1.0, 3.0)},
    ),
    Defect("a message is lost on the last tick", replaced(Mailbox, "pop", loses_a_wake_up)),
    Defect(
        "a tool that swallows its cancellation is waited for",
        replaced(recorded, "due", no_time),
        obstinate,
        ["a"],
    ),
    Defect(
        "no timer is set",
        replaced(RecordedActor, "_arm_timer", never),
        short,
        inject=("late", "stop now"),
    ),
    Defect(
        "the ledger is not consulted after a crash",
        replaced(Ledger, "_take_over", forgets_the_log),
    ),
    Defect(
        "the ledger is not consulted after an interruption",
        replaced(Ledger, "_take_over", forgets_the_chain),
    ),
    Defect("ack before commit", replaced(Releases, "when_durable", does_it_at_once)),
    Defect("events before their commit", replaced(Releases, "after", releases_at_once)),
    Defect(
        "de-duplication is forgotten on restart",
        replaced(RecordedActor, "_recover", forgets_what_it_has_seen),
    ),
    Defect(
        "an unknown call of an earlier turn is started again",
        replaced(Ledger, "_may_have_happened", takes_the_unknown_for_new),
    ),
    Defect(
        "an unknown call is retried as if it were idempotent",
        replaced(ledger, "_settled", makes_it_again),
    ),
    Defect("what was cut off is called cancelled", replaced(turns, "_cut_off", all_cancelled)),
    Defect("partial results are lost", replaced(turns, "partial_results", passes_on_nothing)),
    Defect(
        "the chain of interruptions has one link",
        replaced(turns, "partial_results", forgets_the_turn_before),
    ),
    Defect(
        "late results are dropped",
        in_table(Progress, idle=reports.stale),
        obstinate,
        ["a"],
        inject=("stop now",),
    ),
    Defect("a wave is cut off by AfterWave", replaced(TurnEngine, "told", cuts_the_wave)),
    Defect(
        "the end of a delivery is not recorded",
        in_table(DeliveryDone, idle=reports.stale, running=reports.stale),
    ),
    Defect(
        "what a dying runtime had finished is lost",
        replaced(RuntimeSupervisor, "_exit_of", collects_nothing),
    ),
    Defect("words after a stop", speaks_after_a_stop, aloud),
    Defect("the history has the reply first", replaced(turns, "finished", writes_the_reply_first)),
    Defect("the live state is another one", replaced(recorded, "decide", keeps_another_state)),
    Defect("subscriber leak", replaced(EventHub, "unsubscribe", never)),
    Defect("who waits for a stop is not told", replaced(Waiters, "tell_turn_ended", never)),
)
"""Every known defect; the explorer has to find each of them."""
