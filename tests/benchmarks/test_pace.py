from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from wavebreak.benchmarks.replaying.pace import Pace, load_gaps, made_up_gaps
from wavebreak.benchmarks.replaying.recorded import RecordingError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "channel,conversation,seconds,speaker,characters\n"


def timing(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "timing.csv"
    file.write_text(HEADER + "\n".join(rows))
    return file


def test_a_gap_is_from_a_line_to_the_next_of_the_same_person_in_the_same_conversation(
    tmp_path: Path,
) -> None:
    file = timing(
        tmp_path,
        "a,1,0.0,0,5",
        "a,1,4.0,1,5",
        "a,2,5.0,0,5",  # the same number in another conversation is another person
        "a,1,7.0,0,5",
        "a,1,7.5,0,5",
        "b,1,9.0,1,5",
        "a,1,10.0,1,5",
    )

    assert sorted(load_gaps(file)) == [(6.0,), (7.0, 0.5)]


def test_a_gzipped_timing_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "timing.csv.gz"
    file.write_bytes(gzip.compress((HEADER + "a,1,0,0,5\na,1,2,0,5").encode()))

    assert load_gaps(file) == [(2.0,)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,1,soon,0,5"], "line 2: seconds is 'soon'"),
        (["a,1,0,0,5", "a,1,3,1,5"], "nobody in it writes twice"),
    ],
)
def test_what_is_no_timing_file_is_refused(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        load_gaps(timing(tmp_path, *rows))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("channel,seconds\na,1\n")

    with pytest.raises(RecordingError, match="no column conversation, speaker"):
        load_gaps(file)


def test_the_same_seed_deals_the_same_times_and_another_one_others() -> None:
    def dealt(seed: int) -> list[float]:
        pace = Pace(made_up_gaps(1), seed=seed)
        return [at for _ in range(20) for at in pace.arrivals(5)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


def test_the_lines_that_a_person_wrote_in_a_row_stay_in_a_row() -> None:
    pace = Pace([(1.0, 2.0, 3.0)] * 2, seed=1)

    assert pace.arrivals(4) == [0.0, 1.0, 3.0, 6.0]
    assert pace.arrivals(4) == [0.0, 1.0, 3.0, 6.0]


def test_people_in_a_hurry_write_faster_and_a_nights_sleep_is_cut() -> None:
    pace = Pace([(10.0, 50_000.0)], seed=1, hurry=5.0, longest=300.0)

    assert pace.arrivals(3) == [0.0, 2.0, 62.0]


def test_times_are_dealt_anew_when_the_recording_is_used_up() -> None:
    pace = Pace([(1.0,)], seed=1)

    assert pace.arrivals(100)[-1] == 99.0


def test_conversations_begin_at_different_times_and_end_with_the_longest() -> None:
    lengths = [0.0, 10.0, 50.0, 100.0]

    begins = Pace([(1.0,)], seed=1).beginnings(lengths)

    assert begins[-1] == 0.0
    assert len(set(begins)) == len(begins)
    assert all(begin + length <= 100.0 for begin, length in zip(begins, lengths, strict=True))
