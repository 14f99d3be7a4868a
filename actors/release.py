"""What may leave when: nothing does before the events behind it are durable (DESIGN §7)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ..messages.making import maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..journal.base import Commit
    from ..messages.entries import Entry, Line


class _Held(NamedTuple):
    """What waits for its commit: entries to be let out, or an act, and what is done instead."""

    commit: Commit
    entries: Sequence[Entry] | Line
    act: Callable[[], object] | None = None
    otherwise: Callable[[], object] | None = None


_new_held = maker(_Held)


class Releases:
    """Holds back what may leave when its commit is durable; it leaves in order.

    A session has a handful of commits in each turn, so what waits for one is told by one callback
    of its own, and an entry is held as it is.

    Args:
        release: lets entries out, or one of which it is given the line; they are durable.
        lost: told, once, when the journal cannot say whether it has what was appended; nothing
            that is held back is done after that.
    """

    __slots__ = ("_held", "_is_lost", "_lost", "_release")

    def __init__(
        self, release: Callable[[Sequence[Entry] | Line], object], lost: Callable[[Exception], None]
    ) -> None:
        self._held: deque[_Held] | None = None
        self._is_lost = False
        self._release = release
        self._lost = lost

    @property
    def is_holding(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def after(self, commit: Commit, entries: Sequence[Entry] | Line) -> None:
        """Let ``entries`` out when ``commit`` and all before it are durable; at once if so.

        Of one entry that says what happened to calls its line will do: in that there is nothing
        for the collector of garbage to look at as long as it is held.
        """
        if self._is_lost:
            return
        if commit.done and commit.error is None and not self._held:
            self._release(entries)
            return
        if self._held is None:
            self._held = deque()
        self._held.append(_new_held((commit, entries, None, None)))
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
            self._held.append(_Held(self._held[-1].commit, (), act, otherwise))

    def let_go(self) -> None:
        """Leave nobody waiting who can be told otherwise; the rest still has its time."""
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
            _, entries, act, _ = self._held.popleft()
            if act is None:
                self._release(entries)
            else:
                act()
        self._held = self._held or None


def _do_otherwise(held: Iterable[_Held]) -> None:
    for one in held:
        if one.otherwise is not None:
            one.otherwise()
