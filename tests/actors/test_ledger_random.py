"""The ledger under random programs, interruptions and ends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from wavebreak.messages.events import WaveStarted
from wavebreak.messages.reasons import CallStatus, Effect

from .attempts import (
    COMPLETED,
    FAILED,
    FINAL,
    RETRYABLE,
    SKIPPED,
    UNKNOWN,
    Attempts,
    Got,
    book,
    look,
    put,
)

if TYPE_CHECKING:
    from wavebreak.messages.records import CallError
    from wavebreak.tools.call import ToolCall

CALLS = (book(1), book(2), put(1), look(1), look(2))
CUTS = (Attempts.crash, Attempts.recover, Attempts.interrupt, Attempts.stop, Attempts.fail)

# An agent that makes the same calls each time, and is cut off between its waves.

programs = st.lists(st.lists(st.sampled_from(CALLS), min_size=1, max_size=3), max_size=5)
cuts = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(CUTS)), max_size=4)


@given(program=programs, interruptions=cuts)
def test_what_was_completed_is_done_once_however_often_the_agent_begins_anew(
    program: list[list[ToolCall[Any]]],
    interruptions: list[tuple[int, Callable[[Attempts], None]]],
) -> None:
    attempts = Attempts()
    for waves, cut in interruptions:
        for calls in program[:waves]:
            attempts.wave(*calls)
        cut(attempts)
    got = [one for calls in program for one in attempts.wave(*calls)]

    occurrences = Counter(call.equality for calls in program for call in calls)
    writes = {call.equality for call in CALLS if not call.tool.is_read}
    starts = Counter(each.equality for each in starts_of(attempts))
    for equality in writes:
        assert starts[equality] <= occurrences[equality]
    assert len({one.result for one in got}) == len(got)
    assert stale_uses(attempts) == []


# The same agent within one turn, whose attempts die; what it called ends as it likes, also late.

SEEN: st.SearchStrategy[CallStatus | CallError] = st.sampled_from((COMPLETED, FINAL))
NOT_ANEW: st.SearchStrategy[CallStatus | CallError] = st.sampled_from((COMPLETED, FINAL, UNKNOWN))


class Death(NamedTuple):
    """How an attempt dies.

    Args:
        waves: how many it had got through.
        ends: of the calls that it started.
        flying: whether it dies within the next wave.
        early: late ends that are seen before it dies: of which unknown call, and how.
        late: those that are seen when the next one has begun.
    """

    waves: int
    ends: list[CallStatus | CallError]
    flying: bool
    early: list[tuple[int, CallStatus | CallError]]
    late: list[tuple[int, CallStatus | CallError]]


late_ends = st.lists(st.tuples(st.integers(0, 5), SEEN), max_size=3)
deaths = st.lists(
    st.builds(
        Death,
        st.integers(0, 4),
        st.lists(NOT_ANEW, max_size=12),
        st.booleans(),
        late_ends,
        late_ends,
    ),
    max_size=5,
)
once_programs = st.lists(
    st.lists(st.sampled_from((book(1), book(1), book(2))), min_size=1, max_size=3), max_size=4
)


@given(program=once_programs, deaths=deaths)
def test_within_a_turn_a_once_call_is_started_once_however_its_attempts_die(
    program: list[list[ToolCall[Any]]], deaths: list[Death]
) -> None:
    attempts = Attempts()
    for death in deaths:
        given_ends = list(death.ends)
        for calls in program[: death.waves]:
            attempts.wave(*calls, ends=given_ends[: len(calls)])
            del given_ends[: len(calls)]
        see_late_ends(attempts, death.early)
        if death.flying and death.waves < len(program):
            attempts.open_wave(*program[death.waves])
            attempts.recover()
        else:
            attempts.crash()
        see_late_ends(attempts, death.late)
    for calls in program:
        attempts.wave(*calls)

    occurrences = Counter(call.equality for calls in program for call in calls)
    starts = Counter(each.equality for each in starts_of(attempts))
    assert all(starts[equality] <= count for equality, count in occurrences.items())


def see_late_ends(attempts: Attempts, ends: list[tuple[int, CallStatus | CallError]]) -> None:
    for which, end in ends:
        unknown = [r for r in attempts.session.state.unknown if r.status is UNKNOWN]
        if unknown:
            attempts.late_of(unknown[which % len(unknown)].call_id, end)


class Start(NamedTuple):
    """A call that was really started, and the wave it was started in."""

    call_id: str
    equality: str
    wave: int
    effect: Effect


def starts_of(attempts: Attempts) -> list[Start]:
    equality = {(c.tool.name, str(c.json_arguments)): c.equality for c in CALLS}
    waves = [event for event in attempts.session.events if isinstance(event, WaveStarted)]
    return [
        Start(each.call_id, equality[each.tool, str(each.arguments)], wave, each.effect)
        for wave, event in enumerate(waves)
        for each in event.calls
        if each.answered_from is None
    ]


def stale_uses(attempts: Attempts) -> list[str]:
    """Give the reads that were carried into a turn after a write had been started.

    A later attempt of that turn takes what the turn has taken, stale or not.
    """
    starts = starts_of(attempts)
    began = {start.call_id: start.wave for start in starts}
    writes = [start.wave for start in starts if start.effect is not Effect.READ]
    waves = [event for event in attempts.session.events if isinstance(event, WaveStarted)]
    taken: set[tuple[int, str]] = set()
    stale: list[str] = []
    for wave, event in enumerate(waves):
        for each in event.calls:
            origin = each.answered_from
            if each.effect is not Effect.READ or origin is None or (event.turn, origin) in taken:
                continue
            taken.add((event.turn, origin))
            carried = origin.split(".")[0] != str(event.turn)
            if carried and any(began[origin] <= write < wave for write in writes):
                stale.append(each.call_id)
    return stale


# An agent that does whatever it likes, and calls that end in every way.

Wave = list[tuple["ToolCall[Any]", "CallStatus | CallError"]]

WRITES: st.SearchStrategy[ToolCall[Any]] = st.sampled_from(
    (book(1), book(1).again(), put(1), put(1).again())
)
ENDS: st.SearchStrategy[CallStatus | CallError] = st.sampled_from(
    (COMPLETED, COMPLETED, FINAL, RETRYABLE, SKIPPED, UNKNOWN)
)
waves = st.lists(st.tuples(WRITES, ENDS), min_size=1, max_size=3)


class World:
    """What may have happened outside, by idempotency key, while a chain of turns goes on."""

    def __init__(self) -> None:
        self.attempts = Attempts()
        self.happened: defaultdict[str, set[str]] = defaultdict(set)
        self.left: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.results: list[str] = []
        self.late: list[Got] = []

    def new_attempt(self, go_on: Callable[[Attempts], None]) -> None:
        go_on(self.attempts)
        self.calls.clear()
        self.results.clear()
        if go_on is Attempts.finish:
            self.most.clear()
            self.happened.clear()
            for record in self.attempts.session.state.unknown:
                self.happened[record.tool].add(record.idempotency_key)
            self.left = Counter({name: len(keys) for name, keys in self.happened.items()})

    def wave(self, given: Wave) -> None:
        calls = [call for call, _ in given]
        self._count(calls)
        open_keys = self._unknown()
        got = self.attempts.wave(*calls, ends=[end for _, end in given])
        for call, one in zip(calls, got, strict=True):
            if one.was_started:
                self._check_start(call, open_keys)
                self._ended(call, one)
            if one.status is COMPLETED:
                self.results.append(one.result)

    def cut(self, given: Wave) -> None:
        """Die in the middle of a wave."""
        calls = [call for call, _ in given]
        self._count(calls)
        open_keys = self._unknown()
        for call, (started, record) in zip(calls, self.attempts.open_wave(*calls), strict=True):
            if record is None:
                self._check_start(call, open_keys)
                self.happened[call.tool.name].add(started.idempotency_key)
        self.new_attempt(Attempts.recover)

    def _count(self, calls: list[ToolCall[Any]]) -> None:
        self.calls.update(call.tool.name for call in calls)
        for name, count in self.calls.items():
            self.most[name] = max(self.most[name], count)

    def _unknown(self) -> dict[str, set[str]]:
        by_tool: dict[str, set[str]] = defaultdict(set)
        for record in self.attempts.session.state.unknown:
            if record.status is UNKNOWN:
                by_tool[record.tool].add(record.idempotency_key)
        return by_tool

    def _check_start(self, call: ToolCall[Any], unknown: dict[str, set[str]]) -> None:
        """After unknown, an equal once call is not started until somebody says again."""
        if call.tool is book and not call.is_again:
            assert not unknown[call.tool.name]

    def _ended(self, call: ToolCall[Any], one: Got) -> None:
        happened = self.happened[call.tool.name]
        if one.status in {COMPLETED, UNKNOWN}:
            happened.add(one.key)
        elif one.status is FAILED and not self._came_late(one.key):
            happened.discard(one.key)
        if one.status is UNKNOWN:
            self.late.append(one)

    def _came_late(self, key: str) -> bool:
        unknown = self.attempts.session.state.unknown
        return any(r.idempotency_key == key and r.status is COMPLETED for r in unknown)

    def end_late(self, which: int, end: CallStatus | CallError) -> None:
        if not self.late:
            return
        one = self.late[which % len(self.late)]
        unknown = {r.call_id for r in self.attempts.session.state.unknown if r.status is UNKNOWN}
        self.attempts.late(one, end)
        if end is not COMPLETED and one.call_id in unknown:
            for keys in self.happened.values():
                keys.discard(one.key)

    def check(self) -> None:
        assert len(set(self.results)) == len(self.results), "a result answered twice"
        for name, keys in self.happened.items():
            assert len(keys) <= max(self.most[name], self.left[name]), (name, keys)


Move = Callable[[World], None]


def run(wave: Wave) -> Move:
    return lambda world: world.wave(wave)


def cut(wave: Wave) -> Move:
    return lambda world: world.cut(wave)


def go_on(way: Callable[[Attempts], None]) -> Move:
    return lambda world: world.new_attempt(way)


def late(which: int, end: CallStatus | CallError) -> Move:
    return lambda world: world.end_late(which, end)


MOVES: st.SearchStrategy[Move] = st.one_of(
    waves.map(run),
    waves.map(cut),
    st.sampled_from((*CUTS, Attempts.finish)).map(go_on),
    st.builds(late, st.integers(0, 20), st.sampled_from((COMPLETED, FINAL, RETRYABLE))),
)


@given(st.lists(MOVES, max_size=12))
def test_nothing_happens_more_often_than_an_attempt_has_asked_for(
    given_moves: list[Move],
) -> None:
    world = World()
    for move in given_moves:
        move(world)
        world.check()
