"""What is to be reached: each bar of issue 7, at least and aimed at, and whether it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .systems import CANCELLING, OURS, OURS_UVLOOP, RAW, RAW_UVLOOP, by_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from .report import Report


NOISE_OF_MEMORY: Final = 32
"""Bytes by which the memory of 10,000 things, divided by their number, is off by itself."""


class Bar(NamedTuple):
    """One bar.

    Args:
        case: the letter and words of the goal.
        what: what is compared with what.
        of: finds it in a report; None where it was not measured.
        at_least: the bar; None where only the aim is stated.
        aim: what is aimed at; None where nothing further is.
        most: whether the bars are upper ones.
    """

    case: str
    what: str
    of: Callable[[Report], float | None]
    at_least: float | None
    aim: float | None = None
    most: bool = False

    def holds(self, measured: float, bar: float | None) -> bool | None:
        """Whether a measured number reaches a bar; None if there is none."""
        if bar is None:
            return None
        return measured <= bar if self.most else measured >= bar


class Reached(NamedTuple):
    """A bar and what was measured."""

    bar: Bar
    measured: float | None
    at_least: bool | None
    aim: bool | None


def judge(report: Report) -> list[Reached]:
    """Hold a report against all bars."""
    found: list[Reached] = []
    for bar in BARS:
        measured = bar.of(report)
        if measured is None:
            found.append(Reached(bar, None, None, None))
        else:
            found.append(
                Reached(
                    bar, measured, bar.holds(measured, bar.at_least), bar.holds(measured, bar.aim)
                )
            )
    return found


def _value(case: str, name: str, system: str = OURS) -> Callable[[Report], float | None]:
    return lambda report: report.number(case, name, system)


def _ratio(
    case: str, name: str, other: str = RAW, ours: str = OURS, other_case: str = ""
) -> Callable[[Report], float | None]:
    def of(report: Report) -> float | None:
        mine = report.number(case, name, ours)
        theirs = report.number(other_case or case, name, other)
        return None if mine is None or not theirs else mine / theirs

    return of


def _spread(prefix: str, name: str) -> Callable[[Report], float | None]:
    """The dearest of the cases of a family as a multiple of the smallest one."""

    def of(report: Report) -> float | None:
        numbers = [
            number
            for case in report.cases
            if case.startswith(prefix) and (number := report.number(case, name, OURS)) is not None
        ]
        return max(numbers) / numbers[0] if len(numbers) > 1 else None

    return of


def _highest(prefix: str, name: str) -> Callable[[Report], float | None]:
    """The highest that was measured in the cases of a family."""

    def of(report: Report) -> float | None:
        cases = [case for case in report.cases if case.startswith(prefix)]
        numbers = [report.number(case, name, OURS) for case in cases]
        return max((number for number in numbers if number is not None), default=None)

    return of


def _growth_of_stop(report: Report) -> float | None:
    """Seconds to stop an actor among 100,000, as a multiple of that among 10,000."""
    whole = report.number("C actors, 100,000", "stop", OURS)
    each = report.number("C actors, 10,000", "stops", OURS)
    return None if whole is None or each is None else whole / 100_000 * each


def _booked_twice(report: Report) -> float | None:
    """Bookings made twice, by whichever policy that was worst."""
    ours = [found for system, found in report.replay.items() if system != CANCELLING]
    return max((found["once_duplicates"] for found in ours), default=None)


def _wasted(policy: str) -> Callable[[Report], float | None]:
    def of(report: Report) -> float | None:
        ours = report.replay.get(by_policy(policy), {}).get("tool_seconds_wasted")
        other = report.replay.get(CANCELLING, {}).get("tool_seconds_wasted")
        return None if ours is None or not other else ours / other

    return of


_CPU, _TURN, _NO_OP = "CPU a call", "CPU a turn", "no-op turns"
_D: Final = "D after_wave, {}"

BARS: Final = (
    Bar("A", "tells in the loop × raw", _ratio("A loop", "tells"), 0.75, 0.9),
    Bar("A", "tells from a thread × Pykka", _ratio("A thread", "tells", "Pykka"), 6),
    Bar(
        "A",
        "tells from a thread to 100 actors × Pykka",
        _ratio("A thread, 100 actors", "tells", "Pykka"),
        6,
    ),
    Bar("B", "asks in the loop × raw", _ratio("B", "asks"), 0.75),
    Bar(
        "B",
        "asks × raw, both on uvloop",
        _ratio("B", "asks", RAW_UVLOOP, OURS_UVLOOP),
        None,
        0.75,
    ),
    Bar("C", "starts of actors × Pykka", _ratio("C actors, 10,000", "starts", "Pykka"), 40),
    Bar(
        "C",
        "bytes of an idle actor",
        _value("C actors, 100,000", "memory of one"),
        1.3 * 1024,
        0.6 * 1024,
        most=True,
    ),
    Bar("C", "seconds to stop 100,000", _value("C actors, 100,000", "stop"), 2, 0.7, most=True),
    Bar("C", "a stop among 100,000 ÷ among 10,000", _growth_of_stop, 1.3, most=True),
    Bar(
        "C",
        f"bytes of a session at rest (0, and {NOISE_OF_MEMORY} for the allocator)",
        _value("C session at rest", "memory of one"),
        NOISE_OF_MEMORY,
        most=True,
    ),
    *(
        Bar(
            "D",
            f"CPU a call, {size} sessions × raw",
            _ratio(_D.format(size), _CPU),
            1.2,
            1.0,
            most=True,
        )
        for size in ("100", "1,000", "10,000")
    ),
    *(
        Bar(
            "D",
            f"the same on uvloop × raw, {size}",
            _ratio(_D.format(size), _CPU, RAW, OURS_UVLOOP),
            None,
            0.7,
            most=True,
        )
        for size in ("100", "1,000", "10,000")
    ),
    Bar(
        "D",
        "CPU a call, 100 sessions × LangGraph",
        _ratio(_D.format("100"), _CPU, "LangGraph"),
        1 / 12,
        most=True,
    ),
    Bar("D", "wait p50, light load × raw", _ratio("D light", "wait p50"), 1.5, most=True),
    Bar("D", "wait p99, light load, ms", _value("D light", "wait p99"), 0.5, most=True),
    Bar(
        "D",
        "wait p50, 1,000 sessions × raw",
        _ratio(_D.format("1,000"), "wait p50"),
        None,
        1.3,
        most=True,
    ),
    *(
        Bar(
            "D",
            f"waves begun after the stop was told, {policy}, {size}",
            _value(f"D {policy}, {size}", "late waves"),
            0,
            most=True,
        )
        for policy in ("after_wave", "now")
        for size in ("1,000", "10,000")
    ),
    *(
        bar
        for kind in ("interrupted", "no-op")
        for bar in (
            Bar(
                "E",
                f"{kind}: CPU a turn × raw durable",
                _ratio(f"E {kind}", _TURN, "raw durable"),
                1.3,
                1.1,
                most=True,
            ),
            Bar(
                "E", f"{kind}: turns × LangGraph", _ratio(f"E {kind}", "turns", "LangGraph"), 15, 50
            ),
            Bar("E", f"{kind}: turns × DBOS", _ratio(f"E {kind}", "turns", "DBOS"), 15, 50),
        )
    ),
    Bar("F", "no-op turns × raw", _ratio("F", _NO_OP), 0.95, 1.3),
    Bar("F", "on uvloop × raw", _ratio("F", _NO_OP, RAW, OURS_UVLOOP), None, 2),
    Bar("F", "no-op turns × LangGraph", _ratio("F", _NO_OP, "LangGraph"), 28),
    Bar("G", "bookings made twice, by the worst policy", _booked_twice, 0, most=True),
    *(
        Bar(
            "G",
            f"tool seconds wasted × cancel and start over, {words}",
            _wasted(policy),
            1 / 3,
            0.1,
            most=True,
        )
        for policy, words in (
            ("after_wave", "by default (AfterWave)"),
            ("by_wave", "by a chooser (by_wave)"),
        )
    ),
    Bar(
        "H",
        "dearest turn ÷ that of the fewest sessions",
        _spread("H sessions", _TURN),
        1.3,
        most=True,
    ),
    Bar(
        "H",
        "dearest turn ÷ that of the shortest history",
        _spread("H events", _TURN),
        1.3,
        most=True,
    ),
    Bar(
        "H",
        "durable: dearest turn ÷ that of a short history beside it",
        _highest("H durable", "beside a short one"),
        1.3,
        most=True,
    ),
)
