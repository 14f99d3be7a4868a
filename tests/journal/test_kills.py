"""A process that is killed between any two writes leaves all of a transaction, or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from wavebreak.actors.machine.state import SessionState

from .disks import Disk
from .writing import ANN, copy, durable, entries_of, journal_at, progressed

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LAST = 12
"""The position of the last entry."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Kills:
    """Images of a journal, as a kill at each of its writes and syncs would leave it.

    Args:
        disk: where the journal is.
        path: its file there.
        folder: for the images.
    """

    def __init__(self, disk: Disk, path: Path, folder: Path) -> None:
        self._disk, self._path, self._folder = disk, path, folder
        self.images: list[Path] = []

    @contextmanager
    def at_each_step(self) -> Generator[None]:
        """Take one before and after all that is written meanwhile, and at each step of it."""
        self._take()
        self._disk.at_step = self._take
        try:
            yield
        finally:
            self._disk.at_step = None
            self._take()

    def _take(self) -> None:
        self.images.append(copy(self._path, self._folder / f"image-{len(self.images)}"))


@pytest.mark.slow
async def test_a_state_and_what_it_takes_the_place_of_are_one_transaction(
    path: Path, tmp_path: Path
) -> None:
    state = SessionState(ANN).changed(LAST)
    with Disk() as disk:
        kills = Kills(disk, path, tmp_path)
        journal = journal_at(path, vfs=disk.name, snapshot_after=5)
        await journal.open()
        await journal.load(ANN)
        for position in range(1, LAST + 1):
            await durable(journal.append(ANN, [progressed(position)]))
        with kills.at_each_step():
            journal.snapshot(ANN, state)
            await journal.load(ANN)
        await journal.close()
    taken: list[bool] = []
    for image in kills.images:
        killed = journal_at(image)
        await killed.open()
        recorded = await killed.load(ANN)
        taken.append(recorded.snapshot is not None)
        assert recorded.snapshot == (state if taken[-1] else None)
        assert len(recorded.entries) == (0 if taken[-1] else LAST)
        await killed.close()
    assert len(taken) > 3
    assert (taken[0], taken[-1]) == (False, True)


@pytest.mark.slow
async def test_rows_that_are_sorted_are_in_one_place_all_the_time(
    path: Path, tmp_path: Path
) -> None:
    with Disk() as disk:
        kills = Kills(disk, path, tmp_path)
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        for position in range(1, LAST + 1):
            await durable(journal.append(ANN, [progressed(position)]))
        with kills.at_each_step():
            await journal.close()
    for image in kills.images:
        killed = journal_at(image)
        await killed.open()
        found = await entries_of(killed)
        assert [entry.position for entry in found] == list(range(1, LAST + 1))
        await killed.close()
    assert len(kills.images) > 3
