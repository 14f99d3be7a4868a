"""A supervisor's children: what it knows of each, and what it says of them."""

from __future__ import annotations

import asyncio
import math
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pykka

from ..actors.actor import AsyncioActor, Lifecycle
from ..actors.future import Future
from ..actors.reference import LoopActorRef
from ..actors.steps import is_awaitable
from ..messages.errors import ChildStartFailed
from .child_spec import WORKER_SHUTDOWN, ChildSpec
from .life import Life, force
from .watch import when_started
from .watched import let_go

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..actors.exit import Exit, Notice
    from .child_spec import Started
    from .policy import Action


class ChildState(StrEnum):
    """What a child of a supervisor is at."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended, and is about to be started again."""
    DOWN = "down"
    """It ended for good, was terminated, or chose not to run; it can be restarted by hand."""


class ChildInfo(NamedTuple):
    """One child, as ``which_children`` tells of it.

    Args:
        id: of its spec; None in a pool, whose children are told apart by their references.
        ref: the actor's reference; None unless it is running.
        state: what it is at.
        supervisor: whether it is one itself.
    """

    id: Any
    ref: Any
    state: ChildState
    supervisor: bool


class ChildCount(NamedTuple):
    """How many children a supervisor has.

    Args:
        specs: specifications; 1 in a pool.
        active: children that run.
        supervisors: children that are supervisors, running or not.
        workers: the others, running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


class ReportKind(StrEnum):
    """What a supervisor reports."""

    ENDED = "ended"
    START_FAILED = "start_failed"
    ASK_FAILED = "ask_failed"
    """The asker was told, and the child lives on; Pykka would only log it."""
    EXCEEDED = "exceeded"
    """More restarts than the budget has: the supervisor ends."""
    ABANDONED = "abandoned"
    """It could not be ended; should it end by itself after all, that is reported too."""


class Report(NamedTuple):
    """What a supervisor reports of a child.

    Args:
        kind: what happened.
        child_id: to which child; the id of the spec.
        ref: the actor; None if it did not come to be.
        ended: how it ended; None if it did not.
        cause: what was raised; None for an end without a cause, and what does not end.
        action: what the supervisor does about it; None when it had ended the child itself.
        partial_results: what it had finished: of a runtime the ``PartialResults`` of its turn so
            far; of any other child that was ended by force when its time to stop was over, what
            its method ``partial_results()`` gave, if it is an actor on the loop that has one.
    """

    kind: ReportKind
    child_id: Any
    ref: pykka.ActorRef[Any] | None
    ended: Exit | None = None
    cause: BaseException | None = None
    action: Action | None = None
    partial_results: Any = None


class Child:
    """A child over all its lives.

    Args:
        spec: how it is started.
        args: what it is called with besides the spec's; of a pool.
        kwargs: what it is called with besides the spec's; of a pool.
    """

    __slots__ = (
        "_args",
        "_kwargs",
        "key",
        "life",
        "repetition",
        "retry",
        "spec",
        "starts",
        "state",
    )

    def __init__(
        self, spec: ChildSpec, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.spec = spec
        self.key: Any = spec.id
        self.state = ChildState.DOWN
        self.life: Life | None = None
        self.repetition = 0
        self.starts = 0
        """How many lives it has had."""
        self.retry: object | None = None
        """What the message has that will start it again; another one is out of date."""
        self._args = args
        self._kwargs = kwargs or {}

    @property
    def actor_class(self) -> type[pykka.Actor] | None:
        """The class of the actor; None as long as only a factory could say."""
        if self.life is None or self.spec.actor_class is not None:
            return self.spec.actor_class
        actor_class: type[pykka.Actor] = self.life.ref.actor_class
        return actor_class

    @property
    def supervisor(self) -> bool:
        """Whether it is a supervisor, as far as is known."""
        return bool(getattr(self.actor_class, "supervises", False))

    @property
    def on_thread(self) -> bool:
        """Whether, as far as is known, it has a thread, which nobody could kill."""
        known = self.actor_class
        return known is not None and not issubclass(known, AsyncioActor)

    @property
    def patience(self) -> float | str:
        """What ``end`` takes: seconds it has to stop in, or ``KILL``."""
        if self.spec.shutdown is not None:
            return self.spec.shutdown
        return math.inf if self.supervisor else WORKER_SHUTDOWN

    def info(self, name: Any) -> ChildInfo:
        """What is told of it."""
        running = self.life is not None and self.state is ChildState.RUNNING
        ref = self.life.ref if self.life and running else None
        return ChildInfo(name, ref, self.state, self.supervisor)

    def forget_arguments(self) -> None:
        """Keep nothing that only another start would need."""
        self.spec = self.spec.forgotten()
        self._args, self._kwargs = (), {}

    async def start(
        self, loop: asyncio.AbstractEventLoop, told: Callable[[Life, Notice], object]
    ) -> Started:
        """Start it, and wait until its ``on_start`` is done.

        Args:
            loop: the supervisor's.
            told: what a life calls, see there.

        Returns:
            what its start gave; the life is there unless that was None.

        Raises:
            ChildStartFailed: with what was raised as its cause; nothing is left of it.
        """
        try:
            started = await self._call(loop)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise ChildStartFailed(self.spec.id, error) from error
        ref = started[0] if isinstance(started, tuple) else started
        if ref is None:
            self.state = ChildState.DOWN
            return None
        if not isinstance(ref, pykka.ActorRef):
            wrong = TypeError(
                f"{self.spec.start!r} gave {ref!r}: it has to give an actor's reference"
            )
            raise ChildStartFailed(self.spec.id, wrong) from wrong
        await self._live(Life(self, ref, loop, told))
        return started

    async def _call(self, loop: asyncio.AbstractEventLoop) -> Started:
        spec = self.spec
        work = partial(spec.runnable, *spec.args, *self._args, **{**spec.kwargs, **self._kwargs})
        if self.on_thread and spec.actor_class is not None:
            # Its __init__ runs where it is called, and may take its time.
            job = loop.run_in_executor(None, work)
            try:
                ref: pykka.ActorRef[Any] = await asyncio.shield(job)
            except asyncio.CancelledError:
                job.add_done_callback(_let_go)
                raise
            return ref
        started: Started | Awaitable[Started] = work()
        if is_awaitable(started):
            return await cast("Awaitable[Started]", started)
        return cast("Started", started)

    async def _live(self, life: Life) -> None:
        error = await _starts(life.ref)
        if error is not None:
            raise ChildStartFailed(self.spec.id, error) from error
        self.life = life
        self.starts += 1
        self.state = ChildState.RUNNING
        self.retry = None


async def _starts(ref: pykka.ActorRef[Any]) -> BaseException | None:
    """Wait until an actor has started; give what it raised if it has not."""
    if isinstance(ref, LoopActorRef):
        # Most have after one turn of the loop, which lets the others go on as well.
        await asyncio.sleep(0)
        actor = ref._actor  # noqa: SLF001 - one of ours
        if actor is not None and actor.lifecycle is Lifecycle.RUNNING:
            return None
    started = when_started(ref)
    settled = Future[None]()
    started.add_done_callback(lambda _started: settled.try_set(None))
    try:
        await settled
    except asyncio.CancelledError:
        force(ref)
        raise
    error = started.error()
    # One that stopped in order did start before.
    return None if type(error) is pykka.ActorDeadError and error.__cause__ is None else error


def _let_go(job: asyncio.Future[Any]) -> None:
    """End a stock actor that came to be after nobody wanted it any more."""
    if not job.cancelled() and job.exception() is None:
        let_go(job.result())
