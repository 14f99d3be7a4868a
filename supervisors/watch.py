"""The death watch for any Pykka actor, and the way to know that one has started."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from ..actors.exit import Exit, ExitKind
from ..actors.future import Future
from ..actors.mailbox import Envelope, Lane
from ..actors.reference import LoopActorRef
from ..messages.errors import ActorError
from .watched import vitals_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.exit import Notice

_PROBE = ProxyGetAttr(attr_path=("actor_urn",))


class UnknownCause(ActorError):
    """An actor that nobody could watch has ended; start it by its class to learn why."""


def watch(ref: pykka.ActorRef[Any], callback: Callable[[Notice], object]) -> Callable[[], None]:
    """Be told of each failed ask of an actor, and once of its end.

    An end is told when the actor is really gone: after ``on_stop``, when its mailbox is answered.
    Of a stock actor that was not started as ``watched`` (a supervisor does that for classes), only
    its end is told, as failed with an ``UnknownCause``, when its thread is gone.

    Args:
        ref: any Pykka actor's.
        callback: called with an ``AskFailed`` or the ``Exit``, on whatever thread the actor lives;
            at once, and here, if it has ended. What it raises is logged, no more.

    Returns:
        a function to stop watching with.
    """
    if isinstance(ref, LoopActorRef):
        return ref.watch(callback)
    vitals = vitals_of(ref)
    if vitals is not None:
        return vitals.watch(callback)
    return _watch_thread(ref, callback)


def when_started(ref: pykka.ActorRef[Any]) -> Future[None]:
    """A future that is done when an actor's ``on_start`` is; it fails as that failed.

    Args:
        ref: any Pykka actor's.

    Returns:
        a future that fails with what ``on_start`` raised, or with ``pykka.ActorDeadError``.
    """
    vitals = None if isinstance(ref, LoopActorRef) else vitals_of(ref)
    return _probe(ref) if vitals is None else vitals.started


def _probe(ref: pykka.ActorRef[Any]) -> Future[None]:
    """Ask something harmless: it is answered once the actor reads its messages."""
    if isinstance(ref, LoopActorRef):
        answer: pykka.Future[Any] = Future[Any](ref.loop)
        # If it has ended, the watch below says how.
        with contextlib.suppress(pykka.ActorDeadError):
            ref.actor_inbox.put(Envelope(_PROBE, answer), Lane.CONTROL)
    else:
        answer = ref.ask(_PROBE, block=False)
    started = Future[None]()

    def ended(notice: Notice) -> None:
        if isinstance(notice, Exit):
            error = notice.cause or pykka.ActorDeadError(f"{ref} stopped before it had started")
            started.try_set_error(error)
            if not isinstance(answer, Future):
                _release(answer, error)

    def answered(_answer: Future[Any]) -> None:
        # Whatever it says, it was read; unless it comes out of the mailbox of one that is gone.
        if not isinstance(_answer.error(), pykka.ActorDeadError):
            started.try_set(None)

    unwatch = watch(ref, ended)
    started.add_done_callback(lambda _started: unwatch())
    Future.bridge(answer).add_done_callback(answered)
    return started


def _release(answer: pykka.Future[Any], error: BaseException) -> None:
    """Let go the thread that waits for an answer which a dead thread will not give."""
    # Every kind of future says in its own way that it was answered before.
    with contextlib.suppress(Exception):
        answer.set_exception((type(error), error, error.__traceback__))


def _watch_thread(
    ref: pykka.ActorRef[Any], callback: Callable[[Notice], object]
) -> Callable[[], None]:
    """Watch an actor that does not tell: a thread of its own waits for the end of the actor's."""
    cared = threading.Event()
    cared.set()

    def wait(thread: threading.Thread | None) -> None:
        if thread is not None:
            thread.join()
        elif not issubclass(ref.actor_class, pykka.ThreadingActor):
            ref.actor_stopped.wait()
        # A thread that just died has not said so.
        ref.actor_stopped.set()
        pykka.ActorRegistry.unregister(ref)
        if cared.is_set():
            cause = UnknownCause(f"{ref} has ended, and nobody could see why")
            callback(Exit(ExitKind.FAILED, cause, "receive"))

    name = f"wavebreak-watch-{ref.actor_class.__name__}"
    work = partial(wait, _thread_of(ref))
    threading.Thread(target=work, name=name, daemon=True).start()
    return cared.clear


def _thread_of(ref: pykka.ActorRef[Any]) -> threading.Thread | None:
    """Find the thread that an actor's loop runs on; None if it has ended, or is none."""
    for thread in threading.enumerate():
        target = getattr(thread, "_target", None)
        owner = getattr(target, "__self__", None)
        if isinstance(owner, pykka.Actor) and owner.actor_urn == ref.actor_urn:
            return thread
    return None
