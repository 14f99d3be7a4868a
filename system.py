"""The actor system: puts the tree together, and is the face to an embedding program."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import random
import secrets
import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pykka
from loguru import logger

from .actors.counters import Counters
from .actors.courtesy import Courteous
from .actors.deliveries import Deliveries
from .actors.delivery_stream import DeliveryStream, Settle, Verdict, settle
from .actors.failures import retryable_by
from .actors.future import Future
from .actors.handing_out import HandingOut, Handout
from .actors.histories import Histories
from .actors.hub import EventHub
from .actors.loop_thread import LoopThread
from .actors.machine.state import Rules
from .actors.machine.stored import StateForm
from .actors.moments import Moments
from .actors.outbound import DeliveryRules, HandOver, Outbound
from .actors.recorded import Services
from .actors.requests import StopResult
from .actors.runtime import RuntimeActor, function_runtime
from .actors.session import SessionActor
from .actors.session_face import Session, check_key, check_policy
from .actors.sight import ActiveTurn, active_turns, seen
from .actors.stop_many import stop_if, stop_many
from .actors.turn_engine import Environment
from .actors.waiting import committed
from .journal.base import LastingJournal, RetainingJournal, SchedulingJournal, WrittenJournal
from .journal.memory import MemoryJournal
from .messages.errors import InvalidSetting, SystemClosed, SystemFailed
from .messages.ids import DeliveryId, SessionKey
from .messages.message import SessionMessage, UserMessage
from .messages.policies import POLICIES, AfterWave, Debounce, Now, Retention
from .messages.reasons import Backlog, Overflow
from .messages.text import check_id
from .supervisors.alarm import Alarm, MemoryIndex
from .supervisors.bulletin import Bulletin
from .supervisors.directory import DirectoryRules, SessionDirectory
from .supervisors.door import Door
from .supervisors.policy import Budget
from .supervisors.restart_policy import RestartPolicy
from .supervisors.root import Kept, Root, check_children, forever
from .supervisors.runtime_supervisor import Runtimes, RuntimeSupervisor
from .supervisors.sweeper import Sweeper, Upkeep
from .supervisors.tree import NodeKind, NodeState, TreeNode
from .tools.dependencies import Dependencies
from .tools.registry import Toolbox
from .tools.threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Self

    from .actors.counters import Metrics
    from .actors.hub import EventStream
    from .actors.turn import Turn
    from .journal.base import Journal
    from .messages.dead_letters import DeadLetter
    from .messages.events import Event
    from .messages.message import Delivery, Reply
    from .messages.policies import Chooser, How, Policy
    from .messages.reasons import CourtesyKind
    from .messages.view import SessionView
    from .supervisors.child_spec import ChildSpec
    from .supervisors.children import Report
    from .supervisors.supervisor_ref import SupervisorRef
    from .tools.tool import Tool

    Agent = Callable[[Turn], Awaitable[str | Reply]] | type[RuntimeActor]
    Permission = Callable[[SessionMessage, SessionView], bool | Awaitable[bool]]
    AsideHandler = Callable[[SessionMessage, SessionView], Awaitable[str]]

E = TypeVar("E", bound="Event")

RECORDED_WITHIN = 0.004
"""Seconds after which the end of a call is recorded, if nothing else is reported before."""


_UNREAD = 10_000
"""Messages that one session's mailbox takes at least before it has read them."""


