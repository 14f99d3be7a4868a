"""Clauses: what the runtime reports, what deliveries report, and a new incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...messages.commands import Progress
from ...messages.entries import Progressed
from ...messages.events import DeliveryEnded, Said, Saved, SessionOpened, StepEnded, TurnRestarted
from ...messages.making import maker
from ...messages.reasons import CallStatus, Reason
from .bounds import expire
from .history import is_unsettled, late_end, turn_of
from .state import Status
from .turns import end_open_calls, end_stopped, fail, finish, next_turn, undo_next

if TYPE_CHECKING:
    from ...messages.commands import (
        Command,
        DeliveryDone,
        Open,
        RuntimeExit,
        Save,
        Say,
        StepDone,
    )
    from .draft import Draft
    from .state import SessionState


# Looked up once: they are asked for at every wave and call.
_RUNNING, _UNKNOWN = Status.RUNNING, CallStatus.UNKNOWN
_new_entry = maker(Progressed)
_ENDING: Final = (Status.STOPPING, Status.CLOSING)
RECOVERED: Final = "the session was recovered"


def go_on(draft: Draft, report: Progress) -> None:
    """Calls ended, the wave is done, the next one begins."""
    further = advance(draft.state, report)
    if further is not None:
        draft.state, entry = further
        draft.entries.append(entry)
    elif draft.state.is_current(report.fence) and not _is_late(report):
        _log(draft, report)
    else:
        late_ends(draft, report)


def advance(state: SessionState, report: Progress) -> tuple[SessionState, Progressed] | None:
    """What a report comes to for a running turn as it goes: the state, and the one entry.

    Most commands of a busy session are this one; without a draft it takes half as long.

    Returns:
        None when it is anything but that, and for :func:`go_on` to say.
    """
    running = state.running
    at, fence, done, wave_done, wave, calls = report
    if (
        running is None
        or state.unknown
        or (state.status is not _RUNNING and not _may_end(state, wave))
        or fence != (state.epoch, running.number, running.attempt)
        or not (done or wave_done or wave)
    ):
        return None
    for end in done:
        if end.status is _UNKNOWN or end.late:
            return None
    position = state.position
    entry = _new_entry((position + 1, at, fence, done, wave_done, wave, calls))
    position += len(done) + bool(wave_done) + bool(wave)
    return state.got_further(position, running.with_progress(entry)), entry


def _may_end(state: SessionState, wave: int) -> bool:
    """Whether a turn that was told to stop may finish its wave; it begins no other."""
    return state.status in _ENDING and not wave and state.undoing is None


def finish_wave(draft: Draft, report: Progress) -> None:
    """The turn is told to stop: its wave may end, and no other begins."""
    go_on(draft, report._replace(wave=0, calls=()) if report.wave else report)


def late_ends(draft: Draft, report: Progress) -> None:
    """Nobody waits for these calls any more; those that were unknown have an end now."""
    if report.fence[0] <= draft.state.floor:
        return  # of a session that was deleted, whose calls had the same ids
    unknown = {r.call_id for r in draft.state.unknown if r.status is CallStatus.UNKNOWN}
    ends = [
        done._replace(late=True)
        for done in report.done
        if done.call_id in unknown and done.status in (CallStatus.COMPLETED, CallStatus.FAILED)
    ]
    if ends:
        state = draft.state
        draft.settle(
            [
                late_end(done, report.at)
                for done in ends
                if not is_unsettled(state, turn_of(done.call_id))
            ]
        )
        _log(draft, Progress(report.at, report.fence, tuple(ends)))


def _is_late(report: Progress) -> bool:
    return bool(report.done) and report.done[0].late


def _log(draft: Draft, report: Progress) -> None:
    at, fence, done, wave_done, wave, calls = report
    if done or wave_done or wave:
        position = draft.state.position + 1
        draft.log(Progressed(position, at, fence, done, wave_done, wave, calls))


def end_step(draft: Draft, done: StepDone) -> None:
    """Remember the step's result."""
    if draft.state.is_current(done.fence):
        draft.emit(
            StepEnded,
            done.fence.turn,
            attempt=done.fence.attempt,
            key=done.key,
            result=done.result,
        )


