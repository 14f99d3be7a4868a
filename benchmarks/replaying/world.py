"""The world in which both systems play: recorded services, and models and services that take time.

A :class:`Desk` is one session's way to it. Its tools take the same time in both systems: a delay
depends on the seed, the session and the call, and on nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from .recorded import call_key
from .tape import Tape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .recorded import Conversation, Exchange

# Medians in seconds, of a small model's answer, a service's, and a longer answer of a model.
UNDERSTAND, SERVICE, COMPOSE = 1.2, 0.8, 2.5
SPREAD = 0.4
"""Sigma of the lognormal distribution of delays."""


class Wanted(BaseModel):
    """A service call that a message asks for, as a model would put it."""

    model_config = ConfigDict(frozen=True)

    method: str
    parameters: dict[str, Any]
    books: bool


class Script(NamedTuple):
    """A session to play: a conversation, and the recorded second at which each line is sent."""

    session_id: str
    conversation: Conversation
    arrivals: Sequence[float]

    @property
    def message_ids(self) -> tuple[str, ...]:
        """The ids of the messages, in order."""
        return tuple(map(message_id, range(len(self.conversation.exchanges))))

    @property
    def recorded(self) -> Mapping[str, int]:
        """How often each call was recorded."""
        return Counter(call.key for e in self.conversation.exchanges for call in e.calls)


def message_id(number: int) -> str:
    """Name the message of that number, from 0."""
    return f"m{number}"


class Desk:
    """What the tools of one session do, and the tape on which they note it.

    Args:
        script: what was recorded.
        seed: of the delays.
        speed: recorded seconds that pass in one second of the loop.
    """

    def __init__(self, script: Script, *, seed: int, speed: float) -> None:
        self.script = script
        self.tape = Tape()
        self._seed = seed
        self._speed = speed
        self._answers = _recorded_answers(script.conversation)
        self._asked: Counter[str] = Counter()

    async def understand(self, message: str, text: str) -> list[Wanted]:
        """Find out what a message asks for; a read that takes a model's time."""
        key = call_key("understand", {"message": message, "text": text})
        await self._work(key, UNDERSTAND)
        return self._wanted(message)

    async def serve(
        self, method: str, parameters: dict[str, Any], *, books: bool
    ) -> list[dict[str, Any]]:
        """Answer a service call with what was recorded for it."""
        key = call_key(method, parameters)
        await self._work(key, SERVICE, once=books)
        answers = self._answers[key]
        self._asked[key] += 1
        return answers[min(self._asked[key], len(answers)) - 1]

    async def compose(self, messages: Sequence[str], findings: int) -> str:
        """Put a reply to several messages into words; a read that takes a model's time."""
        key = call_key("compose", {"messages": list(messages), "findings": findings})
        await self._work(key, COMPOSE)
        return self._reply(messages)

    def check(
        self,
        understood: Mapping[str, Sequence[Wanted]],
        findings: Sequence[tuple[Wanted, Sequence[dict[str, Any]]]],
    ) -> None:
        """Note results that are not the recorded ones: a carried result may be another call's."""
        for message, wanted in understood.items():
            if list(wanted) != self._wanted(message):
                self.tape.wrong.append(f"{message} was understood as {wanted}")
        for call, found in findings:
            if list(found) not in self._answers[call_key(call.method, call.parameters)]:
                self.tape.wrong.append(f"{call.method} was answered with {found}")

    def check_reply(self, messages: Sequence[str], text: str) -> None:
        """Note a reply that is not the recorded one."""
        if text != self._reply(messages):
            self.tape.wrong.append(f"{', '.join(messages)} was answered with {text!r}")

    def _wanted(self, message: str) -> list[Wanted]:
        return [
            Wanted(method=call.method, parameters=call.parameters, books=call.books)
            for call in self._exchange(message).calls
        ]

    def _reply(self, messages: Sequence[str]) -> str:
        return "\n".join(self._exchange(message).answer for message in messages)

    def _exchange(self, message: str) -> Exchange:
        return self.script.conversation.exchanges[self.script.message_ids.index(message)]

    async def _work(self, key: str, median: float, *, once: bool = False) -> None:
        chance = Random(f"{self._seed} {self.script.session_id} {key}")  # noqa: S311 - no secret
        seconds = median * chance.lognormvariate(0, SPREAD)
        await self.tape.work(key, once=once, seconds=seconds, speed=self._speed)


def _recorded_answers(conversation: Conversation) -> dict[str, list[list[dict[str, Any]]]]:
    answers: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for exchange in conversation.exchanges:
        for call in exchange.calls:
            answers[call.key].append(list(call.results))
    return answers
