"""What the explorer raises: the timeline of the shortest run, and a test that shows it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...messages.policies import AfterWave
from .script import Restart, Say, Stop
from .timeline import timeline

if TYPE_CHECKING:
    from .facts import Broken, Facts
    from .script import Line


class Failure(AssertionError):
    """A promise was not kept. Its text has the timeline, and a ready-made test.

    Args:
        facts: the run.
        script: its script.
        options: of the system, for the test.
    """

    def __init__(self, facts: Facts, script: tuple[Line, ...], options: dict[str, Any]) -> None:
        self.facts = facts
        self.script = script
        self.options = options
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
        schedule = self.facts.schedule
        lines = ", ".join(_line(line) for line in self.script)
        inject = "".join(f"Inject({one.what!r}, {one.at!r}), " for one in schedule.inject)
        drawn = f"order={schedule.order}, slow={schedule.slow}, inject=({inject.rstrip()})"
        options = _words(self.options)
        return "\n".join(
            (
                "from wavebreak.testing import Inject, Say, Schedule, Stop, replay",
                "",
                "",
                "def test_found_by_the_explorer() -> None:",
                f"    schedule = Schedule({drawn})",
                f"    replay(agent, [{lines}], schedule{options})",
            )
        )

    def __str__(self) -> str:
        what = "\n".join(self.timeline)
        return f"{self.broken.promise}: {self.broken.words}\n\n{what}\n\n{self.test}"


def _line(line: Line) -> str:
    if isinstance(line, Say):
        if line == Say(line.text):
            return repr(line.text)
        given = {k: v for k, v in line._asdict().items() if v is not None and k != "text"}
        return f"Say({line.text!r}{_words(given)})"
    if isinstance(line, Stop):
        given = {k: v for k, v in line._asdict().items() if v != getattr(Stop(), k)}
        return f"Stop({_words(given)[2:]})"
    assert isinstance(line, Restart), "there are three kinds of lines"
    return "Restart()" if line.after is None else f"Restart(after={line.after})"


def _words(given: dict[str, Any]) -> str:
    return "".join(f", {name}={_value(value)}" for name, value in given.items())


def _value(value: Any) -> str:
    if isinstance(value, AfterWave) and value == AfterWave():
        return "AfterWave()"
    return str(getattr(value, "__name__", repr(value)))
