"""How an actor gets its messages: as they come, in bursts, and from hand to hand."""

from __future__ import annotations

from functools import partial
from queue import Full  # not ``import queue``: CPython calls methods slower of what is named so
from sys import _getframe  # pyright: ignore[reportPrivateUsage] - documented
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pykka
from loguru import logger

from .exit import NORMAL, AskFailed, Exit
from .future import Future
from .hooks import Hooks
from .lifecycle import RUNNING, STOPPED, STOPPING
from .mailbox import Envelope, running_on
from .steps import is_awaitable

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Awaitable, Callable, Mapping
    from contextvars import Context

    from .lifecycle import Lifecycle
    from .living import Living
    from .mailbox import Mailbox
    from .reference import LoopActorRef
    from .steps import Step

BURST = 64
"""How many messages an actor handles in one go before the others of its loop have their turn."""


_NOTHING: type[object] = type(None)


class Receiving(Hooks):
    """What an actor does with messages; what it is made of, and its life, is ``AsyncioActor``'s."""

    __slots__ = ()

    _actor_direct: ClassVar[Mapping[type, Callable[[Any, Any], object]]] = {}
    """Plain handlers of what actors hand each other all the time; ``handle`` knows them, too."""

    _actor_is_plain: ClassVar[bool] = True
    """Whether ``handle`` is ours, so that what was told needs no envelope."""

    _actor_burst: ClassVar[int] = BURST
    """How many messages it handles in one go."""

    if TYPE_CHECKING:
        lifecycle: Lifecycle
        # Pykka's protocol wants a put() that gives nothing.
        actor_inbox: Mailbox  # type: ignore[assignment]
        _actor_busy: bool
        _actor_context: Context
        _actor_handlers: ClassVar[Mapping[type, Callable[[Any, Any], Any]]]
        _actor_living: ClassVar[Living[Any]]
        _actor_ref: LoopActorRef[Any]
        _loop: asyncio.AbstractEventLoop

        def handle(self, envelope: Envelope) -> Any:
            """See ``AsyncioActor``."""

        def _actor_end(
            self, ended: Exit, envelope: Envelope | None = None, result: object = None
        ) -> Step | None: ...

        def _actor_called(self) -> None: ...

        def _actor_go(self, step: Step | None) -> None: ...

    def drain(self) -> bool:
        """Handle now what waits, on the loop's thread, in the middle of whatever it does.

        Only as many messages as wait at the call, and never one inside another of the same
        actor: called from its own handler, or from a task in its own context (not a copy of
        it), it does nothing; nor on top of a stack that is deep already.

        Returns:
            whether the actor runs, nothing waits and nothing is being handled.
        """
        if not self._actor_busy and self.actor_inbox.pending and not is_deep():
            try:
                self._actor_context.run(self._actor_take, self.actor_inbox.qsize())
            except RuntimeError:
                # Our context is entered further down the stack; no handler raises to here.
                return False
        return not (self._actor_busy or self.actor_inbox.pending)

    def _actor_help(self) -> None:
        """Handle now what waits, for somebody on our loop who can do nothing but wait for it.

        It is handled at the next turn of the loop anyway. All who wait share what may be done
        before that, so nobody holds up the loop by asking again and again.
        """
        if self._actor_busy or not running_on(self._loop) or is_deep():
            return
        due = self._actor_living.due(self._loop)
        spare = due.spare
        try:
            left = self._actor_context.run(self._actor_take, spare)
        except RuntimeError:
            return  # our context is entered further down the stack; nothing was done yet
        due.spare -= spare - left  # what is handled may have waited for something as well

    def hand(self, message: object) -> None:
        """Give the actor a message on its loop's thread: it handles it now, if it is free.

        Otherwise the message is put behind what waits, unbounded. For actors that work hand in
        hand on one loop: no turn of the loop lies between them.

        Args:
            message: what to send; nobody is answered.

        Raises:
            ActorDeadError: the actor has ended, and its mailbox with it.
        """
        inbox = self.actor_inbox
        if not (self._actor_busy or inbox.first is not None or inbox.queue):
            try:
                self._actor_context.run(self._actor_take_over, message)
            except RuntimeError:
                pass  # our context is entered further down the stack; nothing was done yet
            else:
                return
        inbox.put(Envelope(message), bounded=False)

    def _actor_hand(self, message: object) -> bool:
        """Handle a message now, on the loop's thread, if the actor is free and nothing waits.

        For a program's own code, an agent's too, which may recurse for ever: nothing is handled
        on top of a stack that is deep already.

        Args:
            message: anything; nobody is answered.

        Returns:
            whether it was; otherwise nothing happened.
        """
        inbox = self.actor_inbox
        if self._actor_busy or inbox.first is not None or inbox.queue or is_deep():
            return False
        try:
            self._actor_context.run(self._actor_take_over, message)
        except RuntimeError:
            return False  # our context is entered further down the stack; nothing was done yet
        return True

    def _actor_pump(self) -> None:
        """Handle what waits, and come again later if that is much.

        Whenever something waits and the actor is free, a call of this is on its way: by the
        mailbox, from here, or at the end of the message that takes its time.
        """
        left = self._actor_burst
        while True:
            left = self._actor_take(left)
            if self._actor_busy:
                return
            if not left:
                self._actor_living.due(self._loop).add(self)
                return
            envelope = self.actor_inbox.pop()
            if envelope is None:
                return
            self._actor_receive(envelope)

    def _actor_take(self, limit: int) -> int:
        """Handle what waits, up to a limit or a message that takes its time.

        Returns:
            how much of the limit is left.
        """
        inbox = self.actor_inbox
        while limit and not self._actor_busy:
            queue = inbox.queue
            if queue and inbox.first is None and self._actor_is_plain:
                limit = self._actor_take_told(queue, limit)
            elif queue or inbox.first is not None:
                envelope = inbox.pop()
                if envelope is not None:
                    self._actor_receive(envelope)
                limit -= 1
            else:
                break
        return limit

    def _actor_take_told(self, queue: deque[Any], limit: int) -> int:
        """Handle what was told in a burst, as far as the first that is not just that.

        Returns:
            how much of the limit is left.
        """
        inbox, receive = self.actor_inbox, self.on_receive
        kind = plain = _NOTHING  # of the last message, and of the last result not to be awaited
        self._actor_busy = True
        left = limit
        for left in reversed(range(limit)):
            message: object = queue.popleft()
            if type(message) is not kind:
                kind = type(message)
                if kind in self._actor_handlers or issubclass(kind, Envelope):
                    self._actor_receive(inbox.enclosed(message))
                    return left
            try:
                result: object = receive(message)
            except BaseException as error:  # noqa: BLE001 - it ends this actor, not the loop
                self._actor_go(self._actor_received(Envelope(message), None, error))
                return left
            if result is not None and type(result) is not plain:
                if is_awaitable(result):
                    later = cast("Awaitable[Any]", result)
                    self._actor_go((later, partial(self._actor_received, Envelope(message))))
                    return left
                plain = type(result)
            if self.lifecycle is not RUNNING:
                self._actor_go(self._actor_received(Envelope(message), None, None))
                return left
            if not queue or inbox.first is not None:
                break
        self._actor_busy = False
        return left

    def _actor_take_over(self, message: object) -> None:
        """Handle what was handed over; as :meth:`_actor_receive`, without an envelope if it can."""
        handler = self._actor_direct.get(type(message))
        if handler is None:
            envelope = Envelope(message)
            envelope.stamp = self.actor_inbox.last_stamp
            self._actor_receive(envelope)
            return
        self._actor_busy = True
        try:
            handler(self, message)
        except BaseException as error:  # noqa: BLE001 - it ends this actor, not the loop
            self._actor_go(self._actor_received(Envelope(message), None, error))
            return
        if self.lifecycle is RUNNING:
            self._actor_busy = False
        else:
            self._actor_go(self._actor_received(Envelope(message), None, None))

    def _actor_receive(self, envelope: Envelope) -> None:
        self._actor_busy = True
        try:
            result = self.handle(envelope)
        except BaseException as error:  # noqa: BLE001 - it ends this actor, not the loop
            self._actor_go(self._actor_received(envelope, None, error))
            return
        if result is not None and is_awaitable(result):
            self._actor_go((result, partial(self._actor_received, envelope)))
        elif self.lifecycle is RUNNING:
            if envelope.reply_to is not None:
                answer(envelope.reply_to, result)
            self._actor_busy = False
        else:
            self._actor_go(self._actor_received(envelope, result, None))

    def _actor_received(
        self, envelope: Envelope, result: object, error: BaseException | None
    ) -> Step | None:
        """Answer one message, and see whether the actor goes on."""
        if self.lifecycle is STOPPED:
            return None  # it was buried meanwhile, and who waited was answered
        if error is not None and self._actor_ends_by(envelope, error):
            return self._actor_end(Exit.of(error, "receive"), envelope)
        if self.lifecycle is STOPPING:
            # Its answer comes when all is done: who asked us to stop finds us stopped.
            return self._actor_end(NORMAL, envelope, result)
        if envelope.reply_to is not None:
            answer(envelope.reply_to, result)
        self._actor_busy = False
        return None

    def _actor_ends_by(self, envelope: Envelope, error: BaseException) -> bool:
        """Tell the asker of an error; say whether it ends the actor instead."""
        asked = envelope.reply_to
        if asked is None or not isinstance(error, Exception):
            return True
        envelope.reply_to = None
        logger.opt(exception=error).debug("an ask of {} failed", self._actor_ref)
        fail(asked, error)
        self._actor_ref.tell_watchers(AskFailed(error))
        return False


def is_deep() -> bool:
    """Whether the stack of who calls is as deep as that of few programs.

    A program that has recursed up to the limit shall fail alone: an actor that handled something
    on top of that stack would come to the limit in the middle of it.
    """
    try:
        _getframe(_DEEP)
    except ValueError:
        return False
    return True


_DEEP = 150
"""Frames; Python's limit is 1,000 of them."""


def answer(reply_to: pykka.Future[Any], value: object) -> None:
    """Answer who asked, unless that was done."""
    try:
        if not isinstance(reply_to, Future):
            reply_to.set(value)
        elif not reply_to.try_set(value):
            raise Full  # noqa: TRY301 - as any other future does
    except Full:
        logger.debug("answered before: {}", reply_to)


def fail(reply_to: pykka.Future[Any], error: BaseException) -> None:
    """Tell who asked of an error, unless there was an answer."""
    try:
        reply_to.set_exception((type(error), error, error.__traceback__))
    except Full:
        logger.debug("answered before: {}", reply_to)
