"""One call of a wave: what the session is told of its beginning and its end."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from ..messages.errors import WavebreakError
from ..messages.reasons import CallStatus, Effect
from ..messages.records import CallDone, CallError, CallRecord, CallStarted
from ..tools.execution import CallEnd, Prepared

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

    from ..journal.base import Commit
    from ..messages.ids import CallId

_new = tuple[Any, ...].__new__  # 70 ns instead of the 150 ns of a named tuple's own, twice a call


class WaveCall(Prepared):
    """A call of a session's wave.

    Set right after it was made: ``origin``, the call whose result answers it, which is then not
    started.
    """

    __slots__ = ("origin",)

    origin: CallId | None

    def started(self) -> CallStarted:
        """Its beginning; made again when it is needed again, rather than kept while it runs."""
        call, tool = self.call, self.tool
        return _new(
            CallStarted,
            (
                self.call_id,
                tool.name,
                tool.version,
                call.json_arguments,
                tool.effect,
                tool.protected,
                tool.timeout,
                tool.carry,
                self.idempotency_key,
                self.origin,
                tool.compensation is not None,
                None if tool.same_as is None else call.same_as,
            ),
        )

    def done(self, end: CallEnd, late: bool = False) -> CallDone:
        """Its end; ``late`` if nobody waits for that any more."""
        status, _, result, error, _ = end
        name, origin = self.tool.name, self.origin
        values = (self.wave, self.call_id, name, status, result, error, origin, late)
        return _new(CallDone, values)

    def answer_by(self, record: CallRecord, turn: int) -> bool:
        """Have it end as an equal call did; False when what that returned is good no longer.

        Args:
            record: of that call.
            turn: the running turn.
        """
        end = self._restored(record, turn)
        if end is None:
            return False
        self.end = end
        self.origin = record.origin
        # Its key is that of the call that was made: by it, one can ask what became of that.
        self.idempotency_key = record.idempotency_key
        return True

    def _restored(self, record: CallRecord, turn: int) -> CallEnd | None:
        if record.status is not CallStatus.COMPLETED:
            return CallEnd(record.status, None, None, record.error, None)
        try:
            value = self.tool.restore(record.result)
        except WavebreakError as error:
            if record.turn != turn or record.effect is Effect.READ:
                return None
            # It was done in this turn and must not be done again; its result is lost to new code.
            what = CallError(type=type(error).__name__, message=str(error))
            return CallEnd(CallStatus.FAILED, None, None, what, error)
        return CallEnd(CallStatus.COMPLETED, value, record.result, None, None)


class CommitGate:
    """Open when a commit is done, and broken when that has failed; for the calls of one wave.

    They begin in one go, one after the other: a future calls each back in a turn of its own.

    Args:
        commit: of the wave's beginning.
        loop: where they begin.
    """

    __slots__ = ("_commit", "_loop", "_waiting")

    def __init__(self, commit: Commit, loop: asyncio.AbstractEventLoop) -> None:
        self._commit = commit
        self._loop = loop
        self._waiting: list[Callable[[CommitGate], object]] = []

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._commit.done

    def cancelled(self) -> bool:
        """It is not."""
        return False

    def exception(self) -> Exception | None:
        """Why the calls must not begin."""
        return self._commit.error

    def add_done_callback(self, callback: Callable[[CommitGate], object]) -> None:
        """Call ``callback`` with this gate in a turn of the loop after it was opened."""
        self._waiting.append(callback)
        if len(self._waiting) == 1:
            self._commit.add_done_callback(partial(self._opened, copy_context()))

    def _opened(self, context: Context, _commit: Commit) -> None:
        # Others wait for the same commit, and what may leave goes before what begins.
        self._loop.call_soon(self._begin, context=context)

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback(self)
