"""What may leave when: nothing does before the events behind it are durable (DESIGN §7)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..journal.base import Commit


class Releases:
    """Holds acts back until their commits are durable; they are done in order.

    Args:
        lost: told when the journal cannot say whether it has what was appended; nothing that is
            held back is done after that.
    """

    __slots__ = ("_held", "_lost")

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._held: deque[tuple[Commit, Callable[[], object]]] | None = None
        self._lost = lost

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._held

    def after(self, commit: Commit, act: Callable[[], object]) -> None:
        """Do ``act`` when ``commit``, and all before it, is durable; at once when it is."""
        if commit.done and commit.error is None and not self._held:
            act()
            return
        if self._held is None:
            self._held = deque()
        self._held.append((commit, act))
        commit.add_done_callback(self._committed)

    def when_durable(
        self, act: Callable[[], object], otherwise: Callable[[], object] | None = None
    ) -> None:
        """Do ``act`` when everything so far is durable, or ``otherwise`` if nobody can say."""
        if not self._held:
            act()
            return
        commit = self._held[-1][0]
        self._held.append((commit, act))
        if otherwise is not None:
            commit.add_done_callback(lambda commit: commit.error and otherwise())

    def _committed(self, commit: Commit) -> None:
        if commit.error is not None:
            self._held = None
            self._lost(commit.error)
        while self._held and self._held[0][0].done:
            self._held.popleft()[1]()
        self._held = self._held or None
