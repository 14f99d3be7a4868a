"""The session's machine: ``decide(state, command, rules) -> state, entries``, pure.

``TABLE`` is the session's behaviour; SESSION.md has the same one in words. A clause writes down
what happened by :meth:`Draft.emit`, which evolves the state as it goes, so that the entries are
folded once. Time and the results of user functions come in with the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...messages.commands import (
    Command,
    DeliveryDone,
    Open,
    Progress,
    RuntimeExit,
    Save,
    Say,
    Send,
    Shutdown,
    StepDone,
    Stop,
    TimeIsUp,
    TokenCancelled,
)
from ...messages.policies import AfterWave, Enqueue, Now
from .draft import Decision, Draft
from .messages import interrupt, join, refuse_closed, refuse_failed, start, wait
from .reports import (
    end_delivery,
    end_step,
    exit_running,
    exit_stopping,
    finish_wave,
    go_on,
    late_ends,
    late_exit,
    open_,
    save,
    save_unless_fenced,
    say,
    stale,
)
from .state import Rules, SessionState, Status
from .stops import (
    raise_stop,
    shut_down,
    shut_down_idle,
    shut_down_stopping,
    stop_session,
    time_in_running,
    time_in_stopping,
    token_cancelled,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Row(NamedTuple):
    """One command's clauses, by the session's status."""

    idle: Callable[[Draft, Any], None]
    running: Callable[[Draft, Any], None]
    stopping: Callable[[Draft, Any], None]
    closing: Callable[[Draft, Any], None]
    failed: Callable[[Draft, Any], None]
    recovering: Callable[[Draft, Any], None] = stale


_COLUMN = {
    Status.IDLE: 0,
    Status.RUNNING: 1,
    Status.STOPPING: 2,
    Status.CLOSING: 3,
    Status.FAILED: 4,
    Status.RECOVERING: 5,
}

# fmt: off
TABLE: dict[type, Row] = {
    #                   idle            running          stopping            closing             failed
    AfterWave:      Row(start,          interrupt,       join,               refuse_closed,      refuse_failed),
    Now:            Row(start,          interrupt,       join,               refuse_closed,      refuse_failed),
    Enqueue:        Row(start,          wait,            join,               refuse_closed,      refuse_failed),
    Stop:           Row(stop_session,   stop_session,    raise_stop,         stale,              stale),
    TokenCancelled: Row(stale,          token_cancelled, stale,              stale,              stale),
    TimeIsUp:       Row(stale,          time_in_running, time_in_stopping,   time_in_stopping,   stale),
    Progress:       Row(late_ends,      go_on,           finish_wave,        finish_wave,        stale),
    StepDone:       Row(stale,          end_step,        end_step,           end_step,           stale),
    Say:            Row(stale,          say,             stale,              stale,              stale),
    Save:           Row(stale,          save,            save_unless_fenced, save_unless_fenced, stale),
    RuntimeExit:    Row(late_exit,      exit_running,    exit_stopping,      exit_stopping,      stale),
    DeliveryDone:   Row(end_delivery,   end_delivery,    end_delivery,       end_delivery,       stale),
    Shutdown:       Row(shut_down_idle, shut_down,       shut_down_stopping, stale,              stale),
    Open:           Row(stale,          stale,           stale,              stale,              stale, open_),
}
# fmt: on
"""What every command does in every state; read it top to bottom."""


def decide(state: SessionState, command: Command, rules: Rules) -> Decision:
    """What ``command`` leads to in ``state``.

    Raises:
        WavebreakError: the command is refused; nothing happened.
        KeyError: there is no such row or column in the table.
    """
    draft = Draft(state, rules, command.at)
    row = TABLE[type(command.policy)] if isinstance(command, Send) else TABLE[type(command)]
    clause: Callable[[Draft, Any], None] = row[_COLUMN[state.status]]
    clause(draft, command)
    return Decision(draft.state, draft.entries, draft.history)
