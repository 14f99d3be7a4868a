from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wavebreak import MessageStatus, Now, Turn, tool
from wavebreak.testing import Leak, Talk


@tool(effect="read")
async def look(what: str) -> str:
    await asyncio.sleep(30)
    return f"seen {what}"


async def agent(turn: Turn) -> str:
    return f"{await turn.one(look('tea'))} for {turn.text!r}"


def test_a_system_is_talked_to_without_a_coroutine() -> None:
    with Talk(agent) as talk:
        assert talk.ask("hello") == "seen tea for 'hello'"
        outcome = talk.send("again", "bob", policy=Now())
        assert outcome.status is MessageStatus.ANSWERED
        assert talk.deliver.texts == ["seen tea for 'hello'", "seen tea for 'again'"]


def test_a_burst_is_answered_as_the_policy_says() -> None:
    with Talk(agent) as talk:
        assert talk.burst("one", "two") == ["seen tea for 'one\\ntwo'"]
        talk.wait(1000)


def test_it_is_closed_once_and_tells_of_tasks_that_are_left() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def careless(turn: Turn) -> str:
        tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(10_000)))
        return "done"

    talk = Talk(careless)
    talk.ask("hello")
    with pytest.raises(Leak, match="tasks are left"):
        talk.close()
    talk.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()
