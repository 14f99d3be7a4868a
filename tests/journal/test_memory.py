from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wavebreak.journal.base import Commit, Journal, Recorded
from wavebreak.journal.memory import MemoryJournal
from wavebreak.messages.entries import Entry, Progressed
from wavebreak.messages.events import SessionOpened
from wavebreak.messages.history import HistoryEntry, HistoryKind
from wavebreak.messages.ids import Fence, SessionKey

if TYPE_CHECKING:
    from collections.abc import Sequence

ANN, BOB = SessionKey("acme", "ann"), SessionKey("acme", "bob")


def entry(position: int) -> Entry:
    if position % 2:
        return SessionOpened(
            tenant="acme", session_id="ann", position=position, at=1.0, epoch=1, uid="u"
        )
    return Progressed(position, 1.0, Fence(1, 1, 1), wave_done=1)


def line(text: str) -> HistoryEntry:
    return HistoryEntry(kind=HistoryKind.SAID, turn=1, text=text, at=1.0)


def texts(entries: Sequence[HistoryEntry]) -> list[str]:
    return [each.text for each in entries]


def test_it_is_a_journal_that_does_not_outlive_the_process() -> None:
    journal: Journal = MemoryJournal()
    assert not journal.survives


async def test_opening_and_closing_it_loses_nothing() -> None:
    journal = MemoryJournal()
    await journal.open()
    journal.append(ANN, [entry(1)])
    await journal.close()
    assert journal.load(ANN).entries == (entry(1),)


def test_a_session_that_is_new_has_nothing() -> None:
    recorded = MemoryJournal().load(ANN)
    assert recorded.snapshot is None
    assert list(recorded.entries) == []


def test_entries_are_kept_in_order_each_session_by_itself() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1), entry(2)])
    journal.append(BOB, [entry(5)])
    journal.append(ANN, [entry(3)])
    assert journal.load(ANN).entries == (entry(1), entry(2), entry(3))
    assert journal.load(BOB).entries == (entry(5),)


def test_the_same_id_in_another_tenant_is_another_session() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)])
    assert journal.load(SessionKey("other", "ann")).entries == ()


def test_what_was_loaded_does_not_grow() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)])
    loaded = journal.load(ANN)
    journal.append(ANN, [entry(2)])
    journal.snapshot(ANN, "a state")
    assert loaded.entries == (entry(1),)
    assert loaded.snapshot is None


def test_what_is_appended_is_not_the_callers_list() -> None:
    journal = MemoryJournal()
    given = [entry(1)]
    journal.append(ANN, given)
    given.append(entry(2))
    assert journal.load(ANN).entries == (entry(1),)


def test_an_append_is_as_durable_as_it_gets_at_once() -> None:
    commit = MemoryJournal().append(ANN, [entry(1)])
    told: list[Commit] = []
    commit.add_done_callback(told.append)
    assert commit.done
    assert commit.error is None
    assert told == [commit]


def test_a_snapshot_stands_for_all_entries_before_it() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1), entry(2)])
    journal.append(BOB, [entry(1)])
    journal.snapshot(ANN, "a state")
    journal.append(ANN, [entry(3)])
    assert journal.load(ANN) == Recorded("a state", (entry(3),))
    journal.snapshot(ANN, "a later state")
    assert journal.load(ANN) == Recorded("a later state", ())
    assert journal.load(BOB) == Recorded(None, (entry(1),))


async def test_history_is_the_last_entries_oldest_first() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)], [line("1"), line("2")])
    journal.append(ANN, [entry(2)])
    journal.append(ANN, [entry(3)], [line("3")])
    journal.append(BOB, [entry(1)], [line("of bob")])
    assert texts(await journal.history(ANN, 50)) == ["1", "2", "3"]
    assert texts(await journal.history(ANN, 2)) == ["2", "3"]
    assert texts(await journal.history(BOB, 50)) == ["of bob"]


async def test_history_stays_when_a_snapshot_forgets_the_entries() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)], [line("1")])
    journal.snapshot(ANN, "a state")
    assert texts(await journal.history(ANN, 50)) == ["1"]


