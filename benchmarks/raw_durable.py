"""What a good engineer writes by hand to keep conversations on the disk: a group-commit writer.

The yardstick of ``durable.py``, and frozen, like ``raw_asyncio.py`` on which it builds. One thread
takes all that waits, writes it in one SQLite transaction, and tells the loop. A message is accepted
when it is written; a wave begins when it is, with the results of the one before; a reply leaves
when it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotpath_job import CALL_SECONDS, CALLS, SECOND_MESSAGE_AFTER, WAVES, begin, work
from raw_asyncio import Call, Session

if TYPE_CHECKING:
    from hotpath_job import Case, Counter
    from raw_asyncio import Turn


class Writer:
    """Writes what happened, in a thread, everything that waits in one transaction."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def append(self, session: str, **what: Any) -> asyncio.Future[None]:
        """Write something down; the future is done when it is on the disk."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((session, json.dumps(what), written))
        return written

    def close(self) -> None:
        """Write what waits."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, session, what)")
            while self._write(database):
                pass

    def _write(self, database: sqlite3.Connection) -> bool:
        items = [self._queue.get()]
        while not self._queue.empty():
            items.append(self._queue.get())
        rows = [item for item in items if item is not None]
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO event (session, what) VALUES (?, ?)", [row[:2] for row in rows]
        )
        database.execute("COMMIT")
        self._loop.call_soon_threadsafe(_done, [row[2] for row in rows])
        return len(rows) == len(items)


def _done(written: list[asyncio.Future[None]]) -> None:
    for future in written:
        if not future.done():
            future.set_result(None)


async def job(case: Case, counter: Counter) -> None:
    """Run every session's conversation."""

    async def busy(wave: int, place: int) -> int:
        counter.calls += 1
        await asyncio.sleep(CALL_SECONDS)
        return wave * CALLS + place

    async def no_op(wave: int, place: int) -> int:
        counter.calls += 1
        return wave * CALLS + place

    tool = busy if case.busy else no_op

    async def agent(turn: Turn) -> str:
        counter.runs += 1
        session = turn.session.session_id
        total = 0
        results: list[int] = []
        for wave in range(WAVES):
            calls = [Call("tool", (wave, place), tool) for place in range(CALLS)]
            turn.check()
            named = [{"tool": call.name, "arguments": call.arguments} for call in calls]
            await writer.append(session, wave=wave, calls=named, results=results)
            results = await turn.wave(*calls)
            total += sum(results)
        turn.check()
        await writer.append(session, results=results, reply=str(total), ended=len(turn.messages))
        return str(total)

    async def deliver(session_id: str, reply: str) -> None:
        del reply
        counter.replies += 1
        writer.append(session_id, delivered=counter.replies)

    with tempfile.TemporaryDirectory(dir=sys.argv[2] if sys.argv[2:] else None) as folder:
        writer = Writer(Path(folder, "events.db"))
        await asyncio.gather(
            *(
                _converse(Session(f"s{n}", agent, deliver), n, case, writer)
                for n in range(case.sessions)
            )
        )
        writer.close()


async def _converse(session: Session, number: int, case: Case, writer: Writer) -> None:
    await begin(number, case)
    for _ in range(case.rounds):
        await writer.append(session.session_id, message="one", id=f"{number}")
        first = session.send("one")
        if case.interrupts:
            await asyncio.sleep(SECOND_MESSAGE_AFTER)
            await writer.append(session.session_id, message="two", id=f"{number}")
            await session.send("two")
        await first
    await session.close()


if __name__ == "__main__":
    work(job)
