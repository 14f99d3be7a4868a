"""The job of ``hotpath.py``, as far as it is the same for both systems."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WAVES, CALLS = 5, 2
CALL_SECONDS = 0.01
SECOND_MESSAGE_AFTER = 0.025
STARTS_WITHIN = 0.05
"""Seconds over which the sessions begin, so that they do not move in step."""


class Case(NamedTuple):
    """What is measured.

    Args:
        sessions: how many, all at the same time.
        rounds: how often each of them is asked something.
        busy: whether a call takes 10 ms, rather than nothing.
        interrupts: whether a second message follows each first one.
    """

    sessions: int
    rounds: int
    busy: bool
    interrupts: bool


class Measured(NamedTuple):
    """What a run came to.

    Args:
        cpu: processor seconds from the first message to the last reply.
        seconds: the same in real seconds.
        runs: of an agent, so turns.
        calls: started.
        replies: delivered.
        peak_mb: of memory, of the whole process.
    """

    cpu: float
    seconds: float
    runs: int
    calls: int
    replies: int
    peak_mb: float

    @property
    def micros_a_turn(self) -> float:
        """Processor microseconds for each turn."""
        return self.cpu / self.runs * 1e6


class Counter:
    """Counts what happens; made anew for each run."""

    __slots__ = ("calls", "replies", "runs")

    def __init__(self) -> None:
        self.runs = self.calls = self.replies = 0


def work(job: Callable[[Case, Counter], Awaitable[None]]) -> None:
    """Be the process of one run: take the case from the command line, print the figures."""
    case = Case(*json.loads(sys.argv[1]))
    counter = Counter()
    real, cpu = time.perf_counter(), time.process_time()

    async def main() -> None:
        await job(case, counter)

    asyncio.run(main())
    real, cpu = time.perf_counter() - real, time.process_time() - cpu
    figures = Measured(cpu, real, counter.runs, counter.calls, counter.replies, peak_mb())
    print(json.dumps(figures))


def peak_mb() -> float:
    """The most memory that this process has had resident, in MiB.

    ``ru_maxrss`` is no answer on Linux: a started process takes over the peak of the one that
    started it (execve keeps it), which is that of the whole test run when a test did.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024 * 1024)


async def begin(number: int, case: Case) -> None:
    """Wait for a session's turn to begin."""
    await asyncio.sleep(STARTS_WITHIN * number / case.sessions)
