"""The promises that a program makes for itself: functions of what is known of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .names import OWN
from .script import ExploreError

if TYPE_CHECKING:
    from .facts import Facts

Invariant = Callable[["Facts"], object]
"""It raises, or returns False, when it does not hold."""


def check_invariants(facts: Facts, invariants: Iterable[Invariant]) -> None:
    """Note those that do not hold."""
    if facts.broken:
        return
    for invariant in invariants:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            holds = invariant(facts)
        except BaseException as error:
            # What pytest.fail() raises is no Exception; a skip, or Ctrl-C, says nothing.
            if not isinstance(error, Exception) and type(error).__name__ != "Failed":
                raise
            # pytest puts a whole page into the message of an assertion.
            words = str(error).partition("\n")[0]
            facts.breaks(OWN, f"{name}: {words}" if words else f"{name}: {error!r}")
        else:
            if inspect.isawaitable(holds):
                _refuse_to_await(name, holds)
            if holds is not None and not holds:
                facts.breaks(OWN, name)


def _refuse_to_await(name: str, result: object) -> None:
    if inspect.iscoroutine(result):
        result.close()
    msg = f"invariant {name} is async: give a plain function, the run is over when it is called"
    raise ExploreError(msg)
