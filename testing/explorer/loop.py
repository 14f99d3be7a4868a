"""The loop of a schedule: every step of it is a moment, and the order of steps can be drawn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, SupportsIndex, TypeVar, TypeVarTuple

from ..thread_work import QuietEvent, is_counted
from ..virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from contextvars import Context
    from random import Random
    from selectors import BaseSelector

    from ..thread_work import Work

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREAD = 5.0
"""Real seconds that a blocking tool may take in a schedule before the others go on."""

_LOOK = 0.0005
"""Real seconds after which is looked whether a thread works or waits for the loop."""


class ScheduleLoop(VirtualTimeLoop):
    """An asyncio loop in virtual time whose order of steps is drawn from a seed.

    What belongs to one actor or task (it runs in one context) keeps its order, and so does what
    asyncio schedules for itself; only between these the order is drawn. Threads get no say in it:
    a blocking tool is over before the next step, unless it waits for the loop.
    """

    def __init__(self) -> None:
        super().__init__(alone=True)
        self.ready = _Ready(self)
        # The one place where a loop says what runs next; asyncio has no hook for it.
        self._ready = self.ready
        self.on_step: Callable[[], None] = _nothing
        self.open_work: list[Work] = []
        self.foreign: set[str] = set()
        """Names of threads that gave it something to do, and that it does not count."""
        self._news = threading.Event()
        self._asked: deque[_Asked[Any]] = deque()
        self._resting: list[QuietEvent] = []
        self._executors: set[Executor] = set()

    def begin(self, random: Random | None, on_step: Callable[[], None]) -> None:
        """Prepare for another schedule.

        Args:
            random: draws the order; None for the order of an ordinary loop.
            on_step: called before every step; what it raises ends the run.
        """
        self._now = self.start
        self.ready.random = random
        self.ready.owner.clear()
        # Of a system that has closed: what is told to a future that nobody waits for any more.
        self.ready.clear()
        self.set_exception_handler(None)
        self.open_work.clear()
        self.foreign.clear()
        self.on_step = on_step

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that have not gone off."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [timer for timer in scheduled if not timer.cancelled()]

    def leave(self) -> None:
        """Hold on to nothing of the last schedule: a loop lives long, and a run is not to."""
        self.begin(None, _nothing)
        executors, self._executors = self._executors, set()
        for executor in executors:
            executor.shutdown(wait=False)  # a process that was killed has not done that

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a step, and note whose it is."""
        handle = super().call_soon(callback, *args, context=context)
        if context is not None and self.ready.random is not None:
            self.ready.owner[id(handle)] = id(context)
        return handle

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread, and wait until it has ended or waits for the loop."""
        if executor is not None:
            self._executors.add(executor)
        return super().run_in_executor(executor, func, *args)

    def submitted(self, work: Work) -> None:
        """Let the threads work until each has ended or waits for the loop."""
        self.open_work.append(work)
        self.settle()

    def look_at_threads(self) -> None:
        """A thread has ended its work, or asks for something."""
        self._news.set()

    def about_to_wait(self) -> None:
        """Threads come first."""
        if self.open_work:
            self.settle()

    def settle(self) -> None:
        """Wait until all that threads give the loop to do is there, or they wait for the loop."""
        give_up = time.monotonic() + _THREAD
        while self.open_work and time.monotonic() < give_up:
            while self._asked:
                self._asked.popleft().answer()
            self.open_work = [work for work in self.open_work if not work.over]
            if not self.open_work or not self.thread_work.at_work:
                return
            self._news.wait(_LOOK)
            self._news.clear()

    def on_loop(self, function: Callable[[], T]) -> T:
        """Call a function on the loop while it waits for this thread.

        Args:
            function: what to call; what it raises is raised here.
        """
        asked = _Asked(function)
        self._asked.append(asked)
        if self.is_closed():  # a process that was killed answers nobody
            raise RuntimeError("the loop is closed")
        self._news.set()
        return asked.wait()

    def rest(self, seconds: float) -> None:
        """Let a thread wait for so many virtual seconds; they go on meanwhile."""
        enough = QuietEvent()
        self._resting.append(enough)
        self.on_loop(lambda: self.call_later(seconds, enough.set))
        enough.wait()
        self._resting.remove(enough)

    def close(self) -> None:
        """Close it, and keep no thread waiting."""
        super().close()
        for enough in tuple(self._resting):
            enough.set()
        while self._asked:
            self._asked.popleft().refuse()

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a step, and note whether it is a thread of which nobody knows who does."""
        running: int | None = vars(self)["_thread_id"]
        if running is not None and threading.get_ident() != running and not is_counted():
            self.foreign.add(threading.current_thread().name)
        return super().call_soon_threadsafe(callback, *args, context=context)

    @property
    def has_files(self) -> bool:
        """Whether it waits for sockets, pipes or other programs."""
        selector: BaseSelector = vars(self)["_selector"]
        return len(selector.get_map()) > 1  # one is its own


class _Asked(Generic[T]):
    """What a thread wants to have called on the loop."""

    __slots__ = ("_answer", "_function")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._answer: Future[T] = Future()

    def answer(self) -> None:
        try:
            self._answer.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever has asked
            self._answer.set_exception(error)

    def refuse(self) -> None:
        self._answer.set_exception(RuntimeError("the loop is closed"))

    def wait(self) -> T:
        return self._answer.result(_THREAD)


class _Ready(deque[Any]):
    """What is ready to run; which of it is next is drawn."""

    def __init__(self, loop: ScheduleLoop) -> None:
        super().__init__()
        self._loop = loop
        self.random: Random | None = None
        self.owner: dict[int, int] = {}

    def popleft(self) -> asyncio.Handle:
        """Take what runs next."""
        if self._loop.open_work:
            self._loop.settle()
        self._loop.on_step()
        if self.random is None:
            handle: asyncio.Handle = super().popleft()
            return handle
        place = self._drawn(self.random) if len(self) > 1 else 0
        handle = self[place]
        del self[place]
        self.owner.pop(id(handle), None)
        return handle

    def _drawn(self, random: Random) -> SupportsIndex:
        """Draw an owner; its first step is next."""
        firsts: list[int] = []
        seen: set[int] = set()
        owner = self.owner
        for place, handle in enumerate(self):
            whose = owner.get(id(handle), 0)
            if whose not in seen:
                seen.add(whose)
                firsts.append(place)
        return firsts[int(random.random() * len(firsts))]


def _nothing() -> None:
    """Nothing is to be done at a step."""
