"""What the programs of ``suite.py`` share: how a run is asked for, measured and told.

Every program is started in a process of its own with one argument, the JSON form of an ``Order``,
and prints one JSON object of figures. The programs of other frameworks run in environments that
have neither wavebreak nor anything of ours, so this file knows the standard library only.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self

WAVES, CALLS = 5, 2
CALL_SECONDS = 0.01
SECOND_MESSAGE_AFTER = 0.025
STARTS_WITHIN = 0.05
"""Seconds over which the sessions begin, so that they do not move in step."""

BURST = 1_000
"""Tells after which a sender waits until they were handled: no mailbox grows without bound."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Order:
    """What a program shall do once; what a case does not need is left at its default.

    Args:
        case: which function of the program.
        count: tells, asks or actors; for *growth* the turns that are measured.
        from_thread: whether tells come from a thread that is not the actor's.
        sessions: how many, all at the same time; for *tell* the actors, which are told by turns.
        rounds: how often each of them is asked something.
        busy: whether a call takes 10 ms, rather than nothing.
        interrupts: whether a second message follows each first one.
        policy: what the second one does: ``after_wave`` or ``now``.
        durable: whether what was accepted survives the process.
        loop: ``asyncio`` or ``uvloop``.
    """

    case: str
    count: int = 0
    from_thread: bool = False
    sessions: int = 0
    rounds: int = 1
    busy: bool = False
    interrupts: bool = False
    policy: str = "after_wave"
    durable: bool = False
    loop: str = "asyncio"


def take_part(cases: Mapping[str, Callable[[Order], Figures | Awaitable[Figures]]]) -> None:
    """Be the process of one run: read the order, do it, print the figures."""
    order = Order(**json.loads(sys.argv[1]))
    figures = cases[order.case](order)
    if inspect.isawaitable(figures):
        figures = _run(figures, order.loop)
    print(json.dumps({**figures, "peak_mb": round(_peak_mb(), 1)}))


def _run(work: Awaitable[Figures], loop: str) -> Figures:
    factory: Any = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - only of the runs that are about it

        factory = uvloop.new_event_loop

    async def main() -> Figures:
        return await work

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


class Meter:
    """Measures the block of a ``with``: processor and real seconds, of threads and children too."""

    __slots__ = ("cpu", "seconds")

    def __enter__(self) -> Self:
        gc.collect()
        self.cpu, self.seconds = -_cpu(), -time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cpu += _cpu()
        self.seconds += time.perf_counter()

    def figures(self) -> Figures:
        """Give both."""
        return {"cpu": self.cpu, "seconds": self.seconds}


def _cpu() -> float:
    return time.process_time() + _cpu_of_children()


def _cpu_of_children() -> float:
    """Processor seconds of all processes below this one, where the system tells."""
    if not Path("/proc/self/stat").exists():
        return 0.0
    parents: dict[int, tuple[int, float]] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8").rpartition(")")[2].split()
            except (OSError, UnicodeDecodeError):
                continue  # has ended meanwhile
            parents[int(entry.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
    ours, total, grew = {os.getpid()}, 0.0, True
    while grew:
        grew = False
        for process, (parent, cpu) in parents.items():
            if parent in ours and process not in ours:
                ours.add(process)
                total += cpu
                grew = True
    return total


def _peak_mb() -> float:
    # ru_maxrss is no answer on Linux: a process begins with the peak of the one that started it.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024 * 1024)


def memory() -> float:
    """Bytes of memory that this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return float(pages * resource.getpagesize())


class Talks:
    """What happens in the sessions of a run, as agents, tools and users note it.

    A stop is *told* when the user's second message is given away; a wave is *late* when the agent
    began it after that, and its calls ran.
    """

    def __init__(self, sessions: int) -> None:
        self.turns = self.calls = self.replies = self.late = 0
        self.waits: list[float] = []
        self._told = [0.0] * sessions
        self._ended = [0.0] * sessions
        self._stale = [False] * sessions

    def second_message(self, session: int) -> None:
        """Note that the user writes again; just before it is given away."""
        self._told[session] = time.perf_counter()

    def turn_begins(self, session: int) -> None:
        """Note that the agent runs."""
        self.turns += 1
        told = self._told[session]
        if told:
            # A call that runs is waited for; what counts is what comes on top of that.
            self.waits.append(time.perf_counter() - max(told, self._ended[session]))
            self._told[session] = 0.0

    def wave_begins(self, session: int) -> None:
        """Note that the agent asks for a wave."""
        self._stale[session] = self._told[session] != 0.0

    def call_begins(self, session: int, place: int) -> None:
        """Note that a call runs."""
        self.calls += 1
        if self._stale[session] and not place:
            self.late += 1

    def call_ends(self, session: int) -> None:
        """Note that a call that took its time has ended."""
        self._ended[session] = time.perf_counter()

    def figures(self) -> Figures:
        """Give what was counted, and the waits in milliseconds."""
        found: Figures = {
            "turns": self.turns,
            "calls": self.calls,
            "replies": self.replies,
            "late": self.late,
        }
        if self.waits:
            waits = sorted(self.waits)
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                found[name] = waits[min(len(waits) - 1, int(share * len(waits)))] * 1e3
        return found


async def begin(session: int, order: Order) -> None:
    """Wait for a session's turn to begin."""
    await asyncio.sleep(STARTS_WITHIN * session / order.sessions)


def tool_of(talks: Talks, order: Order) -> Callable[[int, int, int], Any]:
    """Make the async function that is called: of the session, the wave and the place in it."""

    async def busy(session: int, wave: int, place: int) -> int:
        talks.call_begins(session, place)
        await asyncio.sleep(CALL_SECONDS)
        talks.call_ends(session)
        return wave * CALLS + place

    async def no_op(session: int, wave: int, place: int) -> int:
        talks.call_begins(session, place)
        return wave * CALLS + place

    return busy if order.busy else no_op
