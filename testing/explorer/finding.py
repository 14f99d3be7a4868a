"""Finds the tools that an agent's code names."""

from __future__ import annotations

import contextlib
import inspect
import sys
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from ...actors.runtime import RuntimeActor
from ...tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...settings import Agent

_LIBRARIES = frozenset({"wavebreak", "pydantic", "pydantic_core", "pykka", "loguru", "pytest"})

_DEPTH = 4
"""How far from the agent tools are looked for."""


def tools_of(agent: Agent) -> list[Tool[..., Any]]:
    """The tools that an agent's code names: its globals, its closure, what it calls."""
    found: dict[int, Tool[..., Any]] = {}
    seen: set[int] = set()
    looked: list[tuple[Any, int]] = [(agent, 0)]
    while looked:
        one, depth = looked.pop()
        if id(one) in seen or depth > _DEPTH or _is_of_a_library(one):
            continue
        seen.add(id(one))
        if isinstance(one, Tool):
            tool = cast("Tool[..., Any]", one)
            found[id(tool)] = tool
            looked += [(other, depth + 1) for other in _named_by(tool.function)]
        else:
            looked += [(other, depth + 1) for other in _named_by(one)]
    return list(found.values())


def _is_of_a_library(thing: Any) -> bool:
    """Whether it is no code of the program's own, so that no tools of it are in there."""
    if isinstance(thing, Tool):
        return False
    named = thing if isinstance(thing, FunctionType | type) else type(thing)
    root = str(getattr(named, "__module__", "")).partition(".")[0]
    if isinstance(thing, list | tuple | set | frozenset | dict):
        return False
    return root in _LIBRARIES or root in sys.stdlib_module_names


def _named_by(thing: Any) -> Iterator[Any]:
    if isinstance(thing, FunctionType):
        yield from _named_by_function(thing)
    elif inspect.ismethod(thing):
        yield from (thing.__func__, thing.__self__)
    elif inspect.isclass(thing):
        if issubclass(thing, RuntimeActor) and thing is not RuntimeActor:
            yield from vars(thing).values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, dict):
        yield from thing.values()
    elif not isinstance(thing, ModuleType | str | bytes | int | float):
        yield from getattr(thing, "__dict__", {}).values()
        kind = cast("type[object]", type(thing))
        call: object = getattr(kind, "__call__", None)  # noqa: B004 - the method is looked at
        if isinstance(call, FunctionType):
            yield call


def _named_by_function(function: FunctionType) -> Iterator[Any]:
    names: set[str] = set()
    codes: list[CodeType] = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for name in sorted(names):
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield from (vars(value)[other] for other in sorted(names) if other in vars(value))
        elif value is not None:
            yield value
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is not filled yet
            yield cell.cell_contents
