"""Policies: what a new message does to a running turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from .errors import InvalidSetting
from .message import SessionMessage
from .model import Frozen
from .view import SessionView

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AfterWave(Frozen):
    """Stop the running turn after its wave and start the next one with the partial results.

    Args:
        patience: seconds until the stop becomes :class:`Now`.
    """

    kind: Literal["after_wave"] = "after_wave"
    patience: Seconds = 30.0


class Now(Frozen):
    """Fence the running turn at once and cancel what it does; protected calls finish.

    Args:
        grace: seconds after which what has not ended is abandoned.
    """

    kind: Literal["now"] = "now"
    grace: Seconds = 5.0


class Rollback(Frozen):
    """Undo the running turn: fence it at once, let its calls end, then compensate them.

    Reads are cancelled, other calls may finish. A completed ``once`` call that nothing undoes, or
    a call of which nobody knows whether it happened, refuses it; then it was a :class:`Now`.

    Args:
        grace: seconds that calls have to end in; what has not by then is unknown.
    """

    kind: Literal["rollback"] = "rollback"
    grace: Seconds = 5.0


class Enqueue(Frozen):
    """Let the running turn go on; the message waits for a turn of its own."""

    kind: Literal["enqueue"] = "enqueue"


class Steer(Frozen):
    """Let the running turn go on, and offer it the message: ``await turn.new_messages()``.

    What the turn has not taken when it ends goes to the front of the queue.
    """

    kind: Literal["steer"] = "steer"


class Collect(Frozen):
    """Let the running turn go on; all that waits so becomes one turn."""

    kind: Literal["collect"] = "collect"


class Reject(Frozen):
    """Let the running turn go on, and refuse the message by ``MessageRejected``."""

    kind: Literal["reject"] = "reject"


class Aside(Frozen):
    """Let the running turn go on; the system's ``aside`` handler answers the message beside it.

    Without a handler it is as :class:`Enqueue`.
    """

    kind: Literal["aside"] = "aside"


Policy = AfterWave | Now | Rollback | Enqueue | Steer | Collect | Reject | Aside
Chooser = Callable[[SessionMessage, SessionView], Policy | Awaitable[Policy]]
"""Chooses the policy of a message by what it says and what the session does; plain or async."""

How = AfterWave | Now
"""The ways in which :meth:`Session.stop` stops a turn."""

Way = AfterWave | Now | Rollback
"""The ways in which a turn is told to end; also :meth:`Session.rollback` is one."""

POLICIES: Final = frozenset(get_args(Policy))
"""The classes themselves: the table is by class, and the journal knows no subclass of them."""

INTERRUPTING: Final = (AfterWave, Now, Rollback)
"""The policies that end a running turn."""


@dataclass(frozen=True, slots=True)
class Debounce:
    """A quiet window before a turn starts from idle, so that a burst becomes one turn.

    Args:
        quiet: seconds without another message after which the turn starts.
        max_wait: seconds after which it starts at the latest.

    Raises:
        InvalidSetting: a number cannot be used.
    """

    quiet: float
    max_wait: float

    def __post_init__(self) -> None:
        for name, seconds in (("quiet", self.quiet), ("max_wait", self.max_wait)):
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not number or not 0 < seconds < inf:
                msg = f"Debounce({name}={seconds!r}): give seconds, more than 0"
                raise InvalidSetting(msg)
        if self.max_wait < self.quiet:
            msg = (
                f"Debounce(quiet={self.quiet!r}, max_wait={self.max_wait!r}): the turn would start "
                "before it was ever quiet: give a max_wait of quiet or more"
            )
            raise InvalidSetting(msg)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a session is kept that nobody uses any more; then it is deleted as by ``delete()``.

    Args:
        idle: for how long nothing may have been sent to it, and nothing of it may have ended; a
            ``timedelta``, or seconds. A session with a message or a delivery that has not ended,
            parked ones too, is in use.

    Raises:
        InvalidSetting: that cannot be.
    """

    idle: float | timedelta

    def __post_init__(self) -> None:
        idle = self.idle
        number = isinstance(idle, int | float | timedelta) and not isinstance(idle, bool)
        if not number or not 0 < self.seconds < inf:
            msg = f"Retention(idle={idle!r}): give a timedelta, or seconds, more than 0"
            raise InvalidSetting(msg)

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        idle = self.idle
        return idle.total_seconds() if isinstance(idle, timedelta) else idle


def fences(how: Way) -> bool:
    """Whether a turn that is told to end so may not speak, save or start anything any more."""
    return not isinstance(how, AfterWave)
