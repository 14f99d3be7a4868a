from __future__ import annotations

import re
from typing import Any, Final, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from wavebreak.messages.entries import Line, Progressed, read_entry
from wavebreak.messages.events import (
    AnyEvent,
    CallEnded,
    CancellationHandled,
    CompensationEnded,
    CompensationStarted,
    CourtesySaid,
    DeliveryEnded,
    Delta,
    Event,
    ExecutionCancelled,
    Heard,
    MessageAccepted,
    MessageDue,
    MessageEdited,
    MessageEnded,
    MessagesTaken,
    Resumed,
    RollbackRefused,
    RollbackStarted,
    Said,
    Saved,
    SessionDeleted,
    SessionOpened,
    StepEnded,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
    WindowExtended,
)
from wavebreak.messages.ids import CallId, DeliveryId, Fence, IdempotencyKey, SessionKey
from wavebreak.messages.message import Attachment, Reply, SessionMessage, UserMessage
from wavebreak.messages.policies import AfterWave, Enqueue, Now
from wavebreak.messages.reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    DeliveryStatus,
    Effect,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from wavebreak.messages.records import (
    CallDone,
    CallError,
    CallRecord,
    CallStarted,
    PartialResults,
)

EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(AnyEvent)
KINDS: Final[tuple[type[Event], ...]] = get_args(get_args(AnyEvent)[0])
KEY = SessionKey("acme", "s1")

STARTED = CallStarted(
    CallId("1.1.1.1"),
    "book",
    "2",
    {"room": 1},
    Effect.ONCE,
    protected=True,
    timeout=5.0,
    carry=60.0,
    idempotency_key=IdempotencyKey("u-1.1.1.1"),
)
ERROR = CallError(type="OSError", message="no line", retryable=True)
LEFT = PartialResults(
    calls=(
        CallRecord(
            call_id=CallId("1.1.1.1"),
            tool="book",
            arguments={"room": 1},
            effect=Effect.ONCE,
            carry=False,
            idempotency_key=IdempotencyKey("u-1.1.1.1"),
            wave=1,
            status=CallStatus.COMPLETED,
            result={"ok": True},
            senders=(None, "ann"),
        ),
    ),
    said=("one moment",),
    draft=Reply(text="d"),
    state={"n": 1},
    reason=Reason.SUPERSEDED,
)

COMMON: Final[dict[str, Any]] = {"tenant": "acme", "session_id": "s1", "position": 7, "at": 1.5}
OF_TURN: Final[dict[str, Any]] = {**COMMON, "turn": 3}
OF_ATTEMPT: Final[dict[str, Any]] = {**OF_TURN, "attempt": 2}


def at(position: int | None) -> dict[str, Any]:
    """Give what events of an attempt have in common, at another position."""
    return {**OF_ATTEMPT, "position": position}


