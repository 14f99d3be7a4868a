"""What the explorer finds in agents of users, and how it tells them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wavebreak import Now, Turn, tool
from wavebreak.testing import (
    ExploreError,
    Facts,
    Failure,
    Inject,
    Say,
    Schedule,
    explore,
    replay,
)
from wavebreak.testing.explorer.explorer import Explorer
from wavebreak.testing.explorer.script import script_of
from wavebreak.testing.explorer.timeline import course

from .playing import played


@tool(effect="read")
async def look(what: str) -> str:
    await asyncio.sleep(0.2)
    return f"seen {what}"


@tool(effect="read")
def count(words: str) -> int:
    return len(words.split())


@tool
def stamp(words: str) -> str:
    return f"stamped {words}"


async def one_message_only(turn: Turn) -> str:
    """Breaks as soon as an interruption makes two messages of one."""
    (message,) = turn.messages
    await turn.one(look("tea"))
    return message.as_text()


async def says_nothing(turn: Turn) -> str:
    await turn.one(look("tea"))
    return None  # type: ignore[return-value]


async def looks(turn: Turn) -> str:
    return await turn.one(look("tea"))


async def counts(turn: Turn) -> str:
    numbers = await turn.wave(count("a"), count("b c"), look("tea"))
    return f"{numbers} {await turn.one(stamp('all'))}"


def found(agent: Any, script: Any = ("a",), **options: Any) -> Failure:
    with pytest.raises(Failure) as failure:
        explore(agent, list(script), schedules=300, **options)
    return failure.value


# --- whose fault it is ---


def test_an_error_that_an_interruption_brings_out_is_found_without_an_invariant() -> None:
    failure = found(one_message_only)
    assert failure.broken.promise == "the agent fails by nothing of its own"
    assert "ValueError: too many values to unpack" in failure.broken.words
    assert "test_explorer_finds.py:" in failure.broken.words
    assert any("the agent of turn 2 raises ValueError" in line for line in failure.timeline)


def test_errors_that_the_agent_raises_on_purpose_are_named() -> None:
    explored = explore(one_message_only, ["a"], inject=["now"], raises=ValueError, schedules=30)
    assert explored.schedules == 30
    found(one_message_only, raises=(KeyError, LookupError))


def test_a_tool_that_fails_by_itself_and_an_agent_that_gives_no_reply_are_found() -> None:
    @tool(effect="read")
    async def divide() -> int:
        return 1 // 0

    async def divides(turn: Turn) -> str:
        return str(await turn.one(divide()))

    assert "ZeroDivisionError" in found(divides).broken.words
    assert "the agent returned None" in found(says_nothing).broken.words
    assert explore(divides, ["a"], raises=ZeroDivisionError, schedules=10).schedules == 10


def test_an_agent_is_not_blamed_for_what_was_injected() -> None:
    kinds = ("fail", "crash", "deadline", "stop now")
    assert explore(looks, ["a"], inject=kinds, schedules=60).schedules == 60


def test_an_agent_that_is_no_coroutine_function_is_refused() -> None:
    def plain(turn: Turn) -> str:
        return "at once"

    with pytest.raises(ExploreError, match="give an async function of a turn"):
        explore(plain, ["a"])  # type: ignore[arg-type]


# --- invariants ---


def test_an_async_invariant_is_refused_rather_than_taken_for_true() -> None:
    async def holds(facts: Facts) -> bool:
        return False

    with pytest.raises(ExploreError, match="invariant holds is async: give a plain function"):
        explore(looks, ["a"], invariants=[holds])


def failed(facts: Facts) -> None:
    pytest.fail("no good")


def false(facts: Facts) -> object:
    return 0


@pytest.mark.parametrize("invariant", [failed, false])
def test_an_invariant_may_say_no_in_any_way(invariant: Callable[[Facts], object]) -> None:
    assert found(looks, invariants=[invariant]).broken.promise == "an invariant of your own"


def test_a_world_that_gives_no_options_is_refused() -> None:
    with pytest.raises(ExploreError, match="world gave None: give options"):
        explore(looks, ["a"], world=lambda: None)  # type: ignore[arg-type, return-value]


# --- what waits, and for what ---


async def waits_for_nobody(turn: Turn) -> str:
    await turn.one(look("tea"))
    await asyncio.Event().wait()
    return "never"


def test_it_is_told_where_an_agent_hangs_and_nothing_of_what_comes_then() -> None:
    failure = found(waits_for_nobody)
    place = r"turn 1 is at test_explorer_finds.py:\d+, in waits_for_nobody"
    assert re.search(place, failure.broken.words)
    assert not any("shutdown" in line for line in failure.timeline)


def test_who_waits_for_a_thread_of_its_own_or_a_socket_is_not_said_to_hang() -> None:
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    async def has_a_thread(turn: Turn) -> str:
        waited = asyncio.get_running_loop().create_future()
        threads.append(threading.Thread(target=go_on.wait, args=(5,), name="of its own"))
        threads[-1].start()
        await waited
        return "never"

    async def has_a_socket(turn: Turn) -> str:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        async with server:
            await asyncio.get_running_loop().create_future()
        return "never"

    with pytest.raises(ExploreError, match=r"a thread of its own \(of its own\)"):
        explore(has_a_thread, ["a"])
    go_on.set()
    threads[0].join()
    with pytest.raises(ExploreError, match="a socket, a pipe or another program"):
        explore(has_a_socket, ["a"])


# --- the same every time ---


def courses(agent: Any, script: Any, schedules: list[Schedule]) -> list[list[str]]:
    with Explorer(agent, script_of(script)) as explorer:
        return [course(explorer.play(schedule)) for schedule in schedules]


def drawn(agent: Any, script: Any, count: int) -> list[Schedule]:
    schedules: list[Schedule] = []
    explore(
        agent,
        script,
        schedules=count,
        seed=3,
        invariants=[lambda facts: schedules.append(facts.schedule)],
    )
    return schedules


@pytest.mark.slow
def test_threads_have_no_say_in_the_course_of_a_schedule() -> None:
    script = ["a", Say("b", after=0.1)]
    schedules = drawn(counts, script, 100)
    first = courses(counts, script, schedules)
    for _ in range(2):
        assert courses(counts, script, schedules) == first


@pytest.mark.parametrize("what", ["fail", "late", "crash", "now", "kill", "stop"])
@pytest.mark.parametrize("at", ["call 1", "call 4"])
def test_blocking_tools_begin_and_end_at_moments_too(what: str, at: str) -> None:
    facts = replay(counts, ["a"], Schedule(inject=(Inject(what, at),)))
    assert [one.what for one in facts.injected] == [what]
    tool_ = facts.ran[int(at[-1]) - 1]
    assert tool_.tool == ("count" if at == "call 1" else "stamp")
    ends = {"fail": "failed", "crash": "failed", "kill": ""}
    assert tool_.ended == ends.get(what, "completed")


ELSEWHERE = """
import sys
from hashlib import sha256
sys.path.insert(0, {folder!r})
import wavebreak.testing
from bot_of_shoppers import courses, drawn, looks, counts
script = ["a", wavebreak.testing.Say("b", after=0.1)]
for agent in (looks, counts):
    told = courses(agent, script, drawn(agent, script, 30))
    print(len(told), sha256(str(told).encode()).hexdigest())
