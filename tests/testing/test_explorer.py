from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from wavebreak import (
    AfterWave,
    Aside,
    CallStatus,
    Collect,
    CompletedCall,
    Debounce,
    Enqueue,
    MessageRejected,
    Now,
    Reply,
    Rollback,
    RuntimeActor,
    SessionView,
    Steer,
    Turn,
    UserMessage,
    tool,
)
from wavebreak.examples import concierge
from wavebreak.examples.concierge_hotels import FrontDesk
from wavebreak.testing import (
    INJECTIONS,
    ExploreError,
    Facts,
    Failure,
    Inject,
    Restart,
    Say,
    Schedule,
    Stop,
    explore,
    replay,
)
from wavebreak.testing.explorer import names
from wavebreak.testing.explorer.explorer import Explorer
from wavebreak.testing.explorer.script import MOMENTS, script_of
from wavebreak.testing.explorer.timeline import timeline


@tool(effect="read")
async def look(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"seen {what}"


@tool
async def order(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"ordered {what}"


@tool(effect="idempotent", timeout=3.0, protected=True)
async def note(what: str) -> str:
    await asyncio.sleep(0.3)
    return f"noted {what}"


@tool(effect="read")
def count(words: str) -> int:
    return len(words.split())


async def shop(turn: Turn) -> str:
    """Waves of all effects, a step, words, a preview."""
    await turn.wave(look("tea"), look("milk"))
    turn.say("both are there")
    turn.delta("I have ")
    await turn.step(lambda: 2, key="two")
    await turn.wave(order("tea"), note("tea"))
    await turn.one(order("milk"))
    return f"{turn.number}: ordered"


class Shopper(RuntimeActor):
    """The same in short, as a class."""

    async def run(self, turn: Turn) -> Reply:
        seen = await turn.one(look("bread"))
        await turn.settle(order("bread"))
        return Reply(text=seen)


async def listener(turn: Turn) -> str:
    """Takes what it is offered between its waves."""
    await turn.one(look("tea"))
    offered = await turn.new_messages()
    await turn.one(order("tea"))
    return f"{turn.number}: {len(offered)} more"


async def give_back(call: CompletedCall, result: str) -> None:
    await asyncio.sleep(0.1)


@tool(compensate=give_back)
async def reserve(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"{what} is reserved"


async def shopper_with_regrets(turn: Turn) -> str:
    """Everything that it does can be undone."""
    await turn.wave(look("tea"), reserve("tea"))
    await turn.wave(reserve("milk"), reserve("bread"))
    return "reserved"


async def beside(message: UserMessage, view: SessionView) -> str:
    """Answers beside the turn."""
    await asyncio.sleep(0.15)
    return f"{message.text}? I am {view.status}"


async def counter(turn: Turn) -> str:
    """Blocking tools run in threads."""
    words = await turn.wave(count(turn.text), count("one two"))
    await turn.one(order("paper"))
    return f"{sum(words)} words"


def desk() -> dict[str, Any]:
    """A front desk of its own for each run of the concierge."""
    return {"deps": {FrontDesk: FrontDesk()}}


def asked_for(config: pytest.Config, schedules: int) -> tuple[int, int]:
    """How many schedules, from which seed: `make explore SCHEDULES=... SEED=...`."""
    asked = config.getoption("--wavebreak-schedules", None)
    return asked or schedules, config.getoption("--wavebreak-seed", 0) or 0


CONCIERGE = (
    concierge.understand,
    concierge.search,
    concierge.availability,
    concierge.price,
    concierge.hold_room,
)


# --- the promises hold ---


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("agent", "script", "schedules", "options"),
    [
        (shop, ["a", Say("b", after=0.3), Say("c", after=0.2, policy=Enqueue())], 1200, {}),
        (shop, ["a", Stop(after=0.3), "b", Restart(), "c"], 500, {"idle_after": 1.0}),
        (Shopper, ["a", Say("b", after=0.1, policy=Now(grace=1.0))], 2200, {}),
        (listener, ["a", Say("b", after=0.2, policy=Steer())], 600, {"aside": beside}),
        (listener, ["a", Say("b", after=0.2)], 200, {"debounce": Debounce(0.5, 2.0)}),
        (shopper_with_regrets, ["a", Say("b", after=0.5)], 400, {"tools": (reserve,)}),
        (counter, ["a b"], 200, {}),
    ],
    ids=["shop", "stops", "shopper", "listener", "windows", "rollbacks", "threads"],
)
def test_every_promise_holds_wherever_our_agents_are_interrupted(
    agent: Any,
    script: Any,
    schedules: int,
    options: dict[str, Any],
    pytestconfig: pytest.Config,
) -> None:
    most, seed = asked_for(pytestconfig, schedules)
    assert explore(agent, script, schedules=most, seed=seed, **options).schedules == most


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_promise_holds_wherever_the_concierge_is_interrupted(
    pytestconfig: pytest.Config,
) -> None:
    def holds_no_room_twice(facts: Facts) -> bool:
        rooms = [str(ran) for ran in facts.runs_of("hold_room", "completed")]
        return len(rooms) == len(set(rooms))

    most, seed = asked_for(pytestconfig, 500)
    explored = explore(
        concierge.concierge,
        ["a hotel in Lisbon tomorrow for two nights", Say("take the first one", after=2.0)],
        tools=CONCIERGE,
        invariants=[holds_no_room_twice],
        world=desk,
        schedules=most,
        seed=seed,
    )
    assert explored.schedules == most


# --- what it plays ---


@pytest.mark.slow
def test_each_injection_is_played_alone_at_every_moment_when_that_is_few() -> None:
    played: list[Schedule] = []
    explore(
        Shopper,
        ["a"],
        inject=("now", "fail"),
        schedules=400,
        invariants=[lambda facts: played.append(facts.schedule)],
    )
    alone = {one.inject[0] for one in played if len(one.inject) == 1 and one.order is None}
    plain = replay(Shopper, ["a"], Schedule())
    for kind, number in plain.moments.items():
        for place in range(1, number + 1):
            assert Inject("now", f"{kind} {place}") in alone
    assert Inject("fail", "call 1") in alone
    assert Inject("fail", "step 1") not in alone, "there is no tool that could fail"


def test_orders_and_combinations_are_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[Schedule]:
        played: list[Schedule] = []
        explore(
            Shopper,
            ["a"],
            schedules=20,
            seed=seed,
            invariants=[lambda facts: played.append(facts.schedule)],
        )
        return played

    first = drawn(1)
    assert first == drawn(1)
    assert first != drawn(2)
    assert any(one.order is not None and len(one.inject) > 1 for one in first)


def told(facts: Facts) -> list[str]:
    """All that happened in a run, with its times."""
    return [f"{facts.steps} steps", *(str(mark.at) for mark in facts.marks), *timeline(facts)]


@pytest.mark.slow
def test_the_same_schedule_takes_the_same_course() -> None:
    schedules: list[Schedule] = []
    explore(
        shop,
        ["a", Say("b", after=0.3)],
        schedules=200,
        seed=5,
        invariants=[lambda facts: schedules.append(facts.schedule)],
    )
    with Explorer(shop, script_of(["a", Say("b", after=0.3)])) as explorer:
        first = [told(explorer.play(schedule)) for schedule in schedules]
        assert first == [told(explorer.play(schedule)) for schedule in schedules]


def test_the_order_between_actors_is_another_with_another_seed() -> None:
    ended: list[str] = []

    @tool(effect="read")
    async def wait(what: str) -> str:
        await asyncio.sleep(0.2)
        ended.append(what)
        return what

    async def looks(turn: Turn) -> str:
        ended.clear()
        await turn.wave(wait("a"), wait("b"), wait("c"))
        return str(await turn.wave(*map(look, ended)))

    def starts(order_: int) -> str:
        return str(replay(looks, ["a"], Schedule(order=order_)).ran)

    assert len({starts(seed) for seed in range(20)}) > 1


def policy_of_the_second(facts: Facts) -> type:
    return type(facts.sent[1].policy)


def epoch_of(facts: Facts) -> int:
    return facts.state.epoch if facts.state is not None else 0


HAPPENED: dict[str, Callable[[Facts], object]] = {
    "message": lambda facts: policy_of_the_second(facts) is AfterWave,
    "now": lambda facts: policy_of_the_second(facts) is Now,
    "enqueue": lambda facts: policy_of_the_second(facts) is Enqueue,
    "steer": lambda facts: policy_of_the_second(facts) is Steer,
    "collect": lambda facts: policy_of_the_second(facts) is Collect,
    "reject": lambda facts: isinstance(facts.sent[1].error, MessageRejected),
    "aside": lambda facts: policy_of_the_second(facts) is Aside,
    "rollback": lambda facts: policy_of_the_second(facts) is Rollback,
    "stop": lambda facts: facts.outcomes == {"a": "cancelled"},
    "stop now": lambda facts: facts.outcomes == {"a": "cancelled"},
    "crash": lambda facts: facts.attempts[-1].number == 2,
    "kill": lambda facts: facts.lives == 2,
    "restart": lambda facts: facts.lives == 2,
    "deadline": lambda facts: facts.outcomes == {"a": "failed"},
    "fail": lambda facts: facts.runs_of("look")[0].ended == "failed",
    "late": lambda facts: facts.runs_of("look", "completed"),
    "lose": lambda facts: epoch_of(facts) == 2,
    "unsure": lambda facts: epoch_of(facts) == 2,
}


@pytest.mark.parametrize("what", INJECTIONS)
def test_what_is_injected_happens(what: str) -> None:
    at = "record 3" if what in {"lose", "unsure"} else "call 1"
    facts = replay(Shopper, ["a"], Schedule(inject=(Inject(what, at),)))
    assert [one.what for one in facts.injected] == [what]
    assert HAPPENED[what](facts)


def test_a_killed_process_leaves_what_was_durable_and_nothing_else() -> None:
    slow = replay(shop, ["a"], Schedule(slow=True, inject=(Inject("kill", "record 2"),)))
    quick = replay(shop, ["a"], Schedule(slow=False, inject=(Inject("kill", "record 2"),)))
    assert slow.outcomes == quick.outcomes == {"a": "answered"}
    assert slow.lives == quick.lives == 2
    # What had not been committed was lost, and sent again by whoever had got no answer.
    assert [one.number for one in slow.attempts] == [1]
    assert [one.number for one in quick.attempts][-1] == 2


def test_what_a_tool_that_was_cut_off_came_to_is_learnt_late() -> None:
    inject = (Inject("late", "call 2"), Inject("stop now", "call 2"))
    facts = replay(Shopper, ["a"], Schedule(inject=inject))
    ended = [done for entry in facts.log for done in getattr(entry, "done", ()) if done.late]
    assert [(done.tool, done.status) for done in ended] == [("order", CallStatus.COMPLETED)]


# --- what it finds ---


@tool
async def pay(amount: int) -> str:
    await asyncio.sleep(0.2)
    return f"paid {amount}"


paid: list[int] = []


async def forgetful(turn: Turn) -> str:
    """Pays before it has looked, and so pays for what is not there."""
    await turn.one(pay(3))
    await turn.one(look("tea"))
    return "here you are"


def nothing_is_paid_for_nothing(facts: Facts) -> None:
    if facts.runs_of("pay", "completed"):
        assert "answered" in facts.outcomes.values(), "paid, and nothing came of it"


def found() -> Failure:
    with pytest.raises(Failure) as failure:
        explore(forgetful, ["tea, please"], invariants=[nothing_is_paid_for_nothing])
    return failure.value


def test_an_invariant_of_the_users_own_is_looked_at_after_every_run() -> None:
    failure = found()
    assert failure.broken.promise == "an invariant of your own"
    assert "paid, and nothing came of it" in failure.broken.words


def test_a_failure_is_as_short_as_it_can_be_and_told_in_a_few_lines() -> None:
    failure = found()
    assert len(failure.facts.schedule.inject) == 1
    assert failure.facts.schedule.order is None
    assert not failure.facts.schedule.inject[0].at.startswith("step")
    assert len(failure.timeline) <= 15
    assert "pay(amount=3) runs" in str(failure)
    assert ">> " in str(failure)


def test_the_ready_made_test_fails_in_the_same_way() -> None:
    failure = found()
    test = failure.test.replace("schedule)", "schedule, invariants=[nothing_is_paid_for_nothing])")
    names: dict[str, Any] = {
        "agent": forgetful,
        "nothing_is_paid_for_nothing": nothing_is_paid_for_nothing,
    }
    exec(test, names)  # noqa: S102 - it is there to be run
    with pytest.raises(Failure) as again:
        names["test_found_by_the_explorer"]()
    assert again.value.timeline == failure.timeline


def test_an_agent_that_hangs_is_found() -> None:
    async def hangs(turn: Turn) -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    with pytest.raises(Failure, match="'a' never ended: not in 5000 seconds"):
        explore(hangs, ["a"], inject=())


def test_an_agent_that_leaves_a_task_is_found() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def careless(turn: Turn) -> str:
        tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(10_000)))
        return "done"

    with pytest.raises(Failure, match="nothing is left over: a task is left"):
        explore(careless, ["a"], inject=())


