"""Stopping many sessions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages.errors import InvalidMessage
from ..messages.reasons import Backlog
from .backlog_requests import StopIf
from .future import Future
from .mailbox import Envelope, Lane
from .sending import stop_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Protocol

    from ..messages.ids import SessionKey
    from ..messages.policies import How
    from ..messages.view import SessionView
    from .gate import Gate
    from .requests import StopResult

    class Doors(Gate, Protocol):
        """What stopping many needs of the system."""

        @property
        def cells(self) -> Mapping[SessionKey, Any]:
            """The sessions that are alive."""
            ...


def stop_if(
    gate: Gate,
    key: SessionKey,
    predicate: Callable[[SessionView], bool],
    how: How,
    reason: str,
) -> Future[StopResult | None]:
    """Ask a session to stop if ``predicate`` holds of it when it handles that; None if not."""
    answer: Future[Any] = Future(gate.loop)
    request = stop_request(key, how, Backlog.KEEP, reason, answer)
    gate.put(key, Envelope(StopIf(predicate, request, answer)), Lane.CONTROL)
    return answer


def stop_many(
    door: Doors,
    predicate: Callable[[SessionView], bool],
    how: How,
    backlog: str,
    reason: str,
) -> Future[dict[SessionKey, StopResult]]:
    """Ask every session to stop if ``predicate`` holds of it, and gather what came of it."""
    if not callable(predicate):
        msg = f"predicate={predicate!r}: give a function of a SessionView that says True or False"
        raise InvalidMessage(msg)
    wishes: list[tuple[SessionKey, StopIf]] = []
    for key in tuple(door.cells):
        answer: Future[Any] = Future(door.loop)
        request = stop_request(key, how, backlog, reason, answer)
        wishes.append((key, StopIf(predicate, request, answer)))
    for key, wish in wishes:
        door.put(key, Envelope(wish), Lane.CONTROL)
    keys = [key for key, _ in wishes]

    def of_each(results: Iterable[StopResult | None]) -> dict[SessionKey, StopResult]:
        pairs = zip(keys, list(results)[1:], strict=True)
        return {key: result for key, result in pairs if result is not None}

    # A future is joined with others: here one that nothing is asked of.
    nobody: Future[Any] = Future.completed(None, door.loop)
    return nobody.join(*(wish.answer for _, wish in wishes)).map(of_each)
