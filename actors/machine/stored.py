"""The session's state as bytes and back, for snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import from_json, to_json

from ...messages.entries import Progressed
from ...messages.message import SessionMessage
from .history import InterruptedHistory
from .state import SessionState

# Built when the first state is read, for 14 ms.
_STATE: Final = TypeAdapter(SessionState, config=ConfigDict(defer_build=True))


class StateForm:
    """Writes a state down as JSON; by what its fields say they are, so that it knows none by name.

    Args:
        message_types: the classes that messages may be of, by name.
    """

    def __init__(self, message_types: Mapping[str, type[SessionMessage]]) -> None:
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
        return _STATE.validate_json(data, context=self._context)


def _plain(value: Any) -> Any:
    """What JSON holds of tuples and mappings; a message goes beside the name of its class.

    By the names of fields, so that later versions may add some in any place. What most values are
    is asked first: of a long conversation it is a thousand of them.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, BaseModel):  # it takes 5 µs to say that it has no such attribute
        return [type(value).__name__, value] if isinstance(value, SessionMessage) else value
    if isinstance(value, bytes):  # a line of the log
        return from_json(value)
    if isinstance(value, tuple | InterruptedHistory):
        return _plain_sequence(cast("Any", value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return value


def _plain_sequence(value: tuple[Any, ...] | InterruptedHistory) -> Any:
    names: tuple[str, ...] | None = getattr(value, "_fields", None)
    if names is None or isinstance(value, Progressed):  # that one is an array everywhere
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in zip(names, value, strict=True)}
