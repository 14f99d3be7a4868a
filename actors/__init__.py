"""Actors on one loop: the mailbox, the session, the runtime and its turn."""

from __future__ import annotations
