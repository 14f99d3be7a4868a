"""Whose fault it is that an agent failed, and where it stands when it waits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...messages.errors import CallFailed
from ...messages.reasons import CallStatus

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from ...messages.records import CallRecord

_OURS = Path(__file__).parents[2]

_CUT_OFF = frozenset({CallStatus.CANCELLED, CallStatus.SKIPPED, CallStatus.UNKNOWN})

INJECTED = frozenset({"ToolFailed", "RuntimeDied", "ProcessKilled"})
"""Names of the errors that are injected; a record of a call has only that."""


def is_own_fault(
    error: BaseException, raises: tuple[type[BaseException], ...], *, calm: bool
) -> bool:
    """Whether an agent failed by itself, rather than by what was done to it.

    Args:
        error: what it raised.
        raises: what it may raise.
        calm: whether nothing was done to it.
    """
    return not any(_is_excused(one, raises, calm=calm) for one in _chain(error))


def _is_excused(
    error: BaseException, raises: tuple[type[BaseException], ...], *, calm: bool
) -> bool:
    if isinstance(error, raises) or type(error).__name__ in INJECTED:
        return True
    if isinstance(error, CallFailed):
        return _was_done_to(error.record, calm=calm)
    # Time may have jumped, and connections are what fails elsewhere.
    return not calm and isinstance(error, OSError)


def _was_done_to(record: CallRecord, *, calm: bool) -> bool:
    """Whether a call did not complete for what was injected."""
    error = record.error
    if error is not None and error.type in INJECTED:
        return True
    if calm:
        return False
    cut_off = error is not None and (error.retryable or error.type == "CancelledError")
    return cut_off or record.status in _CUT_OFF


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it is made of, and what led to it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions
        left += (one.__cause__, one.__context__)


def in_words(error: BaseException) -> str:
    """An error, and the line of the program that raised it."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = _place_of(error.__traceback__)
    return f"{words} ({place})" if place else words


def _place_of(traceback: TracebackType | None) -> str:
    place = ""
    while traceback is not None:
        place = _place(traceback.tb_frame, traceback.tb_lineno) or place
        traceback = traceback.tb_next
    return place


def stands_at(task: Task[Any]) -> str:
    """The innermost line of the program at which a task waits; empty if it is not known."""
    place = ""
    waits: Any = task.get_coro()
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)
        if frame is not None:
            place = _place(frame, frame.f_lineno) or place
        waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
    return place


def _place(frame: FrameType, line: int) -> str:
    """A line as people name it; none for those of the library and of Python's own."""
    file = Path(frame.f_code.co_filename)
    root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if root in sys.stdlib_module_names or file.is_relative_to(_OURS / "testing"):
        return ""
    if any(file.is_relative_to(_OURS / folder) for folder in ("actors", "tools", "messages")):
        return ""
    return f"{file.name}:{line}, in {frame.f_code.co_name}"
