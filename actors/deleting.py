"""A session that is forgotten: at once, in one transaction, and nothing comes back of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..messages.commands import AsideDone, Delete, Progress, RuntimeExit, Streamed
from ..messages.events import Event, MessageEnded, TurnEnded
from ..messages.policies import Now
from ..messages.reasons import Reason
from .backlog import BacklogActor
from .backlog_requests import TakeRequest
from .exit import NORMAL
from .machine.state import Status
from .machine.table import decide
from .mailbox import Envelope, Lane
from .recorded import JournalLost, RecordedActor
from .requests import (
    Barrier,
    DeleteRequest,
    DeleteResult,
    EndRuntime,
    OutcomeRequest,
    StartCompensation,
)
from .waiting import committed, set_if_open

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from ..journal.base import Commit
    from ..messages.commands import CompensationDone
    from ..messages.entries import Entry
    from ..messages.ids import SessionKey
    from ..messages.message import MessageOutcome
    from ..messages.records import CallRecord
    from .control import RuntimeControl
    from .machine.state import SessionState
    from .recorded import Services
    from .steps import Step


class Hook(NamedTuple):
    """A program's hook, to be called as a message of its own."""

    function: Callable[[Any], Any]
    argument: Any


class _Answer:
    """To whoever asked: when all is erased, no trace is left, and the runtime is over."""

    __slots__ = ("_request", "_result", "_waits_for")

    def __init__(self, request: DeleteRequest, entries: Sequence[Entry]) -> None:
        self._request = request
        ended = [entry for entry in entries if isinstance(entry, MessageEnded)]
        turns = [entry.turn for entry in entries if isinstance(entry, TurnEnded)]
        self._result = DeleteResult(
            turns[0] if turns else None, tuple(entry.message_id for entry in ended)
        )
        self._waits_for = 3

    def one_more(self, _clean: Commit | None = None) -> None:
        """One of the three has come."""
        self._waits_for -= 1
        if not self._waits_for:
            self._request.deleted.try_set(self._result)


