"""Tools: typed functions, plans of their calls, and the waves that run them."""

from __future__ import annotations

from .call import ToolCall
from .cancellation import CancellationToken
from .compensation import CompletedCall
from .context import CallContext, current_call
from .dependencies import Dependencies, TurnInfo, dep
from .plan import Plan, Planned
from .registry import Toolbox
from .retrying import Retries
from .run import run_waves
from .threads import WorkerThreads
from .tool import Tool, tool

__all__ = [
    "CallContext",
    "CancellationToken",
    "CompletedCall",
    "Dependencies",
    "Plan",
    "Planned",
    "Retries",
    "Tool",
    "ToolCall",
    "Toolbox",
    "TurnInfo",
    "WorkerThreads",
    "current_call",
    "dep",
    "run_waves",
    "tool",
]
