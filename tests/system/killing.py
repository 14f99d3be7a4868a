"""What is on the disk at one moment, as the process after a kill finds it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from wavebreak import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wavebreak.journal.items import Item


def image(path: Path, name: str) -> Path:
    """Copy a journal that is in use into a folder beside it."""
    to = path.parent / name
    to.mkdir()
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        shutil.copy(source, to / source.name)
    return to / path.name


class ImagedJournal(SqliteJournal):
    """A journal that leaves an image after every commit, before anybody is told of it.

    Args:
        path: where it is.
        look: called with each image, in the writer's thread.
    """

    def __init__(self, path: Path, look: Callable[[Path], None]) -> None:
        super().__init__(path, snapshot_after=15)
        self.file = path
        self.look = look
        self.commits = 0

    async def open(self) -> None:
        """Open it, and look at what its writer does."""
        await super().open()
        assert self._open is not None
        writer = self._open.writer
        write = writer.write

        def write_and_copy(items: Sequence[Item]) -> None:
            write(items)
            self.commits += 1
            self.look(image(self.file, f"killed-{self.commits}"))

        writer.write = write_and_copy  # type: ignore[method-assign]
