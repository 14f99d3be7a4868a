"""A catalogue of known defects: each is one that a framework of this kind has had, or would have.

A defect is a small patch of a named function of ours, and an agent that is explored with it in
place. When the name is no longer there, the patch fails, and so does its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from wavebreak import (
    AfterWave,
    Debounce,
    Now,
    Turn,
)
from wavebreak.actors import ledger, recorded
from wavebreak.actors.hub import EventHub
from wavebreak.actors.ledger import Ledger
from wavebreak.actors.machine import evolve, messages, reports, table, turns, undoing
from wavebreak.actors.machine.state import SessionState
from wavebreak.actors.mailbox import Mailbox
from wavebreak.actors.recorded import RecordedActor
from wavebreak.actors.release import Releases
from wavebreak.actors.turn_engine import TurnEngine
from wavebreak.actors.waiters import Waiters
from wavebreak.messages.commands import DeliveryDone, Progress, TimeIsUp
from wavebreak.messages.events import TurnEnded, TurnStarted
from wavebreak.supervisors.runtime_supervisor import RuntimeSupervisor
from wavebreak.testing import explorer

from .defect_agents import aloud, bookings, obstinate, reserve, short, travel
from .defective import (
    Patch,
    all_cancelled,
    backwards,
    cancels_the_interrupted,
    cleans_up_by_key,
    collects_nothing,
    cuts_the_wave,
    does_it_at_once,
    ends_at_once,
    forgets_the_chain,
    forgets_the_interrupted,
    forgets_the_log,
    forgets_the_turn_before,
    forgets_what_it_has_seen,
    forgets_what_waits,
    in_fold,
    in_table,
    inherits_the_stop,
    keeps_another_state,
    loses_a_wake_up,
    loses_what_was_offered,
    makes_it_again,
    never,
    no_time,
    passes_on_nothing,
    puts_the_newest_first,
    releases_at_once,
    replaced,
    reports_results_late,
    speaks_after_a_stop,
    starts_beside_unfenced,
    stops_what_is_interrupted,
    takes_any_fence,
    takes_the_unknown_for_new,
    writes_the_reply_first,
)

if TYPE_CHECKING:
    from wavebreak.testing.explorer.script import Line

Agent = Callable[[Turn], Any]


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
        replaced(TurnEngine, "_further", reports_results_late),
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
        replaced(Ledger, "__init__", forgets_the_chain),
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
