"""What every test of the house gets.

- ``async def test_…`` runs on a new loop in virtual time; marked ``real_time``, on a plain one.
- ``run(main)`` and ``real_run(main)`` do the same for a coroutine within a plain test, as often as
  it likes (property tests); annotate them as ``wavebreak.testing.Run``.
- Every test, async or not, fails for a task, thread or unseen exception that it leaves behind.
- A test without the mark ``slow`` fails when it is slow.
- A test of many cases that is marked ``matrix(quick=3)`` is slow but for three of them, which are
  always the same.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
from collections import defaultdict
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import HealthCheck, settings

from wavebreak.testing import LeakCheck

if TYPE_CHECKING:
    from collections.abc import Generator

    from wavebreak.testing import Run

QUICK_CPU: Final = 3.0
"""Processor seconds that a quick test may take.

Many times the rule of 0.25 s, and processor time rather than real time, because the machines swing
and are shared, and whoever comes first compiles and imports for the others: the rule must not fail
a test for what its neighbours do. At 1.0 a test of 0.2 s failed on a fresh clone.
"""

QUICK_WAIT: Final = 10.0
"""Real seconds beyond its processor time that a quick test may take.

Waiting cannot be told from being kept waiting by the machine, so this is only the net below the
rule that holds exactly: ruff bans ``time.sleep``, and async tests wait in virtual time. With 2 s
tests with threads failed on a machine that was busy with six other things.
"""

# No deadline for an example, for the same reason. ``run`` and ``real_run`` have nothing to reset
# between the examples of one test: each run has a loop of its own.
settings.register_profile(
    "house",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# For a long look: pytest --hypothesis-profile=thorough --timeout=0 tests/actors
settings.register_profile("thorough", settings.get_profile("house"), max_examples=10_000)
# `make test-fast`: enough to see that a property is broken outright.
settings.register_profile("quick", settings.get_profile("house"), max_examples=20)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the session's machine be driven for as long as one likes."""
    parser.addoption(
        "--machine-steps",
        type=int,
        default=20_000,
        help="random commands that tests/actors/machine gives the session's machine (20000)",
    )


@pytest.fixture(autouse=True)
def leak_check() -> Generator[LeakCheck]:
    """Fail the test for what it leaves behind."""
    with LeakCheck() as check:
        yield check


@pytest.fixture
def run(leak_check: LeakCheck) -> Run:
    """Run a coroutine in virtual time."""
    return leak_check.run


@pytest.fixture
def real_run(leak_check: LeakCheck) -> Run:
    """Run a coroutine on a plain loop, for real sockets and for foreign threads."""
    return partial(leak_check.run, loop_factory=asyncio.SelectorEventLoop)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    real = pyfuncitem.get_closest_marker("real_time") is not None
    run = cast("Run", pyfuncitem.funcargs["real_run" if real else "run"])
    names = inspect.signature(pyfuncitem.obj).parameters
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a coroutine function the fixture that runs it."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        real = item.get_closest_marker("real_time") is not None
        item.fixturenames.append("real_run" if real else "run")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those cases of a matrix as slow that `make test-fast` does not need."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("matrix") is not None:
            cases[item.nodeid.partition("[")[0]].append(item)
    for test, matrix in cases.items():
        marker = matrix[0].get_closest_marker("matrix")
        quick = marker.kwargs["quick"] if marker is not None else 0
        # Drawn, for every nth might always be the same value of one of its parameters.
        chance = Random(test)  # noqa: S311 - nothing is kept secret
        kept = chance.sample(range(len(matrix)), min(quick, len(matrix)))
        matrix.sort(key=lambda item: item.nodeid)
        for place in set(range(len(matrix))).difference(kept):
            matrix[place].add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Take what the imports made out of the reach of the collections that every test makes."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a quick test that is slow, and only if it did not fail anyway."""
    cpu, real = time.process_time(), time.perf_counter()
    yield
    cpu, real = time.process_time() - cpu, time.perf_counter() - real
    thorough = settings.get_current_profile_name() == "thorough"
    if thorough or item.get_closest_marker("slow") is not None:
        return
    if cpu > QUICK_CPU or real - cpu > QUICK_WAIT:
        pytest.fail(
            f"took {cpu:.2f} s of processor time and {real:.2f} s in all: make it quicker, "
            "or mark it with pytest.mark.slow",
            pytrace=False,
        )
