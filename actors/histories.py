"""Reading histories: from the journal, beside the sessions, which go on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..messages.errors import InvalidMessage, SystemClosed
from .machine.reading import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from .requests import HistoryRequest

    Fetch = Callable[[SessionKey, int], Awaitable[Sequence[HistoryEntry]]]


def check_limit(limit: object) -> None:
    """Look at how many entries are asked for.

    Raises:
        InvalidMessage: it is no number of entries.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        msg = f"limit={limit!r}: give a number of entries, 0 or more"
        raise InvalidMessage(msg)


async def read_history(
    fetch: Fetch,
    key: SessionKey,
    limit: int,
    tail: Sequence[HistoryEntry] = (),
    before: int | None = None,
) -> tuple[HistoryEntry, ...]:
    """The last entries of a session's history, as they may be seen.

    Args:
        fetch: gives the last entries that are stored.
        key: the session.
        limit: entries at most.
        tail: what is not stored yet.
        before: what is stored of this turn, and of later ones, is left out.
    """
    if not limit:
        return ()
    asked = limit
    while True:
        stored = await fetch(key, asked)
        kept = stored if before is None else [entry for entry in stored if entry.turn < before]
        shown = readable((*kept, *tail), limit)
        if shown.enough or len(stored) < asked:
            return shown.entries
        asked *= 2  # some of it is not shown, as it only corrects the rest


class Histories:
    """Answers those who ask a session for its history.

    Args:
        fetch: gives the last entries that are stored.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._reading: dict[asyncio.Task[None], HistoryRequest] = {}

    def answer(
        self,
        key: SessionKey,
        request: HistoryRequest,
        tail: Sequence[HistoryEntry],
        before: int,
    ) -> None:
        """Read, and tell; beside the session, which does not wait for it."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._read(key, request, tail, before))
        self._reading[task] = request
        task.add_done_callback(self._reading.pop)

    async def _read(
        self,
        key: SessionKey,
        request: HistoryRequest,
        tail: Sequence[HistoryEntry],
        before: int,
    ) -> None:
        try:
            entries = await read_history(self._fetch, key, request.limit, tail, before)
        except Exception as error:  # noqa: BLE001 - it belongs to who asked
            request.entries.try_set_error(error)
        else:
            request.entries.try_set(entries)

    async def close(self) -> None:
        """Read no more; who still waits is told."""
        reading = dict(self._reading)
        for task, request in reading.items():
            task.cancel()
            msg = "the system was closed while the history was read: ask again after a restart"
            request.entries.try_set_error(SystemClosed(msg))
        if reading:
            await asyncio.wait(reading)
