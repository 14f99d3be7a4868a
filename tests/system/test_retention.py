"""Sessions that nobody uses are forgotten, and only those."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import apsw
import pytest

from wavebreak import (
    ActorSystem,
    Enqueue,
    InvalidSetting,
    MemoryJournal,
    Now,
    Retention,
    SqliteJournal,
    Turn,
)
from wavebreak.messages.ids import SessionKey
from wavebreak.supervisors import sweeper
from wavebreak.testing import RecordingDeliver, SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wavebreak.journal.base import Journal

DAY: Final = 86_400.0
MONTH: Final = Retention(idle=timedelta(days=30))


def at(path: Path) -> SqliteJournal:
    return SqliteJournal(path, "NORMAL")


async def agent(turn: Turn) -> str:
    if turn.text == "wait":
        await asyncio.Event().wait()
    return f"{turn.number}: {turn.text}"


@pytest.fixture(autouse=True)
def looked_for_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than once an hour: a look is a commit, and disks of test machines may be slow."""
    monkeypatch.setattr(sweeper, "AT_MOST", DAY)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else at(tmp_path / "j.db")


async def say(system: ActorSystem, name: str, text: str = "hello", **options: Any) -> None:
    await (await system.session(name).send(text, **options)).outcome()


async def known(system: ActorSystem, *names: str) -> list[str]:
    """Those of which there is any history, without a word to the others."""
    journal = system._journal
    return [name for name in names if await journal.history(SessionKey("", name), 1)]


async def test_a_session_that_nobody_uses_is_deleted_and_one_in_use_is_not(
    journal: Journal,
) -> None:
    async with ActorSystem(agent, journal=journal, retention=MONTH) as system:
        await say(system, "once")
        for _ in range(8):
            await say(system, "often")
            await asyncio.sleep(5 * DAY)
        assert await known(system, "once", "often") == ["often"]
        assert system.counters() == {'deleted_sessions{by="retention"}': 1}
        await asyncio.sleep(31 * DAY)
        assert await known(system, "once", "often") == []
        await say(system, "once", "again")
        assert [entry.text for entry in await system.session("once").history()] == [
            "again",
            "1: again",
        ]


async def test_nothing_is_deleted_if_nobody_says_so(journal: Journal) -> None:
    async with ActorSystem(agent, journal=journal) as system:
        await say(system, "once")
        await asyncio.sleep(60 * DAY)
        assert await known(system, "once") == ["once"]


async def test_what_something_waits_for_is_not_deleted(journal: Journal) -> None:
    deliver = RecordingDeliver()
    options: dict[str, Any] = {"deliver": deliver, "deliver_attempts": 10**6}
    options |= {"deliver_timeout": float("inf")}
    retention = Retention(idle=5 * DAY)
    async with ActorSystem(agent, journal=journal, retention=retention, **options) as system:
        running, parked, busy, owing = map(system.session, ("running", "parked", "busy", "owing"))
        await running.send("wait")
        await parked.send("wait")
        await parked.send("later", policy=Enqueue())
        await parked.stop(Now(), backlog="park")
        await busy.send("wait")
        await busy.send("behind", policy=Enqueue())
        await asyncio.sleep(1)
        deliver.hang()
        await say(system, "owing")
        await asyncio.sleep(20 * DAY)
        assert len(await owing.history()) == 2
        assert await parked.history()
        for session in (running, busy):
            assert (await session.stop(Now())).turn == 1
        deliver.let_go()
        await parked.resume()
        await asyncio.sleep(1)
        assert system.counters().get('deleted_sessions{by="retention"}') is None
        await asyncio.sleep(20 * DAY)
        assert await known(system, "running", "parked", "busy", "owing") == []


async def test_what_is_scheduled_is_not_deleted_before_it_was_sent(journal: Journal) -> None:
    retention = Retention(idle=5 * DAY)
    async with ActorSystem(agent, journal=journal, retention=retention, idle_after=60) as system:
        await say(system, "ann")
        await system.session("ann").send_later("later", at=timedelta(days=20))
        await asyncio.sleep(19 * DAY)
        assert await known(system, "ann") == ["ann"]
        await asyncio.sleep(2 * DAY)
        assert len(await system.session("ann").history()) == 4
        await asyncio.sleep(10 * DAY)
        assert await known(system, "ann") == []


