from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wavebreak.benchmarks.cancel_and_restart import Chat

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_a_second_message_starts_over_with_both_and_answers_them_once() -> None:
    begun: list[list[str]] = []
    said: list[str] = []

    async def agent(session_id: str, messages: Sequence[str]) -> str:
        begun.append(list(messages))
        await asyncio.sleep(1.0)
        return f"{session_id}: {' '.join(messages)}"

    async def deliver(session_id: str, reply: str, messages: Sequence[str]) -> None:
        said.append(reply)

    chat = Chat(agent, deliver)
    chat.send("s", "one")
    await asyncio.sleep(0.5)
    chat.send("s", "two")
    chat.send("other", "three")
    await asyncio.sleep(2.0)
    await chat.close()

    assert begun == [["one"], ["one", "two"], ["three"]]
    assert said == ["s: one two", "other: three"]


async def test_a_message_after_the_reply_is_answered_by_itself() -> None:
    said: list[str] = []

    async def agent(session_id: str, messages: Sequence[str]) -> str:
        return " ".join(messages)

    async def deliver(session_id: str, reply: str, messages: Sequence[str]) -> None:
        said.append(reply)

    chat = Chat(agent, deliver)
    for text in ("one", "two"):
        chat.send("s", text)
        await asyncio.sleep(1.0)
    await chat.close()

    assert said == ["one", "two"]


async def test_closing_cancels_what_runs() -> None:
    async def agent(session_id: str, messages: Sequence[str]) -> str:
        await asyncio.sleep(1000.0)
        raise AssertionError

    async def deliver(session_id: str, reply: str, messages: Sequence[str]) -> None:
        raise AssertionError

    chat = Chat(agent, deliver)
    chat.send("s", "one")
    await asyncio.sleep(0)
    await chat.close()
