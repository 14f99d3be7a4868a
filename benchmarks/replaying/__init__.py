"""What ``benchmarks/replay.py`` is made of: recordings, pace, the tools' world, the audit."""

from __future__ import annotations
