"""What makes two calls of a tool equal, where its arguments as they are say too much."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from ..messages.errors import ToolDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def checked_same_as(
    tool_name: str, same_as: Any, names: Sequence[str]
) -> Callable[..., Any] | None:
    """Look at the option ``same_as`` of a tool that takes ``names``.

    Raises:
        ToolDefinitionError: it cannot be used.
    """
    if same_as is None:
        return None
    if not callable(same_as) or inspect.iscoroutinefunction(same_as):
        msg = f"tool {tool_name!r}: same_as={same_as!r} is no plain function of the arguments"
        raise ToolDefinitionError(msg)
    try:
        inspect.signature(same_as).bind(**dict.fromkeys(names))
    except TypeError as error:
        msg = (
            f"tool {tool_name!r}: same_as={same_as!r} has to take the tool's arguments by name "
            f"({', '.join(names)}; **_ for those it does not look at): {error}"
        )
        raise ToolDefinitionError(msg) from error
    except ValueError:
        pass  # it is written in C and does not tell
    return same_as  # type: ignore[no-any-return]  # callable() narrows Any to nothing better


def same_key(tool_name: str, same_as: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """What ``same_as`` says of validated arguments, as canonical JSON.

    Raises:
        ToolDefinitionError: it raised, or gave something that is no JSON.
    """
    try:
        key = same_as(**arguments)
        return json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except Exception as error:
        msg = f"tool {tool_name!r}: same_as gave no JSON key for {dict(arguments)!r}: {error!r}"
        raise ToolDefinitionError(msg) from error
