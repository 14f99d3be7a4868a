"""The suite of benchmarks: which cases, on which systems, measured and told how."""

from __future__ import annotations
