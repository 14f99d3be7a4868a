from __future__ import annotations

import json
from pathlib import Path

import pytest

from wavebreak.benchmarks import durable


@pytest.mark.slow
def test_durable_turns_are_compared_and_journals_started(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert durable.main(["--quick", "--at-rest", "300", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found) == ["interrupted", "no-op", "recovery", "at rest"]
    assert found["no-op"]["ratio"] > 0
    assert found["recovery"]["conversations"] == 100
    assert found["at rest"]["conversations"] == 300
