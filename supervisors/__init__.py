"""Supervisors: what starts actors, notices how they end, and starts them again."""

from __future__ import annotations
