"""What an unfinished turn leaves to the next one; its calls are made when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..messages.events import Said
from ..messages.records import PartialResults
from .ledger import answers, is_unused, records_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messages.message import Reply
    from ..messages.reasons import Reason
    from ..messages.records import CallRecord
    from .machine.state import Running


def partial_results(
    running: Running, previous: PartialResults | None, reason: Reason, draft: Reply | None
) -> PartialResults:
    """What an unfinished turn leaves to the next one, on top of the chain before it.

    Args:
        running: the turn.
        previous: what the chain before it left.
        reason: why it ends.
        draft: the reply that it would have given.
    """
    before = _NOTHING if previous is None else previous
    log, saved = running.log, running.saved
    said = [one.text for one in log if not isinstance(one, bytes) and isinstance(one, Said)]
    left: dict[str, Any] = {
        "calls": before.calls,
        "said": (*before.said, *said),
        "draft": draft or before.draft,
        "state": before.state if saved is None else saved,
        "reason": reason,
    }
    if not log:
        return PartialResults.trusted(left)
    left[_RUNNING] = running
    return _Unseen.trusted(left)


_NOTHING: Final = PartialResults()
_RUNNING: Final = "_running"


class _Unseen(PartialResults):
    """Partial results that nobody has looked at: what is asked of them first makes them whole.

    To make records of all that a turn has logged takes longer than the rest of what is decided
    when it is interrupted, and the user waits for that. Once whole they are of the class that
    they are meant to be, and nothing tells them from those that were made at once.
    """

    if not TYPE_CHECKING:  # it would take every name for a field

        def __getattribute__(self, name: str) -> Any:
            fields = object.__getattribute__(self, "__dict__")
            running = fields.get(_RUNNING)
            if running is not None:
                # In one go: a program may look at them in several threads.
                whole = {**fields, "calls": _with_calls_of(running, fields["calls"])}
                del whole[_RUNNING]
                object.__setattr__(self, "__dict__", whole)
            object.__setattr__(self, "__class__", PartialResults)
            return getattr(self, name)


def _with_calls_of(running: Running, before: Iterable[CallRecord]) -> tuple[CallRecord, ...]:
    """The calls of a turn on top of those before it.

    A call that was answered from an earlier one is left out where that one is there already: each
    completed call answers once, however often it was passed on. Of an unknown one that was
    answered late, the result is kept.
    """
    records = records_of(running.log, running.senders)
    if running.completions is not None:
        return (*before, *records)  # none was answered from another
    calls = {record.origin: record for record in before}
    for record in records:
        origin = record.origin
        kept = calls.get(origin)
        if kept is None:
            if not is_unused(record):
                calls[origin] = record
        elif answers(record) and not answers(kept):
            end = {"status": record.status, "result": record.result, "error": None}
            calls[origin] = kept.model_copy(update={**end, "ended_at": record.ended_at})
    return tuple(calls.values())
