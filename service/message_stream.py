"""One message's events as a stream: its own, those of its turns, and its outcome as the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from ..messages.errors import WavebreakError
from ..messages.events import (
    Event,
    MessageAccepted,
    MessageDue,
    MessageEdited,
    MessageEnded,
    MessagesTaken,
    TurnStarted,
)
from ..messages.message import MessageOutcome
from .feed import Feed, Item, closed

if TYPE_CHECKING:
    from ..actors.future import Future
    from ..messages.ids import SessionKey
    from .state import Service, Standing


class Part:
    """Which of a session's events belong to one message: its own, and those of its turns."""

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._turns: set[int] = set()

    def __call__(self, event: Event) -> bool:
        """Whether this one does; asked in their order."""
        if isinstance(event, MessageAccepted):
            return event.message.message_id == self._message_id
        if isinstance(event, MessageEnded | MessageDue | MessageEdited):
            return event.message_id == self._message_id
        if isinstance(event, TurnStarted | MessagesTaken) and self._message_id in event.message_ids:
            self._turns.add(event.turn)
        return event.turn in self._turns


class MessageSource:
    """Streams the events of one message, and then its outcome as the last.

    Args:
        feed: the session's events, with those of the message only.
        outcome: how it ends.
    """

    def __init__(self, feed: Feed, outcome: Future[MessageOutcome]) -> None:
        self._feed = feed
        self._outcome = outcome
        self._ended = False
        self._told = False

    def close(self) -> None:
        """Let go of the events."""
        self._feed.close()

    def at_hand(self) -> Item | None:
        """One at a time: the last may have to be waited for."""
        return None

    async def next(self) -> Item | None:
        """The next item; the outcome is the last."""
        if self._told:
            return None
        if not self._ended:
            item = await self._feed.next()
            if item is not None and item.kind != "close":
                self._ended = isinstance(item.event, MessageEnded)
                return item
            self._ended = True
        try:
            outcome = await self._outcome
        except WavebreakError as error:
            logger.debug("no outcome is told: {}", error)
            self._told = True
            return closed("shutdown")
        self._told = True
        return Item("outcome", outcome.model_dump_json())


def feed_of(service: Service, key: SessionKey, message_id: str, after: int | None) -> Feed:
    """The events of one message, in a session's; subscribed at once.

    Args:
        service: the service.
        key: the session.
        message_id: which message.
        after: the last position that the reader has; None for nothing that was.

    Raises:
        SystemClosed: the system does not run.
    """

    def over(standing: Standing) -> bool:
        known = None if standing.state is None else standing.state.remembered.get(message_id)
        return known is not None and known.outcome is not None

    # From the first event on, to learn which turns are the message's.
    begin = None if after is None else 0
    return service.feed(key, begin, has=after or 0, wanted=Part(message_id), over=over)
