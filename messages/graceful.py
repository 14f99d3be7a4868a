"""What is answered for an operation that was cancelled: one model, for whoever called it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field
from pydantic_core import to_jsonable_python

from .errors import CancelledException
from .events import TurnEnded
from .model import Frozen
from .reasons import Reason, TurnOutcome

if TYPE_CHECKING:
    from .records import PartialResults

_TIMEOUT: Final = "Operation timeout"
_WORDS: Final = {
    "answered": "Done.",
    "cancelled": "I have stopped.",
    "interrupted": "I have stopped, and take up your new request.",
    "timed_out": "This took too long, and I have stopped.",
    "failed": "Something went wrong, and I could not finish this.",
}
_ACTIONS: Final = {
    TurnOutcome.FINISHED: "answered",
    TurnOutcome.INTERRUPTED: "interrupted",
    TurnOutcome.TIMED_OUT: "timed_out",
    TurnOutcome.FAILED: "failed",
    TurnOutcome.ROLLBACK_FAILED: "failed",
}


class GracefulAnswer(Frozen):
    """The answer of an operation that may have been cancelled, in the form of its results so far.

    Args:
        response: what to tell the user.
        action: what became of it: answered, cancelled, interrupted, timed_out or failed.
        reasoning: where it was cancelled and why, for logs and for people.
        cancelled: whether somebody or something stopped it; a failure is none.
        cancel_reason: why; None if it was not cancelled.
        wave_cancelled_at: the wave that was not begun any more, from 1; None if that is not
            known, or nothing was cancelled.
        results: of the calls that had completed, in their JSON form, by tool and place
            (``search#1``).
    """

    response: str
    action: str
    reasoning: str = ""
    cancelled: bool = False
    cancel_reason: str | None = None
    wave_cancelled_at: int | None = None
    results: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(
        cls, source: CancelledException | TurnEnded | PartialResults, *, response: str = ""
    ) -> Self:
        """The answer for how something ended.

        Args:
            source: what ``run_waves`` raised, a turn's end, or what a turn has left.
            response: what to tell the user, instead of the words for it.
        """
        if isinstance(source, CancelledException):
            answer = cls._of_exception(source)
        elif isinstance(source, TurnEnded):
            answer = cls._of_turn(source)
        else:
            answer = cls._of_partial_results(source)
        return answer.model_copy(update={"response": response}) if response else answer

    @classmethod
    def _of_exception(cls, error: CancelledException) -> Self:
        reason = error.cancel_reason or error.message
        return cls._cancelled(
            "timed_out" if reason == _TIMEOUT else "cancelled",
            error.message,
            reason,
            error.wave_num or None,
            {
                planned.name: to_jsonable_python(value, fallback=repr)
                for planned, value in error.partial_results.items()
            },
        )

    @classmethod
    def _of_turn(cls, event: TurnEnded) -> Self:
        if event.reply is not None:
            return cls(response=event.reply.text, action="answered")
        results = _results(event.partial_results)
        action = _ACTIONS.get(event.outcome, "cancelled")
        why = event.detail or str(event.reason)
        if action == "failed":
            return cls._failed(f"turn {event.turn} failed: {why}", results)
        where = "" if event.wave_num is None else f" before wave {event.wave_num}"
        reasoning = f"turn {event.turn} was {event.outcome}{where}: {why}"
        return cls._cancelled(action, reasoning, why, event.wave_num, results)

    @classmethod
    def _of_partial_results(cls, left: PartialResults) -> Self:
        action = _BY_REASON.get(left.reason, "cancelled")
        results = _results(left)
        reasoning = f"the turn did not finish: {left.reason}"
        if action == "failed":
            return cls._failed(reasoning, results)
        return cls._cancelled(action, reasoning, str(left.reason), None, results)

    @classmethod
    def _failed(cls, reasoning: str, results: dict[str, Any]) -> Self:
        words = _words("failed", results)
        return cls(response=words, action="failed", reasoning=reasoning, results=results)

    @classmethod
    def _cancelled(
        cls, action: str, reasoning: str, reason: str, wave: int | None, results: dict[str, Any]
    ) -> Self:
        return cls(
            response=_words(action, results),
            action=action,
            reasoning=reasoning,
            cancelled=True,
            cancel_reason=reason,
            wave_cancelled_at=wave,
            results=results,
        )


_BY_REASON: Final = {
    Reason.SUPERSEDED: "interrupted",
    Reason.DEADLINE: "timed_out",
    Reason.ERROR: "failed",
    Reason.CRASHED: "failed",
}


def _results(left: PartialResults | None) -> dict[str, Any]:
    if left is None:
        return {}
    return {f"{call.tool}#{place}": call.result for place, call in enumerate(left.completed, 1)}


def _words(action: str, results: dict[str, Any]) -> str:
    words = _WORDS[action]
    if not results:
        return words
    done = ", ".join(dict.fromkeys(name.partition("#")[0] for name in results))
    return f"{words} What was done until then: {done}."
