"""What is nested too deep to be read again is refused when it is given, not found at a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from wavebreak import (
    ActorSystem,
    InvalidArguments,
    InvalidMessage,
    MessageStatus,
    Reply,
    SessionMessage,
    SqliteJournal,
    Turn,
    UserMessage,
    tool,
)

if TYPE_CHECKING:
    from pathlib import Path

    from wavebreak import Session

DEEPEST = 182
"""Levels of a value that are well read again, wherever it is written down."""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Wish(SessionMessage):
    """A message of a program's own."""

    what: Any


class Kept(BaseModel):
    """The state of a session."""

    what: Any


@tool
async def give(what: Any) -> Any:
    return what


@tool
async def make(levels: int) -> Any:
    return nested(levels)


async def agent(turn: Turn) -> Reply:
    turn.save(Kept(what=nested(DEEPEST - 1)))
    await turn.wave(give(nested(DEEPEST - 1)), make(DEEPEST))
    return Reply(text="done", data={"what": nested(DEEPEST - 1)})


async def answered(session: Session, message: SessionMessage) -> None:
    outcome = await (await session.send(message)).outcome()
    assert outcome.status is MessageStatus.ANSWERED, outcome


async def test_what_is_not_refused_is_read_again_wherever_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for _ in range(2):
        journal = SqliteJournal(path, snapshot_after=1)
        async with ActorSystem(agent, journal=journal, message_types=(Wish,)) as system:
            session = system.session("ann")
            for _ in range(3):
                await answered(session, Wish(what=nested(DEEPEST - 1)))
                metadata = {"what": nested(DEEPEST - 1)}
                await answered(session, UserMessage(text="x", metadata=metadata))
            history = await session.history(1000)
            results = [one.call.result for one in history if one.kind == "result" and one.call]
            assert results[-1] == nested(DEEPEST)


async def test_messages_that_are_nested_too_deep_are_refused() -> None:
    async with ActorSystem(agent, message_types=(Wish,)) as system:
        session = system.session("ann")
        for levels in (DEEPEST + 10, 240):
            with pytest.raises(InvalidMessage, match="nested"):
                await session.send(Wish(what=nested(levels)))
            with pytest.raises(InvalidMessage, match="nested"):
                await session.send("x", metadata={"what": nested(levels)})
            with pytest.raises(InvalidMessage, match="nested"):
                await session.send(UserMessage(text="x", metadata={"what": nested(levels)}))
        assert await session.history(10) == ()


async def test_a_call_or_a_reply_that_is_nested_too_deep_fails() -> None:
    seen: list[str] = []

    async def deep(turn: Turn) -> Reply:
        (end,) = await turn.settle(make(DEEPEST + 10))
        seen.append(str(end))
        with pytest.raises(InvalidArguments, match="nested"):
            await turn.wave(give(nested(DEEPEST + 10)))
        with pytest.raises(ValueError, match="nested"):
            turn.save(Kept(what=nested(DEEPEST + 10)))
        with pytest.raises(TypeError, match="nested"):
            await turn.step(lambda: nested(DEEPEST + 10), key="deep")
        return Reply(text="x", data={"what": nested(DEEPEST + 10)})

    async with ActorSystem(deep) as system:
        outcome = await (await system.session("ann").send("x")).outcome()
    assert outcome.status is MessageStatus.FAILED
    assert "nested" in outcome.error
    assert "nested" in seen[0]
