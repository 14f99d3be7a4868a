"""Tools that keep account of their calls, and do what a test says instead of their work."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tools.context import CURRENT
from ..tools.execution import Prepared

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..tools.tool import Tool


class Called(NamedTuple):
    """A call of a tool that really ran.

    Args:
        tool: its name.
        arguments: by name, as the tool got them.
        call_id: the call's, empty outside a session.
        idempotency_key: the call's, as the tool hands it to foreign systems.
    """

    tool: str
    arguments: dict[str, Any]
    call_id: str = ""
    idempotency_key: str = ""


class Recorder:
    """The calls of some tools, in the order in which they began; made by :func:`recording`."""

    def __init__(self) -> None:
        self.calls: list[Called] = []
        self._instead: dict[str, deque[Any]] = {}

    def of(self, tool: Tool[..., Any] | str) -> list[dict[str, Any]]:
        """The arguments of each call of one tool."""
        name = tool if isinstance(tool, str) else tool.name
        return [call.arguments for call in self.calls if call.tool == name]

    def returns(self, tool: Tool[..., Any], *results: Any) -> None:
        """Let the next calls of a tool give these results, one each, and do no work."""
        self._instead.setdefault(tool.name, deque()).extend(results)

    def fails(self, tool: Tool[..., Any], error: BaseException, times: int = 1) -> None:
        """Let the next calls of a tool raise, and do no work.

        Args:
            tool: the tool.
            error: what to raise.
            times: how often.
        """
        self._instead.setdefault(tool.name, deque()).extend([_Raise(error)] * times)

    def begin(self, tool: str, arguments: dict[str, Any]) -> tuple[Any] | None:
        """Note a call; what it is to give instead of its work, in a tuple, if anything."""
        running: object = CURRENT.get(None)
        ids = (
            (str(running.call_id), str(running.idempotency_key))
            if isinstance(running, Prepared)
            else ("", "")
        )
        self.calls.append(Called(tool, arguments, *ids))
        instead = self._instead.get(tool)
        if not instead:
            return None
        given = instead.popleft()
        if isinstance(given, _Raise):
            raise given.error
        return (given,)


class _Raise(NamedTuple):
    """An error to raise instead of a result."""

    error: BaseException


@contextlib.contextmanager
def recording(*tools: Tool[..., Any]) -> Generator[Recorder]:
    """Keep account of the calls of ``tools`` within a ``with`` block.

    Args:
        tools: the tools themselves, async or blocking, as an agent calls them by their names.
    """
    recorder = Recorder()
    plain = [(tool, tool.function) for tool in tools]
    for tool in tools:
        tool.function = _recorded(tool, recorder)
    try:
        yield recorder
    finally:
        for tool, function in reversed(plain):
            tool.function = function


def _recorded(tool: Tool[..., Any], recorder: Recorder) -> Any:
    work, name = tool.function, tool.name

    def blocking(**arguments: Any) -> Any:
        instead = recorder.begin(name, arguments)
        return work(**arguments) if instead is None else instead[0]

    async def on_loop(**arguments: Any) -> Any:
        instead = recorder.begin(name, arguments)
        return await work(**arguments) if instead is None else instead[0]

    return blocking if tool.blocking else on_loop
