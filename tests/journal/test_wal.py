"""A ``-wal`` that is damaged is told from one that is torn: by real files of SQLite's."""

from __future__ import annotations

import io
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw
import pytest

from wavebreak.journal.database import opened
from wavebreak.journal.wal import Damage, Wal, read_wal
from wavebreak.messages.errors import JournalDamaged

from .writing import ANN, accepted, copy, durable, entries_of, journal_at, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER, FRAME, PAGE = 32, 24, 4096

SIZES: Final = (3, 1, 4, 2, 3)
"""Frames of the transactions in the file that most tests look at, ..."""

ENDS: Final = (3, 4, 8, 10, 13)
"""... and which of them commit."""

LAST: Final = ENDS[-2] + 1
"""The first frame of the last one."""


TO: Final = "WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers LIMIT"


def log_of(folder: Path, sizes: tuple[int, ...] = SIZES) -> bytes:
    """What SQLite writes for transactions of so many pages each."""
    path = folder / "any.db"
    connection = opened(path)
    connection.pragma("journal_mode", "WAL")
    connection.pragma("wal_autocheckpoint", 0)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
    connection.execute(f"{TO} 40) INSERT INTO t SELECT n, zeroblob(4000) FROM numbers")  # noqa: S608
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    for number, pages in enumerate(sizes):
        connection.execute(
            "UPDATE t SET x = randomblob(4000) WHERE id > ? AND id <= ?",
            (number * 3, number * 3 + pages),
        )
    data = path.with_name("any.db-wal").read_bytes()
    connection.close()
    assert len(data) == HEADER + sum(sizes) * (FRAME + PAGE)
    return data


def looked_at(data: bytes | bytearray) -> Wal:
    return read_wal(io.BytesIO(data))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def start_of(frame: int) -> int:
    """Where a frame begins, counted from 1."""
    return HEADER + (frame - 1) * (FRAME + PAGE)


def bits_of(frame: int, chance: random.Random) -> Iterator[int]:
    """Every bit of a frame's header, and some of its page."""
    start = start_of(frame)
    yield from range(8 * start, 8 * (start + FRAME))
    for _ in range(20):
        yield 8 * (start + FRAME) + chance.randrange(8 * PAGE)


def test_what_is_sound_is_read_as_sqlite_does(tmp_path: Path) -> None:
    data = log_of(tmp_path)
    wal = looked_at(data)
    assert wal.damage is None
    assert wal.transactions == len(SIZES)
    connection = opened(tmp_path / "any.db")
    assert wal.size == connection.pragma("page_count")
    for page, offset in wal.pages.items():
        seen = connection.execute("SELECT x FROM t").fetchall()  # all of the pages are leaves of it
        assert any(x in data[offset : offset + PAGE] for (x,) in seen), page
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("frame", range(1, LAST))
def test_a_flipped_bit_before_the_last_transaction_is_noticed(frame: int, tmp_path: Path) -> None:
    data = log_of(tmp_path)
    marks = start_of(LAST - 1) + 4  # of the last commit but one
    for bit in bits_of(frame, random.Random(frame)):  # noqa: S311
        damage = looked_at(flipped(data, bit)).damage
        if damage is None:
            # Without its mark it looks as if it were one with the last.
            assert marks <= bit // 8 < marks + 4
            assert int.from_bytes(flipped(data, bit)[marks : marks + 4]) == 0
            continue
        assert damage.frame == frame
        ends = [end for end in ENDS if end > frame]
        assert damage.transactions == len(ends)


@pytest.mark.slow
def test_a_flipped_bit_in_the_last_transaction_cannot_be_told_from_a_torn_one(
    tmp_path: Path,
) -> None:
    data = log_of(tmp_path)
    for frame in range(LAST, ENDS[-1] + 1):
        marks = range(start_of(frame) + 4, start_of(frame) + 8)
        for bit in bits_of(frame, random.Random(frame)):  # noqa: S311
            wal = looked_at(flipped(data, bit))
            assert wal.transactions == len(SIZES) - 1
            if frame == ENDS[-1] or bit // 8 not in marks:
                assert wal.damage is None
            else:
                assert wal.damage is not None, (
                    "no torn frame says that it commits, but for the last"
                )


