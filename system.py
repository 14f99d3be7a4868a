"""The actor system: puts the tree together, starts it, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pykka
from loguru import logger

from .actors.counters import Counters
from .actors.courtesy import Courteous
from .actors.deliveries import Deliveries
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
from .actors.session import SessionActor
from .actors.turn_engine import Environment
from .actors.waiting import committed
from .journal.base import LastingJournal, RetainingJournal, SchedulingJournal
from .journal.memory import MemoryJournal
from .messages.errors import InvalidSetting, SystemFailed
from .messages.ids import SessionKey
from .messages.making import maker
from .messages.message import SessionMessage, UserMessage
from .messages.policies import POLICIES, AfterWave, Debounce, Retention
from .messages.reasons import Overflow
from .settings import (
    check,
    check_metrics,
    checked_retention,
    is_channel,
    is_more,
    message_classes,
    runtime_of,
)
from .supervisors.alarm import Alarm, MemoryIndex
from .supervisors.bulletin import Bulletin
from .supervisors.directory import DirectoryRules, SessionDirectory
from .supervisors.door import Door
from .supervisors.policy import Budget
from .supervisors.restart_policy import RestartPolicy
from .supervisors.root import Kept, Root, check_children, forever
from .supervisors.runtime_supervisor import RuntimeSupervisor
from .supervisors.runtimes import Runtimes
from .supervisors.sweeper import Sweeper, Upkeep
from .system_face import SystemFace
from .tools.dependencies import Dependencies
from .tools.registry import Toolbox
from .tools.threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from typing import Self

    from .actors.counters import Metrics
    from .journal.base import Journal
    from .messages.events import Event
    from .messages.message import Delivery
    from .messages.policies import Chooser, Policy
    from .messages.reasons import CourtesyKind
    from .messages.view import SessionView
    from .settings import Agent
    from .supervisors.child_spec import ChildSpec
    from .tools.tool import Tool

    Permission = Callable[[SessionMessage, SessionView], bool | Awaitable[bool]]
    AsideHandler = Callable[[SessionMessage, SessionView], Awaitable[str]]

E = TypeVar("E", bound="Event")

RECORDED_WITHIN = 0.004
"""Seconds after which the end of a call is recorded, if nothing else is reported before."""


_UNREAD = 10_000
"""Messages that one session's mailbox takes at least before it has read them."""


class ActorSystem(SystemFace):
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
        version: the agent's version, noted with every turn; another one finds in ``turn.previous``
            what a turn that it takes over has done.
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
        self._runtime = runtime_of(agent)
        chooses = not isinstance(policy, (type, *POLICIES)) and callable(policy)
        check(chooses or type(policy) in POLICIES, "policy", policy, "a policy, or a function")
        for name, function in (
            ("who_may_interrupt", who_may_interrupt),
            ("aside", aside),
            ("courtesy", courtesy),
        ):
            check(function is None or callable(function), name, function, "a function")
        is_window = debounce is None or isinstance(debounce, Debounce)
        check(is_window, "debounce", debounce, "a Debounce(quiet, max_wait)")
        check(overflow in list(Overflow), "overflow", overflow, "'reject' or 'drop_oldest'")
        for name, seconds in (
            ("expires_after", expires_after),
            ("turn_deadline", turn_deadline),
            ("idle_after", idle_after),
            ("notify_after", notify_after),
        ):
            check(seconds is None or is_more(seconds), name, seconds, "more than 0, or None")
        check(is_channel(deliver), "deliver", deliver, "an async function, or 'pull'")
        check(
            isinstance(session_actor, type) and issubclass(session_actor, SessionActor),
            "session_actor",
            session_actor,
            "a subclass of SessionActor",
        )
        check(
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
            check(isinstance(number, int) and is_more(number), name, number, "1 or more")
        for name, seconds in (
            ("deliver_timeout", deliver_timeout),
            ("compensate_timeout", compensate_timeout),
        ):
            check(is_more(seconds, endless=True), name, seconds, "more than 0 seconds")
        closes = close_within == 0 or is_more(close_within, endless=True)
        check(closes, "close_within", close_within, "0 seconds or more")
        check_metrics(metrics)
        check(isinstance(session_budget, Budget), "session_budget", session_budget, "a Budget")
        self._directory_rules, self._retention = (
            DirectoryRules(session_budget.check(), idle_after),
            checked_retention(retention, journal),
        )
        self._children = check_children(children)
        self._types: frozenset[type[SessionMessage]] = frozenset(
            (UserMessage, *message_classes(message_types))
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
            own_words=courtesy is not None,
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
        hand, hand_over = outbound.place.hand, maker(HandOver)

        def deliver(key: SessionKey, delivery: Delivery) -> None:
            if delivers:
                try:
                    hand(hand_over((key, delivery)))
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
            start_runtime=runtimes.start,
            runtimes=runtimes.order,
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
                reports=self._bulletin.reports,
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
