"""A session that is erased: wholly or not at all, for good, and nothing can be read of it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import apsw
import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    Enqueue,
    MessageStatus,
    SqliteJournal,
    Turn,
    tool,
)
from wavebreak.actors.machine.state import SessionState
from wavebreak.journal import floors, scrubber, writer
from wavebreak.journal.base import Recorded
from wavebreak.journal.database import opened
from wavebreak.messages.entries import Entry
from wavebreak.messages.history import HistoryEntry, HistoryKind
from wavebreak.messages.ids import SessionKey
from wavebreak.messages.model import Frozen
from wavebreak.testing import RecordingDeliver

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
)

LONG = 1000.0
SECRET = "Tegucigalpa"  # noqa: S105 - what is to be forgotten


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def on_disk(path: Path) -> bytes:
    """All that lies on the disk of a journal."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


class Notes(Frozen):
    """A session's own state."""

    about: str = ""


async def test_nothing_that_was_said_or_done_is_left_in_the_files(path: Path) -> None:
    @tool
    async def look(what: str) -> str:
        return f"seen: {what}"

    async def agent(turn: Turn) -> str:
        turn.say(f"looking for {turn.text}")
        await turn.wave(look(turn.text), look(f"{turn.text} again"))
        turn.save(Notes(about=turn.text))
        if "wait" in turn.text:
            await asyncio.Event().wait()
        return f"about {turn.text}"

    deliver = RecordingDeliver()
    journal = SqliteJournal(path, snapshot_after=20)
    async with ActorSystem(agent, journal=journal, deliver=deliver) as system:
        ann, ben = system.session(SECRET, tenant="acme"), system.session("ben", tenant="acme")
        for number in range(30):
            for session, word in ((ann, SECRET), (ben, "Lima")):
                await (await session.send(f"{word} {number} {'x' * (97 * number)}")).outcome()
        deliver.hang()
        await (await ann.send(SECRET)).outcome()
        await ann.send(f"{SECRET} wait")
        await ann.send(f"{SECRET} later", policy=Enqueue())
        await ann.send(f"{SECRET} now", policy=AfterWave())
        await ann.history()
        assert SECRET.encode() in on_disk(path)
        await ann.delete(grace=0)
        assert SECRET.encode() not in on_disk(path)
        assert b"Lima" in on_disk(path)
        deliver.let_go()
        await asyncio.sleep(100)
        assert SECRET.encode() not in on_disk(path)
        assert len(await ben.history(1000)) > 100
    assert SECRET.encode() not in on_disk(path)
    assert opened(path).execute("PRAGMA integrity_check").get == "ok"


