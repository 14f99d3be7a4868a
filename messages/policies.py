"""Policies: what a new message does to a running turn."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from .model import Frozen

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


class Enqueue(Frozen):
    """Let the running turn go on; the message waits for a turn of its own."""

    kind: Literal["enqueue"] = "enqueue"


Policy = AfterWave | Now | Enqueue
How = AfterWave | Now
"""The ways in which :meth:`Session.stop` stops a turn."""

POLICIES: Final = frozenset(get_args(Policy))
"""The classes themselves: the table is by class, and the journal knows no subclass of them."""
