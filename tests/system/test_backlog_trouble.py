"""What waits, with a journal that fails at every append: nobody is left waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak import (
    ActorSystem,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    MessageStatus,
    Now,
    SessionMessage,
    SessionView,
    Steer,
    Turn,
    WavebreakError,
    tool,
)
from wavebreak.testing import RecordingDeliver

from .auditing import Audit
from .conversing import Answers
from .test_bad_journals import HOWS, LONG, BadJournal

if TYPE_CHECKING:
    from collections.abc import Awaitable

ENDS = {MessageStatus.ANSWERED, MessageStatus.CANCELLED, MessageStatus.EXPIRED}


async def answered(asked: Awaitable[Any]) -> bool:
    """Wait for an answer: a value, or one of our errors."""
    try:
        await asked
    except WavebreakError:
        return False
    return True


async def _converse_on(journal: BadJournal) -> None:
    started: list[str] = []

    @tool
    async def book(text: str) -> str:
        started.append(text)
        await asyncio.sleep(0.01)
        return text

    async def agent(turn: Turn) -> str:
        await turn.settle(book(turn.messages[0].as_text()))
        await asyncio.sleep(2)
        await turn.new_messages()
        return turn.text

    async def aside(message: SessionMessage, view: SessionView) -> str:
        await asyncio.sleep(1)
        return "here"

    audit, deliver, answers = Audit(), RecordingDeliver(), Answers()
    system = ActorSystem(
        audit.agent(agent),
        journal=journal,
        deliver=deliver,
        aside=aside,
        debounce=Debounce(quiet=0.5, max_wait=2),
        expires_after=60,
    )
    async with system, asyncio.timeout(LONG):
        session = system.session("ann")
        await answers.send(session, "a")
        await answers.send(session, "b")
        await asyncio.sleep(1)
        await answers.send(session, "c", policy=Steer())
        await answers.send(session, "d", policy=Aside())
        await answers.send(session, "e", policy=Enqueue())
        await answers.send(session, "f", policy=Collect())
        await answered(session.edit("e", "E"))
        await answered(session.withdraw("f"))
        await answers.send(session, "g", policy=Now(grace=1))
        await answers.send(session, "h", policy=Enqueue())
        while not await answered(session.stop(Now(grace=1), backlog="park")):
            pass
        while not await answered(session.resume()):
            pass
        await answers.wait()
        await asyncio.sleep(30)
    assert set(answers.outcomes) == set("abcdefgh")
    assert set(answers.outcomes.values()) <= ENDS
    assert answers.outcomes["d"] is MessageStatus.ANSWERED
    assert len(started) == len(set(started)), "what may have happened is not done again"
    assert audit.most == 1
    ids = [one.delivery_id for one in deliver.deliveries]
    assert len(set(ids)) == len(ids)


@pytest.mark.matrix(quick=1)
@pytest.mark.parametrize("how", HOWS)
async def test_a_journal_that_fails_at_any_append_leaves_nothing_waiting_that_waits(
    how: str,
) -> None:
    at, count = 0, 1
    while at < count:
        at += 1
        journal = BadJournal(at, how)
        await _converse_on(journal)
        count = journal.count
    assert count > 15, "the conversation is long enough"
