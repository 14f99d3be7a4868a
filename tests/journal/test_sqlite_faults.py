"""Disks that fail: what was acknowledged is there, what is unknown is said to be, and it heals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from pathlib import Path

import apsw
import pytest

from wavebreak import JournalFull, SqliteJournal
from wavebreak.journal.base import Commit
from wavebreak.journal.database import opened
from wavebreak.messages.errors import JournalError
from wavebreak.messages.ids import SessionKey

from .disks import Disk
from .writing import ANN, BEN, accepted, durable, entries_of, journal_at, progressed


@pytest.fixture
def disk() -> Generator[Disk]:
    with Disk() as disk:
        yield disk


@pytest.fixture
def journal(tmp_path: Path, disk: Disk) -> SqliteJournal:
    return journal_at(tmp_path / "journal.db", vfs=disk.name)


async def test_a_sync_that_fails_leaves_it_unknown_and_the_journal_goes_on(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
    lost = journal.append(ANN, [progressed(2)])
    with pytest.raises(apsw.IOError):
        await durable(lost)
    # What follows on it is not written before its session has been read again.
    with pytest.raises(apsw.IOError):
        await durable(journal.append(ANN, [progressed(3)]))
    await durable(journal.append(BEN, [progressed(1)]))
    known = await entries_of(journal)
    assert len(known) in {1, 2}
    await durable(journal.append(ANN, [progressed(len(known) + 1)]))
    assert len(await entries_of(journal)) == len(known) + 1
    await journal.close()


async def test_sessions_that_nobody_uses_are_looked_for_again_after_a_sync_that_failed(
    journal: SqliteJournal, disk: Disk
) -> None:
    """Nothing follows on what is written for that, and nobody reads such a session again."""
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    await durable(journal.note_time(1.0))
    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
    for lost in (journal.note_time(2.0), journal.erase(ANN, unless_after=2.0).commit):
        with pytest.raises(apsw.IOError):
            await durable(lost)
    await durable(journal.note_time(3.0))
    await durable(journal.erase(ANN, unless_after=3.0).commit)
    await durable(journal.clean())
    assert await entries_of(journal) == []
    await journal.close()


async def test_what_waits_behind_a_lost_commit_is_lost_with_it(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    loop, behind, appended = asyncio.get_running_loop(), list[Commit](), threading.Event()

    def append_more() -> None:
        behind.append(journal.append(BEN, [progressed(1)]))
        appended.set()

    def meanwhile() -> None:
        loop.call_soon_threadsafe(append_more)
        assert appended.wait(10)

    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC).before = meanwhile
    first = journal.append(ANN, [progressed(2)])
    with pytest.raises(apsw.IOError):
        await durable(first)
    with pytest.raises(apsw.IOError):
        await durable(behind[0])
    assert await entries_of(journal, BEN) == []
    await durable(journal.append(BEN, [progressed(1)]))
    await journal.close()


async def test_after_a_failed_sync_all_that_is_read_was_written_once_more(
    journal: SqliteJournal, disk: Disk, tmp_path: Path
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
    journal.append(ANN, [progressed(2)])
    await asyncio.sleep(0)
    syncs = len(disk.syncs)
    read = await entries_of(journal)
    assert any(name.endswith("journal.db") for name in disk.syncs[syncs:]), "the main file"
    assert 1 <= len(read) <= 2
    await journal.close()


async def test_a_disk_that_stays_broken_is_tried_again_until_it_is_not(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
    disk.fail("sync", "journal.db", apsw.SQLITE_IOERR_FSYNC, times=1000)
    disk.fail("write", "journal.db", apsw.SQLITE_IOERR_WRITE, times=1000)
    disk.fail("open", "journal.db", apsw.SQLITE_CANTOPEN, times=1000)
    with pytest.raises(apsw.IOError):
        await durable(journal.append(ANN, [progressed(2)]))
    waits = journal.append(BEN, [progressed(1)])
    reads = asyncio.create_task(entries_of(journal))
    await asyncio.sleep(20)
    assert not waits.done
    assert not reads.done(), "nobody can say yet"
    disk.heal()
    await durable(waits)
    assert len(await reads) in {1, 2}
    await journal.close()


@pytest.mark.parametrize("where", ["-wal", "journal.db"])
async def test_a_full_disk_refuses_new_messages_keeps_the_rest_and_heals(
    journal: SqliteJournal, disk: Disk, where: str
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [accepted(ANN, 1)]))
    full = disk.fail("write", where, apsw.SQLITE_FULL, times=10_000)
    waits = journal.append(ANN, [progressed(2)])
    await asyncio.sleep(5)
    if where == "journal.db":
        assert waits.done, "only the checkpoint needs it"
        await journal.close()
        return
    assert full.count > 3, "it is tried again"
    assert not waits.done
    with pytest.raises(JournalFull, match="make room"):
        journal.append(BEN, [accepted(BEN, 1)])
    goes_on = journal.append(ANN, [progressed(3)])
    assert await entries_of(journal, BEN) == [], "reading goes on"
    told: list[Commit] = []
    for commit in (waits, goes_on):
        commit.add_done_callback(told.append)
    disk.heal()
    await durable(goes_on)
    assert told == [waits, goes_on], "in order"
    assert waits.error is None
    assert len(await entries_of(journal)) == 3
    await durable(journal.append(BEN, [accepted(BEN, 1)]))
    await journal.close()


async def test_what_comes_while_a_full_disk_is_tried_stays_behind_what_was_there(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    loop, told, appended = asyncio.get_running_loop(), list[str](), threading.Event()

    def append_more() -> None:
        journal.append(ANN, [progressed(3)]).add_done_callback(lambda _: told.append("second"))
        appended.set()

    def meanwhile() -> None:
        loop.call_soon_threadsafe(append_more)
        assert appended.wait(10)

    disk.fail("write", "-wal", apsw.SQLITE_FULL).before = meanwhile
    first = journal.append(ANN, [progressed(2)])
    first.add_done_callback(lambda _: told.append("first"))
    await durable(first)
    assert len(await entries_of(journal)) == 3
    assert told == ["first", "second"]
    await journal.close()


@pytest.mark.slow
async def test_a_checkpoint_that_fails_loses_nothing_and_is_made_another_time(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    full = disk.fail("write", "journal.db", apsw.SQLITE_FULL, times=1)
    failed_sync = disk.fail("sync", "journal.db", apsw.SQLITE_IOERR_FSYNC, times=1)
    for position in range(2, 40):
        # Every one of them is far more than a page: 40 are four checkpoints.
        await durable(journal.append(ANN, [progressed(position, "x" * 400_000)]))
    assert full.count > 1
    assert failed_sync.count > 1
    assert len(await entries_of(journal)) == 39
    await journal.close()
    await journal.open()
    assert len(await entries_of(journal)) == 39
    await journal.close()


@pytest.mark.slow
async def test_another_program_that_holds_the_lock_for_30_seconds_only_delays(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    other = opened(tmp_path / "journal.db")
    other.execute("BEGIN IMMEDIATE")
    commits = [journal.append(ANN, [progressed(2)]), journal.append(BEN, [accepted(BEN, 1)])]
    await asyncio.sleep(30)
    assert not any(commit.done for commit in commits)
    assert await entries_of(journal, SessionKey("", "eve")) == [], "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    for commit in commits:
        await durable(commit)
    assert len(await entries_of(journal)) == 2
    await journal.close()


async def test_what_cannot_be_written_when_it_is_closed_is_given_up_and_said_so(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    disk.fail("write", "-wal", apsw.SQLITE_FULL, times=10_000)
    commit: Commit = journal.append(ANN, [progressed(2)])
    await journal.close()
    assert commit.done
    assert isinstance(commit.error, apsw.FullError)
    disk.heal()
    await journal.open()
    assert len(await entries_of(journal)) == 1
    await journal.close()


async def test_a_lost_journal_that_is_closed_gives_up_who_waits(
    journal: SqliteJournal, disk: Disk
) -> None:
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
    disk.fail("open", "journal.db", apsw.SQLITE_CANTOPEN, times=1000)
    with pytest.raises(apsw.IOError):
        await durable(journal.append(ANN, [progressed(2)]))
    behind = journal.append(BEN, [progressed(1)])
    await journal.close()
    assert behind.error is not None
    disk.heal()
    await journal.open()
    assert len(await entries_of(journal)) in {1, 2}
    await journal.close()


async def test_a_read_that_fails_is_an_error_that_passes(
    journal: SqliteJournal, disk: Disk, tmp_path: Path
) -> None:
    await journal.open()
    for position in range(1, 40):
        journal.append(ANN, [progressed(position, "x" * 4000)])
    await journal.close()
    await journal.open()
    disk.fail("read", "journal.db", apsw.SQLITE_IOERR_READ, times=1)
    with pytest.raises(JournalError, match="cannot be read now"):
        await journal.load(ANN)
    assert len(await entries_of(journal)) == 39
    await journal.close()


async def test_a_journal_that_cannot_be_made_leaves_nothing_locked(
    journal: SqliteJournal, disk: Disk
) -> None:
    disk.fail("write", "journal.db", apsw.SQLITE_FULL)
    with pytest.raises(JournalError, match=r"cannot be opened.*make room on its disk"):
        await journal.open()
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    await journal.close()
