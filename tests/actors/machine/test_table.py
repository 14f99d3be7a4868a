from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

import pytest

from wavebreak.actors.machine.state import Rules, Status
from wavebreak.actors.machine.table import _COLUMN, TABLE, decide
from wavebreak.messages import events
from wavebreak.messages.commands import (
    AsideDone,
    Command,
    CompensationDone,
    Courtesy,
    Delete,
    DeliveryDone,
    Edit,
    Heard,
    Open,
    Progress,
    Resume,
    RuntimeExit,
    Save,
    Say,
    Schedule,
    Send,
    Shutdown,
    StepDone,
    Stop,
    Streamed,
    Take,
    TimeIsUp,
    TokenCancelled,
    UndoTurn,
    Withdraw,
)
from wavebreak.messages.errors import MessageRejected, SessionFailed, SystemClosed, WavebreakError
from wavebreak.messages.events import (
    CallEnded,
    CancellationHandled,
    CompensationEnded,
    CourtesySaid,
    DeliveryEnded,
    Event,
    ExecutionCancelled,
    MessageAccepted,
    MessageEdited,
    MessageEnded,
    MessagesTaken,
    Resumed,
    Said,
    Saved,
    SessionDeleted,
    SessionOpened,
    StepEnded,
    StopRequested,
    TurnEnded,
    TurnStarted,
    WaveEnded,
    WaveStarted,
    WindowExtended,
)
from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.messages.message import Reply
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    Now,
    Policy,
    Reject,
    Rollback,
    Steer,
)
from wavebreak.messages.reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    DeliveryStatus,
    Effect,
    Reason,
)

from .driving import Driver, call, done, opened

RECOVERING, IDLE, COLLECTING, RUNNING, STOPPING, CLOSING, FAILED = Status


def session_in(status: Status) -> Driver:
    """Give a session in ``status`` in which every command has something to do.

    Turn 1 finished: its reply was not delivered yet, and one of its calls is unknown. Turn 2 has
    a deadline, and a call is open. One message is parked, and one is answered aside.
    """
    if status is RECOVERING:
        return Driver()
    driver = opened(Rules(aside=True))
    driver.send("m1")
    (booking,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(booking, CallStatus.UNKNOWN), wave_done=1)
    driver.exit("reply")
    driver.stop(backlog=Backlog.PARK)
    driver.send("c1", Enqueue(), stamp=0)  # it would have been the turn that was stopped
    driver.send("p1", Enqueue(), stamp=0)
    driver.send("a1", Aside())
    if status is IDLE:
        return driver
    if status is COLLECTING:
        driver.rules = driver.rules._replace(debounce=Debounce(5.0, 60.0))
        driver.send("m2")
        return driver
    driver.send("m2", deadline=60.0)
    driver.begin_wave(call())
    if status is STOPPING:
        driver.send("m3")
    if status is CLOSING:
        driver.shut_down()
    if status is FAILED:
        driver.state = driver.state._replace(status=FAILED)
    return driver


def send(policy: Policy) -> Callable[[Driver], Command]:
    return lambda driver: driver.message("new", policy)


def progress(driver: Driver) -> Progress:
    """The open call ends, and so does its wave, and the next begins; or the unknown one ends."""
    open_calls = driver.state.running.open if driver.state.running is not None else ()
    ended = tuple(done(each) for each in open_calls)
    if not ended:
        late = call("book")._replace(call_id=CallId("1.1.1.1"))
        return Progress(driver.at, driver.fence, (done(late)._replace(late=True),))
    after = call()._replace(call_id=CallId("2.1.2.1"))
    return Progress(driver.at, driver.fence, ended, 1, 2, (after,))


def runtime_exit(driver: Driver) -> RuntimeExit:
    report = progress(driver)._replace(wave=0, calls=())
    return RuntimeExit(
        driver.at, driver.fence, Reply(text="done"), False, "", False, None, report, None
    )


def delivery_done(driver: Driver) -> DeliveryDone:
    ours = driver.state.outbox[0].delivery_id if driver.state.outbox else "none"
    return DeliveryDone(driver.at, ours, DeliveryStatus.DELIVERED, "")  # type: ignore[arg-type]


def compensation_done(driver: Driver) -> CompensationDone:
    undoing = driver.state.undoing
    key = undoing.left[0].idempotency_key if undoing else IdempotencyKey("")
    return CompensationDone(driver.at, CallId("2.1.1.1"), None, key)


