from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from wavebreak import (
    InvalidSetting,
    JournalBusy,
    JournalDamaged,
    JournalError,
    JournalLocked,
    SessionMessage,
    SqliteJournal,
)
from wavebreak.actors.machine.state import SessionState
from wavebreak.journal.base import Commit, LastingJournal
from wavebreak.journal.database import opened
from wavebreak.journal.reader import Reader
from wavebreak.messages.entries import Entry
from wavebreak.messages.errors import JournalCorrupt, SystemClosed
from wavebreak.messages.history import HistoryEntry, HistoryKind
from wavebreak.messages.ids import SessionKey

from .disks import Disk
from .writing import (
    ANN,
    BEN,
    accepted,
    change,
    copy,
    durable,
    ended,
    entries_of,
    journal_at,
    progressed,
    texts,
)


class OrderShipped(SessionMessage):
    order: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def said(text: str, turn: int = 1) -> HistoryEntry:
    return HistoryEntry(kind=HistoryKind.SAID, turn=turn, text=text, at=1.0)


async def test_what_was_appended_is_there_when_it_is_opened_again(path: Path) -> None:
    first: list[Entry] = [accepted(ANN, 1), progressed(2, {"a": 1})]
    second: list[Entry] = [progressed(3)]
    journal = journal_at(path)
    assert isinstance(journal, LastingJournal)
    assert journal.survives
    await journal.open()
    await durable(journal.append(ANN, first))
    await durable(journal.append(ANN, second))
    await durable(journal.append(BEN, [accepted(BEN, 1, "hi")]))
    assert await entries_of(journal) == first + second
    await journal.close()

    journal = journal_at(path)
    await journal.open()
    assert await entries_of(journal) == first + second
    assert texts(await entries_of(journal, BEN)) == ["hi"]
    assert await entries_of(journal, SessionKey("shop", "ann")) == []
    await journal.close()


