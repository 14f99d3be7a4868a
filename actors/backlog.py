"""What waits in a session: taken by the turn, answered aside, withdrawn, edited, resumed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pykka
from loguru import logger

from ..messages.commands import AsideDone, Edit, Resume, Take, Withdraw
from ..messages.errors import SessionError, UnknownMessage, WavebreakError
from ..messages.text import check_text
from .actor import Lifecycle
from .answering import AnsweringActor
from .backlog_requests import (
    Edited,
    EditRequest,
    ResumeRequest,
    StopIf,
    TakeRequest,
    Withdrawal,
    WithdrawRequest,
)
from .current import is_its_own
from .exit import NORMAL, Exit
from .failures import in_words
from .machine.state import Status

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..messages.ids import SessionKey
    from ..messages.message import SessionMessage
    from .future import Future
    from .mailbox import Envelope, Mailbox
    from .recorded import Services


class _Attended(NamedTuple):
    """The message that the ``aside`` handler is at."""

    message_id: str
    task: asyncio.Task[None]


class BacklogActor(AnsweringActor):
    """Looks after the messages that are in no turn.

    The arguments are those of :class:`RecordedActor`.
    """

    __slots__ = ("_attended",)

    def __init__(self, key: SessionKey, services: Services, mailbox: Mailbox) -> None:
        super().__init__(key, services, mailbox)
        self._attended: _Attended | None = None

    def _leave(self, request: object, error: BaseException) -> None:
        if isinstance(request, ResumeRequest | WithdrawRequest | EditRequest | StopIf):
            request.answer.try_set_error(self._not_known(error))
        else:
            super()._leave(request, error)

    def _not_known(self, cause: BaseException | None = None) -> SessionError:
        msg = f"it is not known what session {str(self._key)!r} has recorded: ask again"
        error = SessionError(msg)
        error.__cause__ = cause
        return error

    def _answer(self, answer: Future[Any], result: object) -> None:
        self._when_durable(
            partial(answer.try_set, result),
            lambda: answer.try_set_error(self._not_known()),
        )

    # --- the sender's second thoughts ---

    def _on_resume(self, request: ResumeRequest, _stamp: int) -> Coroutine[Any, Any, None] | None:
        if self.state.status is Status.FAILED:
            return self._repair(request)
        self._resume(request)
        return None

    def _resume(self, request: ResumeRequest) -> None:
        try:
            self._apply(Resume(self._services.now()))
        except WavebreakError as error:
            request.answer.try_set_error(error)
        else:
            self._answer(request.answer, None)

    async def _repair(self, request: ResumeRequest) -> None:
        """Read the journal again: somebody says that it was repaired."""
        try:
            await self._reload()
        except Exception as error:  # noqa: BLE001 - whatever it is, the session stays as it is
            logger.opt(exception=error).error("session {} cannot be recovered", self._key)
        if self._is_failed(request.answer):
            return
        broken = self._open()
        if broken is not None:
            raise broken
        self._resume(request)

    def _on_withdraw(self, request: WithdrawRequest, _stamp: int) -> None:
        command = Withdraw(self._services.now(), request.message_id)
        self._change(request.message_id, request.answer, command, Withdrawal)

    def _on_edit(self, request: EditRequest, _stamp: int) -> None:
        command = Edit(self._services.now(), request.message_id, request.text)
        self._change(request.message_id, request.answer, command, Edited)

    def _change(
        self,
        message_id: str,
        answer: Future[Any],
        command: Withdraw | Edit,
        result: type[Withdrawal | Edited],
    ) -> None:
        if self._is_failed(answer):
            return
        known = self.state.remembered.get(message_id)
        if known is None:
            msg = f"session {str(self._key)!r} does not know message {message_id!r}"
            answer.try_set_error(UnknownMessage(msg))
            return
        try:
            done = self._apply(command)
        except WavebreakError as error:
            answer.try_set_error(error)
            return
        aside = any(w.message.message_id == message_id for w in self.state.asides)
        in_turn = not done and known.outcome is None and not aside
        self._answer(answer, result(done, self.state.turn if in_turn else None, known.outcome))

    def _on_stop_if(self, wish: StopIf, stamp: int) -> None:
        if self.state.status is Status.FAILED:
            wish.answer.try_set(None)  # there is nothing to stop
            return
        try:
            matches = _holds(wish.predicate(self.view))
        except BaseException as error:
            if not is_its_own(error):
                raise
            wish.answer.try_set_error(error)  # it is a program's function: told to who gave it
            return
        if matches:
            self._on_stop(wish.request, stamp)
        else:
            wish.answer.try_set(None)

    # --- what the turn was offered ---

    def _on_take(self, request: TakeRequest, _stamp: int) -> None:
        before = self.state.running
        self._apply(Take(request.at, request.fence))
        running, taken = self.state.running, request.taken
        if taken.done():
            return
        if running is None or before is None or running is before:
            taken.set_result(())
            return
        old = {waiting.message.message_id for waiting in before.messages}
        news = (w.message for w in running.messages if w.message.message_id not in old)
        taken.set_result(tuple(news))

    # --- beside the turns ---

    def _attend(self, _event: object = None) -> None:
        """Have the handler answer the first message that waits for it; one at a time."""
        handler, asides = self._services.aside, self.state.asides
        if handler is None or not asides or self._attended is not None:
            return
        if self.lifecycle in (Lifecycle.STOPPING, Lifecycle.STOPPED):
            return
        message = asides[0].message
        # Not loop.create_task: an eager task factory would run on before it is known here.
        task = asyncio.Task(self._answer_aside(message), loop=self._loop)
        self._attended = _Attended(message.message_id, task)

    async def _answer_aside(self, message: SessionMessage) -> None:
        text = error = ""
        try:
            text = await self._handled(message)
        except BaseException as raised:  # SystemExit would end the loop
            if self._attended is None or self._attended.task is not asyncio.current_task():
                raise  # it is we who let go of it; whoever else cancels it, its message has to end
            logger.opt(exception=raised).error("the aside handler of {} failed", self)
            error = in_words(raised)
        if not self.state.uid:
            return  # the session was deleted meanwhile
        done = AsideDone(self._services.now(), message.message_id, text, error)
        with contextlib.suppress(pykka.ActorDeadError):  # the next incarnation asks again
            self.hand(done)

    async def _handled(self, message: SessionMessage) -> str:
        assert self._services.aside is not None, "it was looked at"
        answer: object = self._services.aside(message, self.view)
        if inspect.isawaitable(answer):
            answer = await answer
        if not isinstance(answer, str):
            msg = f"the aside handler returned {answer!r}: return a str"
            raise TypeError(msg)
        check_text("the answer", answer)
        return answer

    def _on_aside_done(self, done: AsideDone, _stamp: int) -> None:
        self._apply(done)
        self._look_aside()

    def _look_aside(self) -> None:
        """Let go of a handler whose message has ended, and go on to the next one."""
        attended = self._attended
        if attended is not None:
            if any(w.message.message_id == attended.message_id for w in self.state.asides):
                return
            self._attended = None
            if attended.task is not asyncio.current_task(self._loop):
                attended.task.cancel()
        self._when_durable(self._attend)

    def _actor_loop_teardown(
        self, ended: Exit = NORMAL, envelope: Envelope | None = None, result: object = None
    ) -> None:
        attended, self._attended = self._attended, None
        if attended is not None:
            attended.task.cancel()
        super()._actor_loop_teardown(ended, envelope, result)

    BACKLOG: ClassVar[Mapping[type, Callable[[Any, Any, int], Any]]] = {
        ResumeRequest: _on_resume,
        WithdrawRequest: _on_withdraw,
        EditRequest: _on_edit,
        StopIf: _on_stop_if,
        TakeRequest: _on_take,
        AsideDone: _on_aside_done,
    }


def _holds(verdict: object) -> bool:
    """A predicate's verdict; a coroutine is none, and as it is true it would stop everything."""
    if inspect.isawaitable(verdict):
        if inspect.iscoroutine(verdict):
            verdict.close()
        msg = (
            f"the predicate gave {verdict!r}: it is asked on the spot, so make it a plain function"
        )
        raise TypeError(msg)
    return bool(verdict)
