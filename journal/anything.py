"""Messages of classes that are not there: who looks into a journal has not the program's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ConfigDict, create_model

from ..messages.message import SessionMessage, UserMessage


class _Anything(SessionMessage):
    """A message with whatever its class says that it has."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_text(self) -> str:
        """Its words, if it has what most call so."""
        return str((self.model_extra or {}).get("text", ""))


class AnyMessages(Mapping[str, type[SessionMessage]]):
    """A class for every name: what a message of it says comes out as it went in."""

    def __init__(self) -> None:
        self._types: dict[str, type[SessionMessage]] = {
            kind.__name__: kind for kind in (SessionMessage, UserMessage)
        }

    def __getitem__(self, name: str) -> type[SessionMessage]:
        if name not in self._types:
            self._types[name] = create_model(name, __base__=_Anything)
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)
