"""What ``benchmarks/crash.py`` is made of: the witness, the process that is killed, the check."""

from __future__ import annotations
