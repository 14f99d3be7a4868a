"""The session's state as a fold over its events: ``evolve(state, event) -> state``, pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...messages.entries import Entry, Progressed
from ...messages.errors import JournalCorrupt
from ...messages.events import (
    CancellationHandled,
    CompensationEnded,
    CompensationStarted,
    CourtesySaid,
    DeliveryEnded,
    Event,
    ExecutionCancelled,
    Heard,
    MessageAccepted,
    MessageDue,
    MessageEdited,
    MessageEnded,
    MessagesTaken,
    Resumed,
    RollbackRefused,
    RollbackStarted,
    Said,
    Saved,
    SessionDeleted,
    SessionOpened,
    StepEnded,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WindowExtended,
)
from ...messages.making import maker
from ...messages.message import Delivery, MessageOutcome, Reply
from ...messages.policies import Aside
from ...messages.reasons import (
    CourtesyKind,
    DeliveryKind,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from .fold_calls import open_or_done, progressed
from .fold_stops import (
    compensation_ended,
    rollback_refused,
    rollback_started,
    stop_requested,
)
from .folds import (
    came_due,
    collecting,
    edited,
    gone_on,
    placed,
    position_of,
    running_of,
    scheduled,
    taken,
    with_waiting,
    without,
    without_scheduled,
)
from .history import heard, interrupted, is_unsettled
from .queue import by_admission, come_back, expiry, split, steered_first
from .remembering import remember, trim
from .state import (
    BATCH,
    ENDED,
    LAST_REPLY,
    NOTHING,
    OPEN,
    OUTBOX,
    POSITION,
    PREVIOUS,
    REMEMBERED,
    RUNNING,
    SAVED,
    STATUS,
    TURN,
    UNKNOWN,
    UNSETTLED,
    WAITING,
    Ended,
    Remembered,
    Running,
    SessionState,
    Status,
    Waiting,
    earlier,
)
from .undoing import after_rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...messages.ids import DeliveryId


_new_state, _new_waiting, _new_remembered = maker(SessionState), maker(Waiting), maker(Remembered)
_new_ended = maker(Ended)
_new_delivery = Delivery.trusted
_new_outcome = MessageOutcome.trusted

# Of what is asked for in every turn: to look up a member in its class takes 0.1 µs (Python 3.11).
_IDLE, _RUNNING, _CLOSING = Status.IDLE, Status.RUNNING, Status.CLOSING
_FINISHED, _INTERRUPTED = TurnOutcome.FINISHED, TurnOutcome.INTERRUPTED
_ANSWERED, _REPLY = MessageStatus.ANSWERED, DeliveryKind.REPLY


def evolve(state: SessionState, entry: Entry) -> SessionState:
    """The state after ``entry``.

    Raises:
        KeyError: an event of a class that the fold does not know.
    """
    if isinstance(entry, Progressed):
        return progressed(state, entry)
    return _FOLD[type(entry)](state, entry)


def fold(state: SessionState, entries: Iterable[Entry]) -> SessionState:
    """The state after all of ``entries``, in order.

    Raises:
        JournalCorrupt: one is missing, or there twice.
    """
    for entry in entries:
        if entry.position != state.position + 1:
            msg = (
                f"the journal of session {str(state.key)!r} has position {entry.position} where "
                f"{state.position + 1} should be: repair it"
            )
            raise JournalCorrupt(msg)
        state = evolve(state, entry)
    return state


def _opened(state: SessionState, event: SessionOpened) -> SessionState:
    status = Status.IDLE if state.window is None else Status.COLLECTING
    running = state.running
    if running is not None:
        status = Status.RUNNING if running.stop is None else Status.STOPPING
    covers = state.covers if event.covers else NOTHING
    state = state.changed(
        position_of(event), epoch=event.epoch, uid=event.uid, status=status, covers=covers
    )
    if state.asides and not event.aside:
        return with_waiting(state, (*state.waiting, *state.asides))._replace(asides=())
    return state


def _accepted(state: SessionState, event: MessageAccepted) -> SessionState:
    fields: list[Any] = list(state)
    position = fields[POSITION] = state.position + 1
    message, policy, fingerprint = event.message, event.policy, event.fingerprint
    expires_at, priority = event.expires_at, event.priority
    kept = Remembered(fingerprint, None) if fingerprint else OPEN
    remembered = trim(state.remembered, event.at)
    fields[REMEMBERED] = remember(remembered, message.message_id, kept)
    if event.due_at is not None:
        return scheduled(_new_state(fields), event, event.due_at)
    waiting = _new_waiting(
        (message, policy, event.deadline_at, expires_at, priority, position, False)
    )
    if state.waiting or expires_at or priority or event.parked or type(policy) is Aside:
        return placed(_new_state(fields), waiting, parked=event.parked)
    fields[WAITING] = (waiting,)
    return _new_state(fields)


def _turn_started(state: SessionState, event: TurnStarted) -> SessionState:
    ours, rest = split(state.waiting, event.message_ids)
    deadline = ours[-1].deadline_at
    if event.deadline_at is not None:
        deadline = earlier(event.deadline_at, deadline)
    if state.window is not None or state.expires_at is not None:
        state = state._replace(window=None, expires_at=expiry(rest))
    fields: list[Any] = list(state)
    fields[POSITION] += 1
    fields[RUNNING] = Running.begun(event, ours, deadline)
    fields[STATUS] = _RUNNING
    fields[TURN] = event.turn
    fields[WAITING] = rest
    fields[BATCH] = 0
    return _new_state(fields)


def _turn_restarted(state: SessionState, event: TurnRestarted) -> SessionState:
    # What the attempt before has saved goes with it: each starts from the last finished turn.
    running = running_of(state)._replace(attempt=event.attempt, wave=0, wave_done=0, saved=None)
    return state.got_further(position_of(event), running)


def _logged(state: SessionState, event: StepEnded | Said) -> SessionState:
    running = running_of(state)
    return state.got_further(position_of(event), running._replace(log=(*running.log, event)))


def _unchanged(state: SessionState, event: Event) -> SessionState:
    fields: list[Any] = list(state)
    fields[POSITION] = position_of(event)
    return _new_state(fields)


def _said(state: SessionState, event: Said) -> SessionState:
    state = _logged(state, event)
    return _posted(state, event, DeliveryKind.SAID, Reply(text=event.text))


def _courtesy_said(state: SessionState, event: CourtesySaid) -> SessionState:
    running = state.running
    if running is not None and running.number == event.turn:
        words = running.words
        if event.courtesy is CourtesyKind.STILL_WORKING:
            words = words._replace(noticed_at=event.at, notices=words.notices + 1)
        running = running._replace(log=(*running.log, event), words=words)
        state = state.got_further(position_of(event), running)
    else:
        state = state.changed(position_of(event))
    return _posted(state, event, DeliveryKind.COURTESY, Reply(text=event.text))


def _heard(state: SessionState, event: Heard) -> SessionState:
    running = state.running
    if running is not None and running.number == event.turn:
        words = running.words._replace(heard=event.characters)
        return state.got_further(position_of(event), running._replace(words=words))
    if is_unsettled(state, event.turn):
        return state.changed(position_of(event), unsettled=(*state.unsettled, heard(event)))
    return state.changed(position_of(event))


def _posted(
    state: SessionState,
    event: Said | CourtesySaid | TurnEnded | MessageEnded,
    kind: DeliveryKind,
    reply: Reply,
    answers: tuple[str, ...] = (),
) -> SessionState:
    if event.delivery_id is None:
        return state
    turn = state.turn if event.turn is None else event.turn
    delivery = _delivery(state, turn, event.delivery_id, kind, reply, answers)
    return state._replace(outbox=(*state.outbox, delivery))


def _delivery(  # noqa: PLR0917 - what a delivery consists of
    state: SessionState,
    turn: int,
    delivery_id: DeliveryId,
    kind: DeliveryKind,
    reply: Reply,
    answers: tuple[str, ...],
) -> Delivery:
    tenant, session_id = state.key
    return _new_delivery(
        {
            "delivery_id": delivery_id,
            "kind": kind,
            "tenant": tenant,
            "session_id": session_id,
            "turn": turn,
            "reply": reply,
            "answers": answers,
        }
    )


def _saved(state: SessionState, event: Saved) -> SessionState:
    return state.got_further(position_of(event), running_of(state)._replace(saved=event.state))


def _turn_ended(state: SessionState, event: TurnEnded) -> SessionState:
    running, outcome = running_of(state), event.outcome
    number, reply, delivery_id = event.turn, event.reply, event.delivery_id
    waiting = state.waiting
    fields: list[Any] = list(state)
    fields[POSITION] += 1
    fields[RUNNING] = None
    if state.status is not _CLOSING:
        fields[STATUS] = _IDLE
    fields[PREVIOUS] = event.partial_results
    fields[ENDED] = _new_ended((number, outcome, event.detail))
    if outcome is _INTERRUPTED:
        # After an interruption all that is unanswered becomes one turn; after a shutdown only
        # the turn itself comes back as one.
        alone = event.reason is Reason.SHUTDOWN
        waiting = (*come_back(running.messages), *waiting)
        fields[WAITING] = waiting if alone else by_admission(waiting)
        fields[BATCH] = len(running.messages) if alone else len(waiting)
        fields[UNSETTLED] = interrupted(running, state.unsettled, event)
    else:
        fields[UNSETTLED] = ()
        if waiting:
            fields[WAITING] = steered_first(waiting)
    if running.stop is not None and running.stop.undoing is not None:
        fields[UNKNOWN] = open_or_done(after_rollback(state))
    elif state.unknown:
        fields[UNKNOWN] = open_or_done(state.unknown)
    if outcome is _FINISHED:
        fields[LAST_REPLY] = reply
        if running.saved is not None:
            fields[SAVED] = running.saved
    if reply is not None and delivery_id is not None:
        answers = tuple([one.message.message_id for one in running.messages])
        delivery = _delivery(state, number, delivery_id, _REPLY, reply, answers)
        fields[OUTBOX] = (*state.outbox, delivery)
    return _new_state(fields)


def _message_ended(state: SessionState, event: MessageEnded) -> SessionState:
    message_id, status, reply = event.message_id, event.status, event.reply
    outcome = _new_outcome(
        {
            "message_id": message_id,
            "status": status,
            "turn": event.turn,
            "reply": (reply or state.last_reply) if status is _ANSWERED else None,
            "reason": event.reason,
            "error": event.detail,
        }
    )
    kept = state.remembered.get(message_id)
    ended = _new_remembered((kept.fingerprint if kept else "", outcome, event.at))
    fields: list[Any] = list(state)
    fields[POSITION] += 1
    fields[REMEMBERED] = remember(state.remembered, message_id, ended)
    state = _new_state(fields)
    if event.scheduled is not None:
        return without_scheduled(state, message_id)
    if state.covers.idle and status is MessageStatus.CANCELLED:
        # It would have been the turn that the stop, which found none, was meant for.
        state = state._replace(covers=state.covers._replace(idle=False))
    if reply is not None and event.delivery_id is not None:
        state = _posted(state, event, DeliveryKind.ASIDE, reply, (message_id,))
    if state.waiting or state.parked or state.asides:
        state = without(state, message_id)
    if state.unsettled and state.running is None and not state.waiting:
        return state._replace(unsettled=())  # nothing of the chain lives on
    return state


def _then(
    change: Callable[[SessionState, Any], SessionState],
) -> Callable[[SessionState, Any], SessionState]:
    def fold_it(state: SessionState, event: Event) -> SessionState:
        return change(state, event)._replace(position=position_of(event))

    return fold_it


def _taken(state: SessionState, event: MessagesTaken) -> SessionState:
    running_of(state)
    return taken(state, event)


def _delivery_ended(state: SessionState, event: DeliveryEnded) -> SessionState:
    delivery_id = event.delivery_id
    fields: list[Any] = list(state)
    fields[POSITION] += 1
    fields[OUTBOX] = tuple([d for d in state.outbox if d.delivery_id != delivery_id])
    return _new_state(fields)


def _deleted(state: SessionState, _event: SessionDeleted) -> SessionState:
    """Nothing is left but how its messages have ended, for those who wait to hear that."""
    return SessionState(
        state.key, state.position + 1, epoch=state.epoch, remembered=state.remembered
    )


_FOLD: dict[type[Event], Callable[[SessionState, Any], SessionState]] = {
    SessionOpened: _opened,
    MessageAccepted: _accepted,
    MessageDue: _then(came_due),
    TurnStarted: _turn_started,
    TurnRestarted: _turn_restarted,
    StepEnded: _logged,
    Said: _said,
    Saved: _saved,
    StopRequested: stop_requested,
    RollbackStarted: rollback_started,
    RollbackRefused: rollback_refused,
    CompensationStarted: _unchanged,
    CompensationEnded: compensation_ended,
    ExecutionCancelled: _unchanged,
    CancellationHandled: _unchanged,
    TurnEnded: _turn_ended,
    MessagesTaken: _then(_taken),
    WindowExtended: _then(collecting),
    MessageEdited: _then(edited),
    Resumed: _then(gone_on),
    MessageEnded: _message_ended,
    CourtesySaid: _courtesy_said,
    Heard: _heard,
    DeliveryEnded: _delivery_ended,
    SessionDeleted: _deleted,
}

FOLDS: Final[Mapping[type[Event], Callable[[SessionState, Any], SessionState]]] = _FOLD
"""What each event makes of a state: :func:`evolve`, for who has its class at hand."""
