"""An actor on an asyncio loop that it shares with many others."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage] - raises nothing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pykka
from loguru import logger
from pykka._introspection import get_attr_directly
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from ..messages.errors import ActorError
from .exit import NORMAL, Exit, ExitKind
from .future import Future
from .living import Living
from .mailbox import Envelope, Mailbox
from .receiving import (
    BURST,
    NEW,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    Lifecycle,
    Receiving,
    answer,
    fail,
)
from .reference import STOPS, LoopActorRef, StopEvent, StopOf
from .steps import begin, call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from .steps import Step

__all__ = ["BURST", "AsyncioActor", "Lifecycle"]


class AsyncioActor(Receiving):
    """A Pykka actor that shares its asyncio loop with any number of others.

    Everything of Pykka's works on it from any thread: ``tell``, ``ask``, proxies, ``stop``, the
    hooks. Handlers and hooks may be ``async``; one message is handled at a time, and while its
    coroutine waits the others of the loop go on, but not this actor. A plain handler costs no
    task. A handler's coroutine, or other awaitable, is awaited before the answer is given; a
    Pykka future is not: as in Pykka it is a value, and the asker gets the future.

    What a handler raises for a ``tell`` ends the actor (``on_failure`` is called), for an ``ask``
    it is the answer. A ``BaseException`` that is no ``Exception`` ends this actor in both cases,
    never the loop and never other actors; who asked gets ``ActorDeadError`` with it as its cause.

    All of an actor runs in its own context variables, a copy of those of whoever started it.

    A running actor is kept alive until it is stopped, also if nobody holds a reference to it:
    ``_actor_living`` is the one registry, a set for each loop. Pykka's ``ActorRegistry`` is a
    list, in which starting and stopping cost the more, the more actors live; so ours are not in
    it, and ``ActorRegistry.stop_all()``, ``broadcast()`` and ``get_by_*()`` do not see them,
    unless their class says ``registered = True``. (``stop_all()`` blocks, so it is not for the
    loop of a registered one; ``stop_all(block=False)`` is.)

    A loop that is closed under its actors gives them no chance to stop: stop them before.

    A subclass may use any name but the public ones below, ``_loop``, which is where it lives, and
    what starts with ``_actor_`` or is Pykka's.

    Args:
        loop: where it lives; by default the one that ``start`` or ``start_on`` was called for.
        mailbox: one that belongs to somebody else, for whom it keeps its messages when the
            actor ends. By default the actor has its own, which closes with it.

    Raises:
        ActorError: there is no loop.
    """

    __slots__ = (
        "_actor_busy",
        "_actor_context",
        "_actor_owns_mailbox",
        "_actor_ref",
        "_actor_task",
        "_loop",
        "actor_inbox",
        "dead_letters",
        "lifecycle",
    )

    registered: ClassVar[bool] = False
    """Whether actors of this class are in Pykka's ``ActorRegistry``; a few may be, many not."""

    capacity: ClassVar[int | None] = 10_000
    """How many ordinary messages may wait; None for no bound.

    Threads that tell at the very same moment may exceed it by one each.
    """

    _actor_living: ClassVar[Living[AsyncioActor]] = Living()

    _actor_lock: ClassVar[threading.RLock] = threading.RLock()
    """Of all their mailboxes, held for some bytecodes at a time: each of its own is 80 bytes."""

    _actor_mark: ClassVar[str] = "_actor_ref"
    """An attribute that is there once our ``__init__`` was called."""

    # Pykka's protocol wants a put() that gives nothing.
    actor_inbox: Mailbox
    _actor_ref: LoopActorRef[Any]

    lifecycle: Lifecycle
    """Where it is in its life."""

    dead_letters: int
    """How many messages that nobody waits for were left when it ended."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "handle" in cls.__dict__ and "_actor_direct" not in cls.__dict__:
            cls._actor_direct = {}  # its own ``handle`` wants to see everything
        cls._actor_is_plain = cls.handle is AsyncioActor.handle

    def __init__(
        self, *, loop: asyncio.AbstractEventLoop | None = None, mailbox: Mailbox | None = None
    ) -> None:
        # Not Pykka's own __init__: urn, event and queue cost 12 µs and 5.6 KB, for many actors
        # of which hardly one is ever asked for them.
        if loop is None:
            try:
                # There is one that ``start`` left here before ``__init__``.
                loop = self._loop if mailbox is None else mailbox.loop
            except AttributeError:
                loop = _get_running_loop() or _no_loop(type(self).__name__)
        self._loop = loop
        self._actor_owns_mailbox = mailbox is None
        if mailbox is None:
            # By their places: by their names it takes 0.1 µs more.
            mailbox = Mailbox(loop, self.capacity, self._actor_lock)
        self.actor_inbox = mailbox
        self.lifecycle = NEW
        self.dead_letters = 0
        # Whether it cannot take a message: before it runs, while one is handled, and at the end.
        self._actor_busy = True
        self._actor_task: asyncio.Task[None] | None = None
        self._actor_ref = LoopActorRef(self, mailbox)

    if not TYPE_CHECKING:  # the checkers see Pykka's plain attributes

        @property
        def actor_urn(self) -> str:
            """See ``LoopActorRef.actor_urn``."""
            return self._actor_ref.actor_urn

        @property
        def actor_stopped(self) -> StopEvent:
            """See ``LoopActorRef.actor_stopped``."""
            return self._actor_ref.actor_stopped

    @property
    def actor_ref(  # pyright: ignore[reportIncompatibleMethodOverride] - see start()
        self,
    ) -> LoopActorRef[Self]:
        """The reference to this actor; always the same one."""
        return self._actor_ref

    # --- starting -------------------------------------------------------------------------------

    @classmethod
    def start(  # pyright: ignore[reportIncompatibleMethodOverride] - a reference is invariant
        cls, *args: Any, **kwargs: Any
    ) -> LoopActorRef[Self]:
        """Start an actor on the running loop.

        Args:
            args: for its ``__init__``, which is called here.
            kwargs: for its ``__init__``.

        Raises:
            ActorError: no loop runs on this thread.
        """
        loop = _get_running_loop() or _no_loop(cls.__name__)
        actor = cls._actor_make(loop, args, kwargs)
        return actor._actor_launch()  # noqa: SLF001 - a class method, not a stranger

    @classmethod
    def start_on(
        cls, loop: asyncio.AbstractEventLoop, /, *args: Any, **kwargs: Any
    ) -> LoopActorRef[Self]:
        """Start an actor on a loop, from any thread.

        Args:
            loop: where it will live; it may start to run later.
            args: for its ``__init__``, which is called here, on the calling thread.
            kwargs: for its ``__init__``.

        Raises:
            ActorError: the loop is closed.
        """
        if loop.is_closed():
            raise ActorError(_closed_loop(cls.__name__, loop))
        actor = cls._actor_make(loop, args, kwargs)
        return actor._actor_launch()  # noqa: SLF001 - a class method, not a stranger

    @classmethod
    def _actor_make(
        cls,
        loop: asyncio.AbstractEventLoop,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Self:
        actor = cls.__new__(cls, *args, **kwargs)
        # There before __init__, so that a subclass need not pass the loop on to ours.
        actor._loop = loop  # noqa: SLF001 - a class method, not a stranger
        cls.__init__(actor, *args, **kwargs)
        if not hasattr(actor, cls._actor_mark):
            msg = f"{cls.__name__}.__init__() did not call super().__init__(): it has to"
            raise ActorError(msg)
        return actor

    def _actor_launch(self) -> LoopActorRef[Self]:
        if self.registered:
            pykka.ActorRegistry.register(self._actor_ref)
        self._start_actor_loop()
        return self._actor_ref

    @staticmethod
    def _create_actor_inbox() -> NoReturn:
        # Pykka's way to have one made; ours has to know the loop.
        raise NotImplementedError

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        self._actor_context = contextvars.copy_context()
        self.lifecycle = STARTING
        self._actor_living.due(self._loop).add(self)

    def _actor_start_here(self) -> None:
        """Begin at once, for actors that are started on their loop by another one of ours."""
        self._actor_context = contextvars.copy_context()
        self.lifecycle = STARTING
        self._actor_context.run(self._actor_loop_setup)

    # --- hooks: each of them may be async -------------------------------------------------------
    # mypy compares an override with Pykka's own hook too, which is plain: there an async one needs
    # a ``type: ignore[override]``, or is written as a plain one that returns a coroutine.

    def on_start(self) -> Any:
        """Set up what has to be there before the first message; if it raises, the actor ends."""

    def on_stop(self) -> Any:
        """Clean up after the last message, when the actor was asked to stop."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """Clean up when a message ended the actor; ``on_stop`` is not called then.

        Args:
            exception_type: the class of what was raised.
            exception_value: what was raised.
            traceback: where.
        """

    def on_receive(self, message: Any) -> Any:
        """Handle a message that is not a proxy's; by default it is logged as unexpected.

        Args:
            message: what was sent.

        Returns:
            the answer, for those who asked; awaited first if it is awaitable.
        """
        logger.warning("unexpected message to {}: {}", self._actor_ref, type(message).__name__)

    def dead_letter(self, envelope: Envelope) -> None:
        """Take note of a message that nobody waits for, left when the actor ended.

        It was counted already. By default it is logged, no more.

        Args:
            envelope: the message.
        """
        logger.debug("dead letter of {}: {}", self._actor_ref, envelope)

    # --- handling messages ----------------------------------------------------------------------

    def handle(self, envelope: Envelope) -> Any:
        """Handle one message; for actors that dispatch by themselves, others have ``on_receive``.

        An override passes on to this one what is not its own: stops and proxies. To answer later
        than it returns, it takes ``reply_to`` and sets it to None in the envelope.

        Args:
            envelope: the message with its stamp, and the future for the answer.

        Returns:
            the answer, or an awaitable of it.
        """
        message: object = envelope.message
        handler = self._actor_handlers.get(type(message))
        return self.on_receive(message) if handler is None else handler(self, message)

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

    # --- the three phases: setup, running, teardown ---------------------------------------------

    def _actor_loop_setup(self) -> None:
        """Call ``on_start``; from here on the actor is kept alive."""
        for orphan in self._actor_living.add(self._loop, self):
            closed = ActorError(_closed_loop(type(orphan).__name__, orphan.actor_inbox.loop))
            orphan._actor_bury(closed)  # noqa: SLF001 - one of ours
        if type(self).on_start is AsyncioActor.on_start:
            step = self._actor_started(None, None)
        else:
            step = call(self.on_start, self._actor_started)
        if step is not None:
            self._actor_go(step)

    def _actor_started(self, _result: object, error: BaseException | None) -> Step | None:
        if error is not None:
            return self._actor_end(Exit.of(error, "start"))
        self._actor_loop_running()
        return None

    def _actor_loop_running(self) -> None:
        """Begin to read. From here on nothing of an idle actor waits anywhere: it is called."""
        self.lifecycle = RUNNING
        self._actor_busy = False
        self.actor_inbox.attach(self._actor_living.due(self._loop), None, self)

    def _actor_called(self) -> None:
        """Have a turn of the loop, in our context: there is something to do."""
        if self.lifecycle is STARTING:
            self._actor_loop_setup()
        else:
            self._actor_pump()

    def _actor_end(
        self, ended: Exit, envelope: Envelope | None = None, result: object = None
    ) -> Step | None:
        """Take no more messages, call the hook for this kind of end, then tear down."""
        self.lifecycle = STOPPING
        self._actor_ref.set_stopped()
        if self.registered:
            pykka.ActorRegistry.unregister(self._actor_ref)
        cause = ended.cause
        if cause is None and type(self).on_stop is AsyncioActor.on_stop:
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

    # --- Pykka's own messages -------------------------------------------------------------------

    def _actor_handle_stop(self, message: StopOf | _ActorStop) -> None:
        # One that is left of the actor before, in a mailbox that outlives us, is not for us.
        if not isinstance(message, StopOf) or message.ref is self._actor_ref:
            self._stop()

    def _actor_handle_call(self, message: ProxyCall) -> Any:
        return get_attr_directly(self, message.attr_path)(*message.args, **message.kwargs)

    def _actor_handle_get(self, message: ProxyGetAttr) -> Any:
        return get_attr_directly(self, message.attr_path)

    def _actor_handle_set(self, message: ProxySetAttr) -> None:
        parent = get_attr_directly(self, message.attr_path[:-1])
        setattr(parent, message.attr_path[-1], message.value)

    _actor_handlers: ClassVar[Mapping[type, Callable[[Any, Any], Any]]] = {
        StopOf: _actor_handle_stop,
        _ActorStop: _actor_handle_stop,
        ProxyCall: _actor_handle_call,
        ProxyGetAttr: _actor_handle_get,
        ProxySetAttr: _actor_handle_set,
    }


if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads that hold them at that moment, and could start no
    # actor of its own.
    for _shared in (AsyncioActor._actor_lock, Future._lock):  # noqa: SLF001 - of all of ours
        os.register_at_fork(
            before=_shared.acquire, after_in_parent=_shared.release, after_in_child=_shared.release
        )


def _no_loop(name: str) -> NoReturn:
    msg = (
        f"no event loop runs on this thread for {name}: call start() inside a coroutine, or"
        " start_on(loop, ...) from any thread"
    )
    raise ActorError(msg)


def _closed_loop(name: str, loop: asyncio.AbstractEventLoop) -> str:
    return f"{name} cannot live on {loop!r}: use a loop that is open, and stop actors before it"
