"""A decision in the making: the events, and the state that is their fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from ...messages.entries import Entry, Progressed
from ...messages.events import AnyEvent, Event, MessageEnded
from ...messages.ids import DeliveryId
from .evolve import FOLDS, evolve

if TYPE_CHECKING:
    from ...messages.history import HistoryEntry
    from ...messages.reasons import CourtesyKind, MessageStatus, Reason
    from .state import Rules, Running, SessionState


_KINDS: Final[tuple[type[Event], ...]] = get_args(get_args(AnyEvent)[0])

_DEFAULTS: Final[Mapping[type[Event], dict[str, Any]]] = {
    kind: {name: field.default for name, field in kind.model_fields.items()} for kind in _KINDS
}
"""What an event has in the fields that it is not given; the others are overwritten."""

_MAKERS: Final[Mapping[type[Event], Callable[[dict[str, Any]], Event]]] = {
    kind: kind.trusted for kind in _KINDS
}


class Decision(NamedTuple):
    """What a command leads to.

    Args:
        state: the fold of the entries over the state before.
        entries: what happened.
        history: what that adds to the session's history.
        wishes: on what occasions the session may say something now.
    """

    state: SessionState
    entries: list[Entry]
    history: Sequence[HistoryEntry] = ()
    wishes: Sequence[Wish] = ()


class Wish(NamedTuple):
    """That the session may say something about a turn; its words come in by ``Courtesy``."""

    kind: CourtesyKind
    turn: int


class Draft:
    """A decision in the making."""

    __slots__ = ("at", "entries", "history", "rules", "state", "streamed", "wishes")

    def __init__(self, state: SessionState, rules: Rules, at: float, streamed: str = "") -> None:
        self.state = state
        self.rules = rules
        self.at = at
        self.streamed = streamed
        self.entries: list[Entry] = []
        self.history: Sequence[HistoryEntry] = ()
        self.wishes: Sequence[Wish] = ()

    def emit(self, kind: type[Event], turn: int | None = None, /, **fields: Any) -> None:
        """Write down that something happened, and evolve the state by it."""
        state = self.state
        values = _DEFAULTS[kind] | fields
        values["tenant"], values["session_id"] = state.key
        values["turn"] = turn
        values["position"] = state.position + 1
        values["at"] = self.at
        event = _MAKERS[kind](values)
        self.entries.append(event)
        self.state = FOLDS[kind](state, event)

    def settle(self, entries: Sequence[HistoryEntry]) -> None:
        """Add to the session's history."""
        self.history = [*self.history, *entries] if self.history else entries

    def log(self, entry: Progressed) -> None:
        """Write down what happened to calls and waves, and evolve the state by it."""
        self.entries.append(entry)
        self.state = evolve(self.state, entry)

    @property
    def running(self) -> Running:
        """The running turn, in states that have one."""
        running = self.state.running
        assert running is not None, "the table calls this clause in states with a turn only"
        return running

    def end_message(
        self,
        message_id: str,
        status: MessageStatus,
        reason: Reason | None = None,
        *,
        detail: str = "",
        turn: int | None = None,
        **answer: Any,
    ) -> None:
        """Write down how a message ended."""
        if self.state.scheduled:
            for one in self.state.scheduled:
                if one.message.message_id == message_id:
                    answer["scheduled"] = one.accepted
        self.emit(
            MessageEnded,
            turn,
            message_id=message_id,
            status=status,
            reason=reason,
            detail=detail,
            **answer,
        )

    def wish(self, kind: CourtesyKind, turn: int) -> None:
        """The session may say something about a turn."""
        if self.rules.courteous:
            self.wishes = (*self.wishes, Wish(kind, turn))

    def delivery_id(self) -> DeliveryId | None:
        """The id of the delivery that the next event makes, when there is somebody to deliver."""
        if not self.rules.delivers:
            return None
        return DeliveryId(f"{self.state.uid}-{self.state.position + 1}")
