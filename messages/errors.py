"""The error tree. Every message names the value at fault and what to do next.

WavebreakError
├── InvalidMessage            (ValueError)   nothing to say, an empty session id, a bad deadline
├── InvalidSetting            (ValueError)   a setting of the system that cannot be used
├── ToolDefinitionError       (TypeError)    a function that cannot be a tool
├── InvalidArguments          (ValueError)   arguments a tool does not take
├── InvalidResult             (ValueError)   a result that is not what the tool says it returns
├── UnknownTool               (LookupError)
├── PlanError                 (ValueError)   a cycle, a foreign planned call
├── DependencyError           (LookupError)
├── ActorError
│   ├── MailboxFull           as many messages wait as may
│   ├── WouldDeadlock         (RuntimeError) a wait that could never end
│   └── SupervisionError
│       ├── InvalidChildSpec      (ValueError)  a child that cannot be supervised as given
│       ├── ChildStartFailed      a child did not start; ``child_id`` says which
│       ├── ChildAlreadyStarted   (ValueError)  a child of that id runs; ``ref`` is it
│       ├── ChildAlreadyPresent   (ValueError)  a child of that id is there, and does not run
│       ├── ChildNotFound         (LookupError)
│       ├── ChildRunning          it has to be terminated first
│       ├── ChildRestarting       it is about to be started again
│       ├── NotInPool             (TypeError)   what a pool of children does not do
│       ├── PoolFull              a pool has ``max_children``
│       └── TooManyAbandoned      as many threads as may be do not end
├── SystemClosed              (RuntimeError) the system does not run
│   └── SystemFailed          it has ended by itself
├── JournalError              (OSError)      a journal that cannot be opened as it is
│   ├── JournalLocked         somebody else has it open
│   └── JournalDamaged        a part of it is missing, or not what was written
├── SessionError
│   ├── MessageIdReused       (ValueError)   a message id came again with another content
│   ├── MessageRejected       a turn runs, and the message's policy is ``Reject``
│   ├── UnknownMessage        (LookupError)
│   ├── AcceptanceUnknown     the journal did not say whether it has the message
│   ├── JournalFull           the disk has no room: the message was not accepted
│   ├── JournalBusy           too much waits to be written: the message was not accepted
│   ├── SessionFailed         the session's journal is corrupt
│   ├── JournalCorrupt        a journal found a record that it cannot read
│   └── Detached              the system went away before the outcome was known
├── WaveInProgress            (RuntimeError) a second wave or step while one runs
├── TurnOver                  (RuntimeError) a turn was used after its agent had ended
├── CallFailed                one call of a wave failed; ``record`` says how
│   └── OutcomeUnknown        it may have happened; ``call.again()`` runs it again
├── CancelledException        a plan was cancelled between two waves
├── TokenHeld                 (RuntimeError) a token was reset while a turn or plan runs on it
├── SubscriberTooSlow         an event stream was cut off
└── MissingExtra              (ImportError)  an optional dependency is not installed

BaseException
├── TurnInterrupted           the turn has to end; not an error, and not for ``except Exception``
└── Shutdown                  an actor ends itself by it, and that is a normal end

ExceptionGroup
└── WaveFailed                (WavebreakError) every failed call of a wave
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

    from .reasons import Reason
    from .records import CallRecord


class WavebreakError(Exception):
    """Base of every error that wavebreak raises."""


class InvalidMessage(WavebreakError, ValueError):
    """A message, or the session it is for, is not acceptable as given."""


class InvalidSetting(WavebreakError, ValueError):
    """The system was given something that it cannot use."""


class ToolDefinitionError(WavebreakError, TypeError):
    """A function or its options cannot be made a tool."""


class InvalidArguments(WavebreakError, ValueError):
    """A tool was called with arguments it does not take."""


class InvalidResult(WavebreakError, ValueError):
    """A tool returned what its annotation does not allow, or what JSON cannot hold."""


class UnknownTool(WavebreakError, LookupError):
    """No tool of that name was given to the system."""


class PlanError(WavebreakError, ValueError):
    """A plan that cannot be cut into waves."""


class DependencyError(WavebreakError, LookupError):
    """A dependency was asked for that nobody gave."""


class ActorError(WavebreakError):
    """Base of the errors of actors and their mailboxes."""


class MailboxFull(ActorError):
    """As many messages wait as may; send less, or give a larger ``capacity``."""


class WouldDeadlock(ActorError, RuntimeError):
    """Waiting here could never end; await instead, or wait somewhere else."""


class SupervisionError(ActorError):
    """Base of what a supervisor answers with."""


class InvalidChildSpec(SupervisionError, ValueError):
    """A child specification has a value that cannot be used; the message names it."""


class ChildStartFailed(SupervisionError):
    """A child did not start; what it raised is the cause.

    Args:
        child_id: which one.
        cause: what it raised.
    """

    def __init__(self, child_id: object, cause: BaseException) -> None:
        super().__init__(f"child {child_id!r} did not start: {cause!r}")
        self.child_id = child_id
        self.__cause__ = cause


class ChildAlreadyStarted(SupervisionError, ValueError):
    """A child of that id runs already; terminate and delete it first, or take another id.

    Args:
        child_id: the id.
        ref: the reference of the one that runs.
    """

    def __init__(self, child_id: object, ref: Any) -> None:
        super().__init__(
            f"child {child_id!r} runs already: terminate and delete it first, or take another id"
        )
        self.child_id = child_id
        self.ref = ref


class ChildAlreadyPresent(SupervisionError, ValueError):
    """A child of that id is there and does not run; restart it, or delete it first."""


class ChildNotFound(SupervisionError, LookupError):
    """The supervisor has no such child; ``which_children()`` says which it has."""


class ChildRunning(SupervisionError):
    """The child runs; terminate it first."""


class ChildRestarting(SupervisionError):
    """The child is about to be started again; terminate it first."""


class NotInPool(SupervisionError, TypeError):
    """A pool's children have no ids: name one by its reference, and start a new one instead."""


