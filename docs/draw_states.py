# ruff: noqa: INP001 - a script
"""Draw the session's states, and the decider's table, from the code.

    python docs/draw_states.py [--check]

Whatever stands between ``<!-- drawn: NAME -->`` and ``<!-- end of NAME -->`` in README.md and
docs/*.md is written anew; with --check nothing is written, and the status is 1 if something would
be. The table and its words are read from ``TABLE`` and the docstrings of its clauses. Which clause
leads to which state is not in the table, so the machine is asked: a walk over all that it can come
to drives ``decide`` with every command in every state, and what is drawn is what it did.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wavebreak.actors.machine.state import Rules, SessionState, Status
from wavebreak.actors.machine.table import TABLE, Row, decide
from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.messages.commands import (
    AsideDone,
    Command,
    CompensationDone,
    Courtesy,
    Delete,
    Edit,
    Heard,
    Open,
    Progress,
    Resume,
    RuntimeExit,
    Save,
    Say,
    Schedule,
    Send,
    Shutdown,
    StepDone,
    Stop,
    Take,
    TimeIsUp,
    TokenCancelled,
    UndoTurn,
    Withdraw,
)
from wavebreak.messages.errors import WavebreakError
from wavebreak.messages.ids import CallId, IdempotencyKey, SessionKey
from wavebreak.messages.message import Reply, UserMessage
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    Now,
    Reject,
    Rollback,
    Steer,
)
from wavebreak.messages.reasons import Backlog, CallStatus, CourtesyKind, Effect, Reason
from wavebreak.messages.records import CallDone, CallStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
DRAWN: Final = re.compile(
    r"(?P<begin><!-- drawn: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)

BESIDE_THE_TABLE: Final = ((Status.RECOVERING, Status.FAILED, "the journal cannot be read"),)
"""Moves that no command makes: the actor makes this one before the machine has a say."""

NOTHING: Final = "-"
MOST_WAITING: Final = 1
LATER: Final = 1e6
BOOKED: Final = CallStarted(
    call_id=CallId("1.1.1.1"),
    tool="book",
    version="",
    arguments={},
    effect=Effect.ONCE,
    protected=False,
    timeout=None,
    carry=True,
    idempotency_key=IdempotencyKey("uid-1.1.1.1"),
    compensated=True,
)
"""The one call that is ever made there; it can be undone."""


class Move(NamedTuple):
    """What a command, by its row of the table, does to the status; also if it stays the same.

    Args:
        begins: whether another turn or attempt begins with it.
    """

    before: Status
    row: str
    after: Status
    begins: bool


# --- what the machine does ---


@cache
def moves() -> frozenset[Move]:
    """Everything that the machine can do to the status, found by a walk over its states.

    States are told apart by what decides about the status, and no more than one message waits at
    a time, so that there is an end to it.
    """
    found: set[Move] = set()
    for survives, debounce in ((False, None), (True, Debounce(1.0, 2.0))):
        rules = Rules(
            delivers=False, survives=survives, max_attempts=2, aside=True, debounce=debounce
        )
        first = SessionState(SessionKey("", "drawn"))
        seen, ahead = {_shape(first)}, [first]
        while ahead:
            state = ahead.pop()
            for row, after in _steps(state, rules):
                found.add(Move(state.status, row, after.status, _begins(state, after)))
                # A crash may come at any moment: what the next incarnation finds is a start too.
                for one in (after, after._replace(status=Status.RECOVERING)):
                    shape = _shape(one)
                    if shape not in seen:
                        seen.add(shape)
                        ahead.append(one)
    return frozenset(found)


def _steps(state: SessionState, rules: Rules) -> Iterator[tuple[str, SessionState]]:
    for command in _commands(state):
        row = type(command.policy) if isinstance(command, Send) else type(command)
        try:
            yield row.__name__, decide(state, command, rules).state
        except WavebreakError:
            continue  # refused: nothing happens


def _begins(before: SessionState, after: SessionState) -> bool:
    return after.running is not None and after.fence[1:] != before.fence[1:]


def _shape(state: SessionState) -> object:
    running = state.running
    stop = None if running is None else running.stop
    if stop is not None and isinstance(stop.how, Rollback):
        stop = stop._replace(reason=Reason.ROLLBACK, by=())  # it makes no other move
    return (
        state.status,
        # One message that waits is as good as another, but for its deadline and its place.
        tuple(waiting.deadline_at for waiting in state.unanswered),
        (len(state.parked), len(state.asides)),
        bool(state.covers.stamp),
        running and (running.attempt, running.deadline_at),
        # What a stop does to the backlog it has done; that it is one, counts until the turn ends.
        stop
        and (
            type(stop.how),
            stop.reason,
            stop.backlog is None,
            bool(stop.by),
            stop.undoing is None,
        ),
        _booked(state),
    )


def _booked(state: SessionState) -> int:
    """How far the one call has come, where that makes a difference."""
    running = state.running
    if running is None or state.epoch > 1 or len(state.waiting) > 1:
        return 0
    stop = running.stop
    if stop is not None and not isinstance(stop.how, Rollback):
        return 0
    return sum(map(_is_of_a_call, running.log)) if running.wave else 0


def _is_of_a_call(entry: object) -> bool:
    return isinstance(entry, bytes)  # a line: what happened to calls, in one go


def _booking(state: SessionState) -> Iterator[Command]:
    """The beginning and the end of the one call, where nothing else was done."""
    running = state.running
    if state.status is not Status.RUNNING or running is None or state.waiting:
        return
    if not any(map(_is_of_a_call, running.log)):
        yield Progress(0.0, state.fence, (), 0, 1, (BOOKED,))
    elif running.open:
        done = CallDone(1, BOOKED.call_id, BOOKED.tool, CallStatus.COMPLETED)
        yield Progress(0.0, state.fence, (done,), 1)


def _commands(state: SessionState) -> Iterator[Command]:
    at, fence = 0.0, state.fence
    yield Open(at, "uid")
    # What collects is about the message after the first.
    if len(state.unanswered) < MOST_WAITING + (state.status is Status.COLLECTING):
        for policy, deadline in (
            (AfterWave(), None),
            (AfterWave(), 1.0),
            (Now(), None),
            (Rollback(), None),
            (Enqueue(), None),
            (Steer(), None),
            (Collect(), None),
            (Reject(), None),
            (Aside(), None),
        ):
            message = UserMessage(message_id=f"{state.position}", text="drawn")
            yield Send(at, 1, message, policy, deadline, "")
    # What is scheduled moves nothing before it is due, and then as one that is sent does; a test
    # holds that, so the walk need not go on from there.
    message = UserMessage(message_id="scheduled", text="drawn")
    yield Schedule(at, message, AfterWave(), True, LATER, None, "")
    for how in (AfterWave(), Now()):
        for backlog in Backlog:
            yield Stop(at, 2, how, backlog, Reason.STOPPED, "")
    for waiting in state.unanswered:
        yield Withdraw(at, waiting.message.message_id)
        yield Edit(at, waiting.message.message_id, "other words")
        yield AsideDone(at, waiting.message.message_id, "drawn", "")
    yield Resume(at)
    yield Take(at, fence)
    yield UndoTurn(at, 5.0, "")
    yield CompensationDone(at, BOOKED.call_id, None, BOOKED.idempotency_key)
    yield Delete(at, 5.0)
    yield Shutdown(at, AfterWave())
    yield TokenCancelled(at, fence, "")
    yield TimeIsUp(at)
    yield TimeIsUp(LATER)
    yield Progress(at, fence)
    yield from _booking(state)
    if state.running is None or not any(map(_is_of_a_call, state.running.log)):
        yield StepDone(at, fence, "step", None)
        yield Say(at, fence, "words")
    yield Save(at, fence, {})
    yield Courtesy(at, CourtesyKind.FAILED, state.turn, "words")
    if state.turn:
        yield Heard(at, state.turn, 1)
    for reply, interrupted, retry_after in (
        (Reply(text="reply"), False, None),
        (None, True, None),
        (None, False, 0.0),
        (None, False, None),
    ):
        crashed = reply is None and not interrupted
        if crashed and state.running is not None and state.running.attempt > 1:
            retry_after = None  # noqa: PLW2901 - the restart policy says so
        yield RuntimeExit(at, fence, reply, interrupted, "", crashed, retry_after, None, None)


# --- what is drawn of it ---


def diagram() -> str:
    """The states, and the commands that lead from one to another, for mermaid."""
    arrows: defaultdict[tuple[Status, Status], list[str]] = defaultdict(list)
    for row in (kind.__name__ for kind in TABLE):
        for move in sorted(moves()):
            if move.row == row and (move.before is not move.after or move.begins):
                words = arrows[move.before, move.after]
                if row not in words:
                    words.append(row)
    for before, after, why in BESIDE_THE_TABLE:
        arrows[before, after].append(why)
    order = list(Status)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Status.RECOVERING}"]
    for before, after in sorted(arrows, key=lambda pair: [order.index(one) for one in pair]):
        lines.append(f"    {before} --> {after} : {', '.join(arrows[before, after])}")
    return "\n".join([*lines, "```"])


def decider() -> str:
    """The table: every command, and its clause in every state."""
    states = Row._fields
    rows = [["command", *states], ["---"] * (len(states) + 1)]
    rows.extend([f"`{kind.__name__}`", *map(_cell, row)] for kind, row in TABLE.items())
    return _as_table(rows)


def clauses() -> str:
    """What each clause of the table does, in the words of its docstring."""
    named = {name_of(clause): clause for row in TABLE.values() for clause in row}
    rows = [["clause", "what it does"], ["---"] * 2]
    rows.extend([_cell(clause), _words(clause)] for clause in named.values())
    return _as_table(rows)


def commands() -> str:
    """What each row's command is, in the words of its docstring."""
    rows = [["command", "what it is"], ["---"] * 2]
    rows.extend([f"`{kind.__name__}`", _words(kind)] for kind in TABLE)
    return _as_table(rows)


