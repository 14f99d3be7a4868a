"""What waits in a session, as tuples in the order of their turns; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.policies import INTERRUPTING, Collect, Enqueue, Steer

if TYPE_CHECKING:
    from collections.abc import Collection

    from .state import SessionState, Waiting


def queued(waiting: tuple[Waiting, ...], new: Waiting) -> tuple[Waiting, ...]:
    """One more that waits, behind those of its priority; what was in a turn stays first."""
    if not waiting or waiting[-1].priority >= new.priority:
        return (*waiting, new)
    for place, other in enumerate(waiting):
        if other.priority < new.priority and not other.was_in_turn:
            return (*waiting[:place], new, *waiting[place:])
    return (*waiting, new)


def resumed(state: SessionState) -> tuple[Waiting, ...]:
    """What waits when what was parked is back in its place."""
    return tuple(sorted((*state.waiting, *state.parked), key=_place))


def _place(waiting: Waiting) -> tuple[bool, int, int]:
    return (not waiting.was_in_turn, -waiting.priority, waiting.admitted)


def by_admission(messages: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """Messages in the order in which they were accepted, as they mostly are already."""
    last = 0
    for one in messages:
        if one.admitted < last:
            return tuple(sorted(messages, key=_admitted))
        last = one.admitted
    return messages


def _admitted(waiting: Waiting) -> int:
    return waiting.admitted


def split(
    waiting: tuple[Waiting, ...], message_ids: Collection[str]
) -> tuple[tuple[Waiting, ...], tuple[Waiting, ...]]:
    """Those of these ids in order of admission, and the rest as it was."""
    if len(message_ids) == len(waiting):
        return by_admission(waiting), ()
    ids = frozenset(message_ids)
    chosen = tuple(w for w in waiting if w.message.message_id in ids)
    rest = tuple(w for w in waiting if w.message.message_id not in ids)
    return by_admission(chosen), rest


def steered_first(waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """What waits when a turn ends that was offered messages: those it did not take are first."""
    steered = tuple(w for w in waiting if type(w.policy) is Steer)
    if not steered:
        return waiting
    return (*steered, *(w for w in waiting if type(w.policy) is not Steer))


def come_back(messages: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """The messages of a turn that was interrupted: they wait again, and expire no more."""
    return tuple([w if w.was_in_turn else w.come_back() for w in messages])


def expiry(waiting: tuple[Waiting, ...]) -> float | None:
    """When the first of these expires."""
    return min((w.expires_at for w in waiting if w.expires_at is not None), default=None)


def batch_of(state: SessionState) -> tuple[Waiting, ...]:
    """Which of the waiting messages become the next turn.

    What came out of an interruption stays together. Otherwise a waiting message that would have
    interrupted takes those before it with it; those that were to be collected, or were offered
    to the last turn, are one turn; any other has a turn of its own.
    """
    waiting = state.waiting
    if state.batch or len(waiting) == 1:
        return waiting[: state.batch or 1]
    last = max(
        (n for n, w in enumerate(waiting, 1) if isinstance(w.policy, INTERRUPTING)), default=0
    )
    if last:
        return waiting[:last]
    kind = type(waiting[0].policy)
    if kind is Collect or kind is Steer:
        return tuple(w for w in waiting if type(w.policy) is kind)
    return waiting[:1]


def window_of(waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """Which of the waiting messages were collected in a quiet window; queued ones come after."""
    return tuple(w for w in waiting if type(w.policy) is not Enqueue) or waiting[:1]
