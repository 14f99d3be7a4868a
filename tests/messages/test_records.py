from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.messages.message import Reply
from wavebreak.messages.reasons import CallStatus, Effect, Reason
from wavebreak.messages.records import (
    CallDone,
    CallError,
    CallRecord,
    CallStarted,
    PartialResults,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CARRY: st.SearchStrategy[bool | float] = st.booleans() | st.floats(0, 1e9)
IDS = st.text(min_size=1, max_size=9).map(CallId)
ERRORS = st.builds(CallError, type=st.text(), message=st.text(), retryable=st.booleans())
RECORDS = st.builds(
    CallRecord,
    call_id=IDS,
    tool=st.text(),
    version=st.text(),
    arguments=st.dictionaries(st.text(), JSON, max_size=3),
    effect=st.sampled_from(Effect),
    carry=CARRY,
    idempotency_key=IDS.map(IdempotencyKey),
    answered_from=st.none() | IDS,
    wave=st.integers(1, 9),
    status=st.sampled_from(CallStatus),
    result=JSON,
    error=st.none() | ERRORS,
    senders=st.lists(st.none() | st.text(), max_size=2).map(tuple),
)
STARTED = st.builds(
    CallStarted,
    call_id=IDS,
    tool=st.text(),
    version=st.text(),
    arguments=st.dictionaries(st.text(), JSON, max_size=3),
    effect=st.sampled_from(Effect),
    protected=st.booleans(),
    timeout=st.none() | st.floats(0.1, 1e6),
    carry=CARRY,
    idempotency_key=IDS.map(IdempotencyKey),
    answered_from=st.none() | IDS,
)
DONE = st.builds(
    CallDone,
    wave=st.integers(1, 9),
    call_id=IDS,
    tool=st.text(),
    status=st.sampled_from(CallStatus),
    result=JSON,
    error=st.none() | ERRORS,
    answered_from=st.none() | IDS,
    late=st.booleans(),
)


def through_json(kind: Any, value: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return adapter.validate_json(adapter.dump_json(value))


@given(RECORDS)
def test_a_record_survives_json(record: CallRecord) -> None:
    back = through_json(CallRecord, record)
    assert back == record
    assert type(back.carry) is type(record.carry)


@given(STARTED)
def test_the_start_of_a_call_survives_json(started: CallStarted) -> None:
    back = through_json(CallStarted, started)
    assert back == started
    assert type(back.carry) is type(started.carry)


@given(DONE)
def test_the_end_of_a_call_survives_json(done: CallDone) -> None:
    assert through_json(CallDone, done) == done


@given(calls=st.lists(RECORDS, max_size=3).map(tuple), state=JSON, said=st.lists(st.text()))
def test_partial_results_survive_json(
    calls: tuple[CallRecord, ...], state: Any, said: list[str]
) -> None:
    left = PartialResults(
        calls=calls, said=tuple(said), draft=Reply(text="d"), state=state, reason=Reason.DEADLINE
    )
    assert through_json(PartialResults, left) == left


def test_what_is_not_said_of_a_call_is_the_harmless_thing() -> None:
    one = record("1", CallStatus.COMPLETED)
    assert (one.version, one.carry, one.answered_from) == ("", True, None)
    assert (one.turn, one.attempt, one.started_at, one.ended_at) == (0, 1, 0.0, 0.0)
    assert (one.result, one.error, one.senders) == (None, None, ())
    assert CallError(type="E", message="").retryable is False
    assert PartialResults().reason is Reason.SUPERSEDED
    assert PartialResults() == PartialResults(calls=(), said=(), draft=None, state=None)


def record(call_id: str, status: CallStatus, answered_from: str | None = None) -> CallRecord:
    return CallRecord(
        call_id=CallId(call_id),
        tool="t",
        arguments={},
        effect=Effect.READ,
        idempotency_key=IdempotencyKey("k"),
        answered_from=None if answered_from is None else CallId(answered_from),
        wave=1,
        status=status,
    )


def test_the_completed_calls_of_partial_results_are_those_that_completed() -> None:
    calls = tuple(record(str(status), status) for status in CallStatus)
    completed = PartialResults(calls=calls).completed
    assert [one.status for one in completed] == [CallStatus.COMPLETED]


@pytest.mark.parametrize("origin", [None, "older"])
def test_a_record_knows_which_call_did_the_work(origin: str | None) -> None:
    ours = record("newer", CallStatus.COMPLETED, origin)
    assert ours.origin == (origin or "newer")
