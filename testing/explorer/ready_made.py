"""A failure as a test that can be pasted into a file."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import BaseModel

from ...tools.tool import Tool
from .script import Say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .script import Line, Schedule

WIDTH = 100
"""Characters of a line, if that can be."""


class Given(NamedTuple):
    """What the explorer was given, to be written down again.

    Args:
        agent: the agent.
        options: the rest, by its names.
    """

    agent: Any
    options: Mapping[str, Any]


def ready_made(given: Given, script: Sequence[Line], schedule: Schedule) -> str:
    """A test that fails in the same way, as it could stand in a file of its own."""
    writer = _Writer()
    agent = writer.value(given.agent, "agent")
    lines = [writer.value(line, "") for line in script]
    inject = [f"Inject({one.what!r}, {one.at!r})" for one in schedule.inject]
    options = [f"{name}={writer.value(value, name)}" for name, value in given.options.items()]
    writer.use("wavebreak.testing", "Schedule", "replay", *(["Inject"] if inject else []))
    listed = "".join(f"{one}, " for one in inject)
    drawn = f"order={schedule.order}, slow={schedule.slow}, inject=({listed.rstrip()})"
    call = [agent, f"[{', '.join(lines)}]", "schedule", *options]
    return "\n".join(
        (
            *writer.imports(),
            "",
            "",
            "def test_found_by_the_explorer() -> None:",
            *(f"    # {remark}" for remark in writer.remarks),
            f"    schedule = Schedule({drawn})",
            *_call("replay", call),
        )
    )


def _call(function: str, arguments: Sequence[str]) -> list[str]:
    line = f"    {function}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return [line]
    return [f"    {function}(", *(f"        {one}," for one in arguments), "    )"]


class _Writer:
    """Writes values as code, and knows what has to be imported for them."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self._names: dict[str, set[str]] = {}

    def use(self, module: str, *names: str) -> None:
        """Note that names of a module are needed."""
        self._names.setdefault(module, set()).update(names)

    def imports(self) -> list[str]:
        """The lines that import what was used; those of the program come last."""
        order = sorted(self._names, key=lambda module: (not module.startswith("wavebreak"), module))
        return [
            f"from {module} import {', '.join(sorted(self._names[module]))}" for module in order
        ]

    def value(self, value: Any, name: str) -> str:
        """A value as code.

        Args:
            value: the value.
            name: what it was given as, for those that cannot be written down.
        """
        if isinstance(value, Say) and value == Say(value.text):
            return repr(value.text)
        if value is None or isinstance(value, str | bytes | bool | int | float):
            return repr(value.value if isinstance(value, Enum) else value)
        made = _made_of(value)
        if made is not None:
            return self._made(value, *made)
        if isinstance(value, list | tuple):
            return self._listed(cast("Sequence[Any]", value), name)
        return self._named(value, name)

    def _listed(self, values: Sequence[Any], name: str) -> str:
        if len(values) == 1:
            return f"[{self.value(values[0], name.removesuffix('s'))}]"
        written = [
            self.value(one, f"{name.removesuffix('s')}_{place}")
            for place, one in enumerate(values, 1)
        ]
        return f"[{', '.join(written)}]"

    def _made(self, value: object, kept: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
        kind = type(value)
        if not self._import(kind):
            return self._unknown(value, kind.__name__)
        given = [
            # What has to be given comes first, and says enough by itself.
            self.value(one, key) if plain[key] is ... else f"{key}={self.value(one, key)}"
            for key, one in kept.items()
            if plain[key] != one
        ]
        return f"{kind.__name__}({', '.join(given)})"

    def _named(self, value: Any, name: str) -> str:
        if isinstance(value, Tool):
            module = value.function.__module__
            for known, one in vars(sys.modules.get(module, object)).items():
                if one is value:
                    self._use_of(module, known)
                    return str(known)
            return self._unknown(value, value.name)
        if self._import(value):
            return str(value.__qualname__)
        known = getattr(value, "__name__", name)
        return self._unknown(value, known if known.isidentifier() else name)

    def _unknown(self, value: Any, name: str) -> str:
        self.remarks.append(f"{name}: {_where(value)}")
        return name

    def _import(self, value: Any) -> bool:
        """Import it by its name, if that gives it."""
        module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        if module is None or not path:
            return False
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is not value:
            return False
        self._use_of(module, path.partition(".")[0])
        return True

    def _use_of(self, module: str, name: str) -> None:
        if module.startswith("wavebreak.testing"):
            module = "wavebreak.testing"
        elif hasattr(sys.modules.get("wavebreak"), name) and module.startswith("wavebreak."):
            module = "wavebreak"
        if module not in {"__main__", "builtins"}:
            self.use(module, name)


def _made_of(value: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The fields of a model, a dataclass or a named tuple, and what they are anyway."""
    plain = _plain(value, getattr(value, "_fields", None))
    return None if plain is None else ({name: getattr(value, name) for name in plain}, plain)


def _plain(value: Any, names: tuple[str, ...] | None) -> dict[str, Any] | None:
    if isinstance(value, type):
        return None
    if isinstance(value, BaseModel):
        return {name: field.default for name, field in type(value).model_fields.items()}
    if is_dataclass(value):
        return {field.name: field.default for field in fields(value)}
    if names is not None:
        defaults: dict[str, Any] = getattr(value, "_field_defaults", {})
        return {name: defaults.get(name, ...) for name in names}
    return None


def _where(value: Any) -> str:
    """Where somebody finds what cannot be imported."""
    code = getattr(value, "__code__", None)
    if code is None:
        return f"as it was given to the explorer, {type(value).__name__}"
    file = code.co_filename.rpartition("/")[2]
    return f"{value.__name__} of {file}:{code.co_firstlineno}, which cannot be imported"
