"""Which actors live on which loop: the one thing that keeps an idle actor from being collected."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Iterable
from typing import Generic, TypeVar

from .due import Due

A = TypeVar("A")


class Living(Generic[A]):
    """A set of actors for each loop; adding and removing cost the same however many there are.

    A loop's set is touched on the loop's own thread only, or after the loop was closed; what
    threads share is a dict, whose single operations are atomic.
    """

    __slots__ = ("_by_loop", "_due")

    def __init__(self) -> None:
        self._by_loop: dict[AbstractEventLoop, set[A]] = {}
        self._due: dict[AbstractEventLoop, Due] = {}

    def add(self, loop: AbstractEventLoop, actor: A) -> Iterable[A]:
        """Keep an actor alive.

        Returns:
            those that were left behind when other loops were closed under them, each once.
        """
        living = self._by_loop.get(loop)
        if living is not None:
            living.add(actor)
            return ()
        self._by_loop[loop] = {actor}
        return self._orphans()

    def due(self, loop: AbstractEventLoop) -> Due:
        """Give those of a loop that are to be called; from any thread."""
        due = self._due.get(loop)
        return self._due.setdefault(loop, Due(loop)) if due is None else due

    def discard(self, loop: AbstractEventLoop, actor: A) -> None:
        """Let go of an actor, and of the loop with its last one."""
        living = self._by_loop.get(loop)
        if living is not None:
            living.discard(actor)
            if not living:
                self.forget(loop)

    def forget(self, loop: AbstractEventLoop) -> None:
        """Let go of all actors of a loop that nobody is to hear of: its process was killed."""
        self._by_loop.pop(loop, None)
        self._due.pop(loop, None)

    def on(self, loop: AbstractEventLoop) -> int:
        """Count the actors that live on a loop."""
        return len(self._by_loop.get(loop, ()))

    def _orphans(self) -> list[A]:
        for loop in list(self._due):
            if loop.is_closed():
                self._due.pop(loop, None)
        closed = [loop for loop in list(self._by_loop) if loop.is_closed()]
        return [actor for loop in closed for actor in self._by_loop.pop(loop, ())]
