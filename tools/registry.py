"""The tools of a system by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ..messages.errors import ToolDefinitionError, UnknownTool
from .tool import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .call import ToolCall


class Toolbox:
    """Tools by name, for calls that a model asks for.

    Args:
        tools: each with a name of its own.

    Raises:
        ToolDefinitionError: something is no tool, or a name is there twice.
    """

    __slots__ = ("_compensated", "_tools")

    def __init__(self, tools: Iterable[Tool[..., Any]] = ()) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        self._compensated: dict[tuple[str, str], Tool[..., Any]] = {}
        for one in tools:
            self._add(one)

    def __getitem__(self, name: str) -> Tool[..., Any]:
        """The tool of that name.

        Raises:
            UnknownTool: there is none.
        """
        try:
            return self._tools[name]
        except (KeyError, TypeError):
            raise UnknownTool(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall[Any]:
        """A checked call from a model's words.

        Args:
            name: the tool's name.
            arguments: by name, in their JSON form.

        Raises:
            UnknownTool: there is no tool of that name.
            InvalidArguments: the tool does not take the arguments.
        """
        return self[name].bind(arguments)

    def remember(self, tool: Tool[..., Any]) -> None:
        """Keep a tool that was called and has a compensation, for a rollback."""
        self._compensated[tool.name, tool.version] = tool

    def compensating(self, name: str, version: str) -> Tool[..., Any]:
        """The tool of a recorded call that is to be undone.

        Raises:
            UnknownTool: none of that name and version was given, or called in this process.
        """
        tool = self._compensated.get((name, version)) or self._tools.get(name)
        if tool is None or tool.version != version or tool.compensation is None:
            msg = (
                f"nothing undoes calls of tool {name!r}, version {version!r}, any more: give the "
                "tool with its compensate=... to the system, ActorSystem(tools=...)"
            )
            raise UnknownTool(msg)
        return tool

    def _add(self, one: object) -> None:
        if not isinstance(one, Tool):
            msg = f"{one!r} is not a tool: put @tool on the function"
            raise ToolDefinitionError(msg)
        if one.name in self._tools:
            msg = f"two tools are named {one.name!r}: give one of them @tool(name=...)"
            raise ToolDefinitionError(msg)
        self._tools[one.name] = one

    def _unknown(self, name: object) -> str:
        if not self._tools:
            return f"no tool {name!r}: the system was given none, give ActorSystem(tools=...)"
        close = get_close_matches(str(name), self._tools)
        known = ", ".join(repr(one) for one in close or sorted(self._tools))
        return f"no tool {name!r}; {'did you mean' if close else 'there are'} {known}"