def said(text: str) -> HistoryEntry:
    return HistoryEntry(kind=HistoryKind.SAID, turn=1, text=text, at=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_no_trace_is_left_where_rows_were_moved_from_page_to_page(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What SQLite's own secure_delete leaves, when rows come between others: see scrubber.py.
    monkeypatch.setattr(writer, "_RECENT", 20)
    chance = random.Random(seed)  # noqa: S311 - it shall be the same every time
    count, longest = chance.choice((5, 50, 200)), chance.choice((10, 60, 300))
    keys = [SessionKey("", f"<{number:06}>") for number in range(count)]
    last = dict.fromkeys(keys, 0)
    journal = journal_at(path, synchronous="NORMAL", snapshot_after=20)
    await journal.open()
    for round_ in range(4000):
        key = chance.choice(keys)
        last[key] += 1
        words = key.session_id * chance.randrange(1, longest)
        history = [said(words)] if chance.random() < 0.3 else []
        journal.append(key, [progressed(last[key], words)], history)
        if chance.random() < 0.1:
            journal.snapshot(key, SessionState(key, last[key], saved=words))
        if not round_ % 20:
            await journal.history(key, 1)
    gone = chance.sample(keys, max(1, count // 5))
    await asyncio.gather(*(durable(journal.erase(key).clean) for key in gone))
    left = [key for key in keys if key not in gone]
    for key in (left * 2500)[:2500]:
        last[key] += 1
        journal.append(key, [progressed(last[key], "more")])
    await journal.history(keys[0], 1)
    assert [key for key in gone if key.session_id.encode() in on_disk(path)] == []
    await journal.close()
    assert [key for key in gone if key.session_id.encode() in on_disk(path)] == []
    assert opened(path).execute("PRAGMA integrity_check").get == "ok"
    await journal.open()
    for key in keys:
        recorded = await journal.load(key)
        assert bool(recorded.entries or recorded.snapshot) is (last[key] > 0 and key not in gone)
    await journal.close()


async def test_a_session_is_erased_wholly_or_not_at_all_whenever_the_process_is_killed(
    path: Path, tmp_path: Path
) -> None:
    images: list[Path] = []

    def image() -> None:
        images.append(copy(path, tmp_path / f"image-{len(images)}"))

    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        for position in range(1, 40, 2):
            entries = [accepted(ANN, position), ended(ANN, position + 1, f"m{position}")]
            journal.append(ANN, entries, [said("words")])
        await durable(journal.append(BEN, [accepted(BEN, 1)]))
        whole = await journal.load(ANN)
        image()
        disk.at_step = image
        await durable(journal.erase(ANN).clean)
        disk.at_step = None
        await journal.close()
    image()  # not before: the writer still notes that it is clean
    found: list[bool] = []
    for one in images:
        killed = journal_at(one)
        await killed.open()
        recorded, history = await killed.load(ANN), await killed.history(ANN, 100)
        found.append(bool(recorded.entries))
        assert recorded.entries == (whole.entries if found[-1] else ())
        assert len(history) == (20 if found[-1] else 0)
        assert found[-1] or recorded.floor > 38
        assert len((await killed.load(BEN)).entries) == 1
        await killed.close()
    assert found[0]
    assert not found[-1]
    assert found == sorted(found, reverse=True)
    assert len(images) > 5


async def test_positions_go_on_over_a_restart_also_when_the_key_is_not_known_any_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_at(path)
    await journal.open()
    assert (await journal.load(ANN)).floor == 0
    await durable(journal.append(ANN, [progressed(one) for one in range(1, 10)]))
    await durable(journal.erase(ANN, 4000).clean)
    assert await journal.load(ANN) == Recorded(None, (), 4000)
    assert await journal.load(BEN) == Recorded(None, ())
    await journal.close()
    assert b"ann" not in on_disk(path).lower().replace(b"pragma", b"")
    await journal.open()
    assert (await journal.load(ANN)).floor == 4000
    await durable(journal.append(ANN, [progressed(4001)]))
    assert await journal.load(ANN) == Recorded(None, [progressed(4001)], 4000)
    await durable(journal.append(BEN, [progressed(1)]))
    monkeypatch.setattr(floors, "KEPT", -1.0)
    await durable(journal.erase(BEN, 7000).clean)
    monkeypatch.undo()
    assert (await journal.load(BEN)).floor == 7000
    assert (await journal.load(SessionKey("", "new"))).floor == 7000
    assert await journal.load(ANN) == Recorded(None, [progressed(4001)], 4000)
    await journal.close()
    rows = opened(path).execute("SELECT count(*) FROM erased").get
    assert rows == 0


async def test_a_session_that_cannot_be_read_is_above_what_it_may_have_had(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    entries: list[Entry] = [accepted(ANN, 1), *(progressed(one) for one in range(2, 50))]
    await durable(journal.append(ANN, entries))
    await durable(journal.erase(ANN).clean)
    assert (await journal.load(ANN)).floor >= 49
    await journal.close()


async def test_what_comes_late_of_an_erased_session_is_refused(path: Path) -> None:
    journal = journal_at(path, snapshot_after=1)
    await journal.open()
    await durable(journal.append(ANN, [progressed(one) for one in range(1, 10)]))
    erased = journal.erase(ANN, 10).commit  # as the actor does: what it tells has positions, too
    for position in (8, 9):
        journal.snapshot(ANN, SessionState(ANN, position, saved="old"))
    late = journal.append(ANN, [progressed(10, "a ghost")])
    await durable(erased)
    with pytest.raises(apsw.ConstraintError, match="what was before is not there"):
        await durable(late)
    assert not (await journal.load(ANN)).entries
    await durable(journal.append(ANN, [progressed((await journal.load(ANN)).floor + 1)]))
    assert len((await journal.load(ANN)).entries) == 1
    await journal.close()


async def test_a_session_may_begin_anew_in_the_same_transaction(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    journal.append(ANN, [accepted(ANN, 1), progressed(2)], [said("old")])
    await durable(journal.append(BEN, [progressed(1)]))
    commits = [
        journal.append(ANN, [progressed(3)], [said("old")]),
        journal.erase(ANN, 1000).commit,
        journal.append(BEN, [progressed(2)]),
        journal.append(ANN, [progressed(1001)], [said("new")]),
        journal.erase(BEN, 1).commit,
    ]
    for commit in commits:
        await durable(commit)
    assert await journal.load(ANN) == Recorded(None, [progressed(1001)], 1000)
    assert [entry.text for entry in await journal.history(ANN, 10)] == ["new"]
    assert not (await journal.load(BEN)).entries
    await journal.close()


async def test_any_number_of_sessions_is_erased_in_one_transaction(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    keys = [SessionKey("", f"session-{number}") for number in range(1_500)]
    for key in keys:
        journal.append(key, [progressed(1, SECRET)])
    commits = [journal.erase(key, 1).commit for key in keys]
    commits += [journal.append(key, [progressed(2)]) for key in keys]
    for commit in commits:
        await durable(commit)
    assert await entries_of(journal, keys[-1]) == [progressed(2)]
    await durable(journal.clean())
    assert SECRET.encode() not in on_disk(path)
    await journal.close()


async def test_a_full_disk_delays_it_and_it_is_done_when_there_is_room(path: Path) -> None:
    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        await durable(journal.append(ANN, [progressed(1, SECRET)]))
        disk.fail("write", "-wal", apsw.SQLITE_FULL, times=3)
        await durable(journal.erase(ANN).clean)
        assert SECRET.encode() not in on_disk(path)
        await journal.close()


@pytest.mark.parametrize("step", ["sync", "write"])
async def test_a_disk_that_fails_leaves_it_unknown_and_it_can_be_asked_for_again(
    path: Path, step: str
) -> None:
    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        await durable(journal.append(ANN, [progressed(1, SECRET)]))
        disk.fail(step, "-wal", apsw.SQLITE_IOERR)
        with pytest.raises(apsw.IOError):
            await durable(journal.erase(ANN).clean)
        await journal.load(ANN)
        await durable(journal.erase(ANN).clean)
        assert not (await journal.load(ANN)).entries
        assert SECRET.encode() not in on_disk(path)
        await journal.close()


@pytest.mark.parametrize("step", ["write", "sync"])
async def test_it_is_done_when_the_file_could_be_gone_through(path: Path, step: str) -> None:
    with Disk() as disk:
        journal = journal_at(path, vfs=disk.name)
        await journal.open()
        for position in range(1, 200):
            await durable(journal.append(ANN, [progressed(position, SECRET * position)]))
        fault = disk.fail(step, "journal.db", apsw.SQLITE_IOERR, times=1000)
        erased = journal.erase(ANN)
        await durable(erased.commit)
        while fault.count < 2:
            await asyncio.sleep(0.01)
        assert not erased.clean.done
        await durable(journal.append(BEN, [progressed(1)]))
        assert not (await journal.load(ANN)).entries
        disk.heal()
        await durable(erased.clean)
        assert SECRET.encode() not in on_disk(path)
        await journal.close()


async def test_another_program_that_reads_delays_it_and_nothing_else(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1, SECRET)]))
    reader = opened(path, read_only=True)
    rows = iter(reader.execute("SELECT data FROM recent UNION ALL SELECT data FROM recent"))
    next(rows)
    erased = journal.erase(ANN)
    await durable(erased.commit)
    await durable(journal.append(BEN, [progressed(1)]))
    assert not (await journal.load(ANN)).entries
    assert not erased.clean.done
    assert SECRET.encode() in on_disk(path)
    list(rows)
    reader.close()
    await durable(erased.clean)
    assert SECRET.encode() not in on_disk(path)
    await journal.close()


async def test_a_journal_that_is_closed_meanwhile_has_erased_it(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [progressed(1, SECRET)]))
    erased = journal.erase(ANN)
    await journal.close()
    assert erased.commit.done
    assert erased.clean.done
    assert erased.commit.error is erased.clean.error is None
    assert SECRET.encode() not in on_disk(path)


async def test_traces_that_a_killed_process_left_are_looked_for_at_the_next_start(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(*_: object) -> None:
        raise apsw.BusyError

    journal = journal_at(path)
    await journal.open()
    for position in range(1, 40):
        journal.append(ANN, [progressed(position, SECRET * position)])
    await journal.load(ANN)
    with monkeypatch.context() as held:
        held.setattr(scrubber.Scrubber, "step", later)  # it is killed before it comes to that
        erased = journal.erase(ANN)
        await durable(erased.commit)
        left = copy(path, tmp_path / "killed")
        await journal.close()
    monkeypatch.setattr(scrubber, "PAGES", 1)
    assert SECRET.encode() in on_disk(left)
    for one in (left, path):
        again = journal_at(one)
        await again.open()
        while (
            b"traces" in on_disk(one)
            and opened(one, read_only=True)
            .execute("SELECT count(*) FROM about WHERE name = 'traces'")
            .get
        ):
            await asyncio.sleep(0.1)
        assert SECRET.encode() not in on_disk(one)
        await again.close()


async def test_a_large_journal_is_gone_through_piece_by_piece(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubber, "PAGES", 3)
    journal = journal_at(path)
    await journal.open()
    for position in range(1, 100):
        journal.append(ANN, [progressed(position, SECRET * 20)])
        journal.append(BEN, [progressed(position, "Lima" * 20)])
        if not position % 10:
            await journal.load(ANN)
    first, second = journal.erase(ANN), journal.erase(SessionKey("", "nobody"))
    await durable(first.clean)
    assert SECRET.encode() not in on_disk(path)
    await durable(second.clean)
    await journal.close()


@pytest.mark.parametrize("table", ["recent", "later_history"])
async def test_a_quarantined_session_is_deleted_by_the_system(path: Path, table: str) -> None:
    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        await (await system.session("ann").send("a")).outcome()
    where = "entry" if table == "recent" else table
    change(path, f"UPDATE {where} SET data = CAST(data || ' ' AS BLOB)")  # noqa: S608 - of the test
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system, asyncio.timeout(LONG):
        await system.session("ann").delete()
        outcome = await (await system.session("ann").send("c")).outcome()
        assert outcome.status is MessageStatus.ANSWERED
        assert len(await system.session("ann").history()) == 2


async def test_a_process_that_was_killed_while_it_deleted_has_the_session_or_not(
    path: Path, tmp_path: Path
) -> None:
    async def agent(turn: Turn) -> str:
        if turn.text == "wait":
            await asyncio.Event().wait()
        return turn.text

    images: list[Path] = []
    with Disk() as disk:
        journal = SqliteJournal(path, vfs=disk.name)
        async with ActorSystem(agent, journal=journal) as system:
            session = system.session("ann")
            await (await session.send(SECRET, message_id="m")).outcome()
            await session.send("wait", message_id="w")
            await session.history()
            disk.at_step = lambda: images.append(copy(path, tmp_path / f"image-{len(images)}"))
            await session.delete()
            disk.at_step = None
    kinds: set[int] = set()
    for one in images:
        async with ActorSystem(agent, journal=SqliteJournal(one)) as system:
            session = system.session("ann")
            duplicates = [
                (await session.send(text, message_id=id_)).duplicate
                for id_, text in (("m", SECRET), ("w", "wait"))
            ]
            assert duplicates in ([True, True], [False, False])
            kinds.add(duplicates.count(True))
            await session.stop()
    assert kinds == {0, 2}


async def test_what_is_in_use_is_not_erased_as_unused(path: Path) -> None:
    journal = journal_at(path)
    await journal.open()
    await durable(journal.append(ANN, [accepted(ANN, 1), ended(ANN, 2, "m1")]))
    await durable(journal.append(BEN, [accepted(BEN, 1)]))
    for key, since in ((ANN, 2.0), (BEN, 1000.0)):
        await durable(journal.erase(key, unless_after=since).commit)
        assert (await journal.load(key)).entries
    assert [keys async for keys in journal.unused(1000.0)] == [[ANN], []]
    await durable(journal.erase(ANN, unless_after=1000.0).commit)
    assert not (await journal.load(ANN)).entries
    await durable(journal.clean())
    await journal.close()