class DeletingActor(BacklogActor):
    """Deletes its session, and ends; what was sent behind that begins a new one.

    While it waits for the journal it reads nothing: a message was either there before, and is
    deleted, or it waits in the mailbox for the next incarnation.

    The arguments are those of :class:`RecordedActor`.
    """

    __slots__ = ("_control",)

    _OF_ITS_OWN: ClassVar[frozenset[type]] = frozenset(
        (
            *RecordedActor.DECIDED,
            *RecordedActor.RECORDED,
            *(AsideDone, Barrier, Hook, Progress, RuntimeExit, Streamed, TakeRequest),
        )
    )
    """What the framework tells a session, and nobody waits for when that is no more."""

    _control: RuntimeControl | None

    # --- what is not there, and is not begun for this ---

    def _actor_started(self, result: object, error: BaseException | None) -> Step | None:
        if error is None and not self.state.uid and self._is_first(self._OF_ITS_OWN):
            # They are of a session that was deleted: alone they begin no other.
            self._left_behind()
            if not self.actor_inbox.pending:
                return self._actor_end(NORMAL)
        if error is None and not self.state.uid and self._is_first((DeleteRequest,)):
            self._actor_loop_running()
            return None
        return super()._actor_started(result, error)

    def _is_first(self, kinds: frozenset[type] | tuple[type, ...]) -> bool:
        first = self.actor_inbox.first
        return first is not None and type(first.message) in kinds

    def _left_behind(self) -> list[Hook]:
        """Take what is of the session itself out of the mailbox; gives the hooks among it."""
        left = self.actor_inbox.sift(lambda one: type(one.message) not in self._OF_ITS_OWN)
        messages = [envelope.message for envelope in left]
        for message in messages:
            if isinstance(message, Barrier) and not message.reached.done():
                message.reached.set_result(None)
            elif isinstance(message, TakeRequest) and not message.taken.done():
                message.taken.set_result(())
        return [message for message in messages if isinstance(message, Hook)]

    # --- deleting ---

    def _leave(self, request: object, error: BaseException) -> None:
        if isinstance(request, DeleteRequest):
            # Before anything that was sent since: that is for the session that comes after.
            again = request._replace(ends={**request.ends, **self.state.remembered})
            self.actor_inbox.put(Envelope(again), Lane.CONTROL)
        else:
            super()._leave(request, error)

    async def _on_delete(self, request: DeleteRequest, _stamp: int) -> None:
        before, services = self.state, self._services
        if self._control is not None:
            self._control.tell_stop(Now(grace=request.grace), Reason.DELETED)
        await self._settled()
        state, entries, _, _ = decide(before, Delete(services.now(), request.grace), services.rules)
        # Nobody can say at which position a journal is that cannot be read.
        is_known = before.status is not Status.FAILED
        above = max(state.position, before.epoch, self.actor_inbox.mark) if is_known else 0
        erased = services.journal.erase(self._key, above)
        self.state = state
        answer = _Answer(request, entries)
        self._cut_loose(before, answer, request.grace)
        try:
            await committed(erased.commit, self._loop)
        except Exception:
            self.actor_inbox.sift(lambda one: type(one.message) is not JournalLost)
            raise
        self._tell_deleted(entries if is_known else list(map(_without_position, entries)))
        known = {**request.ends, **state.remembered}
        self._answer_late({id_: one.outcome for id_, one in known.items() if one.outcome})
        answer.one_more()
        erased.clean.add_done_callback(answer.one_more)
        if request.from_within:
            answer.one_more()  # that turn would wait for itself
        services.counters.count("deleted_sessions")
        for hook in self._left_behind():
            await self._on_hook(hook, 0)
        self._stop()

    def _answer_late(self, ends: Mapping[str, MessageOutcome]) -> None:
        """Answer who asked meanwhile how the messages end that are deleted."""
        asked = self.actor_inbox.sift(
            lambda one: (
                not (isinstance(one.message, OutcomeRequest) and one.message.message_id in ends)
            )
        )
        for envelope in asked:
            question: OutcomeRequest = envelope.message
            question.outcome.try_set(ends[question.message_id])

    async def _settled(self) -> None:
        """Wait until all that was recorded is durable, and what follows from it is out.

        Raises:
            OSError: nobody can say what is durable.
        """
        if self._releases is None or not self._releases.is_holding:
            return
        settled: asyncio.Future[bool] = self._loop.create_future()
        self._releases.when_durable(
            partial(set_if_open, settled, True),
            partial(set_if_open, settled, False),
        )
        if not await settled:
            msg = f"the journal did not confirm what session {str(self._key)!r} recorded before"
            raise OSError(msg)

    def _cut_loose(self, before: SessionState, answer: _Answer, grace: float) -> None:
        """Whoever works for the session tells it nothing any more, and comes to an end."""
        services, key = self._services, self._key
        services.forget(key)
        control, self._control = self._control, None
        if control is None or control.ended:
            answer.one_more()
        else:
            control.forget()
            within = max([grace, *_protected(before, services.now())])
            services.runtimes(EndRuntime(key, control, within, answer.one_more))
        if before.undoing is not None:
            _undo_next(services, key, before.undoing.left)
        self._look_aside()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._due = None

    def _tell_deleted(self, entries: Sequence[Entry]) -> None:
        """Tell whoever waits for something of the session that this is how it has ended."""
        watched = self._services.hub.watched
        for entry in entries:
            if isinstance(entry, MessageEnded):
                self._tell_outcome(entry)
            elif isinstance(entry, TurnEnded):
                self._waiters.tell_turn_ended(entry)
                self._call_hooks(entry)
            if watched:
                self._tell_subscribers(entry)
        self._tell_quiet()

    def _tell_outcome(self, event: MessageEnded) -> None:
        raise NotImplementedError

    def _call_hooks(self, event: TurnEnded) -> None:
        raise NotImplementedError

    async def _on_hook(self, hook: Hook, _stamp: int) -> None:
        raise NotImplementedError


def _without_position(entry: Entry) -> Entry:
    if isinstance(entry, Event):
        return entry.model_copy(update={"position": None})
    return entry


def _protected(before: SessionState, now: float) -> list[float]:
    """Seconds that protected calls of the running wave have left."""
    running = before.running
    if running is None:
        return []
    since = now - running.wave_started_at
    return [(call.timeout or 0.0) - since for call in running.open if call.protected]


def _undo_next(
    services: Services,
    key: SessionKey,
    calls: tuple[CallRecord, ...],
    _done: CompensationDone | None = None,
) -> None:
    """What was being undone is undone to its end, though there is nobody to note that."""
    if calls:
        report = partial(_undo_next, services, key, calls[1:])
        services.runtimes(StartCompensation(key, calls[0], report))
