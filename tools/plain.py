"""Values that are their own JSON form, so that most calls need nothing converted.

Each is looked at for every call of every wave. Loops over two or three values take half of what
their types take as a set.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""Types that hold no reference and are their own JSON form, but for what JSON cannot hold."""


def are_own_json(arguments: Mapping[str, Any]) -> bool:
    """Whether every value is its own JSON form, and UTF-8 and JSON can hold it."""
    for value in arguments.values():
        kind = value.__class__
        if kind is int or kind is bool or value is None:
            continue
        if kind is str:
            if not value.isascii():
                return False  # a lone surrogate would only be found when the journal is written
        elif kind is not float or not isfinite(value):
            return False
    return True


def is_own_json(value: Any) -> bool:
    """As :func:`are_own_json`, of one value."""
    kind = value.__class__
    if kind is str:
        return bool(value.isascii())
    return kind in PLAIN and (kind is not float or isfinite(value))
