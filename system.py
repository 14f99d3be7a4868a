"""The actor system: puts the tree together, and is the face to an embedding program."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import random
import secrets
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import pykka
from loguru import logger

from .actors.deliveries import Deliveries, DeliveryRules, Finish, HandOver
from .actors.failures import retryable_by
from .actors.hub import EventHub
from .actors.machine.state import Rules
from .actors.moments import Moments
from .actors.recorded import Services
from .actors.runtime import RuntimeActor, function_runtime
from .actors.session import SessionActor
from .actors.session_face import Session, check_key, check_policy
from .actors.stop_many import stop_many
from .actors.turn_engine import Environment
from .journal.memory import MemoryJournal
from .messages.errors import InvalidSetting, SystemClosed
from .messages.ids import SessionKey
from .messages.message import SessionMessage, UserMessage
from .messages.policies import POLICIES, AfterWave, Debounce
from .messages.reasons import Backlog, Overflow
from .supervisors.directory import Door, SessionDirectory
from .supervisors.restart_policy import RestartPolicy
from .supervisors.runtime_supervisor import RuntimeSupervisor
from .tools.dependencies import Dependencies
from .tools.registry import Toolbox
from .tools.threads import WorkerThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Self

    from .actors.future import Future
    from .actors.hub import EventStream
    from .actors.reference import LoopActorRef
    from .actors.requests import StopResult
    from .actors.turn import Turn
    from .journal.base import Journal
    from .messages.events import Event
    from .messages.message import Delivery, Reply
    from .messages.policies import Chooser, How, Policy
    from .messages.view import SessionView
    from .tools.tool import Tool

    Agent = Callable[[Turn], Awaitable[str | Reply]] | type[RuntimeActor]
    Permission = Callable[[SessionMessage, SessionView], bool | Awaitable[bool]]
    AsideHandler = Callable[[SessionMessage, SessionView], Awaitable[str]]

E = TypeVar("E", bound="Event")

RECORDED_WITHIN = 0.004
"""Seconds after which the end of a call is recorded, if nothing else is reported before."""


_UNREAD = 10_000
"""Messages that one session's mailbox takes at least before it has read them."""

_END_WITHIN = 5.0
"""Seconds that whatever is left on a system's own loop has to end in when it was cancelled."""


