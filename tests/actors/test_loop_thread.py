from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from wavebreak import ActorSystem, Turn
from wavebreak.actors.loop_thread import loop_factory


async def name_the_loop(turn: Turn) -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def loop_of_a_blocking_program() -> str:
    with ActorSystem(name_the_loop) as system:
        receipt = system.session("ann").send("which?").get(timeout=20)
        reply = receipt.outcome().get(timeout=20).reply
    assert reply is not None
    return reply.text


def test_uvloop_is_used_when_it_is_installed() -> None:
    assert loop_factory() is uvloop.new_event_loop
    assert loop_of_a_blocking_program() == "uvloop"


def test_without_it_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not installed
    assert loop_factory() is None
    assert loop_of_a_blocking_program() == "asyncio"
