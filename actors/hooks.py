"""What a subclass of an actor may write: its hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
from loguru import logger

if TYPE_CHECKING:
    from types import TracebackType

    from .mailbox import Envelope


class Hooks(pykka.Actor):
    """The hooks of an actor, which do nothing, or log; each but the last may be async.

    mypy compares an override with Pykka's own hook too, which is plain: there an async one needs a
    ``type: ignore[override]``, or is written as a plain one that returns a coroutine.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        _actor_ref: pykka.ActorRef[Any]

    def on_start(self) -> Any:
        """Set up what has to be there before the first message; if it raises, the actor ends."""

    def on_stop(self) -> Any:
        """Clean up after the last message, when the actor was asked to stop."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """Clean up when a message ended the actor; ``on_stop`` is not called then.

        Args:
            exception_type: the class of what was raised.
            exception_value: what was raised.
            traceback: where.
        """

    def on_receive(self, message: Any) -> Any:
        """Handle a message that is not a proxy's; by default it is logged as unexpected.

        Args:
            message: what was sent.

        Returns:
            the answer, for those who asked; awaited first if it is awaitable.
        """
        logger.warning("unexpected message to {}: {}", self._actor_ref, type(message).__name__)

    def dead_letter(self, envelope: Envelope) -> None:
        """Take note of a message that nobody waits for, left when the actor ended.

        It was counted already. By default it is logged, no more.

        Args:
            envelope: the message.
        """
        logger.debug("dead letter of {}: {}", self._actor_ref, envelope)
