"""The rules that conftest.py holds every test to, tried on small suites of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavebreak.testing import Run

pytest_plugins = ["pytester"]

HEADER = """
import asyncio, threading, time
import pytest
"""


@pytest.fixture
def outcome(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> _Outcome:
    """Run a suite of these lines, and give the outcomes and the output."""
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr("wavebreak.testing.leaks.THREAD_END", 0.01)
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(conftest.replace("QUICK_CPU: Final = 3.0", "QUICK_CPU: Final = 0.02"))
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        'filterwarnings = ["error"]\n'
        'markers = ["slow", "real_time", "matrix"]\n'
        'addopts = ["-p", "no:asyncio", "-p", "no:randomly"]\n'
    )
    return _Outcome(pytester)


class _Outcome:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def of(self, lines: str, *options: str) -> tuple[dict[str, int], str]:
        (self._pytester.path / "test_inner.py").write_text(HEADER + lines, encoding="utf-8")
        result = self._pytester.runpytest_inprocess("-q", *options)
        return result.parseoutcomes(), result.stdout.str()


@pytest.mark.slow
def test_an_async_test_runs_in_virtual_time_and_a_marked_one_in_real_time(
    outcome: _Outcome,
) -> None:
    counts, output = outcome.of("""
async def test_virtual():
    await asyncio.sleep(1000)

@pytest.mark.real_time
async def test_real():
    began = time.monotonic()
    await asyncio.sleep(0.02)
    assert time.monotonic() - began >= 0.019

async def test_fails():
    assert False

@pytest.fixture
def number():
    return 7

@pytest.mark.parametrize("word", ["a", "b"])
async def test_with_arguments(number, word):
    assert (number, word) in {(7, "a"), (7, "b")}
""")
    assert counts == {"passed": 4, "failed": 1}, output


@pytest.mark.slow
def test_what_a_test_leaves_behind_fails_it(outcome: _Outcome) -> None:
    counts, output = outcome.of("""
kept = []
go = threading.Event()

async def test_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

async def test_lost_exception():
    async def fail():
        raise LookupError("lost")
    asyncio.create_task(fail())
    await asyncio.sleep(0)

def test_thread():
    kept.append(threading.Thread(target=go.wait, name="left", args=(2,)))
    kept[-1].start()

def test_that_ends_the_thread():
    go.set()
    kept[-1].join()

def test_coroutine_never_awaited():
    asyncio.sleep(0)
""")
    assert "tasks are left after the test" in output
    assert "Task exception was never retrieved" in output
    assert "threads are left after the test" in output
    assert "was never awaited" in output
    # The one with the thread passes its call, and its teardown is an error.
    assert counts == {"passed": 2, "failed": 3, "errors": 1}, output


@pytest.mark.slow
def test_a_slow_test_needs_the_mark(outcome: _Outcome) -> None:
    counts, output = outcome.of("""
def work():
    until = time.process_time() + 0.03
    while time.process_time() < until:
        pass

def test_unmarked():
    work()

@pytest.mark.slow
def test_marked():
    work()

def test_that_fails_anyway():
    work()
    assert 1 == 2
""")
    assert counts == {"passed": 1, "failed": 2}, output
    assert "mark it with pytest.mark.slow" in output
    assert "assert 1 == 2" in output


@pytest.mark.slow
def test_of_a_matrix_some_cases_are_quick_and_always_the_same(outcome: _Outcome) -> None:
    lines = """
@pytest.mark.matrix(quick=3)
@pytest.mark.parametrize("word", ["a", "b", "c", "d"])
@pytest.mark.parametrize("number", range(10))
def test_of_many(number, word):
    pass

def test_of_one():
    pass
"""
    counts, output = outcome.of(lines, "-m", "not slow", "-v")
    assert counts == {"passed": 4, "deselected": 37}
    again, same = outcome.of(lines, "-m", "not slow", "-v")
    assert again == counts
    assert set(re.findall(r"test_of_many\[\S+\]", output)) == set(
        re.findall(r"test_of_many\[\S+\]", same)
    )
    assert outcome.of(lines)[0] == {"passed": 41}


@given(number=st.integers(0, 3))
def test_a_property_test_runs_coroutines_by_the_fixture(run: Run, number: int) -> None:
    async def main() -> int:
        return number + 1

    assert run(main) == number + 1
    assert run(main()) == number + 1
