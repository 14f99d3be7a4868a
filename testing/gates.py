"""Gates: a tool is held at one until the test lets it go.

With a gate an interruption in the middle of a wave happens at the same place every time::

    at_search = gate("search")
    with at_search.holding(search):          # or give the system at_search.hold(search)
        await session.send("a room in Rome")
        await at_search.reached()            # the wave is running now
        await session.send("no, in Milan")
        at_search.let_go()
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from ..messages.reasons import Effect
from ..tools.tool import EffectName, Tool
from .counting import Count, on_loop
from .thread_work import HELD_TOO_LONG, QuietEvent

P = ParamSpec("P")
T = TypeVar("T")


class GateError(AssertionError):
    """A gate is used for another tool than its own, or was never opened."""


class Gate:
    """Holds the calls of one tool; made by :func:`gate`.

    ``arrived`` counts the calls that came to the gate, ``cancelled`` those that were cancelled
    while they were held. Everything may be called from any thread.

    Args:
        name: of the tool that it holds.
    """

    __slots__ = ("_arrivals", "_cancelled", "_lock", "_open", "_tickets", "_waiting", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._arrivals = Count(f"calls at gate {name!r}")
        self._cancelled = Count(f"cancellations at gate {name!r}")
        self._waiting: deque[_Held] = deque()
        self._tickets: deque[_Passage] = deque()
        self._open: _Passage | None = None

    def __repr__(self) -> str:
        return f"<Gate {self.name}: {self.arrived} arrived, {self.waiting} waiting>"

    @property
    def arrived(self) -> int:
        """How many calls have come to the gate since it was made."""
        return self._arrivals.value

    @property
    def waiting(self) -> int:
        """How many calls it holds now."""
        return len(self._waiting)

    @property
    def cancelled(self) -> int:
        """How often a call was cancelled while it was held."""
        return self._cancelled.value

    def hold(self, tool: Tool[P, T], *, stubborn: bool = False) -> Tool[P, T]:
        """Make a copy of a tool whose calls wait at this gate before they do their work.

        Args:
            tool: the tool, async or blocking, of the gate's name.
            stubborn: whether an async call goes on waiting when it is cancelled.

        Raises:
            GateError: when the tool has another name.
        """
        held = copy.copy(tool)
        held.function = self._before(tool, stubborn=stubborn)
        return held

    @contextlib.contextmanager
    def holding(self, tool: Tool[P, T], *, stubborn: bool = False) -> Generator[Gate]:
        """Hold the tool itself within the block, for agents that call it by its global name.

        Args:
            tool: as for :meth:`hold`.
            stubborn: as for :meth:`hold`.

        Raises:
            GateError: when the tool has another name.
        """
        plain = tool.function
        tool.function = self._before(tool, stubborn=stubborn)
        try:
            yield self
        finally:
            tool.function = plain

    def tool(
        self,
        returns: T,
        *,
        blocking: bool = False,
        stubborn: bool = False,
        effect: EffectName = Effect.ONCE,
        timeout: float | None = None,
        protected: bool = False,
        carry: bool | float = True,
        version: str = "",
    ) -> Tool[..., T]:
        """Make a tool of the gate's name that does nothing but wait at the gate.

        It takes one argument, ``text: str = ""``, to tell calls apart.

        Args:
            returns: what each call returns.
            blocking: whether it is a blocking tool, that runs in a thread.
            stubborn: as for :meth:`hold`.
            effect: as for ``@tool``, like the others.
            timeout: seconds.
            protected: whether a stop lets it finish.
            carry: whether its result is carried over, or for how many seconds.
            version: the tool's version.
        """

        async def stand_in(text: str = "") -> Any:
            del text
            return returns

        def blocking_stand_in(text: str = "") -> Any:
            del text
            return returns

        made = Tool[..., T](
            blocking_stand_in if blocking else stand_in,
            name=self.name,
            description=f"waits at the gate {self.name!r}",
            effect=effect,
            timeout=timeout,
            protected=protected,
            carry=carry,
            version=version,
        )
        return self.hold(made, stubborn=stubborn)

    async def reached(self, count: int = 1) -> None:
        """Wait until ``count`` calls have come to the gate since it was made."""
        await self._arrivals.reach(count)

    def reached_blocking(self, count: int = 1, timeout: float = 5.0) -> None:
        """Wait as :meth:`reached` does, in a thread without a loop.

        Args:
            count: how many calls.
            timeout: real seconds.

        Raises:
            TimeoutError: when they do not come in time.
        """
        self._arrivals.reach_blocking(count, timeout)

    def let_go(self, count: int | None = None) -> None:
        """Let calls go on, the first that came first.

        Args:
            count: how many, also of those still to come; None opens the gate for all, for good.
        """
        self._pass(_Passage(None), count)

    def fail(self, error: BaseException, count: int | None = None) -> None:
        """Let calls go as :meth:`let_go` does, but raise ``error`` in them instead of their work.

        Args:
            error: what the tool is to raise.
            count: as for :meth:`let_go`.
        """
        self._pass(_Passage(error), count)

    def shut(self) -> None:
        """Hold again what comes from now on."""
        with self._lock:
            self._open = None
            self._tickets.clear()

    async def through(self, *, stubborn: bool = False) -> None:
        """Wait at the gate: for async tools that a test writes by itself.

        Args:
            stubborn: whether to go on waiting when cancelled.
        """
        held = _HeldOnLoop()
        passage = self._arrive(held)
        while passage is None:
            try:
                # Not the future itself: it would be cancelled with its waiter.
                await asyncio.wait([held.future])
                passage = held.future.result()
            except asyncio.CancelledError:
                self._cancelled.add()
                if not stubborn:
                    self._leave(held)
                    raise
        passage.take()

    def through_blocking(self) -> None:
        """Wait at the gate: for blocking tools that a test writes by itself.

        Raises:
            GateError: when it is not let go for 30 real seconds.
        """
        held = _HeldInThread()
        passage = self._arrive(held) or held.wait()
        if passage is None:
            self._leave(held)
            raise GateError(f"{self!r} held a thread for {HELD_TOO_LONG} s: let it go in the test")
        passage.take()

    def _before(self, tool: Tool[P, T], *, stubborn: bool) -> Callable[..., Any]:
        if tool.name != self.name:
            raise GateError(f"gate {self.name!r} cannot hold {tool!r}: make gate({tool.name!r})")
        work = tool.function

        def blocking(*args: Any, **kwargs: Any) -> Any:
            self.through_blocking()
            return work(*args, **kwargs)

        async def on_loop_(*args: Any, **kwargs: Any) -> Any:
            await self.through(stubborn=stubborn)
            return await work(*args, **kwargs)

        return blocking if tool.blocking else on_loop_

    def _arrive(self, held: _Held) -> _Passage | None:
        """Count a call in, and hold it unless it may pass."""
        with self._lock:
            passage = self._tickets.popleft() if self._tickets else self._open
            if passage is None:
                self._waiting.append(held)
        self._arrivals.add()
        return passage

    def _pass(self, passage: _Passage, count: int | None) -> None:
        with self._lock:
            number = len(self._waiting) if count is None else min(count, len(self._waiting))
            going = [self._waiting.popleft() for _ in range(number)]
            if count is None:
                self._open = passage
            else:
                self._tickets.extend([passage] * (count - number))
        for held in going:
            held.go(passage)

    def _leave(self, held: _Held) -> None:
        with self._lock, contextlib.suppress(ValueError):  # It may have been let go meanwhile.
            self._waiting.remove(held)


def gate(name: str) -> Gate:
    """Make a gate for the tool of that name; it holds nothing yet.

    Args:
        name: the tool's name.
    """
    return Gate(name)


class _Passage(NamedTuple):
    """How a call leaves the gate."""

    error: BaseException | None

    def take(self) -> None:
        if self.error is not None:
            raise self.error


class _Held(Protocol):
    """A call that waits."""

    def go(self, passage: _Passage) -> None: ...


class _HeldOnLoop:
    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_Passage] = self._loop.create_future()

    def go(self, passage: _Passage) -> None:
        on_loop(self._loop, lambda: self.future.set_result(passage))


class _HeldInThread:
    __slots__ = ("_event", "_passage")

    def __init__(self) -> None:
        self._event = QuietEvent()
        self._passage: _Passage | None = None

    def go(self, passage: _Passage) -> None:
        self._passage = passage
        self._event.set()

    def wait(self) -> _Passage | None:
        self._event.wait(HELD_TOO_LONG)
        return self._passage
