"""A turn, as an agent sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..tools.plan import Results
from .attempt_waves import AttemptWaves

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from pydantic import BaseModel

    from ..messages.history import HistoryEntry
    from ..messages.message import SessionMessage
    from ..messages.records import CallRecord, PartialResults
    from ..tools.call import ToolCall
    from ..tools.cancellation import CancellationToken
    from ..tools.plan import Plan, Planned
    from .turn_engine import TurnEngine

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
T8 = TypeVar("T8")
M = TypeVar("M", bound="BaseModel")


class Turn:
    """The work on one or several messages, up to the reply.

    Before and after each wave and each step is a boundary: there the turn ends with
    :class:`TurnInterrupted` when it was told to stop.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: TurnEngine) -> None:
        self._engine = engine

    @property
    def tenant(self) -> str:
        """The session's tenant."""
        return self._engine.input.key.tenant

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._engine.input.key.session_id

    @property
    def number(self) -> int:
        """The turn's number within its session, from 1."""
        return self._engine.input.number

    @property
    def attempt(self) -> int:
        """Which run of this turn's agent this is, from 1."""
        return self._engine.input.attempt

    @property
    def messages(self) -> tuple[SessionMessage, ...]:
        """All unanswered messages, oldest first."""
        return self._engine.input.messages

    @property
    def text(self) -> str:
        """The messages' texts, joined by line ends."""
        return "\n".join(text for m in self.messages if (text := m.as_text()))

    async def new_messages(self) -> tuple[SessionMessage, ...]:
        """Take the messages that were sent by ``Steer`` meanwhile, oldest first; a boundary.

        They are in ``messages`` from here on, also in a further attempt, and the reply answers
        them too. What is not taken when the turn ends is the next one's.

        Raises:
            WaveInProgress: a wave or step of this turn runs.
            TurnInterrupted: the turn was told to stop.
        """
        return await self._engine.new_messages()

    @property
    def previous(self) -> PartialResults | None:
        """What the interrupted turns before this one left; None if that finished or was undone.

        In a further attempt by an agent of another ``version``, after an upgrade, also what the
        attempts before have done of this turn.
        """
        given = self._engine.input
        return given.seen or given.previous

    @property
    def stop_requested(self) -> bool:
        """Whether the turn was told to stop; it will be at the next boundary."""
        return self._engine.stop_requested

    @property
    def cancel_token(self) -> CancellationToken:
        """The turn's token; cancelling it stops the turn after its wave."""
        return self._engine.control.get_token()

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall[Any]:
        """A checked call of one of the system's tools, from a model's words.

        Raises:
            UnknownTool: the system was given no tool of that name.
            InvalidArguments: the tool does not take these arguments.
        """
        return self._engine.environment.toolbox.call(name, arguments)

    # Not itself a coroutine, as those below: it would be one more to keep for each wave.

    # fmt: off
    @overload
    async def wave(self) -> tuple[()]: ...
    @overload
    async def wave(self, c1: ToolCall[T1], /) -> tuple[T1]: ...
    @overload
    async def wave(self, c1: ToolCall[T1], c2: ToolCall[T2], /) -> tuple[T1, T2]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], /
    ) -> tuple[T1, T2, T3]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], c4: ToolCall[T4], /
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], c4: ToolCall[T4],
        c5: ToolCall[T5], /,
    ) -> tuple[T1, T2, T3, T4, T5]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], c4: ToolCall[T4],
        c5: ToolCall[T5], c6: ToolCall[T6], /,
    ) -> tuple[T1, T2, T3, T4, T5, T6]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], c4: ToolCall[T4],
        c5: ToolCall[T5], c6: ToolCall[T6], c7: ToolCall[T7], /,
    ) -> tuple[T1, T2, T3, T4, T5, T6, T7]: ...
    @overload
    async def wave(
        self, c1: ToolCall[T1], c2: ToolCall[T2], c3: ToolCall[T3], c4: ToolCall[T4],
        c5: ToolCall[T5], c6: ToolCall[T6], c7: ToolCall[T7], c8: ToolCall[T8], /,
    ) -> tuple[T1, T2, T3, T4, T5, T6, T7, T8]: ...
    @overload
    async def wave(self, *calls: ToolCall[T]) -> tuple[T, ...]: ...
    # fmt: on

    def wave(self, *calls: ToolCall[Any]) -> Coroutine[Any, Any, tuple[Any, ...]]:
        """Run calls concurrently and give their results, in the order of the calls.

        Raises:
            WaveFailed: one or more calls did not complete; the others did, and are in it.
            WaveInProgress: another wave or step of this turn runs.
            TurnInterrupted: the turn was told to stop.
        """
        return self._engine.run_wave(calls, AttemptWaves.values)

    def one(self, call: ToolCall[T]) -> Coroutine[Any, Any, T]:
        """Run one call, as a wave of its own, and give its result.

        Raises:
            CallFailed: it did not complete.
            WaveInProgress: another wave or step of this turn runs.
            TurnInterrupted: the turn was told to stop.
        """
        return self._engine.run_wave((call,), AttemptWaves.value)

    def settle(self, *calls: ToolCall[Any]) -> Coroutine[Any, Any, tuple[CallRecord, ...]]:
        """Run calls concurrently and give their records; a failed call raises nothing.

        Raises:
            WaveInProgress: another wave or step of this turn runs.
            TurnInterrupted: the turn was told to stop.
        """
        return self._engine.run_wave(calls, AttemptWaves.records)

    async def run(self, plan: Plan) -> Results:
        """Run a plan, wave by wave, and give its results by planned call.

        Raises:
            PlanError: the plan cannot be cut into waves.
            WaveFailed: calls of a wave did not complete; later waves were not begun.
            TurnInterrupted: the turn was told to stop.
        """
        waves = plan.waves()
        self._engine.total_waves = len(waves)
        results: dict[Planned[Any], Any] = {}
        for wave in waves:
            values = await self.wave(*(planned.resolve(results) for planned in wave))
            results.update(zip(wave, values, strict=True))
        return Results(results)

    @overload
    async def step(
        self, f: Callable[[], Awaitable[T]], *, key: str | None = None, type: type[T] | None = None
    ) -> T: ...
    @overload
    async def step(
        self, f: Callable[[], T], *, key: str | None = None, type: type[T] | None = None
    ) -> T: ...

    async def step(
        self,
        f: Callable[[], Any],
        *,
        key: str | None = None,
        type: type[Any] | None = None,  # noqa: A002 - what it is called in the design
    ) -> Any:
        """Do a piece of work other than a tool call, and remember its result within the turn.

        A model call, a look at the clock, a random draw: after a crash it is not done again.

        Args:
            f: called without arguments; plain or async. Plain code runs on the event loop.
            key: what it is; by default the function's qualified name.
            type: what the remembered result is validated as after a crash; by default it is
                given in its JSON form.

        Raises:
            WaveInProgress: another wave or step of this turn runs.
            TurnInterrupted: the turn was told to stop; a running step is cancelled at once.
            TypeError: the result cannot be serialised.
        """
        return await self._engine.run_step(f, key, type)

    def say(self, text: str) -> bool:
        """Send the user a message of its own before the reply.

        Returns:
            Whether it will be delivered; not after the turn was told to stop.
        """
        return self._engine.say(text)

    def delta(self, text: str) -> bool:
        """Stream a piece of the reply's preview; the returned reply is the whole reply.

        Returns:
            Whether it was streamed; not after the turn was told to stop.
        """
        return self._engine.delta(text)

    def state(self, model: type[M]) -> M:
        """The session's own state, as of this turn; ``model()`` when nothing was saved yet."""
        return self._engine.state(model)

    def save(self, model: BaseModel) -> None:
        """Save the session's own state; it becomes the session's when the turn finishes."""
        self._engine.save(model)

    async def history(self, limit: int = 50, *, unanswered: bool = False) -> Sequence[HistoryEntry]:
        """The last ``limit`` entries of what is over, oldest first.

        What is unanswered is in ``messages`` and ``previous``.

        Args:
            limit: entries at most; a result of which the call is further back is left out.
            unanswered: whether to give that too, in its place: this turn's messages and calls so
                far, and what the interrupted turns before it did.

        Raises:
            InvalidMessage: ``limit`` is no number of entries.
        """
        return await self._engine.history(limit, unanswered=unanswered)