class PoolFull(SupervisionError):
    """The pool has as many children as it may; wait for one to end, or raise ``max_children``."""


class TooManyAbandoned(SupervisionError):
    """Threads that were given up have not ended; no more are started until one of them has."""


class SystemClosed(WavebreakError, RuntimeError):
    """The actor system has not been started, or has been closed."""


class SystemFailed(SystemClosed):
    """The system has ended by itself: something under its root was restarted too often."""


class JournalError(WavebreakError, OSError):
    """A journal cannot be opened as it is; the message says what to do about it."""


class JournalLocked(JournalError):
    """Another process, or another system in this one, has the journal open."""


class JournalDamaged(JournalError):
    """A part of the journal is missing or damaged; bring it back, or let it do without."""


class SessionError(WavebreakError):
    """Base of the errors that a session answers with."""


class MessageIdReused(SessionError, ValueError):
    """The message id was used before in this session for another content."""


class MessageRejected(SessionError):
    """A turn runs, and the policy of the message is to be refused then; its id is not used up."""


class UnknownMessage(SessionError, LookupError):
    """The session does not know (any more) a message of that id."""


class AcceptanceUnknown(SessionError):
    """The journal did not say whether it has the message; ask ``session.outcome(message_id)``.

    Args:
        message_id: the id to ask for, or to send again with.
    """

    def __init__(self, message_id: str) -> None:
        super().__init__(
            f"the journal did not confirm message {message_id!r}: ask session.outcome("
            f"{message_id!r}), or send it again with the same message_id"
        )
        self.message_id = message_id


class JournalFull(SessionError):
    """The journal's disk has no room: the message was not accepted; make room, and send again."""


class JournalBusy(SessionError):
    """Too much waits to be written: the message was not accepted; send it again in a moment."""


class SessionFailed(SessionError):
    """The session's journal cannot be read; it takes no messages until it is repaired."""


