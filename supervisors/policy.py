"""What becomes of a child that has ended: pure, by the rules of OTP's supervisors."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from ..actors.exit import Exit, ExitKind
from ..messages.errors import InvalidSetting, Shutdown
from .child_spec import ChildSpec, Restart
from .restart_policy import Backoff

Stamps: TypeAlias = tuple[float, ...]
"""When a supervisor restarted something: seconds on the monotonic clock, the latest one last."""


class Action(StrEnum):
    """What a supervisor does about an end."""

    RESTART = "restart"
    DROP = "drop"
    """The child stays down; what else follows is a matter of ``auto_shutdown``."""
    ESCALATE = "escalate"
    """The budget is spent: the supervisor stops its children and ends, as ``shutdown``."""


class Verdict(NamedTuple):
    """What to do, and the stamps to remember."""

    action: Action
    stamps: Stamps


class Budget(NamedTuple):
    """How many restarts a supervisor has within a period.

    Args:
        intensity: restarts that are allowed; one more within the period is too many.
        period: seconds.
    """

    intensity: int = 1
    period: float = 5.0

    def check(self) -> Budget:
        """Give itself, if its values can be used.

        Raises:
            InvalidSetting: one of them cannot.
        """
        intensity, period = self
        if isinstance(intensity, bool) or not isinstance(intensity, int) or intensity < 0:
            raise InvalidSetting(f"intensity={intensity!r}: it has to be a whole number from 0")
        if (
            isinstance(period, bool)
            or not isinstance(period, int | float)
            or not 0 < period < math.inf
        ):
            raise InvalidSetting(f"period={period!r}: it has to be seconds, more than 0")
        return self

    def spend(self, stamps: Stamps, now: float) -> Verdict:
        """Count one restart, or one more try after a failed one.

        Args:
            stamps: those of the restarts before.
            now: seconds on the same clock.
        """
        oldest = now - self.period
        kept = (*(stamp for stamp in stamps if stamp >= oldest), now)
        if len(kept) > self.intensity:
            return Verdict(Action.ESCALATE, kept)
        return Verdict(Action.RESTART, kept)

    def decide(self, spec: ChildSpec, ended: Exit, stamps: Stamps, now: float) -> Verdict:
        """Decide what becomes of a child.

        Args:
            spec: what it was started by.
            ended: how it ended; not by its supervisor's own will.
            stamps: those of the restarts before.
            now: seconds on the same clock.
        """
        if spec.restart is Restart.TEMPORARY:
            return Verdict(Action.DROP, stamps)
        if spec.restart is Restart.TRANSIENT and is_normal(ended):
            return Verdict(Action.DROP, stamps)
        return self.spend(stamps, now)


def is_normal(ended: Exit) -> bool:
    """Say whether an end is one of those that are in order.

    These are a stop, and a ``Shutdown`` that the actor raised by itself, with a reason or not.
    """
    return ended.kind is ExitKind.NORMAL or isinstance(ended.cause, Shutdown)


def repetition(backoff: Backoff | None, before: int, lived: float) -> int:
    """Count the restarts that backoff goes by: from 0 again after a quiet time.

    Args:
        backoff: a child that lived as long as its ``maximum`` was quiet.
        before: the count at its last restart.
        lived: seconds from its last start to its end; 0 if it did not start.
    """
    return 0 if backoff is None or lived >= backoff.maximum else before
