"""What is found in a journal, in a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from .terminal import word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from ..journal.check import Checked, Problem
    from ..journal.compact import Compacted
    from ..journal.stats import Stats
    from ..journal.timeline import Line, Timeline

_MOST: Final = 50
"""Problems that are told; in JSON all of them are."""

_LONG: Final = 300
"""Characters of a call, or of somebody's words, that are shown."""


def size(number: int) -> str:
    """A number of bytes, in words."""
    return decimal(number)


def _time(at: float | None) -> str:
    if at is None:
        return "never"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lines(*rows: tuple[str, object]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return table


def problems_table(
    journal: Path, checked: Checked, problems: Sequence[Problem], holder: str | None
) -> Iterator[RenderableType]:
    """What is wrong with a journal, and what to do about it."""
    did = f"{checked.sessions:,} sessions, {checked.rows:,} rows, {checked.folded:,} folded"
    beside = "" if holder is None else f"; process {holder or 'unknown'} has it open"
    if not problems:
        yield Text(f"{journal} is whole ({did}{beside})", style="green")
        return
    table = Table(box=None, header_style="bold")
    for head in ("where", "what is wrong", "what to do"):
        table.add_column(head, overflow="fold")
    for problem in problems[:_MOST]:
        where = problem.where if problem.key is None else f"session {problem.key}"
        table.add_row(Text(where), Text(problem.what, style="red"), Text(problem.remedy))
    yield table
    more = len(problems) - _MOST
    if more > 0:
        yield Text(f"and {more:,} more: --json tells all of them")
    summary = f"{journal} is damaged: {len(problems):,} problems ({did}{beside})"
    yield Text(summary, style="bold red")


def stats_tables(stats: Stats) -> Iterator[RenderableType]:
    """A journal in figures."""
    wal = "none" if stats.wal_bytes is None else size(stats.wal_bytes)
    free = size(stats.free_bytes)
    yield _lines(
        ("journal", f"{stats.path}, schema {stats.schema}"),
        ("open", "by nobody" if stats.holder is None else f"by process {stats.holder}"),
        ("file", f"{size(stats.file_bytes)}, {free} of it free; -wal {wal}"),
        ("sessions", f"{stats.sessions:,}, {stats.snapshots:,} with a snapshot"),
        ("unfinished", f"{stats.unfinished:,} sessions, {stats.running:,} turns"),
        ("messages", f"{stats.messages:,} that have not ended, {stats.scheduled:,} scheduled"),
        ("outbox", f"{stats.deliveries:,} deliveries that have not ended"),
        ("touched", f"{_time(stats.oldest)} to {_time(stats.newest)}"),
    )
    if stats.unreadable:
        words = (
            f"{stats.unreadable:,} unfinished sessions cannot be read: `wavebreak journal check`"
        )
        yield Text(words, style="red")
    rows = Table(box=None, header_style="bold")
    for head in ("rows", "number", "bytes"):
        rows.add_column(head, justify="left" if head == "rows" else "right")
    for table, number in stats.rows.items():
        rows.add_row(table, f"{number:,}", size(stats.bytes[table]))
    yield rows
    if stats.largest:
        largest = Table(box=None, header_style="bold")
        largest.add_column("largest sessions")
        for head in ("rows", "bytes"):
            largest.add_column(head, justify="right")
        for one in stats.largest:
            largest.add_row(Text(str(one.key)), f"{one.rows:,}", size(one.bytes))
        yield largest


def timeline_table(shown: Timeline) -> Iterator[RenderableType]:
    """A session, line by line."""
    now = shown.now
    if now is None:
        yield Text(f"{shown.key}: {shown.trouble}", style="red")
    else:
        words = f"{shown.key}: {now.status}, turn {now.turn}, position {now.position}"
        waits = f", {now.messages} messages and {now.deliveries} deliveries have not ended"
        yield Text(words + (waits if now.messages or now.deliveries else ""), style="bold")
    table = Table(box=None, header_style="bold")
    for name in ("time", "position", "turn", "what"):
        table.add_column(name, no_wrap=name != "what", overflow="fold")
    turn = 0
    for line in shown.lines:
        place = "" if line.position is None else str(line.position)
        number = str(line.turn) if line.turn and line.turn != turn else ""
        turn = line.turn or turn
        table.add_row(_time(line.at), place, number, _words(line))
    yield table
    if shown.kept_from > 1:
        yield Text(f"events are kept from position {shown.kept_from} on", style="dim")


def _words(line: Line) -> Text:
    text = line.text if len(line.text) <= _LONG else f"{line.text[:_LONG]}…"
    shown = Text("  " if line.kind == "call" else "")
    shown.append(line.effect if line.kind == "call" else line.kind, style="dim")
    if line.outcome:
        shown.append("  ")
        shown.append_text(word(line.outcome))
    if text:
        shown.append(f"  {text}")
    return shown


def compacted_words(journal: Path, done: Compacted) -> Text:
    """What came of making a journal smaller."""
    before, after = size(done.bytes_before), size(done.bytes_after)
    text = Text(f"{journal}: {before} before, {after} now; {done.compacted:,} of {done.sessions:,}")
    text.append(f" sessions compacted, {done.dropped:,} rows dropped")
    if done.running:
        text.append(f"; {done.running:,} are in the middle of a turn, and left as they are")
    if done.bad:
        names = ", ".join(str(key) for key in done.bad[:5])
        words = f"; {len(done.bad):,} cannot be read ({names}): `wavebreak journal check`"
        text.append(words, style="red")
    return text
