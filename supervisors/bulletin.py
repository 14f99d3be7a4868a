"""What a system tells of its tree: reports of ends, and what was given up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from loguru import logger

from ..messages.dead_letters import DeadLetter, DeadLetterKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.counters import Counters
    from ..messages.ids import SessionKey
    from ..messages.message import Delivery
    from .children import Report

T = TypeVar("T")

KEPT: Final = 200
"""Dead letters that are kept."""


class Readers(Generic[T]):
    """Those who want to be told of something, on the loop; what they raise is logged."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: list[Callable[[T], object]] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._callbacks)

    def add(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Tell ``callback``, too; gives a function to tell it no more."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def tell(self, what: T) -> None:
        """Tell everybody."""
        for callback in tuple(self._callbacks):
            try:
                callback(what)
            except BaseException as error:  # noqa: BLE001 - it must not end who tells
                logger.opt(exception=error).error("a subscriber failed: {!r}", callback)


class Bulletin:
    """Reports and dead letters of one system, over all the times that it runs.

    Args:
        counters: counts the dead letters.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.reports: Readers[Report] = Readers()
        self.readers: Readers[DeadLetter] = Readers()
        self.letters: deque[DeadLetter] = deque(maxlen=KEPT)
        self.now: Callable[[], float] = float
        """The clock, in seconds since the epoch; set when the system runs."""

    def keep(self, letter: DeadLetter) -> None:
        """Keep a dead letter, count it, and tell of it."""
        self._counters.count("dead_letters")
        self.letters.append(letter)
        self.readers.tell(letter)

    def forget(self, key: SessionKey) -> None:
        """A session was deleted: keep no dead letter of it."""
        if any((letter.tenant, letter.session_id) == key for letter in self.letters):
            kept = [one for one in self.letters if (one.tenant, one.session_id) != key]
            self.letters = deque(kept, maxlen=KEPT)

    def undeliverable(self, key: SessionKey, message: object) -> None:
        """A session came to its end before what a program had told it."""
        letter = DeadLetter(
            kind=DeadLetterKind.TOLD,
            tenant=key.tenant,
            session_id=key.session_id,
            at=self.now(),
            cause="the session came to its end before",
            told=repr(message),
        )
        self.keep(letter)

    def given_up(self, key: SessionKey, delivery: Delivery, cause: str) -> None:
        """No attempt brought a delivery to its user."""
        letter = DeadLetter(
            kind=DeadLetterKind.DELIVERY,
            tenant=key.tenant,
            session_id=key.session_id,
            at=self.now(),
            cause=cause,
            delivery=delivery,
        )
        self.keep(letter)