@pytest.mark.parametrize("limit", [0, -1])
async def test_no_history_is_given_to_who_asks_for_none(limit: int) -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)], [line("1")])
    assert list(await journal.history(ANN, limit)) == []


async def test_a_session_without_history_has_none() -> None:
    journal = MemoryJournal()
    assert list(await journal.history(ANN, 50)) == []
    journal.append(ANN, [entry(1)])
    assert list(await journal.history(ANN, 50)) == []


async def test_old_history_is_forgotten() -> None:
    journal = MemoryJournal(keep_history=3)
    journal.append(ANN, [entry(1)], [line("1"), line("2")])
    journal.append(ANN, [entry(2)], [line("3"), line("4")])
    assert texts(await journal.history(ANN, 50)) == ["2", "3", "4"]
    forgetful = MemoryJournal(keep_history=0)
    forgetful.append(ANN, [entry(1)], [line("1")])
    assert list(await forgetful.history(ANN, 50)) == []


async def test_two_hundred_entries_of_history_are_kept_unless_told_otherwise() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(1)], [line(str(number)) for number in range(250)])
    assert texts(await journal.history(ANN, 999)) == [str(number) for number in range(50, 250)]


def test_a_negative_length_of_history_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not -1: give 0 or more"):
        MemoryJournal(keep_history=-1)
    with pytest.raises(ValueError, match=r"keep_entries is a number of entries, not -1"):
        MemoryJournal(keep_entries=-1)


# For those who look.


async def test_events_are_given_from_a_position_on_and_a_few_at_a_time() -> None:
    journal = MemoryJournal()
    journal.append(ANN, [entry(number) for number in range(1, 6)])
    assert [event.position for event in await journal.events(ANN, 2)] == [3, 4, 5]
    assert [event.position for event in await journal.events(ANN, 0, limit=2)] == [1, 2]
    assert list(await journal.events(ANN, 5)) == []
    assert list(await journal.events(BOB, 0)) == []


async def test_events_before_a_snapshot_are_gone_unless_they_are_to_be_kept() -> None:
    forgets, keeps = MemoryJournal(), MemoryJournal(keep_entries=3)
    for journal in (forgets, keeps):
        journal.append(ANN, [entry(number) for number in range(1, 6)])
        journal.snapshot(ANN, "a state")
        journal.append(ANN, [entry(6)])
    assert [event.position for event in await forgets.events(ANN, 0)] == [6]
    assert [event.position for event in await keeps.events(ANN, 0)] == [3, 4, 5, 6]
    assert (await keeps.peek(ANN)) == keeps.load(ANN)


async def test_sessions_are_named_in_order_and_a_few_at_a_time() -> None:
    journal = MemoryJournal()
    keys = [SessionKey("t", "b"), SessionKey("", "z"), SessionKey("t", "a")]
    for key in keys:
        journal.append(key, [entry(1)])
    assert list(await journal.sessions(None, None, 9)) == sorted(keys)
    assert list(await journal.sessions("t", None, 1)) == [SessionKey("t", "a")]
    assert list(await journal.sessions("t", SessionKey("t", "a"), 9)) == [SessionKey("t", "b")]


# What every journal gives.


def test_a_commit_tells_each_who_waits_once_when_it_is_done() -> None:
    commit = Commit()
    told: list[tuple[str, Commit]] = []
    commit.add_done_callback(lambda done: told.append(("first", done)))
    commit.add_done_callback(lambda done: told.append(("second", done)))
    assert not commit.done
    assert told == []
    commit.complete()
    assert commit.done
    commit.add_done_callback(lambda done: told.append(("late", done)))
    assert told == [("first", commit), ("second", commit), ("late", commit)]


def test_a_commit_that_failed_says_so() -> None:
    commit = Commit()
    seen: list[Exception | None] = []
    commit.add_done_callback(lambda done: seen.append(done.error))
    error = OSError("disk full")
    commit.complete(error)
    assert commit.done
    assert seen == [error]


def test_a_callback_that_asks_again_is_told_at_once() -> None:
    commit = Commit()
    told: list[Commit] = []
    commit.add_done_callback(lambda done: done.add_done_callback(told.append))
    commit.complete()
    assert told == [commit]
