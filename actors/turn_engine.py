"""The engine under a turn: its steps, its words and its state, on top of its waves."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import to_json, to_jsonable_python

from ..messages.commands import Save, Say, StepDone, Streamed
from ..messages.text import check_text, read_back
from .attempt_input import AgentEnd, Environment, TurnInput
from .attempt_waves import AttemptWaves
from .backlog_requests import TakeRequest
from .histories import check_limit, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from ..messages.history import HistoryEntry
    from ..messages.message import SessionMessage
    from .control import RuntimeControl

__all__ = ["AgentEnd", "Environment", "TurnEngine", "TurnInput"]

M = TypeVar("M", bound="BaseModel")


class TurnEngine(AttemptWaves):
    """Runs the waves and steps of one attempt and reports them to the session.

    The arguments are those of :class:`Attempt`.
    """

    __slots__ = ("_diverged", "_mine", "_saved")

    def __init__(self, given: TurnInput, control: RuntimeControl, environment: Environment) -> None:
        super().__init__(given, control, environment)
        self._saved: Any = None
        self._mine = ""
        self._diverged = False

    # --- steps ---

    async def run_step(self, f: Callable[[], Any], key: str | None, type_: type[Any] | None) -> Any:
        """Do ``f``, or give what an earlier attempt remembered of it."""
        name = key or _name_of(f)
        check_text("key", name)
        self._occupy()
        try:
            await self.boundary()
            remembered = self._knowing().step(name) if self._has_past else None
            if remembered is not None:
                return _restored_step(remembered[0], f, type_)
            value = await self._do_step(f)
            result = _as_json(value, name)
            self.flush()
            self.control.report(StepDone(self.environment.now(), self.control.fence, name, result))
            await self.boundary()
        finally:
            self._busy = False
        return value

    async def _do_step(self, f: Callable[[], Any]) -> Any:
        value = f()
        if not inspect.isawaitable(value):
            return value
        task = self._stepping = asyncio.current_task()
        try:
            return await value
        except asyncio.CancelledError:
            if self.stop_requested and not self.control.fenced and task is not None:
                # The stop cancelled the step, not the agent, which ends at this boundary.
                task.uncancel()
                raise self._interruption() from None
            raise
        finally:
            self._stepping = None

    # --- what was offered ---

    async def new_messages(self) -> tuple[SessionMessage, ...]:
        """Take what the session has offered this turn; it is the turn's own from here on."""
        self._occupy()
        try:
            await self.boundary()
            self.flush()
            taken: asyncio.Future[tuple[SessionMessage, ...]]
            taken = asyncio.get_running_loop().create_future()
            self.control.report(TakeRequest(self.environment.now(), self.control.fence, taken))
            messages = await taken
        finally:
            self._busy = False
        if messages:
            self.input = self.input._replace(messages=(*self.input.messages, *messages))
        return messages

    # --- words and state ---

    def say(self, text: str) -> bool:
        """Send words of their own, unless an earlier attempt has, or the turn has to stop."""
        self._refuse_elsewhere()
        check_text("text", text)
        if self.stop_requested or self.control.is_over:
            return self._refused("say")
        if not self._has_past or not self._knowing().was_said(text):
            self.flush()
            self.control.report(Say(self.environment.now(), self.control.fence, text))
        return True

    def _refused(self, what: str) -> bool:
        self.environment.counters.count("refused_outputs", what=what)
        return False

    def delta(self, text: str) -> bool:
        """Stream a piece of the preview; what earlier attempts have shown is not shown again."""
        self._refuse_elsewhere()
        check_text("text", text)
        if self.stop_requested or self.control.is_over:
            return self._refused("delta")
        shown = self.input.streamed
        before = len(self._mine)
        self._mine += text
        if self._diverged or before >= len(shown):
            self._stream(text)
        elif shown.startswith(self._mine):
            pass
        elif self._mine.startswith(shown):
            self._stream(self._mine[len(shown) :])
        else:
            self._diverged = True
            self._stream(self._mine, restart=True)
        return True

    def _stream(self, text: str, *, restart: bool = False) -> None:
        now = self.environment.now()
        self.control.report(Streamed(now, self.control.fence, text, restart))

    def state(self, model: type[M]) -> M:
        """The session's own state as this attempt sees it."""
        saved = self.input.saved if self._saved is None else self._saved
        return model() if saved is None else model.model_validate(saved)

    def save(self, model: BaseModel) -> None:
        """Report the state to be saved."""
        self._refuse_elsewhere()
        if self.control.is_over:
            self._refused("save")
            raise self._over()
        saved = model.model_dump(mode="json")
        read_back(to_json(saved))  # else it would only be found in the journal
        self._saved = saved
        self.flush()
        self.control.report(Save(self.environment.now(), self.control.fence, self._saved))

    async def history(self, limit: int, *, unanswered: bool) -> Sequence[HistoryEntry]:
        """The last entries of the session's history, with what is unanswered if that is wanted."""
        check_limit(limit)
        tail: tuple[HistoryEntry, ...] = ()
        if unanswered:
            self.flush()
            await self.control.catch_up()
            tail = self.input.session.unanswered()
        return await read_history(self.environment.history, self.input.key, limit, tail)


def _name_of(f: Callable[[], Any]) -> str:
    while isinstance(f, partial):
        f = f.func
    name = getattr(f, "__qualname__", None)
    if name is None:
        msg = f"cannot name the step {f!r}: give it a key, turn.step(f, key='...')"
        raise TypeError(msg)
    return str(name)


def _as_json(value: Any, name: str) -> Any:
    try:
        result = to_jsonable_python(value)
        read_back(to_json(result))  # else it would only be found when it is journaled
    except ValueError as error:
        msg = f"the result of step {name!r} cannot be remembered: {error}"
        raise TypeError(msg) from error
    return result


def _restored_step(result: Any, f: Callable[[], Any], type_: type[Any] | None) -> Any:
    wanted = type_
    if wanted is None:
        target = f.func if isinstance(f, partial) else f
        try:
            wanted = get_type_hints(target).get("return")
        except (NameError, TypeError):
            wanted = None
    return result if wanted is None else TypeAdapter(wanted).validate_python(result)
