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
from wavebreak.actors.machine.stored import StateForm
from wavebreak.journal.counting import more_unfinished, scheduled_by
from wavebreak.messages.entries import Entry, Progressed
from wavebreak.messages.errors import (
    MailboxFull,
    MessageIdReused,
    MessageRejected,
    SystemClosed,
)
from wavebreak.messages.events import (
    AnyEvent,
    CallEnded,
    CompensationEnded,
    CompensationStarted,
    CourtesySaid,
    Heard,
    MessageAccepted,
    MessageDue,
    MessageEnded,
    MessagesTaken,
    RollbackStarted,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from wavebreak.messages.history import HistoryKind
from wavebreak.messages.ids import Fence
from wavebreak.messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Debounce,
    Enqueue,
    Now,
    Reject,
    Rollback,
    Steer,
)
from wavebreak.messages.reasons import (
    Backlog,
    CallStatus,
    DeliveryStatus,
    Effect,
    Overflow,
    TurnOutcome,
)

from .driving import KEY, Driver, call, done

if TYPE_CHECKING:
    from wavebreak.messages.events import Event
    from wavebreak.messages.records import CallDone, CallStarted

EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(AnyEvent)
PROGRESS: Final = TypeAdapter(Progressed)
FORM: Final = StateForm({})