def take(driver: Driver) -> Take:
    if driver.state.status is RUNNING:
        driver.send("offered", Steer())
    return Take(driver.at, driver.fence)


COMMANDS: dict[type, Callable[[Driver], Command]] = {
    AfterWave: send(AfterWave()),
    Now: send(Now()),
    Rollback: send(Rollback()),
    Steer: send(Steer()),
    Enqueue: send(Enqueue()),
    Collect: send(Collect()),
    Reject: send(Reject()),
    Aside: send(Aside()),
    Schedule: lambda d: d.scheduling("new"),
    Resume: lambda d: Resume(d.at),
    Withdraw: lambda d: Withdraw(d.at, "p1"),
    Edit: lambda d: Edit(d.at, "p1", "other words"),
    Take: take,
    AsideDone: lambda d: AsideDone(d.at, "a1", "I am here", ""),
    Stop: lambda d: Stop(d.at, 99, AfterWave(), Backlog.KEEP, Reason.STOPPED, ""),
    UndoTurn: lambda d: UndoTurn(d.at, 5.0, "undo it"),
    CompensationDone: compensation_done,
    Delete: lambda d: Delete(d.at, 5.0),
    TokenCancelled: lambda d: TokenCancelled(d.at, d.fence, "enough"),
    TimeIsUp: lambda d: TimeIsUp(d.at + 100.0),
    Progress: progress,
    StepDone: lambda d: StepDone(d.at, d.fence, "model", "words"),
    Say: lambda d: Say(d.at, d.fence, "one moment"),
    Save: lambda d: Save(d.at, d.fence, {"n": 1}),
    RuntimeExit: runtime_exit,
    DeliveryDone: delivery_done,
    Heard: lambda d: Heard(d.at, 1, 3),
    Courtesy: lambda d: Courtesy(d.at, CourtesyKind.FAILED, 1, "sorry"),
    Shutdown: lambda d: Shutdown(d.at, AfterWave()),
    Open: lambda d: Open(d.at, "uid"),
}


class Cell(NamedTuple):
    """What a command leads to in a status: the status after it, and what happened."""

    after: Status
    happened: tuple[type[Event], ...] = ()


Row = dict[Status, Cell | type[WavebreakError]]


def noted_everywhere(kind: type[Event]) -> Row:
    """What is noted in each status, and leads to no other; one that is not read has no notes."""
    unread = FAILED, RECOVERING
    return {status: Cell(status, () if status in unread else (kind,)) for status in Status}


CUT_SHORT = (ExecutionCancelled, CancellationHandled, TurnEnded)
CUT_OFF = (StopRequested, *CUT_SHORT)
WAVE_ENDS = (CallEnded, WaveEnded)

