"""The moments of a run, and what is injected at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.policies import AfterWave, Now
from .facts import Sent
from .script import CALL, DELIVER, END, POLICY_OF, RECORD, STEP
from .stage import ProcessKilled, RuntimeDied
from .users import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .play import Play
    from .script import Inject

STEPS = 4_000
"""Steps after which a run is said to go round in circles."""


class Endless(BaseException):
    """A run goes round in circles."""


class Injections:
    """Counts the moments of a run, and lets happen what is to happen at them.

    Args:
        play: the run.
        inject: what is to happen.
    """

    def __init__(self, play: Play, inject: Iterable[Inject]) -> None:
        self.counts: dict[str, int] = dict.fromkeys((CALL, END, RECORD, DELIVER), 0)
        self.steps = 0
        self._play = play
        self._todo: dict[tuple[str, int], list[Inject]] = {}
        for one in inject:
            self._todo.setdefault(one.moment, []).append(one)

    def moment(self, kind: str) -> str:
        """A moment has come; what is to happen at it happens, or is given back to be done."""
        if self._play.dead:
            return ""
        count = self.counts[kind] = self.counts[kind] + 1
        todo = self._todo.get((kind, count))
        return "" if todo is None else self._inject_all(todo, kind)

    def step(self) -> None:
        """Between two steps of the loop."""
        if self._play.dead:
            raise ProcessKilled
        self.steps += 1
        if self.steps > STEPS:
            raise Endless
        todo = self._todo.get((STEP, self.steps))
        if todo is not None:
            self._inject_all(todo, STEP)
            if self._play.dead:
                raise ProcessKilled

    def _inject_all(self, todo: list[Inject], kind: str) -> str:
        given = ""
        for inject in todo:
            if self._play.at_rest:
                continue
            self._play.mark("inject", inject)
            self._play.facts.injected.append(inject)
            given = self._play.clean.copy().run(self._inject, inject.what, kind) or given
        if self._play.dead and kind in {CALL, END}:
            raise ProcessKilled
        if given == "crash":
            raise RuntimeDied
        return given

    def _inject(self, what: str, kind: str) -> str:
        policy = POLICY_OF.get(what)
        if policy is not None:
            self._play.users.send(Sent("", f"injected {len(self._play.facts.sent) + 1}", policy))
            return ""
        match what:
            case "stop":
                self._play.users.stop(AfterWave())
            case "stop now":
                self._play.users.stop(Now())
            case "crash":
                return self._crash(kind)
            case "kill":
                self._play.dead = True
                self._play.disk.disconnect()
            case "restart":
                self._play.restart()
            case "deadline":
                self._play.loop.advance(DEADLINE)
            case _:
                return what
        return ""

    def _crash(self, kind: str) -> str:
        if kind in {CALL, END}:
            return "crash"
        for attempt in reversed(self._play.facts.attempts):
            if attempt.active and attempt.life == self._play.life and attempt.task is not None:
                attempt.task.cancel("the runtime dies")
                break
        return ""
