"""The explorer finds every known defect; one that it does not find is a failing test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from wavebreak.testing import Failure, explore

_SPEC = importlib.util.spec_from_file_location("defects", Path(__file__).with_name("defects.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
defects: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["defects"] = defects
_SPEC.loader.exec_module(defects)

WITHIN = 60.0
"""Seconds that it has for each."""


def test_the_catalogue_has_at_least_twenty() -> None:
    names = [defect.what for defect in defects.DEFECTS]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.slow
@pytest.mark.timeout(WITHIN + 30)
@pytest.mark.parametrize("defect", defects.DEFECTS, ids=str)
def test_every_known_defect_is_found_and_told_in_fifteen_lines(defect: Any) -> None:
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
