"""What the explorer is given and what it draws: scripts, injections, schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ...messages.policies import (
    AfterWave,
    Aside,
    Collect,
    Enqueue,
    How,
    Now,
    Policy,
    Reject,
    Rollback,
    Steer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExploreError(ValueError):
    """The explorer cannot begin: something that it was given is wrong."""


class Say(NamedTuple):
    """A message of the script.

    Args:
        text: what the user writes.
        after: seconds after what came before; None waits until all that is over.
        policy: as for ``session.send``, like the rest.
        sender: who writes.
        deadline: seconds.
    """

    text: str
    after: float | None = None
    policy: Policy | None = None
    sender: str | None = None
    deadline: float | None = None


class Stop(NamedTuple):
    """A stop in the script.

    Args:
        how: after the wave, or now.
        after: seconds after what came before.
        backlog: what happens to the messages that wait.
    """

    how: How = AfterWave()
    after: float = 0.0
    backlog: str = "keep"


class Restart(NamedTuple):
    """The system is closed and opened again on the same journal.

    Args:
        after: seconds after what came before; None waits until all that is over.
    """

    after: float | None = None


Line = Say | Stop | Restart
"""One line of a script; a bare text is ``Say(text)``."""


def script_of(lines: Iterable[str | Line]) -> tuple[Line, ...]:
    """A script with every text made into a message.

    Raises:
        ExploreError: a line is neither a text nor a line of a script.
    """
    if isinstance(lines, str):
        msg = f"script={lines!r}: give a list of messages, [{lines!r}]"
        raise ExploreError(msg)
    made: list[Line] = []
    for line in lines:
        if not isinstance(line, str | Say | Stop | Restart):
            msg = f"script has {line!r}: give texts, Say(...), Stop(...) or Restart(...)"
            raise ExploreError(msg)
        made.append(Say(line) if isinstance(line, str) else line)
    if not any(isinstance(line, Say) for line in made):
        msg = "the script has no message: give at least one, such as ['hello']"
        raise ExploreError(msg)
    return tuple(made)


STEP: Final = "step"
CALL: Final = "call"
END: Final = "end"
RECORD: Final = "record"
DELIVER: Final = "deliver"

MOMENTS: Final = {
    STEP: "before the loop's step",
    CALL: "at the start of tool call",
    END: "at the end of tool call",
    RECORD: "at the journal's entry",
    DELIVER: "at delivery",
}
"""Where something can be injected, each counted from 1 over a whole run."""


class At(NamedTuple):
    """A moment of a run: the third start of a tool, the tenth entry of the journal."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class Inject(NamedTuple):
    """Something that happens at one moment of a run.

    Args:
        what: a key of :data:`INJECTIONS`.
        at: the moment, such as ``"call 2"``; the kinds are those of :data:`MOMENTS`.
    """

    what: str
    at: str

    @property
    def moment(self) -> At:
        """The moment.

        Raises:
            ExploreError: there is none of that name, or nothing of that name can be injected.
        """
        kind, _, number = self.at.partition(" ")
        if kind not in MOMENTS or not number.isdecimal():
            msg = f"at={self.at!r}: a moment is one of {', '.join(MOMENTS)} and a number, 'call 2'"
            raise ExploreError(msg)
        if self.what not in INJECTIONS:
            msg = f"what={self.what!r} is none of {', '.join(INJECTIONS)}"
            raise ExploreError(msg)
        return At(kind, int(number))


INJECTIONS: Final = {
    "message": "a new message",
    "now": "a new message with Now",
    "enqueue": "a new message with Enqueue",
    "steer": "a new message with Steer",
    "collect": "a new message with Collect",
    "reject": "a new message with Reject",
    "aside": "a new message with Aside",
    "rollback": "a new message with Rollback",
    "stop": "a stop after the wave",
    "stop now": "a stop now",
    "crash": "the runtime dies",
    "kill": "the process is killed",
    "restart": "the system is closed and opened again",
    "deadline": "the turn's deadline passes",
    "fail": "the tool fails",
    "late": "the tool does not heed its cancellation",
    "lose": "the journal does not answer, and has not written",
    "unsure": "the journal does not answer, but has written",
}
"""What can be injected."""

PLACES: Final = {"fail": (CALL,), "late": (CALL,), "lose": (RECORD,), "unsure": (RECORD,)}
"""Where, for those that cannot happen anywhere."""

POLICY_OF: Final[dict[str, Policy]] = {
    "message": AfterWave(),
    "now": Now(),
    "enqueue": Enqueue(),
    "steer": Steer(),
    "collect": Collect(),
    "reject": Reject(),
    "aside": Aside(),
    "rollback": Rollback(),
}
"""The policies of messages that are injected."""

ALL: Final = tuple(INJECTIONS)


def checked(what: Iterable[str]) -> tuple[str, ...]:
    """The kinds of injections that were asked for.

    Raises:
        ExploreError: one is not known.
    """
    kinds = tuple(what)
    for kind in kinds:
        if kind not in INJECTIONS:
            msg = f"inject has {kind!r}: give some of {', '.join(INJECTIONS)}"
            raise ExploreError(msg)
    return kinds


class Schedule(NamedTuple):
    """One run, drawn: played again it takes the same course.

    Args:
        order: the seed of the order between actors; None for the loop's own order.
        slow: whether commits take time, and a kill loses those that are under way.
        inject: what is injected, and when.
    """

    order: int | None = None
    slow: bool = False
    inject: tuple[Inject, ...] = ()

    def without(self, one: Inject) -> Schedule:
        """The same schedule without one of its injections."""
        return self._replace(inject=tuple(other for other in self.inject if other is not one))


def fitting(what: str, moments: Sequence[At]) -> list[At]:
    """The moments at which ``what`` can be injected."""
    places = PLACES.get(what)
    return [at for at in moments if places is None or at.kind in places]
