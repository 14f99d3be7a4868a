"""The ways in which a call can end, and what is kept of each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..messages.reasons import CallStatus
from ..messages.records import CallError
from ..messages.text import storable
from .execution import CallEnd, failure_of, record_of

if TYPE_CHECKING:
    from types import TracebackType

    from .tool import Tool


__all__ = [
    "SKIPPED",
    "CallEnd",
    "abandoned",
    "below",
    "cut_off",
    "error_of",
    "failed",
    "failure_of",
    "overdue",
    "record_of",
    "skipped",
    "timed_out",
]

SKIPPED = CallEnd(CallStatus.SKIPPED)


def failed(error: BaseException, *, retryable: bool) -> CallEnd:
    """The tool raised, or what it returned cannot be used."""
    return CallEnd(CallStatus.FAILED, error=error_of(error, retryable=retryable), exception=error)


def skipped(error: BaseException, *, retryable: bool) -> CallEnd:
    """What had to be done first went wrong, and the tool was not started."""
    return failed(error, retryable=retryable)._replace(status=CallStatus.SKIPPED)


def cut_off(tool: Tool[..., Any], error: BaseException) -> CallEnd:
    """It was cancelled while it ran: a read is as good as not begun, the rest is unknown."""
    if isinstance(error, asyncio.CancelledError):
        kept = CallError(type="CancelledError", message="cancelled while it ran")
    else:
        kept = error_of(error, retryable=False)
    return CallEnd(_unseen(tool), error=kept, exception=error)


def abandoned(tool: Tool[..., Any]) -> CallEnd:
    """It had not ended when nobody waited for it any more."""
    kept = CallError(type="CancelledError", message="abandoned while it ran")
    return CallEnd(_unseen(tool), error=kept)


def timed_out(tool: Tool[..., Any], error: BaseException | None, *, retryable: bool) -> CallEnd:
    """It was over its timeout while it ran."""
    end = failed(overdue(tool, error), retryable=retryable)
    return end if tool.is_read else end._replace(status=CallStatus.UNKNOWN)


def overdue(tool: Tool[..., Any], cause: BaseException | None = None) -> TimeoutError:
    """The error of a call that was over its timeout."""
    error = TimeoutError(f"tool {tool.name!r} did not end within {tool.timeout} s")
    error.__cause__ = cause
    return error


def _unseen(tool: Tool[..., Any]) -> CallStatus:
    return CallStatus.CANCELLED if tool.is_read else CallStatus.UNKNOWN


def error_of(exception: BaseException, *, retryable: bool) -> CallError:
    """What is kept of an exception; its words must fit into a journal, whatever they are."""
    try:
        words = str(exception)
    except Exception as broken:  # noqa: BLE001  a foreign __str__ must not hide the failure
        words = f"(its words cannot be had: {type(broken).__name__})"
    return CallError(type=type(exception).__name__, message=storable(words), retryable=retryable)


def below(error: BaseException) -> TracebackType | None:
    """Where an error came from, without the frame that has caught it."""
    traceback = error.__traceback__
    return None if traceback is None else traceback.tb_next