async def test_it_goes_on_after_a_restart_without_a_session_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time()
    monkeypatch.setattr(time, "time", lambda: clock)
    for days in (10, 19, 3):
        started: list[str] = []

        async def noting(turn: Turn, started: list[str] = started) -> str:
            started.append(turn.session_id)
            return turn.text

        journal = at(tmp_path / "j.db")
        async with ActorSystem(noting, journal=journal, retention=MONTH) as system:
            if days == 10:
                for number in range(50):
                    await say(system, f"s{number}")
            await asyncio.sleep(days * DAY)
            left = await known(system, *(f"s{number}" for number in range(50)))
            assert len(left) == (0 if days == 3 else 50)
            if days != 10:
                assert not system._running().door.cells
        assert not started or days == 10
        clock += days * DAY


async def test_no_text_is_left_of_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        for number in range(60):
            await say(system, f"s{number}", f"Tegucigalpa {number}")
        assert b"Tegucigalpa" in b"".join(one.read_bytes() for one in tmp_path.iterdir())
        await asyncio.sleep(40 * DAY)
        await say(system, "other")
        assert b"Tegucigalpa" not in b"".join(one.read_bytes() for one in tmp_path.iterdir())


@pytest.mark.parametrize("days", [365.0, 8.0, -365.0])
async def test_a_clock_that_was_set_deletes_nothing_early_nor_anything_never(
    tmp_path: Path, days: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "j.db", time.time()
    monkeypatch.setattr(time, "time", lambda: clock)
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        await say(system, "old")
        await asyncio.sleep(20 * DAY)
    clock += (20 + days) * DAY
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        await say(system, "new")
        await asyncio.sleep(9 * DAY)
        assert await known(system, "old", "new") == ["old", "new"]
        if days > 0:
            await asyncio.sleep(5 * DAY)
            assert await known(system, "old", "new") == ["new"]
        await asyncio.sleep(30 * DAY)
        assert await known(system, "old", "new") == []
    clock -= days * DAY
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        await say(system, "right")
        await asyncio.sleep(20 * DAY)
        assert await known(system, "right") == ["right"]


async def test_a_short_pause_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "j.db", time.time()
    monkeypatch.setattr(time, "time", lambda: clock)
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        await say(system, "old")
        await asyncio.sleep(26 * DAY)
    clock += (26 + 6) * DAY
    async with ActorSystem(agent, journal=at(path), retention=MONTH) as system:
        await asyncio.sleep(sweeper.FIRST + 1)
        assert await known(system, "old") == []


async def test_a_message_that_comes_meanwhile_is_answered(journal: Journal) -> None:
    async with ActorSystem(agent, journal=journal, retention=Retention(idle=100)) as system:
        for round_ in range(60):
            names = [f"s{number}" for number in range(8)]
            await asyncio.gather(*(say(system, name, f"{round_}") for name in names))
            for name in names:
                entries = await system.session(name).history()
                assert entries[-2].text == f"{round_}"
            await asyncio.sleep(93 + round_ / 4)


async def test_a_journal_that_fails_is_looked_at_again() -> None:
    class Failing(MemoryJournal):
        fails = 30

        def unused(self, since: float) -> Any:
            if self.fails:
                self.fails -= 1
                raise apsw.IOError
            return super().unused(since)

    async with ActorSystem(agent, journal=Failing(), retention=Retention(idle=10)) as system:
        await say(system, "once")
        await asyncio.sleep(100)
        assert await known(system, "once") == []


BAD: Final[dict[str, Callable[[], object]]] = {
    "0": lambda: Retention(idle=0),
    "-1": lambda: Retention(idle=-1.0),
    "timedelta": lambda: Retention(idle=timedelta(0)),
    "inf": lambda: Retention(idle=float("inf")),
    "nan": lambda: Retention(idle=float("nan")),
    "True": lambda: Retention(idle=True),
    "'30 days'": lambda: Retention(idle="30 days"),  # type: ignore[arg-type]
    "retention=30": lambda: ActorSystem(agent, retention=30),  # type: ignore[arg-type]
    "RetainingJournal": lambda: ActorSystem(
        agent, retention=MONTH, journal=SimulatedDisk().connect()
    ),
}


@pytest.mark.parametrize("named", BAD)
def test_what_cannot_be_is_refused_by_its_name(named: str) -> None:
    with pytest.raises(InvalidSetting, match=named):
        BAD[named]()
