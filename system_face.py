"""What a program asks of a running system: its sessions, its deliveries, what runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pykka

from .actors.counters import Counters
from .actors.delivery_stream import DeliveryStream, Settle, Verdict, settle
from .actors.future import Future
from .actors.handing_out import Handout
from .actors.hub import EventHub
from .actors.outbound import DeliveryRules
from .actors.requests import StopResult
from .actors.sending import check_key, check_policy
from .actors.session_face import Session
from .actors.sight import ActiveTurn, active_turns, seen
from .actors.stop_many import stop_if, stop_many
from .journal.base import WrittenJournal
from .messages.errors import InvalidSetting, SystemClosed, SystemFailed
from .messages.ids import DeliveryId, SessionKey
from .messages.message import SessionMessage
from .messages.policies import AfterWave, Now
from .messages.reasons import Backlog
from .messages.text import check_id
from .settings import check, is_more
from .supervisors.bulletin import Bulletin
from .supervisors.root import Root
from .supervisors.tree import NodeKind, NodeState, TreeNode
from .tools.dependencies import Dependencies
from .tools.threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager

    from .actors.hub import EventStream
    from .journal.base import Journal
    from .messages.dead_letters import DeadLetter
    from .messages.events import Event
    from .messages.message import Delivery
    from .messages.policies import Chooser, How, Policy
    from .messages.view import SessionView
    from .supervisors.children import Report
    from .supervisors.supervisor_ref import SupervisorRef

E = TypeVar("E", bound="Event")


class SystemFace:
    """The face of a system; :class:`ActorSystem` is what makes, starts and ends one."""

    _bulletin: Bulletin
    _counters: Counters
    _deliver: Callable[[Delivery], Awaitable[None]] | Literal["pull"] | None
    _delivery_rules: DeliveryRules
    _dependencies: Dependencies
    _ended_by_itself: SystemFailed | None
    _hub: EventHub
    _journal: Journal
    _new_id: Callable[[], str]
    _subscribe: Callable[[SessionKey | None], EventStream]
    _threads: WorkerThreads | None
    _tree: Root | None
    _types: frozenset[type[SessionMessage]]

    def _running(self) -> Root:
        if self._tree is None:
            raise self._ended_by_itself or SystemClosed(
                "the system does not run: use it within `async with` or `with`"
            )
        return self._tree

    # --- the face ---

    def session(
        self, session_id: str, *, tenant: str = "", policy: Policy | Chooser | None = None
    ) -> Session:
        """A handle of one conversation; it begins with its first message.

        Args:
            session_id: names the conversation, within its tenant.
            tenant: whose it is.
            policy: of messages that are sent by this handle and bring none; or what chooses it.

        Raises:
            InvalidMessage: the id is empty, or one of the two is no text.
            SystemClosed: the system does not run.
        """
        check_key(session_id, tenant)
        if policy is not None:
            check_policy(policy)
        key, door = SessionKey(tenant, session_id), self._running().door
        return Session(key, door, self._new_id, self._subscribe, self._types, policy=policy)

    def deliveries(self, *, lease: float | None = None, prefetch: int = 32) -> DeliveryStream:
        """Replies, and words said, for a channel that asks for them: ``deliver="pull"``.

        Each is handed to one of those who ask, at least once, in order for each session: the next
        one of a session when the one before was acknowledged or given up.

        Args:
            lease: seconds after which a delivery that nobody has answered for is handed out again,
                ``math.inf`` for never; ``deliver_timeout`` by default.
            prefetch: deliveries that may be held by this stream at the same time.

        Raises:
            InvalidSetting: the system has another ``deliver``, or an argument cannot be used.
            SystemClosed: the system does not run.
        """
        outbound = self._pulled()
        seconds = self._delivery_rules.timeout if lease is None else lease
        check(is_more(seconds, endless=True), "lease", lease, "more than 0 seconds")
        whole = isinstance(prefetch, int) and is_more(prefetch)
        check(whole, "prefetch", prefetch, "1 or more")
        return DeliveryStream(outbound.place, seconds, prefetch)

    def acknowledge(self, delivery_id: str) -> Future[bool]:
        """A delivery has reached its user, says somebody who knows only its id.

        As :meth:`HeldDelivery.ack`, for channels that confirm later; give those a long ``lease``.

        Returns:
            whether it counts; not if it has ended, or is not on its way here (yet).

        Raises:
            InvalidMessage: the id is empty, or no text.
            InvalidSetting: the system has another ``deliver``.
            SystemClosed: the system does not run.
        """
        check_id("delivery_id", delivery_id)
        place, id_ = self._pulled().place, DeliveryId(delivery_id)
        answer: Future[bool] = Future(place.mailbox.loop)
        return settle(place, Settle(id_, None, Verdict.TAKEN, "", None, answer))

    def _pulled(self) -> Handout:
        outbound = self._running().outbound
        if not isinstance(outbound, Handout):
            has = "no deliver" if self._deliver is None else f"deliver={self._deliver!r}"
            msg = (
                f"the system has {has}, so that nobody can ask for its deliveries: "
                "ActorSystem(..., deliver='pull') hands them out"
            )
            raise InvalidSetting(msg)
        return outbound

    def stop_many(
        self,
        predicate: Callable[[SessionView], bool],
        *,
        how: How = AfterWave(),  # noqa: B008 - immutable
        backlog: Backlog | Literal["keep", "park", "drop"] = Backlog.KEEP,
        reason: str = "",
    ) -> Future[dict[SessionKey, StopResult]]:
        """Stop every live session of which ``predicate`` holds; done when their turns have ended.

        Args:
            predicate: asked of each session when it handles the stop; what it raises is raised
                to who waits, and stops that session not.
            how: after their waves, or now.
            backlog: what becomes of the messages that wait, as in :meth:`Session.stop`.
            reason: in words.

        Returns:
            what the stop came to, for each session that was stopped.

        Raises:
            InvalidMessage: an argument cannot be used.
            SystemClosed: the system does not run.
        """
        return stop_many(self._running().door, predicate, how, backlog, reason)

    @property
    def journal(self) -> Journal:
        """Where sessions write down what happened."""
        return self._journal

    @property
    def is_running(self) -> bool:
        """Whether the system takes messages."""
        return self._tree is not None and not self._tree.door.closed

    @property
    def subscribers(self) -> int:
        """How many event streams are open."""
        return self._hub.subscribers

    def view(self, session_id: str, *, tenant: str = "") -> SessionView | None:
        """A session that is in memory as it is now, at once; on the loop's thread.

        What it says may not be durable yet; ``session.look()`` waits for that.

        Returns:
            None if the session is not in memory: it rests in the journal, or there is none.

        Raises:
            SystemClosed: the system does not run.
        """
        cell = self._running().door.cells.get(SessionKey(tenant, session_id))
        return None if cell is None else seen(cell.ref)

    def active_turns(self) -> dict[SessionKey, ActiveTurn]:
        """The turns that have not ended, by their sessions; on the loop's thread.

        Raises:
            SystemClosed: the system does not run.
        """
        cells = tuple(self._running().door.cells.items())
        return dict(active_turns((key, cell.ref) for key, cell in cells))

    def sweep(self, *, tenant: str | None = None) -> list[SessionKey]:
        """Let all sessions go that are at rest, without waiting until they were so for long.

        They are in the journal, and come back with their next message. On the loop's thread.

        Args:
            tenant: of this tenant, or of all.

        Returns:
            those that were let go.

        Raises:
            SystemClosed: the system does not run.
        """
        directory = self._running().door.place.actor
        return [] if directory is None else directory.sweep(tenant)

    def cancel_active(
        self,
        session_id: str,
        *,
        tenant: str = "",
        how: How = Now(),  # noqa: B008 - immutable
        reason: str = "Task cancelled",
        message_id: str | None = None,
    ) -> Future[StopResult]:
        """Stop the turn of a session if one runs, and start nothing for it if none does.

        Args:
            session_id: which session.
            tenant: of which tenant.
            how: now, or after its wave.
            reason: in words; told to subscribers and to the next turn.
            message_id: only a turn that works on this message, looked at when it is stopped.

        Returns:
            what it came to, when the turn has ended; ``turn`` is None if none ran.

        Raises:
            InvalidMessage: an argument cannot be used.
            SystemClosed: the system does not run.
        """
        session, door = self.session(session_id, tenant=tenant), self._running().door
        nothing = StopResult(None, None)
        if self.view(session_id, tenant=tenant) is None:
            return Future.completed(nothing, door.loop)
        if message_id is None:
            return session.stop(how, reason=reason)

        def works_on_it(view: SessionView) -> bool:
            return any(message.message_id == message_id for message in view.messages)

        stopped = stop_if(door, session.key, works_on_it, how, reason)
        return stopped.map(lambda result: result or nothing)

    def on(self, kind: type[E], handler: Callable[[E], Awaitable[None] | None]) -> None:
        """Call ``handler``, plain or async, with every event of class ``kind``, in order.

        Handlers run one after the other, behind the sessions; what they raise is logged.
        """
        self._hub.on(kind, handler)

    def events(self) -> EventStream:
        """The events of all sessions from here on; used on the loop's thread, best by ``with``."""
        return self._hub.subscribe(None)

    # --- the tree ---

    @property
    def children(self) -> SupervisorRef[Any]:
        """The supervisor of the program's own children; another one after it was restarted.

        Raises:
            SystemClosed: the system does not run.
            ChildRestarting: it is about to be started again.
        """
        return self._running().own()

    def child(self, child_id: object) -> pykka.ActorRef[Any]:
        """The program's own child of that id; another reference after each restart of it.

        Raises:
            SystemClosed: the system does not run.
            ChildNotFound: there is none of that id, or it is down.
            ChildRestarting: it is about to be started again.
        """
        return self._running().child(child_id)

    def tree(self, *, limit: int | None = 0) -> TreeNode:
        """What runs under whom, as data, at this moment; it asks nobody, so it always answers.

        Args:
            limit: how many sessions, runtimes and children of each pool are listed besides their
                count; None for all of them.

        Raises:
            SystemClosed: the system does not run.
        """
        tree = self._running().tree(limit)
        children = tree.children
        journal, threads = self._journal, self._threads
        life = journal.life() if isinstance(journal, WrittenJournal) else None
        if life is not None:
            node = TreeNode(
                id="journal",
                kind=NodeKind.JOURNAL,
                state=NodeState.RUNNING if life.is_writing else NodeState.RESTARTING,
                detail=life.trouble,
                restarts=life.restarts,
                count=life.waiting,
            )
            children = (node, *children)
        if threads is not None:
            node = TreeNode(
                id="threads",
                kind=NodeKind.THREADS,
                state=NodeState.RUNNING,
                detail=f"{threads.abandoned} of {threads.size} abandoned",
                count=threads.running,
            )
            children = (*children, node)
        return tree.model_copy(update={"children": children})

    def on_report(self, callback: Callable[[Report], object]) -> Callable[[], None]:
        """Be told of every end, failed start and failed ask in the tree.

        Args:
            callback: called on the loop with a :class:`Report`: of a session by its
                ``SessionKey``, of a runtime by its ``RuntimeId``, of any other child by the id of
                its spec. What it raises is logged, no more.

        Returns:
            a function to be told no more.
        """
        return self._bulletin.reports.add(callback)

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What sessions have given up: turns, deliveries, and what was told them; the last 200."""
        return tuple(self._bulletin.letters)

    def on_dead_letter(self, callback: Callable[[DeadLetter], object]) -> Callable[[], None]:
        """Be told of everything that is given up, to keep it elsewhere or to have it looked at.

        Args:
            callback: called on the loop with a :class:`DeadLetter`; what it raises is logged.

        Returns:
            a function to be told no more.
        """
        return self._bulletin.readers.add(callback)

    def counters(self) -> Mapping[str, float]:
        """What was counted since the system was made, and only what is out of the ordinary.

        By names such as ``cancellations{reason="superseded"}``; docs/history.md has them all.
        """
        return self._counters.snapshot()

    def override(self, deps: Mapping[type[Any], Any]) -> AbstractContextManager[None]:
        """Give tools other dependencies for the turns that start within a ``with`` block.

        Raises:
            DependencyError: something in ``deps`` cannot be used.
        """
        return self._dependencies.override(deps)