DRAWINGS: Final[dict[str, Callable[[], str]]] = {
    "diagram": diagram,
    "decider": decider,
    "clauses": clauses,
    "commands": commands,
}


def name_of(clause: Callable[..., Any]) -> str:
    """What a clause is called; some have an underscore because the plain name is taken."""
    return clause.__name__.rstrip("_")


def _cell(clause: Callable[..., Any]) -> str:
    return NOTHING if name_of(clause) == "stale" else f"`{name_of(clause)}`"


def _words(documented: object) -> str:
    first, _, _ = (inspect.getdoc(documented) or "").partition("\n\n")
    return first.replace("\n", " ").replace("``", "`").replace("|", "\\|")


def _as_table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --- into the pages ---


def redrawn(text: str) -> str:
    """A page with everything drawn anew.

    Raises:
        KeyError: there is no drawing of that name.
    """
    return DRAWN.sub(_drawing, text)


def _drawing(found: re.Match[str]) -> str:
    return f"{found['begin']}{DRAWINGS[found['name']]()}\n{found['end']}"


app = app_of("draw_states.py", __doc__)


@app.default
def draw_states(*, check: Flag = False) -> int:
    """Draw.

    Args:
        check: write nothing, only say what differs.
    """
    status = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = redrawn(before)
        if after == before:
            continue
        name = page.relative_to(ROOT)
        if check:
            status = 1
            sys.stderr.write(f"{name} differs from the code: make docs\n")
        else:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"drawn anew: {name}\n")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
