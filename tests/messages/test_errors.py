from __future__ import annotations

import re
from inspect import getmembers, isclass
from typing import TYPE_CHECKING

import pytest

from wavebreak.messages import errors
from wavebreak.messages.errors import (
    AcceptanceUnknown,
    CallFailed,
    CancelledException,
    OutcomeUnknown,
    TurnInterrupted,
    WavebreakError,
    WaveFailed,
)
from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.messages.reasons import CallStatus, Effect, Reason
from wavebreak.messages.records import CallError, CallRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


def record(
    tool: str = "search",
    status: CallStatus = CallStatus.FAILED,
    error: CallError | None = None,
) -> CallRecord:
    return CallRecord(
        call_id=CallId("1.1.1.1"),
        tool=tool,
        arguments={},
        effect=Effect.ONCE,
        idempotency_key=IdempotencyKey("k"),
        wave=1,
        status=status,
        error=error,
    )


def drawn() -> Iterator[tuple[str, str, str | None]]:
    """Read the tree at the top of the file: each class, its parent, and its second base."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│ ├└─]*)([A-Z]\w+)(?: +\((\w+)\))?", line)
        if found is None or (not found[1] and " " in line.strip()):
            continue
        depth = len(found[1]) // 4
        path[depth:] = [found[2]]
        if depth:
            yield found[2], path[depth - 1], found[3]


def test_the_tree_that_is_drawn_is_the_tree_that_is_there() -> None:
    tree = {name: (parent, other) for name, parent, other in drawn()}
    there = {
        name: kind
        for name, kind in getmembers(errors, isclass)
        if issubclass(kind, BaseException) and kind is not WavebreakError
    }
    assert set(tree) == set(there)
    for name, kind in there.items():
        parent, other = tree[name]
        bases = {base.__name__ for base in kind.__bases__}
        assert bases == {parent, other} - {None}


def test_all_errors_of_ours_derive_from_one_and_what_is_no_error_does_not() -> None:
    for _, kind in getmembers(errors, isclass):
        if issubclass(kind, BaseException):
            assert issubclass(kind, WavebreakError) == issubclass(kind, Exception)
    assert not issubclass(TurnInterrupted, Exception)


def test_every_error_says_when_it_comes() -> None:
    for name, kind in getmembers(errors, isclass):
        if issubclass(kind, BaseException):
            assert kind.__doc__, name


def test_an_interruption_carries_its_reason() -> None:
    assert TurnInterrupted(Reason.SUPERSEDED).reason is Reason.SUPERSEDED


def test_a_message_whose_acceptance_is_unknown_can_be_asked_for() -> None:
    error = AcceptanceUnknown("m1")
    assert error.message_id == "m1"
    assert "session.outcome('m1')" in str(error)


def test_a_failed_call_names_the_call_the_tool_and_what_it_raised() -> None:
    error = CallFailed(record(error=CallError(type="ValueError", message="no room")))
    assert str(error) == "call 1.1.1.1 of tool 'search' ended as failed: ValueError: no room"
    assert str(OutcomeUnknown(record(status=CallStatus.UNKNOWN))) == (
        "call 1.1.1.1 of tool 'search' ended as unknown"
    )


FAILED = record("search"), record("book")
WAVE = (FAILED[0], record("look", CallStatus.COMPLETED), FAILED[1])


def failed_wave() -> WaveFailed:
    return WaveFailed(WAVE, [CallFailed(FAILED[0]), OutcomeUnknown(FAILED[1])])


def test_a_failed_wave_has_every_record_in_reach() -> None:
    error = failed_wave()
    assert error.records == WAVE
    assert [failure.record for failure in error.exceptions if isinstance(failure, CallFailed)] == [
        *FAILED
    ]
    assert error.message == "2 of 3 calls did not complete (book, search)"


def test_the_parts_of_a_failed_wave_are_failed_waves() -> None:
    matching, rest = failed_wave().split(OutcomeUnknown)
    for part, kind in ((matching, OutcomeUnknown), (rest, CallFailed)):
        assert isinstance(part, WaveFailed)
        assert part.records == WAVE
        assert [type(error) for error in part.exceptions] == [kind]


def test_a_failed_wave_can_be_caught_by_its_calls() -> None:
    seen: list[object] = []
    try:
        raise failed_wave()
    except* OutcomeUnknown as group:
        seen += [type(group), *map(type, group.exceptions)]
    except* CallFailed as group:
        seen += [type(group), *map(type, group.exceptions)]
    assert seen == [WaveFailed, OutcomeUnknown, WaveFailed, CallFailed]


def test_a_failed_wave_is_caught_as_an_error_of_ours() -> None:
    with pytest.raises(WavebreakError):
        raise failed_wave()


def test_a_cancelled_plan_says_before_which_wave() -> None:
    error = CancelledException("enough", {"a": 1}, 3)
    assert (str(error), error.message) == ("enough", "enough")
    assert (error.partial_results, error.wave_num) == ({"a": 1}, 3)
    assert CancelledException("enough").partial_results == {}
