"""A run as people read it: what happened, when, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...messages.entries import Progressed
from ...messages.events import (
    CompensationStarted,
    Event,
    MessageEnded,
    RollbackRefused,
    Said,
    SessionOpened,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
)
from ...messages.policies import Now, Rollback
from .script import INJECTIONS, Inject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...messages.message import Delivery
    from ...messages.policies import How
    from ...messages.records import CallDone, CallStarted
    from .facts import Facts, Mark, Ran, Sent

LINES = 15
"""Lines of a timeline at most."""

WIDTH = 96
"""Characters of a line at most."""


def timeline(facts: Facts) -> list[str]:
    """What happened, in at most 15 lines; the last one says which promise was broken."""
    teller = _Teller(facts)
    lines: list[tuple[float, str]] = []
    for mark in facts.marks[: facts.told]:
        for text in teller.tell(mark):
            if lines and lines[-1][0] == mark.at and _may_join(lines[-1][1], text):
                lines[-1] = (mark.at, f"{lines[-1][1]}; {text}")
            else:
                lines.append((mark.at, text))
    start = facts.marks[0].at if facts.marks else 0.0
    told = [_cut(f"{at - start:8.3f}  {text}") for at, text in lines]
    end = [f"  BROKEN  {one.promise}: {one.words}" for one in facts.broken[:1]]
    return [*_shortened(told, LINES - len(end)), *end]


def course(facts: Facts) -> list[str]:
    """All that happened, and when: equal for runs that took the same course."""
    teller = _Teller(facts)
    told = [f"{mark.at} {text}" for mark in facts.marks for text in teller.tell(mark)]
    return [*told, *(str(one) for one in facts.broken), f"{facts.steps} steps"]


def _may_join(before: str, text: str) -> bool:
    return (
        not (before.startswith(">>") or text.startswith(">>")) and len(before + text) < WIDTH - 14
    )


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def _shortened(lines: list[str], most: int) -> list[str]:
    """The lines, without some of the middle; what was injected stays."""
    if len(lines) <= most:
        return lines
    important = [place for place, line in enumerate(lines) if ">>" in line[8:13]][:4]
    kept = {0, 1, *important}
    for place in range(len(lines) - 1, 0, -1):
        if len(kept) >= most - 1:
            break
        kept.add(place)
    shown: list[str] = []
    left_out = False
    for place, line in enumerate(lines):
        if place in kept:
            shown.append(line)
        elif not left_out:
            left_out = True
            shown.append(f"          ({len(lines) - len(kept)} lines are left out)")
    return shown[:most]


class _Teller:
    """Puts marks into words; knows what it has said before."""

    def __init__(self, facts: Facts) -> None:
        self._texts = {sent.id: sent.text for sent in facts.sent}
        self._calls: dict[str, CallStarted] = {}
        self._told: set[str] = set()

    def tell(self, mark: Mark) -> Iterator[str]:
        """The words for one mark; none for what would only be in the way."""
        what = mark.what
        match mark.kind:
            case "sent":
                yield self._sent(what)
            case "refused":
                yield f"{what.text!r} is refused: {what.error}"
            case "stop":
                yield f"the user stops the turn ({_how(what)})"
            case "inject":
                yield self._injected(what)
            case "raised":
                yield f"the agent of turn {what.turn} raises {what.where}"
            case "life":
                yield f">> {what}"
            case "ran":
                yield self._ran(what)
            case "delivered":
                yield self._delivered(what)
            case "entry":
                yield from self._entry(what)
            case _:
                yield f"{mark.kind} {what}"

    def _sent(self, sent: Sent) -> str:
        policy = f" ({type(sent.policy).__name__})" if sent.policy is not None else ""
        return f"the user writes {sent.text!r}{policy}"

    def _injected(self, inject: Inject) -> str:
        return f">> {INJECTIONS[inject.what]}, at {inject.at}"

    def _ran(self, ran: Ran) -> str:
        again = " again" if f"{ran!r}" in self._told else ""
        self._told.add(f"{ran!r}")
        return f"{ran!r} runs{again}"

    def _delivered(self, delivery: Delivery) -> str:
        return f"the user reads {_short(delivery.reply.text)} of turn {delivery.turn}"

    def _entry(self, entry: Any) -> Iterator[str]:
        if isinstance(entry, Progressed):
            yield from self._progressed(entry)
        elif isinstance(entry, Event):
            text = self._event(entry)
            if text:
                yield text

    def _progressed(self, entry: Progressed) -> Iterator[str]:
        if entry.done:
            late = "late: " if entry.is_late else ""
            yield late + ", ".join(self._done(done) for done in entry.done)
        if entry.wave:
            self._calls.update({call.call_id: call for call in entry.calls})
            answered = [call for call in entry.calls if call.answered_from is not None]
            names = ", ".join(call.tool for call in entry.calls)
            known = f", answered: {', '.join(c.tool for c in answered)}" if answered else ""
            yield f"wave {entry.wave} of turn {entry.fence.turn} begins: {names}{known}"

    def _done(self, done: CallDone) -> str:
        call = self._calls.get(done.call_id)
        words = ", ".join(f"{value!r}" for value in call.arguments.values()) if call else ""
        return f"{done.tool}({words}) {done.status.value}"

    def _event(self, event: Event) -> str:
        match event:
            case SessionOpened():
                return "" if event.epoch == 1 else f"the session takes over (epoch {event.epoch})"
            case StopRequested():
                turn = f"turn {event.turn}" if event.turn is not None else "no turn"
                return f"{turn} is told to stop ({event.reason.value}, {_how(event.how)})"
            case MessageEnded():
                text = self._texts.get(event.message_id, event.message_id)
                return f"{text!r} {event.status.value}"
            case Said():
                return f"turn {event.turn} says {_short(event.text)}"
            case _:
                return self._of_turn(event)

    def _of_turn(self, event: Event) -> str:
        match event:
            case TurnStarted():
                names = ", ".join(repr(self._texts.get(id_, id_)) for id_ in event.message_ids)
                return f"turn {event.turn} starts with {names}"
            case TurnRestarted():
                return f"turn {event.turn} restarts, attempt {event.attempt}"
            case TurnEnded():
                why = f" ({event.reason.value})" if event.reason is not None else ""
                return f"turn {event.turn} ends as {event.outcome.value}{why}"
            case CompensationStarted():
                return f"call {event.call_id} of {event.tool} is undone"
            case RollbackRefused():
                return f"the rollback is refused: {event.detail}"
            case _:
                return ""


def _how(how: How | Rollback) -> str:
    if isinstance(how, Rollback):
        return "to be undone"
    return "now" if isinstance(how, Now) else "after its wave"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004 - a short line
