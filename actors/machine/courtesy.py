"""Clauses: words of the session itself, and how much of a turn's words was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import InvalidMessage
from ...messages.events import CourtesySaid, Heard
from ...messages.reasons import CourtesyKind
from .history import courtesy, heard, is_unsettled

if TYPE_CHECKING:
    from ...messages import commands
    from .draft import Draft
    from .state import Rules, SessionState


def be_courteous(draft: Draft, command: commands.Courtesy) -> None:
    """Say it, once: it follows right behind what it is about, in the same commit."""
    is_notice = command.kind is CourtesyKind.STILL_WORKING
    if is_notice and not _goes_on(draft.state, command.turn):
        return
    if not command.text and not is_notice:
        return
    draft.emit(
        CourtesySaid,
        command.turn,
        courtesy=command.kind,
        text=command.text,
        delivery_id=draft.delivery_id() if command.text else None,
    )
    event = draft.entries[-1]
    if not is_unsettled(draft.state, command.turn):
        assert isinstance(event, CourtesySaid), "it was written down just now"
        draft.settle([courtesy(event)])


def _goes_on(state: SessionState, turn: int) -> bool:
    running = state.running
    return running is not None and running.number == turn and running.stop is None


def wish_to_notify(draft: Draft, at: float) -> None:
    """The turn takes long: the session may say so."""
    when = notice_due(draft.state, draft.rules)
    if when is not None and at >= when:
        draft.wish(CourtesyKind.STILL_WORKING, draft.running.number)


def notice_due(state: SessionState, rules: Rules) -> float | None:
    """When the user is to be told that the turn goes on, in seconds since the epoch."""
    running, after = state.running, rules.notify_after
    if running is None or running.stop is not None or after is None:
        return None
    words = running.words
    if words.notices >= rules.notify_times:
        return None
    return (words.noticed_at or running.began_at) + after


def hear(draft: Draft, command: commands.Heard) -> None:
    """Keep in mind how much of a turn's words the user has heard."""
    state = draft.state
    if not 1 <= command.turn <= state.turn:
        msg = f"turn={command.turn!r}: session {str(state.key)!r} has had {state.turn} turns so far"
        raise InvalidMessage(msg)
    settled = not is_unsettled(state, command.turn)
    draft.emit(Heard, command.turn, characters=command.characters)
    if settled:
        event = draft.entries[-1]
        assert isinstance(event, Heard), "it was written down just now"
        draft.settle([heard(event)])
