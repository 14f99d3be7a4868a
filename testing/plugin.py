"""The pytest plugin; pytest finds it by itself when wavebreak is installed.

Nothing of wavebreak is imported before a fixture is used, so that it costs others nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ..settings import Agent
    from .explorer import Exploration
    from .explorer.script import Line
    from .talk import Talk
    from .virtual_time import VirtualTimeLoop

SCHEDULES = 300
"""Schedules of a test, unless ``--wavebreak-schedules`` says otherwise."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("wavebreak")
    group.addoption(
        "--wavebreak-seed",
        type=int,
        default=0,
        metavar="N",
        help="what the explorer draws orders and injections from (default: 0)",
    )
    group.addoption(
        "--wavebreak-schedules",
        type=int,
        default=None,
        metavar="N",
        help=f"how many schedules a test explores (default: its own number, or {SCHEDULES})",
    )


class Virtual:
    """What the fixture ``virtual_time`` gives: runs coroutines on loops in virtual time.

    pytest-asyncio and anyio run the test's coroutine themselves; ``loop_factory`` is what they
    take, and ``wavebreak.testing.VirtualTimeLoop`` does as well.
    """

    @staticmethod
    def run(main: Any) -> Any:
        """Run a coroutine on a new loop; give what it gives.

        Raises:
            Leak: it left a task behind.
            Deadlock: it waits for something that nobody does.
        """
        from .leaks import LeakCheck  # noqa: PLC0415 - see above

        with LeakCheck() as check:
            return check.run(main)

    @staticmethod
    def loop_factory() -> VirtualTimeLoop:
        """A new loop in virtual time."""
        from .virtual_time import VirtualTimeLoop  # noqa: PLC0415 - see above

        return VirtualTimeLoop()


@pytest.fixture
def virtual_time() -> Virtual:
    """Runs coroutines in virtual time: ``virtual_time.run(main())``."""
    return Virtual()


@pytest.fixture
def wavebreak_system() -> Generator[Callable[..., Talk]]:
    """Starts systems for a plain test: ``wavebreak_system(agent).ask("hello")`` gives the reply.

    They run in virtual time, and are closed when the test is over.
    """
    from .talk import Talk  # noqa: PLC0415 - see above

    talks: list[Talk] = []

    def start(agent: Agent, **options: Any) -> Talk:
        talks.append(Talk(agent, **options))
        return talks[-1]

    yield start
    for talk in reversed(talks):
        talk.close()


@pytest.fixture
def interrupt_everywhere(pytestconfig: pytest.Config) -> Callable[..., Exploration]:
    """Explores an agent: ``interrupt_everywhere(agent, ["hello"])``; see :func:`explore`."""
    from .explorer import explore  # noqa: PLC0415 - see above

    seed = int(pytestconfig.getoption("--wavebreak-seed") or 0)
    most: int | None = pytestconfig.getoption("--wavebreak-schedules")

    def interrupt(agent: Agent, script: Sequence[str | Line], **options: Any) -> Exploration:
        __tracebackhide__ = True
        options.setdefault("seed", seed)
        own = options.pop("schedules", SCHEDULES)
        return explore(agent, script, schedules=own if most is None else most, **options)

    return interrupt


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the explorer found instead of the explorer's own code."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if hasattr(error, "timeline") and hasattr(error, "test"):
        seed = item.config.getoption("--wavebreak-seed")
        report.longrepr = f"{error}\n\n(--wavebreak-seed={seed})"
    elif type(error).__name__ == "ExploreError":
        report.longrepr = f"ExploreError: {error}"
    return report
