"""A session under random commands: what must hold whatever happens in whatever order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import TypeAdapter

from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.state import Rules, SessionState, Status, due
from wavebreak.messages.errors import MessageIdReused, SystemClosed
from wavebreak.messages.events import (
    AnyEvent,
    CallEnded,
    Entry,
    MessageAccepted,
    MessageEnded,
    Progressed,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.ids import Fence
from wavebreak.messages.policies import AfterWave, Enqueue, Now
from wavebreak.messages.reasons import Backlog, CallStatus, DeliveryStatus, Effect, TurnOutcome

from .driving import KEY, Driver, call, done

if TYPE_CHECKING:
    from wavebreak.messages.events import Event
    from wavebreak.messages.records import CallDone, CallStarted

EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(AnyEvent)
PROGRESS: Final = TypeAdapter(Progressed)

POLICIES = st.sampled_from((AfterWave(), AfterWave(patience=2.0), Now(), Now(grace=0.0), Enqueue()))
HOWS = st.sampled_from((AfterWave(), AfterWave(patience=2.0), Now(), Now(grace=0.0)))
MESSAGES = st.integers(0, 30).map(lambda number: f"m{number}")
SECONDS = st.sampled_from((0.0, 1.0, 5.0, 30.0))
NEW_CALLS = st.lists(
    st.builds(
        call,
        effect=st.sampled_from(Effect),
        protected_for=st.sampled_from((None, 8.0)),
    ),
    min_size=1,
    max_size=3,
)
READ_ENDS = st.sampled_from((CallStatus.COMPLETED, CallStatus.FAILED, CallStatus.CANCELLED))
OTHER_ENDS = st.sampled_from(
    (CallStatus.COMPLETED, CallStatus.FAILED, CallStatus.UNKNOWN, CallStatus.SKIPPED)
)


class Observer:
    """Watches the events as a stranger would, and holds them to what was promised."""

    def __init__(self) -> None:
        self.position = 0
        self.turn: int = 0
        self.attempt: int = 0
        self.runs = False
        self.accepted: set[str] = set()
        self.ended: set[str] = set()
        self.in_turn: tuple[str, ...] = ()
        self.open: dict[str, bool] = {}
        self.unknown: set[str] = set()
        self.deliveries: Counter[str] = Counter()

    def watch(self, event: Event) -> None:
        self.position += 1
        assert event.position == self.position
        assert (event.tenant, event.session_id) == KEY
        self._no_event_of_a_turn_that_has_ended(event)
        delivery = getattr(event, "delivery_id", None)
        if delivery is not None and not type(event).__name__.startswith("Delivery"):
            self.deliveries[delivery] += 1
            assert self.deliveries[delivery] == 1
        for kind, watch in self._WATCH.items():
            if isinstance(event, kind):
                watch(self, event)

    def _no_event_of_a_turn_that_has_ended(self, event: Event) -> None:
        after = isinstance(event, MessageEnded) or (isinstance(event, CallEnded) and event.late)
        if event.turn is not None and not after and not isinstance(event, TurnStarted):
            assert self.runs
            assert event.turn == self.turn
            assert getattr(event, "attempt", self.attempt) in {self.attempt, self.attempt + 1}

    def _accepted(self, event: MessageAccepted) -> None:
        assert event.message.message_id not in self.accepted
        self.accepted.add(event.message.message_id)

    def _ended(self, event: MessageEnded) -> None:
        assert event.message_id in self.accepted
        assert event.message_id not in self.ended
        self.ended.add(event.message_id)

    def _turn_started(self, event: TurnStarted) -> None:
        assert not self.runs
        assert event.turn == self.turn + 1
        assert event.message_ids
        assert self.accepted.issuperset(event.message_ids)
        assert self.ended.isdisjoint(event.message_ids)
        self.turn, self.attempt, self.runs = event.turn, 1, True
        self.in_turn = event.message_ids

    def _turn_restarted(self, event: TurnRestarted) -> None:
        assert not self.open
        assert event.attempt == self.attempt + 1
        self.attempt = event.attempt

    def _turn_ended(self, event: TurnEnded) -> None:
        assert not self.open
        self.runs = False
        finished = event.outcome is TurnOutcome.FINISHED
        assert finished == (event.reply is not None)
        assert finished == (event.partial_results is None)
        assert finished == (event.reason is None)

    def _wave_started(self, event: WaveStarted) -> None:
        assert event.attempt == self.attempt
        assert not self.open
        for each in event.calls:
            self.open[each.call_id] = each.effect is Effect.READ

    def _wave_ended(self, event: WaveEnded) -> None:
        assert event.attempt == self.attempt
        assert not self.open

    def _call_ended(self, event: CallEnded) -> None:
        if event.late:
            assert event.status in {CallStatus.COMPLETED, CallStatus.FAILED}
            self.unknown.remove(event.call_id)
            return
        is_read = self.open.pop(event.call_id)
        if event.status is CallStatus.UNKNOWN:
            assert not is_read
            self.unknown.add(event.call_id)

    _WATCH: Final[dict[type, Any]] = {
        MessageAccepted: _accepted,
        MessageEnded: _ended,
        TurnStarted: _turn_started,
        TurnRestarted: _turn_restarted,
        TurnEnded: _turn_ended,
        WaveStarted: _wave_started,
        WaveEnded: _wave_ended,
        CallEnded: _call_ended,
    }


class RandomSession(RuleBasedStateMachine):
    """Everything that can come to a session's machine, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.observer = Observer()
        self.folded = SessionState(KEY)
        self.entries = 0
        self.fences: list[Fence] = [Fence(0, 0, 0)]
        self.started: dict[str, CallStarted] = {}

    # --- what holds after every step ---

    @invariant()
    def what_was_promised(self) -> None:
        driver, observer = self.driver, self.observer
        news = driver.entries[self.entries :]
        self.entries = len(driver.entries)
        for entry in news:
            assert survives_json(entry)
        for event in driver.events[observer.position :]:
            observer.watch(event)
        self.folded = fold(self.folded, news)
        state = driver.state
        if state.status is not Status.RECOVERING:
            assert state == self.folded
        self._the_state_is_one_of_those_that_can_be()
        self._every_message_is_where_it_belongs()

    def _the_state_is_one_of_those_that_can_be(self) -> None:
        state, observer = self.driver.state, self.observer
        running = state.running
        assert (running is not None) == observer.runs
        assert state.turn == observer.turn
        assert state.position == observer.position
        if running is None:
            assert state.status in {Status.IDLE, Status.CLOSING, Status.RECOVERING}
            assert due(state) is None
            return
        assert (running.number, running.attempt) == (observer.turn, observer.attempt)
        assert {each.call_id for each in running.open} == set(observer.open)
        if state.status is not Status.RECOVERING:
            assert (running.stop is None) == (state.status is Status.RUNNING)
            assert state.status is not Status.IDLE
        assert running.stop is None or due(state) is not None

    def _every_message_is_where_it_belongs(self) -> None:
        state, observer = self.driver.state, self.observer
        ours = [each.message.message_id for each in state.running.messages] if state.running else []
        waiting = [each.message.message_id for each in state.waiting]
        assert Counter([*ours, *waiting]) == Counter(observer.accepted - observer.ended)
        if state.running is not None:
            assert tuple(ours) == observer.in_turn
        if state.status is Status.IDLE:
            assert waiting == []
        assert 0 <= state.batch <= len(waiting)
        for message_id in observer.accepted:
            outcome = state.remembered[message_id].outcome
            assert (outcome is not None) == (message_id in observer.ended)

    # --- what can come ---

    @initialize(survives=st.booleans(), delivers=st.booleans(), attempts=st.integers(1, 3))
    def open(self, survives: bool, delivers: bool, attempts: int) -> None:
        self.driver.rules = Rules(
            survives=survives, delivers=delivers, max_attempts=attempts, version="7"
        )
        self.driver.open()

    @rule(message=MESSAGES, policy=POLICIES, behind=st.integers(-3, 0), deadline=st.booleans())
    def send(self, message: str, policy: Any, behind: int, deadline: bool) -> None:
        driver = self.driver
        stamp = driver.stamp + 1 + behind
        try:
            driver.send(message, policy, stamp=stamp, deadline=20.0 if deadline else None)
        except SystemClosed:
            assert driver.state.status is Status.CLOSING

    @rule(message=MESSAGES)
    def use_an_id_for_something_else(self, message: str) -> None:
        known = message in self.driver.state.remembered
        if known:
            with pytest.raises(MessageIdReused):
                self.driver.send(message, fingerprint="another")

    @rule(how=HOWS, backlog=st.sampled_from(Backlog))
    def stop(self, how: Any, backlog: Backlog) -> None:
        before = self._stop()
        self.driver.stop(how, backlog)
        self._only_rises(before)

    def _stop(self) -> Any:
        running = self.driver.state.running
        return running.stop if running is not None else None

    def _only_rises(self, before: Any) -> None:
        after = self._stop()
        if before is None or self.driver.state.status is Status.CLOSING:
            return
        assert after.fenced >= before.fenced
        assert after.backlog is not None
        if after.fenced == before.fenced:
            assert after.until <= before.until

    @rule(old=st.booleans())
    def cancel_token(self, old: bool) -> None:
        self.driver.cancel_token(fence=self.fences[0] if old else None)

    @precondition(lambda self: self.driver.state.running and not self.driver.running.open)
    @rule(calls=NEW_CALLS, says_done=st.booleans())
    def begin_wave(self, calls: list[CallStarted], says_done: bool) -> None:
        driver = self.driver
        if says_done and driver.running.wave:
            driver.report(wave_done=driver.running.wave)
        for each in driver.begin_wave(*calls):
            self.started[each.call_id] = each

    @rule(calls=NEW_CALLS, which=st.integers(0, 20))
    def begin_wave_by_an_old_fence(self, calls: list[CallStarted], which: int) -> None:
        fence = self.fences[which % len(self.fences)]
        if fence != self.driver.fence:
            assert self.driver.report(wave=9, calls=tuple(calls), fence=fence) == []

    @precondition(lambda self: self.driver.state.running and self.driver.running.open)
    @rule(data=st.data())
    def end_calls(self, data: st.DataObject) -> None:
        self.driver.report(*self._some_ends(data))

    def _some_ends(self, data: st.DataObject) -> tuple[CallDone, ...]:
        running = self.driver.state.running
        open_calls = running.open if running is not None else ()
        if not open_calls:
            return ()
        some = data.draw(st.lists(st.sampled_from(open_calls), unique_by=lambda c: c.call_id))
        return tuple(
            done(each, data.draw(READ_ENDS if each.effect is Effect.READ else OTHER_ENDS))
            for each in some
        )

    @precondition(lambda self: self.started)
    @rule(data=st.data(), status=st.sampled_from(CallStatus))
    def end_a_call_late(self, data: st.DataObject, status: CallStatus) -> None:
        each = self.started[data.draw(st.sampled_from(sorted(self.started)))]
        turn, attempt, *_ = map(int, each.call_id.split("."))
        self.driver.report(
            done(each, status)._replace(late=True),
            fence=Fence(self.driver.fence.epoch, turn, attempt),
        )

    @rule(text=st.sampled_from(("one moment", "another")), old=st.booleans())
    def say_save_and_step(self, text: str, old: bool) -> None:
        fence = self.fences[0] if old else None
        self.driver.say(text, fence)
        self.driver.save({"text": text}, fence)
        self.driver.step(text, [text], fence)

    @precondition(lambda self: self.driver.state.running)
    @rule(
        data=st.data(), how=st.sampled_from(("reply", "nothing", "told", "error", "crash", "last"))
    )
    def exit(self, data: st.DataObject, how: str) -> None:
        ended = self._some_ends(data)
        options: dict[str, dict[str, Any]] = {
            "reply": {"reply": "done"},
            "nothing": {"reply": ""},
            "told": {},
            "error": {"cause": "ValueError"},
            "crash": {"cause": "SystemExit", "crashed": True, "retry_after": 0.0},
            "last": {"cause": "SystemExit", "crashed": True},
        }
        self.driver.exit(ended=ended, **options[how])

    @rule(which=st.integers(0, 20), reply=st.sampled_from((None, "done")))
    def exit_of_an_old_runtime(self, which: int, reply: str | None) -> None:
        fence = self.fences[which % len(self.fences)]
        if fence != self.driver.fence:
            assert self.driver.exit(reply, fence=fence) == []

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.driver.pass_time(seconds)

    @precondition(lambda self: due(self.driver.state) is not None)
    @rule()
    def the_timer_goes_off(self) -> None:
        assert self.driver.pass_time_until_due()

    @precondition(lambda self: self.driver.state.outbox)
    @rule(which=st.integers(0, 9), status=st.sampled_from(DeliveryStatus))
    def deliver(self, which: int, status: DeliveryStatus) -> None:
        outbox = self.driver.state.outbox
        self.driver.deliver(outbox[which % len(outbox)].delivery_id, status)

    @precondition(lambda self: self.driver.state.running)
    @rule(how=HOWS)
    def shut_down(self, how: Any) -> None:
        self.driver.shut_down(how)

    @rule()
    def crash_and_recover(self) -> None:
        self.fences.append(self.driver.fence)
        epoch = self.driver.state.epoch
        self.driver.crash_and_open()
        assert self.driver.state.epoch == epoch + 1

    @rule()
    def remember_the_fence(self) -> None:
        self.fences.append(self.driver.fence)

    # --- the end ---

    def teardown(self) -> None:
        """Come to rest: then every message has ended, exactly once."""
        driver = self.driver
        if driver.state.status is Status.RECOVERING:
            return
        if driver.state.status is Status.CLOSING:
            driver.crash_and_open()
        for _ in range(100):
            if driver.state.running is None:
                break
            driver.exit("done")
        self.what_was_promised()
        assert driver.state.status is Status.IDLE
        assert self.observer.accepted == self.observer.ended


def survives_json(entry: Entry) -> bool:
    """Hold what is journaled to its way through JSON and back."""
    if not isinstance(entry, Progressed):
        return bool(EVENTS.validate_json(entry.model_dump_json()) == entry)
    for event in entry.events(KEY):
        assert EVENTS.validate_json(event.model_dump_json()) == event
    return PROGRESS.validate_json(PROGRESS.dump_json(entry)) == entry


def test_a_session_keeps_its_promises_over_a_few_random_commands() -> None:
    run_state_machine_as_test(
        RandomSession, settings=settings(max_examples=15, stateful_step_count=15)
    )


@pytest.mark.slow
def test_a_session_keeps_its_promises_over_many_random_commands() -> None:
    run_state_machine_as_test(
        RandomSession,
        settings=settings(max_examples=settings().max_examples * 4, stateful_step_count=50),
    )
