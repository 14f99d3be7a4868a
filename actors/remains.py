"""What remains of an actor: whether and how it ended, and who wants to know."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pykka
from loguru import logger

from .exit import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from .actor import AsyncioActor
    from .exit import AskFailed, Notice
    from .mailbox import Mailbox
    from .reference import LoopActorRef

    Watcher: TypeAlias = Callable[[Notice], object]

A = TypeVar("A", bound="AsyncioActor")


class Remains(pykka.ActorRef[A]):
    """The little that must outlive an actor; the rest of its reference is ``LoopActorRef``'s."""

    __slots__ = ("_actor", "_event", "_exit", "_open", "_watchers")

    # For the rare changes of who watches; nothing of a user's runs while it is held.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    _actor: A | None
    """Until it has ended."""

    _open: Mailbox | None
    """Where its messages go, as long as it takes any."""

    _exit: Exit | None
    _event: threading.Event | None

    _watchers: Watcher | _Several | None
    """Nobody, one, as for nearly every actor, or several."""

    @property
    def exit(self) -> Exit | None:
        """How the actor ended; None as long as it has not."""
        return self._exit

    def is_alive(self) -> bool:
        """Say whether the actor takes messages: from its start until it begins to stop."""
        return self._open is not None

    # --- watching -------------------------------------------------------------------------------

    def watch(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Be told of each failed ask, and once of the actor's end.

        Args:
            callback: called on the loop with an ``AskFailed`` or the ``Exit``; at once, and
                here, with the ``Exit`` if the actor has ended. What it raises is logged, no more.

        Returns:
            a function to stop watching with.
        """
        ended = self._watch(callback)
        if ended is not None:
            _notify(callback, ended)
        watches = True

        def unwatch() -> None:
            nonlocal watches
            with self._lock:
                if watches:
                    watches = False
                    self._watchers = _without(callback, _all(self._watchers))

        return unwatch

    def _watch(self, callback: Watcher) -> Exit | None:
        """Have a callback told of what happens from now on; gives the end if that has come."""
        with self._lock:
            if self._exit is None:
                before = self._watchers
                self._watchers = callback if before is None else _Several((*_all(before), callback))
            return self._exit

    # --- what its actor tells it ----------------------------------------------------------------

    def tell_watchers(self, notice: AskFailed) -> None:
        """Tell those who watch of something that did not end the actor."""
        for callback in _all(self._watchers):
            _notify(callback, notice)

    def set_stopped(self) -> None:
        """Let nothing more be sent to the actor."""
        self._open = None
        # The other way round in _wait_event: so one of us sees what the other one did.
        if self._event is not None:
            self._event.set()

    def set_exit(self, ended: Exit) -> None:
        """Let go of the actor, and tell those who watch how it ended."""
        with self._lock:
            self._exit = ended
            watchers, self._watchers = self._watchers, None
        self._actor = None
        if isinstance(watchers, _Several):
            for callback in watchers:
                _notify(callback, ended)
        elif watchers is not None:
            _notify(watchers, ended)

    def _wait_event(self) -> threading.Event:
        """Make the real event, now that somebody wants to wait."""
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
                if self._open is None:
                    self._event.set()
            return self._event


class StopEvent(threading.Event):
    """The face of ``threading.Event`` for whether an actor stopped; a real one only for waiting.

    Args:
        ref: the reference of the actor.
    """

    def __init__(self, ref: LoopActorRef[Any]) -> None:
        # Not Event's own __init__, which would make the lock and the condition (2-3 µs, 1.2 KB).
        self._ref = ref

    def is_set(self) -> bool:
        """Say whether the actor takes no more messages."""
        return not self._ref.is_alive()

    def set(self) -> None:
        """Mark the actor as stopped; ``stop()`` is what stops it."""
        self._ref.set_stopped()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the actor takes no more messages; not on its own loop.

        Args:
            timeout: seconds; None for as long as it takes.

        Raises:
            WouldDeadlock: called on the actor's own loop, which would have to stop it.
        """
        if not self.is_set():
            self._ref._refuse_on_loop("wait")  # noqa: SLF001
        return self._ref._wait_event().wait(timeout)  # noqa: SLF001


class _Several(list[Any]):
    """Those who watch one actor, when they are not just one."""

    __slots__ = ()


def _all(watchers: Watcher | _Several | None) -> _Several:
    if watchers is None:
        return _Several()
    return watchers if isinstance(watchers, _Several) else _Several((watchers,))


def _without(callback: Watcher, watchers: _Several) -> _Several:
    """These without one; by identity, and only once if it is among them several times."""
    for place, other in enumerate(watchers):
        if other is callback:
            return _Several((*watchers[:place], *watchers[place + 1 :]))
    return watchers


def _notify(callback: Callable[[Notice], object], notice: Notice) -> None:
    try:
        callback(notice)
    except BaseException as error:  # noqa: BLE001 - a watcher must not end what it watches
        logger.opt(exception=error).error("a watcher failed: {!r}", callback)
