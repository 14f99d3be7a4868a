"""A cancellation token: a thread-safe flag with a reason, a deadline, callbacks and children."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from loguru import logger

from ..messages.errors import TokenHeld

TIMEOUT_REASON: Final = "Operation timeout"
DEFAULT_REASON: Final = "Operation cancelled"

Callback = Callable[[], object]
TakeBack = Callable[[], None]


class CancellationToken:
    """Says, from any thread, that work should stop at its next boundary; the first reason stands.

    There is no timer behind the deadline: it is seen by whoever looks (``is_cancelled``,
    ``cancel_reason``, ``cancel``, ``add_callback``), so it works without a loop. A running turn
    looks by itself when ``time_left`` is over.

    Args:
        deadline: seconds from now after which the token is cancelled with "Operation timeout".
        clock: monotonic seconds.

    Raises:
        ValueError: the deadline is negative or not a number.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_clock",
        "_deadline",
        "_expires_at",
        "_holders",
        "_lock",
        "_parent",
        "_reason",
        "_unlink",
    )

    def __init__(
        self, deadline: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if deadline is not None and not deadline >= 0:
            msg = f"deadline={deadline!r}: give seconds from now, 0 or more, or None"
            raise ValueError(msg)
        # Re-entrant, because a signal handler that cancels may interrupt the holder.
        self._lock = threading.RLock()
        self._clock = clock
        self._deadline = deadline
        self._expires_at = None if deadline is None else clock() + deadline
        self._reason: str | None = None
        self._callbacks: dict[object, Callback] = {}
        self._parent: CancellationToken | None = None
        self._unlink: TakeBack = _nothing
        self._holders = 0

    def __repr__(self) -> str:
        state = "live" if self._reason is None else f"cancelled: {self._reason}"
        return f"<CancellationToken {state}>"

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled, its parent was, or its deadline is over."""
        if self._reason is not None:
            return True
        if self._expires_at is None and self._parent is None:
            return False
        self._look()
        return self._reason is not None

    @property
    def cancel_reason(self) -> str | None:
        """The first reason it was cancelled for; None while it is not."""
        return self._reason if self.is_cancelled else None

    @property
    def time_left(self) -> float | None:
        """Seconds until the nearest deadline of it and its parents, 0 when over; None if none."""
        own = None if self._expires_at is None else max(0.0, self._expires_at - self._clock())
        parents = None if self._parent is None else self._parent.time_left
        if own is None or parents is None:
            return parents if own is None else own
        return min(own, parents)

    def cancel(self, reason: str = DEFAULT_REASON) -> bool:
        """Cancel it and its children, and call the callbacks in this thread.

        Args:
            reason: why, in words; stands only if this is the first.

        Returns:
            Whether this call cancelled it.
        """
        return not self.is_cancelled and self._cancel(reason)

    def add_callback(self, callback: Callback) -> TakeBack:
        """Have a function called once when the token is cancelled, or now if it is already.

        It is called without arguments in the thread that cancels. One that raises is logged, and
        does not stop the others.

        Args:
            callback: what to call; added twice, it is called twice.

        Returns:
            A function that takes the callback back.
        """
        key = object()
        with self._lock:
            waits = self._reason is None
            if waits:
                self._callbacks[key] = callback
        if not waits:
            _call_all([callback])
            return _nothing
        self._link()
        self._look()  # only now, so that a deadline that is just over calls it too
        return lambda: self._remove(key)

    def child(self, deadline: float | None = None) -> CancellationToken:
        """A token that is cancelled with this one, and by itself without touching this one.

        Args:
            deadline: seconds from now, of the child alone.
        """
        child = CancellationToken(deadline, clock=self._clock)
        child._born_of(self)
        return child

    def reset(self) -> None:
        """Make it as new: not cancelled, its deadline counted from now.

        Children that were cancelled with it stay cancelled. A child is cancelled again at the
        next look if its parent still is.

        Raises:
            TokenHeld: a running turn or plan holds it.
        """
        with self._lock:
            if self._holders:
                msg = (
                    "the token is held by a running turn or plan: reset it when that has ended, "
                    "or give the next one a new CancellationToken"
                )
                raise TokenHeld(msg)
            self._reason = None
            if self._deadline is not None:
                self._expires_at = self._clock() + self._deadline

    def hold(self) -> None:
        """Refuse ``reset()`` until as many ``release()`` have come."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Take one ``hold()`` back."""
        with self._lock:
            self._holders -= 1

    def _look(self) -> None:
        """Be cancelled, if the parent is or the deadline is over."""
        reason = None if self._parent is None else self._parent.cancel_reason
        if reason is not None:
            self._cancel(reason)
        elif self._expires_at is not None and self._clock() >= self._expires_at:
            self._cancel(TIMEOUT_REASON)

    def _cancel(self, reason: str) -> bool:
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, {}
            unlink, self._unlink = self._unlink, _nothing
        unlink()
        _call_all(list(callbacks.values()))
        return True

    def _remove(self, key: object) -> None:
        with self._lock:
            removed = self._callbacks.pop(key, None)
        if removed is not None and not self._callbacks:
            self._link()

    def _born_of(self, parent: CancellationToken) -> None:
        self._parent = parent
        self._link()

    def _link(self) -> None:
        """Have the parent cancel this token: kept alive by it only while it has callbacks.

        A token for a whole program would otherwise keep the tokens of all its requests.
        """
        parent = self._parent
        if parent is None or self._reason is not None:
            return
        link = _link_strongly(self, parent) if self._callbacks else _link_weakly(self, parent)
        with self._lock:
            if self._reason is None:
                self._unlink, link = link, self._unlink
        link()  # the one before, or this one if it came too late


def _link_strongly(child: CancellationToken, parent: CancellationToken) -> TakeBack:
    # Looking is enough: the child finds its parent cancelled.
    return parent.add_callback(lambda: child.is_cancelled)


def _link_weakly(child: CancellationToken, parent: CancellationToken) -> TakeBack:
    def follow() -> None:
        found = reference()
        if found is not None:
            _ = found.is_cancelled

    reference = weakref.ref(child, lambda _: unlink())
    unlink = parent.add_callback(follow)
    return unlink


def _nothing() -> None:
    """Takes back what is not there."""


def _call_all(callbacks: list[Callback]) -> None:
    fatal: BaseException | None = None
    for callback in callbacks:
        try:
            callback()
        except Exception:  # noqa: BLE001  a callback's failure is its own, and is told
            logger.exception("a cancellation callback failed: {!r}", callback)
        except BaseException as error:  # noqa: BLE001  raised again below, after the others
            fatal = fatal or error
    if fatal is not None:
        raise fatal