def test_a_flipped_bit_in_the_header_is_noticed(tmp_path: Path) -> None:
    data = log_of(tmp_path)
    for bit in range(8 * HEADER):
        assert looked_at(flipped(data, bit)).damage == Damage(0, len(SIZES)), bit


def test_the_header_of_a_file_with_a_single_frame_is_looked_at_too(tmp_path: Path) -> None:
    data = log_of(tmp_path, (1,))
    for bit in range(8 * HEADER):
        assert looked_at(flipped(data, bit)).damage == Damage(0, 1), bit


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["gone", "zeros", "noise", "old"])
def test_a_torn_end_is_no_damage_wherever_it_is_torn(rest: str, tmp_path: Path) -> None:
    data = log_of(tmp_path)
    chance = random.Random(rest)  # noqa: S311
    last = start_of(LAST)
    # What was there before: the same file in an older life, with other salts.
    old = log_of(_folder(tmp_path / "old"), (*SIZES, 9))
    cuts = {*range(last, last + 2 * FRAME), *range(last, len(data), 97), *range(0, last, 997)}
    if rest != "gone":
        cuts = {cut for cut in cuts if cut >= last}
    for cut in cuts:
        missing = len(data) - cut
        behind = {
            "gone": b"",
            "zeros": bytes(missing),
            "noise": chance.randbytes(missing),
            "old": old[cut:],
        }[rest]
        assert looked_at(data[:cut] + behind).damage is None, cut


@pytest.mark.slow
def test_sectors_of_the_last_transaction_may_be_missing_in_any_order(tmp_path: Path) -> None:
    data = log_of(tmp_path)
    chance = random.Random(1)  # noqa: S311
    last = start_of(LAST)
    old = log_of(_folder(tmp_path / "old"), (*SIZES, 9))
    for _ in range(500):
        torn = bytearray(data)
        before = chance.choice((bytes(len(data)), old))
        for start in range(last, len(data), 512):
            sector = slice(
                max(last, start - start % 512), min(len(data), start - start % 512 + 512)
            )
            if chance.random() < 0.4:
                torn[sector] = before[sector]
        wal = looked_at(torn)
        assert wal.damage is None
        assert wal.transactions >= len(SIZES) - 1


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


# The journal on such files.

SAID: Final = tuple(f"message {number} " + 3000 * "." for number in range(6))


async def _left_by_a_crash(folder: Path, **options: Any) -> Path:
    """A journal with a transaction for each of what was said, all of it in the ``-wal``."""
    journal = journal_at(folder / "journal.db", **options)
    await journal.open()
    for position, text in enumerate(SAID, 1):
        await durable(journal.append(ANN, [accepted(ANN, position, text)]))
    left = copy(folder / "journal.db", folder / "left")
    await journal.close()
    return left


def _flip(path: Path) -> bytes:
    """Flip a bit about the middle of the journal's newest part; gives what is there now."""
    file = path.with_name(f"{path.name}-wal")
    data = file.read_bytes()
    middle = (len(data) - HEADER) // (FRAME + PAGE) // 2
    file.write_bytes(flipped(data, 8 * (start_of(middle) + 1000)))
    return file.read_bytes()


async def test_a_journal_with_a_damaged_newest_part_is_refused_and_not_touched(
    tmp_path: Path,
) -> None:
    left = await _left_by_a_crash(tmp_path)
    before = left.read_bytes()
    damaged = _flip(left)
    for _ in range(2):
        with pytest.raises(
            JournalDamaged, match=r"journal\.db-wal.* at frame \d+.*accept_loss=True"
        ):
            await journal_at(left).open()
        assert left.read_bytes() == before
        assert left.with_name("journal.db-wal").read_bytes() == damaged


async def test_who_accepts_the_loss_goes_on_with_what_is_before_it_and_a_copy_is_kept(
    tmp_path: Path,
) -> None:
    left = await _left_by_a_crash(tmp_path)
    damaged = _flip(left)
    journal = journal_at(left, accept_loss=True)
    await journal.open()
    kept = texts(await entries_of(journal))
    assert 0 < len(kept) < len(SAID) - 1
    assert kept == list(SAID[: len(kept)])
    await durable(journal.append(ANN, [accepted(ANN, len(kept) + 1, "more")]))
    await journal.close()
    (copied,) = left.parent.glob("journal.db-wal-damaged-*")
    assert copied.read_bytes() == damaged
    # And then it is one as any other.
    journal = journal_at(left)
    await journal.open()
    assert texts(await entries_of(journal)) == [*kept, "more"]
    await journal.close()


