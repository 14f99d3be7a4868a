from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

import pytest

from wavebreak.actors.machine.state import Status
from wavebreak.actors.machine.table import _COLUMN, TABLE, decide
from wavebreak.messages.commands import (
    Command,
    DeliveryDone,
    Open,
    Progress,
    RuntimeExit,
    Save,
    Say,
    Send,
    Shutdown,
    StepDone,
    Stop,
    Streamed,
    TimeIsUp,
    TokenCancelled,
)
from wavebreak.messages.errors import SessionFailed, SystemClosed, WavebreakError
from wavebreak.messages.events import (
    CallEnded,
    CancellationHandled,
    DeliveryEnded,
    Event,
    ExecutionCancelled,
    MessageAccepted,
    MessageEnded,
    Said,
    Saved,
    SessionOpened,
    StepEnded,
    StopRequested,
    TurnEnded,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.ids import CallId
from wavebreak.messages.message import Reply
from wavebreak.messages.policies import AfterWave, Enqueue, Now, Policy
from wavebreak.messages.reasons import Backlog, CallStatus, DeliveryStatus, Effect, Reason

from .driving import Driver, call, done, opened

RECOVERING, IDLE, RUNNING, STOPPING, CLOSING, FAILED = Status


def session_in(status: Status) -> Driver:
    """Give a session in ``status`` in which every command has something to do.

    Turn 1 finished: its reply was not delivered yet, and one of its calls is unknown. Turn 2 has
    a deadline, and a call is open.
    """
    if status is RECOVERING:
        return Driver()
    driver = opened()
    driver.send("m1")
    (booking,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.report(done(booking, CallStatus.UNKNOWN), wave_done=1)
    driver.exit("reply")
    if status is IDLE:
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


COMMANDS: dict[type, Callable[[Driver], Command]] = {
    AfterWave: send(AfterWave()),
    Now: send(Now()),
    Enqueue: send(Enqueue()),
    Stop: lambda d: Stop(d.at, 99, AfterWave(), Backlog.KEEP, Reason.STOPPED, ""),
    TokenCancelled: lambda d: TokenCancelled(d.at, d.fence, "enough"),
    TimeIsUp: lambda d: TimeIsUp(d.at + 100.0),
    Progress: progress,
    StepDone: lambda d: StepDone(d.at, d.fence, "model", "words"),
    Say: lambda d: Say(d.at, d.fence, "one moment"),
    Save: lambda d: Save(d.at, d.fence, {"n": 1}),
    RuntimeExit: runtime_exit,
    DeliveryDone: delivery_done,
    Shutdown: lambda d: Shutdown(d.at, AfterWave()),
    Open: lambda d: Open(d.at, "uid"),
}


class Cell(NamedTuple):
    """What a command leads to in a status: the status after it, and what happened."""

    after: Status
    happened: tuple[type[Event], ...] = ()


CUT_SHORT = (ExecutionCancelled, CancellationHandled, TurnEnded)
WAVE_ENDS = (CallEnded, WaveEnded)

CELLS: dict[type, dict[Status, Cell | type[WavebreakError]]] = {
    AfterWave: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Now: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        STOPPING: Cell(STOPPING, (MessageAccepted, StopRequested)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Enqueue: {
        IDLE: Cell(RUNNING, (MessageAccepted, TurnStarted)),
        RUNNING: Cell(RUNNING, (MessageAccepted,)),
        STOPPING: Cell(STOPPING, (MessageAccepted,)),
        CLOSING: SystemClosed,
        FAILED: SessionFailed,
        RECOVERING: Cell(RECOVERING),
    },
    Stop: {
        IDLE: Cell(IDLE, (StopRequested,)),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING, (StopRequested,)),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    TokenCancelled: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    TimeIsUp: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(STOPPING, (StopRequested,)),
        STOPPING: Cell(STOPPING, (StopRequested,)),
        CLOSING: Cell(CLOSING, (StopRequested,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Progress: {
        IDLE: Cell(IDLE, (CallEnded,)),
        RUNNING: Cell(RUNNING, (*WAVE_ENDS, WaveStarted)),
        STOPPING: Cell(STOPPING, WAVE_ENDS),
        CLOSING: Cell(CLOSING, WAVE_ENDS),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    StepDone: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(RUNNING, (StepEnded,)),
        STOPPING: Cell(STOPPING, (StepEnded,)),
        CLOSING: Cell(CLOSING, (StepEnded,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Say: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(RUNNING, (Said,)),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Save: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(RUNNING, (Saved,)),
        STOPPING: Cell(STOPPING, (Saved,)),
        CLOSING: Cell(CLOSING, (Saved,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    RuntimeExit: {
        IDLE: Cell(IDLE, (CallEnded,)),
        RUNNING: Cell(IDLE, (*WAVE_ENDS, TurnEnded, MessageEnded)),
        STOPPING: Cell(RUNNING, (*WAVE_ENDS, *CUT_SHORT, TurnStarted)),
        CLOSING: Cell(CLOSING, (*WAVE_ENDS, *CUT_SHORT, MessageEnded)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    DeliveryDone: {
        IDLE: Cell(IDLE, (DeliveryEnded,)),
        RUNNING: Cell(RUNNING, (DeliveryEnded,)),
        STOPPING: Cell(STOPPING, (DeliveryEnded,)),
        CLOSING: Cell(CLOSING, (DeliveryEnded,)),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Shutdown: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(CLOSING, (StopRequested,)),
        STOPPING: Cell(CLOSING, (StopRequested,)),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(RECOVERING),
    },
    Open: {
        IDLE: Cell(IDLE),
        RUNNING: Cell(RUNNING),
        STOPPING: Cell(STOPPING),
        CLOSING: Cell(CLOSING),
        FAILED: Cell(FAILED),
        RECOVERING: Cell(IDLE, (SessionOpened,)),
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
