from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from wavebreak.benchmarks import durable

RAW = Path(durable.__file__).parent / "raw_durable.py"


def test_the_plain_comparators_file_is_frozen() -> None:
    assert hashlib.sha256(RAW.read_bytes()).hexdigest() == (
        "866a8f423b0e3a2e25aeb9432fc0f3a39519a1577528e1d24d489240627627ce"
    ), "raw_durable.py is what later figures compare with: leave it as it is"


@pytest.mark.slow
def test_durable_turns_are_compared_and_journals_started(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert durable.main(["--quick", "--at-rest", "300", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found) == ["interrupted", "no-op", "recovery", "at rest"]
    assert found["no-op"]["ratio"] > 0
    assert found["recovery"]["conversations"] == 100
    assert found["at rest"]["conversations"] == 300
