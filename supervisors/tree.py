"""The tree of a system as data: who runs under whom, for dashboards and for the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..actors.actor import Lifecycle
from ..actors.reference import LoopActorRef
from ..messages.model import Frozen
from .children import ChildState
from .door import actor_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pykka

    from .children import Child
    from .door import Cell
    from .root import Kept
    from .runtimes import Child as RuntimeChild


class NodeKind(StrEnum):
    """What stands at a place of the tree."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"
    SESSION = "session"
    RUNTIME = "runtime"
    JOURNAL = "journal"
    """The writer of a journal that outlives the process; ``count`` is how many entries wait."""
    THREADS = "threads"
    """The pool in which blocking tools run; ``count`` is how many threads are at work."""


class NodeState(StrEnum):
    """What it is at."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    """It ended, and is about to be started again."""
    ABANDONED = "abandoned"
    """Nobody waits for it any more, and it has not ended."""
    DOWN = "down"
    """It ended for good, or until somebody starts it."""


class TreeNode(Frozen):
    """One place of the tree, as it was at one moment.

    Args:
        id: its name among its siblings.
        kind: what stands there.
        state: what it is at.
        detail: of a session its status in the table, of a runtime its turn and attempt, of the
            threads how many are at calls that were given up, of the journal why it is not written.
        restarts: how often it was started again.
        ref: the urn of the actor; empty when there is none.
        count: how many children it has in all.
        children: those that are listed: of sessions, runtimes and pools as many as were asked for.
    """

    id: str
    kind: NodeKind
    state: NodeState
    detail: str = ""
    restarts: int = 0
    ref: str = ""
    count: int = 0
    children: tuple[TreeNode, ...] = ()


class Draughtsman:
    """Draws the tree; it only looks, so it can at any moment, also while the system closes.

    Args:
        kept: sessions, runtimes and deliveries.
        limit: how many sessions, runtimes and children of each pool are listed; None for all.
    """

    def __init__(self, kept: Kept, limit: int | None) -> None:
        self._kept = kept
        self._limit = limit

    def supervisor(self, name: str, ref: pykka.ActorRef[Any], restarts: int = 0) -> TreeNode:
        """A supervisor, with all that is under it."""
        actor = ref._actor if isinstance(ref, LoopActorRef) else None  # noqa: SLF001
        everyone: list[Child] = [] if actor is None else actor.everyone
        listed = self._some(everyone) if actor is not None and actor.is_pool else everyone
        children = tuple(self._child(child) for child in listed)
        return TreeNode(
            id=name,
            kind=NodeKind.SUPERVISOR,
            state=_state_of(ref),
            restarts=restarts,
            ref=ref.actor_urn,
            count=len(everyone),
            children=children,
        )

    def _child(self, child: Child) -> TreeNode:
        name, life = str(child.spec.id), child.life
        again = max(0, child.starts - 1)
        if life is None or child.state is not ChildState.RUNNING:
            kind = NodeKind.SUPERVISOR if child.supervisor else NodeKind.WORKER
            state = _STATES[child.state] if life is None else NodeState.STOPPING
            return TreeNode(id=name, kind=kind, state=state, restarts=again)
        if child.supervisor:
            return self.supervisor(name, life.ref, again)
        count, children = self._of_ours(life.ref)
        return TreeNode(
            id=name,
            kind=NodeKind.WORKER,
            state=_state_of(life.ref),
            restarts=again,
            ref=life.ref.actor_urn,
            count=count,
            children=children,
        )

    def _of_ours(self, ref: pykka.ActorRef[Any]) -> tuple[int, tuple[TreeNode, ...]]:
        """What the actors look after that sessions are made of."""
        door, runtimes, outbound = self._kept
        if door.place.is_taken_by(ref):
            cells = [*door.cells.values(), *door.leaving.values()]
            return len(cells), tuple(map(_session, self._some(cells)))
        if runtimes.place.is_taken_by(ref):
            all_ = [*runtimes.children.values(), *runtimes.abandoned]
            gone = runtimes.abandoned
            return len(all_), tuple(_runtime(one, one in gone) for one in self._some(all_))
        if outbound.place.is_taken_by(ref):
            return len(outbound.queues), ()
        return 0, ()

    def _some(self, everyone: list[Any]) -> Iterable[Any]:
        return everyone if self._limit is None else everyone[: self._limit]


def _session(cell: Cell) -> TreeNode:
    actor, ref = actor_of(cell), cell.ref
    if ref is not None:
        state = _state_of(ref)
    else:
        state = NodeState.STARTING if cell.timer is None else NodeState.RESTARTING
    return TreeNode(
        id=str(cell.key),
        kind=NodeKind.SESSION,
        state=state,
        detail="" if actor is None else str(actor.state.status),
        restarts=cell.restarts,
        ref="" if ref is None else ref.actor_urn,
    )


def _runtime(child: RuntimeChild, is_abandoned: bool) -> TreeNode:
    given, runtime = child.given, child.runtime
    ref = None if runtime is None else runtime._actor_own_ref  # noqa: SLF001
    state = NodeState.RESTARTING if runtime is None else NodeState.RUNNING
    return TreeNode(
        id=str(child.key),
        kind=NodeKind.RUNTIME,
        state=NodeState.ABANDONED if is_abandoned else state,
        detail=f"turn {given.number}, attempt {given.attempt}",
        restarts=given.attempt - 1,
        ref="" if ref is None else ref.actor_urn,
    )


_STATES = {
    ChildState.RUNNING: NodeState.STARTING,
    ChildState.RESTARTING: NodeState.RESTARTING,
    ChildState.DOWN: NodeState.DOWN,
}
"""Of a child that has no life."""


def _state_of(ref: pykka.ActorRef[Any]) -> NodeState:
    if not isinstance(ref, LoopActorRef):
        return NodeState.RUNNING if ref.is_alive() else NodeState.STOPPING
    if ref.exit is not None:
        return NodeState.DOWN
    actor = ref._actor  # noqa: SLF001 - one of ours
    lifecycle = Lifecycle.STOPPED if actor is None else actor.lifecycle
    return _LIVES.get(lifecycle, NodeState.STOPPING)


_LIVES = {
    Lifecycle.NEW: NodeState.STARTING,
    Lifecycle.STARTING: NodeState.STARTING,
    Lifecycle.RUNNING: NodeState.RUNNING,
}
