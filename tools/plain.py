"""Values that are their own JSON form, so that most calls need nothing converted.

Each is looked at for every call of every wave, and mostly by what C code can say of its type.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""Types that hold no reference and are their own JSON form, but for what JSON cannot hold."""

ALWAYS: Final = frozenset({int, bool, type(None)})
"""Those of which JSON can hold any."""


def are_plain(values: Iterable[Any]) -> bool:
    """Whether every value is of a type that holds no reference."""
    return PLAIN.issuperset(map(type, values))


def are_own_json(arguments: Mapping[str, Any]) -> bool:
    """Whether every value is its own JSON form, and UTF-8 and JSON can hold it."""
    values = arguments.values()
    return ALWAYS.issuperset(map(type, values)) or all(map(is_own_json, values))


def is_own_json(value: Any) -> bool:
    """Whether a value is its own JSON form, and UTF-8 and JSON can hold it."""
    kind = value.__class__
    if kind is str:
        # A lone surrogate would only be found when the journal is written.
        return bool(value.isascii())
    return kind in ALWAYS or (kind is float and isfinite(value))