EXAMPLES: Final[tuple[Event, ...]] = (
    SessionOpened(**COMMON, epoch=2, uid="u"),
    MessageAccepted(
        **COMMON,
        message_type="UserMessage",
        message=UserMessage(
            message_id="m1",
            text="hällo",
            attachments=(Attachment(url="u"),),
            metadata={"a": [1, None]},
        ),
        policy=Now(grace=1.0),
        deadline_at=9.0,
        fingerprint="f",
        expires_at=8.0,
        priority=-1,
        parked=True,
    ),
    TurnStarted(**OF_TURN, message_ids=("m1", "m2"), version="7", deadline_at=9.0),
    TurnRestarted(**OF_ATTEMPT, cause="SystemExit", version="7", delay=1.0, discard=True),
    WaveStarted(**OF_ATTEMPT, wave=1, calls=(STARTED, STARTED._replace(carry=True))),
    CallEnded(
        **OF_ATTEMPT,
        call_id=CallId("1.1.1.1"),
        tool="book",
        wave=1,
        status=CallStatus.FAILED,
        error=ERROR,
        answered_from=CallId("1.1.1.0"),
        late=True,
    ),
    WaveEnded(**OF_ATTEMPT, wave=1),
    StepEnded(**OF_ATTEMPT, key="model", result={"words": [1]}),
    Said(**OF_ATTEMPT, text="one moment", delivery_id=DeliveryId("u-7")),
    Saved(**OF_ATTEMPT, state={"n": 1}),
    Delta(**at(None), text="wo"),
    RollbackStarted(**OF_TURN, calls=(CallId("1.1.1.1"),)),
    RollbackRefused(**OF_TURN, call_id=CallId("1.1.1.1"), tool="book", detail="it has happened"),
    CompensationStarted(
        **OF_TURN,
        call_id=CallId("1.1.1.1"),
        tool="book",
        idempotency_key=IdempotencyKey("uid-1.1.1.1-undo"),
    ),
    CompensationEnded(
        **OF_TURN,
        call_id=CallId("1.1.1.1"),
        tool="book",
        status=CallStatus.FAILED,
        error=CallError(type="OSError", message="gone"),
    ),
    StopRequested(
        **OF_TURN,
        how=AfterWave(patience=2.0),
        reason=Reason.STOPPED,
        detail="enough",
        by="m2",
        backlog=Backlog.DROP,
        covers=12,
    ),
    ExecutionCancelled(
        **OF_TURN, wave_num=2, total_waves=5, partial_results_count=3, cancel_reason="why"
    ),
    CancellationHandled(**OF_TURN, message="stopped", wave_num=2, partial_results_count=3),
    TurnEnded(
        **OF_TURN,
        outcome=TurnOutcome.INTERRUPTED,
        reason=Reason.SUPERSEDED,
        detail="why",
        partial_results=LEFT,
    ),
    TurnEnded(
        **OF_TURN,
        outcome=TurnOutcome.FINISHED,
        reply=Reply(text="done", data={"card": 1}),
        delivery_id=DeliveryId("u-8"),
    ),
    MessageEnded(
        **OF_TURN,
        message_id="m1",
        status=MessageStatus.FAILED,
        reason=Reason.ERROR,
        detail="ValueError",
    ),
    MessageEnded(
        **COMMON,
        turn=None,
        message_id="m1",
        status=MessageStatus.ANSWERED,
        reply=Reply(text="still here"),
        delivery_id=DeliveryId("u-9"),
    ),
    MessagesTaken(**OF_ATTEMPT, message_ids=("m3", "m4")),
    WindowExtended(**COMMON, until=3.0, latest=9.0),
    MessageDue(**COMMON, message_id="m2", accepted=3, policy=Now(grace=2.0), expires_at=9.0),
    MessageEdited(**COMMON, message_id="m1", text="other words"),
    Resumed(**COMMON),
    CourtesySaid(
        **OF_TURN, courtesy=CourtesyKind.FAILED, text="sorry", delivery_id=DeliveryId("u-9")
    ),
    Heard(**OF_TURN, characters=7),
    DeliveryEnded(
        **COMMON, delivery_id=DeliveryId("u-8"), status=DeliveryStatus.DEAD_LETTERED, detail="no"
    ),
    SessionDeleted(**COMMON),
)


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_an_event_survives_json(event: Event) -> None:
    back = EVENTS.validate_json(event.model_dump_json())
    assert back == event
    assert type(back) is type(event)


def test_an_events_kind_is_its_name_in_words() -> None:
    for kind in KINDS:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        assert kind.model_fields["kind"].default == words


def test_every_event_says_where_and_when_it_happened() -> None:
    for kind in KINDS:
        assert {"tenant", "session_id", "turn", "position", "at", "kind"} <= set(kind.model_fields)


def test_an_event_cannot_be_changed_and_takes_no_field_that_it_does_not_have() -> None:
    event = EXAMPLES[0]
    with pytest.raises(ValidationError):
        event.at = 2.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        EVENTS.validate_python({**event.model_dump(), "more": 1})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        EVENTS.validate_python({**COMMON, "kind": "no_such_event"})


def test_a_call_is_an_object_with_names_in_json_and_a_wrong_one_is_refused() -> None:
    event = WaveStarted(**OF_ATTEMPT, wave=1, calls=(STARTED,))
    dumped = event.model_dump(mode="json")
    (call,) = dumped["calls"]
    assert (call["tool"], call["arguments"], call["effect"]) == ("book", {"room": 1}, "once")
    assert event.model_dump()["calls"] == (STARTED._asdict(),)
    for broken in ({"tool": "book"}, {**call, "more": 1}, {**call, "effect": "none"}, "book"):
        with pytest.raises(ValidationError):
            EVENTS.validate_python({**dumped, "calls": [broken]})


# Messages come back as what they were.


class OrderShipped(SessionMessage):
    order: int


def accepted(message: SessionMessage) -> MessageAccepted:
    return MessageAccepted(
        **COMMON, message_type=type(message).__name__, message=message, policy=Enqueue()
    )


def test_a_message_of_the_programs_own_comes_back_when_its_class_is_given() -> None:
    event = accepted(OrderShipped(message_id="m1", order=7))
    types = {"OrderShipped": OrderShipped}
    back = EVENTS.validate_json(event.model_dump_json(), context={"message_types": types})
    assert back == event
    assert isinstance(back.message, OrderShipped)


