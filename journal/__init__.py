"""Journals: the append-only record of what happened in sessions."""

from __future__ import annotations
