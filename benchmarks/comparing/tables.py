"""The tables of a report: in the terminal, and in Markdown for the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table

from .reach import judge
from .report import Part, ratios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .reach import Bar, Reached
    from .report import Number, Report

_NOISY: Final = 0.005
"""A deviation below which none is shown."""


def short(number: float) -> str:
    """Write a number with three digits or so."""
    if number != number or abs(number) >= 100:  # noqa: PLR0124, PLR2004 - not a number
        return f"{number:,.0f}"
    return f"{number:.3g}"


def cell(number: Number) -> str:
    """Write a median, and the noise."""
    words = short(number.median)
    return f"{words} ±{number.noise:.0%}" if number.noise > _NOISY else words


class Rows:
    """A case as rows of text: a system, its numbers with their noise, and their ratios."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts
        self.names = list(dict.fromkeys(name for part in parts.values() for name in part.numbers))
        self._ratios = {name: ratios(parts, name) for name in self.names}
        self.compared = [name for name in self.names if len(self._ratios[name]) > 1]

    @property
    def head(self) -> list[str]:
        """The heads of the columns."""
        columns = [""]
        for name in self.names:
            unit = next(p.numbers[name].unit for p in self.parts.values() if name in p.numbers)
            columns.append(f"{name}, {unit}" if unit else name)
            if name in self.compared:
                columns.append("×")
        return columns

    def __iter__(self) -> Iterator[list[str]]:
        for system, part in self.parts.items():
            if part.numbers:
                yield [self._named(system, part), *self._cells(system, part)]

    def _named(self, system: str, part: Part) -> str:
        return system if part.count is None else f"{system} ({part.count:,})"

    def _cells(self, system: str, part: Part) -> Iterator[str]:
        for name in self.names:
            number = part.numbers.get(name)
            yield "–" if number is None else cell(number)
            if name in self.compared:
                ratio = self._ratios[name].get(system)
                yield "–" if ratio is None else f"{ratio:.2f}"

    def left_out(self) -> Iterator[tuple[str, str]]:
        """Give the systems without numbers, and why."""
        for system, part in self.parts.items():
            if not part.numbers:
                yield system, part.why_not or "not measured"


def in_terminal(name: str, parts: Mapping[str, Part]) -> Table:
    """Draw a case as a table for the terminal."""
    rows = Rows(parts)
    table = Table(title=name, title_justify="left", caption_justify="left")
    for column in rows.head:
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        table.add_row(*row)
    left_out = [f"–  {system}: {why}" for system, why in rows.left_out()]
    table.caption = "\n".join(left_out) or None
    return table


def in_markdown(parts: Mapping[str, Part]) -> str:
    """Draw a case as a table for a page."""
    rows = Rows(parts)
    lines = markdown(rows.head, rows)
    left_out = [f"- {system}: – ({why})" for system, why in rows.left_out()]
    return "\n".join([*lines, *(["", *left_out] if left_out else [])])


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """Draw a table of text, whose first columns are words and the others numbers."""
    aligned = ["---"] * words + ["---:"] * (len(head) - words)
    return [f"| {' | '.join(row)} |" for row in (head, aligned, *rows)]


REACH_HEAD: Final = ("case", "what", "measured", "at least", "aim")


def reach_rows(report: Report) -> Iterator[list[str]]:
    """Write each bar beside what was measured."""
    for reached in judge(report):
        bar, measured = reached.bar, reached.measured
        yield [
            bar.case,
            bar.what,
            "–" if measured is None else short(measured),
            _against(bar, bar.at_least, reached.at_least),
            _against(bar, bar.aim, reached.aim),
        ]


def _against(bar: Bar, limit: float | None, holds: bool | None) -> str:
    if limit is None:
        return ""
    words = f"{'≤' if bar.most else '≥'} {short(limit)}"
    return words if holds is None else f"{words} {'reached' if holds else 'not reached'}"


def reach_in_terminal(report: Report) -> Table:
    """Draw the bars for the terminal."""
    table = Table(title="what is to be reached", title_justify="left")
    for column in REACH_HEAD:
        table.add_column(column, justify="right" if column == "measured" else "left")
    for row in reach_rows(report):
        table.add_row(*(_coloured(text) for text in row))
    return table


def _coloured(text: str) -> str:
    if text.endswith("not reached"):
        return f"[red]{text}[/]"
    return f"[green]{text}[/]" if text.endswith("reached") else text


def reach_in_markdown(report: Report) -> str:
    """Draw the bars for a page."""
    return "\n".join(markdown(REACH_HEAD, reach_rows(report), words=2))


def missed(report: Report) -> list[Reached]:
    """Give the bars that were measured and are not reached."""
    return [one for one in judge(report) if one.at_least is False]
