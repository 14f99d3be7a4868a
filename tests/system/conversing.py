"""A conversation in which much happens, and what has to come of it whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    AfterWave,
    Enqueue,
    Future,
    MessageStatus,
    Now,
    Receipt,
    Session,
    SessionFailed,
    Turn,
    WavebreakError,
    tool,
)
from wavebreak.messages.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wavebreak.actors.requests import StopResult

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def swallow_until(enough: asyncio.Event) -> None:
    """Be at work that cannot be cancelled, until somebody says that it is enough."""
    while not enough.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await enough.wait()


class Answers:
    """What everybody who asked was answered: a value, or one of our errors."""

    def __init__(self) -> None:
        self.accepted: list[Receipt] = []
        self.refused: list[WavebreakError] = []
        self.outcomes: dict[str, MessageStatus] = {}
        self.stops: list[StopResult | WavebreakError] = []

    async def send(self, session: Session, text: str, **options: Any) -> None:
        """Send, until it is known to be accepted, as a program does."""
        for _ in range(10):
            try:
                receipt = await session.send(text, message_id=text, **options)
            except (AcceptanceUnknown, SessionFailed) as error:
                self.refused.append(error)
                await asyncio.sleep(1)
            else:
                self.accepted.append(receipt)
                return
        raise AssertionError(f"{text!r} was never accepted: {self.refused}")

    async def stop(self, stopped: Future[StopResult]) -> None:
        try:
            self.stops.append(await stopped)
        except SessionError as error:
            self.stops.append(error)

    async def wait(self) -> None:
        for receipt in self.accepted:
            self.outcomes[receipt.message_id] = (await receipt.outcome()).status


class Trouble:
    """Raises at one of many moments, which are counted as they come."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at = at
        self.error = error
        self.count = 0

    def maybe(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise self.error


async def conversation(system: ActorSystem, hold: Any) -> Answers:
    """Two messages, of which the second interrupts; a third, and a stop in its turn."""
    answers = Answers()
    session = system.session("ann")
    await answers.send(session, "a")
    await asyncio.sleep(1)
    second = asyncio.create_task(answers.send(session, "b", policy=AfterWave(patience=5)))
    await asyncio.sleep(1)
    hold.let_go(5)
    await second
    await asyncio.sleep(30)
    await answers.send(session, "c", policy=Enqueue())
    await asyncio.sleep(1)
    stopping = asyncio.create_task(answers.stop(session.stop(Now(grace=1))))
    await answers.send(session, "d", policy=Enqueue())
    hold.let_go()
    await stopping
    await answers.wait()
    return answers


def agent_of(started: list[str]) -> Callable[[Turn], Coroutine[Any, Any, str]]:
    @tool
    async def book(text: str) -> str:
        started.append(text)
        await asyncio.sleep(0.01)
        return text

    async def agent(turn: Turn) -> str:
        turn.say(f"about {turn.text}")
        await turn.settle(turn.call("hold", {"text": turn.text}), book(turn.text))
        return f"re: {turn.text}"

    return agent


ENDS = {MessageStatus.ANSWERED, MessageStatus.CANCELLED}


def check_answers(answers: Answers, started: list[str]) -> None:
    assert set(answers.outcomes) == set("abcd")
    assert set(answers.outcomes.values()) <= ENDS
    assert answers.outcomes["d"] is MessageStatus.ANSWERED, "the session lives on"
    assert len(answers.stops) == 1
    assert len(started) == len(set(started)), "what may have happened is not done again"
