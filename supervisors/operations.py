"""What may be asked of a supervisor by hand, and by which errors it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from ..messages.errors import (
    ChildAlreadyPresent,
    ChildAlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    InvalidChildSpec,
    NotInPool,
    PoolFull,
)
from .children import Child, ChildCount, ChildInfo, ChildState
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .child_spec import ChildSpec, Started


class Operations:
    """The operations of a supervisor; ``SupervisorRef`` says what they do.

    They run as messages of its mailbox, one after the other.
    """

    _children: dict[Any, Child]
    _template: Child | None
    _settings: Settings

    if TYPE_CHECKING:

        async def _start(self, child: Child) -> Started: ...
        async def _stop_now(self, children: Sequence[Child], patience: float | str) -> None: ...
        def _remove(self, child: Child) -> None: ...

    async def start_child(self, *args: Any, **kwargs: Any) -> Started:
        """Start one more child."""
        if self._template is not None:
            return await self._start_in_pool(self._template, args, kwargs)
        if len(args) != 1 or kwargs:
            raise InvalidChildSpec(f"start_child{args!r}: it takes one ChildSpec, and nothing else")
        spec = self._settings.check_child(args[0])
        before = self._children.get(spec.id)
        if before is not None:
            if before.state is ChildState.RUNNING and before.life is not None:
                raise ChildAlreadyStarted(spec.id, before.life.ref)
            raise ChildAlreadyPresent(
                f"child {spec.id!r} is there and is {before.state}: restart_child() starts it,"
                " delete_child() makes room for another"
            )
        child = Child(spec)
        # What did not start leaves nothing, and nothing can come between: it is one message.
        self._children[spec.id] = child
        try:
            return await self._start(child)
        except BaseException:
            self._remove(child)
            raise

    async def _start_in_pool(
        self, template: Child, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Started:
        bound = self._settings.max_children
        if bound is not None and len(self._children) >= bound:
            raise PoolFull(f"{bound} children are there already, as many as max_children allows")
        return await self._start(Child(template.spec, args, kwargs))

    async def restart_child(self, child_id: Any) -> Started:
        """Start a child again that is down."""
        return await self._start(self._down_child(child_id, "restart_child"))

    @property
    def everyone(self) -> list[Child]:
        """What is known of all children; by one operation, so that any thread may look."""
        return list(self._children.values())

    @property
    def is_pool(self) -> bool:
        """Whether its children are told apart by their references only."""
        return self._template is not None

    def find(self, child_id: Any) -> Child | None:
        """What is known of a child, on the loop's thread, whatever it is at."""
        return self._children.get(child_id)

    async def delete_child(self, child_id: Any) -> None:
        """Forget a child that is down."""
        self._remove(self._down_child(child_id, "delete_child"))

    async def terminate_child(self, child_id: Any) -> None:
        """Stop a child, or its restart."""
        child = self._children.get(child_id)
        if child is None:
            self._refuse_unknown(child_id)
            return
        await self._stop_now([child], child.patience)

    def _refuse_unknown(self, child_id: Any) -> None:
        """A pool forgets who has ended, so such a one is no error."""
        if self._template is not None:
            if not isinstance(child_id, pykka.ActorRef):
                raise NotInPool(f"terminate_child({child_id!r}): in a pool it takes a reference")
            if not child_id.is_alive():
                return
        raise ChildNotFound(_unknown(child_id))

    def _down_child(self, child_id: Any, what: str) -> Child:
        if self._template is not None:
            raise NotInPool(f"{what}({child_id!r}): a pool only starts and terminates children")
        child = self._children.get(child_id)
        if child is None:
            raise ChildNotFound(_unknown(child_id))
        if child.state is ChildState.RUNNING:
            raise ChildRunning(f"child {child_id!r} runs: terminate_child() it before {what}()")
        if child.state is ChildState.RESTARTING:
            raise ChildRestarting(
                f"child {child_id!r} is about to be started again: terminate_child() it before"
                f" {what}()"
            )
        return child

    def child_spec(self, child_id: Any) -> ChildSpec:
        """Give a child's spec."""
        child = self._children.get(child_id)
        if child is None and self._template is not None and child_id == self._template.spec.id:
            child = self._template
        if child is None:
            raise ChildNotFound(_unknown(child_id))
        return child.spec

    def which_children(self) -> list[ChildInfo]:
        """Tell of each child."""
        pool = self._template is not None
        return [child.info(None if pool else child.spec.id) for child in self._children.values()]

    def count_children(self) -> ChildCount:
        """Count them."""
        everyone = self._children.values()
        supervisors = sum(child.supervisor for child in everyone)
        return ChildCount(
            specs=len(everyone) if self._template is None else 1,
            active=sum(_is_active(child) for child in everyone),
            supervisors=supervisors,
            workers=len(everyone) - supervisors,
        )


def _is_active(child: Child) -> bool:
    life = child.life
    return child.state is ChildState.RUNNING and life is not None and life.ended is None


def _unknown(child_id: Any) -> str:
    return f"no child {child_id!r} is here: which_children() says who is"
