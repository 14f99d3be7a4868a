"""How an actor ended, and what a watcher of it is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

Phase: TypeAlias = Literal["start", "receive", "stop"]


class ExitKind(StrEnum):
    """What ended an actor."""

    NORMAL = "normal"
    """It was asked to stop, and did."""
    FAILED = "failed"
    """An ``Exception`` that nobody had asked to be told of."""
    KILLED = "killed"
    """A ``BaseException`` that is no ``Exception``: an exit, an interrupt, a cancellation."""


class Exit(NamedTuple):
    """The end of one actor.

    Args:
        kind: normal, failed or killed.
        cause: what was raised; None for a normal end.
        phase: ``start`` for ``on_start``, ``receive`` for a message, ``stop`` for ``on_stop``.
    """

    kind: ExitKind
    cause: BaseException | None
    phase: Phase

    @classmethod
    def of(cls, cause: BaseException, phase: Phase) -> Exit:
        """The exit that ``cause`` makes: failed for an ``Exception``, killed for any other."""
        kind = ExitKind.FAILED if isinstance(cause, Exception) else ExitKind.KILLED
        return cls(kind, cause, phase)


NORMAL = Exit(ExitKind.NORMAL, None, "stop")
"""It was asked to stop, and did."""


class AskFailed(NamedTuple):
    """An ``ask`` raised: the asker was told, and the actor lives on.

    Args:
        cause: what the handler raised.
    """

    cause: Exception


Notice: TypeAlias = Exit | AskFailed
"""What watchers are told: any number of failed asks, then at most one exit."""
