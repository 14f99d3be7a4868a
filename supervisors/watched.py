"""Stock Pykka actors whose ends can be seen: a subclass that tells what Pykka keeps to itself."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka
from loguru import logger
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from ..actors.exit import AskFailed, Exit, ExitKind
from ..actors.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.exit import Notice, Phase

A = TypeVar("A", bound=pykka.Actor)

_ATTRIBUTE = "_wavebreak_vitals"


class Vitals:
    """What is known of a stock actor's life; its reference has it, so it outlives the actor."""

    __slots__ = ("_lock", "_watchers", "cause", "exit", "killed", "phase", "started")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: dict[object, Callable[[Notice], object]] = {}
        self.phase: Phase = "start"
        self.cause: BaseException | None = None
        self.killed = False
        self.exit: Exit | None = None
        self.started: Future[None] = Future()

    def watch(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Be told of each failed ask and of the end, on the actor's thread; as for loop actors."""
        token = object()
        with self._lock:
            ended = self.exit
            if ended is None:
                self._watchers[token] = callback
        if ended is not None:
            _notify(callback, ended)

        def unwatch() -> None:
            with self._lock:
                self._watchers.pop(token, None)

        return unwatch

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase, unless a failure ended it in this one."""
        if self.cause is None:
            self.phase = phase

    def fail(self, cause: BaseException | None) -> None:
        """Remember what ended it; what goes wrong later, while it ends, is not the cause."""
        if self.cause is None:
            self.cause = cause

    def tell(self, cause: Exception) -> None:
        """Tell of an ask that raised: the asker knows, and the actor lives on."""
        with self._lock:
            watchers = list(self._watchers.values())
        for callback in watchers:
            _notify(callback, AskFailed(cause))

    def end(self) -> None:
        """Tell how it ended; the thread does nothing more for the actor."""
        if self.cause is None:
            ended = Exit(ExitKind.NORMAL, None, "stop")
        else:
            ended = Exit.of(self.cause, self.phase)
        with self._lock:
            self.exit = ended
            watchers, self._watchers = list(self._watchers.values()), {}
        # Only one of them completes it: a start that failed.
        self.started.try_set_error(ended.cause or pykka.ActorDeadError("stopped before it started"))
        for callback in watchers:
            _notify(callback, ended)


class WatchedActor(pykka.Actor):
    """Mixed in before a stock class by ``watched``; does as Pykka does, and tells of it.

    One thing it does differently: a ``BaseException`` such as ``SystemExit`` ends this actor, of
    which somebody takes care, and not all the actors of the program.
    """

    _vitals: Vitals

    def _start_actor_loop(self) -> None:
        # Not in an __init__, whose arguments are the actor's own.
        self._vitals = Vitals()
        vars(self.actor_ref)[_ATTRIBUTE] = self._vitals
        super()._start_actor_loop()  # pyright: ignore[reportAbstractUsage] - of the mixed-in class

    def _actor_loop(self) -> None:
        try:
            self._actor_loop_setup()
            self._actor_loop_running()
        except BaseException as error:  # noqa: BLE001 - the thread ends here, and this is its report
            self._handle_failure(type(error), error, error.__traceback__)
        finally:
            try:
                self._actor_loop_teardown()
            finally:
                self._vitals.end()

    def _actor_loop_setup(self) -> None:
        super()._actor_loop_setup()
        self._vitals.enter("receive")
        if self._vitals.cause is None:
            self._vitals.started.try_set(None)

    def _actor_loop_running(self) -> None:
        while not self.actor_stopped.is_set():
            envelope = self.actor_inbox.get()
            if self._vitals.killed:
                # It is for nobody any more; the teardown answers those who wait.
                self.actor_inbox.put(envelope)
                return
            try:
                response = self._handle_receive(envelope.message)
                if envelope.reply_to is not None:
                    envelope.reply_to.set(response)
            except BaseException as error:  # noqa: BLE001 - it ends the actor, or is an answer
                self._received(envelope, error)

    def _received(self, envelope: Envelope[Any], error: BaseException) -> None:
        asked = envelope.reply_to
        if asked is not None and isinstance(error, Exception):
            asked.set_exception(sys.exc_info())
            self._vitals.tell(error)
            return
        self._handle_failure(type(error), error, error.__traceback__)
        if self._vitals.phase == "receive":
            try:
                self.on_failure(type(error), error, error.__traceback__)
            except BaseException as second:  # noqa: BLE001 - it ends anyway, by the first one
                self._handle_failure(type(second), second, second.__traceback__)
        if asked is not None:
            dead = pykka.ActorDeadError(f"{self.actor_ref} stopped before it had answered")
            dead.__cause__ = error
            asked.set_exception((type(dead), dead, None))

    def _stop(self) -> None:
        self._vitals.enter("stop")
        super()._stop()

    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self._vitals.fail(exception_value)
        super()._handle_failure(exception_type, exception_value, traceback)


def watched(actor_class: type[A]) -> type[A]:
    """Make a subclass of a stock actor class, of whose ends a watcher hears with their cause.

    Args:
        actor_class: any but our loop actors, which can be watched as they are.

    Returns:
        a class of the same name.
    """
    if issubclass(actor_class, WatchedActor):
        return actor_class
    names = {
        "__module__": actor_class.__module__,
        "__qualname__": actor_class.__qualname__,
        "__doc__": actor_class.__doc__,
    }
    return cast("type[A]", type(actor_class.__name__, (WatchedActor, actor_class), names))


def vitals_of(ref: pykka.ActorRef[Any]) -> Vitals | None:
    """What is known of a watched stock actor; None for any other."""
    found: Vitals | None = vars(ref).get(_ATTRIBUTE)
    return found


def let_go(ref: pykka.ActorRef[Any]) -> None:
    """Fence a stock actor: it takes no more messages, and ends when it is done with the one it has.

    Args:
        ref: its reference; a thread cannot be killed, so this is all the force there is.
    """
    vitals = vitals_of(ref)
    if vitals is not None:
        vitals.fail(asyncio.CancelledError("ended by its supervisor"))
        vitals.killed = True
    pykka.ActorRegistry.unregister(ref)
    ref.actor_stopped.set()
    # It may be asleep over an empty inbox.
    ref.actor_inbox.put(Envelope(_ActorStop()))


def _notify(callback: Callable[[Notice], object], notice: Notice) -> None:
    try:
        callback(notice)
    except BaseException as error:  # noqa: BLE001 - a watcher must not end what it watches
        logger.opt(exception=error).error("a watcher failed: {!r}", callback)
