from __future__ import annotations

import asyncio

import pytest

from wavebreak import AcceptanceUnknown, ActorSystem, MessageStatus, Turn
from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.state import SessionState
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import FailingJournal, RecordingDeliver, SimulatedDisk

KEY = SessionKey("", "ann")


async def echo(turn: Turn) -> str:
    return f"{turn.number}: {turn.text}"


@pytest.mark.parametrize("slow", [False, True])
async def test_what_one_system_wrote_the_next_one_reads(*, slow: bool) -> None:
    disk = SimulatedDisk(slow=slow)
    for number in (1, 2):
        async with ActorSystem(echo, journal=disk.connect()) as system:
            outcome = await (await system.session("ann").send("hello")).outcome()
            assert outcome.reply is not None
            assert outcome.reply.text == f"{number}: hello"
    entries = disk.entries(KEY)
    assert entries[0].position == 1, "nothing is forgotten"
    assert fold(SessionState(KEY), entries).turn == 2


async def test_a_kill_loses_what_was_not_committed() -> None:
    disk = SimulatedDisk(slow=True)
    async with ActorSystem(echo, journal=disk.connect()) as system:
        accepted = system.session("ann").send("hello", message_id="m1")
        disk.kill()
        await asyncio.sleep(1)
        assert not accepted.done(), "nobody is left to say so"
        assert disk.entries(KEY) == []
        disk.connect()


async def test_the_system_before_writes_no_more() -> None:
    disk = SimulatedDisk()
    before = disk.connect()
    disk.connect()
    assert not before.append(KEY, ()).done
    assert disk.shelves == {}


@pytest.mark.parametrize("written", [False, True])
async def test_a_commit_that_fails_is_unknown(*, written: bool) -> None:
    journal = FailingJournal()
    async with ActorSystem(echo, journal=journal) as system:
        session = system.session("ann")
        await (await session.send("a")).outcome()
        journal.fail(written=written)
        with pytest.raises(AcceptanceUnknown):
            await session.send("b", message_id="m2")
        again = await session.send("b", message_id="m2")
        assert again.duplicate is written
        assert (await again.outcome()).status is MessageStatus.ANSWERED


async def test_nothing_leaves_while_commits_are_held() -> None:
    journal, deliver = FailingJournal(), RecordingDeliver()
    journal.hold()
    async with ActorSystem(echo, journal=journal, deliver=deliver) as system:
        accepted = system.session("ann").send("hello")
        journal.commit()
        assert deliver.texts == []
        journal.commit(hold=False)
        await deliver.until(1)
        await accepted
    assert deliver.texts == ["1: hello"]
