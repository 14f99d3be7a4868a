"""What ``wavebreak serve MODULE:AGENT`` names: an agent, a system, or a function that makes one."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..actors.runtime import RuntimeActor
from ..messages.errors import InvalidSetting
from ..system import ActorSystem

if TYPE_CHECKING:
    from ..journal.base import Journal


def load(target: str) -> Any:
    """What a ``MODULE:NAME`` or ``FILE.py:NAME`` is.

    Raises:
        InvalidSetting: there is nothing of that name.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        msg = f"{target!r} names nothing to serve: give MODULE:AGENT, as bot.hotel:agent"
        raise InvalidSetting(msg)
    module = _module_of(place)
    try:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        inside = cast("dict[str, Any]", vars(module))
        names = ", ".join(sorted(key for key, value in inside.items() if _could_be(value)))
        msg = f"{place!r} has no {name!r}; what could be served there: {names or 'nothing'}"
        raise InvalidSetting(msg) from error
    return found


def _module_of(place: str) -> Any:
    path = Path(place)
    here = str(path.parent.resolve() if place.endswith(".py") else Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    name = path.stem if place.endswith(".py") else place
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # something that the module itself needs
        msg = f"there is no module {name!r}: looked in {here!r} and where Python looks"
        raise InvalidSetting(msg) from error


def _could_be(value: Any) -> bool:
    is_agent = inspect.iscoroutinefunction(value)
    is_runtime = inspect.isclass(value) and issubclass(value, RuntimeActor)
    return is_agent or isinstance(value, ActorSystem) or (is_runtime and value is not RuntimeActor)


def system_of(found: Any, journal: Journal) -> ActorSystem:
    """The system over what was named.

    Args:
        found: a system; an agent; or a plain function that is given a journal and makes a system.
        journal: where sessions are kept; a system that is made already has its own.

    Raises:
        InvalidSetting: it is none of these.
    """
    if isinstance(found, ActorSystem):
        return found
    if inspect.isfunction(found) and not inspect.iscoroutinefunction(found):
        made = found(journal)
        if isinstance(made, ActorSystem):
            return made
        msg = f"{found.__name__}(journal) gave {made!r}: let it make an ActorSystem(...)"
        raise InvalidSetting(msg)
    return ActorSystem(found, journal=journal)
