"""Telling errors apart: which ones are worth another attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..messages.errors import CallFailed
from ..tools.endings import error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages.records import CallError


def retryable_by(retry_on: tuple[type[BaseException], ...]) -> Callable[[BaseException], bool]:
    """A predicate for the errors that ``retry_on`` names, also inside exception groups.

    A failed call counts as what its tool raised, also when only its record is left.
    """

    def is_retryable(error: BaseException) -> bool:
        if isinstance(error, retry_on):
            return True
        if isinstance(error, BaseExceptionGroup):
            inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
            return any(is_retryable(one) for one in inner)
        if isinstance(error, CallFailed):
            return error.record.error is not None and error.record.error.retryable
        return False

    return is_retryable


def as_error(error: BaseException) -> CallError:
    """An error as the journal keeps that of a call."""
    return error_of(error, retryable=False)


def in_words(error: BaseException) -> str:
    """An error as the journal keeps it: its class and its words, whatever those are."""
    kept = as_error(error)
    return f"{kept.type}: {kept.message}" if kept.message else kept.type
