"""Makes a failing run short: fewer lines, fewer injections, a plainer order, a better place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .script import CALL, DELIVER, END, RECORD, STEP, At, Inject, Say, Schedule, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .facts import Facts
    from .script import Line

    Script = tuple[Line, ...]
    PlayOne = Callable[[Schedule, Script], Facts]


SECONDS = 10.0
"""Real seconds that are spent on making a failure short."""


def shrunk(play: PlayOne, facts: Facts, script: Script, most: int) -> tuple[Facts, Script]:
    """The shortest run found in which the same promise is broken.

    Args:
        play: plays a schedule of a script.
        facts: a run in which it is broken.
        script: the script of that run.
        most: how many runs to spend.

    Returns:
        What is known of it, and its script.
    """
    promise = facts.broken[0].promise
    left = most
    give_up = time.monotonic() + SECONDS
    again = True
    while again and left > 0:
        again = False
        for schedule, lines in _shorter(facts, script):
            left -= 1
            tried = play(schedule, lines)
            if tried.broken and tried.broken[0].promise == promise:
                facts, script, again = tried, lines, True
                break
            if left <= 0 or time.monotonic() > give_up:
                left = 0
                break
    return facts, script


def _shorter(facts: Facts, script: Script) -> Iterator[tuple[Schedule, Script]]:
    """What might do as well, the greatest relief first."""
    schedule = facts.schedule
    yield from _fewer_lines(facts, script)
    for inject in schedule.inject:
        yield schedule.without(inject), script
    if schedule.order is not None:
        yield schedule._replace(order=None), script
    if schedule.slow:
        yield schedule._replace(slow=False), script
    for place, inject in enumerate(schedule.inject):
        if inject.moment.kind == STEP:
            for better in _named(inject, facts):
                others = (*schedule.inject[:place], better, *schedule.inject[place + 1 :])
                yield schedule._replace(inject=others), script


def _fewer_lines(facts: Facts, script: Script) -> Iterator[tuple[Schedule, Script]]:
    schedule = facts.schedule
    for place in range(len(script) - 1, -1, -1):
        rest = (*script[:place], *script[place + 1 :])
        if not any(isinstance(line, Say) for line in rest):
            continue
        yield schedule, rest
        if len(schedule.inject) == 1:
            # The moments are others then.
            for other in _named(schedule.inject[0], facts):
                yield schedule._replace(inject=(other,)), rest


def _named(inject: Inject, facts: Facts) -> Iterator[Inject]:
    """The same at a moment that says something to people, rather than at a step."""
    for kind in (CALL, END, RECORD, DELIVER):
        for number in range(1, min(facts.moments.get(kind, 0), 12) + 1):
            if fitting(inject.what, (At(kind, number),)):
                yield Inject(inject.what, f"{kind} {number}")
