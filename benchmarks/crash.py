"""Kill a process that holds conversations, again and again, and see whether anything is lost.

    python benchmarks/crash.py FILE [--kills N] [--people N] [--synchronous FULL|NORMAL]
                                    [--seed N] [--folder PATH] [--json PATH]

FILE has conversations in the format of the Schema-Guided Dialogue data set, as benchmarks/replay.py
takes them. A process talks with --people of them at a time, on one SQLite journal: it looks up and
books what was recorded, with delays a hundredth of what a model and a service take. It is killed
with SIGKILL at random moments, also while it recovers, and started again; people send what was
not answered once more, under the same message id. After the last kill it may finish.

The witness is a file that the tools, the channel and the people write to and sync at every line.
Ends with status 1 when by its account an accepted message was lost, a message had two different
replies, a call whose end was durable ran again, or a `once` call was started twice.
"""

from __future__ import annotations

import asyncio
import json as json_of
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from wavebreak.benchmarks.command_line import app_of, run_command
from wavebreak.benchmarks.crashing.life import Life, live
from wavebreak.benchmarks.crashing.witness import Account
from wavebreak.benchmarks.replaying.recorded import RecordingError, load
from wavebreak.journal.schema import Synchronous

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wavebreak.benchmarks.crashing.witness import Summary
    from wavebreak.benchmarks.replaying.recorded import Conversation

EARLY, LATE = 0.03, 0.25
"""Seconds after which a process is killed at most: half of them so early that it still recovers."""


app = app_of("crash.py", __doc__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to kill.

    Args:
        kills: how often.
        people: who are talked with at a time.
        synchronous: of SQLite.
        seed: of moments and delays.
        folder: where to keep the journal.
        json: where to write the figures.
    """

    kills: int = 50
    people: int = 12
    synchronous: Synchronous = "FULL"
    seed: int = 1
    folder: Path | None = None
    json: Path | None = None


DEFAULTS: Final = Options()


@app.default
def crash(file: Path, /, options: Annotated[Options, Parameter(name="*")] = DEFAULTS) -> int:
    """Kill, and look.

    Args:
        file: the recorded conversations.
        options: how.
    """
    errors = Console(stderr=True)
    try:
        conversations = load(file)
    except RecordingError as error:
        errors.print(f"[red]error:[/] {error}", highlight=False)
        return 2
    columns = (TextColumn("killed"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        # Without its own thread: a process that forks must have one only.
        with Progress(*columns, console=errors, auto_refresh=False) as progress:
            bar = progress.add_task("", total=options.kills)

            def killed() -> None:
                progress.advance(bar)
                progress.refresh()

            run = Run(conversations, folder, options)
            summary = run.to_the_end(killed)
    _show(summary, run, options)
    if options.json is not None:
        figures = {**summary._asdict(), "kills": options.kills, "seconds": round(run.seconds, 1)}
        options.json.write_text(json_of.dumps(figures, indent=2) + "\n")
    for problem in summary.problems[:20]:
        errors.print(f"[red]wrong:[/] {problem}", highlight=False)
    return 1 if summary.problems else 0


class Killed(NamedTuple):
    """How a process ended: by our hand, or by itself."""

    by_us: bool
    status: int


class Run:
    """A process that is killed and started again until it was often enough.

    Args:
        conversations: what was recorded; when all were held, they are held again.
        folder: for the journal and the witness's file.
        options: of the command line.
    """

    def __init__(
        self, conversations: Sequence[Conversation], folder: Path, options: Options
    ) -> None:
        self._conversations = conversations
        self._folder = folder
        self._options = options
        self._chance = Random(options.seed)  # noqa: S311 - no secret
        self._account = Account(folder / "witness.jsonl")
        self._held: dict[str, Conversation] = {}
        self._next = 0
        self._lives = 0
        self.seconds = 0.0

    def to_the_end(self, killed: Callable[[], None]) -> Summary:
        """Kill so many times, then let it finish."""
        began = time.monotonic()
        for _ in range(self._options.kills):
            while not self._live(self._patience()).by_us:
                pass
            killed()
        self._live(None)
        self.seconds = time.monotonic() - began
        return self._account.close()

    def _patience(self) -> float:
        most = EARLY if self._chance.random() < 0.5 else LATE  # noqa: PLR2004 - one of two
        return self._chance.uniform(0.0, most)

    def _live(self, seconds: float | None) -> Killed:
        """Let a process live, for so long if it does not end before."""
        self._account.read()
        self._invite(also_new=seconds is not None)
        self._lives += 1
        life = Life(
            self._folder,
            dict(self._held),
            frozenset(self._account.ended),
            self._options.synchronous,
            self._options.seed * 1_000_003 + self._lives,
        )
        process = os.fork()
        if process == 0:
            _live_and_exit(life)
        ended = Killed(by_us=False, status=0)
        if seconds is not None and not _ended_within(process, seconds):
            os.kill(process, signal.SIGKILL)
            ended = Killed(by_us=True, status=0)
        _, status = os.waitpid(process, 0)
        if not ended.by_us and status != 0:
            msg = f"the process ended by itself with status {os.waitstatus_to_exitcode(status)}"
            raise RuntimeError(msg)
        return ended

    def _invite(self, *, also_new: bool) -> None:
        """Part with those who have had all their answers, and talk with others instead."""
        ended = self._account.ended
        for session, talk in tuple(self._held.items()):
            if all((session, f"m{number}") in ended for number in range(len(talk.exchanges))):
                del self._held[session]
        while also_new and len(self._held) < self._options.people:
            talk = self._conversations[self._next % len(self._conversations)]
            self._held[f"{talk.conversation_id}/{self._next}"] = talk
            self._next += 1


def _live_and_exit(life: Life) -> None:
    """In the process that is killed: it comes back from here in no other way."""
    try:
        asyncio.run(live(life))
    except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent would
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _ended_within(process: int, seconds: float) -> bool:
    """Wait for a process to end by itself; it is not waited for by anybody else."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.0005)
    return False


def _show(summary: Summary, run: Run, options: Options) -> None:
    table = Table(title=f"{options.kills:,} kills, {options.synchronous}, {run.seconds:.0f} s")
    table.add_column("")
    table.add_column("", justify="right")
    figures = {**summary._asdict(), "problems": len(summary.problems)}
    for name, shown in figures.items():
        table.add_row(name.replace("_", " "), f"{shown:,}")
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
