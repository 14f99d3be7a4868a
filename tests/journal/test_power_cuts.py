"""Power cuts: any sector that was written since the last sync may be there, or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from wavebreak import SqliteJournal
from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.state import SessionState
from wavebreak.testing import Run

from .disks import Disk
from .writing import ANN, BEN, accepted, ended, journal_at

CUTS = 25


class Talk:
    """Two sessions that are written to, and what of it was acknowledged."""

    def __init__(self, journal: SqliteJournal, chance: random.Random) -> None:
        self.journal = journal
        self.chance = chance
        self.states = {key: SessionState(key) for key in (ANN, BEN)}
        self.acknowledged = {ANN: 0, BEN: 0}

    async def go_on(self, count: int) -> None:
        """Append without waiting, now and then a state; wait for some of it."""
        for _ in range(count):
            key = self.chance.choice((ANN, BEN))
            position = self.states[key].position + 1
            text = "x" * self.chance.choice((10, 3000, 20_000))
            entries = [accepted(key, position, text), ended(key, position + 1, f"m{position}")]
            self.states[key] = fold(self.states[key], entries)
            commit = self.journal.append(key, entries)
            if self.chance.random() < 0.3:
                await self.journal.history(key, 1)  # all of it is durable then
                assert commit.error is None
                self.acknowledged[key] = position + 1
            if self.chance.random() < 0.2:
                self.journal.snapshot(key, self.states[key])


async def _cut(seed: int, synchronous: str, folder: Path) -> dict[str, int]:
    """Cut the power once, and see what is there after it."""
    chance = random.Random(seed)  # noqa: S311 - to do the same every time
    after = folder / f"after-{seed}"
    after.mkdir()
    with Disk() as disk:
        journal = journal_at(
            folder / f"{seed}.db", synchronous=synchronous, vfs=disk.name, snapshot_after=7
        )
        await journal.open()
        for key in (ANN, BEN):
            await journal.load(key)
        talk = Talk(journal, chance)
        await talk.go_on(chance.randrange(60))
        acknowledged = dict(talk.acknowledged)
        disk.cut(chance, after)
        await journal.close()
    journal = journal_at(after / f"{seed}.db")
    await journal.open()
    missing = 0
    for key in (ANN, BEN):
        recorded = await journal.load(key)
        state = recorded.snapshot or SessionState(key)
        assert isinstance(state, SessionState)
        state = fold(state, recorded.entries)  # no gap, and nothing torn
        missing += max(0, acknowledged[key] - state.position)
        if acknowledged[key]:
            assert state.position % 2 == 0, "what was appended as one is there as one"
    await journal.close()
    return {"missing": missing, "acknowledged": sum(acknowledged.values())}


@pytest.mark.slow
def test_full_loses_nothing_that_was_acknowledged(run: Run, tmp_path: Path) -> None:
    total = 0
    for seed in range(CUTS):
        result = run(_cut(seed, "FULL", tmp_path))
        assert result["missing"] == 0, f"seed {seed}"
        total += result["acknowledged"]
    assert total > 100, "there was something to lose"


@pytest.mark.slow
def test_normal_may_lose_the_last_moments_and_leaves_a_beginning_without_gaps(
    run: Run, tmp_path: Path
) -> None:
    results = [run(_cut(seed, "NORMAL", tmp_path)) for seed in range(CUTS)]
    assert any(result["missing"] for result in results), "else the cuts cut nothing"