# --- what it refuses ---


@pytest.fixture
def refused() -> Any:
    def check(words: str, **arguments: Any) -> None:
        given: dict[str, Any] = {"agent": shop, "script": ["a"], **arguments}
        with pytest.raises(ExploreError, match=re.escape(words)):
            explore(given.pop("agent"), given.pop("script"), **given)

    return check


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("give a list of messages, ['hello']", {"script": "hello"}),
        ("the script has no message", {"script": []}),
        ("script has 3", {"script": [3]}),
        ("inject has 'storm'", {"inject": ("storm",)}),
        ("schedules=0", {"schedules": 0}),
        ("journal=...: the explorer has a journal of its own", {"journal": None}),
        ("agent=3", {"agent": 3}),
    ],
)
def test_what_cannot_be_explored_is_refused(
    refused: Any, words: str, arguments: dict[str, Any]
) -> None:
    refused(words, **arguments)


@pytest.mark.parametrize("at", ["call", "call x", "tea 3", ""])
def test_a_moment_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(ExploreError, match="a moment is one of"):
        replay(shop, ["a"], Schedule(inject=(Inject("kill", at),)))


async def test_it_is_not_called_from_a_coroutine() -> None:
    with pytest.raises(ExploreError, match="from a plain test"):
        explore(shop, ["a"])


def test_a_tool_that_is_not_found_is_named() -> None:
    async def dynamic(turn: Turn) -> str:
        named = {"tool": "look"}
        return str(await turn.one(hidden()[named["tool"]]("x")))

    with pytest.raises(ExploreError, match="tool 'look' is not watched"):
        explore(dynamic, ["a"], inject=())
    assert explore(dynamic, ["a"], inject=(), tools=(look,), schedules=3).schedules == 3


class _Hidden:
    __slots__ = ("tools",)

    def __init__(self) -> None:
        self.tools = {"look": look}


_HIDDEN = _Hidden()


def hidden() -> dict[str, Any]:
    return _HIDDEN.tools


def test_every_moment_and_every_injection_has_words() -> None:
    assert set(MOMENTS) == {"step", "call", "end", "record", "deliver"}
    assert all(INJECTIONS.values())
    assert len(set(names.PROMISES)) == len(names.PROMISES) == 16
