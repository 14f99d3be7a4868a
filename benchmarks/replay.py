"""Replay recorded conversations on wavebreak, and on the plain pattern that people write today.

    python benchmarks/replay.py FILE [--timing FILE] [--speed N] [--policy after_wave]
                                     [--sessions N] [--json PATH]

FILE has conversations in the format of the Schema-Guided Dialogue data set: JSON lines, a JSON
list, either gzipped, or a folder of the data set's own dialogues_*.json. The timing file says when
real people wrote their next line. A turn answers all unanswered messages in three waves: understand
each message, the recorded service calls, compose a reply; with delays like a model's and a
service's, the same for both systems.

Time is real, and runs --speed times as fast for people and tools alike. Besides, people write
--hurry times as fast as they did: in the public channels that were recorded, a line of the same
person within the seconds that a turn takes is rare, and about one message in five shall land in a
running turn.

Policies are what a new message does to a running turn: after_wave (the default of the library), now
and enqueue; by_wave, which lets a reply out that is being composed, and else is after_wave; and
steer, with which the turn takes new messages in before it composes.

Ends with status 1 when on wavebreak a message was lost, a call run again for nothing, a booking
made twice, a reply not delivered exactly once, or two runtimes of a session ran at once.
"""

from __future__ import annotations

import json as json_of
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command
from wavebreak.benchmarks.replaying.on_wavebreak import PolicyName
from wavebreak.benchmarks.replaying.pace import Pace, load_gaps, made_up_gaps
from wavebreak.benchmarks.replaying.recorded import RecordingError, load
from wavebreak.benchmarks.replaying.replay import (
    Played,
    Settings,
    replay_on_plain_tasks,
    replay_on_wavebreak,
    write_scripts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavebreak.benchmarks.replaying.world import Script

# So that one message in five lands in a running turn, and all 1,092 conversations take a minute.
SPEED, HURRY, LONGEST_GAP = 18.0, 6.0, 300.0
OURS, PLAIN = "wavebreak", "cancel_and_restart"

Above0 = Annotated[float, Parameter(validator=validators.Number(gt=0, lt=float("inf")))]

app = app_of("replay.py", __doc__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to replay.

    Args:
        timing: when people wrote, CSV; without one, gaps are made up.
        speed: recorded seconds in a real one.
        hurry: how many times faster people write.
        policy: what a new message does to a running turn of wavebreak; given several times, each
            is played.
        sessions: how many to play; by default one for each conversation; more begin the file again.
        seed: of times and delays.
        longest_gap: seconds to which recorded gaps are cut.
        virtual: in virtual time: quick, and the same each time.
        json: where to write the figures.
    """

    timing: Path | None = None
    speed: Above0 = SPEED
    hurry: Above0 = HURRY
    policy: tuple[PolicyName, ...] = ("after_wave",)
    sessions: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    seed: int = 1
    longest_gap: Above0 = LONGEST_GAP
    virtual: Flag = False
    json: Path | None = None

    def settings(self, policy: PolicyName) -> Settings:
        """Those of a replay by one of the policies."""
        return Settings(self.speed, self.seed, policy, self.virtual)


DEFAULTS: Final = Options()


@app.default
def replay(file: Path, /, options: Annotated[Options, Parameter(name="*")] = DEFAULTS) -> int:
    """Replay, and tell.

    Args:
        file: the recorded conversations.
        options: how.
    """
    errors = Console(stderr=True)
    try:
        scripts = _scripts(file, options)
    except RecordingError as error:
        errors.print(f"[red]error:[/] {error}", highlight=False)
        return 2
    played = _play(scripts, options, errors)
    _show(played, scripts, options)
    if options.json is not None:
        options.json.write_text(json_of.dumps(_as_json(played, scripts, options), indent=2) + "\n")
    found = _problems(played)
    for problem in found[:20]:
        errors.print(f"[red]wrong on[/] {problem}", highlight=False)
    return 1 if found else 0


def _problems(played: dict[str, Played]) -> list[str]:
    """Give what must not have happened on wavebreak; of the plain pattern nothing is demanded."""
    return [
        f"{name}: {problem}"
        for name, one in played.items()
        if name != PLAIN
        for problem in one.problems
    ]


def _scripts(file: Path, options: Options) -> list[Script]:
    gaps = load_gaps(options.timing) if options.timing else made_up_gaps(options.seed)
    pace = Pace(gaps, seed=options.seed, hurry=options.hurry, longest=options.longest_gap)
    return write_scripts(load(file), pace, options.sessions)


def _play(scripts: Sequence[Script], options: Options, console: Console) -> dict[str, Played]:
    messages = sum(len(script.arrivals) for script in scripts)
    columns = (
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages answered"),
        TimeElapsedColumn(),
    )
    replays = {
        name: partial(replay_on_wavebreak, settings=options.settings(policy))
        for name, policy in _ours(options).items()
    }
    replays[PLAIN] = partial(replay_on_plain_tasks, settings=options.settings(options.policy[0]))
    played: dict[str, Played] = {}
    with Progress(*columns, console=console) as progress:
        for name, play in replays.items():
            bar = progress.add_task(name, total=messages)
            played[name] = play(scripts, progress=partial(progress.advance, bar))
    return played


def _ours(options: Options) -> dict[str, PolicyName]:
    """Name the replays on wavebreak: the first is what the figures call so."""
    first, *others = dict.fromkeys(options.policy)
    return {OURS: first, **{f"{OURS}, {policy}": policy for policy in others}}


def _show(played: dict[str, Played], scripts: Sequence[Script], options: Options) -> None:
    console = Console()
    table = Table(title=f"{len(scripts):,} conversations, wavebreak by {options.policy[0]}")
    table.add_column("")
    for name in played:
        table.add_column(name, justify="right")
    rows = [one.report._asdict() for one in played.values()]
    for field in rows[0]:
        table.add_row(field, *(_cell(row[field]) for row in rows))
    table.add_section()
    table.add_row("seconds", *(_cell(one.seconds) for one in played.values()))
    table.add_row("CPU seconds", *(_cell(one.cpu_seconds) for one in played.values()))
    console.print(table)
    ours = played[OURS]
    share = ours.landed / ours.report.messages_sent
    console.print(
        f"{share:.1%} of the messages landed in a running turn "
        f"(speed {options.speed:g}, hurry {options.hurry:g}, seed {options.seed}, "
        f"{'virtual' if options.virtual else 'real'} time, "
        f"{'recorded' if options.timing else 'made-up'} gaps)."
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def _as_json(
    played: dict[str, Played], scripts: Sequence[Script], options: Options
) -> dict[str, Any]:
    sent = played[OURS].report.messages_sent
    return {
        **{name: one.report._asdict() for name, one in played.items()},
        "run": {
            "sessions": len(scripts),
            "policy": options.policy[0],
            "policies": _ours(options),
            "speed": options.speed,
            "hurry": options.hurry,
            "seed": options.seed,
            "longest_gap": options.longest_gap,
            "timing": str(options.timing) if options.timing else None,
            "virtual": options.virtual,
            "share_landed": {name: round(one.landed / sent, 4) for name, one in played.items()},
            "seconds": {name: one.seconds for name, one in played.items()},
            "cpu_seconds": {name: one.cpu_seconds for name, one in played.items()},
            "problems": _problems(played),
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
