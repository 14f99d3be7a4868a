"""Journals that earlier versions wrote are read by this one."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wavebreak import ActorSystem, MessageStatus, SqliteJournal, Turn
from wavebreak.journal.schema import SCHEMA_VERSION
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import RecordingDeliver

from .make_golden import FOLDER, Order

SCHEDULES = 3
"""The first version that can have scheduled messages."""

VERSIONS = sorted(int(path.stem.removeprefix("version-")) for path in FOLDER.glob("*.db"))


def test_there_is_a_journal_of_this_version() -> None:
    assert SCHEMA_VERSION in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_journal_of_an_earlier_version_is_gone_on_with(
    version: int, tmp_path: Path
) -> None:
    name = f"version-{version}.db"
    shutil.copy(FOLDER / name, tmp_path / name)
    seen: dict[str, Turn] = {}

    async def agent(turn: Turn) -> str:
        seen[turn.session_id] = turn
        return f"{turn.number}.{turn.attempt} {turn.text}"

    deliver = RecordingDeliver()
    journal = SqliteJournal(tmp_path / name)
    async with ActorSystem(
        agent, journal=journal, deliver=deliver, message_types=(Order,)
    ) as system:
        outcomes = {
            message: await system.session(session).outcome(message)
            for session, message in (
                ("done", "done-a"),
                ("done", "done-ü"),
                ("done", "done-c"),
                ("stopped", "s1"),
                ("left", "l0"),
                ("left", "l1"),
                ("left", "l2"),
            )
        }
        if version >= SCHEDULES:
            (tea,) = await system.session("later").scheduled()
            assert tea.message.as_text() == "tea"
            assert tea.due_at == datetime(2900, 1, 1, tzinfo=UTC).timestamp()
        await deliver.until(3)
        await asyncio.sleep(1)
        history = await journal.history(SessionKey("", "left"), 100)
    assert {outcome.status for outcome in outcomes.values()} == {MessageStatus.ANSWERED}
    texts = {message: outcome.reply.text for message, outcome in outcomes.items() if outcome.reply}
    assert texts["done-a"] == "re: a"
    assert texts["done-ü"] == "re: ü"
    assert outcomes["done-c"].reply is not None
    assert outcomes["done-c"].reply.data == {"turn": 4}
    assert texts["l1"] == "2.2 wait", "it ran when the process was killed"
    assert texts["l2"] == "3.1 later"
    order = history[0].message
    assert isinstance(order, Order)
    assert order.order == 7
    (later,) = seen["left"].messages
    assert later.sender == "ann"
    assert "re: c" in deliver.texts, "it was not acknowledged"
