"""The explorer finds every known defect; one that it does not find is a failing test."""

from __future__ import annotations

import pytest

from wavebreak.testing import Failure, explore

from .defects import DEFECTS, Defect

WITHIN = 60.0
"""Seconds that it has for each."""


def test_the_catalogue_has_at_least_twenty() -> None:
    names = [defect.what for defect in DEFECTS]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.slow
@pytest.mark.timeout(WITHIN + 30)
@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_every_known_defect_is_found_and_told_in_fifteen_lines(defect: Defect) -> None:
    with defect.patch(), pytest.raises(Failure) as found:
        explore(
            defect.agent,
            defect.script,
            inject=defect.inject,
            schedules=100_000,
            seconds=WITHIN,
            **defect.options,
        )
    lines = found.value.timeline
    assert 2 <= len(lines) <= 15
    assert lines[-1].startswith("  BROKEN  ")
