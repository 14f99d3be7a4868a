"""The session's state as bytes and back, for snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from ...messages.events import Progressed
from ...messages.message import SessionMessage
from .state import SessionState


class StateForm:
    """Writes a state down as JSON; by what its fields say they are, so that it knows none by name.

    Args:
        message_types: the classes that messages may be of, by name.
    """

    def __init__(self, message_types: Mapping[str, type[SessionMessage]]) -> None:
        self._adapter: TypeAdapter[SessionState] | None = None  # made when there is one to read
        self._context = {"message_types": message_types}

    def position(self, state: object) -> int:
        """The position of the last event in a state."""
        return cast("SessionState", state).position

    def dump(self, state: object) -> bytes:
        """The bytes of a state."""
        return to_json(_plain(state))

    def load(self, data: bytes) -> SessionState:
        """The state of these bytes.

        Raises:
            ValueError: they are none of a state.
        """
        if self._adapter is None:
            self._adapter = TypeAdapter(SessionState)
        return self._adapter.validate_json(data, context=self._context)


def _plain(value: Any) -> Any:
    """What JSON holds of tuples and mappings; a message goes beside the name of its class.

    By the names of fields, so that later versions may add some in any place.
    """
    if isinstance(value, SessionMessage):
        return [type(value).__name__, value]
    names: tuple[str, ...] | None = getattr(value, "_fields", None)
    if names is not None and not isinstance(value, Progressed):  # that one is an array everywhere
        return {name: _plain(item) for name, item in zip(names, value, strict=True)}
    if isinstance(value, bytes):  # a line of the log
        return from_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("Iterable[Any]", value)]
    if isinstance(value, Mapping) and not isinstance(value, dict):
        value = dict(cast("Mapping[str, Any]", value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
    return value
