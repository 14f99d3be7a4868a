"""Explores an agent: every injection at every moment where that is few, by seed where it is not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from loguru import logger

from ...actors.session import SessionActor
from ...messages.entries import Progressed
from .facts import EPOCH, Facts
from .failure import Failure
from .invariants import Invariant, check_invariants
from .play import Play
from .promises import check
from .ready_made import Given
from .room import Room
from .schedules import schedules
from .script import ExploreError, Schedule
from .shrink import shrunk
from .stage import Stage
from .subject import Subject, session_actor_of
from .timeline import course

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from typing import Self

    from ...settings import Agent
    from ...tools.tool import Tool
    from .script import Line

    World = Callable[[], dict[str, Any]]

COLLECT_AFTER = 20
"""Runs after which what they left is collected; done tasks would be walked through otherwise."""

SHRINKING = 300
"""Runs that are spent on making a failure short."""


class Exploration(NamedTuple):
    """What was explored, and nothing was found.

    Args:
        schedules: how many runs.
        systematic: how many of them were of every injection at every moment.
        moments: how many moments a run of the script has without injections, by kind.
        seconds: real seconds.
    """

    schedules: int
    systematic: int
    moments: dict[str, int]
    seconds: float


class Explorer:
    """Plays schedules of one agent and one script; used by ``with``.

    The arguments are those of :func:`explore`.
    """

    def __init__(
        self,
        agent: Agent,
        script: tuple[Line, ...],
        *,
        tools: Iterable[Tool[..., Any]] = (),
        invariants: Iterable[Invariant] = (),
        raises: type[Exception] | tuple[type[Exception], ...] = (),
        world: World = dict,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        given = tuple(tools)
        self.stage = Stage(agent, given)
        self.script = script
        self._world = world
        self._invariants = tuple(invariants)
        self._raises = raises if isinstance(raises, tuple) else (raises,)
        asked = {"tools": given, "invariants": self._invariants, "raises": self._raises}
        shown = {name: value for name, value in asked.items() if value}
        self.given = Given(agent, shown | ({} if world is dict else {"world": world}) | {**options})
        self._options = {**options, "tools": given} if given else {**options}
        self._check_options(self._options)
        self._room = Room()
        self._played = 0
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises
            msg = "explore() runs loops of its own: call it from a plain test, not a coroutine"
            raise ExploreError(msg)
        self._exit.enter_context(_in_a_world_of_its_own(self))
        self._exit.enter_context(self.stage.watching())
        return self

    def __exit__(self, *exc: object) -> None:
        self.stage.play = None
        self._room.close()
        self._exit.close()

    def clock(self) -> float:
        """What ``time.time()`` says in a run."""
        play = self.stage.play
        return EPOCH + (play.loop.time() if play is not None else 0.0)

    def play(self, schedule: Schedule, script: tuple[Line, ...] | None = None) -> Facts:
        """Play one schedule and look at the promises."""
        lines = self.script if script is None else script
        subject = Subject(self.stage, lines, self._all_options(), self._raises)
        play = Play(subject, schedule, self._room)
        self.stage.play = play
        facts = play.run()
        if facts.unseen and facts.broken:
            msg = (
                f"{facts.broken[0].words}; it may wait for {facts.unseen}, which is outside of "
                "virtual time: give the tools doubles, by deps=... or world=..."
            )
            raise ExploreError(msg)
        check(facts)
        self._check_tools(facts)
        check_invariants(facts, self._invariants)
        self._room.clean()
        self._played += 1
        if self._played % COLLECT_AFTER == 0:
            del play, subject
            self.stage.play = None
            self._room.loop().leave()
            gc.collect(1)  # only what is new: the rest of the program has nothing to do with it
        return facts

    def _all_options(self) -> dict[str, Any]:
        """The options of a run's system."""
        world: object = self._world()
        if not isinstance(world, dict):
            msg = f"world gave {world!r}: give options for the system, such as {{'deps': ...}}"
            raise ExploreError(msg)
        options: dict[str, Any] = {**self._options, **world}
        self._check_options(options)
        options["session_actor"] = session_actor_of(options.get("session_actor", SessionActor))
        return options

    @staticmethod
    def _check_options(options: Iterable[str]) -> None:
        for name in ("journal", "deliver"):
            if name in options:
                msg = f"{name}=...: the explorer has a {name} of its own; leave it out"
                raise ExploreError(msg)

    def _check_tools(self, facts: Facts) -> None:
        for entry in facts.log:
            for call in entry.calls if isinstance(entry, Progressed) else ():
                if call.tool not in self.stage.tools:
                    msg = f"tool {call.tool!r} is not watched: give explore(tools=({call.tool},))"
                    raise ExploreError(msg)

    # --- exploring ---

    def explore(
        self, kinds: Sequence[str], most: int, seed: int, seconds: float | None = None
    ) -> Exploration:
        """Play up to ``most`` schedules; see :func:`explore`."""
        __tracebackhide__ = True
        began = time.monotonic()
        draw = random.Random(seed)  # noqa: S311 - nothing is kept secret
        plain = self._look(Schedule())
        slow = self._look(Schedule(slow=True))
        played = 2
        systematic = 0
        for schedule, is_systematic in schedules(plain, slow, kinds, most, draw):
            if played >= most or (seconds is not None and time.monotonic() - began > seconds):
                break
            self._look(schedule)
            played += 1
            systematic += is_systematic
        return Exploration(played, systematic, plain.moments, time.monotonic() - began)

    def _look(self, schedule: Schedule) -> Facts:
        __tracebackhide__ = True
        facts = self.play(schedule)
        if facts.broken:
            short, script = shrunk(self.play, facts, self.script, SHRINKING)
            same = course(short) == course(self.play(short.schedule, script))
            raise Failure(short, script, self.given, repeats=same)
        return facts


@contextlib.contextmanager
def _in_a_world_of_its_own(explorer: Explorer) -> Generator[None]:
    """The same dice and the same clock for every run, and no collection in the middle of one."""
    dice = random.getstate()
    collects = gc.isenabled()
    gc.disable()
    logger.disable("wavebreak")
    try:
        with mock.patch.object(time, "time", explorer.clock):
            yield
    finally:
        random.setstate(dice)
        if collects:
            gc.enable()