class ActorSystem:
    """Runs conversations. ``async with`` uses the running loop, ``with`` a thread of its own.

    Args:
        agent: an async function of a :class:`Turn`, or a subclass of :class:`RuntimeActor`.
        journal: where sessions write down what happened; in memory by default.
        policy: what a message that brings no policy does to a running turn, or a function of
            ``(message, view)``, plain or async, that chooses that.
        who_may_interrupt: a function of ``(message, view)``, plain or async; a message for which
            it is false and which would interrupt the running turn is queued instead.
        aside: an async function of ``(message, view)`` that answers, beside the running turn,
            messages whose policy is ``Aside``.
        debounce: the quiet window before a turn starts from idle; none by default.
        deliver: hands replies, and words said, to their users; ``"pull"``: whoever does that asks
            for them by :meth:`deliveries`.
        tools: those that ``turn.call(name, arguments)`` finds.
        deps: what tools get by ``dep(Type)``: values, or factories of a ``TurnInfo``.
        message_types: the program's own subclasses of :class:`SessionMessage`.
        session_actor: a subclass of :class:`SessionActor`, for hooks.
        retry_on: errors after which a turn, or a call, is attempted again.
        max_attempts: attempts of a turn in all.
        version: the agent's version, noted with every turn.
        threads: blocking tools that may run at the same time.
        capacity: messages that may wait in one session.
        overflow: whether a message that finds so many is refused, or the oldest is dropped.
        expires_after: seconds after which a message ends that still waits for its first turn.
        turn_deadline: seconds that a turn may take, whatever the deadlines of its messages.
        deliver_attempts: attempts of a delivery before it is dead-lettered.
        deliver_timeout: seconds one attempt of a delivery may take; of one that was asked for it
            is how long it is held, unless the consumer says otherwise.
        compensate_timeout: seconds one try to undo a call may take, where its tool has no timeout.
        close_within: seconds that closing leaves to running turns and deliveries.
        children: the program's own actors, started before the first session and stopped after the
            last, under a supervisor of their own (one for one, one restart in 5 s; a
            ``Supervisor`` among them may have another rule).
        idle_after: seconds after which a session that does nothing is let go, to come back with
            its next message; None to keep them all.
        retention: how long a session is kept that nobody uses; for ever by default.
        session_budget: restarts of one session's actor, before those who wait for it are told.
        courtesy: what a session says by itself on an occasion: a text, "" for nothing, None for
            the default, which is nothing for an interruption.
        notify_after: seconds after which the user is told that a turn goes on, and again after
            as many; None for never.
        notify_times: how often that is told of a turn.
        metrics: where to tell what is counted, beside :meth:`counters`.

    Raises:
        InvalidSetting: an argument cannot be used; the message names it.
        InvalidChildSpec: the same, in ``children``.
        ToolDefinitionError: something in ``tools`` is no tool.
        DependencyError: something in ``deps`` cannot be used.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        journal: Journal | None = None,
        policy: Policy | Chooser = AfterWave(),  # noqa: B008 - immutable
        who_may_interrupt: Permission | None = None,
        aside: AsideHandler | None = None,
        debounce: Debounce | None = None,
        deliver: Callable[[Delivery], Awaitable[None]] | Literal["pull"] | None = None,
        tools: Iterable[Tool[..., Any]] = (),
        deps: Mapping[type[Any], Any] | None = None,
        message_types: Iterable[type[SessionMessage]] = (),
        session_actor: type[SessionActor] = SessionActor,
        retry_on: tuple[type[BaseException], ...] = (OSError,),
        max_attempts: int = 3,
        version: str = "",
        threads: int = 32,
        capacity: int = 10_000,
        overflow: Overflow | Literal["reject", "drop_oldest"] = Overflow.REJECT,
        expires_after: float | None = None,
        turn_deadline: float | None = None,
        deliver_attempts: int = 5,
        deliver_timeout: float = 30.0,
        compensate_timeout: float = 60.0,
        close_within: float = 10.0,
        children: Iterable[ChildSpec] = (),
        idle_after: float | None = None,
        retention: Retention | None = None,
        session_budget: Budget = Budget(5, 60.0),  # noqa: B008 - immutable
        courtesy: Callable[[CourtesyKind, SessionView], str | None] | None = None,
        notify_after: float | None = None,
        notify_times: int = 1,
        metrics: Metrics | None = None,
    ) -> None:
        self._runtime = _runtime_of(agent)
        chooses = not isinstance(policy, (type, *POLICIES)) and callable(policy)
        _check(chooses or type(policy) in POLICIES, "policy", policy, "a policy, or a function")
        for name, function in (
            ("who_may_interrupt", who_may_interrupt),
            ("aside", aside),
            ("courtesy", courtesy),
        ):
            _check(function is None or callable(function), name, function, "a function")
        is_window = debounce is None or isinstance(debounce, Debounce)
        _check(is_window, "debounce", debounce, "a Debounce(quiet, max_wait)")
        _check(overflow in list(Overflow), "overflow", overflow, "'reject' or 'drop_oldest'")
        for name, seconds in (
            ("expires_after", expires_after),
            ("turn_deadline", turn_deadline),
            ("idle_after", idle_after),
            ("notify_after", notify_after),
        ):
            _check(seconds is None or _is_more(seconds), name, seconds, "more than 0, or None")
        _check(_is_channel(deliver), "deliver", deliver, "an async function, or 'pull'")
        _check(
            isinstance(session_actor, type) and issubclass(session_actor, SessionActor),
            "session_actor",
            session_actor,
            "a subclass of SessionActor",
        )
        _check(
            isinstance(retry_on, tuple)
            and all(isinstance(e, type) and issubclass(e, BaseException) for e in retry_on),
            "retry_on",
            retry_on,
            "a tuple of exception classes",
        )
        for name, number in (
            ("max_attempts", max_attempts),
            ("threads", threads),
            ("capacity", capacity),
            ("deliver_attempts", deliver_attempts),
            ("notify_times", notify_times),
        ):
            _check(isinstance(number, int) and _is_more(number), name, number, "1 or more")
        for name, seconds in (
            ("deliver_timeout", deliver_timeout),
            ("compensate_timeout", compensate_timeout),
        ):
            _check(_is_more(seconds, endless=True), name, seconds, "more than 0 seconds")
        closes = close_within == 0 or _is_more(close_within, endless=True)
        _check(closes, "close_within", close_within, "0 seconds or more")
        _check_metrics(metrics)
        _check(isinstance(session_budget, Budget), "session_budget", session_budget, "a Budget")
        self._directory_rules, self._retention = (
            DirectoryRules(session_budget.check(), idle_after),
            _check_retention(retention, journal),
        )
        self._children = check_children(children)
        self._types: frozenset[type[SessionMessage]] = frozenset(
            (UserMessage, *_message_types(message_types))
        )
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self._policy: Policy = AfterWave() if callable(policy) else policy
        self._chooser: Chooser | None = policy if callable(policy) else None
        self._who_may_interrupt = who_may_interrupt
        self._aside = aside
        self._deliver = deliver
        self._toolbox = Toolbox(tools)
        self._dependencies = Dependencies(deps)
        self._session_actor = session_actor
        self._retryable = retryable_by(retry_on)
        self._restarts = RestartPolicy(max_attempts=max_attempts)
        self._thread_count = threads
        self._rules = Rules(
            version=version,
            delivers=deliver is not None,
            survives=self._journal.survives,
            max_attempts=max_attempts,
            aside=aside is not None,
            debounce=debounce,
            capacity=capacity,
            overflow=Overflow(overflow),
            expires_after=expires_after,
            turn_deadline=turn_deadline,
            courteous=deliver is not None or courtesy is not None,
            notify_after=notify_after,
            notify_times=notify_times,
        )
        self._delivery_rules = DeliveryRules(
            deliver_attempts,
            deliver_timeout,
            self._retry_delivery_after,
            self._journal.survives,
        )
        self._compensate_timeout = compensate_timeout
        self._close_within = close_within
        self._courtesy = courtesy
        self._counters = Counters(metrics)
        self._hub = EventHub()
        # Made once, and shared by all handles; a map, so that threads may ask at the same time.
        self._new_id = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1)).__next__
        self._subscribe = self._hub.subscribe
        self._tree: Root | None = None
        self._threads: WorkerThreads | None = None
        self._ended_by_itself: SystemFailed | None = None
        self._histories: Histories | None = None
        self._bulletin = Bulletin(self._counters)
        self._opens = False
        self._closing: asyncio.Task[None] | None = None
        self._closed: Future[None] = Future()
        self._host: LoopThread | None = None

    def _retry_delivery_after(self, failed: int) -> float:
        return self._restarts.backoff.delay(failed - 1, random.random())  # noqa: S311

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, *exc: object) -> None:
        await self._close()
        self._fail_after(error)

    def __enter__(self) -> Self:
        self._host = LoopThread()
        try:
            self._host.call(self._open())
        except BaseException:
            self._host.end()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, *exc: object) -> None:
        host, self._host = self._host, None
        if host is not None:
            try:
                host.call(self._close())
            finally:
                host.end()
        self._fail_after(error)

    def _fail_after(self, error: BaseException | None) -> None:
        """Say loudly that the system has ended by itself, unless something else went wrong."""
        failed, self._ended_by_itself = self._ended_by_itself, None
        if failed is not None and error is None:
            raise failed

    async def _open(self) -> None:
        if self._tree is not None or self._opens:
            msg = "the system runs already: enter it once"
            raise InvalidSetting(msg)
        self._opens = True
        try:
            journal = self._journal
            if isinstance(journal, LastingJournal):
                types = {kind.__name__: kind for kind in self._types}
                journal.bind(types, StateForm(types))
            await journal.open()
            self._ended_by_itself = None
            self._closed = Future(asyncio.get_running_loop())
            try:
                if self._retention is not None and isinstance(journal, RetainingJournal):
                    # Before anything is written under a clock that may have been set.
                    await committed(journal.note_time(time.time()), asyncio.get_running_loop())
                root = self._tree = self._planted(asyncio.get_running_loop())
            except BaseException:
                await journal.close()
                raise
            try:
                await root.start()
                if isinstance(journal, LastingJournal):
                    # Those that something waits for; no other is looked at.
                    async for keys in journal.unfinished():
                        for key in keys:
                            root.door.wake(key)
            except BaseException:
                await self._close()
                raise
        finally:
            self._opens = False

    def _planted(self, loop: asyncio.AbstractEventLoop) -> Root:
        # Anchored once: a step of the machine's clock does not move a deadline, and virtual
        # time needs no special case.
        offset = time.time() - loop.time()

        def now() -> float:
            return loop.time() + offset

        counters = self._counters
        self._bulletin.now = now
        door = Door(
            loop, max(self._rules.capacity, _UNREAD), self._bulletin.undeliverable, counters
        )
        outbound = Handout(loop) if self._deliver == "pull" else Outbound(loop)
        runtimes = Runtimes(loop)
        self._threads = WorkerThreads(
            self._thread_count, on_abandoned=partial(counters.count, "abandoned_threads")
        )
        environment = Environment(
            self._toolbox,
            self._dependencies,
            self._threads,
            self._retryable,
            now,
            Moments(loop, RECORDED_WITHIN / 4),  # a call may wait for two, of twice that at most
            self._journal.history,
            counters,
        )
        histories = self._histories = Histories(self._journal.history)
        delivers = self._deliver is not None

        def deliver(key: SessionKey, delivery: Delivery) -> None:
            if delivers:
                try:
                    outbound.place.hand(HandOver(key, delivery))
                except pykka.ActorDeadError:
                    logger.debug("delivery {} stays in the outbox", delivery.delivery_id)

        index = self._journal if isinstance(self._journal, SchedulingJournal) else MemoryIndex()
        alarm = Alarm(loop, index, now, wake=door.wake, is_starting=door.is_starting)

        def forget(key: SessionKey) -> None:
            runtimes.forget(key)
            outbound.forget(key)
            self._bulletin.forget(key)
            alarm.forget(key)

        services = Services(
            journal=self._journal,
            rules=self._rules,
            policy=self._policy,
            hub=self._hub,
            now=now,
            new_uid=lambda: secrets.token_hex(8),
            runtimes=runtimes.place.hand,
            forget=forget,
            deliver=deliver,
            report=door.report,
            dead_letter=self._bulletin.keep,
            chooser=self._chooser,
            who_may_interrupt=self._who_may_interrupt,
            aside=self._aside,
            counters=counters,
            histories=histories,
            courtesy=Courteous(self._courtesy),
            wake_at=alarm.set,
        )
        ours = [
            forever(
                "runtimes",
                RuntimeSupervisor,
                runtimes,
                self._runtime,
                environment,
                self._restarts,
                compensate_timeout=self._compensate_timeout,
                tell=self._bulletin.report_if_wanted,
            ),
            forever(
                "sessions",
                SessionDirectory,
                door,
                self._session_actor,
                services,
                self._directory_rules,
                has_runtime=runtimes.has,
                tell=self._bulletin.reports.tell,
                alarm=alarm,
            ),
        ]
        ours += self._deliveries(outbound, door.report, now)
        if self._retention is not None and isinstance(self._journal, RetainingJournal):

            def is_busy(key: SessionKey) -> bool:
                undone = any(name[0] == key for name in runtimes.undoings)
                return undone or runtimes.has(key) or alarm.knows(key)

            forgets = self._bulletin.forget
            upkeep = Upkeep(self._journal, door, is_busy, forgets, now, counters)
            ours.append(forever("retention", Sweeper, upkeep, self._retention.seconds))
        return Root(
            loop,
            Kept(door, runtimes, outbound),
            ours=ours,
            children=self._children,
            tell=self._bulletin.reports.tell,
            ended=self._root_ended,
        )

    def _deliveries(
        self,
        outbound: Outbound,
        report: Callable[[SessionKey, object], None],
        now: Callable[[], float],
    ) -> list[ChildSpec]:
        """What starts the actor that brings deliveries to users, if there are any."""
        start: tuple[Any, ...] = (Deliveries, outbound, self._deliver)
        if self._deliver is None:
            return []
        if isinstance(outbound, Handout):
            start = (HandingOut, outbound)
        more = {"now": now, "given_up": self._bulletin.given_up}
        return [forever("deliveries", *start, self._delivery_rules, report, **more)]

    def _root_ended(self, why: str) -> None:
        """What may not end has ended: nobody is left waiting for a system that is not there."""
        logger.critical("the system ends by itself: {}", why)
        msg = f"the system has ended by itself: {why}; mend that, and start it again"
        self._ended_by_itself = SystemFailed(msg)
        self._begin_close()

    def _begin_close(self) -> asyncio.Task[None] | None:
        tree = self._tree
        if self._closing is None and tree is not None and not tree.loop.is_closed():
            # A task of its own: who closes may be cancelled meanwhile, a turn of the system too.
            self._closing = tree.loop.create_task(self._shut_down(tree))
        return self._closing

    async def _close(self) -> None:
        closing = self._begin_close()
        if closing is not None:
            await asyncio.shield(closing)

    async def _shut_down(self, tree: Root) -> None:
        half = self._close_within / 2
        try:
            if self._ended_by_itself is None:
                await self._come_to_rest(tree, AfterWave(patience=half))
            await tree.stop(half)
            if self._histories is not None:
                await self._histories.close()
            await self._hub.close(half)
        finally:
            if self._threads is not None:
                self._threads.close()
            self._tree = self._closing = self._threads = self._histories = None
            await self._journal.close()
            self._closed.try_set(None)
        logger.debug("the system is closed")

    async def _come_to_rest(self, tree: Root, how: AfterWave) -> None:
        quiet = tree.door.shut_down(how)
        # A turn has its patience, then the grace of a `Now`; after that nobody waits for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_within + 6.0):
                for rest in quiet:
                    await rest

    async def wait_closed(self) -> None:
        """Wait until the system is closed, by whomever; for programs that do nothing but serve.

        Raises:
            SystemFailed: it has ended by itself.
        """
        if self._tree is not None:
            await self._closed
        if self._ended_by_itself is not None:
            raise self._ended_by_itself

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
        _check(_is_more(seconds, endless=True), "lease", lease, "more than 0 seconds")
        whole = isinstance(prefetch, int) and _is_more(prefetch)
        _check(whole, "prefetch", prefetch, "1 or more")
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


def _is_more(value: object, *, endless: bool = False) -> bool:
    """Whether it is a number, more than 0; a bool is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < inf or (endless and value == inf)


