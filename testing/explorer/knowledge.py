"""What the disk is known to have for good: nothing else may have left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.entries import Progressed
from ...messages.events import DeliveryEnded, MessageAccepted, MessageEnded
from .facts import KEY

if TYPE_CHECKING:
    from ...messages.entries import Entry
    from ..disk import SimulatedDisk


def delivery_of(entry: Entry) -> str:
    """The delivery that an entry makes: a reply's, words', an answer's beside the turn."""
    if isinstance(entry, Progressed | DeliveryEnded):
        return ""
    return getattr(entry, "delivery_id", None) or ""


class Durable:
    """Reads a disk as it grows.

    Args:
        disk: what is read.
    """

    __slots__ = ("_accepted", "_calls", "_deliveries", "_disk", "_ended", "_position", "_read")

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._read = 0
        self._accepted: set[str] = set()
        self._ended: set[str] = set()
        self._calls: set[str] = set()
        self._deliveries: set[str] = set()
        self._position = 0

    def has_accepted(self, message_id: str) -> bool:
        """Whether a message is known to be accepted."""
        self._catch_up()
        return message_id in self._accepted

    def has_ended(self, message_id: str) -> bool:
        """Whether it is known how a message ended."""
        self._catch_up()
        return message_id in self._ended

    def has_call(self, call_id: str) -> bool:
        """Whether the start of a call is known."""
        self._catch_up()
        return call_id in self._calls

    def has_delivery(self, delivery_id: str) -> bool:
        """Whether what a delivery carries is known."""
        self._catch_up()
        return delivery_id in self._deliveries

    @property
    def position(self) -> int:
        """The last event's position."""
        self._catch_up()
        return self._position

    def _catch_up(self) -> None:
        shelf = self._disk.shelves.get(KEY)
        if shelf is None or self._read == shelf.durable:
            return
        for entry in shelf.entries[self._read : shelf.durable]:
            if isinstance(entry, Progressed):
                self._calls.update([call.call_id for call in entry.calls])
                self._position = entry.position + entry.span - 1
                continue
            self._position = entry.position or self._position
            if isinstance(entry, MessageAccepted):
                self._accepted.add(entry.message.message_id)
            elif isinstance(entry, MessageEnded):
                self._ended.add(entry.message_id)
            carries = delivery_of(entry)
            if carries:
                self._deliveries.add(carries)
        self._read = shelf.durable
