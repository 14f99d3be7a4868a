from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING

import pytest
from pydantic_core import to_json

from wavebreak.actors import left_over
from wavebreak.actors.ledger import records_of
from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.state import SessionState
from wavebreak.messages.events import TurnEnded
from wavebreak.messages.records import CallRecord, PartialResults

from .machine.driving import KEY, LASTING, Driver, call, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Whatever records were made of."""
    looked: list[object] = []

    def noted(log: Any, senders: Any) -> Any:
        looked.append(log)
        return records_of(log, senders)

    monkeypatch.setattr(left_over, "records_of", noted)
    return looked


def interrupted() -> Driver:
    """A session whose first turn was interrupted behind a wave, and said something."""
    driver = running(LASTING)
    driver.say("one moment")
    driver.run_wave(call("search"), call("book"))
    driver.send("m2")
    driver.exit()
    return driver


def left_by(driver: Driver) -> PartialResults:
    """What the last turn that ended has left."""
    left = [event for event in driver.events if isinstance(event, TurnEnded)][-1].partial_results
    assert left is not None
    return left


WHOLE = ("search", "book")


def _calls_of(left: PartialResults) -> tuple[CallRecord, ...]:
    return left.calls


def _is_nothing(left: PartialResults) -> bool:
    return left == PartialResults()


def _nothing_is(left: PartialResults) -> bool:
    return PartialResults() == left


def _by_pickle(left: PartialResults) -> PartialResults:
    given: PartialResults = pickle.loads(pickle.dumps(left))  # noqa: S301
    return given


@pytest.mark.parametrize(
    "look",
    [
        attrgetter("calls"),
        attrgetter("completed"),
        attrgetter("said"),
        methodcaller("model_dump"),
        methodcaller("model_copy"),
        to_json,
        repr,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        _is_nothing,
        _nothing_is,
    ],
)
def test_who_looks_at_partial_results_in_any_way_finds_them_whole(
    made: list[object], look: Callable[[PartialResults], object]
) -> None:
    left = left_by(interrupted())
    assert not made
    look(left)
    assert len(made) == 1
    assert type(left) is PartialResults
    assert tuple(record.tool for record in left.calls) == WHOLE
    assert left.said == ("one moment",)
    assert len(made) == 1


def test_a_turn_is_interrupted_and_the_next_one_begun_before_any_record_is_made(
    made: list[object],
) -> None:
    driver = interrupted()
    assert driver.state.running is not None
    assert driver.state.running.number == 2
    assert not made


@pytest.mark.parametrize("give", [copy.copy, _by_pickle])
def test_a_copy_of_partial_results_is_as_good_as_they_are(
    give: Callable[[PartialResults], PartialResults],
) -> None:
    left = left_by(interrupted())
    given = give(left)
    assert given == left
    assert type(given) is PartialResults
    assert tuple(record.tool for record in given.calls) == WHOLE


def test_partial_results_are_written_down_as_those_that_were_made_at_once() -> None:
    driver = interrupted()
    ended = next(event for event in driver.events if isinstance(event, TurnEnded))
    written = to_json(ended)
    left = left_by(driver)
    at_once = PartialResults(**{name: getattr(left, name) for name in PartialResults.model_fields})
    assert written == to_json(ended.model_copy(update={"partial_results": at_once}))
    assert b'"partial_results":{"calls":[{' in written
    assert TurnEnded.model_validate_json(written) == ended


def test_what_a_chain_has_left_is_whole_after_each_of_its_turns(made: list[object]) -> None:
    driver = interrupted()
    driver.run_wave(call("pay"))
    driver.send("m3")
    driver.exit()
    assert tuple(record.tool for record in left_by(driver).calls) == (*WHOLE, "pay")
    driver.send("m4")
    driver.exit()  # before it did anything
    before = len(made)
    assert tuple(record.tool for record in left_by(driver).calls) == (*WHOLE, "pay")
    assert len(made) == before


def test_the_fold_of_a_journal_leaves_the_same() -> None:
    driver = interrupted()
    assert fold(SessionState(KEY), driver.entries).previous == driver.state.previous


def test_partial_results_that_several_threads_look_at_are_whole_in_each() -> None:
    for _ in range(20):
        left = left_by(interrupted())
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(_calls_of, [left] * 4))
        assert all(tuple(record.tool for record in calls) == WHOLE for calls in found)
