"""Parts of the fold: what waits is taken, edited, parked, resumed, collected; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.policies import Aside
from ...messages.reasons import Backlog
from .queue import by_admission, expiry, queued, resumed, split
from .state import Covers, Scheduled, SessionState, Status, Waiting, Window, earlier

if TYPE_CHECKING:
    from ...messages.events import (
        Event,
        MessageAccepted,
        MessageDue,
        MessageEdited,
        MessagesTaken,
        Resumed,
        StopRequested,
        WindowExtended,
    )
    from .state import Running


def position_of(event: Event) -> int:
    """The position of an event that is journaled."""
    assert event.position is not None, "what is journaled has a position"
    return event.position


def running_of(state: SessionState) -> Running:
    """The running turn, of which there is one if the journal is whole.

    Raises:
        ValueError: there is none.
    """
    running = state.running
    if running is None:
        msg = f"the journal of session {str(state.key)!r} is corrupt: position {state.position + 1}"
        raise ValueError(msg)
    return running


def scheduled(state: SessionState, event: MessageAccepted, due_at: float) -> SessionState:
    """A message was accepted that is not due yet."""
    assert event.position is not None, "what is journaled has a position"
    policy = None if event.choose else event.policy
    one = Scheduled(
        event.message, due_at, event.position, policy, event.deadline_at, event.priority
    )
    return state._replace(scheduled=tuple(sorted((*state.scheduled, one), key=_due_at)))


def _due_at(one: Scheduled) -> float:
    return one.due_at


def came_due(state: SessionState, event: MessageDue) -> SessionState:
    """A scheduled message is as any other from here on."""
    (one,) = [one for one in state.scheduled if one.message.message_id == event.message_id]
    assert event.position is not None, "what is journaled has a position"
    message = one.message
    if not message.received_at:
        message = message.trusted({**message.__dict__, "received_at": event.at})
    waiting = Waiting(
        message, event.policy, one.deadline_at, event.expires_at, one.priority, event.position
    )
    return placed(without_scheduled(state, event.message_id), waiting)


def without_scheduled(state: SessionState, message_id: str) -> SessionState:
    """The state without a message that was not due yet."""
    left = tuple(one for one in state.scheduled if one.message.message_id != message_id)
    return state._replace(scheduled=left)


def placed(state: SessionState, waiting: Waiting, *, parked: bool = False) -> SessionState:
    """Put a message where it waits."""
    if parked:
        return state._replace(parked=(*state.parked, waiting))
    if type(waiting.policy) is Aside:
        return state._replace(asides=(*state.asides, waiting))
    state = state._replace(waiting=queued(state.waiting, waiting))
    if waiting.expires_at is None:
        return state
    return state._replace(expires_at=earlier(waiting.expires_at, state.expires_at))


def with_waiting(state: SessionState, waiting: tuple[Waiting, ...]) -> SessionState:
    """The state with other messages waiting, and the time at which the first of them expires."""
    return state._replace(waiting=waiting, expires_at=expiry(waiting))


def taken(state: SessionState, event: MessagesTaken) -> SessionState:
    """The running turn has these messages from here on; the newest of all has its deadline."""
    running = state.running
    assert running is not None, "the fold has looked"
    ours, rest = split(state.waiting, event.message_ids)
    messages = by_admission((*running.messages, *ours))
    deadline = messages[-1].deadline_at
    if running.bound_at is not None:
        deadline = earlier(running.bound_at, deadline)
    log = (*running.log, event)
    running = running._replace(messages=messages, deadline_at=deadline, log=log)
    return with_waiting(state._replace(running=running), rest)


def collecting(state: SessionState, event: WindowExtended) -> SessionState:
    """A quiet window is open."""
    return state._replace(status=Status.COLLECTING, window=Window(event.until, event.latest))


def edited(state: SessionState, event: MessageEdited) -> SessionState:
    """A message that waits has other words."""

    def other(messages: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
        return tuple(
            w._replace(message=w.message.model_copy(update={"text": event.text}))
            if w.message.message_id == event.message_id
            else w
            for w in messages
        )

    return state._replace(
        waiting=other(state.waiting),
        parked=other(state.parked),
        asides=other(state.asides),
        scheduled=tuple(
            one._replace(message=one.message.model_copy(update={"text": event.text}))
            if one.message.message_id == event.message_id
            else one
            for one in state.scheduled
        ),
    )


def gone_on(state: SessionState, _event: Resumed) -> SessionState:
    """What was parked waits for its turn again."""
    return with_waiting(state, resumed(state))._replace(parked=())


def covering(state: SessionState, event: StopRequested) -> SessionState:
    """What a stop does at once: it covers what is in the mailbox, closes a window, and parks."""
    stamp, before = event.covers, state.covers
    if stamp is None:
        return state
    covers = Covers(
        max(stamp, before.stamp),
        max(stamp, before.park) if event.backlog is Backlog.PARK else before.park,
        max(stamp, before.drop) if event.backlog is Backlog.DROP else before.drop,
        state.running is None,
    )
    state = state._replace(covers=covers)
    if event.backlog is not Backlog.PARK:
        return state
    by = () if state.running is None or state.running.stop is None else state.running.stop.by
    left = tuple(w for w in state.waiting if w.message.message_id in by)
    # What is parked waits for nobody's patience but that of who parked it.
    parked = tuple(w._replace(expires_at=None) for w in state.waiting if w not in left)
    return with_waiting(state, left)._replace(parked=(*state.parked, *parked))


def without(state: SessionState, message_id: str) -> SessionState:
    """The state when a message that waited has ended."""
    if state.parked:
        state = state._replace(parked=_others(state.parked, message_id))
    if state.asides:
        state = state._replace(asides=_others(state.asides, message_id))
    if not state.waiting:
        return state
    kept = _others(state.waiting, message_id)
    if state.batch:
        state = state._replace(batch=len(_others(state.waiting[: state.batch], message_id)))
    state = state._replace(waiting=kept)
    if state.expires_at is not None:
        state = state._replace(expires_at=expiry(kept))
    if not kept and state.status is Status.COLLECTING:
        return state._replace(status=Status.IDLE, window=None)
    return state


def _others(messages: tuple[Waiting, ...], message_id: str) -> tuple[Waiting, ...]:
    return tuple(w for w in messages if w.message.message_id != message_id)
