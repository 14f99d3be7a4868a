"""Clauses: stops, timers, and the system's shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.policies import AfterWave, Now
from ...messages.reasons import Backlog, MessageStatus, Reason
from .bounds import expire
from .courtesy import wish_to_notify
from .turns import end_all, end_open_calls, end_stopped, request_stop

if TYPE_CHECKING:
    from ...messages.commands import Shutdown, Stop, TimeIsUp, TokenCancelled
    from ...messages.policies import Way
    from .draft import Draft
    from .state import SessionState, Stopping, Waiting


def stop_session(draft: Draft, stop: Stop) -> None:
    """With no turn to stop it still covers the messages that are in the mailbox before it."""
    request_stop(
        draft,
        stop.how,
        stop.reason,
        detail=stop.detail,
        backlog=stop.backlog,
        covers=stop.stamp,
    )
    if stop.backlog is Backlog.DROP:
        # At once: what is sent from here on was not meant.
        end_all(draft, None, _behind(draft.state), MessageStatus.DROPPED, stop.reason)


def _behind(state: SessionState) -> tuple[Waiting, ...]:
    """What waits, but for the messages that asked for the stop: those go with the turn."""
    stop = state.running.stop if state.running is not None else None
    by = stop.by if stop is not None else ()
    behind = (*state.waiting, *state.parked)
    return tuple(waiting for waiting in behind if waiting.message.message_id not in by)


def raise_stop(draft: Draft, stop: Stop) -> None:
    """A turn is stopping already: the outcome becomes stopped, and the way only gets harder."""
    before = draft.running.stop
    assert before is not None
    stop_session(draft, stop._replace(how=_harder(before, stop.how)))


def _harder(before: Stopping, how: Way) -> Way:
    """Of two ways to stop the one that counts; the fold sees to it that it gives no more time."""
    return before.how if before.fenced and isinstance(how, AfterWave) else how


def token_cancelled(draft: Draft, command: TokenCancelled) -> None:
    """Cancelling the turn's token is a stop after its wave."""
    if draft.state.is_current(command.fence):
        request_stop(
            draft,
            AfterWave(),
            Reason.STOPPED,
            detail=command.detail,
            backlog=Backlog.KEEP,
        )


def time_in_running(draft: Draft, command: TimeIsUp) -> None:
    """Does a message expire, is the deadline over, or has the turn taken long?"""
    expire(draft)
    deadline = draft.running.deadline_at
    if deadline is not None and command.at >= deadline:
        request_stop(draft, Now(), Reason.DEADLINE, detail="Operation timeout")
    else:
        wish_to_notify(draft, command.at)


def time_in_stopping(draft: Draft, command: TimeIsUp) -> None:
    """Does a message expire, or is the patience, the grace or the deadline over?"""
    expire(draft)
    time_in_closing(draft, command)


def time_in_closing(draft: Draft, command: TimeIsUp) -> None:
    """Is the patience, the grace or the deadline over?"""
    running = draft.state.running
    if running is None:
        return  # a closing session's turn has ended while the timer was on its way
    stop, deadline = running.stop, running.deadline_at
    assert stop is not None
    if stop.undoing is not None:
        return  # nothing cuts it
    if stop.fenced:
        if command.at >= stop.until:
            end_open_calls(draft)
            end_stopped(draft, None, None)
    elif command.at >= stop.until or (deadline is not None and command.at >= deadline):
        request_stop(draft, Now(), stop.reason)


def shut_down_idle(draft: Draft, command: Shutdown) -> None:
    """What waits lives on in the journal, or ends with it."""
    del command
    if not draft.rules.survives:
        end_all(draft, None, draft.state.unended, MessageStatus.CANCELLED, Reason.SHUTDOWN)


def shut_down(draft: Draft, command: Shutdown) -> None:
    """End the turn; it becomes one again after a restart."""
    request_stop(draft, command.how, Reason.SHUTDOWN)


def shut_down_stopping(draft: Draft, command: Shutdown) -> None:
    """The turn ends by what it was stopped for already, within the shutdown's bound."""
    stop = draft.running.stop
    assert stop is not None
    request_stop(draft, _harder(stop, command.how), Reason.SHUTDOWN)
