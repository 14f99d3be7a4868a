"""The session's machine: ``decide(state, command, rules) -> state, entries``, pure.

``TABLE`` is the session's behaviour; SESSION.md has the same one in words. A clause writes down
what happened by :meth:`Draft.emit`, which evolves the state as it goes, so that the entries are
folded once. Time and the results of user functions come in with the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...messages.commands import (
    AsideDone,
    Command,
    CompensationDone,
    Courtesy,
    Delete,
    DeliveryDone,
    Edit,
    Heard,
    Open,
    Progress,
    Resume,
    RuntimeExit,
    Save,
    Say,
    Schedule,
    Send,
    Shutdown,
    StepDone,
    Stop,
    Take,
    TimeIsUp,
    TokenCancelled,
    UndoTurn,
    Withdraw,
)
from ...messages.making import maker
from ...messages.policies import AfterWave, Aside, Collect, Enqueue, Now, Reject, Rollback, Steer
from .backlog import edit, refuse_resume, resume, take, withdraw
from .beside import end_aside
from .courtesy import be_courteous, hear
from .deleting import delete
from .draft import Decision, Draft
from .messages import (
    aside,
    aside_or_wait,
    close_window,
    collect,
    interrupt,
    join,
    not_yet,
    offer,
    refuse_closed,
    refuse_failed,
    reject,
    schedule,
    start,
    start_or_collect,
    wait,
)
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
from .rollback import close_for_rollback, compensated, join_rollback, raise_to_rollback, roll_back
from .state import Rules, SessionState, Status
from .stops import (
    raise_stop,
    shut_down,
    shut_down_idle,
    shut_down_stopping,
    stop_session,
    time_in_closing,
    time_in_running,
    time_in_stopping,
    token_cancelled,
)
from .windows import shut_down_collecting, stop_collecting, time_in_collecting

if TYPE_CHECKING:
    from collections.abc import Callable


class Row(NamedTuple):
    """One command's clauses, by the session's status."""

    idle: Callable[[Draft, Any], None]
    collecting: Callable[[Draft, Any], None]
    running: Callable[[Draft, Any], None]
    stopping: Callable[[Draft, Any], None]
    closing: Callable[[Draft, Any], None]
    failed: Callable[[Draft, Any], None]
    recovering: Callable[[Draft, Any], None] = stale


_COLUMN = {Status(name): column for column, name in enumerate(Row._fields)}

# fmt: off
TABLE: dict[type, Row] = {
    #                   idle              collecting            running          stopping            closing             failed         recovering
    AfterWave:      Row(start_or_collect, collect,              interrupt,       join,               refuse_closed,      refuse_failed, not_yet),
    Now:            Row(start,            close_window,         interrupt,       join,               refuse_closed,      refuse_failed, not_yet),
    Rollback:       Row(start,            close_window,         interrupt,       join_rollback,      refuse_closed,      refuse_failed, not_yet),
    Steer:          Row(start_or_collect, collect,              offer,           join,               refuse_closed,      refuse_failed, not_yet),
    Enqueue:        Row(start,            wait,                 wait,            join,               refuse_closed,      refuse_failed, not_yet),
    Collect:        Row(start_or_collect, collect,              wait,            join,               refuse_closed,      refuse_failed, not_yet),
    Reject:         Row(start,            close_window,         reject,          reject,             refuse_closed,      refuse_failed, not_yet),
    Aside:          Row(aside,            aside_or_wait,        aside_or_wait,   aside_or_wait,      refuse_closed,      refuse_failed, not_yet),
    Schedule:       Row(schedule,         schedule,             schedule,        schedule,           refuse_closed,      refuse_failed, not_yet),
    Stop:           Row(stop_session,     stop_collecting,      stop_session,    raise_stop,         stale,              refuse_failed),
    UndoTurn:       Row(stale,            close_for_rollback,   roll_back,       raise_to_rollback,  stale,              refuse_failed),
    Delete:         Row(delete,           delete,               delete,          delete,             delete,             delete,        delete),
    Resume:         Row(resume,           resume,               resume,          resume,             refuse_resume,      refuse_failed),
    Withdraw:       Row(withdraw,         withdraw,             withdraw,        withdraw,           withdraw,           refuse_failed),
    Edit:           Row(edit,             edit,                 edit,            edit,               edit,               refuse_failed),
    TokenCancelled: Row(stale,            stale,                token_cancelled, stale,              stale,              stale),
    TimeIsUp:       Row(stale,            time_in_collecting,   time_in_running, time_in_stopping,   time_in_closing,    stale),
    Progress:       Row(late_ends,        late_ends,            go_on,           finish_wave,        finish_wave,        stale),
    StepDone:       Row(stale,            stale,                end_step,        end_step,           end_step,           stale),
    Say:            Row(stale,            stale,                say,             stale,              stale,              stale),
    Save:           Row(stale,            stale,                save,            save_unless_fenced, save_unless_fenced, stale),
    Take:           Row(stale,            stale,                take,            stale,              stale,              stale),
    AsideDone:      Row(end_aside,        end_aside,            end_aside,       end_aside,          end_aside,          stale),
    RuntimeExit:    Row(late_exit,        late_exit,            exit_running,    exit_stopping,      exit_stopping,      stale),
    CompensationDone: Row(stale,          stale,                stale,           compensated,        compensated,        stale),
    DeliveryDone:   Row(end_delivery,     end_delivery,         end_delivery,    end_delivery,       end_delivery,       stale),
    Heard:          Row(hear,             hear,                 hear,            hear,               hear,               stale),
    Courtesy:       Row(be_courteous,     be_courteous,         be_courteous,    be_courteous,       be_courteous,       stale),
    Shutdown:       Row(shut_down_idle,   shut_down_collecting, shut_down,       shut_down_stopping, stale,              stale),
    Open:           Row(stale,            stale,                stale,           stale,              stale,              stale,         open_),
}
# fmt: on
"""What every command does in every state; read it top to bottom."""


def decide(state: SessionState, command: Command, rules: Rules, streamed: str = "") -> Decision:
    """What ``command`` leads to in ``state``.

    Args:
        state: the session's.
        command: what comes to it.
        rules: its settings.
        streamed: what the running turn has shown of its reply; only streamed, so not in the state.

    Raises:
        WavebreakError: the command is refused; nothing happened.
        KeyError: there is no such row or column in the table.
    """
    draft = Draft(state, rules, command.at, streamed)
    row = TABLE[type(command.policy) if isinstance(command, Send) else type(command)]
    clause: Callable[[Draft, Any], None] = row[_COLUMN[state.status]]
    clause(draft, command)
    return _decision((draft.state, draft.entries, draft.history, draft.wishes))


_decision = maker(Decision)
