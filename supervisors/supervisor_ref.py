"""The reference to a supervisor: its operations, from any thread, and its reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from loguru import logger
from pykka.messages import ProxyCall

from ..actors.future import Future
from ..actors.reference import LoopActorRef
from .watch import when_started

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.mailbox import Mailbox
    from .child_spec import ChildSpec
    from .children import ChildCount, ChildInfo, Report
    from .supervisor import Supervisor

S = TypeVar("S", bound="Supervisor")


class SupervisorRef(LoopActorRef[S]):
    """What others hold of a supervisor.

    Each operation gives a future: ``await`` it, or ``get()`` it on another thread. They are done
    one after the other, in the order in which they were called.
    """

    __slots__ = ("_subscribers",)

    def __init__(self, actor: S, mailbox: Mailbox) -> None:
        super().__init__(actor, mailbox)
        self._subscribers: tuple[Callable[[Report], object], ...] = ()

    def started(self) -> Future[None]:
        """Done when all children of the start have started.

        Fails with ``ChildStartFailed`` when one has not: those before it were stopped again.
        """
        return when_started(self)

    def start_child(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start one more child, and keep it.

        Args:
            args: one ``ChildSpec``; for a pool what its start is called with besides its own.
            kwargs: for a pool what its start is called with besides its own.

        Returns:
            a future of what the start gave: the reference, if it was a class. It fails with
            ``ChildStartFailed``, and nothing is left; with ``ChildAlreadyStarted`` or
            ``ChildAlreadyPresent`` for an id that is taken; with ``InvalidChildSpec``,
            ``PoolFull`` or ``TooManyAbandoned``.
        """
        return self._call("start_child", *args, **kwargs)

    def restart_child(self, child_id: Any) -> Future[Any]:
        """Start a child again that is down; a manual start costs nothing of the budget.

        Returns:
            a future of what the start gave; ``ChildNotFound``, ``ChildRunning``,
            ``ChildRestarting``, ``ChildStartFailed``, or ``NotInPool``.
        """
        return self._call("restart_child", child_id)

    def terminate_child(self, child_id: Any) -> Future[None]:
        """Stop a child, or its restart; the spec stays, unless it is temporary.

        Args:
            child_id: its id; in a pool its reference.

        Returns:
            a future that is done when it has ended, also when it had before; ``ChildNotFound``,
            or ``NotInPool`` for a pool and an id.
        """
        return self._call("terminate_child", child_id)

    def delete_child(self, child_id: Any) -> Future[None]:
        """Forget a child that is down.

        Returns:
            a future; ``ChildNotFound``, ``ChildRunning``, ``ChildRestarting`` or ``NotInPool``.
        """
        return self._call("delete_child", child_id)

    def child_spec(self, child_id: Any) -> Future[ChildSpec]:
        """The spec of a child, or of a pool; ``ChildNotFound`` if there is none."""
        return self._call("child_spec", child_id)

    def which_children(self) -> Future[list[ChildInfo]]:
        """All children, in the order of their start."""
        return self._call("which_children")

    def count_children(self) -> Future[ChildCount]:
        """How many there are, of which kind."""
        return self._call("count_children")

    def subscribe(self, callback: Callable[[Report], object]) -> Callable[[], None]:
        """Be told of every end, failed start and failed ask of a child.

        Args:
            callback: called on the supervisor's loop; what it raises is logged, no more.

        Returns:
            a function to be told no more.
        """
        with self._lock:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(one for one in self._subscribers if one is not callback)

        return unsubscribe

    def report(self, report: Report) -> None:
        """Tell those who subscribed; the supervisor does."""
        for callback in self._subscribers:
            try:
                callback(report)
            except BaseException as error:  # noqa: BLE001 - it must not end the supervisor
                logger.opt(exception=error).error("a subscriber failed: {!r}", callback)

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._request(ProxyCall(attr_path=(name,), args=args, kwargs=kwargs))
