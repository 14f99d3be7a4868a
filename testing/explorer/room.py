"""The loops of an exploration: one is used again and again, and the dead are buried."""

from __future__ import annotations

import contextlib
from asyncio import Task, all_tasks
from typing import Any

from ...actors.actor import AsyncioActor
from .loop import ScheduleLoop


class Room:
    """Has a loop ready; making one costs more than many a schedule."""

    def __init__(self) -> None:
        self._loop: ScheduleLoop | None = None
        self._dead: list[ScheduleLoop] = []
        self._tasks: list[Task[Any]] = []

    def loop(self) -> ScheduleLoop:
        """A loop on which nothing is left."""
        if self._loop is None:
            self._loop = ScheduleLoop()
        return self._loop

    def bury(self, loop: ScheduleLoop) -> None:
        """Use a loop no more: its process was killed, or something was left on it.

        Nothing of it runs any more, not even clean-up: that waits for :meth:`clean`.
        """
        if self._loop is loop:
            self._loop = None
            self._dead.append(loop)
            self._tasks += all_tasks(loop)

    def clean(self) -> None:
        """Let go of the dead, when nobody looks any more."""
        tasks, self._tasks = self._tasks, []
        dead, self._dead = self._dead, []
        for _ in range(_ROUNDS):
            for task in tasks:
                _end(task)
            # Their clean-up may have made others, which nobody is going to run.
            tasks = [task for loop in dead for task in all_tasks(loop) if task not in tasks]
        for loop in dead:
            loop.leave()
            loop.set_exception_handler(_hear_nothing)
            AsyncioActor._actor_living.forget(loop)  # noqa: SLF001 - nobody buries them but we
            loop.close()

    def close(self) -> None:
        """Close what there is."""
        if self._loop is not None:
            self.bury(self._loop)
        self.clean()


_ROUNDS = 3
"""How often is looked for tasks that the clean-up of others has made."""


def _end(task: Task[Any]) -> None:
    # It will not be complained of that nobody has awaited it.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    coroutine: Any = task.get_coro()
    with contextlib.suppress(BaseException):  # its clean-up is nobody's business
        coroutine.close()


def _hear_nothing(loop: object, context: object) -> None:
    """The dead are not heard."""
    del loop, context
