"""How an actor ends: in order, by what a message or a hook raised, or by force."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pykka
from loguru import logger

from ..messages.errors import ActorError
from .asked import STOPS, StopOf
from .exit import NORMAL, Exit, ExitKind
from .hooks import Hooks
from .lifecycle import RUNNING, STOPPED, STOPPING
from .receiving import Receiving, answer, fail
from .steps import begin, call

if TYPE_CHECKING:
    from .mailbox import Envelope
    from .steps import Step


class Ending(Receiving):
    """The end of an actor, of which everybody hears who waits for something of it."""

    __slots__ = ()

    if TYPE_CHECKING:
        dead_letters: int
        registered: ClassVar[bool]
        _actor_owns_mailbox: bool
        _actor_task: asyncio.Task[None] | None

    def stop(self) -> None:
        """Stop this actor, behind the messages that were sent to it before.

        Raises:
            pykka.ActorDeadError: it has ended.
        """
        self._actor_ref.put(StopOf(self._actor_ref), bounded=False)

    def _stop(self) -> None:
        """Stop this actor after the message it is at; called by its own code only."""
        if self.lifecycle is RUNNING:
            self.lifecycle = STOPPING

    def retire(self) -> bool:
        """End in order, on the loop's thread, if nothing waits and nothing is being handled.

        The mailbox is closed before anything else can come: who sends then has to find another.

        Returns:
            whether it ends.
        """
        if self._actor_busy or not self.actor_inbox.close_if_empty():
            return False
        self._actor_busy = True
        self._actor_context.run(lambda: self._actor_go(self._actor_end(NORMAL)))
        return True

    def _actor_end(
        self, ended: Exit, envelope: Envelope | None = None, result: object = None
    ) -> Step | None:
        """Take no more messages, call the hook for this kind of end, then tear down."""
        self.lifecycle = STOPPING
        self._actor_ref.set_stopped()
        if self.registered:
            pykka.ActorRegistry.unregister(self._actor_ref)
        cause = ended.cause
        if cause is None and type(self).on_stop is Hooks.on_stop:
            self._actor_ended(ended, envelope, result, None, None)
            return None
        then = partial(self._actor_ended, ended, envelope, result)
        if cause is None:
            return call(self.on_stop, then)
        logger.opt(exception=cause).error("{} {} in {}", self._actor_ref, ended.kind, ended.phase)
        if ended.phase == "start":
            return then(None, None)
        return call(partial(self.on_failure, type(cause), cause, cause.__traceback__), then)

    def _actor_ended(
        self,
        ended: Exit,
        envelope: Envelope | None,
        result: object,
        _result: object,
        error: BaseException | None,
    ) -> None:
        """Come here when the last hook is done, or has failed."""
        if self.lifecycle is STOPPED:
            return  # it was buried meanwhile, and who waited was answered
        if error is not None:
            logger.opt(exception=error).error("{} failed at its end", self._actor_ref)
            if ended.kind is ExitKind.NORMAL:
                ended = Exit.of(error, "stop")
        self._actor_loop_teardown(ended, envelope, result)

    def _actor_loop_teardown(
        self, ended: Exit = NORMAL, envelope: Envelope | None = None, result: object = None
    ) -> None:
        """Close the mailbox, answer everyone who still waits, then tell the watchers."""
        self.lifecycle = STOPPED
        self._actor_living.discard(self._loop, self)
        if self._actor_owns_mailbox:
            for left in self.actor_inbox.close():
                self._actor_refuse(left, ended)
        else:
            self.actor_inbox.detach()
        if envelope is not None and envelope.reply_to is not None:
            if ended.phase == "receive":
                fail(envelope.reply_to, self._actor_dead(ended))
            else:
                answer(envelope.reply_to, result)
        self._actor_ref.set_exit(ended)

    def _actor_refuse(self, envelope: Envelope, ended: Exit) -> None:
        if envelope.reply_to is not None:
            if isinstance(envelope.message, STOPS):
                answer(envelope.reply_to, None)
            else:
                fail(envelope.reply_to, self._actor_dead(ended))
        elif not isinstance(envelope.message, STOPS):
            self.dead_letters += 1
            try:
                self.dead_letter(envelope)
            except BaseException as error:  # noqa: BLE001 - the others have to be answered
                logger.opt(exception=error).error("dead_letter() of {} failed", self._actor_ref)

    def _actor_dead(self, ended: Exit) -> pykka.ActorDeadError:
        msg = f"{self._actor_ref} stopped before it had handled the message"
        error = pykka.ActorDeadError(msg)
        error.__cause__ = ended.cause
        return error

    def _actor_bury(self, error: ActorError) -> None:
        """Answer those who wait for an actor that cannot end by itself."""
        self._actor_busy = True
        self._actor_ref.set_stopped()
        try:
            self._actor_loop_teardown(Exit(ExitKind.KILLED, error, "receive"))
        except BaseException as broken:  # noqa: BLE001 - whoever buries it is a stranger
            logger.opt(exception=broken).error("{} could not be buried", self._actor_ref)

    def _actor_break_off(self) -> None:
        """Cancel what a handler or hook waits for."""
        if self._actor_task is not None:
            self._actor_task.cancel()

    def _actor_go(self, step: Step | None) -> None:
        """Have a task take what is left to be awaited; an actor has one such task at a time."""
        if step is not None:
            self._actor_task = begin(
                step,
                self._actor_go_on,
                loop=self._loop,
                context=self._actor_context,
                name=type(self).__name__,
            )

    def _actor_go_on(self) -> None:
        # By identity: what this task did last may have begun another.
        if self._actor_task is asyncio.current_task(self._loop):
            self._actor_task = None
        self._actor_pump()
