"""Calls that are tried again within their wave."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from wavebreak import (
    ActorSystem,
    AfterWave,
    CallFailed,
    CallStatus,
    MessageStatus,
    MissingExtra,
    Now,
    Retries,
    Rollback,
    Tool,
    ToolDefinitionError,
    Turn,
    current_call,
    tool,
)
from wavebreak.tools.dependencies import Dependencies
from wavebreak.tools.plan import Plan
from wavebreak.tools.run import run_waves

LONG = 1000.0


class Flaky:
    """A tool that fails some times before it does not, async or blocking."""

    def __init__(self, fails: int, error: Exception | None = None, **options: Any) -> None:
        self.fails = fails
        self.error = error or OSError("gone")
        self.tries: list[float] = []
        self.keys: set[str] = set()
        self.blocking = options.pop("blocking", False)
        self.loop = asyncio.get_running_loop()
        self.tool = self._tool({"effect": "idempotent", **options})

    def _tool(self, options: dict[str, Any]) -> Tool[..., str]:
        async def flaky() -> str:
            return self._try()

        def blocking() -> str:
            return self._try()

        make = tool(name="flaky", **options)
        return make(blocking) if self.blocking else make(flaky)

    def _try(self) -> str:
        self.tries.append(self.loop.time())
        self.keys.add(current_call().idempotency_key)
        if len(self.tries) <= self.fails:
            raise self.error
        return "done"

    @property
    def waits(self) -> list[float]:
        return [b - a for a, b in zip(self.tries, self.tries[1:], strict=False)]


async def ask(flaky: Flaky, **options: Any) -> str:
    async def agent(turn: Turn) -> str:
        try:
            return await turn.one(flaky.tool())
        except CallFailed as failed:
            error = failed.record.error
            return f"{failed.record.status} {error.type if error else ''}"

    async with ActorSystem(agent, **options) as system, asyncio.timeout(LONG):
        outcome = await (await system.session("ann").send("a")).outcome()
        assert outcome.reply is not None
        return outcome.reply.text


BOTH = pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])


@BOTH
async def test_a_call_is_tried_again_with_the_same_key_until_it_succeeds(blocking: bool) -> None:
    flaky = Flaky(3, retries=3, blocking=blocking)
    assert await ask(flaky) == "done"
    assert len(flaky.tries) == 4
    assert len(flaky.keys) == 1


@BOTH
async def test_after_so_many_tries_the_last_error_is_the_calls(blocking: bool) -> None:
    flaky = Flaky(9, retries=2, blocking=blocking)
    assert await ask(flaky) == "failed OSError"
    assert len(flaky.tries) == 3


@BOTH
async def test_the_waits_double_and_have_a_bound_in_virtual_time(blocking: bool) -> None:
    rule = Retries(4, wait_initial=1.0, wait_max=4.0)
    flaky = Flaky(9, retries=rule, blocking=blocking)
    await ask(flaky)
    for least, wait in zip((1, 2, 4, 4), flaky.waits, strict=True):
        assert least <= wait <= min(least + 1, 4) + 0.01


@BOTH
async def test_an_error_that_retry_on_does_not_name_is_final(blocking: bool) -> None:
    flaky = Flaky(1, ValueError("wrong"), retries=3, blocking=blocking)
    assert await ask(flaky) == "failed ValueError"
    assert len(flaky.tries) == 1


async def test_what_retry_on_names_is_the_systems_unless_the_tool_says_its_own() -> None:
    assert await ask(Flaky(1, KeyError("a"), retries=1), retry_on=(KeyError,)) == "done"
    own = Retries(1, on=(KeyError,))
    assert await ask(Flaky(1, KeyError("a"), retries=own)) == "done"
    assert await ask(Flaky(1, OSError("a"), retries=own)) == "failed OSError"
    grouped = ExceptionGroup("both", [ValueError("a"), KeyError("b")])
    assert await ask(Flaky(1, grouped, retries=own)) == "done"


@BOTH
async def test_the_timeout_is_for_all_tries_together(blocking: bool) -> None:
    flaky = Flaky(9, retries=Retries(9, wait_initial=2.0), timeout=5, blocking=blocking)
    answer = await ask(flaky)
    assert answer in {"failed OSError", "failed TimeoutError"}
    assert len(flaky.tries) < 4


async def test_run_waves_tries_again_what_the_tool_names() -> None:
    flaky = Flaky(1, retries=Retries(1, on=(OSError,)))
    plan = Plan()
    result = plan.add(flaky.tool())
    assert (await run_waves(plan, deps=Dependencies()))[result] == "done"


@BOTH
@pytest.mark.parametrize("effect", ["read", "idempotent"])
@pytest.mark.parametrize("policy", [AfterWave(), Now(), Rollback()], ids=lambda p: p.kind)
async def test_a_stop_ends_the_trying_at_once_and_its_end_is_known(
    policy: AfterWave | Now | Rollback, effect: str, blocking: bool
) -> None:
    rule = Retries(9, wait_initial=60.0, wait_max=60.0)
    flaky = Flaky(9, retries=rule, effect=effect, blocking=blocking)
    records: list[Any] = []

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await turn.one(flaky.tool())
        records.extend(turn.previous.calls if turn.previous else ())
        return "done"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        while not flaky.tries:
            await asyncio.sleep(0.1)
        before = asyncio.get_running_loop().time()
        second = await session.send("b", policy=policy)
        assert (await second.outcome()).status is MessageStatus.ANSWERED
        assert asyncio.get_running_loop().time() - before < 1
    assert len(flaky.tries) == 1
    if not isinstance(policy, Rollback):
        (record,) = records
        assert record.status is CallStatus.FAILED, "not unknown: the end of the last try was seen"
        assert record.error.type == "OSError"


async def test_a_tool_that_answers_its_cancellation_by_an_error_is_not_tried_again() -> None:
    tries: list[int] = []

    @tool(effect="read", retries=Retries(3, wait_initial=0.1))
    async def stubborn() -> str:
        tries.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("closed")
        return ""

    async def agent(turn: Turn) -> str:
        if turn.number == 1:
            await turn.one(stubborn())
        return "done"

    async with ActorSystem(agent) as system, asyncio.timeout(LONG):
        session = system.session("ann")
        await session.send("a")
        await asyncio.sleep(1)
        await (await session.send("b", policy=Now())).outcome()
        await asyncio.sleep(10)
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": 2}, "never started again"),
        ({"effect": "read", "retries": 0}, "times=0"),
        ({"effect": "read", "retries": True}, "retries=True"),
        ({"effect": "read", "retries": "often"}, "give how often"),
        ({"effect": "read", "retries": Retries(1, wait_initial=-1)}, "wait_initial=-1"),
        ({"effect": "read", "retries": Retries(1, wait_max=float("inf"))}, "wait_max=inf"),
        ({"effect": "read", "retries": Retries(1, on=(BaseException,))}, "on="),  # type: ignore[arg-type]
        ({"effect": "read", "retries": Retries(1, on=())}, "on=()"),
    ],
)
def test_retries_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:

        @tool(**options)
        async def fetch() -> str:
            return ""

    assert words in str(caught.value)


def test_without_tenacity_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(MissingExtra, match=r"wavebreak\[retries\]"):

        @tool(effect="read", retries=1)
        async def fetch() -> str:
            return ""
