"""The recent messages of a session by id: a mapping that changes in few places at a time.

A session remembers some hundred messages, and two changes of every turn are in that: to copy them
all each time would make a long conversation dearer than a short one. So the most of them lie in a
mapping that is shared by all states since, and what has changed lies before it, until that is much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from .state import Remembered

_T = TypeVar("_T")
_Known: TypeAlias = Mapping[str, "Remembered"]

_FEW: Final = 24
"""Changes that lie before the rest; as many messages are simply copied."""

REMEMBERED: Final = 512
"""The latest messages of a session that are kept; those that have not ended always are."""

KEPT_FOR: Final = 86_400.0
"""Seconds for which an id that the program gave is kept from the end of its message.

A channel sends again within minutes or hours; Stripe keeps its idempotency keys for a day, too.
"""

AT_MOST: Final = 10_000
"""Messages of a session that are kept in all: with more of them in a day, the oldest go earlier."""

_GO_AT_ONCE: Final = 2
"""Those that go for one that comes; more would be a burst of work a day after a burst."""


def remember(known: _Known, message_id: str, message: Remembered) -> _Known:
    """These messages and one that is new, or is not any more what it was."""
    if type(known) is _Layered:  # isinstance() of a ``Mapping`` takes eight times as long
        return known.having(message_id, message)
    if len(known) < _FEW:
        return {**known, message_id: message}
    return _Layered(known, {}, (), len(known)).having(message_id, message)


def trim(known: _Known, now: float) -> _Known:
    """Make room for one more message: forget the oldest that has ended, if it may be forgotten.

    Args:
        known: the messages.
        now: in seconds since the epoch.
    """
    if len(known) < REMEMBERED:
        return known
    for _ in range(_GO_AT_ONCE):
        if len(known) < REMEMBERED:
            break
        oldest = next((key for key, kept in known.items() if kept.outcome is not None), None)
        if oldest is None or (len(known) < AT_MOST and _is_wanted(known[oldest], now)):
            break
        known = _Layered.of(known).without(oldest)
    return known


def _is_wanted(kept: Remembered, now: float) -> bool:
    """Whether somebody may send it again: an id that wavebreak has made up is known to nobody."""
    return bool(kept.fingerprint) and now < kept.ended_at + KEPT_FOR


class _Layered(Mapping[str, "Remembered"]):
    """A mapping that is never changed, and of which another that differs a little costs little.

    Args:
        most: most of it; not changed by anybody any more.
        changed: what is other than there, or new.
        gone: the keys that have lost their place there.
    """

    __slots__ = ("_changed", "_gone", "_most", "_size")

    def __init__(self, most: _Known, changed: _Known, gone: tuple[str, ...], size: int) -> None:
        self._most = most
        self._changed = changed
        self._gone = gone
        self._size = size

    @classmethod
    def of(cls, mapping: _Known) -> _Layered:
        """A mapping as one of these."""
        return mapping if isinstance(mapping, cls) else cls(mapping, {}, (), len(mapping))

    def _merged(self) -> _Layered:
        """The same in one layer: the changes lie before the rest only as long as they are few.

        Not by way of the items, which takes 0.5 ms for 512 messages, every dozen turns.
        """
        merged = dict(self._most)
        for key in self._gone:
            del merged[key]
        merged.update(self._changed)
        return _Layered(merged, {}, (), self._size)

    def having(self, key: str, value: Remembered) -> _Layered:
        """The same with another value for a key, which may be new."""
        most, changed, gone, size = self._most, self._changed, self._gone, self._size
        if key not in changed and (key not in most or key in gone):
            size += 1
        changed = {**changed, key: value}
        layered = _Layered(most, changed, gone, size)
        return layered if len(changed) + len(gone) < _FEW else layered._merged()

    def without(self, key: str) -> _Layered:
        """The same without a key that it has."""
        changed = {other: value for other, value in self._changed.items() if other != key}
        gone = self._gone
        if key in self._most and key not in gone:
            gone = (*gone, key)
        layered = _Layered(self._most, changed, gone, self._size - 1)
        return layered if len(changed) + len(gone) < _FEW else layered._merged()

    # Not those of ``Mapping``: they raise and catch a KeyError for what is not there, several times
    # in every turn.

    @overload
    def get(self, key: str, default: None = None, /) -> Remembered | None: ...
    @overload
    def get(self, key: str, default: Remembered | _T, /) -> Remembered | _T: ...
    def get(self, key: str, default: Any = None, /) -> Any:
        """The value of a key, or else the default."""
        known = self._changed.get(key)
        if known is None and key not in self._gone:
            known = self._most.get(key)
        return default if known is None else known

    def __contains__(self, key: object) -> bool:
        return key in self._changed or (key in self._most and key not in self._gone)

    def __getitem__(self, key: str) -> Remembered:
        known = self.get(key)
        if known is None:
            raise KeyError(key)
        return known

    def __iter__(self) -> Iterator[str]:
        for key in self._most:
            if key not in self._gone:
                yield key
        for key in self._changed:
            if key not in self._most or key in self._gone:
                yield key

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return repr(dict(self))
