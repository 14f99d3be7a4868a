"""Sessions and turns as they are shown: folds over states and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..actors.machine.state import Scheduled, Waiting
from ..messages.events import (
    CallEnded,
    Event,
    Said,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveStarted,
)
from .models import CallDetail, PendingMessage, SessionDetail, SessionSummary, TurnDetail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messages.ids import SessionKey
    from ..messages.view import SessionView
    from .state import Standing


def summary(key: SessionKey, view: SessionView | None) -> SessionSummary:
    """A session in a list."""
    if view is None:
        return SessionSummary(tenant=key.tenant, session_id=key.session_id, status="resting")
    return SessionSummary(
        tenant=key.tenant,
        session_id=key.session_id,
        status=view.status,
        turn=view.turn,
        wave=view.wave,
        calls_completed=view.calls_completed,
        waiting=view.waiting,
    )


def _pending(waiting: Waiting) -> PendingMessage:
    return PendingMessage(
        message_type=type(waiting.message).__name__,
        message=waiting.message.model_dump(mode="json"),
        policy=waiting.policy.model_dump(mode="json"),
        deadline_at=waiting.deadline_at,
    )


def _scheduled(scheduled: Scheduled) -> PendingMessage:
    policy = scheduled.policy
    return PendingMessage(
        message_type=type(scheduled.message).__name__,
        message=scheduled.message.model_dump(mode="json"),
        policy=None if policy is None else policy.model_dump(mode="json"),
        deadline_at=scheduled.deadline_at,
        due_at=scheduled.due_at,
    )


def detail(key: SessionKey, standing: Standing, *, rests: bool) -> SessionDetail | None:
    """A session in full; None if there is none."""
    state = standing.state
    if state is None:
        return None
    running = state.running
    return SessionDetail(
        tenant=key.tenant,
        session_id=key.session_id,
        status="resting" if rests else state.status,
        turn=state.turn,
        wave=running.wave if running else 0,
        calls_completed=running.completed if running else 0,
        waiting=len(state.waiting),
        position=state.position,
        running=[_pending(each) for each in running.messages] if running else [],
        queue=[_pending(each) for each in state.waiting],
        parked=[_pending(each) for each in state.parked],
        asides=[_pending(each) for each in state.asides],
        scheduled=[_scheduled(each) for each in state.scheduled],
        preview=standing.preview,
        previous=state.previous,
    )


def turn_of(events: Iterable[Event], number: int) -> TurnDetail | None:
    """A turn, as far as its events are there; None if its beginning is not."""
    found: TurnDetail | None = None
    calls: dict[str, CallDetail] = {}
    for event in events:
        if event.turn != number:
            continue
        if isinstance(event, TurnStarted):
            found = TurnDetail(
                number=number,
                attempt=1,
                message_ids=list(event.message_ids),
                started_at=event.at,
            )
        elif found is not None:
            _add(found, calls, event)
    if found is not None:
        found.calls = list(calls.values())
    return found


def _add(turn: TurnDetail, calls: dict[str, CallDetail], event: Event) -> None:
    match event:
        case TurnRestarted():
            turn.attempt = event.attempt
        case WaveStarted():
            for call in event.calls:
                calls[call.call_id] = CallDetail(
                    call_id=call.call_id,
                    tool=call.tool,
                    arguments=call.arguments,
                    effect=call.effect,
                    attempt=event.attempt,
                    wave=event.wave,
                    answered_from=call.answered_from,
                    started_at=event.at,
                )
        case CallEnded():
            _end(calls, event)
        case Said():
            turn.said.append(event.text)
        case TurnEnded():
            turn.ended_at = event.at
            turn.outcome = event.outcome
            turn.reason = event.reason
            turn.detail = event.detail
            turn.reply = event.reply
            turn.partial_results = event.partial_results
        case _:
            pass


def _end(calls: dict[str, CallDetail], event: CallEnded) -> None:
    call = calls.get(event.call_id)
    if call is None:
        return
    ended: dict[str, Any] = {
        "status": event.status,
        "result": event.result,
        "error": event.error,
        "answered_from": event.answered_from or call.answered_from,
        "ended_at": event.at,
        "late": event.late,
    }
    calls[event.call_id] = call.model_copy(update=ended)
