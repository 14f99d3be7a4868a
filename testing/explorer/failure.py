"""What the explorer raises: the timeline of the shortest run, and a test that shows it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ready_made import ready_made
from .timeline import timeline

if TYPE_CHECKING:
    from .facts import Broken, Facts
    from .ready_made import Given
    from .script import Line

NOT_REPEATED = """\
Played once more, this run takes another course: something in the agent or its tools is not the same
each time, such as the wall clock, os.urandom, or a thread of its own."""


class Failure(AssertionError):
    """A promise was not kept. Its text has the timeline, and a ready-made test.

    Args:
        facts: the run.
        script: its script.
        given: what else the explorer was given, for the test.
        repeats: whether the same schedule takes the same course once more.
    """

    def __init__(
        self, facts: Facts, script: tuple[Line, ...], given: Given, *, repeats: bool = True
    ) -> None:
        self.facts = facts
        self.script = script
        self.given = given
        self.repeats = repeats
        super().__init__(str(self))

    @property
    def broken(self) -> Broken:
        """The promise, and what was seen."""
        return self.facts.broken[0]

    @property
    def timeline(self) -> list[str]:
        """What happened, in at most 15 lines."""
        return timeline(self.facts)

    @property
    def test(self) -> str:
        """A test that fails in the same way, as it could stand in a file of its own."""
        return ready_made(self.given, self.script, self.facts.schedule)

    def __str__(self) -> str:
        what = "\n".join(self.timeline)
        remark = "" if self.repeats else f"\n\n{NOT_REPEATED}"
        return f"{self.broken.promise}: {self.broken.words}\n\n{what}{remark}\n\n{self.test}"
