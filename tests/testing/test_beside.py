"""Virtual time and the plugin beside the plugins that run async tests themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from .playing import played

EXPLORES = """
from bot import agent

def test_the_explorer_runs_beside_it(interrupt_everywhere):
    assert interrupt_everywhere(agent, ["a"], schedules=20).schedules == 20
"""

STRICTLY = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")

LOOPS = """
from wavebreak.testing import VirtualTimeLoop

def pytest_asyncio_loop_factories():
    return {"virtual": VirtualTimeLoop}
"""

BOTH_MODES = """
import asyncio
import pytest
import pytest_asyncio
from bot import agent
from wavebreak import ActorSystem
from wavebreak.testing import VirtualTimeLoop

async def an_hour():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began = loop.time()
    await asyncio.sleep(3600)
    assert 3600 <= loop.time() - began < 3601
    assert await asyncio.to_thread(sum, [1, 2]) == 3
    async with ActorSystem(agent) as system:
        outcome = await (await system.session("ann").send("a room")).outcome()
    assert outcome.reply.text == "Inn is booked"

SCOPES = ("function", "class", "module", "package", "session")

for scope in SCOPES:
    @pytest.mark.asyncio(loop_scope=scope)
    async def test(): await an_hour()
    globals()[f"test_{scope}"] = test
del test

class TestOfAClass:
    @pytest.mark.asyncio(loop_scope="class")
    async def test_first(self): await an_hour()
    @pytest.mark.asyncio(loop_scope="class")
    async def test_second(self): await an_hour()

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system():
    async with ActorSystem(agent) as system:
        yield system

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("user", ["ann", "ben"])
async def test_tests_share_a_system(system, user):
    outcome = await (await system.session(user).send("a room")).outcome()
    assert outcome.reply.text == "Inn is booked"
"""

AUTO = """
async def test_without_a_mark(): await an_hour()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio_runs_tests_of_every_scope_in_virtual_time(
    mode: str, tmp_path: Path
) -> None:
    pytest.importorskip("pytest_asyncio")
    ended = played(
        tmp_path,
        *(f"--asyncio-mode={mode}", *STRICTLY),
        plugins=("pytest_asyncio.plugin",),
        conftest=LOOPS,
        test_async=BOTH_MODES + (AUTO if mode == "auto" else ""),
        test_explorer=EXPLORES,
    )
    assert f"{10 + (mode == 'auto')} passed" in ended.stdout, ended.stdout


ANYIO = """
import anyio
import anyio.to_thread
import asyncio
import pytest
from bot import agent
from wavebreak import ActorSystem, Turn, tool
from wavebreak.testing import VirtualTimeLoop, run

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualTimeLoop}

@pytest.fixture(scope="module")
async def system(anyio_backend):
    async with ActorSystem(agent) as system:
        yield system

@pytest.mark.anyio
async def test_an_hour():
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began = anyio.current_time()
    await anyio.sleep(3600)
    assert 3600 <= anyio.current_time() - began < 3601

@pytest.mark.anyio
async def test_a_time_limit_of_a_group():
    ended = []
    with pytest.raises(TimeoutError):
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for seconds in (10, 20, 40):
                    group.start_soon(sleep_and_note, seconds, ended)
    assert ended == [10, 20]

async def sleep_and_note(seconds, ended):
    await anyio.sleep(seconds)
    ended.append(seconds)

@pytest.mark.anyio
async def test_a_thread():
    assert await anyio.to_thread.run_sync(sum, [1, 2]) == 3

@pytest.mark.anyio
@pytest.mark.parametrize("user", ["ann", "ben"])
async def test_tests_share_a_system(system, user):
    outcome = await (await system.session(user).send("a room")).outcome()
    assert outcome.reply.text == "Inn is booked"

@tool(effect="read")
async def search_all(*, cities: list[str]) -> list[str]:
    found = []
    async with anyio.create_task_group() as group:
        for city in cities:
            group.start_soon(search, city, found)
    return found

async def search(city, found):
    with anyio.move_on_after(2):
        await anyio.sleep(1 if city != "Rome" else 3)
        found.append(city)

async def searcher(turn: Turn) -> str:
    return ", ".join(await turn.one(search_all(cities=["Oslo", "Rome", "Bern"])))

def test_groups_and_limits_within_a_tool(wavebreak_system):
    assert sorted(wavebreak_system(searcher).ask("a").split(", ")) == ["Bern", "Oslo"]

def test_groups_and_limits_are_explored(interrupt_everywhere):
    interrupt_everywhere(searcher, ["a"], schedules=100)
"""


@pytest.mark.slow
def test_anyio_runs_tests_in_virtual_time_and_is_explored(tmp_path: Path) -> None:
    pytest.importorskip("anyio")
    ended = played(
        tmp_path,
        *("-W", "error"),
        plugins=("anyio.pytest_plugin",),
        test_async=ANYIO,
        test_explorer=EXPLORES,
    )
    assert "8 passed" in ended.stdout, ended.stdout


@pytest.mark.slow
def test_both_stand_each_other(tmp_path: Path) -> None:
    for name in ("pytest_asyncio", "anyio"):
        pytest.importorskip(name)
    ended = played(
        tmp_path,
        *("--asyncio-mode=strict", *STRICTLY),
        plugins=("pytest_asyncio.plugin", "anyio.pytest_plugin"),
        conftest=LOOPS,
        test_asyncio=BOTH_MODES,
        test_anyio=ANYIO,
    )
    assert "16 passed" in ended.stdout, ended.stdout