async def test_what_was_put_back_opens_again(tmp_path: Path) -> None:
    left = await _left_by_a_crash(tmp_path)
    wal = left.with_name("journal.db-wal")
    sound = wal.read_bytes()
    _flip(left)
    with pytest.raises(JournalDamaged):
        await journal_at(left).open()
    wal.write_bytes(sound)
    journal = journal_at(left)
    await journal.open()
    assert texts(await entries_of(journal)) == list(SAID)
    await journal.close()


async def test_a_damaged_header_is_noticed_by_the_journal_too(tmp_path: Path) -> None:
    left = await _left_by_a_crash(tmp_path)
    wal = left.with_name("journal.db-wal")
    wal.write_bytes(flipped(wal.read_bytes(), 8 * 17))
    with pytest.raises(JournalDamaged, match="its header"):
        await journal_at(left).open()


async def test_a_torn_last_transaction_opens_as_if_it_had_never_been(tmp_path: Path) -> None:
    left = await _left_by_a_crash(tmp_path)
    wal = left.with_name("journal.db-wal")
    wal.write_bytes(wal.read_bytes()[:-100])
    journal = journal_at(left)
    await journal.open()
    assert texts(await entries_of(journal)) == list(SAID[:-1])
    await journal.close()
    assert list(left.parent.glob("*damaged*")) == []


@pytest.mark.parametrize("opened_with", ["FULL", "NORMAL"])
async def test_a_journal_written_with_normal_opens_as_after_a_power_cut_and_keeps_a_copy(
    opened_with: str, tmp_path: Path
) -> None:
    # What was not synced may be missing in any order; and it is noted how a journal is written.
    left = await _left_by_a_crash(tmp_path, synchronous="NORMAL")
    damaged = _flip(left)
    journal = journal_at(left, synchronous=opened_with)
    await journal.open()
    kept = texts(await entries_of(journal))
    assert 0 < len(kept) < len(SAID) - 1
    assert kept == list(SAID[: len(kept)])
    await journal.close()
    (copied,) = left.parent.glob("journal.db-wal-damaged-*")
    assert copied.read_bytes() == damaged


async def test_one_written_with_full_is_refused_whatever_it_is_opened_with(tmp_path: Path) -> None:
    left = await _left_by_a_crash(tmp_path)
    _flip(left)
    with pytest.raises(JournalDamaged):
        await journal_at(left, synchronous="NORMAL").open()


async def test_frames_of_a_transaction_that_was_undone_are_no_damage(tmp_path: Path) -> None:
    # Nothing was committed behind them, so nothing is lost; SQLite leaves them where they are.
    journal = journal_at(tmp_path / "journal.db")
    await journal.open()
    await durable(journal.append(ANN, [accepted(ANN, 1, "kept")]))
    other = opened(tmp_path / "journal.db")
    other.pragma("cache_size", 1)
    other.pragma("wal_autocheckpoint", 0)
    other.execute("BEGIN IMMEDIATE; CREATE TABLE t (x); ")
    other.execute(f"{TO} 50) INSERT INTO t SELECT randomblob(4000) FROM numbers")  # noqa: S608
    other.execute("ROLLBACK")
    other.close()
    wal = tmp_path / "journal.db-wal"
    assert wal.stat().st_size > 20 * PAGE, "they are there"
    await durable(journal.append(ANN, [accepted(ANN, 2, "kept, too")]))
    left = copy(tmp_path / "journal.db", tmp_path / "left")
    await journal.close()
    assert read_wal(io.BytesIO(left.with_name("journal.db-wal").read_bytes())).damage is None
    # Also when the one behind which they lie is torn.
    torn = left.with_name("journal.db-wal")
    data = bytearray(torn.read_bytes())
    frames = read_wal(io.BytesIO(data)).pages.values()
    data[max(frames) + 100] ^= 1
    assert looked_at(data).damage is None
    shutil.rmtree(left.parent)
