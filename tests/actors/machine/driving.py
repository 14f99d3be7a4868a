"""A session's machine driven by hand: one method for each command, and all that came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wavebreak.actors.machine.courtesy import notice_due
from wavebreak.actors.machine.draft import Decision
from wavebreak.actors.machine.evolve import fold
from wavebreak.actors.machine.history import unanswered
from wavebreak.actors.machine.reading import readable
from wavebreak.actors.machine.reports import advance
from wavebreak.actors.machine.state import Rules, Running, SessionState, Status, due
from wavebreak.actors.machine.table import decide
from wavebreak.messages.commands import (
    AsideDone,
    Command,
    CompensationDone,
    Courtesy,
    Delete,
    DeliveryDone,
    Due,
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
    Take,
    TimeIsUp,
    TokenCancelled,
    UndoTurn,
    Withdraw,
)
from wavebreak.messages.entries import Entry, Progressed
from wavebreak.messages.events import Event, TurnEnded
from wavebreak.messages.history import HistoryEntry
from wavebreak.messages.ids import (
    CallId,
    DeliveryId,
    Fence,
    IdempotencyKey,
    SessionKey,
    idempotency_key,
)
from wavebreak.messages.message import MessageOutcome, Reply, UserMessage
from wavebreak.messages.policies import AfterWave, Debounce, How, Policy
from wavebreak.messages.reasons import (
    Backlog,
    CallStatus,
    CourtesyKind,
    DeliveryStatus,
    Effect,
    Reason,
)
from wavebreak.messages.records import CallDone, CallError, CallStarted

KEY = SessionKey("acme", "s1")
START = 1000.0
LASTING = Rules(survives=True)
COLLECTS = Rules(debounce=Debounce(quiet=2.0, max_wait=10.0))
AFTER_WAVE = AfterWave()


def call(
    tool: str = "search",
    effect: Effect = Effect.READ,
    *,
    arguments: dict[str, Any] | None = None,
    protected_for: float | None = None,
    key: str = "",
    answered_from: CallId | None = None,
    compensated: bool = False,
) -> CallStarted:
    """Describe a call; its ids follow when a wave begins with it."""
    return CallStarted(
        call_id=CallId(""),
        tool=tool,
        version="",
        arguments=arguments or {},
        effect=effect,
        protected=protected_for is not None,
        timeout=protected_for,
        carry=True,
        idempotency_key=IdempotencyKey(key),
        answered_from=answered_from,
        compensated=compensated,
    )


def done(
    started: CallStarted,
    status: CallStatus = CallStatus.COMPLETED,
    result: Any = None,
    error: CallError | None = None,
) -> CallDone:
    """Say how a call ended."""
    wave = int(started.call_id.split(".")[2])
    return CallDone(
        wave, started.call_id, started.tool, status, result, error, started.answered_from
    )


Move = Callable[["Driver"], object]
"""Something that a test does to a session."""


class Driver:
    """One session, its clock, and everything that happened in it.

    Args:
        rules: the machine's settings.
    """

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008  it is immutable
        self.rules = rules
        self.state = SessionState(KEY)
        self.entries: list[Entry] = []
        self.events: list[Event] = []
        self.history: list[HistoryEntry] = []
        self.at = START
        self.stamp = 0
        self.cells: set[tuple[type, Status]] = set()
        self.streamed = ""
        self.courtesy: Callable[[CourtesyKind, int], str] | None = None
        self.wishes: list[tuple[CourtesyKind, int]] = []

    # --- what is asked of it ---

    def decide(self, command: Command) -> list[Event]:
        """Let the machine decide, and check that the state is the fold of what happened."""
        row = type(command.policy) if isinstance(command, Send) else type(command)
        self.cells.add((row, self.state.status))
        decision = self._with_courtesy(
            decide(self.state, command, self.rules, self.streamed), command.at
        )
        assert decision.state == fold(self.state, decision.entries)
        assert all(entry.span for entry in decision.entries if isinstance(entry, Progressed))
        fast = advance(self.state, command) if isinstance(command, Progress) else None
        assert fast is None or fast == (decision.state, decision.entries[0])
        events = [event for entry in decision.entries for event in events_of(entry)]
        positions = range(self.state.position + 1, decision.state.position + 1)
        assert [event.position for event in events] == list(positions)
        self.state = decision.state
        self.entries += decision.entries
        self.events += events
        self.history += decision.history
        return events

    def _with_courtesy(self, decision: Decision, at: float) -> Decision:
        """Give the session its own words, as the actor does: in one with what they are about."""
        state, entries, history, wishes = decision
        for kind, turn in wishes:
            self.wishes.append((kind, turn))
            text = "" if self.courtesy is None else self.courtesy(kind, turn)
            said = decide(state, Courtesy(at, kind, turn, text), self.rules)
            state, entries = said.state, [*entries, *said.entries]
            history = (*history, *said.history)
        return Decision(state, entries, history)

    def heard(self, turn: int, characters: int) -> list[Event]:
        return self.decide(Heard(self.at, turn, characters))

    def read(self, limit: int = 1000, *, all_: bool = False) -> list[HistoryEntry]:
        """The history as it is shown; with what is unanswered too."""
        tail = unanswered(self.state, self.streamed, self.at) if all_ else ()
        return list(readable((*self.history, *tail), limit).entries)

    def open(self, above: int = 0) -> list[Event]:
        return self.decide(Open(self.at, "uid", above))

    def crash_and_open(self, above: int = 0) -> list[Event]:
        """Lose the incarnation, fold the journal, and let the next one take over.

        Args:
            above: the last epoch that was in use in this process, if it is the same one.
        """
        state = fold(SessionState(KEY), self.entries)
        self.state = state._replace(status=Status.RECOVERING)
        return self.open(above)

    def message(
        self,
        message_id: str,
        policy: Policy = AFTER_WAVE,
        *,
        stamp: int | None = None,
        sender: str | None = None,
        deadline: float | None = None,
        fingerprint: str = "",
        priority: int = 0,
    ) -> Send:
        self.stamp += 1
        return Send(
            self.at,
            self.stamp if stamp is None else stamp,
            UserMessage(
                message_id=message_id,
                sender=sender,
                text=f"text of {message_id}",
                received_at=self.at,
            ),
            policy,
            None if deadline is None else self.at + deadline,
            fingerprint or f"fingerprint of {message_id}",
            priority,
        )

    def send(self, message_id: str, policy: Policy = AFTER_WAVE, **options: Any) -> list[Event]:
        return self.decide(self.message(message_id, policy, **options))

    def scheduling(
        self,
        message_id: str,
        after: float = 60.0,
        policy: Policy | None = None,
        *,
        deadline: float | None = None,
        fingerprint: str = "",
        priority: int = 0,
    ) -> Schedule:
        return Schedule(
            self.at,
            UserMessage(message_id=message_id, text=f"text of {message_id}"),
            policy or AFTER_WAVE,
            policy is None,
            self.at + after,
            None if deadline is None else self.at + after + deadline,
            fingerprint or f"fingerprint of {message_id}",
            priority,
        )

    def schedule(
        self, message_id: str, after: float = 60.0, policy: Policy | None = None, **options: Any
    ) -> list[Event]:
        return self.decide(self.scheduling(message_id, after, policy, **options))

    def let_in(self, message_id: str, policy: Policy = AFTER_WAVE) -> list[Event]:
        """The time of a scheduled message has come."""
        message = UserMessage(message_id=message_id, text="it is told by its id")
        return self.decide(Due(self.at, 0, message, policy, None, ""))

    def stop(
        self,
        how: How = AFTER_WAVE,
        backlog: Backlog = Backlog.KEEP,
        *,
        reason: Reason = Reason.STOPPED,
        detail: str = "",
    ) -> list[Event]:
        self.stamp += 1
        return self.decide(Stop(self.at, self.stamp, how, backlog, reason, detail))

    def resume(self) -> list[Event]:
        return self.decide(Resume(self.at))

    def withdraw(self, message_id: str) -> list[Event]:
        return self.decide(Withdraw(self.at, message_id))

    def edit(self, message_id: str, text: str) -> list[Event]:
        return self.decide(Edit(self.at, message_id, text))

    def take(self, fence: Fence | None = None) -> list[Event]:
        return self.decide(Take(self.at, fence or self.fence))

    def answer_aside(self, message_id: str, text: str = "here", error: str = "") -> list[Event]:
        return self.decide(AsideDone(self.at, message_id, text, error))

    def roll_back(self, grace: float = 5.0, detail: str = "") -> list[Event]:
        return self.decide(UndoTurn(self.at, grace, detail))

    def compensate(self, call_id: CallId | None = None, error: str = "") -> list[Event]:
        """Let the call that is being undone be undone, or fail to be."""
        undoing = self.state.undoing
        assert call_id or undoing, "nothing is being undone"
        ours = call_id or (undoing.left[0].call_id if undoing else CallId(""))
        key = undoing.left[0].idempotency_key if undoing else IdempotencyKey("")
        kept = CallError(type="OSError", message=error) if error else None
        return self.decide(CompensationDone(self.at, ours, kept, key))

    def delete(self, grace: float = 5.0) -> list[Event]:
        return self.decide(Delete(self.at, grace))

    def cancel_token(self, detail: str = "", fence: Fence | None = None) -> list[Event]:
        return self.decide(TokenCancelled(self.at, fence or self.fence, detail))

    def shut_down(self, how: How = AFTER_WAVE) -> list[Event]:
        return self.decide(Shutdown(self.at, how))

    def pass_time(self, seconds: float) -> list[Event]:
        self.at += seconds
        return self.decide(TimeIsUp(self.at))

    def pass_time_until_due(self) -> list[Event]:
        """Do what the actor's timer does."""
        times = (due(self.state), notice_due(self.state, self.rules))
        waited_for = [when for when in times if when is not None]
        assert waited_for, "nothing is waited for"
        return self.pass_time(max(0.0, min(waited_for) - self.at))

    # --- what the runtime reports ---

    def report(
        self,
        *ended: CallDone,
        wave_done: int = 0,
        wave: int = 0,
        calls: tuple[CallStarted, ...] = (),
        fence: Fence | None = None,
    ) -> list[Event]:
        return self.decide(Progress(self.at, fence or self.fence, ended, wave_done, wave, calls))

    def begin_wave(self, *calls: CallStarted) -> tuple[CallStarted, ...]:
        """Begin the running turn's next wave; the calls with their ids."""
        running = self.running
        wave = running.wave + 1
        ours = [
            self._named(each, CallId(f"{running.number}.{running.attempt}.{wave}.{place}"))
            for place, each in enumerate(calls, 1)
        ]
        self.report(wave=wave, calls=tuple(ours))
        return tuple(ours)

    def _named(self, given: CallStarted, call_id: CallId) -> CallStarted:
        key = given.idempotency_key or idempotency_key(self.state.uid, call_id)
        return given._replace(call_id=call_id, idempotency_key=key)

    def run_wave(self, *calls: CallStarted) -> tuple[CallStarted, ...]:
        """Begin a wave, of which every call completes."""
        ours = self.begin_wave(*calls)
        self.report(
            *(done(each, result=f"result of {each.call_id}") for each in ours),
            wave_done=self.running.wave,
        )
        return ours

    def step(self, key: str, result: Any, fence: Fence | None = None) -> list[Event]:
        return self.decide(StepDone(self.at, fence or self.fence, key, result))

    def say(self, text: str, fence: Fence | None = None) -> list[Event]:
        return self.decide(Say(self.at, fence or self.fence, text))

    def save(self, saved: Any, fence: Fence | None = None) -> list[Event]:
        return self.decide(Save(self.at, fence or self.fence, saved))

    def exit(
        self,
        reply: str | Reply | None = None,
        *,
        cause: str = "",
        crashed: bool = False,
        retry_after: float | None = None,
        fence: Fence | None = None,
        ended: tuple[CallDone, ...] = (),
        total_waves: int | None = None,
    ) -> list[Event]:
        """Let the runtime end: with a reply, by a cause, or because it was told to."""
        ours = fence or self.fence
        given = Reply(text=reply) if isinstance(reply, str) else reply
        return self.decide(
            RuntimeExit(
                self.at,
                ours,
                given,
                given is None and not cause,
                cause,
                crashed,
                retry_after,
                Progress(self.at, ours, ended) if ended else None,
                total_waves,
            )
        )

    def crash(self, retry_after: float | None = 0.0) -> list[Event]:
        return self.exit(cause="SystemExit: 1", crashed=True, retry_after=retry_after)

    def deliver(
        self, delivery_id: DeliveryId, status: DeliveryStatus = DeliveryStatus.DELIVERED
    ) -> list[Event]:
        return self.decide(DeliveryDone(self.at, delivery_id, status, ""))

    # --- what came of it ---

    @property
    def fence(self) -> Fence:
        return self.state.fence

    @property
    def running(self) -> Running:
        assert self.state.running is not None, "no turn runs"
        return self.state.running

    @property
    def in_turn(self) -> list[str]:
        """The messages of the running turn."""
        return [each.message.message_id for each in self.running.messages]

    @property
    def waiting(self) -> list[str]:
        return [each.message.message_id for each in self.state.waiting]

    @property
    def parked(self) -> list[str]:
        return [each.message.message_id for each in self.state.parked]

    @property
    def asides(self) -> list[str]:
        return [each.message.message_id for each in self.state.asides]

    @property
    def scheduled(self) -> list[str]:
        return [each.message.message_id for each in self.state.scheduled]

    def outcome(self, message_id: str) -> MessageOutcome | None:
        return self.state.remembered[message_id].outcome

    def ended(self, message_id: str) -> str:
        """How a message ended, and why, in words; empty when it has not."""
        outcome = self.outcome(message_id)
        if outcome is None:
            return ""
        return f"{outcome.status} {outcome.reason}" if outcome.reason else str(outcome.status)

    @property
    def turn_ends(self) -> list[str]:
        """How each turn so far has ended."""
        return [
            f"{event.turn} {event.outcome} {event.reason}"
            if event.reason
            else f"{event.turn} {event.outcome}"
            for event in self.events
            if isinstance(event, TurnEnded)
        ]


