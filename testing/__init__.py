"""For tests of programs on wavebreak: gates, doubles, virtual time, and a check for leaks."""

from __future__ import annotations

from .counting import Count
from .doubles import RecordingDeliver
from .gates import Gate, GateError, gate
from .leaks import Leak, LeakCheck, Run
from .virtual_time import Deadlock, QuietEvent, VirtualTimeLoop, run

__all__ = [
    "Count",
    "Deadlock",
    "Gate",
    "GateError",
    "Leak",
    "LeakCheck",
    "QuietEvent",
    "RecordingDeliver",
    "Run",
    "VirtualTimeLoop",
    "gate",
    "run",
]
