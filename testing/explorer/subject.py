"""What is explored, and the session's actor that gives its state for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...actors.session import SessionActor

if TYPE_CHECKING:
    from .script import Line
    from .stage import Stage


class GiveState:
    """Asks a session for its state as it stands."""


class Subject(NamedTuple):
    """What is explored.

    Args:
        stage: the agent and its tools, watched.
        script: what its user does.
        options: of the system.
        raises: what the agent may fail by.
    """

    stage: Stage
    script: tuple[Line, ...]
    options: dict[str, Any]
    raises: tuple[type[Exception], ...] = ()


def session_actor_of(base: type[SessionActor]) -> type[SessionActor]:
    """The same session's actor, which also gives its state when it is asked for it."""

    class Explored(base):  # type: ignore[misc, valid-type]
        """Answers the explorer too."""

        __slots__ = ()

        def on_receive(self, message: Any) -> Any:
            if isinstance(message, GiveState):
                return self.state
            return super().on_receive(message)

    return Explored