POLICIES = st.sampled_from(
    (
        AfterWave(),
        AfterWave(patience=2.0),
        Now(),
        Now(grace=0.0),
        Rollback(),
        Enqueue(),
        Steer(),
        Collect(),
        Reject(),
        Aside(),
    )
)
HOWS = st.sampled_from((AfterWave(), AfterWave(patience=2.0), Now(), Now(grace=0.0)))
OPTIONS = st.fixed_dictionaries(
    {
        "behind": st.integers(-3, 0),
        "deadline": st.booleans(),
        "priority": st.sampled_from((0, 0, 1, -1)),
    }
)
SECONDS = st.sampled_from((0.0, 1.0, 5.0, 30.0))
NEW_CALLS = st.lists(
    st.builds(
        call,
        effect=st.sampled_from(Effect),
        protected_for=st.sampled_from((None, 8.0)),
        compensated=st.booleans(),
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
        self.scheduled: set[str] = set()
        self.came_due: set[str] = set()
        self.ended: set[str] = set()
        self.in_turn: tuple[str, ...] = ()
        self.open: dict[str, bool] = {}
        self.unknown: set[str] = set()
        self.deliveries: Counter[str] = Counter()
        self.undoing: list[str] | None = None

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
        after = isinstance(event, MessageEnded | CourtesySaid | Heard)
        after = after or (isinstance(event, CallEnded) and event.late)
        if event.turn is not None and not after and not isinstance(event, TurnStarted):
            assert self.runs
            assert event.turn == self.turn
            assert getattr(event, "attempt", self.attempt) in {self.attempt, self.attempt + 1}

    def _accepted(self, event: MessageAccepted) -> None:
        assert event.message.message_id not in self.accepted
        self.accepted.add(event.message.message_id)
        if event.due_at is not None:
            self.scheduled.add(event.message.message_id)

    def _ended(self, event: MessageEnded) -> None:
        assert event.message_id in self.accepted
        assert event.message_id not in self.ended
        self.ended.add(event.message_id)

    def _came_due(self, event: MessageDue) -> None:
        assert event.message_id in self.accepted
        assert event.message_id not in self.ended
        assert event.message_id not in self.came_due
        self.came_due.add(event.message_id)

    def _turn_started(self, event: TurnStarted) -> None:
        assert not self.runs
        assert event.turn == self.turn + 1
        assert event.message_ids
        assert self.accepted.issuperset(event.message_ids)
        assert self.ended.isdisjoint(event.message_ids)
        self.turn, self.attempt, self.runs = event.turn, 1, True
        self.in_turn = event.message_ids

    def _taken(self, event: MessagesTaken) -> None:
        assert event.attempt == self.attempt
        assert self.accepted.issuperset(event.message_ids)
        assert self.ended.isdisjoint((*self.in_turn, *event.message_ids))
        assert set(self.in_turn).isdisjoint(event.message_ids)
        self.in_turn += event.message_ids

    def _turn_restarted(self, event: TurnRestarted) -> None:
        assert not self.open
        assert event.attempt == self.attempt + 1
        self.attempt = event.attempt

    def _turn_ended(self, event: TurnEnded) -> None:
        assert not self.open
        self.runs = False
        finished = event.outcome is TurnOutcome.FINISHED
        undone = event.outcome in {TurnOutcome.ROLLED_BACK, TurnOutcome.ROLLBACK_FAILED}
        assert undone == (self.undoing is not None)
        assert not self.undoing, "every call of it was undone, or could not be"
        self.undoing = None
        assert finished == (event.reply is not None)
        assert (finished or undone) == (event.partial_results is None)
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

    def _rollback_started(self, event: RollbackStarted) -> None:
        assert not self.open
        assert self.undoing is None
        self.undoing = [*event.calls]
        assert len(set(self.undoing)) == len(self.undoing)

    def _compensation_started(self, event: CompensationStarted) -> None:
        assert self.undoing
        assert event.call_id == self.undoing[0]

    def _compensation_ended(self, event: CompensationEnded) -> None:
        assert self.undoing
        assert event.call_id == self.undoing.pop(0)
        if event.status is not CallStatus.COMPLETED:
            self.unknown.add(event.call_id)  # it was done, and somebody has tried to undo it

    _WATCH: Final[dict[type, Any]] = {
        MessageAccepted: _accepted,
        MessageDue: _came_due,
        MessageEnded: _ended,
        TurnStarted: _turn_started,
        MessagesTaken: _taken,
        TurnRestarted: _turn_restarted,
        TurnEnded: _turn_ended,
        WaveStarted: _wave_started,
        WaveEnded: _wave_ended,
        CallEnded: _call_ended,
        RollbackStarted: _rollback_started,
        CompensationStarted: _compensation_started,
        CompensationEnded: _compensation_ended,
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
        self.sent = 0

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
        self._the_history_is_well_formed()
        self._the_state_is_one_of_those_that_can_be()
        self._every_message_is_where_it_belongs()

    @invariant()
    def what_was_written_can_be_gone_on_from(self) -> None:
        driver, state = self.driver, self.driver.state
        assert FORM.load(FORM.dump(state)) == state
        left = len(self.observer.accepted - self.observer.ended) + len(state.outbox)
        left -= len(state.scheduled)
        assert more_unfinished(driver.entries) == left, "so it is started when a process begins"
        noted: dict[int, float | None] = {}
        for position, at in scheduled_by(driver.entries):
            assert (position in noted) == (at is None)
            noted[position] = at
        left_due = {position: at for position, at in noted.items() if at is not None}
        assert left_due == {one.accepted: one.due_at for one in state.scheduled}, "and woken"

    def _the_state_is_one_of_those_that_can_be(self) -> None:
        state, observer = self.driver.state, self.observer
        running = state.running
        assert (running is not None) == observer.runs
        assert state.turn == observer.turn
        assert state.position == observer.position
        if running is None:
            free = {Status.IDLE, Status.COLLECTING, Status.CLOSING, Status.RECOVERING}
            assert state.status in free
            collects = state.status is Status.COLLECTING
            assert collects == (state.window is not None) == (due(state) is not None)
            assert collects <= bool(state.waiting)
            return
        assert (running.number, running.attempt) == (observer.turn, observer.attempt)
        assert {each.call_id for each in running.open} == set(observer.open)
        if state.status is not Status.RECOVERING:
            assert (running.stop is None) == (state.status is Status.RUNNING)
            assert state.status not in {Status.IDLE, Status.COLLECTING}
        assert state.window is None
        assert (state.undoing is not None) == (observer.undoing is not None)
        assert running.stop is None or state.undoing is not None or due(state) is not None

    def _the_history_is_well_formed(self) -> None:
        driver = self.driver
        if driver.state.status is Status.RECOVERING:
            return
        told: Counter[str] = Counter()
        calls: Counter[str] = Counter()
        results: Counter[str] = Counter()
        for entry in driver.read(10_000, all_=True):
            if entry.message is not None:
                told[entry.message.message_id] += 1
            elif entry.call is not None:
                kind = calls if entry.kind is HistoryKind.CALL else results
                kind[entry.call.call_id] += 1
                assert calls[entry.call.call_id] >= results[entry.call.call_id]
            else:
                assert entry.text.strip()
        assert set(told.values()) <= {1}
        assert calls == results
        assert set(calls.values()) <= {1}
        running = driver.state.running
        ours = running.messages if running is not None else ()
        assert told.keys() >= {one.message.message_id for one in ours}
        answered = {m for m in self.observer.ended if driver.ended(m) == "answered"}
        assert told.keys() >= answered

    def _every_message_is_where_it_belongs(self) -> None:
        state, observer = self.driver.state, self.observer
        ours = [each.message.message_id for each in state.running.messages] if state.running else []
        waiting = [each.message.message_id for each in state.unanswered]
        scheduled = [each.message.message_id for each in state.scheduled]
        left = observer.accepted - observer.ended
        assert Counter([*ours, *waiting, *scheduled]) == Counter(left)
        assert set(scheduled) == (observer.scheduled - observer.came_due) & left
        assert [one.due_at for one in state.scheduled] == sorted(o.due_at for o in state.scheduled)
        assert len(scheduled) <= self.driver.rules.capacity
        if state.running is not None:
            assert set(ours) == set(observer.in_turn)
            assert len(ours) == len(observer.in_turn)
            order = [each.admitted for each in state.running.messages]
            assert order == sorted(order)
        if state.status is Status.IDLE:
            assert not state.waiting
        assert 0 <= state.batch <= len(state.waiting)
        count = [each for each in (*state.waiting, *state.parked) if not each.was_in_turn]
        # What is due has room, though the session be full.
        room = self.driver.rules.capacity
        if self.driver.rules.overflow is Overflow.REJECT:
            room += len(observer.came_due)
        assert len(count) + len(state.asides[1:]) <= room
        expiries = [each.expires_at for each in state.waiting if each.expires_at is not None]
        assert state.expires_at == min(expiries, default=None)
        assert all(at >= self.driver.at for at in expiries) or state.status is Status.CLOSING
        for message_id in observer.accepted:
            outcome = state.remembered[message_id].outcome
            assert (outcome is not None) == (message_id in observer.ended)

    # --- what can come ---

    @initialize(
        rules=st.builds(
            Rules,
            survives=st.booleans(),
            delivers=st.booleans(),
            max_attempts=st.integers(1, 3),
            version=st.just("7"),
            aside=st.booleans(),
            debounce=st.sampled_from((None, Debounce(1.0, 5.0))),
            capacity=st.sampled_from((2, 10_000)),
            overflow=st.sampled_from(Overflow),
            expires_after=st.sampled_from((None, 4.0)),
            turn_deadline=st.sampled_from((None, 40.0)),
            courteous=st.just(True),
            notify_after=st.sampled_from((None, 30.0)),
            notify_times=st.just(2),
        )
    )
    def open(self, rules: Rules) -> None:
        self.driver.rules = rules
        self.driver.courtesy = lambda kind, turn: "" if turn % 3 == 0 else f"{kind} {turn}"
        self.driver.open()

    @rule(options=OPTIONS, policy=POLICIES)
    def send(self, options: dict[str, Any], policy: Any) -> None:
        self.sent += 1
        self._send(f"m{self.sent}", policy, **options)

    @precondition(lambda self: self.driver.state.running)
    @rule(options=OPTIONS, policy=st.sampled_from((Steer(), Collect(), Enqueue(), Aside())))
    def send_beside_a_turn(self, options: dict[str, Any], policy: Any) -> None:
        self.sent += 1
        self._send(f"m{self.sent}", policy, **options)

    @precondition(lambda self: self.sent)
    @rule(options=OPTIONS, policy=POLICIES, which=st.integers(0, 99))
    def send_again(self, options: dict[str, Any], policy: Any, which: int) -> None:
        self._send(self._one_of_all(which), policy, **options)

    def _one_of_all(self, which: int) -> str:
        return f"m{1 + which % self.sent}"

    def _send(self, message: str, policy: Any, behind: int, deadline: bool, priority: int) -> None:
        driver = self.driver
        stamp = driver.stamp + 1 + behind
        known = message in driver.state.remembered
        try:
            driver.send(
                message,
                policy,
                stamp=stamp,
                deadline=20.0 if deadline else None,
                priority=priority,
            )
        except SystemClosed:
            assert driver.state.status is Status.CLOSING
        except MailboxFull:
            assert driver.rules.overflow is Overflow.REJECT
            assert len(driver.state.unanswered) >= driver.rules.capacity
        except MessageRejected:
            assert isinstance(policy, Reject)
        else:
            assert message in driver.state.remembered
            return
        assert not known
        assert message not in driver.state.remembered

    @rule(
        after=st.sampled_from((0.0, 2.0, 60.0)),
        policy=st.one_of(st.none(), POLICIES),
        again=st.booleans(),
        deadline=st.sampled_from((None, 20.0)),
    )
    def schedule(self, after: float, policy: Any, again: bool, deadline: float | None) -> None:
        driver = self.driver
        if not again or not self.sent:
            self.sent += 1
        message = f"m{self.sent}"
        known = message in driver.state.remembered
        try:
            happened = driver.schedule(message, after, policy, deadline=deadline)
        except SystemClosed:
            assert driver.state.status is Status.CLOSING
        except MailboxFull:
            assert len(driver.state.scheduled) >= driver.rules.capacity
        else:
            assert bool(happened) != known

    @precondition(lambda self: self.sent and self.driver.state.scheduled)
    @rule(data=st.data(), policy=POLICIES, late=SECONDS)
    def let_in(self, data: st.DataObject, policy: Any, late: float) -> None:
        driver = self.driver
        one = driver.state.scheduled[0]
        if driver.state.status is not Status.IDLE:
            driver.pass_time(max(0.0, one.due_at - driver.at) + late)
        else:
            driver.at = max(driver.at, one.due_at) + late
        message = one.message.message_id
        if message in driver.scheduled:  # else it ended with the session meanwhile
            happened = driver.let_in(message, policy)
            assert happened or driver.state.status is Status.CLOSING
        assert driver.let_in(message, policy) == [] or driver.state.status is Status.CLOSING

    @precondition(lambda self: self.driver.state.scheduled)
    @rule(data=st.data(), text=st.sampled_from(("other words", "")))
    def change_what_is_scheduled(self, data: st.DataObject, text: str) -> None:
        message = data.draw(st.sampled_from(self.driver.scheduled))
        if text:
            assert self.driver.edit(message, text)
            (one,) = [o for o in self.driver.state.scheduled if o.message.message_id == message]
            assert one.message.as_text() == text
        else:
            assert self.driver.withdraw(message)
            assert self.driver.ended(message) == "cancelled withdrawn"

    @precondition(lambda self: self.driver.state.parked or self.driver.state.running)
    @rule()
    def resume(self) -> None:
        try:
            self.driver.resume()
        except SystemClosed:
            assert self.driver.state.status is Status.CLOSING
        else:
            assert self.driver.state.parked == ()

    @precondition(lambda self: self.driver.state.unanswered)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        message = self._one_that_waits(data)
        assert self.driver.withdraw(message)
        assert self.driver.ended(message) == "cancelled withdrawn"

    def _one_that_waits(self, data: st.DataObject) -> str:
        waiting = self.driver.state.unanswered
        return str(data.draw(st.sampled_from([each.message.message_id for each in waiting])))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 99))
    def withdraw_any(self, which: int) -> None:
        message = self._one_of_all(which)
        if self.driver.withdraw(message):
            assert self.driver.ended(message) == "cancelled withdrawn"

    @precondition(lambda self: self.driver.state.unanswered)
    @rule(data=st.data(), text=st.sampled_from(("other words", "others still")))
    def edit(self, data: st.DataObject, text: str) -> None:
        message = self._one_that_waits(data)
        happened = self.driver.edit(message, text)
        texts = [
            each.message.as_text()
            for each in self.driver.state.unanswered
            if each.message.message_id == message
        ]
        assert texts == [text] or not happened

    @precondition(lambda self: self.driver.state.running)
    @rule(old=st.booleans())
    def take(self, old: bool) -> None:
        happened = self.driver.take(self.fences[0] if old else None)
        assert not (old and happened)

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 99), error=st.sampled_from(("", "ValueError")))
    def answer_aside(self, which: int, error: str) -> None:
        asides = self.driver.asides
        message = asides[0] if asides and which % 2 else self._one_of_all(which)
        is_aside = message in self.driver.asides
        assert bool(self.driver.answer_aside(message, error=error)) == is_aside

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 99))
    def use_an_id_for_something_else(self, which: int) -> None:
        message = self._one_of_all(which)
        known = message in self.driver.state.remembered
        if known:
            with pytest.raises(MessageIdReused):
                self.driver.send(message, fingerprint="another")

    @precondition(lambda self: self.sent)
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

    @rule(grace=st.sampled_from((0.0, 5.0)))
    def roll_back(self, grace: float) -> None:
        self.driver.roll_back(grace)

    @precondition(lambda self: self.driver.state.undoing)
    @rule(error=st.sampled_from(("", "gone")))
    def compensate(self, error: str) -> None:
        if self.driver.state.status is not Status.RECOVERING:
            assert self.driver.compensate(error=error)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def compensate_what_nobody_asked_for(self, data: st.DataObject) -> None:
        call_id = self.started[data.draw(st.sampled_from(sorted(self.started)))].call_id
        undoing = self.driver.state.undoing
        if undoing is None or undoing.left[0].call_id != call_id:
            assert self.driver.compensate(call_id) == []

    @precondition(lambda self: self.driver.state.running)
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

    @precondition(lambda self: self.driver.state.turn)
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

    @precondition(lambda self: self.sent)
    @rule(text=st.sampled_from(("one moment", "another")), old=st.booleans())
    def say_save_and_step(self, text: str, old: bool) -> None:
        fence = self.fences[0] if old else None
        self.driver.say(text, fence)
        self.driver.save({"text": text}, fence)
        self.driver.step(text, [text], fence)

    @precondition(lambda self: self.driver.state.turn)
    @rule(back=st.integers(0, 3), characters=st.integers(0, 12))
    def hear(self, back: int, characters: int) -> None:
        self.driver.heard(max(1, self.driver.state.turn - back), characters)

    @rule(text=st.sampled_from(("", "I have found")))
    def stream(self, text: str) -> None:
        self.driver.streamed = text

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

    @precondition(lambda self: self.driver.state.turn)
    @rule(which=st.integers(0, 20), reply=st.sampled_from((None, "done")))
    def exit_of_an_old_runtime(self, which: int, reply: str | None) -> None:
        fence = self.fences[which % len(self.fences)]
        if fence != self.driver.fence:
            assert self.driver.exit(reply, fence=fence) == []

    @precondition(lambda self: self.driver.state.status is not Status.IDLE)
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

    @precondition(lambda self: self.driver.state.epoch <= self.driver.state.turn)
    @rule()
    def crash_and_recover(self) -> None:
        self.fences.append(self.driver.fence)
        epoch = self.driver.state.epoch
        self.driver.crash_and_open()
        assert self.driver.state.epoch == epoch + 1

    @precondition(lambda self: self.driver.state.running)
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
        for message in driver.asides:
            driver.answer_aside(message)
        driver.resume()
        for one in driver.state.scheduled:
            driver.at = max(driver.at, one.due_at)
            driver.let_in(one.message.message_id, Enqueue())
        for message in driver.asides:
            driver.answer_aside(message)
        for _ in range(200):
            if driver.state.status is Status.COLLECTING:
                driver.pass_time_until_due()
            if driver.state.running is None:
                break
            if driver.state.undoing is not None:
                driver.compensate()
            else:
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
@pytest.mark.timeout(0)
def test_a_session_keeps_its_promises_over_many_random_commands(
    pytestconfig: pytest.Config,
) -> None:
    steps = pytestconfig.getoption("machine_steps")
    assert isinstance(steps, int)
    run_state_machine_as_test(
        RandomSession,
        settings=settings(max_examples=max(1, steps // 50), stateful_step_count=50),
    )
