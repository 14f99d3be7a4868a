"""A session as a program sees it: a handle that stays valid over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel

from ..messages.errors import InvalidMessage
from ..messages.making import maker
from ..messages.message import Attachment, MessageOutcome, SessionMessage
from ..messages.policies import AfterWave
from ..messages.reasons import Backlog
from ..messages.text import check_id, check_text
from .backlog_face import BacklogFace
from .current import is_within
from .future import Future
from .histories import check_limit
from .mailbox import Envelope, Lane
from .requests import (
    DeleteRequest,
    HeardRequest,
    HistoryRequest,
    LookRequest,
    OutcomeRequest,
    ReadRequest,
    RollbackRequest,
    ScheduledRequest,
    ScheduleRequest,
    SendRequest,
    Told,
)
from .scheduling_face import kept_policy, when_of
from .sending import (
    check_deadline,
    check_grace,
    check_policy,
    check_priority,
    fingerprint_of,
    stop_request,
    user_message,
)
from .session_future import OutcomeFuture, SentFuture, SessionFuture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..messages.history import HistoryEntry
    from ..messages.ids import SessionKey
    from ..messages.policies import Chooser, How, Policy
    from ..messages.view import ScheduledMessage
    from .gate import Gate
    from .hub import EventStream
    from .requests import DeleteResult, Look, RollbackResult, StopResult
    from .scheduling_face import At

M = TypeVar("M", bound=BaseModel)

_new_request, _new_question = maker(SendRequest), maker(OutcomeRequest)


class Receipt:
    """That a message was accepted.

    Args:
        message_id: its id.
        duplicate: whether it had been accepted before, under the same id.
    """

    __slots__ = ("_session", "duplicate", "message_id")

    def __init__(self, session: Session, message_id: str) -> None:
        self._session = session
        self.message_id = message_id
        self.duplicate = False

    def __repr__(self) -> str:
        return f"<Receipt {self.message_id!r} of session {str(self._session.key)!r}>"

    def outcome(self) -> Future[MessageOutcome]:
        """How the message ends, once it has.

        Raises:
            WouldDeadlock: when waited for inside a turn of the same session.
        """
        return self._session._outcome(self.message_id)  # noqa: SLF001 - as its method


class Session(BacklogFace):
    """A handle of one conversation; cheap to make, and valid over restarts of the session.

    Every method may be called from any thread; what it gives can be awaited, or ``get()`` from
    another thread than the loop's.
    """

    __slots__ = ("_gate", "_new_id", "_policy", "_subscribe", "_types", "key")

    def __init__(
        self,
        key: SessionKey,
        gate: Gate,
        new_id: Callable[[], str],
        subscribe: Callable[[SessionKey], EventStream],
        types: frozenset[type[SessionMessage]],
        *,
        policy: Policy | Chooser | None = None,
    ) -> None:
        self.key = key
        self._gate = gate
        self._new_id = new_id
        self._subscribe = subscribe
        self._types = types
        self._policy = policy

    def __repr__(self) -> str:
        return f"<Session {str(self.key)!r}>"

    @property
    def tenant(self) -> str:
        """The session's tenant."""
        return self.key.tenant

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self.key.session_id

    def send(
        self,
        content: str | SessionMessage,
        *,
        sender: str | None = None,
        attachments: Sequence[Attachment] = (),
        metadata: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        policy: Policy | Chooser | None = None,
        deadline: float | None = None,
        priority: int = 0,
    ) -> Future[Receipt]:
        """Send a message; at once, in the order of the calls. Done when it is accepted.

        Args:
            content: a text, or a message of your own.
            sender: who wrote it.
            attachments: files that came with it; then the text may be empty.
            metadata: whatever the channel wants back; must survive JSON.
            message_id: de-duplicates: the same message again is accepted, and not answered twice;
                for a day after its end at least.
            policy: what it does to a running turn; by default the session's choice.
            deadline: seconds from its acceptance after which a turn on it times out.
            priority: those with a higher one are before it as long as they wait.

        Raises:
            InvalidMessage: there is nothing to say, or an argument cannot be used.
            SystemClosed: the system does not run.
            MailboxFull: as many messages wait as may, and the oldest is not to be dropped.
            MessageRejected: a turn runs, and the policy is ``Reject``.
        """
        message = self._message(content, sender, attachments, metadata, message_id)
        if policy is not None:
            check_policy(policy)
        if deadline is not None:
            check_deadline(deadline)
        if priority:
            check_priority(priority)
        plain = isinstance(content, str) and not message_id
        fingerprint = "" if plain else fingerprint_of(message)
        key, gate = self.key, self._gate
        receipt = Receipt(self, message.message_id)
        accepted: Future[Receipt] = SentFuture(key, gate)
        if policy is None:
            policy = self._policy
        request = _new_request(
            (message, policy, deadline, fingerprint, receipt, accepted, priority)
        )
        # Put, and not handed over: a stop that is told in the same breath covers it.
        gate.put(key, Envelope(request))
        return accepted

    def send_later(
        self,
        content: str | SessionMessage,
        *,
        at: At,
        sender: str | None = None,
        attachments: Sequence[Attachment] = (),
        metadata: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        policy: Policy | None = None,
        deadline: float | None = None,
        priority: int = 0,
    ) -> Future[Receipt]:
        """Have a message sent at a time; done when it is accepted, which is now.

        When it is due it enters the session as one that is sent then. Until then it is in
        :meth:`scheduled`, and can be taken back or edited by its id; a stop does not touch it. With
        a durable journal it survives restarts. The outcome is known when it has ended.

        Args:
            content: a text, or a message of your own.
            at: when it is due: a datetime with its zone, seconds since the epoch, or a timedelta
                from now. What is past is due at once.
            sender: who wrote it.
            attachments: files that come with it; then the text may be empty.
            metadata: whatever the channel wants back; must survive JSON.
            message_id: de-duplicates: the same message again is accepted, and keeps the time that
                it was first given.
            policy: what it does to a running turn then; by default the session's choice then.
            deadline: seconds from when it is due after which a turn on it times out.
            priority: as of :meth:`send`.

        Raises:
            InvalidMessage: there is nothing to say, or an argument cannot be used.
            SystemClosed: the system does not run.
            MailboxFull: ``capacity`` messages are scheduled already.
        """
        when, is_delay = when_of(at)
        message = self._message(content, sender, attachments, metadata, message_id)
        check_policy(policy)
        check_deadline(deadline)
        check_priority(priority)
        fingerprint = "" if isinstance(content, str) and not message_id else fingerprint_of(message)
        receipt = Receipt(self, message.message_id)
        accepted: Future[Receipt] = SessionFuture(self.key, self._gate.loop)
        kept = kept_policy(self._policy if policy is None else policy)
        request = ScheduleRequest(
            message, kept, when, is_delay, deadline, fingerprint, receipt, accepted, priority
        )
        self._gate.put(self.key, Envelope(request))
        return accepted

    def scheduled(self) -> Future[tuple[ScheduledMessage, ...]]:
        """The messages that are not due yet, the next one first."""
        answer: Future[tuple[ScheduledMessage, ...]] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(ScheduledRequest(answer)))
        return answer

    def _message(
        self,
        content: object,
        sender: str | None,
        attachments: Sequence[Attachment],
        metadata: Mapping[str, Any] | None,
        message_id: str | None,
    ) -> SessionMessage:
        if message_id is not None:
            check_id("message_id", message_id)
        if sender is not None:
            check_text("sender", sender)
        if isinstance(content, str):
            check_text("text", content)
            id_ = message_id or self._new_id()
            return user_message(content, sender, attachments, metadata, id_)
        if not isinstance(content, SessionMessage):
            msg = f"a message is a text or a SessionMessage, not {content!r}"
            raise InvalidMessage(msg)
        if attachments or metadata:
            msg = f"attachments and metadata go with a text; put them into {content!r} itself"
            raise InvalidMessage(msg)
        if type(content) not in self._types:
            name = type(content).__name__
            msg = (
                f"the system does not know messages of class {name}: "
                f"ActorSystem(..., message_types=({name},))"
            )
            raise InvalidMessage(msg)
        update = {"sender": sender} if sender is not None else {}
        if message_id or not content.message_id:
            update["message_id"] = message_id or self._new_id()
        return content.model_copy(update=update)  # the session's own: it says when it came

    def outcome(self, message_id: str) -> Future[MessageOutcome]:
        """How an accepted message ends, once it has.

        Raises:
            InvalidMessage: the id is empty, or no text.
            UnknownMessage: the session does not know a message of that id (any more).
            WouldDeadlock: when waited for inside a turn of the same session.
        """
        check_id("message_id", message_id)
        return self._outcome(message_id)

    def _outcome(self, message_id: str) -> Future[MessageOutcome]:
        key, gate = self.key, self._gate
        outcome = OutcomeFuture(key, gate.loop)
        gate.hand(key, _new_question((message_id, outcome)))
        return outcome

    def stop(
        self,
        how: How = AfterWave(),  # noqa: B008 - immutable
        *,
        backlog: Backlog | Literal["keep", "park", "drop"] = Backlog.KEEP,
        reason: str = "",
    ) -> Future[StopResult]:
        """Stop the running turn: its messages end as cancelled. Done when the turn has ended.

        Inside that turn it is done as soon as it is durable; the turn ends at its next boundary.

        Args:
            how: after its wave, or now.
            backlog: whether the messages that wait are kept for the next turn, parked until
                :meth:`resume`, or dropped.
            reason: in words; told to subscribers and to the next turn.

        Raises:
            InvalidMessage: an argument cannot be used.
            SystemClosed: the system does not run.
        """
        stopped: Future[StopResult] = SessionFuture(self.key, self._gate.loop)
        request = stop_request(self.key, how, backlog, reason, stopped)
        self._gate.put(self.key, Envelope(request), Lane.CONTROL)
        return stopped

    def rollback(self, grace: float = 5.0, *, reason: str = "") -> Future[RollbackResult]:
        """Undo the running turn, as the policy ``Rollback`` does, without a message.

        Its calls may end, reads are cancelled; then those that completed are compensated, back to
        where the chain of interruptions began, and its messages end as cancelled. Done when the
        turn has ended; inside that turn as soon as it is durable. Idle, there is nothing to do.

        Args:
            grace: seconds that calls have to end in.
            reason: in words; told to subscribers.

        Raises:
            InvalidMessage: an argument cannot be used.
            SystemClosed: the system does not run.
        """
        check_grace(grace)
        check_text("reason", reason)
        done: Future[RollbackResult] = SessionFuture(self.key, self._gate.loop)
        request = RollbackRequest(float(grace), reason, is_within(self.key), done)
        self._gate.put(self.key, Envelope(request))
        return done

    def delete(self, grace: float = 5.0) -> Future[DeleteResult]:
        """Forget the session, with all that was said and done in it; docs/durability.md has more.

        A running turn is cut off as by ``Now``, and what waits is cancelled, both with the reason
        ``deleted``. What was sent before is deleted, what is sent from here on begins a new
        session. Done when nothing of it is left on the disk, and the turn's calls have ended or
        are abandoned; inside that turn, which ends there, as soon as all is erased.

        A session that is not there is no error, and one whose journal cannot be read is deleted
        as well.

        Args:
            grace: seconds that calls which were cancelled have to end in.

        Raises:
            InvalidMessage: ``grace`` cannot be used.
            SystemClosed: the system does not run.
        """
        check_grace(grace)
        deleted: Future[DeleteResult] = SessionFuture(self.key, self._gate.loop)
        request = DeleteRequest(float(grace), is_within(self.key), deleted)
        self._gate.put(self.key, Envelope(request), bounded=False)
        return deleted

    def tell(self, message: object) -> None:
        """Send the session's actor a message of your own, for its ``on_receive``; not durable."""
        self._gate.put(self.key, Told(message))

    def ask(self, message: object) -> Future[Any]:
        """Send the session's actor a message of your own, and give what ``on_receive`` answers."""
        answer: Future[Any] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(message, answer))
        return answer

    def read(self, model: type[M]) -> Future[M]:
        """The session's own state, as of its last finished turn; ``model()`` without any.

        Raises:
            InvalidMessage: ``model`` is no pydantic model.
            ValidationError: the state that was saved is not one of ``model``.
        """
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            msg = f"a session's state is read as a pydantic model, not as {model!r}"
            raise InvalidMessage(msg)
        state: Future[M] = SessionFuture(self.key, self._gate.loop)
        self._gate.hand(self.key, ReadRequest(model, state))
        return state

    def history(
        self, limit: int = 50, *, unanswered: bool = True
    ) -> Future[tuple[HistoryEntry, ...]]:
        """The last ``limit`` entries of the session's history, oldest first.

        Args:
            limit: entries at most; a result of which the call is further back is left out.
            unanswered: whether to give what goes on too, as it stands: the running turn, the
                interrupted ones before it, and the messages that wait (their ``turn`` is 0).

        Raises:
            InvalidMessage: ``limit`` is no number of entries.
        """
        check_limit(limit)
        entries: Future[tuple[HistoryEntry, ...]] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(HistoryRequest(limit, unanswered, entries)))
        return entries

    def heard(self, turn: int, characters: int) -> Future[None]:
        """Say how much of a turn's words the user has heard, for channels that speak them.

        The history then has no more of them. It may be said during the turn and after it, and
        again; the last word counts. Done when it is recorded.

        Args:
            turn: the turn.
            characters: heard of what it streamed, or of its reply; the rest was not.

        Raises:
            InvalidMessage: there was no such turn, or the number is negative.
        """
        for name, number in (("turn", turn), ("characters", characters)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                msg = f"{name}={number!r}: give a whole number, 0 or more"
                raise InvalidMessage(msg)
        heard: Future[None] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(HeardRequest(turn, characters, heard)))
        return heard

    def look(self) -> Future[Look]:
        """How the session is: its whole state, for those who watch over it."""
        seen: Future[Look] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(LookRequest(seen)))
        return seen

    def events(self) -> EventStream:
        """The session's events from here on; used on the loop's thread, best by ``with``."""
        return self._subscribe(self.key)
