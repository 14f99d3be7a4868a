"""What counts as text: what UTF-8, and so the journal and every channel, can hold."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import from_json

from .errors import InvalidMessage

_READABLE: Final = 200
"""Levels that JSON is nested by when pydantic reads it no more; it writes 255."""

_AROUND: Final = 16
"""Levels of them for what a value is written down in: a call in a turn in a state in an export."""


def storable(words: str) -> str:
    """Words that may not be refused: what UTF-8 cannot hold is written out."""
    return words if words.isascii() else words.encode("utf-8", "backslashreplace").decode("utf-8")


def check_text(name: str, value: object) -> None:
    """Refuse what is not text: a lone surrogate would only be found when it is journaled.

    Args:
        name: what the value is called, for the error.
        value: it may be empty.

    Raises:
        InvalidMessage: it is no text, or has a character that UTF-8 cannot hold.
    """
    if not isinstance(value, str):
        msg = f"{name}={value!r} is not a text"
        raise InvalidMessage(msg)
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        msg = (
            f"{name}={value[:80]!r} has a character at {error.start} that UTF-8 cannot hold: "
            "text.encode(errors='replace').decode() makes it one that can be sent"
        )
        raise InvalidMessage(msg) from None


def check_id(name: str, value: object) -> None:
    """Refuse what is not text, or empty.

    Args:
        name: what the value is called, for the error.
        value: the id.

    Raises:
        InvalidMessage: it is no text, it is empty, or UTF-8 cannot hold it.
    """
    if not isinstance(value, str) or not value:
        msg = f"{name}={value!r}: give a text that is not empty"
        raise InvalidMessage(msg)
    check_text(name, value)


def read_back(data: bytes) -> Any:
    """The value of some JSON, that is to be written down as a part of something.

    Raises:
        ValueError: it could be written, and not be read again: it is nested too deep, or has a
            number of thousands of digits.
    """
    if data.count(b"[") + data.count(b"{") <= _READABLE - _AROUND:
        return from_json(data)
    try:
        value = from_json(b"[" * _AROUND + data + b"]" * _AROUND)
    except ValueError as error:
        if "recursion" not in str(error):
            raise
        msg = f"it is nested by more than {_READABLE - _AROUND} levels"
        raise ValueError(msg) from None
    for _ in range(_AROUND):
        (value,) = value
    return value
