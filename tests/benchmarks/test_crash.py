from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wavebreak.benchmarks import crash
from wavebreak.benchmarks.crashing.witness import Account, Witness

DATA = Path(crash.__file__).resolve().parents[2] / "shared" / "data" / "sgd_dev_a.jsonl.gz"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"the recorded conversations are not there: {DATA}")
@pytest.mark.parametrize(("synchronous", "kills"), [("FULL", 60), ("NORMAL", 20)])
def test_a_process_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice(
    synchronous: str, kills: int, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    # A process of its own: one that forks must have no other threads.
    done = subprocess.run(
        [
            *(sys.executable, crash.__file__, str(DATA), "--kills", str(kills)),
            *("--synchronous", synchronous, "--json", str(figures)),
        ],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(figures.read_text())
    assert found["kills"] == kills
    assert found["problems"] == []
    assert found["lost"] == 0
    assert found["answered"] == found["accepted"] > kills
    assert found["made_again"] > 0, "it was killed in the middle of something"


def test_a_file_that_is_no_recording_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crash.main([str(tmp_path / "nothing")]) == 2
    assert "cannot read" in capsys.readouterr().err


Note = tuple[str | int | bool | None, ...]

FINE: list[Note] = [
    ("is_accepted", "ann", "m0"),
    ("starts", "ann", "1.1.1.1", "book(m0,0)", True),
    ("is_recorded", "ann", "1.1.1.1"),
    ("starts", "ann", "1.1.2.1", "compose(m0)", False),
    ("starts", "ann", "1.2.2.1", "compose(m0)", False),
    ("is_recorded", "ann", "1.2.2.1"),
    ("is_delivered", "ann", "d1", "done", "m0"),
    ("is_delivered", "ann", "d1", "done", "m0"),
    ("has_ended", "ann", "m0", "answered", "done"),
]


def heard(path: Path, *notes: Note) -> list[str]:
    with Witness(path) as witness:
        for note in notes:
            witness.note(*note)
    return Account(path).close().problems


def test_a_life_that_went_well_is_no_problem(tmp_path: Path) -> None:
    assert heard(tmp_path / "w", *FINE) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("is_accepted", "ann", "m1"), "never ended"),
        (("starts", "ann", "1.3.1.1", "compose(m0)", False), "durable"),
        (("starts", "ann", "2.1.1.1", "book(m0,0)", True), "twice"),
        (("is_delivered", "ann", "d1", "another", "m0"), "and then"),
        (("is_delivered", "ann", "d2", "done", "m0"), "two deliveries"),
        (("has_ended", "ann", "m0", "answered", "another"), "then"),
        (("has_ended", "ann", "m9", "failed", None), "failed"),
        (("has_ended", "ann", "m9", "answered", "x"), "not delivered"),
    ],
)
def test_what_goes_wrong_is_a_problem(wrong: Note, words: str, tmp_path: Path) -> None:
    (problem,) = heard(tmp_path / "w", *FINE, wrong)
    assert words in problem


def test_a_line_that_the_kill_cut_off_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b'["is_accepted", "ann", "m0"]\n["has_en')
    account = Account(path)
    account.read()
    assert account.accepted == {("ann", "m0")}
    assert account.ended == {}


def test_what_follows_on_a_line_that_was_cut_off_stands_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b'["is_accepted", "ann", "m0"]\n["has_en')
    account = Account(path)
    account.read()
    with Witness(path) as witness:
        witness.note("is_accepted", "ann", "m1")
    account.read()
    with Witness(path) as witness:
        witness.note("is_accepted", "ann", "a\ttab")
    account.read()
    assert account.accepted == {("ann", "m0"), ("ann", "m1"), ("ann", "a\ttab")}
    assert account.ended == {}
