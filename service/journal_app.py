"""``wavebreak journal``: looking into a journal, saving it, and making it smaller."""

from __future__ import annotations

import contextlib
import json as _json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..actors.machine.evolve import fold
from ..actors.machine.state import SessionState, begun
from ..actors.machine.stored import StateForm
from ..journal.anything import AnyMessages
from ..journal.check import Check
from ..journal.compact import compact
from ..journal.folding import Folded
from ..journal.inspect import Inspection
from ..journal.stats import stats_of
from ..journal.timeline import timeline_of
from ..journal.transfer import export, rebuild
from ..messages.errors import JournalError
from ..messages.ids import SessionKey
from .journal_terminal import (
    compacted_words,
    problems_table,
    size,
    stats_tables,
    timeline_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from rich.console import RenderableType

    from ..journal.base import Recorded
    from ..journal.transfer import Transferred

journal_app = App(
    name="journal",
    help="Look into a journal, also while it is served; save it, and make it smaller.",
)

WAVEBREAK_DB = Path("wavebreak.db")
"""Where `wavebreak serve` keeps conversations if nobody says otherwise."""

At = Annotated[Path, Parameter(name=("--journal", "-j"), env_var="WAVEBREAK_JOURNAL")]
Flag = Annotated[bool, Parameter(negative="")]


class _Machine:
    """How states are written, and made of entries; messages may be of any class."""

    def __init__(self) -> None:
        self.form = StateForm(AnyMessages())

    def fold(self, key: SessionKey, recorded: Recorded) -> Folded:
        """Make a state."""
        snapshot = recorded.snapshot
        state = begun(key, recorded.floor)
        if isinstance(snapshot, SessionState):
            state = snapshot
        state = fold(state, recorded.entries)
        running = state.running
        return Folded(
            state,
            state.position,
            messages=len(state.unanswered) + (len(running.messages) if running else 0),
            deliveries=len(state.outbox),
            turn=state.turn,
            running=running is not None,
            status=str(state.status),
            scheduled={one.accepted: one.due_at for one in state.scheduled},
        )


def _say(data: Any, shown: Iterable[RenderableType], *, json: bool) -> None:
    if json:
        print(_json.dumps(data))  # noqa: T201 - for other programs
        return
    console = Console()
    for part in shown:
        console.print(part, soft_wrap=isinstance(part, Text))  # tables wrap within their columns


@contextlib.contextmanager
def _progress(words: str, total: int | None, *, json: bool) -> Generator[Callable[[int], None]]:
    """A bar on standard error, if somebody looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *(*columns, TimeElapsedColumn()),
        console=console,
        transient=True,
        disable=json or not console.is_terminal,
    ) as progress:
        bar = progress.add_task(words, total=total)

        def more(number: int) -> None:
            progress.advance(bar, number)

        yield more


def _warn(words: str) -> None:
    Console(stderr=True).print(f"wavebreak: {words}", style="red", markup=False, soft_wrap=True)


def _warn_of_loss(inspection: Inspection) -> bool:
    """Say so if what is shown is not all that was written."""
    if inspection.has_lost:
        _warn(
            f"the newest part of {str(inspection.path)!r} is missing or damaged, and this is "
            "without it: `wavebreak journal check` says more"
        )
    return inspection.has_lost


@journal_app.command
def check(*, journal: At = WAVEBREAK_DB, fold: Flag = False, json: Flag = False) -> int:
    """Look whether a journal is whole. Ends with status 1 if it is not.

    Looks at every row's checksum, at gaps in every session, at sessions with a snapshot or with
    something that waits as the service would start them, at the file itself (SQLite's quick_check)
    and at its newest part. It changes nothing, and a service may go on meanwhile.

    Args:
        journal: the file.
        fold: fold every session, read all of the history, and use SQLite's integrity_check.
        json: answer in JSON.
    """
    with Inspection(journal, _Machine()) as inspection:
        with _progress("sessions", _count(inspection), json=json) as progress:
            checking = Check(inspection, thorough=fold, progress=progress)
            problems = list(checking.problems())
        holder = inspection.holder
    found = [
        {"where": p.where, **(p.key._asdict() if p.key else {}), "what": p.what, "do": p.remedy}
        for p in problems
    ]
    done = checking.checked
    answer = {"journal": str(journal), "ok": not problems, **done._asdict(), "problems": found}
    _say(answer, problems_table(journal, done, problems, holder), json=json)
    return 1 if problems else 0


def _count(inspection: Inspection) -> int | None:
    with contextlib.suppress(Exception):  # what is wrong with it is for the check to say
        return inspection.count()
    return None


@journal_app.command
def stats(*, journal: At = WAVEBREAK_DB, largest: int = 10, json: Flag = False) -> None:
    """Tell what is in a journal: sessions, what waits, bytes, the largest sessions.

    Args:
        journal: the file.
        largest: how many of the largest sessions to name.
        json: answer in JSON.
    """
    if largest < 0:
        msg = f"--largest {largest}: give 0 or more"
        raise JournalError(msg)
    with (
        Inspection(journal, _Machine()) as inspection,
        _progress("sessions", inspection.count(), json=json) as progress,
    ):
        _warn_of_loss(inspection)
        counted = stats_of(inspection, largest=largest, progress=progress)
    named = [{**one.key._asdict(), "rows": one.rows, "bytes": one.bytes} for one in counted.largest]
    _say({**counted._asdict(), "largest": named}, stats_tables(counted), json=json)


@journal_app.command
def show(
    session: str,
    /,
    *,
    tenant: str = "",
    last: int = 10,
    journal: At = WAVEBREAK_DB,
    json: Flag = False,
) -> None:
    """Show a session as it is on the disk: turns, waves, calls and their ends, words, deliveries.

    Of what lies before its snapshot there is the history only: what was said, and the calls.

    Args:
        session: the session's id.
        tenant: whose session.
        last: how many of the last turns; 0 for all.
        journal: the file.
        json: answer in JSON.
    """
    if last < 0:
        msg = f"--last {last}: give a number of turns, 0 for all"
        raise JournalError(msg)
    with Inspection(journal, _Machine()) as inspection:
        _warn_of_loss(inspection)
        shown = timeline_of(inspection, SessionKey(tenant, session), turns=last)
    now = shown.now._asdict() if shown.now is not None else {}
    now.pop("state", None)
    answer = {
        **shown.key._asdict(),
        "now": now or None,
        "trouble": shown.trouble,
        "kept_from": shown.kept_from,
        "timeline": [line._asdict() for line in shown.lines],
    }
    _say(answer, timeline_table(shown), json=json)


@journal_app.command(name="export")
def export_command(
    session: str | None = None,
    /,
    *,
    tenant: str = "",
    to: Path | None = None,
    journal: At = WAVEBREAK_DB,
    json: Flag = False,
) -> int:
    """Write a journal, or one session of it, as JSON lines. Ends with status 1 if not all is there.

    Args:
        session: the session's id; all sessions if not given.
        tenant: whose session.
        to: a file that is not there yet; standard output if not given.
        journal: the file.
        json: tell in JSON what was written; with --to only, as the lines are JSON anyway.
    """
    with Inspection(journal, _Machine()) as inspection:
        chosen = (
            inspection.sessions()
            if session is None
            else iter((inspection.session(SessionKey(tenant, session)),))
        )
        total = _count(inspection) if session is None else 1
        with _progress("sessions", total, json=json) as progress, _output(to) as out:
            done = export(inspection, out, chosen, progress=progress)
        is_less = _warn_of_loss(inspection)
    if to is not None:
        _say({"to": str(to), **done._asdict()}, [Text(f"{_rows(done)} written to {to}")], json=json)
    if done.damaged:
        _warn(f"{done.damaged} rows are damaged: `wavebreak journal check` says which")
    return 1 if done.damaged or is_less else 0


@contextlib.contextmanager
def _output(to: Path | None) -> Generator[IO[bytes]]:
    if to is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if to.exists():
        msg = f"{str(to)!r} is there already: choose another file, or move it away"
        raise JournalError(msg)
    with to.open("xb") as file:
        yield file


def _rows(done: Transferred) -> str:
    damaged = f", {done.damaged} of them damaged," if done.damaged else ""
    return f"{done.sessions:,} sessions with {done.rows:,} rows{damaged}"


@journal_app.command(name="import")
def import_command(file: Path, /, *, journal: At = WAVEBREAK_DB, json: Flag = False) -> int:
    """Make a journal of an export. Ends with status 1 if rows are missing in it.

    Args:
        file: what `wavebreak journal export` wrote; - for standard input.
        journal: the new file.
        json: answer in JSON.
    """
    is_input = str(file) == "-"
    if not is_input and not file.is_file():
        msg = f"there is no export {str(file)!r}: give what `wavebreak journal export` wrote"
        raise JournalError(msg)
    with (
        contextlib.nullcontext(sys.stdin.buffer) if is_input else file.open("rb") as lines,
        _progress("sessions", None, json=json) as progress,
    ):
        done = rebuild(lines, journal.resolve(), progress=progress)
    words = Text(f"{_rows(done)} read into {journal}")
    _say({"journal": str(journal), **done._asdict()}, [words], json=json)
    return 1 if done.damaged else 0


@journal_app.command(name="compact")
def compact_command(
    *,
    keep_entries: int = 0,
    journal: At = WAVEBREAK_DB,
    vacuum: bool = True,
    json: Flag = False,
) -> int:
    """Make a journal smaller that nobody has open. Ends with status 1 if a session cannot be read.

    Writes sessions' states down in the place of their events, where that is shorter and no turn is
    running, and then writes the file anew. History is kept; of the events that are dropped nothing
    is left for `wavebreak events --after` and `show --html`.

    Args:
        keep_entries: positions before a session's last one of which the events stay.
        journal: the file.
        vacuum: write the file anew; for a while that takes as much room again.
        json: answer in JSON.
    """
    if keep_entries < 0:
        msg = f"--keep-entries {keep_entries}: give 0 or more"
        raise JournalError(msg)
    path = journal.resolve()
    with Inspection(path, _Machine()) as inspection:
        total = inspection.count()
    console = Console(stderr=True)
    with contextlib.ExitStack() as shown:
        progress = shown.enter_context(_progress("sessions", total, json=json))

        def rewriting() -> None:
            shown.close()
            if console.is_terminal and not json:
                words = f"writing {size(path.stat().st_size)} anew"
                shown.enter_context(console.status(words))

        done = compact(
            path,
            _Machine(),
            keep=keep_entries,
            vacuum=vacuum,
            progress=progress,
            rewriting=rewriting,
        )
    answer = {**done._asdict(), "bad": [key._asdict() for key in done.bad]}
    _say({"journal": str(journal), **answer}, [compacted_words(journal, done)], json=json)
    return 1 if done.bad else 0
