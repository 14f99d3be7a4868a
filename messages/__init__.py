"""Messages: what goes through mailboxes, what is journaled, what goes out."""

from __future__ import annotations
