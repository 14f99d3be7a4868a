"""What may leave when: nothing does before the events behind it are durable (DESIGN §7)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..journal.base import Commit


class _Held(NamedTuple):
    """An act that waits for its commit, and what is done if nobody can say."""

    commit: Commit
    act: Callable[[], object]
    otherwise: Callable[[], object] | None


class Releases:
    """Holds acts back until their commits are durable; they are done in order.

    Args:
        lost: told, once, when the journal cannot say whether it has what was appended; nothing
            that is held back is done after that.
    """

    __slots__ = ("_held", "_is_lost", "_lost")

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._held: deque[_Held] | None = None
        self._is_lost = False
        self._lost = lost

    @property
    def is_holding(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def after(self, commit: Commit, act: Callable[[], object]) -> None:
        """Do ``act`` when ``commit``, and all before it, is durable; at once when it is."""
        if self._is_lost:
            return
        if commit.done and commit.error is None and not self._held:
            act()
            return
        if self._held is None:
            self._held = deque()
        self._held.append(_Held(commit, act, None))
        commit.add_done_callback(self._committed)

    def when_durable(
        self, act: Callable[[], object], otherwise: Callable[[], object] | None = None
    ) -> None:
        """Do ``act`` when everything so far is durable, or ``otherwise`` if nobody can say."""
        if self._is_lost:
            if otherwise is not None:
                otherwise()
        elif not self._held:
            act()
        else:
            self._held.append(_Held(self._held[-1].commit, act, otherwise))

    def let_go(self) -> None:
        """Leave nobody waiting who can be told otherwise; the other acts still have their time."""
        held = self._held or ()
        self._held = deque(one for one in held if one.otherwise is None) or None
        _do_otherwise(held)

    def _committed(self, commit: Commit) -> None:
        if commit.error is not None and not self._is_lost:
            self._is_lost = True
            held, self._held = self._held or (), None
            self._lost(commit.error)
            _do_otherwise(held)
        while self._held and self._held[0].commit.done:
            self._held.popleft().act()
        self._held = self._held or None


def _do_otherwise(held: deque[_Held] | tuple[_Held, ...]) -> None:
    for one in held:
        if one.otherwise is not None:
            one.otherwise()
