"""What undoes a completed call, when the turn that made it is rolled back."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages.errors import ToolDefinitionError
from ..messages.ids import CallId, IdempotencyKey
from ..messages.reasons import Effect

if TYPE_CHECKING:
    from collections.abc import Callable


class CompletedCall(NamedTuple):
    """A completed call, as what undoes it sees it.

    Args:
        tool: the tool's name.
        arguments: by name, validated, defaults included.
        call_id: of the call that is undone.
        idempotency_key: what that call handed to foreign systems. The undoing itself has a key of
            its own, ``current_call().idempotency_key``.
    """

    tool: str
    arguments: dict[str, Any]
    call_id: CallId
    idempotency_key: IdempotencyKey


class Compensation:
    """A function of a :class:`CompletedCall` and its result, that undoes it.

    Args:
        function: plain or async.
    """

    __slots__ = ("blocking", "function")

    def __init__(self, function: Callable[[CompletedCall, Any], Any]) -> None:
        self.function = function
        call: object = getattr(function, "__call__", None)  # noqa: B004 - the method is looked at
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        self.blocking = not is_async


def checked_compensation(tool_name: str, function: Any, effect: Effect) -> Compensation | None:
    """Look at the option ``compensate`` of a tool.

    Raises:
        ToolDefinitionError: it cannot be used.
    """
    if function is None:
        return None
    if effect is Effect.READ:
        msg = f"tool {tool_name!r}: compensate={function!r}: a read has nothing to undo"
        raise ToolDefinitionError(msg)
    if not callable(function):
        msg = f"tool {tool_name!r}: compensate={function!r} is no function of (call, result)"
        raise ToolDefinitionError(msg)
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        msg = f"tool {tool_name!r}: compensate={function!r} has to take (call, result): {error}"
        raise ToolDefinitionError(msg) from error
    except ValueError:
        pass  # it is written in C and does not tell
    return Compensation(function)


def undo_key(idempotency_key: IdempotencyKey) -> IdempotencyKey:
    """The key that the undoing of a call hands to foreign systems: the same at every try."""
    return IdempotencyKey(f"{idempotency_key}-undo")
