"""Clauses: the quiet window before a turn starts from idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.events import WindowExtended
from ...messages.reasons import Backlog, MessageStatus, Reason
from .bounds import expire
from .queue import window_of
from .state import Status
from .turns import begin, end_all, request_stop

if TYPE_CHECKING:
    from ...messages.commands import Shutdown, Stop, TimeIsUp
    from .draft import Draft


def extend_window(draft: Draft) -> None:
    """Open the window, or let it be quiet anew; at the latest it closes when it was to."""
    debounce, window = draft.rules.debounce, draft.state.window
    if debounce is None:
        return  # the system was given none since: the one that is open closes when it was to
    latest = draft.at + debounce.max_wait if window is None else window.latest
    draft.emit(WindowExtended, until=min(draft.at + debounce.quiet, latest), latest=latest)


def start_all(draft: Draft) -> None:
    """Close the window, and start everything that waits as one turn."""
    begin(draft, draft.state.waiting)


def time_in_collecting(draft: Draft, command: TimeIsUp) -> None:
    """Does a message expire, or the window close? Then the turn starts."""
    expire(draft)
    window = draft.state.window
    if window is not None and command.at >= window.until:
        begin(draft, window_of(draft.state.waiting))


def stop_collecting(draft: Draft, stop: Stop) -> None:
    """Close the window; what waits is kept and starts, is parked, or is dropped."""
    request_stop(
        draft,
        stop.how,
        stop.reason,
        detail=stop.detail,
        backlog=stop.backlog,
        covers=stop.stamp,
    )
    state = draft.state
    if stop.backlog is Backlog.DROP:
        end_all(draft, None, (*state.waiting, *state.parked), MessageStatus.DROPPED, stop.reason)
    elif state.waiting:
        begin(draft, window_of(state.waiting))


def shut_down_collecting(draft: Draft, command: Shutdown) -> None:
    """Close the window and start nothing; what waits lives on in the journal, or ends with it."""
    request_stop(draft, command.how, Reason.SHUTDOWN)
    assert draft.state.status is Status.CLOSING, "the fold closes the window"
    if not draft.rules.survives:
        end_all(draft, None, draft.state.unended, MessageStatus.CANCELLED, Reason.SHUTDOWN)
