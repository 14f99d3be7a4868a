"""What a journal does not know by itself: what its entries come to."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages.ids import SessionKey
    from .base import Recorded, StateForm


class Folded(NamedTuple):
    """What became of a session by the fold of its entries.

    Args:
        state: as the machine has it.
        position: of its last event.
        messages: that were accepted and have not ended.
        deliveries: that have not ended.
        turn: the last turn that was begun; 0 for none.
        running: whether it has not ended.
        status: in a word.
        scheduled: when the messages are due that are not yet, by where they were accepted.
    """

    state: object
    position: int
    messages: int
    deliveries: int
    turn: int
    running: bool
    status: str
    scheduled: Mapping[int, float] = MappingProxyType({})


class Folding(Protocol):
    """What a journal does not know: how states are written, and made of entries."""

    @property
    def form(self) -> StateForm:
        """How states are written."""
        ...

    def fold(self, key: SessionKey, recorded: Recorded) -> Folded:
        """Make a state.

        Raises:
            Exception: what is recorded cannot be.
        """
        ...