CELLS: dict[type, Row] = {
    AfterWave: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted, WindowExtended)),
        RUNNING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Now: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        STOPPING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Rollback: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        STOPPING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Enqueue: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted,)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Schedule: {
        IDLE: Cell(IDLE, (MessageAccepted,)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted,)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Stop: {
        IDLE: Cell(IDLE, (StopRequested,)),
        COLLECTING: Cell(RUNNING, (StopRequested, TurnStarted)),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING, (StopRequested,)),
        CLOSING: Cell(CLOSING),
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Delete: {
        IDLE: Cell(RECOVERING, (*[MessageEnded] * 2, SessionDeleted)),
        COLLECTING: Cell(RECOVERING, (*[MessageEnded] * 3, SessionDeleted)),
        RUNNING: Cell(RECOVERING, (*CUT_OFF, *[MessageEnded] * 3, SessionDeleted)),
        STOPPING: Cell(RECOVERING, (*CUT_OFF, *[MessageEnded] * 4, SessionDeleted)),
        CLOSING: Cell(RECOVERING, (*CUT_OFF, *[MessageEnded] * 3, SessionDeleted)),
        FAILED: Cell(RECOVERING, (*CUT_OFF, *[MessageEnded] * 3, SessionDeleted)),
        RECOVERING: Cell(RECOVERING, (SessionDeleted,)),
    },
    UndoTurn: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(RUNNING, (StopRequested, TurnStarted)),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING, (StopRequested,)),
        CLOSING: Cell(CLOSING),
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    CompensationDone: {
        # Nothing is undone in these; what it does where something is, is in UNDOING below.
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    TokenCancelled: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    TimeIsUp: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(RUNNING, (TurnStarted,)),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING, (StopRequested,)),
        CLOSING: Cell(CLOSING, (StopRequested,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Progress: {
        IDLE: Cell(IDLE, (CallEnded,)),
        COLLECTING: Cell(COLLECTING, (CallEnded,)),
        RUNNING: Cell(RUNNING, (*WAVE_ENDS, WaveStarted)),
        STOPPING: Cell(STOPPING, WAVE_ENDS),
        CLOSING: Cell(CLOSING, WAVE_ENDS),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    StepDone: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING, (StepEnded,)),
        STOPPING: Cell(STOPPING, (StepEnded,)),
        CLOSING: Cell(CLOSING, (StepEnded,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Say: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING, (Said,)),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Save: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING, (Saved,)),
        STOPPING: Cell(STOPPING, (Saved,)),
        CLOSING: Cell(CLOSING, (Saved,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    RuntimeExit: {
        IDLE: Cell(IDLE, (CallEnded,)),
        COLLECTING: Cell(COLLECTING, (CallEnded,)),
        RUNNING: Cell(IDLE, (*WAVE_ENDS, TurnEnded, MessageEnded)),
        STOPPING: Cell(RUNNING, (*WAVE_ENDS, *CUT_SHORT, TurnStarted)),
        CLOSING: Cell(CLOSING, (*WAVE_ENDS, *CUT_SHORT, MessageEnded, MessageEnded, MessageEnded)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    DeliveryDone: noted_everywhere(DeliveryEnded),
    Heard: noted_everywhere(events.Heard),
    Courtesy: noted_everywhere(CourtesySaid),
    Shutdown: {
        IDLE: Cell(IDLE, (MessageEnded, MessageEnded)),
        COLLECTING: Cell(CLOSING, (StopRequested, MessageEnded, MessageEnded, MessageEnded)),
        RUNNING: Cell(CLOSING, (StopRequested,)),
        STOPPING: Cell(CLOSING, (StopRequested,)),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Open: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(IDLE, (SessionOpened,)),
    },
    Steer: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted, WindowExtended)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Collect: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted, WindowExtended)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Reject: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        COLLECTING: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: MessageRejected,
        STOPPING: MessageRejected,
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Aside: {
        IDLE: Cell(IDLE, (MessageAccepted,)),
        COLLECTING: Cell(COLLECTING, (MessageAccepted,)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: SessionFailed,
    },
    Resume: {
        IDLE: Cell(RUNNING, (Resumed, TurnStarted)),
        COLLECTING: Cell(COLLECTING, (Resumed,)),
        RUNNING: Cell(RUNNING, (Resumed,)),
        STOPPING: Cell(STOPPING, (Resumed,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Withdraw: {
        IDLE: Cell(IDLE, (MessageEnded,)),
        COLLECTING: Cell(COLLECTING, (MessageEnded,)),
        RUNNING: Cell(RUNNING, (MessageEnded,)),
        STOPPING: Cell(STOPPING, (MessageEnded,)),
        CLOSING: Cell(CLOSING, (MessageEnded,)),
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Edit: {
        IDLE: Cell(IDLE, (MessageEdited,)),
        COLLECTING: Cell(COLLECTING, (MessageEdited,)),
        RUNNING: Cell(RUNNING, (MessageEdited,)),
        STOPPING: Cell(STOPPING, (MessageEdited,)),
        CLOSING: Cell(CLOSING, (MessageEdited,)),
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Take: {
        IDLE: Cell(IDLE),
        COLLECTING: Cell(COLLECTING),
        RUNNING: Cell(RUNNING, (MessagesTaken,)),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    AsideDone: {
        IDLE: Cell(IDLE, (MessageEnded,)),
        COLLECTING: Cell(COLLECTING, (MessageEnded,)),
        RUNNING: Cell(RUNNING, (MessageEnded,)),
        STOPPING: Cell(STOPPING, (MessageEnded,)),
        CLOSING: Cell(CLOSING, (MessageEnded,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
}
"""SESSION.md's table in the machine's words; what each cell means is held by the other tests."""


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.__name__)
def test_every_cell_of_the_table_does_what_it_is_there_for(row: type, status: Status) -> None:
    driver = session_in(status)
    expected = CELLS[row][status]
    command = COMMANDS[row](driver)
    before = driver.state
    if not isinstance(expected, Cell):
        with pytest.raises(expected):
            driver.decide(command)
        assert driver.state is before
    else:
        happened = driver.decide(command)
        assert tuple(type(event) for event in happened) == expected.happened
        assert driver.state.status is expected.after
        if not expected.happened:
            assert driver.state is before
    assert driver.cells >= {(row, status)}


def undoing(*, closes: bool = False) -> Driver:
    """Give the same session while the call of turn 2 is undone, for message m3."""
    driver = session_in(IDLE)
    driver.send("m2", deadline=60.0)
    driver.run_wave(call("book", Effect.ONCE, compensated=True))
    driver.send("m3", Rollback())
    driver.exit()
    if closes:
        driver.shut_down()
    return driver


UNDOING: dict[type, Row] = {
    **{row: {STOPPING: Cell(STOPPING), CLOSING: Cell(CLOSING)} for row in TABLE},
    **{
        policy: {STOPPING: Cell(STOPPING, (MessageAccepted,)), CLOSING: SystemClosed}
        for policy in get_args(Policy)
    },
    **{
        row: {STOPPING: CELLS[row][STOPPING], CLOSING: CELLS[row][CLOSING]}
        for row in (Reject, Resume, Withdraw, Edit, AsideDone, Courtesy, Heard)
    },
    Schedule: {STOPPING: Cell(STOPPING, (MessageAccepted,)), CLOSING: SystemClosed},
    Stop: {STOPPING: Cell(STOPPING, (StopRequested,)), CLOSING: Cell(CLOSING)},
    Shutdown: {STOPPING: Cell(CLOSING, (StopRequested,)), CLOSING: Cell(CLOSING)},
    Delete: {
        status: Cell(RECOVERING, (*CUT_OFF, *[MessageEnded] * 4, SessionDeleted))
        for status in (STOPPING, CLOSING)
    },
    Progress: {STOPPING: Cell(STOPPING, (CallEnded,)), CLOSING: Cell(CLOSING, (CallEnded,))},
    RuntimeExit: {STOPPING: Cell(STOPPING, (CallEnded,)), CLOSING: Cell(CLOSING, (CallEnded,))},
    DeliveryDone: {
        STOPPING: Cell(STOPPING, (DeliveryEnded,)),
        CLOSING: Cell(CLOSING, (DeliveryEnded,)),
    },
    CompensationDone: {
        STOPPING: Cell(RUNNING, (CompensationEnded, TurnEnded, MessageEnded, TurnStarted)),
        # With the journal in memory what waits ends too: the new one, a parked one, an aside.
        CLOSING: Cell(CLOSING, (CompensationEnded, TurnEnded, *[MessageEnded] * 4)),
    },
}
"""The cells of these two columns again, as they are while calls are undone."""


@pytest.mark.parametrize("status", [STOPPING, CLOSING])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.__name__)
def test_every_cell_does_what_it_is_there_for_while_calls_are_undone(
    row: type, status: Status
) -> None:
    driver = undoing(closes=status is CLOSING)
    expected = UNDOING[row][status]
    command = COMMANDS[row](driver)
    before = driver.state
    if not isinstance(expected, Cell):
        with pytest.raises(expected):
            driver.decide(command)
        assert driver.state is before
        return
    happened = driver.decide(command)
    assert tuple(type(event) for event in happened) == expected.happened
    assert driver.state.status is expected.after


def test_every_command_and_every_policy_has_a_row() -> None:
    commands = set(get_args(Command)) - {Send}
    assert set(TABLE) == commands | set(get_args(Policy))


def test_every_status_has_a_column_of_its_own() -> None:
    assert set(_COLUMN) == set(Status)
    assert sorted(_COLUMN.values()) == list(range(len(Status)))
    assert len(TABLE[Stop]) == len(Status)


def test_what_the_table_does_not_have_is_a_failed_look_up() -> None:
    driver = opened()
    command = Streamed(driver.at, driver.fence, "a preview is no command", restart=False)
    with pytest.raises(KeyError):
        decide(driver.state, command, driver.rules)  # type: ignore[arg-type]
