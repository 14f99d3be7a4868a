"""The explorer: interrupts an agent everywhere, and looks whether every promise was kept."""

from __future__ import annotations

from .explorer import Exploration
from .face import explore, replay
from .facts import Broken, Facts, Ran, Sent
from .failure import Failure
from .script import INJECTIONS, MOMENTS, ExploreError, Inject, Restart, Say, Schedule, Stop

__all__ = [
    "INJECTIONS",
    "MOMENTS",
    "Broken",
    "Exploration",
    "ExploreError",
    "Facts",
    "Failure",
    "Inject",
    "Ran",
    "Restart",
    "Say",
    "Schedule",
    "Sent",
    "Stop",
    "explore",
    "replay",
]
