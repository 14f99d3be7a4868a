"""What a run has left behind, or waits for without anybody seeing it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from .blame import stands_at
from .names import LEFT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...system import ActorSystem
    from .facts import Facts
    from .loop import ScheduleLoop


def look_for_leftovers(
    loop: ScheduleLoop, facts: Facts, reported: Sequence[dict[str, Any]]
) -> None:
    """Note the tasks and timers that a closed system has left, and what its loop complained of."""
    for task in asyncio.all_tasks(loop):
        facts.breaks(LEFT, f"a task is left when the system is closed: {_name_of(task)}")
    for report in reported:
        error = report.get("exception")
        facts.breaks(LEFT, f"the loop reported {report.get('message')}: {error!r}")
    timers = loop.timers
    late = [timer for timer in timers if timer.when() > loop.time() + 1.0]
    if late:
        facts.breaks(LEFT, f"a timer is left when the system is closed: {late[0]!r}")


def check_subscribers(system: ActorSystem, facts: Facts) -> None:
    """Note who still listens, when all streams were closed."""
    left = system._hub.subscribers  # noqa: SLF001 - the system has no window to its hub
    if left:
        facts.breaks(LEFT, f"{left} subscribers are left, and all streams were closed")


def unseen(loop: ScheduleLoop, known: set[str]) -> str:
    """What goes on that virtual time does not see; something may wait for that.

    Args:
        loop: of the run.
        known: names of threads that were there before.
    """
    if loop.has_files:
        return "a socket, a pipe or another program"
    started = {thread.name for thread in threading.enumerate()} - known
    mine = ("wavebreak-tool", "virtual-time")
    names = sorted(one for one in started | loop.foreign if not one.startswith(mine))
    return f"a thread of its own ({names[0]})" if names else ""


def _name_of(task: asyncio.Task[Any]) -> str:
    """A task, without its address, which is another one each time."""
    name = getattr(task.get_coro(), "__qualname__", "?")
    place = stands_at(task)
    return f"{name}, at {place}" if place else name
