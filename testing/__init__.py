"""For tests of programs on wavebreak: the explorer, gates, doubles, virtual time, leaks."""

from __future__ import annotations

from .counting import Count
from .disk import DiskJournal, FailingJournal, SimulatedDisk
from .doubles import RecordingDeliver
from .explorer import (
    INJECTIONS,
    Exploration,
    ExploreError,
    Facts,
    Failure,
    Inject,
    Restart,
    Say,
    Schedule,
    Stop,
    explore,
    replay,
)
from .gates import Gate, GateError, gate
from .leaks import Leak, LeakCheck, Run
from .manual_clock import ManualClock, manual_clock
from .recorded_tools import Called, Recorder, recording
from .scripted import ScriptedAgent
from .talk import Talk
from .thread_work import QuietEvent
from .virtual_time import Deadlock, VirtualTimeLoop, run

__all__ = [
    "INJECTIONS",
    "Called",
    "Count",
    "Deadlock",
    "DiskJournal",
    "Exploration",
    "ExploreError",
    "Facts",
    "FailingJournal",
    "Failure",
    "Gate",
    "GateError",
    "Inject",
    "Leak",
    "LeakCheck",
    "ManualClock",
    "QuietEvent",
    "Recorder",
    "RecordingDeliver",
    "Restart",
    "Run",
    "Say",
    "Schedule",
    "ScriptedAgent",
    "SimulatedDisk",
    "Stop",
    "Talk",
    "VirtualTimeLoop",
    "explore",
    "gate",
    "manual_clock",
    "recording",
    "replay",
    "run",
]
