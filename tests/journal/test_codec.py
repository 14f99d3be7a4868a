from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from wavebreak import CallStatus, HistoryEntry, HistoryKind, Reply, SessionMessage
from wavebreak.journal.codec import VERSION, Codec, Row, checksum_of
from wavebreak.messages.entries import Entry, Progressed
from wavebreak.messages.errors import JournalCorrupt
from wavebreak.messages.ids import CallId, Fence, IdempotencyKey
from wavebreak.messages.reasons import Effect
from wavebreak.messages.records import CallDone, CallError, CallStarted

from .writing import ANN, accepted, ended, progressed

CODEC = Codec({})


class OrderShipped(SessionMessage):
    order: int


def row_of(data: bytes, row_id: int = 7) -> Row:
    return Row(row_id, VERSION, checksum_of(row_id, data), data)


def read(data: bytes, codec: Codec = CODEC) -> list[Entry]:
    return codec.read_entries([row_of(data)], "it")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
DONE = st.builds(
    CallDone,
    st.integers(1, 9),
    TEXTS.map(CallId),
    TEXTS,
    st.sampled_from(CallStatus),
    JSON,
    st.none() | st.builds(CallError, type=TEXTS, message=TEXTS, retryable=st.booleans()),
    st.none() | TEXTS.map(CallId),
    st.booleans(),
)
STARTED = st.builds(
    CallStarted,
    TEXTS.map(CallId),
    TEXTS,
    TEXTS,
    st.dictionaries(TEXTS, JSON, max_size=3),
    st.sampled_from(Effect),
    st.booleans(),
    st.none() | st.floats(0, 100) | st.integers(0, 100),
    st.booleans() | st.floats(0, 100),
    TEXTS.map(IdempotencyKey),
    st.none() | TEXTS.map(CallId),
)
PROGRESSED = st.builds(
    Progressed,
    st.integers(1, 1 << 40),
    st.floats(0, 1e12) | st.integers(0, 100),
    st.builds(Fence, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.lists(DONE, max_size=2).map(tuple),
    st.integers(0, 5),
    st.integers(0, 5),
    st.lists(STARTED, max_size=2).map(tuple),
)


@given(entry=PROGRESSED)
def test_what_happens_to_calls_is_read_as_it_was_written(entry: Progressed) -> None:
    data = CODEC.entries([entry])
    assert read(data) == [entry]
    assert data == to_json([entry]), "the quick way writes what the other would"


def test_a_row_may_have_entries_of_several_kinds() -> None:
    entries: list[Entry] = [accepted(ANN, 1), progressed(2, {"a": [1, None]}), ended(ANN, 3, "m1")]
    assert read(CODEC.entries(entries)) == entries


def test_a_message_of_the_programs_own_class_is_read_as_one() -> None:
    message = OrderShipped(order=7, message_id="m")
    event = accepted(ANN, 1).model_copy(update={"message": message, "message_type": "OrderShipped"})
    entry = HistoryEntry(
        kind=HistoryKind.MESSAGE,
        turn=1,
        text="",
        message_type="OrderShipped",
        message=message,
        reply=Reply(text="sent"),
        at=1.0,
    )
    codec = Codec({"OrderShipped": OrderShipped})
    assert read(codec.entries([event]), codec) == [event]
    assert codec.read_history(row_of(codec.history([entry])), "it") == [entry]
    with pytest.raises(JournalCorrupt, match=r"message_types=\(OrderShipped,\)"):
        read(codec.entries([event]))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(7, VERSION + 1, 0, b"[]"), f"version {VERSION + 1}"),
        (Row(7, VERSION, 1, b"[]"), "checksum"),
        (Row(8, VERSION, checksum_of(7, b"[]"), b"[]"), "checksum"),
        (row_of(b"[7]"), "cannot be read"),
        (row_of(b"[{]"), "cannot be read"),
        (row_of(b'[{"kind": "what_is_this"}]'), "what_is_this"),
    ],
    ids=["newer", "changed", "another's", "no entries", "no JSON", "unknown event"],
)
def test_a_row_that_cannot_be_relied_on_is_refused(row: Row, words: str) -> None:
    with pytest.raises(JournalCorrupt, match=words):
        CODEC.read_entries([row], "it")


@given(data=st.binary(min_size=1, max_size=30), place=st.data())
def test_one_flipped_bit_anywhere_is_noticed(data: bytes, place: Any) -> None:
    changed = bytearray(data)
    bit = place.draw(st.integers(0, 8 * len(data) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    assert checksum_of(7, bytes(changed)) != checksum_of(7, data)