def _is_channel(deliver: object) -> bool:
    return deliver is None or deliver == "pull" or callable(deliver)


def _check_retention(retention: Retention | None, journal: object) -> Retention | None:
    is_one = retention is None or isinstance(retention, Retention)
    _check(is_one, "retention", retention, "a Retention(idle=timedelta(days=...))")
    if retention is not None and journal is not None and not isinstance(journal, RetainingJournal):
        msg = (
            f"retention={retention!r}: the journal {journal!r} does not know which sessions are "
            "not used; give one that is a RetainingJournal, or leave it out"
        )
        raise InvalidSetting(msg)
    return retention


def _check_metrics(metrics: object) -> None:
    for method in ("count", "observe"):
        has = metrics is None or callable(getattr(metrics, method, None))
        _check(has, "metrics", metrics, f"an object with {method}(name, number, **labels)")


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        msg = f"{name}={value!r}: give {wanted}"
        raise InvalidSetting(msg)


def _runtime_of(agent: Agent) -> type[RuntimeActor]:
    if inspect.isclass(agent):
        is_runtime = issubclass(agent, RuntimeActor) and agent.run is not RuntimeActor.run
        _check(is_runtime, "agent", agent, "a subclass of RuntimeActor that has its own run(turn)")
        assert issubclass(agent, RuntimeActor), "it was looked at just now"
        return agent
    call: object = getattr(agent, "__call__", None)  # noqa: B004 - the method is looked at
    is_async = inspect.iscoroutinefunction(agent) or inspect.iscoroutinefunction(call)
    _check(is_async, "agent", agent, "an async function of a turn, or a subclass of RuntimeActor")
    return function_runtime(agent)


def _message_types(types: Iterable[type[SessionMessage]]) -> tuple[type[SessionMessage], ...]:
    types = tuple(types)
    names: set[str] = {UserMessage.__name__}
    for kind in types:
        is_message = isinstance(kind, type) and issubclass(kind, SessionMessage)
        _check(is_message, "message_types", kind, "subclasses of SessionMessage")
        _check(kind.__name__ not in names, "message_types", kind, "classes of different names")
        names.add(kind.__name__)
    return types
