"""Explores an agent: every injection at every moment where that is few, by seed where it is not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import random
import time
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from loguru import logger

from ...actors.session import SessionActor
from ...messages.events import Progressed
from .facts import EPOCH, Facts
from .failure import Failure
from .play import Play, Subject, session_actor_of
from .promises import check
from .ready_made import Given
from .room import Room
from .script import (
    ALL,
    STEP,
    At,
    ExploreError,
    Inject,
    Schedule,
    checked,
    fitting,
    script_of,
)
from .shrink import shrunk
from .stage import Stage
from .timeline import course

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from ...system import Agent
    from ...tools.tool import Tool
    from .script import Line

    Invariant = Callable[[Facts], object]
    World = Callable[[], dict[str, Any]]

OWN = "an invariant of your own"
"""The promise that an ``invariant`` function makes."""

COLLECT_AFTER = 20
"""Runs after which what they left is collected; done tasks would be walked through otherwise."""

SYSTEMATIC = 0.7
"""The part of the schedules that may go to single injections; the rest is drawn."""

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

    @property
    def per_second(self) -> float:
        """Schedules a second."""
        return self.schedules / self.seconds if self.seconds else 0.0


def explore(
    agent: Agent,
    script: Sequence[str | Line],
    *,
    tools: Iterable[Tool[..., Any]] = (),
    inject: Iterable[str] = ALL,
    invariants: Iterable[Invariant] = (),
    raises: type[Exception] | tuple[type[Exception], ...] = (),
    world: World = dict,
    schedules: int = 500,
    seed: int = 0,
    seconds: float | None = None,
    **options: Any,
) -> Exploration:
    """Run an agent against a script, and let everything happen to it at every moment.

    First every injection by itself, at every moment, if these are few, then orders and
    combinations drawn from ``seed``. After each run the promises are looked at. Everything runs in
    virtual time, in one process; call it from a plain test, not from a coroutine.

    Args:
        agent: as for ``ActorSystem``; its tools are found by looking at its code.
        script: what the user does: texts, each after the end of what came before, or ``Say``,
            ``Stop`` and ``Restart``.
        tools: those that are not found in the agent's code; those for ``turn.call(name, ...)``.
        inject: what may happen, keys of ``INJECTIONS``.
        invariants: called with the ``Facts`` of every run; they raise, or return False, when they
            do not hold.
        raises: errors that the agent fails by on purpose; any other that was not injected is
            one that an interruption has brought out.
        world: called before every run; gives more options for the system, such as ``deps`` with
            doubles of their own, so that no run sees what another has done.
        schedules: how many runs.
        seed: of the draws; the same seed gives the same runs.
        seconds: real seconds after which no more runs are begun.
        options: for ``ActorSystem``: ``policy``, ``deps``, ``session_actor``, ``retry_on`` ...

    Raises:
        Failure: a promise was not kept; it shows the shortest run in which it is not.
        ExploreError: an argument cannot be used.
    """
    __tracebackhide__ = True
    kinds = checked(inject)
    lines = script_of(script)
    if schedules < 1:
        msg = f"schedules={schedules!r}: give 1 or more"
        raise ExploreError(msg)
    with Explorer(
        agent,
        lines,
        tools=tools,
        invariants=invariants,
        raises=raises,
        world=world,
        options=options,
    ) as explorer:
        return explorer.explore(kinds, schedules, seed, seconds)


def replay(
    agent: Agent,
    script: Sequence[str | Line],
    schedule: Schedule,
    *,
    tools: Iterable[Tool[..., Any]] = (),
    invariants: Iterable[Invariant] = (),
    raises: type[Exception] | tuple[type[Exception], ...] = (),
    world: World = dict,
    **options: Any,
) -> Facts:
    """Run one schedule again, as a failure of :func:`explore` shows it.

    Args:
        agent: as for :func:`explore`, like the rest.
        script: the script of that run.
        schedule: the schedule.
        tools: see there.
        invariants: see there.
        raises: see there.
        world: see there.
        options: see there.

    Returns:
        What is known of the run, when it kept every promise.

    Raises:
        Failure: it does not.
        ExploreError: an argument cannot be used.
    """
    __tracebackhide__ = True
    with Explorer(
        agent,
        script_of(script),
        tools=tools,
        invariants=invariants,
        raises=raises,
        world=world,
        options=options,
    ) as explorer:
        facts = explorer.play(schedule)
        if facts.broken:
            raise Failure(facts, explorer.script, explorer.given)
        return facts


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
        self._check_invariants(facts)
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

    def _check_invariants(self, facts: Facts) -> None:
        if facts.broken:
            return
        for invariant in self._invariants:
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
        for schedule, is_systematic in _schedules(plain, slow, kinds, most, draw):
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


def _refuse_to_await(name: str, result: object) -> None:
    if inspect.iscoroutine(result):
        result.close()
    msg = f"invariant {name} is async: give a plain function, the run is over when it is called"
    raise ExploreError(msg)


def _schedules(
    plain: Facts, slow: Facts, kinds: Sequence[str], most: int, draw: random.Random
) -> Iterator[tuple[Schedule, bool]]:
    """Each injection by itself at every moment, then what is drawn."""
    single = [*_single(plain, kinds), *_single(slow, kinds)]
    # If they are too many to play them all, those at the boundaries come first.
    boundaries = [one for one in single if not one.inject[0].at.startswith(STEP)]
    others = [one for one in single if one.inject[0].at.startswith(STEP)]
    draw.shuffle(boundaries)
    draw.shuffle(others)
    single = (boundaries + others)[: int(most * SYSTEMATIC)]
    for schedule in single:
        yield schedule, True
    while True:
        yield _drawn(plain, kinds, draw), False


def _single(facts: Facts, kinds: Sequence[str]) -> list[Schedule]:
    moments = _moments(facts)
    return [
        facts.schedule._replace(inject=(Inject(what, str(at)),))
        for what, at in product(kinds, moments)
        if fitting(what, (at,))
    ]


def _moments(facts: Facts) -> list[At]:
    return [At(kind, n) for kind, count in facts.moments.items() for n in range(1, count + 1)]


def _drawn(plain: Facts, kinds: Sequence[str], draw: random.Random) -> Schedule:
    """An order and up to four injections; what is injected makes the run longer."""
    moments = plain.moments
    injections: list[Inject] = []
    for _ in range(draw.choice((0, 1, 2, 2, 3, 4)) if kinds else 0):
        what = draw.choice(kinds)
        places = fitting(what, [At(kind, count) for kind, count in moments.items() if count])
        if not places:
            continue
        at = draw.choice(places)
        injections.append(Inject(what, f"{at.kind} {draw.randint(1, at.number * 3 // 2 + 1)}"))
    order = draw.getrandbits(32) if draw.random() < 0.8 else None  # noqa: PLR2004
    return Schedule(order, draw.random() < 0.5, tuple(injections))  # noqa: PLR2004


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
