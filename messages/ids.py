"""Identifiers: each a type of its own, so that a type checker notices when two are mixed up."""

from __future__ import annotations

from typing import NamedTuple, NewType

MessageId = NewType("MessageId", str)
CallId = NewType("CallId", str)
DeliveryId = NewType("DeliveryId", str)
IdempotencyKey = NewType("IdempotencyKey", str)


class SessionKey(NamedTuple):
    """The name of a session: a tenant (may be empty) and an id within it."""

    tenant: str
    session_id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.session_id}" if self.tenant else self.session_id


class Fence(NamedTuple):
    """Which run of which turn something belongs to; what carries an old fence is refused.

    ``epoch`` grows with every incarnation of the session's actor, ``turn`` with every turn and
    ``attempt`` with every run of a turn's agent.
    """

    epoch: int
    turn: int
    attempt: int


def idempotency_key(uid: str, call_id: CallId) -> IdempotencyKey:
    """The key that a call hands to foreign systems: unique over sessions, stable over retries."""
    return IdempotencyKey(f"{uid}-{call_id}")
