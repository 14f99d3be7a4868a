"""The face of the explorer: ``explore`` and ``replay``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .explorer import Exploration, Explorer
from .failure import Failure
from .script import ALL, ExploreError, Schedule, checked, script_of

if TYPE_CHECKING:
    from ...settings import Agent
    from ...tools.tool import Tool
    from .explorer import World
    from .facts import Facts
    from .invariants import Invariant
    from .script import Line


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