"""


@pytest.mark.slow
def test_another_process_with_another_hash_seed_takes_the_same_course(tmp_path: Path) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    text = text.replace("from .playing import played\n", "")
    (tmp_path / "bot_of_shoppers.py").write_text(text, encoding="utf-8")
    printed = {
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE.format(folder=str(tmp_path))],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "PYTHONHASHSEED": seed,
            },
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().count("30 ") == 2


def test_a_failure_that_is_another_one_each_time_says_so() -> None:
    async def chances(turn: Turn) -> str:
        return await turn.one(look(os.urandom(8).hex()))

    failure = found(chances, invariants=[false])
    assert not failure.repeats
    assert "takes another course" in str(failure)
    assert "takes another course" not in str(found(looks, invariants=[false]))


def test_what_is_left_over_is_named_the_same_in_every_process() -> None:
    left: list[asyncio.Task[Any]] = []

    async def careless(turn: Turn) -> str:
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(10_000)))
        return "done"

    words = found(careless).broken.words
    assert words.endswith("a task is left when the system is closed: sleep")


# --- the ready-made test ---

SHOP = """
import asyncio
from wavebreak import Turn, tool

@tool
async def pay(amount: int) -> str:
    await asyncio.sleep(1)
    return f"paid {amount}"

@tool(effect="read")
async def look(what: str) -> bool:
    await asyncio.sleep(1)
    return True

