"""When a scheduled message is due, in the words of whoever schedules it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ..messages.errors import InvalidMessage
from ..messages.numbers import LARGEST

if TYPE_CHECKING:
    from ..messages.policies import Chooser, Policy

At = datetime | timedelta | float
"""A time with its zone, seconds since the epoch, or how long from now."""


class When(NamedTuple):
    """Seconds since the epoch; or from now, if it ``is_delay``."""

    seconds: float
    is_delay: bool


def when_of(at: object) -> When:
    """When a message is due.

    Raises:
        InvalidMessage: it is no time, or one of which nobody knows the zone.
    """
    if isinstance(at, timedelta):
        return When(at.total_seconds(), is_delay=True)
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            msg = (
                f"at={at!r} has no time zone: give datetime(..., tzinfo=...), or at.astimezone() "
                "if it is this machine's time"
            )
            raise InvalidMessage(msg)
        return When(at.timestamp(), is_delay=False)
    if isinstance(at, int | float) and not isinstance(at, bool) and abs(at) <= LARGEST:
        return When(float(at), is_delay=False)
    msg = f"at={at!r}: give a datetime with its zone, seconds since the epoch, or a timedelta"
    raise InvalidMessage(msg)


def kept_policy(policy: Policy | Chooser | None) -> Policy | None:
    """A policy that can be kept until the message is due.

    Raises:
        InvalidMessage: it is a function, which a journal cannot keep.
    """
    if policy is not None and callable(policy):
        msg = (
            f"policy={policy!r} is a function, and cannot be kept until the message is due: give "
            "a policy, or ActorSystem(..., policy=function), which is asked then"
        )
        raise InvalidMessage(msg)
    return policy
