"""An actor on an asyncio loop that it shares with many others."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage] - raises nothing
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pykka
from pykka._introspection import get_attr_directly
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from ..messages.errors import ActorError
from .asked import StopOf
from .ending import Ending
from .exit import Exit
from .future import Future
from .lifecycle import NEW, RUNNING, STARTING, Lifecycle
from .living import Living
from .mailbox import Envelope, Mailbox
from .receiving import BURST
from .reference import LoopActorRef
from .remains import StopEvent
from .steps import call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from .steps import Step

__all__ = ["BURST", "AsyncioActor", "Lifecycle"]


class AsyncioActor(Ending):
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

    # --- the phases: setup, running; the last is Ending's ----------------------------------------

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

    # --- Pykka's own messages -------------------------------------------------------------------

    def _actor_handle_stop(self, message: StopOf | _ActorStop) -> Any:
        if not isinstance(message, StopOf) or message.ref is self._actor_ref:
            return self._stop()
        if message.ref.actor_inbox is self.actor_inbox:
            return None  # left of the actor before, in a mailbox that outlives us: not for us
        return self.on_receive(message)  # a program's: what another actor's stop() gave it

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
    _locks = AsyncioActor._actor_lock, Future._lock, LoopActorRef._lock  # noqa: SLF001 - of all of ours
    for _shared in _locks:
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
