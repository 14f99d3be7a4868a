"""The cases of the suite: what is done, by whom, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wavebreak.benchmarks.programs.measuring import Order

from .systems import OURS, OURS_UVLOOP, RAW, RAW_UVLOOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak.benchmarks.programs.measuring import Figures


@dataclass(frozen=True, slots=True)
class Value:
    """A number that is read from the figures of a run.

    Args:
        name: what is counted.
        unit: of it.
        of: finds it.
        more_is_better: whether a higher one is.
    """

    name: str
    unit: str
    of: Callable[[Figures, Order], float]
    more_is_better: bool = False

    def read(self, figures: Figures, order: Order) -> float | None:
        """Find it in the figures of a run; None if it is not in these."""
        try:
            return self.of(figures, order)
        except KeyError:
            return None


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        name: begins with the letter that the goals name it by.
        full: what is done in the long form.
        quick: the same in the short form; None where that leaves it out.
        systems: who does it, first the one that the others are compared with.
        values: what is read, first the one that plots show.
        runs: of each system in the long form.
        quick_runs: the same in the short form.
    """

    name: str
    full: Order
    quick: Order | None
    systems: tuple[str, ...]
    values: tuple[Value, ...]
    runs: int = 5
    quick_runs: int = 2


def _each_second(figures: Figures, order: Order) -> float:
    return order.count / figures["cpu"]


CPU_A_CALL: Final = Value(
    "CPU a call", "µs", lambda figures, _: figures["cpu"] / figures["calls"] * 1e6
)
CPU_A_TURN: Final = Value(
    "CPU a turn", "µs", lambda figures, _: figures["cpu"] / figures["turns"] * 1e6
)
TURNS_A_SECOND: Final = Value(
    "turns", "/s", lambda figures, _: figures["turns"] / figures["seconds"], more_is_better=True
)
NO_OP_TURNS: Final = Value(
    "no-op turns", "/s CPU", lambda figures, _: figures["turns"] / figures["cpu"], True
)
P50: Final = Value("wait p50", "ms", lambda figures, _: figures["p50"])
P99: Final = Value("wait p99", "ms", lambda figures, _: figures["p99"])
LATE: Final = Value("late waves", "", lambda figures, _: figures["late"])
BESIDE_SHORT: Final = Value("beside a short one", "×", lambda figures, _: figures["beside_short"])
PEAK: Final = Value("peak", "MB", lambda figures, _: figures["peak_mb"])
TELLS: Final = Value("tells", "/s CPU", _each_second, more_is_better=True)
TELLS_FROM_THREAD: Final = Value(
    "tells", "/s", lambda figures, order: order.count / figures["seconds"], more_is_better=True
)
ASKS: Final = Value("asks", "/s CPU", _each_second, more_is_better=True)
SPAWNS: Final = Value("starts", "/s", lambda f, order: order.count / f["start"], True)
BYTES: Final = Value("memory of one", "B", lambda figures, _: figures["bytes"])
STOP: Final = Value("stop", "s", lambda figures, _: figures["stop"])
STOPS: Final = Value("stops", "/s", lambda f, order: order.count / f["stop"], True)

_BOTH = (RAW, OURS)
_ON_UVLOOP = (RAW_UVLOOP, OURS_UVLOOP)
_ACTORS = ("Pykka", "async-pykka", "xoscar", "autogen-core", "Ray")
_TALKERS = ("Pykka", "async-pykka", "xoscar", "autogen-core", "LangGraph")


def _interrupted(sessions: int, rounds: int, policy: str = "after_wave") -> Order:
    return Order(
        "turns", sessions=sessions, rounds=rounds, busy=True, interrupts=True, policy=policy
    )


def _durable(rounds: int, *, busy: bool) -> Order:
    return Order("turns", sessions=100, rounds=rounds, busy=busy, interrupts=busy, durable=True)


def _no_op(rounds: int) -> Order:
    return Order("turns", sessions=100, rounds=rounds)


_WAITS = (CPU_A_CALL, P50, P99, LATE)
_SIZES = (10, 100, 1_000, 10_000, 100_000)
_QUICK_SIZES = (10, 1_000)
_ON_DISK = ("raw durable", OURS, "LangGraph", "DBOS")

