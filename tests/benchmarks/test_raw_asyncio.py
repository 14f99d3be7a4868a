from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wavebreak.benchmarks.raw_asyncio import Call, Session

if TYPE_CHECKING:
    from wavebreak.benchmarks.raw_asyncio import Turn

WAVES = 5


class Job:
    """Five waves of two calls of a second each; notes what was started and delivered."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.delivered: list[str] = []
        self.begun: list[int] = []

    async def tool(self, wave: int, place: int) -> int:
        self.started.append((wave, place))
        await asyncio.sleep(1.0)
        return wave * 10 + place

    async def agent(self, turn: Turn) -> str:
        total = 0
        for wave in range(WAVES):
            self.begun.append(wave)
            calls = [Call("tool", (wave, place), self.tool) for place in range(2)]
            total += sum(await turn.wave(*calls))
        return f"{' '.join(turn.messages)} {total}"

    async def deliver(self, session_id: str, reply: str) -> None:
        self.delivered.append(reply)


async def test_a_second_message_stops_the_turn_after_its_wave_and_nothing_is_done_twice() -> None:
    job = Job()
    session = Session("s", job.agent, job.deliver)
    first = session.send("one")
    await asyncio.sleep(2.5)
    second = session.send("two")

    assert await first == await second == "one two 205"
    assert job.delivered == ["one two 205"]
    assert job.begun == [0, 1, 2, 0, 1, 2, 3, 4]
    assert len(job.started) == len(set(job.started)) == WAVES * 2
    await session.close()


async def test_a_chain_of_interruptions_keeps_what_each_turn_did() -> None:
    job = Job()
    session = Session("s", job.agent, job.deliver)
    answers = [session.send("0")]
    for number in range(1, 4):
        await asyncio.sleep(1.2)
        answers.append(session.send(str(number)))

    assert set(await asyncio.gather(*answers)) == {"0 1 2 3 205"}
    assert len(job.started) == WAVES * 2
    await session.close()


async def test_a_result_that_an_interrupted_turn_did_not_use_is_kept_for_the_next() -> None:
    job = Job()

    async def agent(turn: Turn) -> str:
        # Only the second turn does something else first.
        wave = len(turn.messages) % 2
        await turn.wave(Call("tool", (wave, 0), job.tool))
        await turn.wave(Call("tool", (2, 0), job.tool))
        return "done"

    session = Session("s", agent, job.deliver)
    answers = [session.send("one")]
    for text in ("two", "three"):
        await asyncio.sleep(0.7)
        answers.append(session.send(text))

    await asyncio.gather(*answers)
    assert job.started == [(1, 0), (0, 0), (2, 0)]
    await session.close()


async def test_a_message_after_the_reply_starts_from_nothing() -> None:
    job = Job()
    session = Session("s", job.agent, job.deliver)

    assert await session.send("one") == "one 205"
    assert await session.send("two") == "two 205"
    assert len(job.started) == WAVES * 4
    await session.close()


async def test_a_failing_call_disturbs_no_other_and_fails_the_turn() -> None:
    ended: list[str] = []

    async def fail() -> None:
        message = "no"
        raise OSError(message)

    async def work() -> None:
        await asyncio.sleep(1.0)
        ended.append("work")

    async def agent(turn: Turn) -> str:
        await turn.wave(Call("fail", (), fail), Call("work", (), work))
        return "never"

    session = Session("s", agent, Job().deliver)
    with pytest.raises(ExceptionGroup, match="1 of 2 calls failed"):
        await session.send("one")
    assert ended == ["work"]
    await session.close()


async def test_closing_tells_whoever_waits() -> None:
    job = Job()
    session = Session("s", job.agent, job.deliver)
    answer = session.send("one")
    await asyncio.sleep(0.5)
    await session.close()

    with pytest.raises(asyncio.CancelledError):
        await answer
