"""The runtime: runs one attempt of a turn's agent, and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pykka
from pydantic_core import to_json

from ..messages.errors import WavebreakError
from ..messages.making import maker
from ..messages.message import Reply
from ..messages.policies import Now, Rollback
from ..messages.reasons import Reason
from ..messages.text import check_text, read_back
from ..tools.eager import begin_task
from .actor import AsyncioActor
from .current import enter_turn
from .exit import NORMAL
from .turn import Turn
from .turn_engine import AgentEnd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context
    from typing import Self

    from ..messages.policies import Way
    from .exit import Exit, Notice
    from .mailbox import Envelope
    from .reference import LoopActorRef
    from .turn_engine import TurnEngine


GRACE = 5.0
"""Seconds that calls have to end in, which an agent left running when it ended by itself."""


class Abandon(NamedTuple):
    """To a runtime: nobody waits for it any more."""


class AgentReturned(WavebreakError, TypeError):
    """An agent returned something that is no reply."""


class RuntimeActor(AsyncioActor):
    """The class form of an agent: subclass it and write :meth:`run`.

    An instance lives for one attempt of one turn. The runtime supervisor starts it, notices how
    it ended and hands the session what it had finished.

    It is an actor as any other, with a mailbox, a reference and hooks; but hardly a runtime is
    ever sent anything, so it becomes one when somebody first looks (4 instead of 19 µs a turn).
    """

    __slots__ = (
        "_actor_agent_runs",
        "_actor_engine",
        "_actor_home",
        "_actor_is_whole",
        "_actor_on_end",
        "_actor_work",
    )

    capacity = None
    _actor_mark = "_actor_on_end"

    _actor_has_hooks: ClassVar[bool] = False
    """Whether it is an actor from the start: its class wants to be called, or to be found."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._actor_has_hooks = cls.registered or any(
            getattr(cls, name) is not getattr(RuntimeActor, name)
            for name in ("on_start", "on_stop", "on_failure", "handle")
        )

    # An agent's thread may ask for its runtime's reference at the same time as the loop.
    _actor_becoming: ClassVar[threading.RLock] = threading.RLock()

    _actor_home: Context  # of whoever started it

    def __init__(self, engine: TurnEngine) -> None:
        # Not super().__init__() yet: see __getattr__.
        self._actor_engine = engine
        self._actor_work: asyncio.Task[Any] | None = None
        self._actor_agent_runs = False
        self._actor_on_end: Callable[[Notice], object] | None = None
        self._actor_is_whole = False

    @classmethod
    def _actor_begin(
        cls,
        engine: TurnEngine,
        on_end: Callable[[Notice], object],
        home: Context,
        *,
        at_once: bool = False,
    ) -> Self:
        """Start one on the running loop, for the runtime supervisor.

        Args:
            engine: the attempt's.
            on_end: told how it ended, as a watcher is.
            home: the supervisor's context variables, of which an actor has a copy.
            at_once: whether the caller begins the attempt, by :meth:`_actor_run_at_once`.
        """
        runtime = cls._actor_make(asyncio.get_running_loop(), (engine,), {})
        runtime._actor_begin_for(on_end, home, at_once=at_once)  # noqa: SLF001 - a class method
        return runtime

    def _actor_begin_for(
        self,
        on_end: Callable[[Notice], object],
        home: Context,
        *,
        at_once: bool,
    ) -> None:
        """Begin the attempt; ``on_end`` is told how it ended."""
        if self._actor_has_hooks or self._actor_is_whole:
            self._actor_launch().watch(on_end)
            return
        self._actor_home = home
        self._actor_on_end = on_end
        if at_once:
            self._actor_engine.control.runtime = self
        else:
            self._actor_run_attempt()

    if not TYPE_CHECKING:  # the checkers see the attributes of an actor

        def __getattr__(self, name: str) -> Any:
            """Become an actor, now that somebody asks for what an actor has."""
            if name not in AsyncioActor.__slots__ or name == "_loop" or self._actor_is_whole:
                msg = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(msg)
            self._actor_become()
            return getattr(self, name)

    def _actor_become(self) -> None:
        """Make the parts of an actor, and bring them to where the attempt is."""
        with self._actor_becoming:
            if self._actor_is_whole:
                return
            super().__init__()
            on_end, self._actor_on_end = self._actor_on_end, None
            if on_end is not None:
                self._actor_context = self._actor_home.copy()
                self._actor_ref.watch(on_end)
                self._actor_living.add(self._loop, self)
                super()._actor_loop_running()
            elif self._actor_engine.end is not None:
                self._actor_ref.set_stopped()
                self._actor_loop_teardown()
            self._actor_is_whole = True

    def run(self, turn: Turn) -> Awaitable[str | Reply]:
        """Work on the turn and return its reply; this is what a subclass writes, ``async``."""
        raise NotImplementedError

    def handle(self, envelope: Envelope) -> Any:
        """End when the agent has ended; by its error, if it ended by one."""
        message = envelope.message
        if isinstance(message, AgentEnd):
            if message.error is not None:
                raise message.error
            return self._stop()
        if isinstance(message, Abandon):
            return self._actor_abandon()
        return super().handle(envelope)

    def _actor_abandon(self) -> None:
        self._actor_engine.abandon()
        if self._actor_work is not None and self._actor_agent_runs:
            self._actor_work.cancel()

    def _start_actor_loop(self) -> None:
        _ = self._actor_ref  # an actor from the start, then
        self._actor_start_here()

    def _actor_loop_running(self) -> None:
        super()._actor_loop_running()
        self._actor_run_attempt()

    def _actor_run_attempt(self) -> None:
        self._actor_engine.control.runtime = self
        # A context of its own: the agent and its tools are no part of the actor's.
        self._actor_work = self._loop.create_task(self._actor_attempt())

    def _actor_run_at_once(self) -> None:
        """Run the agent up to where it first waits, and not a turn of the loop later."""
        if self._actor_on_end is None:
            return  # it is an actor from the start, and is on its way as any other
        home, attempt = self._actor_home.copy(), self._actor_attempt()
        if self._loop.get_task_factory() is None:
            home.run(begin_task, attempt, self._loop, "agent")
        else:
            home.run(self._loop.create_task, attempt)

    def _actor_told(self, how: Way) -> None:
        engine = self._actor_engine
        engine.told(how)
        if not engine.control.fenced or not self._actor_agent_runs or self._actor_work is None:
            return
        if isinstance(how, Rollback) and engine.is_writing_inline:
            return  # it would be cancelled with the agent, which ends at the boundary behind it
        self._actor_work.cancel()

    async def _actor_attempt(self) -> None:
        """Run the agent, then wait for its calls; nothing that it raises leaves this coroutine."""
        engine = self._actor_engine
        control = engine.control
        # Here, too: what begins at once runs before whoever made the task has it.
        self._actor_work = asyncio.current_task(self._loop)
        current = enter_turn(engine.input.key)
        reply: Reply | None = None
        self._actor_agent_runs = True
        try:
            if not control.fenced:
                engine.scope.enter()
                if engine.scope.needs_opening:
                    await engine.scope.open()
                reply = _as_reply(await self.run(Turn(engine)))
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            end = self._actor_ended_by(error)
        else:
            end = _new_end((reply, control.how is not None, None))
        finally:
            self._actor_agent_runs = current.active = False
        control.agent_ended()
        try:
            if engine.is_running or engine.scope.needs_closing:
                if self._actor_work is not None and self._actor_work.cancelling():
                    await _outrun()
                await self._actor_settle()
        except BaseException as error:  # noqa: BLE001 - told to the supervisor, as any other end
            end = AgentEnd(None, end.interrupted, end.error or error)
        engine.end = end
        on_end = self._actor_on_end
        if on_end is None or end.error is not None:
            with contextlib.suppress(pykka.ActorDeadError):  # ended over the agent's head
                self.hand(end)  # an actor's end, with its words to the log
        else:
            self._actor_on_end = None  # it knows us, too
            on_end(NORMAL)

    def _actor_loop_teardown(
        self,
        ended: Exit = NORMAL,
        envelope: Envelope | None = None,
        result: object = None,
    ) -> None:
        if self._actor_engine.end is None:
            # Not by its agent's end, but by force or by a stop: that may not go on unfenced.
            self._actor_engine.control.tell_stop(Now(), Reason.CRASHED)
            # Its calls have their end in what is reported now, or the next attempt makes them anew.
            self._actor_abandon()
        super()._actor_loop_teardown(ended, envelope, result)

    @property
    def _actor_exit(self) -> Exit | None:
        """How it ended; None as long as it has not."""
        if self._actor_is_whole:
            return self._actor_ref.exit
        return None if self._actor_engine.end is None else NORMAL

    @property
    def _actor_own_ref(self) -> LoopActorRef[Self] | None:
        """Its reference, if it is an actor; asking for ``actor_ref`` would make it one."""
        return self._actor_ref if self._actor_is_whole else None

    def _actor_ended_by(self, error: BaseException) -> AgentEnd:
        """What was raised after the turn was told to stop is how it stopped."""
        told = self._actor_engine.control.how is not None
        return AgentEnd(None, told, None if told else error)

    async def _actor_settle(self) -> None:
        """Let go of what the agent left: calls that still run, and the turn's dependencies."""
        engine = self._actor_engine
        if engine.is_running:
            if isinstance(engine.control.how, Rollback):
                engine.cancel_reads()
            else:
                engine.cancel()
            await self._actor_drained()
        await self._actor_engine.scope.close()

    async def _actor_drained(self) -> None:
        """Wait for the calls; when the turn was told to stop, the session knows for how long."""
        engine = self._actor_engine
        told = engine.control.how is not None
        bound = None if told else max(GRACE, engine.protected_left)
        try:
            async with asyncio.timeout(bound):
                await engine.drained()
        except TimeoutError:
            engine.abandon()


async def _outrun() -> None:
    """Take a cancellation that the agent did not live to see; the clean-up was not meant."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


_new_reply, _new_end = Reply.trusted, maker(AgentEnd)


def _as_reply(result: object) -> Reply:
    if isinstance(result, str):
        check_text("the reply", result)
        return _new_reply({"text": result, "attachments": (), "data": {}})
    if isinstance(result, Reply):
        check_text("the reply's text", result.text)
        if result.data:
            _check_data(result.data)
        return result
    msg = f"the agent returned {result!r}: return a str or a Reply"
    raise AgentReturned(msg)


def _check_data(data: object) -> None:
    try:
        read_back(to_json(data))
    except ValueError as error:
        msg = f"the reply's data does not survive JSON: {error}"
        raise AgentReturned(msg) from error


def function_runtime(agent: Callable[[Turn], Awaitable[str | Reply]]) -> type[RuntimeActor]:
    """A runtime class for an agent that is written as a function."""

    class FunctionRuntime(RuntimeActor):
        """Runs the function."""

        __slots__ = ()

        def run(self, turn: Turn) -> Awaitable[str | Reply]:
            return agent(turn)

    FunctionRuntime.__qualname__ = FunctionRuntime.__name__ = "Runtime"
    return FunctionRuntime
