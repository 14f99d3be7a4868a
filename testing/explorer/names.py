"""The promises by their names, as failures give them."""

from __future__ import annotations

ENDS = "each message ends once"
ONE = "one runtime"
AGENT = "the agent fails by nothing of its own"
ASKED = "nothing ends otherwise than it was asked to"
REASON = "a turn ends for a reason, and in time"
CALLS = "completed calls are not run again"
ONCE = "`once` is never run twice"
PARTIAL = "partial results reach the next turn"
UNDONE = "a rollback undoes what was done, the last first"
SILENT = "a superseded turn is silent"
ORDER = "a wave begins when the one before has ended"
DURABLE = "nothing leaves before it is durable"
DELIVERED = "what is answered is delivered"
HISTORY = "the history is well formed"
FOLD = "the live state is the folded journal"
LEFT = "nothing is left over"

PROMISES = (
    ENDS,
    ONE,
    AGENT,
    ASKED,
    REASON,
    CALLS,
    ONCE,
    PARTIAL,
    UNDONE,
    SILENT,
    ORDER,
    DURABLE,
    DELIVERED,
    HISTORY,
    FOLD,
    LEFT,
)
"""All of them."""

OWN = "an invariant of your own"
"""The promise that an ``invariant`` function makes."""
