"""The session's machine: a pure decider, its table, and the fold that is its state."""

from __future__ import annotations
