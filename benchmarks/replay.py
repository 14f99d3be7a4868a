"""Replay recorded conversations on wavebreak, and on the plain pattern that people write today.

    python benchmarks/replay.py FILE [--timing FILE] [--speed N] [--policy after_wave|now|enqueue]
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

Ends with status 1 when on wavebreak a message was lost, a call run again for nothing, a booking
made twice, a reply not delivered exactly once, or two runtimes of a session ran at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

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
    from collections.abc import Callable, Sequence

    from wavebreak.benchmarks.replaying.world import Script

# So that one message in five lands in a running turn, and all 1,092 conversations take a minute.
SPEED, HURRY, LONGEST_GAP = 18.0, 6.0, 300.0
SYSTEMS: dict[str, Callable[[Sequence[Script], Settings, Callable[[], None]], Played]] = {
    "wavebreak": replay_on_wavebreak,
    "cancel_and_restart": replay_on_plain_tasks,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    options = _parser().parse_args(argv)
    errors = Console(stderr=True)
    try:
        scripts = _scripts(options)
    except RecordingError as error:
        errors.print(f"[red]error:[/] {error}", highlight=False)
        return 2
    settings = Settings(options.speed, options.seed, options.policy, options.virtual)
    played = _play(scripts, settings, errors)
    _show(played, scripts, options)
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(played, scripts, options), indent=2) + "\n")
    found = played["wavebreak"].problems
    for problem in found[:20]:
        errors.print(f"[red]wrong on wavebreak:[/] {problem}", highlight=False)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    words = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description=words[0],
        epilog="\n\n".join(words[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the recorded conversations")
    parser.add_argument("--timing", type=Path, metavar="FILE", help="when people wrote, CSV")
    parser.add_argument(
        "--speed", type=_positive, default=SPEED, metavar="N", help="recorded seconds in a real one"
    )
    parser.add_argument(
        "--hurry",
        type=_positive,
        default=HURRY,
        metavar="N",
        help="how many times faster people write",
    )
    parser.add_argument(
        "--policy",
        choices=("after_wave", "now", "enqueue"),
        default="after_wave",
        help="what a new message does to a running turn of wavebreak",
    )
    parser.add_argument(
        "--sessions",
        type=_count,
        metavar="N",
        help="how many to play; by default one for each conversation; more begin the file again",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of times and delays")
    parser.add_argument(
        "--longest-gap",
        type=_positive,
        default=LONGEST_GAP,
        metavar="SECONDS",
        help="to which recorded gaps are cut",
    )
    parser.add_argument("--virtual", action="store_true", help="in virtual time: quick, the same")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the figures")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"{text} is not a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        msg = f"{text} is not 1 or more"
        raise argparse.ArgumentTypeError(msg)
    return value


def _scripts(options: argparse.Namespace) -> list[Script]:
    gaps = load_gaps(options.timing) if options.timing else made_up_gaps(options.seed)
    pace = Pace(gaps, seed=options.seed, hurry=options.hurry, longest=options.longest_gap)
    return write_scripts(load(options.file), pace, options.sessions)


def _play(scripts: Sequence[Script], settings: Settings, console: Console) -> dict[str, Played]:
    messages = sum(len(script.arrivals) for script in scripts)
    columns = (
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages answered"),
        TimeElapsedColumn(),
    )
    played: dict[str, Played] = {}
    with Progress(*columns, console=console) as progress:
        for name, system in SYSTEMS.items():
            bar = progress.add_task(name, total=messages)
            played[name] = system(scripts, settings, partial(progress.advance, bar))
    return played


def _show(
    played: dict[str, Played], scripts: Sequence[Script], options: argparse.Namespace
) -> None:
    console = Console()
    table = Table(title=f"{len(scripts):,} conversations, policy {options.policy}")
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
    ours = played["wavebreak"]
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
    played: dict[str, Played], scripts: Sequence[Script], options: argparse.Namespace
) -> dict[str, Any]:
    sent = played["wavebreak"].report.messages_sent
    return {
        **{name: one.report._asdict() for name, one in played.items()},
        "run": {
            "sessions": len(scripts),
            "policy": options.policy,
            "speed": options.speed,
            "hurry": options.hurry,
            "seed": options.seed,
            "longest_gap": options.longest_gap,
            "timing": str(options.timing) if options.timing else None,
            "virtual": options.virtual,
            "share_landed": {name: round(one.landed / sent, 4) for name, one in played.items()},
            "seconds": {name: one.seconds for name, one in played.items()},
            "cpu_seconds": {name: one.cpu_seconds for name, one in played.items()},
            "problems": played["wavebreak"].problems,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