async def test_what_is_read_has_all_that_was_appended_before(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    for position in range(1, 20):
        journal.append(ANN, [progressed(position)], [said(str(position))])
        assert len(await entries_of(journal)) == position
        assert [e.text for e in await journal.history(ANN, 1)] == [str(position)]
    await journal.close()


async def test_closing_writes_what_waits(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    commits = [journal.append(ANN, [progressed(position)]) for position in range(1, 300)]
    await journal.close()
    assert {(commit.done, commit.error) for commit in commits} == {(True, None)}
    await journal.open()
    assert len(await entries_of(journal)) == 299
    await journal.close()
    with pytest.raises(SystemClosed, match="not open"):
        journal.append(ANN, [progressed(300)])


def _note(order: list[int], number: int, _: Commit) -> None:
    order.append(number)


async def test_commits_complete_in_order_and_what_waits_is_one_transaction(path: Path) -> None:
    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        await durable(journal.append(ANN, [progressed(1)]))
        begun, enough = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            enough.wait(60)

        before = len(disk.syncs)
        disk.at_step = hold
        journal.append(ANN, [progressed(2)])
        await asyncio.to_thread(begun.wait, 60)
        disk.at_step = None
        order: list[int] = []
        commits = list[Commit]()
        for number in range(300):
            key = SessionKey("", f"s{number % 100}")
            commit = journal.append(key, [progressed(number // 100 + 1)])
            commit.add_done_callback(partial(_note, order, number))
            commits.append(commit)
        enough.set()
        await durable(commits[-1])
        assert order == list(range(300))
        assert len(disk.syncs) - before == 2, "one of what was held, and one of what waited"
        await journal.close()


async def test_normal_does_not_wait_for_the_disk_and_full_does(path: Path) -> None:
    with Disk() as disk:
        journal = journal_at(path, synchronous="NORMAL", vfs=disk.name)
        await journal.open()
        await durable(journal.append(ANN, [progressed(1)]))
        before = len(disk.syncs)
        await durable(journal.append(ANN, [progressed(2)]))
        assert len(disk.syncs) == before
        await journal.close()
    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        before = len(disk.syncs)
        await durable(journal.append(ANN, [progressed(3)]))
        assert disk.syncs[before:]
        await journal.close()


async def test_history_is_kept_and_its_end_can_be_read(path: Path) -> None:
    journal = journal_at(path, OrderShipped)
    message = OrderShipped(order=7, message_id="m")
    order = HistoryEntry(
        kind=HistoryKind.MESSAGE,
        turn=3,
        text="",
        message_type="OrderShipped",
        message=message,
        at=1.0,
    )
    await journal.open()
    journal.append(ANN, [progressed(1)], [said("a"), said("b"), said("c")])
    journal.append(ANN, [progressed(2)])
    journal.append(ANN, [progressed(3)], [said("d")])
    journal.append(BEN, [progressed(1)], [said("not ann's")])
    journal.append(ANN, [progressed(4)], [order])
    for limit, wanted in ((0, []), (2, ["d", ""]), (4, ["b", "c", "d", ""])):
        assert [entry.text for entry in await journal.history(ANN, limit)] == wanted
    assert len(await journal.history(ANN, 100)) == 5
    assert (await journal.history(ANN, 1))[0] == order
    assert await journal.history(SessionKey("", "nobody"), 5) == []
    await journal.close()


async def test_a_session_is_unfinished_while_a_message_or_a_delivery_is(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()

    async def unfinished() -> list[SessionKey]:
        return [key async for keys in journal.unfinished() for key in keys]

    await durable(journal.append(ANN, [accepted(ANN, 1), accepted(ANN, 2)]))
    await durable(journal.append(BEN, [progressed(1)]))
    assert await unfinished() == [ANN]
    await durable(journal.append(ANN, [ended(ANN, 3, "m1")]))
    assert await unfinished() == [ANN]
    journal.append(BEN, [accepted(BEN, 2)])
    await durable(journal.append(ANN, [ended(ANN, 4, "m2")]))
    assert await unfinished() == [BEN]
    await journal.close()


async def test_thousands_of_unfinished_sessions_are_named_once_each(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    keys = [SessionKey("", f"s{number}") for number in range(2500)]
    for key in keys:
        journal.append(key, [accepted(key, 1)])
    await journal.load(keys[-1])
    assert [key async for some in journal.unfinished() for key in some] == keys
    await journal.close()


def state_at(position: int, **fields: Any) -> SessionState:
    return SessionState(ANN).changed(position, **fields)


async def test_a_state_takes_the_place_of_the_entries_before_it_when_they_are_many(
    path: Path,
) -> None:
    journal = journal_at(path, snapshot_after=5)
    await journal.open()
    await journal.load(ANN)
    for position in range(1, 9):
        journal.append(ANN, [progressed(position)], [said(str(position))])
        journal.append(BEN, [progressed(position)])
        journal.snapshot(ANN, state_at(position, saved={"at": position}))
    journal.snapshot(BEN, SessionState(BEN).changed(8))
    recorded = await journal.load(ANN)
    assert recorded.snapshot == state_at(5, saved={"at": 5})
    assert [entry.position for entry in recorded.entries] == [6, 7, 8]
    assert len(await journal.history(ANN, 100)) == 8, "history is not compacted"
    assert len(await entries_of(journal, BEN)) == 8, "another session is not touched"

    journal.snapshot(ANN, state_at(8))
    for position in range(9, 12):
        journal.append(ANN, [progressed(position)])
    journal.snapshot(ANN, state_at(11))
    recorded = await journal.load(ANN)
    assert recorded.snapshot == state_at(11)
    assert recorded.entries == []
    await journal.close()
    connection = opened(path)
    assert connection.execute("SELECT count(*) FROM snapshot").get == 1
    assert connection.execute("SELECT count(*) FROM entry").get == 8
    connection.close()


async def test_a_large_state_is_written_down_less_often(path: Path) -> None:
    journal = journal_at(path, snapshot_after=5)
    await journal.open()
    await journal.load(ANN)
    taken: list[int] = []
    for position in range(1, 41):
        journal.append(ANN, [progressed(position)])
        journal.snapshot(ANN, state_at(position, saved="x" * (64 << 10)))
        looked = await journal.peek(ANN)
        if looked.snapshot == state_at(position, saved="x" * (64 << 10)):
            taken.append(position)
    assert taken == [5, 20, 35], "64 KiB, so three times as seldom"
    await journal.close()


async def test_as_many_entries_stay_behind_a_state_as_are_to_be_kept_and_are_not_folded(
    path: Path,
) -> None:
    journal = journal_at(path, snapshot_after=5, keep_entries=3)
    await journal.open()
    await journal.load(ANN)
    for position in range(1, 12):
        journal.append(ANN, [progressed(position)])
        journal.snapshot(ANN, state_at(position))
    for _ in range(2):
        assert [entry.position for entry in await entries_of(journal)] == [11]
        looked = await journal.peek(ANN)
        assert (looked.snapshot, len(looked.entries)) == (state_at(10), 1)
        events = await journal.events(ANN, 0)
        assert [event.position for event in events] == [8, 9, 10, 11]
        await journal.close()
        await journal.open()
    await journal.close()


async def test_a_state_that_cannot_be_written_leaves_the_entries(path: Path) -> None:
    journal = journal_at(path, snapshot_after=1)
    await journal.open()
    await journal.load(ANN)
    await durable(journal.append(ANN, [progressed(1)]))
    journal.snapshot(ANN, state_at(1, saved=object()))
    assert len(await entries_of(journal)) == 1
    await journal.close()


# --- what cannot be read ---


CORRUPTIONS = {
    "a flipped bit": "UPDATE entry SET data = CAST(X'00' || substr(data, 2) AS BLOB) WHERE id = ?",
    "a row of a newer version": "UPDATE entry SET version = 99 WHERE id = ?",
    "a row in the place of another": "UPDATE entry SET id = id + 100 WHERE id = ?",
    "a bad state": "UPDATE snapshot SET data = CAST(X'00' || substr(data, 2) AS BLOB) "
    "WHERE id BETWEEN ?1 - 99 AND ?1",
}


@pytest.mark.parametrize("how", CORRUPTIONS)
async def test_a_session_of_which_a_row_is_bad_is_corrupt_and_no_other_is(
    path: Path, how: str
) -> None:
    journal = journal_at(path, snapshot_after=2)
    await journal.open()
    for key in (ANN, BEN):
        await journal.load(key)
        for position in range(1, 6):
            journal.append(key, [accepted(key, position)])
            journal.snapshot(key, SessionState(key).changed(position))
    await journal.close()
    change(path, CORRUPTIONS[how], (1 << 32) + 5)
    journal = journal_at(path)
    await journal.open()
    with pytest.raises(JournalCorrupt, match=r"session 'ann'"):
        await journal.load(ANN)
    assert (await journal.load(BEN)).snapshot is not None
    await journal.close()


async def test_a_session_whose_entries_are_gone_is_corrupt(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)], [said("a")]))
    await journal.close()
    change(path, "DELETE FROM entry")
    await journal.open()
    with pytest.raises(JournalCorrupt, match="gone"):
        await journal.load(ANN)
    await journal.close()


async def test_a_damaged_page_is_an_error_and_not_the_end(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    for position in range(1, 200):
        journal.append(ANN, [progressed(position, "x" * 500)])
        journal.append(BEN, [progressed(position, "y" * 500)])
    await journal.close()
    content = bytearray(path.read_bytes())
    content[12 * 4096 :] = b"\xee" * (len(content) - 12 * 4096)
    path.write_bytes(content)
    journal = journal_at(path)
    await journal.open()
    with pytest.raises(JournalCorrupt, match="malformed"):
        await journal.load(ANN)
    await journal.close()


# --- opening ---


async def test_a_journal_that_is_open_is_refused_to_a_second(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    with pytest.raises(JournalLocked, match="open already"):
        await journal_at(path).open()
    with pytest.raises(JournalError, match="its own"):
        await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    await journal.close()
    second = journal_at(path)
    await second.open()
    await second.close()


async def test_another_program_can_read_meanwhile(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    connection = opened(path, read_only=True)
    assert connection.execute("SELECT count(*) FROM recent").get == 1
    connection.close()
    await journal.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("PRAGMA application_id = 7", "another program's"),
        ("PRAGMA user_version = 99", "schema 99"),
    ],
)
async def test_what_is_no_journal_of_this_version_is_refused(
    path: Path, sql: str, words: str
) -> None:
    journal = journal_at(path)
    await journal.open()
    await journal.close()
    connection = opened(path)
    connection.execute(sql)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match=words):
        await journal_at(path).open()
    assert path.read_bytes() == before, "and it is not touched"
    assert not path.with_name("journal.db-wal").exists(), "nor told to have one that it has not"


async def test_another_programs_database_and_any_other_file_are_refused(path: Path) -> None:
    connection = opened(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalError, match="another program's"):
        await journal_at(path).open()
    path.write_bytes(b"no database" * 500)
    with pytest.raises(JournalError, match="no journal"):
        await journal_at(path).open()


async def test_a_newest_part_without_its_journal_is_not_deleted(path: Path, tmp_path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    left = copy(path, tmp_path / "left")
    await journal.close()
    whole = left.read_bytes()
    wal = left.with_name("journal.db-wal")
    newest = wal.read_bytes()
    for is_empty in (False, True):
        if is_empty:
            left.write_bytes(b"")
        else:
            left.unlink()
        with pytest.raises(JournalDamaged, match=r"there is no journal.*journal\.db-wal"):
            await journal_at(left).open()
        assert wal.read_bytes() == newest
    left.write_bytes(whole)
    journal = journal_at(left)
    await journal.open()
    assert len(await entries_of(journal)) == 1
    await journal.close()

    left.unlink()
    wal.write_bytes(newest)
    journal = journal_at(left, accept_loss=True)
    await journal.open()
    assert await entries_of(journal) == []
    await journal.close()
    (kept,) = left.parent.glob("journal.db-wal-damaged-*")
    assert kept.read_bytes() == newest


async def test_a_journal_that_was_cut_off_is_called_damaged(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await journal.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(JournalDamaged, match=r"a part of it is missing.*restore a backup"):
        await journal_at(path).open()


async def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened"):
        await journal_at(tmp_path / "nowhere" / "j.db").open()


async def test_a_file_that_cannot_have_a_write_ahead_log_is_refused(path: Path) -> None:
    holds = opened(path)
    holds.pragma("journal_mode", "DELETE")
    holds.execute("CREATE TABLE x (y); DROP TABLE x; BEGIN; SELECT * FROM sqlite_schema")
    holds.execute("BEGIN EXCLUSIVE" if not holds.in_transaction else "SELECT 1")
    with pytest.raises(JournalError, match=r"journal_mode|locked"):
        await journal_at(path).open()
    holds.close(force=True)


async def test_a_journal_that_lost_its_newest_part_is_refused_unless_that_may_be(
    path: Path, tmp_path: Path
) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    killed = copy(path, tmp_path / "killed")
    bereft = copy(path, tmp_path / "bereft")
    await journal.close()

    journal = journal_at(killed)
    await journal.open()
    assert len(await entries_of(journal)) == 1
    await journal.close()

    bereft.with_name("journal.db-wal").unlink()
    for _ in ("at first", "and when a supervisor tries it again"):
        with pytest.raises(JournalDamaged, match=r"journal\.db-wal.*accept_loss=True"):
            await journal_at(bereft).open()
    journal = journal_at(bereft, accept_loss=True)
    await journal.open()
    assert await entries_of(journal) == []
    await journal.close()


@pytest.mark.parametrize(
    "options",
    [{"synchronous": "OFF"}, {"snapshot_after": 0}, {"most_pending": 0}, {"keep_entries": -1}],
)
def test_a_setting_that_cannot_be_used_is_named(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(options))):
        SqliteJournal(path, **options)


async def test_sessions_are_not_read_far_ahead_of_the_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_at(path)
    await journal.open()
    keys = [SessionKey("", str(number)) for number in range(50)]
    for key in keys:
        journal.append(key, [accepted(key, 1)])
    await durable(journal.append(ANN, [accepted(ANN, 1)]))
    go, load = threading.Event(), Reader.load

    def load_then(reader: Reader, key: SessionKey) -> Any:
        assert go.wait(10)
        return load(reader, key)

    monkeypatch.setattr(Reader, "load", load_then)
    loads = [asyncio.create_task(journal.load(key)) for key in keys]
    for _ in range(5):
        await asyncio.sleep(0)
    assert journal._open is not None
    ahead = journal._open.read_pool._work_queue.qsize()
    go.set()
    assert [len((await load).entries) for load in loads] == [1] * 50
    await journal.close()
    assert ahead < 5


async def test_new_messages_are_refused_while_too_much_waits_and_the_rest_goes_on(
    path: Path,
) -> None:
    journal = journal_at(path, most_pending=1000)
    await journal.open()
    journal.append(ANN, [accepted(ANN, 1)])
    journal.append(ANN, [progressed(2, "x" * 1000)])
    with pytest.raises(JournalBusy, match="at most 1000"):
        journal.append(BEN, [accepted(BEN, 1)])
    await durable(journal.append(ANN, [progressed(3)]))
    await durable(journal.append(BEN, [accepted(BEN, 1)]))
    await journal.close()


async def test_history_that_waits_counts_as_bytes_that_wait(path: Path) -> None:
    journal = journal_at(path, most_pending=1000)
    await journal.open()
    written = journal.append(ANN, [accepted(ANN, 1)], [said("x" * 1000)])
    with pytest.raises(JournalBusy, match="at most 1000"):
        journal.append(BEN, [accepted(BEN, 1)])
    await durable(written)
    await durable(journal.append(BEN, [accepted(BEN, 1)]))
    await journal.close()


async def test_who_keeps_a_commit_does_not_keep_what_was_written(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    before = journal.append(ANN, [accepted(ANN, 1)], [said("hello")])
    assert b"hello" in _all_of(before)
    await durable(before)
    await journal.close()
    assert b"hello" not in _all_of(before)


def _all_of(commit: Commit) -> bytes:
    names = [name for kind in type(commit).__mro__ for name in getattr(kind, "__slots__", ())]
    values = [getattr(commit, name) for name in names]
    return b" ".join(value for value in values if isinstance(value, bytes))


async def test_rows_are_sorted_now_and_then_and_read_from_wherever_they_are(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    for position in range(1, 23):
        for number in range(100):
            journal.append(SessionKey("", f"s{number}"), [progressed(position)])
        await journal.load(SessionKey("", "s0"))
    connection = opened(path, read_only=True)
    assert connection.execute("SELECT count(*) FROM entry").get >= 2000
    assert 0 < connection.execute("SELECT count(*) FROM recent").get < 2000
    connection.close()
    for name in ("s0", "s99"):
        read = await entries_of(journal, SessionKey("", name))
        assert [entry.position for entry in read] == list(range(1, 23))
    stale = journal.append(SessionKey("", "s1"), [progressed(20)])
    with pytest.raises(apsw.ConstraintError, match="at 20 already"):
        await durable(stale)
    await journal.close()
    await journal.open()
    assert len(await entries_of(journal, SessionKey("", "s1"))) == 22
    stale = journal.append(SessionKey("", "s2"), [progressed(22)])
    with pytest.raises(apsw.ConstraintError, match="at 22 already"):
        await durable(stale)
    await journal.close()


async def test_two_that_write_the_same_position_fail_alone(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    wrong = journal.append(ANN, [progressed(1)])
    right = journal.append(BEN, [progressed(1)])
    follows = journal.append(ANN, [progressed(2)])
    await durable(right)
    for commit in (wrong, follows):
        with pytest.raises(apsw.ConstraintError):
            await durable(commit)
    with pytest.raises(apsw.ConstraintError):
        await durable(journal.append(ANN, [progressed(2)]))
    assert len(await entries_of(journal)) == 1
    await durable(journal.append(ANN, [progressed(2)]))
    assert len(await entries_of(journal)) == 2
    await journal.close()


@pytest.mark.real_time
async def test_it_works_on_a_plain_loop(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await asyncio.gather(*(durable(journal.append(ANN, [progressed(p)])) for p in range(1, 50)))
    assert len(await entries_of(journal)) == 49
    await journal.close()


async def test_somebody_who_raises_when_told_keeps_nobody_else_waiting(path: Path) -> None:
    def fail(_: Commit) -> None:
        raise RuntimeError

    journal = journal_at(path)
    await journal.open()
    first, second = journal.append(ANN, [progressed(1)]), journal.append(ANN, [progressed(2)])
    first.add_done_callback(fail)
    await durable(second)
    await journal.close()


async def test_another_program_that_reads_for_long_does_not_keep_it_from_opening(
    path: Path,
) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1)]))
    reads = opened(path, read_only=True)
    reads.execute("BEGIN")
    assert reads.execute("SELECT count(*) FROM recent").get == 1
    await durable(journal.append(ANN, [progressed(2)]))
    await journal.close()
    await journal.open()
    await durable(journal.append(ANN, [progressed(3)]))
    assert len(await entries_of(journal)) == 3
    assert reads.execute("SELECT count(*) FROM recent").get == 1
    reads.close()
    await journal.close()
    await journal.open()
    assert len(await entries_of(journal)) == 3
    await journal.close()