def corrupt(key: object) -> str:
    """What a :class:`SessionFailed` says to whoever asks something of a session."""
    return (
        f"the journal of session {str(key)!r} is corrupt: repair it, then resume(), or delete() "
        "the session; `wavebreak journal check` tells what is wrong"
    )


class JournalCorrupt(SessionError):
    """A journal found a record of a session that it cannot read, or that is missing."""


class Detached(SessionError):
    """The system was shut down while the outcome was open; it will be known after a restart."""


class WaveInProgress(WavebreakError, RuntimeError):
    """A turn runs one wave or step at a time: await the first before you start the next."""


class TurnOver(WavebreakError, RuntimeError):
    """The turn's agent has ended: what it left behind starts, says and saves nothing any more."""


class CallFailed(WavebreakError):
    """A tool call did not complete.

    The tool's own exception is the ``__cause__`` while it is alive; after a recovery only the
    record is left, so code that must work in both cases reads ``record``.
    """

    def __init__(self, record: CallRecord) -> None:
        super().__init__(_describe(record))
        self.record = record


class OutcomeUnknown(CallFailed):
    """The call was started, is not a read, and nobody saw its end: it may have happened.

    Find out in the foreign system, with ``record.idempotency_key``; ``call.again()`` starts it
    again with the same key.
    """


def _describe(record: CallRecord) -> str:
    why = f": {record.error.type}: {record.error.message}" if record.error else ""
    return f"call {record.call_id} of tool {record.tool!r} ended as {record.status}{why}"


class WaveFailed(ExceptionGroup[CallFailed], WavebreakError):
    """One or more calls of a wave did not complete; their siblings were not disturbed.

    ``records`` has every call of the wave in the order they were given, completed ones too.
    """

    records: Sequence[CallRecord]

    def __new__(cls, records: Sequence[CallRecord], failures: Sequence[CallFailed]) -> Self:
        """Make the group; an exception group takes its arguments here."""
        names = ", ".join(sorted({failure.record.tool for failure in failures}))
        message = f"{len(failures)} of {len(records)} calls did not complete ({names})"
        group = super().__new__(cls, message, failures)
        group.records = records
        return group

    def __init__(self, records: Sequence[CallRecord], failures: Sequence[CallFailed]) -> None:
        # Everything was done in __new__, where an exception group takes its arguments.
        del records, failures

    def derive(self, excs: Sequence[CallFailed]) -> WaveFailed:  # type: ignore[override]
        """Keep ``records`` on the parts that ``split`` and ``except*`` make."""
        return WaveFailed(self.records, excs)


class CancelledException(WavebreakError):
    """A plan was cancelled at a boundary between waves.

    Args:
        message: why, in words.
        partial_results: the results of the calls that had completed, by planned call.
        wave_num: the wave that was not run, from 1.
        cancel_reason: what the token was cancelled for.
    """

    def __init__(
        self,
        message: str,
        partial_results: Mapping[Any, Any] | None = None,
        wave_num: int = 0,
        cancel_reason: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.partial_results: Mapping[Any, Any] = partial_results or {}
        self.wave_num = wave_num
        self.cancel_reason = cancel_reason


class TokenHeld(WavebreakError, RuntimeError):
    """A cancellation token cannot be reset while a turn or a plan runs on it."""


class SubscriberTooSlow(WavebreakError):
    """An event stream was cut off because its reader fell too far behind; subscribe again."""


class MissingExtra(WavebreakError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class TurnInterrupted(BaseException):
    """The turn was told to end at this boundary.

    A ``BaseException``, so that no ``except Exception`` of an agent swallows it. Clean up in
    ``finally`` and let it pass: it is raised again at every later boundary.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Shutdown(BaseException):
    """What an actor raises to end itself in order, in a handler of a tell or an ask.

    A ``BaseException``, so that it ends the actor also when somebody asked, and no
    ``except Exception`` swallows it. To a supervisor it is a normal end.

    Args:
        reason: why, for whoever watches; anything.
    """

    def __init__(self, reason: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
