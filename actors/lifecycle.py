"""Where an actor is in its life."""

from __future__ import annotations

from enum import Enum


class Lifecycle(Enum):
    """Where an actor is in its life; it only ever goes down this list."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


# To look one up on its enum takes 50 ns on Python 3.11, and there are three looks in a message.
NEW, STARTING, RUNNING, STOPPING, STOPPED = Lifecycle