def say(draft: Draft, say: Say) -> None:
    """Words of their own, for a delivery."""
    if draft.state.is_current(say.fence):
        draft.emit(
            Said,
            say.fence.turn,
            attempt=say.fence.attempt,
            text=say.text,
            delivery_id=draft.delivery_id(),
        )


def save(draft: Draft, save: Save) -> None:
    """The session's state, if the turn finishes."""
    if draft.state.is_current(save.fence):
        draft.emit(Saved, save.fence.turn, attempt=save.fence.attempt, state=save.state)


def save_unless_fenced(draft: Draft, command: Save) -> None:
    """A turn that finishes its wave may still save."""
    running = draft.state.running
    if running is not None and running.stop is not None and not running.stop.fenced:
        save(draft, command)


def exit_running(draft: Draft, end: RuntimeExit) -> None:
    """The runtime ended by itself: the reply, the next attempt, or the failure."""
    if not _take_finished(draft, end):
        return
    if end.reply is not None:
        finish(draft, end.reply)
    elif end.crashed and end.retry_after is not None:
        restart(draft, end.cause, end.retry_after)
    else:
        fail(draft, Reason.CRASHED if end.crashed else Reason.ERROR, end.cause)


def exit_stopping(draft: Draft, end: RuntimeExit) -> None:
    """The runtime ended as it was told, or died meanwhile: either is the end."""
    if _take_finished(draft, end):
        end_stopped(draft, end.reply, end.total_waves)


def _take_finished(draft: Draft, end: RuntimeExit) -> bool:
    """Record what the runtime had finished, however it ended; False for one of an old fence."""
    if end.progress is not None:
        finish_wave(draft, end.progress)
    if not draft.state.is_current(end.fence):
        return False
    end_open_calls(draft, end.cause)
    return True


def restart(draft: Draft, cause: str, delay: float, *, discard: bool = False) -> None:
    """Write down that the next attempt begins."""
    running = draft.running
    draft.emit(
        TurnRestarted,
        running.number,
        attempt=running.attempt + 1,
        cause=cause,
        version=draft.rules.version,
        delay=delay,
        discard=discard,
    )


def late_exit(draft: Draft, end: RuntimeExit) -> None:
    """An abandoned runtime ended after all."""
    if end.progress is not None:
        late_ends(draft, end.progress)


def open_(draft: Draft, command: Open) -> None:
    """Take over what an earlier incarnation left; the same clause for a first start."""
    state = draft.state
    epoch = max(state.epoch, command.above) + 1
    draft.emit(
        SessionOpened,
        epoch=epoch,
        uid=state.uid or command.uid,
        # A new process counts its stamps anew; those of the same mailbox go on.
        covers=command.above == state.epoch > 0,
        aside=draft.rules.aside,
    )
    expire(draft)
    running = draft.state.running
    if running is None:
        next_turn(draft)
        return
    if draft.state.undoing is not None:
        undo_next(draft)  # again, if it had been begun: at least once
        return
    end_open_calls(draft, RECOVERED)
    if running.stop is not None:
        end_stopped(draft, None, None)
    elif running.attempt < draft.rules.max_attempts:
        restart(draft, RECOVERED, 0.0, discard=True)
    else:
        fail(draft, Reason.CRASHED, f"attempt {running.attempt} did not end")


def end_delivery(draft: Draft, done: DeliveryDone) -> None:
    """The channel took a delivery, or it was given up."""
    _, delivery_id, status, detail = done
    for delivery in draft.state.outbox:
        if delivery.delivery_id == delivery_id:
            draft.emit(DeliveryEnded, delivery_id=delivery_id, status=status, detail=detail)
            return


def stale(draft: Draft, command: Command) -> None:
    """It came too late to matter here; nothing happens."""
    del draft, command
