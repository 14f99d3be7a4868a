"""When people write: gaps between two lines of one person, as they were recorded."""

from __future__ import annotations

import csv
import gzip
import io
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from .recorded import GZIP_MAGIC, RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Without a recording: a lognormal with about the recorded median and spread.
MEDIAN_GAP = 80.0
SPREAD_OF_GAPS = 1.8
GAPS_MADE_UP = 10_000
COLUMNS = ("channel", "conversation", "seconds", "speaker")

Gaps = tuple[float, ...]
"""Seconds from each line of one person in one conversation to that person's next."""


def load_gaps(path: Path) -> list[Gaps]:
    """Read what each person of a timing file did.

    Args:
        path: a CSV file, gzipped or not, with the columns channel, conversation, seconds (since
            the conversation's first line) and speaker.

    Raises:
        RecordingError: when the file is missing, or has other columns or no gaps.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        msg = f"cannot read {path}: {error}"
        raise RecordingError(msg) from error
    rows = csv.DictReader(io.StringIO(text))
    missing = sorted(set(COLUMNS) - set(rows.fieldnames or ()))
    if missing:
        msg = f"{path} is no timing file: it has no column {', '.join(missing)}"
        raise RecordingError(msg)
    gaps = list(_gaps(path, rows))
    if not gaps:
        msg = f"{path}: nobody in it writes twice"
        raise RecordingError(msg)
    return gaps


def made_up_gaps(seed: int) -> list[Gaps]:
    """Draw gaps for a replay without a timing file."""
    chance = Random(f"gaps {seed}")  # noqa: S311 - a benchmark, not a secret
    return [(MEDIAN_GAP * chance.lognormvariate(0, SPREAD_OF_GAPS),) for _ in range(GAPS_MADE_UP)]


class Pace:
    """Deals recorded gaps to messages.

    People are shuffled, not gaps: somebody who writes three lines in a row does so in the replay.

    Args:
        gaps: what each person did.
        seed: the same seed deals the same gaps.
        hurry: how many times faster people write than they did.
        longest: seconds to which a recorded gap is cut, so that a night's sleep ends.
    """

    def __init__(
        self, gaps: Iterable[Gaps], *, seed: int, hurry: float = 1.0, longest: float = 300.0
    ) -> None:
        self._people = list(gaps)
        self._chance = Random(f"pace {seed}")  # noqa: S311 - a benchmark, not a secret
        self._hurry = hurry
        self._longest = longest
        self._deal = self._endless()

    def arrivals(self, messages: int) -> list[float]:
        """Say when each message of a conversation is sent, from 0 for the first."""
        gaps = (next(self._deal) for _ in range(messages - 1))
        return list(accumulate(gaps, initial=0.0))

    def beginnings(self, lengths: Sequence[float]) -> list[float]:
        """Say when each conversation begins: at random, but none ends after the longest.

        That spreads the work, and takes no longer than playing them all from the first second.

        Args:
            lengths: seconds from the first to the last message of each.
        """
        longest = max(lengths)
        return [self._chance.uniform(0.0, longest - length) for length in lengths]

    def _endless(self) -> Iterator[float]:
        while True:
            self._chance.shuffle(self._people)
            for person in self._people:
                for gap in person:
                    yield min(gap, self._longest) / self._hurry


def _gaps(path: Path, rows: csv.DictReader[str]) -> Iterator[Gaps]:
    last: dict[tuple[str, str, str], float] = {}
    gaps: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        person = (row["channel"], row["conversation"], row["speaker"])
        try:
            at = float(row["seconds"])
        except (TypeError, ValueError) as error:
            msg = f"{path}, line {rows.line_num}: seconds is {row['seconds']!r}, not a number"
            raise RecordingError(msg) from error
        if person in last:
            gaps.setdefault(person, []).append(max(0.0, at - last[person]))
        last[person] = at
    for several in gaps.values():
        yield tuple(several)
