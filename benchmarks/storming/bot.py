"""What is served in the storms: agents of which one answers at once, and one has work to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wavebreak import ActorSystem, Turn, tool

if TYPE_CHECKING:
    from wavebreak.journal.base import Journal

HEAVY = 0.005
"""Seconds of processor time that the heavy agent takes for a turn."""


@tool(effect="read")
async def search(query: str) -> str:
    """Look for something."""
    return f"found {query}"


async def agent(turn: Turn) -> str:
    """Answer with one call."""
    return await turn.one(search(turn.text))


async def heavy_agent(turn: Turn) -> str:
    """Answer after some work that keeps the processor busy."""
    until = time.thread_time() + HEAVY
    while time.thread_time() < until:
        pass
    return f"did {turn.text}"


def heavy(journal: Journal) -> ActorSystem:
    """Make a system that can carry some hundred messages a second, and keeps few waiting."""
    return ActorSystem(heavy_agent, journal=journal, capacity=20)
