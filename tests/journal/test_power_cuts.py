"""Power cuts: any sector that was written since the last sync may be there, or not."""

from __future__ import annotations

import random
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.state import SessionState
from wavebreak.journal.base import Commit
from wavebreak.journal.sqlite import SqliteJournal
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import Run

from .disks import Disk
from .writing import ANN, BEN, accepted, durable, ended, entries_of, journal_at

MESSAGES = 30


class Talk:
    """Two sessions that are written to, and what of it was acknowledged.

    Args:
        seed: of all that is left to chance.
        synchronous: of the journal.
        disk: where the journal is.
        path: its file there.
    """

    def __init__(self, seed: int, synchronous: str, disk: Disk, path: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - to do the same every time
        self.journal = journal_at(path, synchronous=synchronous, vfs=disk.name, snapshot_after=7)
        self.states = {key: SessionState(key) for key in (ANN, BEN)}
        self.acknowledged = {ANN: 0, BEN: 0}

    async def play(self) -> None:
        """Append, now and then a state; wait for some of it."""
        journal, chance = self.journal, self.chance
        await journal.open()
        for key in (ANN, BEN):
            await journal.load(key)
        for _ in range(MESSAGES):
            key = chance.choice((ANN, BEN))
            position = self.states[key].position + 1
            text = "x" * chance.choice((10, 3000, 20_000))
            entries = [accepted(key, position, text), ended(key, position + 1, f"m{position}")]
            self.states[key] = fold(self.states[key], entries)
            commit = journal.append(key, entries)
            commit.add_done_callback(partial(self._note, key, position + 1))
            if chance.random() < 0.2:
                journal.snapshot(key, self.states[key])
            if chance.random() < 0.5:
                await durable(commit)
        await journal.close()

    def _note(self, key: SessionKey, position: int, _: Commit) -> None:
        self.acknowledged[key] = position


class Cut(NamedTuple):
    """What a power cut left.

    Args:
        missing: events that had been acknowledged and are not there.
        acknowledged: events.
    """

    missing: int
    acknowledged: int


def _cuts(run: Run, seed: int, synchronous: str, folder: Path) -> list[Cut]:
    """Cut the power at every write and sync, and see what is there after each cut.

    A fifth of the cuts leave what others left already; it is looked at once, for the last of them.
    """
    chance = random.Random(seed)  # noqa: S311
    left: dict[bytes, tuple[Path, dict[SessionKey, int]]] = {}
    numbers = count()
    with Disk() as disk:
        talk = Talk(seed, synchronous, disk, folder / "journal.db")

        def cut() -> None:
            known = dict(talk.acknowledged)
            if not any(known.values()):
                return  # the file is just made, and nobody was told of anything
            after = folder / str(next(numbers))
            after.mkdir()
            disk.cut(chance, after)
            found = b"".join(file.read_bytes() for file in sorted(after.iterdir()))
            image = sha256(found).digest()
            left.pop(image, None)
            left[image] = after / "journal.db", known

        disk.at_step = cut
        run(talk.play())
    return [Cut(run(_missing(path, known)), sum(known.values())) for path, known in left.values()]


async def _missing(path: Path, known: dict[SessionKey, int]) -> int:
    with Disk() as disk:
        return await _missing_on(journal_at(path, vfs=disk.name), known)


async def _missing_on(journal: SqliteJournal, known: dict[SessionKey, int]) -> int:
    await journal.open()
    missing = 0
    for key in (ANN, BEN):
        recorded = await journal.load(key)
        state = recorded.snapshot or SessionState(key)
        assert isinstance(state, SessionState)
        state = fold(state, recorded.entries)  # no gap, and nothing torn
        missing += max(0, known[key] - state.position)
        assert state.position % 2 == 0, "what was appended as one is there as one"
    await journal.close()
    return missing


async def test_what_was_acknowledged_is_there_after_a_power_cut(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311
    with Disk() as disk:
        journal = journal_at(tmp_path / "journal.db", vfs=disk.name)
        await journal.open()
        for position in range(1, 8):
            await durable(journal.append(ANN, [accepted(ANN, position)]))
            (tmp_path / str(position)).mkdir()
            disk.cut(chance, tmp_path / str(position))
        await journal.close()
    for position in range(1, 8):
        with Disk() as disk:
            after = journal_at(tmp_path / str(position) / "journal.db", vfs=disk.name)
            await after.open()
            assert len(await entries_of(after)) == position
            await after.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_full_loses_nothing_that_was_acknowledged(run: Run, seed: int, tmp_path: Path) -> None:
    cuts = _cuts(run, seed, "FULL", tmp_path)
    assert len(cuts) > 50
    assert [cut.missing for cut in cuts] == [0] * len(cuts)
    assert cuts[-1].acknowledged > MESSAGES, "there was something to lose"


@pytest.mark.slow
def test_normal_may_lose_the_last_moments_and_leaves_a_beginning_without_gaps(
    run: Run, tmp_path: Path
) -> None:
    cuts = _cuts(run, 1, "NORMAL", tmp_path)
    assert len(cuts) > 50
    assert any(cut.missing for cut in cuts), "else the cuts cut nothing"
