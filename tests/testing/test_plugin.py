"""The plugin, as pytest loads it: in a process of its own, on test files of a user's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .playing import played

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
BEFORE, _, BEHIND = (
    (Path(__file__).parents[2] / "README.md")
    .read_text(encoding="utf-8")
    .partition("## Testing your bot\n")
)
README_BOT = BLOCK.findall(BEFORE)[0].replace("asyncio.run(main())", "")
FIRST = BLOCK.findall(BEHIND)[0]
"""The first block of the README is its bot, and the first one about testing a user's first test."""

OTHERS = """
import asyncio
import pytest
from wavebreak.testing import Failure
from bot import agent

def test_a_system_in_virtual_time(wavebreak_system):
    talk = wavebreak_system(agent)
    assert talk.ask("a room, please") == "Inn is booked"

def test_an_hour_takes_no_time(virtual_time):
    virtual_time.run(asyncio.sleep(3600))

def test_options(interrupt_everywhere):
    explored = interrupt_everywhere(agent, ["a"])
    assert explored.schedules == 40

def never(facts):
    return not any(one.ended == "cancelled" for one in facts.ran)

def test_that_fails(interrupt_everywhere):
    interrupt_everywhere(agent, ["a"], invariants=[never])

def test_that_cannot_begin(interrupt_everywhere):
    interrupt_everywhere(agent, "a")
"""


@pytest.mark.slow
def test_a_users_first_test_is_five_lines(tmp_path: Path) -> None:
    assert len(FIRST.strip().splitlines()) <= 5
    ended = played(tmp_path, bot=README_BOT, test_bot=FIRST)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


@pytest.mark.slow
def test_fixtures_and_options_work_and_a_failure_shows_its_timeline(tmp_path: Path) -> None:
    ended = played(tmp_path, "--wavebreak-schedules=40", "--wavebreak-seed=7", test_bot=OTHERS)
    assert "2 failed, 3 passed" in ended.stdout, ended.stdout
    assert "ExploreError: script='a': give a list of messages, ['a']" in ended.stdout
    shown = ended.stdout
    assert "an invariant of your own: never" in shown
    assert "the user writes 'a'" in shown
    assert "def test_found_by_the_explorer() -> None:" in shown
    assert "--wavebreak-seed=7" in shown
    assert "explorer.py" not in shown, "the explorer's own code is nobody's business"
    begin, end = shown.index("the user writes"), shown.index("BROKEN")
    assert len(re.findall("\n", shown[begin:end])) <= 15