def test_a_message_of_an_unknown_class_is_refused_and_the_remedy_is_named() -> None:
    text = accepted(OrderShipped(message_id="m1", order=7)).model_dump_json()
    with pytest.raises(ValidationError, match=r"'OrderShipped'.*message_types=\(OrderShipped,\)"):
        EVENTS.validate_json(text)


def test_a_message_is_not_taken_for_another_class() -> None:
    event = accepted(SessionMessage(message_id="m1"))
    back = EVENTS.validate_json(event.model_dump_json())
    assert type(back.message) is SessionMessage


# Progress: several events in one entry.

DONE = CallDone(1, CallId("3.2.1.1"), "book", CallStatus.COMPLETED, {"ok": True})
UNSEEN = CallDone(
    1, CallId("3.2.1.2"), "pay", CallStatus.UNKNOWN, None, ERROR, CallId("3.1.1.2"), late=False
)


def test_an_entry_says_in_events_what_happened_in_its_order() -> None:
    entry = Progressed(7, 1.5, Fence(9, 3, 2), (DONE, UNSEEN), 1, 2, (STARTED,))
    assert entry.span == 4
    ended = CallEnded(
        **OF_ATTEMPT,
        call_id=CallId("3.2.1.1"),
        tool="book",
        wave=1,
        status=CallStatus.COMPLETED,
        result={"ok": True},
    )
    unseen = CallEnded(
        **at(8),
        call_id=CallId("3.2.1.2"),
        tool="pay",
        wave=1,
        status=CallStatus.UNKNOWN,
        error=ERROR,
        answered_from=CallId("3.1.1.2"),
    )
    assert entry.events(KEY) == [
        ended,
        unseen,
        WaveEnded(**at(9), wave=1),
        WaveStarted(**at(10), wave=2, calls=(STARTED,)),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        Progressed(7, 1.5, Fence(9, 3, 2), (DONE,)),
        Progressed(7, 1.5, Fence(9, 3, 2), (), 1),
        Progressed(7, 1.5, Fence(9, 3, 2), (), 0, 2, (STARTED,)),
        Progressed(7, 1.5, Fence(9, 3, 2), (DONE._replace(late=True),)),
        Progressed(7, 1.5, Fence(9, 3, 2), (DONE, UNSEEN), 1, 2, (STARTED, STARTED)),
    ],
)
def test_an_entry_spans_as_many_positions_as_it_has_events_and_survives_json(
    entry: Progressed,
) -> None:
    events = entry.events(KEY)
    assert entry.span == len(events)
    assert [event.position for event in events] == list(range(7, 7 + entry.span))
    adapter = TypeAdapter(Progressed)
    assert adapter.validate_json(adapter.dump_json(entry)) == entry
    for event in events:
        assert EVENTS.validate_json(event.model_dump_json()) == event


ENTRY = Progressed(7, 1.5, Fence(9, 3, 2), (DONE, UNSEEN), 1, 2, (STARTED, STARTED))


def test_an_entry_is_read_from_its_line_as_it_would_be_by_its_types_and_keeps_the_line() -> None:
    line = Line(bytes(ENTRY.line))
    read = read_entry(line)
    assert read == ENTRY == TypeAdapter(Progressed).validate_json(line)
    assert read is not None
    assert read.line is line
    for mine, written in (
        (read.done[1], UNSEEN),
        (read.calls[0], STARTED),
        (read.fence, (9, 3, 2)),
    ):
        assert [type(value) for value in mine] == [type(value) for value in written]
    assert type(read.fence) is Fence


@pytest.mark.parametrize(
    "line",
    [
        ENTRY.line.replace(b",null,false,null]", b",null]"),  # before calls had more to tell
        ENTRY.line.replace(b'"unknown"', b'"perhaps"'),
        ENTRY.line.replace(b"[9,3,2]", b"[9,3]"),
        ENTRY.line.replace(b"[[1,", b"[[", 1),
        ENTRY.line + b',{"kind":"turn_ended"}',
        ENTRY.line[:-1],
        b"[1]",
        b"[]",
        b"7",
    ],
)
def test_what_is_not_an_entry_for_sure_is_left_to_who_knows_its_types(line: bytes) -> None:
    assert line != ENTRY.line
    assert read_entry(Line(line)) is None


def test_an_entry_of_nothing_has_no_events() -> None:
    empty = Progressed(7, 1.5, Fence(9, 3, 2))
    assert (empty.span, empty.events(KEY), empty.calls) == (0, [], ())


def test_an_entry_of_late_ends_is_told_apart() -> None:
    assert Progressed(7, 1.5, Fence(9, 3, 2), (DONE._replace(late=True),)).is_late
    assert not Progressed(7, 1.5, Fence(9, 3, 2), (DONE,)).is_late
    assert not Progressed(7, 1.5, Fence(9, 3, 2), (), 1).is_late