class _Tree(NamedTuple):
    """What runs while the system does."""

    loop: asyncio.AbstractEventLoop
    door: Door
    directory: LoopActorRef[SessionDirectory]
    runtimes: LoopActorRef[RuntimeSupervisor]
    deliveries: LoopActorRef[Deliveries] | None
    threads: WorkerThreads


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
        deliver: hands replies, and words said, to their users.
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
        deliver_timeout: seconds one attempt of a delivery may take.
        close_within: seconds that closing leaves to running turns and deliveries.

    Raises:
        InvalidSetting: an argument cannot be used; the message names it.
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
        deliver: Callable[[Delivery], Awaitable[None]] | None = None,
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
        close_within: float = 10.0,
    ) -> None:
        self._runtime = _runtime_of(agent)
        chooses = not isinstance(policy, (type, *POLICIES)) and callable(policy)
        _check(chooses or type(policy) in POLICIES, "policy", policy, "a policy, or a function")
        for name, function in (("who_may_interrupt", who_may_interrupt), ("aside", aside)):
            _check(function is None or callable(function), name, function, "a function")
        is_window = debounce is None or isinstance(debounce, Debounce)
        _check(is_window, "debounce", debounce, "a Debounce(quiet, max_wait)")
        _check(overflow in list(Overflow), "overflow", overflow, "'reject' or 'drop_oldest'")
        for name, seconds in (("expires_after", expires_after), ("turn_deadline", turn_deadline)):
            _check(seconds is None or 0 < seconds < inf, name, seconds, "more than 0 seconds")
        _check(deliver is None or callable(deliver), "deliver", deliver, "an async function")
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
        ):
            _check(isinstance(number, int) and number >= 1, name, number, "1 or more")
        _check(deliver_timeout > 0, "deliver_timeout", deliver_timeout, "more than 0 seconds")
        _check(close_within >= 0, "close_within", close_within, "0 seconds or more")
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
        )
        self._delivery_rules = DeliveryRules(
            deliver_attempts,
            deliver_timeout,
            self._retry_delivery_after,
        )
        self._close_within = close_within
        self._hub = EventHub()
        # Made once, and shared by all handles; a map, so that threads may ask at the same time.
        self._new_id = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1)).__next__
        self._subscribe = self._hub.subscribe
        self._tree: _Tree | None = None
        self._opens = False
        self._closing: asyncio.Task[None] | None = None
        self._host: _LoopThread | None = None

    def _retry_delivery_after(self, failed: int) -> float:
        return self._restarts.backoff.delay(failed - 1, random.random())  # noqa: S311

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    def __enter__(self) -> Self:
        self._host = _LoopThread()
        try:
            self._host.call(self._open())
        except BaseException:
            self._host.end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        host, self._host = self._host, None
        if host is not None:
            try:
                host.call(self._close())
            finally:
                host.end()

    async def _open(self) -> None:
        if self._tree is not None or self._opens:
            msg = "the system runs already: enter it once"
            raise InvalidSetting(msg)
        self._opens = True
        try:
            await self._journal.open()
            self._tree = self._planted(asyncio.get_running_loop())
        finally:
            self._opens = False

    def _planted(self, loop: asyncio.AbstractEventLoop) -> _Tree:
        # Anchored once: a step of the machine's clock does not move a deadline, and virtual
        # time needs no special case.
        offset = time.time() - loop.time()

        def now() -> float:
            return loop.time() + offset

        door = Door(loop, max(self._rules.capacity, _UNREAD))
        threads = WorkerThreads(self._thread_count)
        environment = Environment(
            self._toolbox,
            self._dependencies,
            threads,
            self._retryable,
            now,
            Moments(loop, RECORDED_WITHIN / 4),  # a call may wait for two, of twice that at most
            self._journal.history,
        )
        runtimes = RuntimeSupervisor.start(self._runtime, environment, self._restarts)
        deliveries = None
        if self._deliver is not None:
            deliveries = Deliveries.start(self._deliver, self._delivery_rules, door.report, now)
        hand_over = None if deliveries is None else deliveries.hand

        def deliver(key: SessionKey, delivery: Delivery) -> None:
            if hand_over is not None:
                try:
                    hand_over(HandOver(key, delivery))
                except pykka.ActorDeadError:
                    logger.debug("delivery {} stays in the outbox", delivery.delivery_id)

        services = Services(
            journal=self._journal,
            rules=self._rules,
            policy=self._policy,
            hub=self._hub,
            now=now,
            new_uid=lambda: secrets.token_hex(8),
            runtimes=runtimes.hand,
            deliver=deliver,
            chooser=self._chooser,
            who_may_interrupt=self._who_may_interrupt,
            aside=self._aside,
        )
        directory = SessionDirectory.start(door, self._session_actor, services)
        door.directory = directory
        return _Tree(loop, door, directory, runtimes, deliveries, threads)

    async def _close(self) -> None:
        tree = self._tree
        if tree is None:
            return
        if self._closing is None:
            # A task of its own: who closes may be cancelled meanwhile, a turn of the system too.
            self._closing = tree.loop.create_task(self._shut_down(tree))
        await asyncio.shield(self._closing)

    async def _shut_down(self, tree: _Tree) -> None:
        try:
            await self._stop_tree(tree)
        finally:
            tree.threads.close()
            self._tree = self._closing = None
            await self._journal.close()
        logger.debug("the system is closed")

    async def _stop_tree(self, tree: _Tree) -> None:
        half = self._close_within / 2
        quiet = tree.door.shut_down(AfterWave(patience=half))
        # A turn has its patience, then the grace of a `Now`; after that nobody waits for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_within + 6.0):
                for rest in quiet:
                    await rest
        if tree.deliveries is not None:
            await tree.deliveries.ask(Finish(half), block=False)
            await tree.deliveries.stop(block=False)
        await tree.directory.stop(block=False)
        await tree.runtimes.stop(block=False)
        await self._hub.close(half)

    def _running(self) -> _Tree:
        if self._tree is None:
            msg = "the system does not run: use it within `async with` or `with`"
            raise SystemClosed(msg)
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

    def on(self, kind: type[E], handler: Callable[[E], Awaitable[None] | None]) -> None:
        """Call ``handler``, plain or async, with every event of class ``kind``, in order.

        Handlers run one after the other, behind the sessions; what they raise is logged.
        """
        self._hub.on(kind, handler)

    def events(self) -> EventStream:
        """The events of all sessions from here on; used on the loop's thread, best by ``with``."""
        return self._hub.subscribe(None)

    def override(self, deps: Mapping[type[Any], Any]) -> AbstractContextManager[None]:
        """Give tools other dependencies for the turns that start within a ``with`` block.

        Raises:
            DependencyError: something in ``deps`` cannot be used.
        """
        return self._dependencies.override(deps)


class _LoopThread:
    """A thread with an event loop, for programs that have none."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="wavebreak-loop", daemon=True
        )
        self._stop: asyncio.Event | None = None
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        with self._runner as runner:
            runner.run(self._until_stopped(started))

    async def _until_stopped(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        started.set()
        await self._stop.wait()

    def call(self, work: Any) -> None:
        """Run a coroutine on the loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._runner.get_loop()).result()

    def end(self) -> None:
        """Stop the loop and wait for the thread."""
        if self._stop is not None:
            self._runner.get_loop().call_soon_threadsafe(self._stop.set)
        self._thread.join(_END_WITHIN)
        if self._thread.is_alive():
            logger.warning("the loop's thread is left: something on it swallows its cancellation")


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
