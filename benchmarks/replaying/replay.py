"""A replay: the same scripts on both systems, one after the other."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from . import on_plain_tasks, on_wavebreak
from .audit import Report, problems, report
from .people import People
from .world import Desk, Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .pace import Pace
    from .recorded import Conversation


class Settings(NamedTuple):
    """How to replay.

    Args:
        speed: recorded seconds that pass in one second.
        seed: of the delays.
        policy: what a new message does to a running turn of wavebreak.
        virtual: whether time is virtual.
    """

    speed: float
    seed: int
    policy: on_wavebreak.PolicyName
    virtual: bool


class Played(NamedTuple):
    """What one system made of the scripts.

    Args:
        report: the figures.
        problems: what must not have happened, in words.
        landed: messages that were sent while an earlier one was unanswered.
        seconds: real seconds that it took.
        cpu_seconds: of this process.
    """

    report: Report
    problems: list[str]
    landed: int
    seconds: float
    cpu_seconds: float


def write_scripts(
    conversations: Sequence[Conversation], pace: Pace, sessions: int | None = None
) -> list[Script]:
    """Deal times to the lines of as many sessions as asked for.

    Args:
        conversations: begun again from the first when there are more sessions than they are.
        pace: where the times come from.
        sessions: how many, by default one for each conversation.
    """
    count = len(conversations)
    talks = [conversations[number % count] for number in range(sessions or count)]
    times = [pace.arrivals(len(talk.exchanges)) for talk in talks]
    begins = pace.beginnings([one[-1] for one in times])
    scripts: list[Script] = []
    for number, (talk, arrivals, begin) in enumerate(zip(talks, times, begins, strict=True)):
        again = number // count
        name = f"{talk.conversation_id}/{again + 1}" if again else talk.conversation_id
        scripts.append(Script(name, talk, [begin + at for at in arrivals]))
    return scripts


def replay_on_wavebreak(
    scripts: Sequence[Script], *, settings: Settings, progress: Callable[[], None]
) -> Played:
    """Play the scripts on wavebreak, and look for what must not happen there."""

    async def play(desks: Mapping[str, Desk], people: People) -> None:
        await on_wavebreak.play(desks, people, settings.policy)

    return _replay(play, scripts, settings, progress)


def replay_on_plain_tasks(
    scripts: Sequence[Script], *, settings: Settings, progress: Callable[[], None]
) -> Played:
    """Play the scripts on the plain pattern, of which nothing is demanded."""
    return _replay(on_plain_tasks.play, scripts, settings, progress)


def _replay(
    play: Callable[[Mapping[str, Desk], People], Awaitable[None]],
    scripts: Sequence[Script],
    settings: Settings,
    progress: Callable[[], None],
) -> Played:
    desks = {
        script.session_id: Desk(script, seed=settings.seed, speed=settings.speed)
        for script in scripts
    }

    async def main() -> None:
        await play(desks, People(speed=settings.speed, progress=progress))

    real, cpu = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=_virtual_loop if settings.virtual else None) as runner:
        runner.run(main())
    real, cpu = time.perf_counter() - real, time.process_time() - cpu
    tapes = {name: desk.tape for name, desk in desks.items()}
    recorded = (desk.script.recorded for desk in desks.values())
    figures = report(tapes.values(), recorded, settings.speed)
    return Played(
        figures,
        problems(tapes, figures),
        sum(tape.landed for tape in tapes.values()),
        round(real, 2),
        round(cpu, 2),
    )


def _virtual_loop() -> asyncio.AbstractEventLoop:
    # Here, because a real replay needs nothing of the testing package.
    from wavebreak.testing import VirtualTimeLoop  # noqa: PLC0415

    return VirtualTimeLoop()
