"""A session that is forgotten, and what comes late of it."""

from __future__ import annotations

from wavebreak.actors.machine.state import SessionState, Status
from wavebreak.messages.commands import Progress
from wavebreak.messages.events import CallEnded, MessageEnded, SessionDeleted, TurnEnded
from wavebreak.messages.ids import Fence
from wavebreak.messages.policies import Enqueue, Now
from wavebreak.messages.reasons import CallStatus, Effect, MessageStatus, Reason, TurnOutcome

from .driving import Driver, call, done, opened


def test_every_message_ends_once_and_nothing_of_the_session_is_left() -> None:
    driver = opened()
    driver.send("a")
    driver.send("b", Enqueue())
    driver.send("c", Enqueue())
    happened = driver.delete()
    ends = [event for event in happened if isinstance(event, MessageEnded)]
    assert {end.reason for end in ends} == {Reason.DELETED}
    assert {end.status for end in ends} == {MessageStatus.CANCELLED}
    assert len(ends) == 3
    (turn,) = [event for event in happened if isinstance(event, TurnEnded)]
    assert (turn.outcome, turn.reason) == (TurnOutcome.STOPPED, Reason.DELETED)
    assert turn.partial_results is None
    assert turn.delivery_id is None
    assert isinstance(happened[-1], SessionDeleted)
    state = driver.state
    assert state == SessionState(
        state.key, state.position, epoch=state.epoch, remembered=state.remembered
    )


def _next_one(driver: Driver) -> Driver:
    """The session that begins where another was deleted."""
    floor = driver.state.position
    after = Driver()
    after.state = SessionState(driver.state.key, floor, epoch=floor, floor=floor)
    after.open()
    return after


def test_a_call_of_a_deleted_session_ends_none_of_the_next_that_has_its_id() -> None:
    driver = opened()
    driver.send("a")
    driver.begin_wave(call("book", Effect.ONCE))
    old = driver.fence
    driver.delete()
    driver = _next_one(driver)
    driver.send("a")
    (book,) = driver.begin_wave(call("book", Effect.ONCE))
    driver.stop(Now(grace=1))
    driver.pass_time_until_due()
    (unknown,) = driver.state.unknown
    assert unknown.status is CallStatus.UNKNOWN
    late = Progress(driver.at, old, (done(book)._replace(late=True),))
    assert driver.decide(late) == []
    assert driver.state.unknown == (unknown,)
    of_its_own = driver.decide(late._replace(fence=Fence(driver.state.epoch, 1, 1)))
    assert [type(event) for event in of_its_own] == [CallEnded]


def test_fences_of_a_deleted_session_are_below_those_of_the_next() -> None:
    driver = opened()
    driver.send("a")
    old = driver.fence
    driver.delete()
    driver = _next_one(driver)
    driver.send("a")
    assert driver.state.status is Status.RUNNING
    assert driver.fence.epoch > old.epoch
    assert not driver.state.is_current(old)
