"""Closed vocabularies: effects, statuses, outcomes and reasons."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What running a tool does to the world, and so how often it may be run."""

    READ = "read"
    """May run again whenever needed."""
    IDEMPOTENT = "idempotent"
    """May be retried with the same idempotency key."""
    ONCE = "once"
    """Is never started again by the framework."""


class CallStatus(StrEnum):
    """How a tool call ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Was never started."""
    CANCELLED = "cancelled"
    """A read that was cut off."""
    UNKNOWN = "unknown"
    """Was started, is not a read, and its end was not seen."""


class MessageStatus(StrEnum):
    """How an accepted message ended."""

    ANSWERED = "answered"
    EXPIRED = "expired"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    FAILED = "failed"


class TurnOutcome(StrEnum):
    """How a turn ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    """What it and the turns before it did was undone."""
    ROLLBACK_FAILED = "rollback_failed"
    """It was undone but for what could not be."""


class Reason(StrEnum):
    """Why a turn or a message ended other than by an answer."""

    SUPERSEDED = "superseded"
    """The user wrote again."""
    STOPPED = "stopped"
    DEADLINE = "deadline"
    DISCONNECT = "disconnect"
    ROLLBACK = "rollback"
    """Somebody asked for the turn to be undone."""
    SHUTDOWN = "shutdown"
    ERROR = "error"
    """The agent raised."""
    CRASHED = "crashed"
    """The turn's runtime kept dying."""
    EXPIRED = "expired"
    """The message waited longer than ``expires_after``."""
    OVERFLOW = "overflow"
    """A newer message took the message's place: more waited than ``capacity``."""
    REJECTED = "rejected"
    """A turn ran when the scheduled message was due, and its policy is ``Reject``."""
    WITHDRAWN = "withdrawn"
    """The message's sender took it back."""
    DELETED = "deleted"
    """Somebody asked for the whole session to be forgotten."""


class DeliveryKind(StrEnum):
    """What a delivery carries to the user."""

    REPLY = "reply"
    SAID = "said"
    ASIDE = "aside"
    """What the ``aside`` handler answered, beside the turns."""
    COURTESY = "courtesy"
    """Words of the session itself."""


class CourtesyKind(StrEnum):
    """On what occasion a session says something by itself."""

    INTERRUPTED = "interrupted"
    """A message interrupted the running turn."""
    STILL_WORKING = "still_working"
    """A turn takes long."""
    CANCELLED = "cancelled"
    """A turn was stopped, and its messages with it."""
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class DeliveryStatus(StrEnum):
    """How a delivery ended."""

    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"


class Backlog(StrEnum):
    """What a stop does to the messages that wait behind the running turn."""

    KEEP = "keep"
    PARK = "park"
    """They wait until :meth:`Session.resume`."""
    DROP = "drop"


class Overflow(StrEnum):
    """What a message does that finds ``capacity`` messages waiting."""

    REJECT = "reject"
    """It is refused."""
    DROP_OLDEST = "drop_oldest"
    """It takes the place of the oldest that waits, which ends as dropped."""
