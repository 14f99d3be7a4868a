"""What waits to be written: each is the commit that tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages.ids import SessionKey


class Item(Commit):
    """Something of a session that is to be written.

    Args:
        key: the session.
        data: bytes.
    """

    __slots__ = ("data", "key")

    def __init__(self, key: SessionKey, data: bytes) -> None:
        super().__init__()
        self.key = key
        self.data = data

    def size(self) -> int:
        """Bytes that are to be written."""
        return len(self.data)

    def forget(self) -> None:
        """It is written, or never will be; as a commit it may be kept for long."""
        self.data = b""


class Unit(Item):
    """What happened in a session in one go: it is written as a whole, or not at all.

    By itself it is what happened to calls, as most are; see :class:`CountedUnit`.

    Args:
        key: the session.
        data: the entries.
        position: of the first entry.
    """

    __slots__ = ("position",)

    def __init__(self, key: SessionKey, data: bytes, position: int) -> None:
        # Not super().__init__(), which takes half as long again, in every wave.
        self.done = False
        self.error = None
        self._callbacks = ()
        self.key = key
        self.data = data
        self.position = position


class CountedUnit(Unit):
    """One with more than calls.

    Args:
        key: the session.
        data: the entries.
        position: of the first entry.
        history: what it adds to the session's history; empty for nothing.
        unfinished: how many more messages and deliveries are to be ended after it than before.
        at: when the session was used by that, in seconds since the epoch; 0 if it was not.
        due: where messages were accepted that are due then, or are scheduled no more (None).
    """

    __slots__ = ("at", "due", "history", "unfinished")

    def __init__(
        self,
        key: SessionKey,
        data: bytes,
        position: int,
        *,
        history: bytes,
        unfinished: int,
        at: float,
        due: Sequence[tuple[int, float | None]],
    ) -> None:
        super().__init__(key, data, position)
        self.history = history
        self.unfinished = unfinished
        self.at = at
        self.due = due

    def size(self) -> int:
        """As of every item."""
        return len(self.data) + len(self.history)

    def forget(self) -> None:
        """As of every item."""
        self.data = self.history = b""


class Snapshot(Item):
    """A session's state after the entry at a position; the entries so far may go."""

    __slots__ = ("position",)

    def __init__(self, key: SessionKey, data: bytes, position: int) -> None:
        super().__init__(key, data)
        self.position = position


class Erasure(Item):
    """Nothing of a session is to be left.

    Args:
        key: the session.
        above: what is begun under the key later is above this position.
        unless_after: leave it if something waits for it, or it was used since then.
    """

    __slots__ = ("above", "clean", "unless_after")

    def __init__(self, key: SessionKey, above: int, unless_after: float | None) -> None:
        super().__init__(key, b"")
        self.above = above
        self.unless_after = unless_after
        self.clean = Commit()
        """When no traces are left, either."""


class Glance(Item):
    """Somebody looks for sessions that are not used, at this time; nothing of a session."""

    __slots__ = ("at",)

    def __init__(self, key: SessionKey, at: float) -> None:
        super().__init__(key, b"")
        self.at = at
