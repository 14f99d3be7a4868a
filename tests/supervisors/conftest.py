from __future__ import annotations

from collections.abc import Generator

import pykka
import pytest

from .supervised import KINDS, LOOP, THREAD, World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``world`` with both kinds of actors."""
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", KINDS, indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Generator[World]:
    """Give a test its actors, and let go the threads that it held."""
    made = World(getattr(request, "param", LOOP))
    yield made
    made.script.gate.set()


@pytest.fixture
def on_loop() -> Generator[World]:
    """Give a test actors on the loop only, where time can be virtual."""
    made = World(LOOP)
    yield made
    made.script.gate.set()


@pytest.fixture
def on_thread() -> Generator[World]:
    """Give a test stock actors only; it is to be marked ``real_time``."""
    made = World(THREAD)
    yield made
    made.script.gate.set()


@pytest.fixture(autouse=True)
def quiet_pykka() -> Generator[None]:
    """See that no stock actor is left in the registry."""
    yield
    left = pykka.ActorRegistry.get_all()
    for ref in left:
        ref.stop()
    assert left == []