def events_of(entry: Entry) -> list[Event]:
    """Give what an entry of the journal says in events."""
    return entry.events(KEY) if isinstance(entry, Progressed) else [entry]


def classes(events: list[Event]) -> list[type[Event]]:
    """Give the classes of events, in order."""
    return [type(event) for event in events]


def opened(rules: Rules = Rules()) -> Driver:  # noqa: B008  it is immutable
    """Give a session that is idle."""
    driver = Driver(rules)
    driver.open()
    return driver


def collecting(rules: Rules = COLLECTS) -> Driver:
    """Give a session whose quiet window was opened by message m1."""
    driver = opened(rules)
    driver.send("m1")
    return driver


def running(rules: Rules = Rules()) -> Driver:  # noqa: B008  it is immutable
    """Give a session whose turn 1 works on message m1."""
    driver = opened(rules)
    driver.send("m1")
    return driver


def stopping(rules: Rules = Rules()) -> Driver:  # noqa: B008  it is immutable
    """Give a session whose turn 1 was interrupted by message m2, after its wave."""
    driver = running(rules)
    driver.send("m2")
    return driver


def closing(rules: Rules = Rules()) -> Driver:  # noqa: B008  it is immutable
    """Give a session whose turn 1 was told to end by the system's shutdown."""
    driver = running(rules)
    driver.shut_down()
    return driver


def failed(rules: Rules = Rules()) -> Driver:  # noqa: B008  it is immutable
    """Give a session in the middle of a turn whose journal turned out to be corrupt."""
    driver = running(rules)
    driver.state = driver.state._replace(status=Status.FAILED)
    return driver


IN: dict[Status, Callable[..., Driver]] = {
    Status.RECOVERING: Driver,
    Status.IDLE: opened,
    Status.COLLECTING: collecting,
    Status.RUNNING: running,
    Status.STOPPING: stopping,
    Status.CLOSING: closing,
    Status.FAILED: failed,
}
"""A session in each status."""
