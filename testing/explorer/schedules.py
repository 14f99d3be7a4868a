"""Which schedules are played: every injection at every moment first, then what is drawn."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from .script import STEP, At, Inject, Schedule, fitting

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from .facts import Facts

SYSTEMATIC = 0.7
"""The part of the schedules that may go to single injections; the rest is drawn."""


def schedules(
    plain: Facts, slow: Facts, kinds: Sequence[str], most: int, draw: random.Random
) -> Iterator[tuple[Schedule, bool]]:
    """Each injection by itself at every moment, then what is drawn."""
    single = [*_single(plain, kinds), *_single(slow, kinds)]
    # If they are too many to play them all, those at the boundaries come first.
    boundaries = [one for one in single if not one.inject[0].at.startswith(STEP)]
    others = [one for one in single if one.inject[0].at.startswith(STEP)]
    draw.shuffle(boundaries)
    draw.shuffle(others)
    single = (boundaries + others)[: int(most * SYSTEMATIC)]
    for schedule in single:
        yield schedule, True
    while True:
        yield _drawn(plain, kinds, draw), False


def _single(facts: Facts, kinds: Sequence[str]) -> list[Schedule]:
    moments = _moments(facts)
    return [
        facts.schedule._replace(inject=(Inject(what, str(at)),))
        for what, at in product(kinds, moments)
        if fitting(what, (at,))
    ]


def _moments(facts: Facts) -> list[At]:
    return [At(kind, n) for kind, count in facts.moments.items() for n in range(1, count + 1)]


def _drawn(plain: Facts, kinds: Sequence[str], draw: random.Random) -> Schedule:
    """An order and up to four injections; what is injected makes the run longer."""
    moments = plain.moments
    injections: list[Inject] = []
    for _ in range(draw.choice((0, 1, 2, 2, 3, 4)) if kinds else 0):
        what = draw.choice(kinds)
        places = fitting(what, [At(kind, count) for kind, count in moments.items() if count])
        if not places:
            continue
        at = draw.choice(places)
        injections.append(Inject(what, f"{at.kind} {draw.randint(1, at.number * 3 // 2 + 1)}"))
    order = draw.getrandbits(32) if draw.random() < 0.8 else None  # noqa: PLR2004
    return Schedule(order, draw.random() < 0.5, tuple(injections))  # noqa: PLR2004
