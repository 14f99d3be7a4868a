"""What can be seen of sessions from outside, at once and without asking them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .machine.view import view_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..messages.ids import SessionKey
    from ..messages.view import SessionView
    from .machine.state import Running, SessionState
    from .reference import LoopActorRef


class ActiveTurn(NamedTuple):
    """A turn that has not ended.

    Args:
        turn: its number.
        active: whether it goes on; False when it was told to stop and is ending.
        created_at: when the first of its messages was accepted, in seconds since the epoch.
    """

    turn: int
    active: bool
    created_at: float


def state_of(ref: LoopActorRef[Any] | None) -> SessionState | None:
    """The state of a session's actor; None if it has ended or is none."""
    actor = None if ref is None else ref._actor  # noqa: SLF001 - one of ours
    return getattr(actor, "state", None)


def seen(ref: LoopActorRef[Any] | None) -> SessionView | None:
    """The session as choosers may see it; None if it has ended."""
    state = state_of(ref)
    return None if state is None else view_of(state)


def active_turns(
    refs: Iterable[tuple[SessionKey, LoopActorRef[Any] | None]],
) -> Iterator[tuple[SessionKey, ActiveTurn]]:
    """The turns that run in these sessions."""
    for key, ref in refs:
        state = state_of(ref)
        if state is not None and state.running is not None:
            yield key, _active(state.running)


def _active(running: Running) -> ActiveTurn:
    began = min((waiting.message.received_at for waiting in running.messages), default=0.0)
    return ActiveTurn(running.number, running.stop is None, began)
