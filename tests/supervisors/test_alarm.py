"""One timer wakes sessions in time, and keeps in mind only what is next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages.ids import SessionKey
from wavebreak.supervisors.alarm import (
    AT_MOST,
    LOOK_AGAIN,
    PAUSE,
    STARTING,
    STARTS_WITHIN,
    Alarm,
    MemoryIndex,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ANN, BEN = SessionKey("", "ann"), SessionKey("", "ben")


class Index:
    """Times of sessions, as a journal has them; they stay until the test takes them away."""

    def __init__(self) -> None:
        self.at: dict[SessionKey, float] = {}
        self.looks: list[float] = []

    async def due(self, until: float) -> AsyncIterator[Sequence[SessionKey]]:
        self.looks.append(asyncio.get_running_loop().time())
        keys = [key for key, at in self.at.items() if at <= until]
        if keys:
            yield keys

    async def next_due(self, after: float) -> float | None:
        return min((at for at in self.at.values() if at > after), default=None)


class Sessions:
    """Who was woken, and when; those that are slow to start."""

    def __init__(self, index: Index | MemoryIndex) -> None:
        self.loop = asyncio.get_running_loop()
        self.woken: list[tuple[SessionKey, float]] = []
        self.slow = False
        self.alarm = Alarm(
            self.loop,
            index,
            self.loop.time,
            wake=lambda key: self.woken.append((key, self.loop.time())),
            is_starting=lambda _: self.slow,
        )


async def test_at_its_start_it_wakes_what_is_over_due_and_goes_on_with_the_next() -> None:
    index = Index()
    sessions = Sessions(index)
    now = sessions.loop.time()
    index.at = {ANN: now - 5, BEN: now + 50}
    sessions.alarm.start()
    await asyncio.sleep(1)
    assert [key for key, _ in sessions.woken] == [ANN]
    del index.at[ANN]
    await asyncio.sleep(50)
    assert [key for key, _ in sessions.woken] == [ANN, BEN]
    assert sessions.woken[1][1] == pytest.approx(now + 50)
    await sessions.alarm.end()


async def test_without_anything_that_is_due_it_looks_once_and_has_no_timer() -> None:
    index = Index()
    sessions = Sessions(index)
    sessions.alarm.start()
    await asyncio.sleep(100_000)
    assert len(index.looks) == 1
    await sessions.alarm.end()


async def test_what_is_told_it_later_is_looked_up_then() -> None:
    index = Index()
    sessions = Sessions(index)
    sessions.alarm.start()
    await asyncio.sleep(10)
    now = sessions.loop.time()
    index.at = {ANN: now + 30, BEN: now + 20}
    sessions.alarm.set(ANN, now + 30)
    sessions.alarm.set(BEN, now + 20)
    await asyncio.sleep(21)
    assert [key for key, _ in sessions.woken] == [BEN]
    assert sessions.woken[0][1] == pytest.approx(now + 20)
    await sessions.alarm.end()


async def test_what_is_far_away_is_looked_at_now_and_then() -> None:
    index = Index()
    sessions = Sessions(index)
    index.at = {ANN: sessions.loop.time() + 10 * AT_MOST}
    sessions.alarm.start()
    await asyncio.sleep(9.5 * AT_MOST)
    assert sessions.woken == []
    assert len(index.looks) == 10
    await asyncio.sleep(0.5 * AT_MOST + 1)
    assert [key for key, _ in sessions.woken] == [ANN]
    await sessions.alarm.end()


async def test_many_that_are_due_one_by_one_are_few_looks() -> None:
    index = Index()
    sessions = Sessions(index)
    sessions.alarm.start()
    now = sessions.loop.time()
    index.at = {SessionKey("", f"{n}"): now + 10 + n / 1000 for n in range(1000)}
    for key, at in index.at.items():
        sessions.alarm.set(key, at)
    await asyncio.sleep(12)
    assert len({key for key, _ in sessions.woken}) == 1000
    assert len(index.looks) <= 3 + 1 / PAUSE
    assert all(when - index.at[key] < PAUSE + 2 * STARTING for key, when in first_of(sessions))
    await sessions.alarm.end()


def first_of(sessions: Sessions) -> list[tuple[SessionKey, float]]:
    """When each was woken for the first time."""
    return list(dict(reversed(sessions.woken)).items())


async def test_one_that_did_not_take_what_was_due_is_woken_again() -> None:
    index = Index()
    sessions = Sessions(index)
    index.at = {ANN: sessions.loop.time()}
    sessions.alarm.start()
    await asyncio.sleep(3.5 * LOOK_AGAIN)
    assert len(sessions.woken) == 4
    index.at.clear()
    await asyncio.sleep(10 * LOOK_AGAIN)
    assert len(sessions.woken) == 4
    await sessions.alarm.end()


async def test_sessions_that_do_not_start_hold_up_the_others_for_a_while() -> None:
    index = Index()
    sessions = Sessions(index)
    sessions.slow = True
    index.at = {ANN: sessions.loop.time()}
    sessions.alarm.start()
    await asyncio.sleep(1)
    index.at = {BEN: sessions.loop.time()}
    sessions.alarm.set(BEN, sessions.loop.time())
    await asyncio.sleep(1)
    assert [key for key, _ in sessions.woken] == [ANN]
    await asyncio.sleep(STARTS_WITHIN * STARTING)
    assert [key for key, _ in sessions.woken] == [ANN, BEN]
    await sessions.alarm.end()


async def test_after_its_end_it_wakes_nobody_and_goes_on_when_it_is_started_again() -> None:
    index = Index()
    sessions = Sessions(index)
    sessions.alarm.start()
    index.at = {ANN: sessions.loop.time() + 5}
    sessions.alarm.set(ANN, sessions.loop.time() + 5)
    sessions.slow = True
    await sessions.alarm.end()
    await asyncio.sleep(10)
    assert sessions.woken == []
    sessions.alarm.start()
    await asyncio.sleep(1)  # it is in the middle of waking it
    await sessions.alarm.end()
    assert [key for key, _ in sessions.woken] == [ANN]


async def test_an_index_in_memory_gives_each_session_once_for_what_it_has_told() -> None:
    index = MemoryIndex()
    for key, at in ((ANN, 5.0), (ANN, 5.0), (BEN, 7.0), (ANN, 6.0)):
        index.note(key, at)
    assert [list(keys) async for keys in index.due(4.0)] == []
    assert await index.next_due(4.0) == 5.0
    assert [list(keys) async for keys in index.due(6.0)] == [[ANN]]
    assert [list(keys) async for keys in index.due(8.0)] == [[BEN]]
    assert await index.next_due(8.0) is None


async def test_of_a_session_that_was_deleted_nothing_is_due() -> None:
    sessions = Sessions(MemoryIndex())
    sessions.alarm.start()
    sessions.alarm.set(ANN, sessions.loop.time() + 5)
    sessions.alarm.forget(ANN)
    await asyncio.sleep(10)
    assert sessions.woken == []
    await sessions.alarm.end()


async def test_with_an_index_in_memory_nothing_is_looked_up_before_somebody_schedules() -> None:
    sessions = Sessions(MemoryIndex())
    before = len(asyncio.all_tasks())
    sessions.alarm.start()
    assert len(asyncio.all_tasks()) == before
    sessions.alarm.set(ANN, sessions.loop.time() + 5)
    await asyncio.sleep(10)
    assert [key for key, _ in sessions.woken] == [ANN]
    await sessions.alarm.end()
