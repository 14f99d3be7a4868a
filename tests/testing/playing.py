"""Runs pytest in a process of its own, on test files of a user's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

BOT = """
import asyncio
from wavebreak import Turn, tool

@tool
async def book(hotel: str) -> str:
    await asyncio.sleep(60)
    return f"{hotel} is booked"

async def agent(turn: Turn) -> str:
    return await turn.one(book("Inn"))
"""


def played(
    where: Path, *options: str, plugins: tuple[str, ...] = (), **files: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest on files that are written first, and on a bot.

    Args:
        where: an empty folder.
        options: of pytest.
        plugins: modules, besides our own plugin.
        files: their texts by their names.
    """
    for name, text in {"bot": BOT, **files}.items():
        (where / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    chosen = [word for name in ("wavebreak.testing.plugin", *plugins) for word in ("-p", name)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *options],
        cwd=where,
        # The plugin is named, so that it is there where wavebreak is not installed, too.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
