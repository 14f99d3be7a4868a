"""An agent for the service's tests, served by a process of its own; its calls take as long as said.

A message "rome 0.5" is searched for in half a second.
"""

from __future__ import annotations

import asyncio

from wavebreak import Turn, tool


@tool(effect="read")
async def search(query: str) -> str:
    """Look for something, for as long as its last word says."""
    await asyncio.sleep(float(query.rpartition(" ")[2]))
    return f"found {query}"


async def agent(turn: Turn) -> str:
    """Look for everything that was asked, a wave each."""
    turn.delta("I look ")
    found = [await turn.one(search(message.as_text())) for message in turn.messages]
    return "; ".join(found)
