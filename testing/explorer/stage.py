"""What stands between the explored program and the world: its tools, its agent, its channel."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from ...actors.runtime import AgentReturned, RuntimeActor
from ...messages.errors import TurnInterrupted
from ...messages.message import Reply
from ...tools.compensation import Compensation, CompletedCall
from ...tools.context import CURRENT
from ...tools.execution import Prepared
from ...tools.tool import Tool
from .facts import Attempt, Ran
from .finding import tools_of
from .script import CALL, END, ExploreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    from ...actors.turn import Turn
    from ...settings import Agent
    from .play import Play

LATE = 8.0
"""Virtual seconds that a tool goes on which does not heed its cancellation: more than a grace."""


class RuntimeDied(BaseException):
    """What an injected crash raises in a tool."""


class ToolFailed(OSError):
    """What an injected failure raises in a tool; an ``OSError``, so a call that may be retried."""


class ProcessKilled(BaseException):
    """What ends everything when the process is killed."""


class Stage:
    """Watches an agent and its tools for one exploration; ``play`` is the run that is on.

    Args:
        agent: the agent.
        tools: tools that are not found by looking at the agent.

    Raises:
        ExploreError: two tools have one name.
    """

    def __init__(self, agent: Agent, tools: Iterable[Tool[..., Any]]) -> None:
        self.play: Play | None = None
        self.agent = self._watched(agent)
        self.tools: dict[str, Tool[..., Any]] = {}
        for tool in (*tools, *tools_of(agent)):
            if self.tools.setdefault(tool.name, tool) is not tool:
                msg = f"two tools are called {tool.name!r}: give them names of their own"
                raise ExploreError(msg)

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Watch the tools' calls within the block."""
        plain = {tool: tool.function for tool in self.tools.values()}
        undoing = {tool: tool.compensation for tool in self.tools.values()}
        for tool, compensation in undoing.items():
            tool.function = self._blocking(tool) if tool.blocking else self._on_loop(tool)
            if compensation is not None:
                tool.compensation = Compensation(self._undone(compensation))
        try:
            yield
        finally:
            for tool, function in plain.items():
                tool.function = function
                tool.compensation = undoing[tool]

    # --- tools ---

    def _on_loop(self, tool: Tool[..., Any]) -> Callable[..., Awaitable[Any]]:
        work = tool.function

        async def watched(**arguments: Any) -> Any:
            play = self.play
            if play is None:
                return await work(**arguments)
            ran = self._begin(play, tool, arguments)
            try:
                what = play.injections.moment(CALL)
                if what == "fail":
                    raise ToolFailed("injected")  # noqa: TRY301 - as if the tool itself had
                if what == "late":
                    result = await _stubborn(work(**arguments))
                else:
                    result = await work(**arguments)
            except BaseException as error:
                cancelled = isinstance(error, asyncio.CancelledError)
                play.ended(ran, "cancelled" if cancelled else "failed")
                raise
            play.ended(ran, "completed", result)
            play.injections.moment(END)
            return result

        return watched

    def _blocking(self, tool: Tool[..., Any]) -> Callable[..., Any]:
        work = tool.function

        def watched(**arguments: Any) -> Any:
            play = self.play
            if play is None:
                return work(**arguments)
            loop = play.loop
            ran = self._begin(play, tool, arguments)
            try:
                what = loop.on_loop(partial(play.injections.moment, CALL))
                if what == "fail":
                    raise ToolFailed("injected")  # noqa: TRY301 - as if the tool itself had
                result = work(**arguments)
                if what == "late":
                    loop.rest(LATE)
            except BaseException:
                play.ended(ran, "failed")
                raise
            play.ended(ran, "completed", result)
            loop.on_loop(partial(play.injections.moment, END))
            return result

        return watched

    def _undone(self, compensation: Compensation) -> Callable[..., Any]:
        undo = compensation.function

        async def on_loop(call: CompletedCall, result: Any) -> Any:
            done = await undo(call, result)
            self._note_undone(call)
            return done

        def blocking(call: CompletedCall, result: Any) -> Any:
            done = undo(call, result)
            self._note_undone(call)
            return done

        return blocking if compensation.blocking else on_loop

    def _note_undone(self, call: CompletedCall) -> None:
        if self.play is not None:
            self.play.facts.undone.append(call.call_id)

    def _begin(self, play: Play, tool: Tool[..., Any], arguments: dict[str, Any]) -> Ran:
        ran = Ran(tool.name, arguments, play.life)
        ran.effect = tool.effect.value
        running: object = CURRENT.get(None)
        if isinstance(running, Prepared):
            call = running.call
            ran.call_id, ran.key = running.call_id, running.idempotency_key
            ran.equality, ran.fresh, ran.again = call.equality, call.is_fresh, call.is_again
        play.began(ran)
        return ran

    # --- the agent ---

    def _watched(self, agent: Agent) -> Agent:
        if isinstance(agent, type):
            return self._watched_class(agent)
        call: object = getattr(agent, "__call__", None)  # noqa: B004 - the method is looked at
        if not (inspect.iscoroutinefunction(agent) or inspect.iscoroutinefunction(call)):
            msg = f"agent={agent!r}: give an async function of a turn, or a RuntimeActor"
            raise ExploreError(msg)

        async def explored(turn: Turn) -> str | Reply:
            reply: str | Reply = await self._run(turn, agent)
            return reply

        return explored

    def _watched_class(self, agent: type[RuntimeActor]) -> type[RuntimeActor]:
        stage = self

        class Explored(agent):  # type: ignore[misc, valid-type]
            """The same agent, watched."""

            def run(self, turn: Turn) -> Any:
                return stage._run(turn, super().run)

        return Explored

    async def _run(self, turn: Turn, agent: Callable[[Turn], Awaitable[str | Reply]]) -> Any:
        play = self.play
        if play is None:
            return await agent(turn)
        attempt = Attempt(turn.number, turn.attempt, play.life, len(play.log))
        attempt.messages = tuple(message.message_id for message in turn.messages)
        attempt.previous = turn.previous
        attempt.control = turn._engine.control  # noqa: SLF001 - whether it is fenced
        attempt.task = asyncio.current_task()
        play.attempts(attempt)
        try:
            reply: object = await agent(turn)
            if not isinstance(reply, str | Reply):
                # The runtime would say so a little later, where it is not seen.
                msg = f"the agent returned {reply!r}: return a str or a Reply"
                raise AgentReturned(msg)  # noqa: TRY301 - as if the agent had
        except BaseException as error:
            if not isinstance(error, TurnInterrupted):
                play.raised(attempt, error)
            raise
        finally:
            attempt.active = False
        attempt.returned = reply if isinstance(reply, str) else reply.text
        return reply


async def _stubborn(work: Awaitable[Any]) -> Any:
    """Do the work to its end, whoever cancels it, and take some time over that."""
    task = asyncio.ensure_future(work)
    late = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            late = True
    give_up = asyncio.get_running_loop().time() + LATE
    while late and (left := give_up - asyncio.get_running_loop().time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
    return task.result()