CASES: Final = (
    Case(
        "A loop",
        Order("tell", count=200_000),
        Order("tell", count=100_000),
        (*_BOTH, *_ON_UVLOOP, *_ACTORS),
        (TELLS,),
    ),
    Case(
        "A thread",
        Order("tell", count=100_000, from_thread=True),
        Order("tell", count=100_000, from_thread=True),
        (*_BOTH, *_ON_UVLOOP, "Pykka", "Ray"),
        (TELLS_FROM_THREAD,),
    ),
    Case(
        "A thread, 100 actors",
        Order("tell", count=100_000, from_thread=True, sessions=100),
        None,
        (*_BOTH, "Pykka"),
        (TELLS_FROM_THREAD,),
    ),
    Case(
        "B",
        Order("ask", count=20_000),
        Order("ask", count=10_000),
        (*_BOTH, *_ON_UVLOOP, *_ACTORS),
        (ASKS,),
    ),
    Case(
        "C actors, 10,000",
        Order("spawn", count=10_000),
        Order("spawn", count=10_000),
        (*_BOTH, *_ACTORS),
        (SPAWNS, BYTES, STOPS),
    ),
    Case(
        "C actors, 100,000",
        Order("spawn", count=100_000),
        None,
        (*_BOTH, *_ACTORS),
        (SPAWNS, BYTES, STOP),
    ),
    Case(
        "C session at rest",
        # So many that the caches of SQLite and of the allocator are little of each.
        Order("rest", count=20_000, durable=True),
        Order("rest", count=1_000, durable=True),
        _BOTH,
        (BYTES,),
        quick_runs=1,
    ),
    Case(
        "D light",
        _interrupted(10, 20),
        _interrupted(10, 12),
        (RAW, "floor", OURS, *_ON_UVLOOP, *_TALKERS),
        _WAITS,
    ),
    Case(
        "D after_wave, 100",
        _interrupted(100, 10),
        _interrupted(100, 5),
        (RAW, "floor", OURS, *_ON_UVLOOP, *_TALKERS),
        _WAITS,
    ),
    Case(
        "D after_wave, 1,000",
        _interrupted(1_000, 2),
        _interrupted(1_000, 1),
        (RAW, "floor", OURS, *_ON_UVLOOP, *_TALKERS),
        _WAITS,
    ),
    Case(
        "D after_wave, 10,000",
        _interrupted(10_000, 1),
        None,
        (RAW, "floor", OURS, *_ON_UVLOOP),
        (*_WAITS, PEAK),
    ),
    Case(
        "D now, 100",
        _interrupted(100, 10, "now"),
        _interrupted(100, 5, "now"),
        ("restart", OURS, RAW),
        _WAITS,
    ),
    Case("D now, 1,000", _interrupted(1_000, 2, "now"), None, ("restart", OURS, RAW), _WAITS),
    Case("D now, 10,000", _interrupted(10_000, 1, "now"), None, ("restart", OURS, RAW), _WAITS),
    Case(
        "E interrupted",
        _durable(5, busy=True),
        _durable(2, busy=True),
        _ON_DISK,
        (CPU_A_TURN, TURNS_A_SECOND),
    ),
    Case(
        "E no-op",
        _durable(5, busy=False),
        _durable(3, busy=False),
        ("raw durable", "promises", *_ON_DISK[1:]),
        (CPU_A_TURN, TURNS_A_SECOND),
    ),
    Case(
        "F",
        _no_op(20),
        _no_op(10),
        (RAW, "floor", "promises", OURS, *_ON_UVLOOP, "restart", *_TALKERS),
        (NO_OP_TURNS, CPU_A_TURN),
        quick_runs=3,
    ),
    *(
        Case(
            f"H sessions, {sessions:,}",
            Order("growth", sessions=sessions, count=3_000),
            Order("growth", sessions=sessions, count=1_000) if sessions in _QUICK_SIZES else None,
            _BOTH,
            (CPU_A_TURN, BYTES),
            quick_runs=1,
        )
        for sessions in _SIZES
    ),
    *(
        Case(
            f"H {'durable ' if durable else ''}events, {events:,}",
            Order("history", sessions=events, count=600 if durable else 300, durable=durable),
            Order("history", sessions=events, count=300)
            if events in _QUICK_SIZES and not durable
            else None,
            (OURS,),
            (CPU_A_TURN, BESIDE_SHORT) if durable else (CPU_A_TURN,),
            quick_runs=1,
        )
        for durable in (False, True)
        for events in _SIZES
    ),
)
