"""What a session says by itself: the program's words, or the default ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loguru import logger

from ..messages.reasons import CourtesyKind
from ..messages.text import check_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages.view import SessionView

    Courtesy = Callable[[CourtesyKind, SessionView], str | None]

DEFAULTS = {
    CourtesyKind.INTERRUPTED: "",
    CourtesyKind.STILL_WORKING: "I am still working on it.",
    CourtesyKind.CANCELLED: "I have stopped.",
    CourtesyKind.FAILED: "Sorry, something went wrong, and I could not finish this.",
    CourtesyKind.TIMED_OUT: "Sorry, this took too long, and I have stopped.",
}
"""What is said when the program has nothing to say: on an end without a reply never nothing."""


class Courteous:
    """Gives the words for an occasion; whatever the program's function does.

    Args:
        courtesy: the program's function, if it has one.
    """

    __slots__ = ("_courtesy",)

    def __init__(self, courtesy: Courtesy | None) -> None:
        self._courtesy = courtesy

    def __call__(self, kind: CourtesyKind, view: SessionView) -> str:
        """The words; empty for none."""
        if self._courtesy is None:
            return DEFAULTS[kind]
        try:
            text: Any = self._courtesy(kind, view)
            if text is None:
                return DEFAULTS[kind]
            check_text("what courtesy gave", text)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001
            # It must not harm the conversation, nor, asked by a timer, end the loop.
            logger.opt(exception=error).error("courtesy failed on {!r}: the default is said", kind)
            return DEFAULTS[kind]
        return str(text)