async def shop(turn: Turn) -> str:
    await turn.one(%s)
    await turn.one(look("lamp"))
    return "It is on its way."
"""

EXPLORES = """
from shop import shop

def paid_once(facts):
    return len(facts.runs_of("pay")) <= max(1, len(facts.replies))

def test_shop(interrupt_everywhere):
    interrupt_everywhere(shop, ["a lamp"], invariants=[paid_once], inject=["now"])
"""


@pytest.mark.slow
def test_the_ready_made_test_fails_when_it_is_pasted_and_passes_after_the_mend(
    tmp_path: Path,
) -> None:
    defect, mended = SHOP % "pay(3).fresh()", SHOP % "pay(3)"
    shown = played(tmp_path, shop=defect, test_shop=EXPLORES).stdout
    begin = shown.index("from wavebreak.testing import")
    pasted = shown[begin : shown.index("\n\n(--wavebreak-seed")]
    again = played(tmp_path, "test_pasted.py", shop=defect, test_pasted=pasted)
    assert again.returncode == 1, again.stdout
    assert "an invariant of your own: paid_once" in again.stdout
    mend = played(tmp_path, "test_pasted.py", shop=mended)
    assert mend.returncode == 0, mend.stdout


def line_of(function: Any) -> str:
    place = f"{Path(__file__).name}:{function.__code__.co_firstlineno}"
    return f"{function.__name__} of {place}"


def test_the_ready_made_test_imports_what_it_names_and_tells_of_what_cannot_be() -> None:
    def local(facts: Facts) -> bool:
        return False

    script = ["a", Say("b", after=0.3, policy=Now(grace=1.0), sender="ann")]

    def world() -> dict[str, Any]:
        return {}

    options: dict[str, Any] = {"tools": (look,), "world": world, "idle_after": 2.0}
    failure = found(looks, script, invariants=[false, local], inject=("stop",), **options)
    assert failure.test.splitlines() == [
        "from wavebreak.testing import Schedule, replay",
        f"from {__name__} import false, look, looks",
        "",
        "",
        "def test_found_by_the_explorer() -> None:",
        f"    # local: {line_of(local)}, which cannot be imported",
        f"    # world: {line_of(world)}, which cannot be imported",
        "    schedule = Schedule(order=None, slow=False, inject=())",
        "    replay(",
        "        looks,",
        "        ['a'],",
        "        schedule,",
        "        tools=[look],",
        "        invariants=[false, local],",
        "        world=world,",
        "        idle_after=2.0,",
        "    )",
    ]


def test_policies_and_times_of_the_script_are_written_down() -> None:
    def never_overtaken(facts: Facts) -> bool:
        return len(facts.attempts) < 2

    script = [Say("b", after=0.3, policy=Now(grace=1.0), sender="ann")]
    failure = found(looks, script, invariants=[never_overtaken], inject=("now",))
    assert "from wavebreak import Now" in failure.test
    assert "[Say('b', after=0.3, policy=Now(grace=1.0), sender='ann')]" in failure.test
    assert "Inject('now'," in failure.test
