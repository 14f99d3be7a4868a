"""Plays one schedule: the users, the lives of the system, and what is injected."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import threading
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ...actors.session import SessionActor
from ...messages.errors import (
    AcceptanceUnknown,
    Detached,
    SessionError,
    SystemClosed,
    WavebreakError,
)
from ...messages.policies import AfterWave, Now
from ...system import ActorSystem
from ..disk import SimulatedDisk
from ..virtual_time import Deadlock
from .blame import in_words, stands_at
from .facts import KEY, Facts, Mark, Sent
from .knowledge import Durable
from .script import CALL, DELIVER, END, POLICY_OF, RECORD, STEP, Inject, Restart, Say, Stop
from .stage import ProcessKilled, RuntimeDied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...actors.future import Future
    from ...actors.hub import EventStream
    from ...actors.machine.state import SessionState
    from ...actors.session_face import Receipt, Session
    from ...messages.events import Entry
    from ...messages.ids import SessionKey
    from ...messages.message import Delivery
    from .facts import Attempt, Ran
    from .loop import ScheduleLoop
    from .room import Room
    from .script import Line, Schedule
    from .stage import Stage

HANG = 5_000.0
"""Virtual seconds after which something is said to hang."""

STEPS = 4_000
"""Steps after which a run is said to go round in circles."""

DEADLINE = 600.0
"""Seconds that every turn has, in schedules in which a deadline passes."""

_TRIES = 12
"""How often a sender tries who was not told whether his message was accepted."""

ENDS = "each message ends once"
SILENT = "a superseded turn is silent"
ONE = "one runtime"
DURABLE = "nothing leaves before it is durable"
LEFT = "nothing is left over"


class Endless(BaseException):
    """A run goes round in circles."""


class _GiveState:
    """Asks a session for its state as it stands."""


class Subject(NamedTuple):
    """What is explored.

    Args:
        stage: the agent and its tools, watched.
        script: what its user does.
        options: of the system.
        raises: what the agent may fail by.
    """

    stage: Stage
    script: tuple[Line, ...]
    options: dict[str, Any]
    raises: tuple[type[Exception], ...] = ()


def session_actor_of(base: type[SessionActor]) -> type[SessionActor]:
    """The same session's actor, which also gives its state when it is asked for it."""

    class Explored(base):  # type: ignore[misc, valid-type]
        """Answers the explorer too."""

        __slots__ = ()

        def on_receive(self, message: Any) -> Any:
            if isinstance(message, _GiveState):
                return self.state
            return super().on_receive(message)

    return Explored


class Play:
    """One run of a subject by a schedule.

    Args:
        subject: what is explored.
        schedule: how it is to run.
        room: has the loops.
    """

    def __init__(self, subject: Subject, schedule: Schedule, room: Room) -> None:
        self.facts = Facts(schedule)
        self.loop: ScheduleLoop = room.loop()
        self.disk = SimulatedDisk(slow=schedule.slow)
        self.disk.on_append = self._appended
        self.durable = Durable(self.disk)
        self.life = 1
        tools = subject.stage.tools
        self.facts.compensable = frozenset(n for n, t in tools.items() if t.compensation)
        self.facts.raises = subject.raises
        self.facts.options = subject.options
        self._subject = subject
        self._schedule = schedule
        self._room = room
        self._todo: dict[tuple[str, int], list[Inject]] = {}
        for inject in schedule.inject:
            self._todo.setdefault(inject.moment, []).append(inject)
        self._counts: dict[str, int] = dict.fromkeys((CALL, END, RECORD, DELIVER), 0)
        self._steps = 0
        self._order = None if schedule.order is None else random.Random(schedule.order)  # noqa: S311
        self._dead = False
        self._again = False
        self._now = 0.0
        self._line = 0
        self._has_deadlines = any(one.what == "deadline" for one in schedule.inject)
        self._session: Session | None = None
        self._main: asyncio.Task[Any] | None = None
        self._followers: list[asyncio.Task[None]] = []
        self._clean = contextvars.copy_context()
        self._errors: list[dict[str, Any]] = []
        self._at_rest = False
        self._hung = False
        self._gaps = 0
        self._threads = {thread.name for thread in threading.enumerate()}

    # --- the run ---

    def run(self) -> Facts:
        """Play it, and give what is known then."""
        facts, room = self.facts, self._room
        random.seed(self._schedule.order or 0)
        while True:
            self.loop.begin(self._order, self._step)
            if self.life > 1:
                self.loop.advance(self._now - self.loop.time() + 1.0)
            self.loop.set_exception_handler(self._reported)
            go_on = self._one_life()
            self._now = self.loop.time()
            if not go_on:
                break
            self.life += 1
            self.loop = room.loop()
        facts.lives = self.life
        facts.steps = self._steps
        facts.moments = {STEP: self._steps, **self._counts}
        facts.log = list(self.log)
        shelf = self.disk.shelves.get(KEY)
        facts.history = [] if shelf is None else list(shelf.history)
        return facts

    def _one_life(self) -> bool:
        """One life of the system; whether another follows."""
        self._again = self._dead = False
        self._gaps = 0
        self._session = None
        self._followers = []
        life = self._life()
        try:
            self.loop.run_until_complete(life)
        except ProcessKilled:
            self.disk.kill()
            self._room.bury(self.loop)
            self._mark("life", "the system starts again")
            return True
        except Deadlock:
            self._hangs("nothing is scheduled, and nobody does anything")
        except Endless:
            self._hangs(f"it goes round in circles: {STEPS} steps")
        else:
            self._look_for_leftovers()
            if self._again and not self.facts.broken:
                self._mark("life", "the system starts again")
                return True
            return False
        self._room.bury(self.loop)
        return False

    def _hangs(self, why: str) -> None:
        facts = self.facts
        if facts.broken:
            return
        # All that comes now is the end of a run that has gone wrong.
        facts.told = len(facts.marks)
        facts.unseen = self._unseen()
        places = [
            f"turn {one.turn} is at {place}"
            for one in facts.attempts
            if one.active and one.life == self.life and one.task is not None
            if (place := stands_at(one.task))
        ]
        why = "; ".join((why, *places[:1]))
        waiting = [sent.text for sent in self.facts.sent if sent.is_open]
        if waiting:
            self.facts.breaks(ENDS, f"{waiting[0]!r} never ended: {why}")
        else:
            self.facts.breaks(LEFT, f"the system does not come to rest: {why}")

    def _unseen(self) -> str:
        """What goes on that virtual time does not see; something may wait for that."""
        if self.loop.has_files:
            return "a socket, a pipe or another program"
        started = {thread.name for thread in threading.enumerate()} - self._threads
        mine = ("wavebreak-tool", "virtual-time")
        names = sorted(one for one in started | self.loop.foreign if not one.startswith(mine))
        return f"a thread of its own ({names[0]})" if names else ""

    async def _life(self) -> None:
        subject = self._subject
        options = dict(subject.options)
        system = ActorSystem(
            subject.stage.agent, journal=self.disk.connect(), deliver=self._deliver, **options
        )
        self._main = asyncio.current_task()
        # Not by `async with`: a process that is killed closes nothing.
        await system.__aenter__()
        stream = system.events() if self._schedule.slow else None
        reader = None if stream is None else self.loop.create_task(self._read(stream))
        try:
            self._session = system.session(KEY.session_id, tenant=KEY.tenant)
            for sent in self.facts.sent:
                if sent.is_open:
                    self._follow(sent)
            await self._drive()
            await self._rest()
            if stream is not None:
                stream.close()
                self._check_subscribers(system)
        except asyncio.CancelledError:
            if not self._again:
                raise
        self._session = None
        await system.__aexit__(None, None, None)
        if reader is not None:
            await reader
        await self._last_ticks()

    async def _last_ticks(self) -> None:
        me = asyncio.current_task()
        for _ in range(20):
            others = [task for task in asyncio.all_tasks() if task is not me]
            if not others:
                return
            # A sender may be about to try again; he finds that the system is closed.
            await asyncio.sleep(0.1)

    def _look_for_leftovers(self) -> None:
        loop, facts = self.loop, self.facts
        if self._runs():  # a tool that does not heed its cancellation; its process ends here
            self._room.bury(loop)
            return
        for task in asyncio.all_tasks(loop):
            facts.breaks(LEFT, f"a task is left when the system is closed: {_name_of(task)}")
        for report in self._errors:
            error = report.get("exception")
            facts.breaks(LEFT, f"the loop reported {report.get('message')}: {error!r}")
        timers = loop.timers
        late = [timer for timer in timers if timer.when() > loop.time() + 1.0]
        if late:
            facts.breaks(LEFT, f"a timer is left when the system is closed: {late[0]!r}")
        if facts.broken or timers:
            self._room.bury(loop)

    def _reported(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        if not self._dead:
            self._errors.append(context)

    def _check_subscribers(self, system: ActorSystem) -> None:
        left = system._hub.subscribers  # noqa: SLF001 - the system has no window to its hub
        if left:
            self.facts.breaks(LEFT, f"{left} subscribers are left, and all streams were closed")

    # --- the users ---

    async def _drive(self) -> None:
        script = self._subject.script
        while self._line < len(script):
            line = script[self._line]
            if line.after is None:
                await self._all_told()
            elif line.after:
                await asyncio.sleep(line.after)
            self._line += 1
            match line:
                case Say():
                    self._send(Sent("", line.text, line.policy, line.sender, line.deadline))
                case Stop():
                    self._stop(line.how, line.backlog)
                case Restart():
                    self._restart()
                    await asyncio.sleep(HANG)
        await self._all_told()

    async def _all_told(self) -> None:
        """Wait until everybody who asked was answered."""
        while waiting := [task for task in self._followers if not task.done()]:
            done, _ = await asyncio.wait(waiting, timeout=HANG)
            if not done:
                self._hangs(f"not in {HANG:.0f} seconds")
                self._hung = True
                return

    async def _rest(self) -> None:
        """Wait until the session has come to rest, and look at its state."""
        calm = 0
        for _ in range(300):
            await self._all_told()
            if self._hung:
                return
            state = await self._state()
            self.facts.state, self.facts.log_at_rest = state, len(self.log)
            open_ = any(not task.done() for task in self._followers)
            calm = 0 if state.running or state.outbox or open_ or self._runs() else calm + 1
            if calm > 1:
                return
            # From here on nothing new happens, but what was begun may still have its end.
            self._at_rest = self._at_rest or calm > 0
            await asyncio.sleep(1.0)
        self.facts.breaks(LEFT, "the session does not come to rest")

    def _runs(self) -> bool:
        return any(not ran.ended and ran.life == self.life for ran in self.facts.ran)

    async def _state(self) -> SessionState:
        assert self._session is not None, "it is asked while the system runs"
        state: SessionState = await self._session.ask(_GiveState())
        return state

    def _send(self, sent: Sent) -> None:
        self.facts.sent.append(sent)
        sent.id = sent.id or f"m{len(self.facts.sent)}"
        if self._has_deadlines:
            sent.deadline = DEADLINE
        self._mark("sent", sent)
        if self._session is not None:
            self._follow(sent)

    def _follow(self, sent: Sent) -> None:
        """Put the message into the mailbox at once, and see what becomes of it."""
        accepted = None
        if not sent.accepted:
            accepted = self._try(sent)
            if accepted is None:
                return
        self._follow_task(self._until_told(sent, accepted))

    def _follow_task(self, work: Any) -> None:
        self._followers = [task for task in self._followers if not task.done()]
        # Who sends in the middle of a turn is not part of that turn.
        context = self._clean.copy()
        self._followers.append(self.loop.create_task(work, context=context))

    def _try(self, sent: Sent) -> Future[Receipt] | None:
        session = self._session
        assert session is not None, "nothing is sent while no system runs"
        try:
            return session.send(
                sent.text,
                message_id=sent.id,
                policy=sent.policy,
                sender=sent.sender,
                deadline=sent.deadline,
            )
        except SystemClosed:
            return None  # it is sent again in the next life

    async def _until_told(self, sent: Sent, accepted: Future[Receipt] | None) -> None:
        try:
            if accepted is not None and not await self._until_accepted(sent, accepted):
                return
            session = self._session
            if session is None:
                return
            outcome = await session.outcome(sent.id)
        except (Detached, SystemClosed):
            if not self._again:
                self.facts.breaks(ENDS, f"{sent.text!r} was let go of by a system that runs")
        except WavebreakError as error:
            # UnknownMessage, for one: it was accepted, and is gone.
            self.facts.breaks(ENDS, f"{sent.text!r} was accepted, and then: {error}")
            sent.error = error
        else:
            if not self.durable.has_ended(sent.id):
                self.facts.breaks(DURABLE, f"the outcome of {sent.text!r} was told too early")
            sent.outcome = outcome

    async def _until_accepted(self, sent: Sent, accepted: Future[Receipt]) -> bool:
        for _ in range(_TRIES):
            try:
                await accepted
            except AcceptanceUnknown:
                await asyncio.sleep(1.0)
                again = self._try(sent) if self._session is not None else None
                if again is None:
                    return False
                accepted = again
            except (SystemClosed, Detached):
                return False
            except WavebreakError as error:
                sent.error = error
                self._mark("refused", sent)
                return False
            else:
                sent.accepted = True
                if not self.durable.has_accepted(sent.id):
                    words = f"{sent.text!r} was acknowledged before it was durable"
                    self.facts.breaks(DURABLE, words)
                return True
        self.facts.breaks(ENDS, f"{sent.text!r} was never accepted in {_TRIES} tries")
        return False

    def _stop(self, how: AfterWave | Now, backlog: str = "keep") -> None:
        if self._session is not None:
            with contextlib.suppress(SystemClosed):
                stopped = self._session.stop(how, backlog=backlog)  # type: ignore[arg-type]
                self.facts.drops = self.facts.drops or backlog == "drop"
                self._follow_task(self._until_stopped(stopped))
                self._mark("stop", how)

    async def _until_stopped(self, stopped: Future[Any]) -> None:
        with contextlib.suppress(SessionError, SystemClosed, Detached):
            await stopped

    def _restart(self) -> None:
        if self._main is not None and not self._again and self._session is not None:
            self._again = True
            self._main.cancel()

    async def _read(self, stream: EventStream) -> None:
        last = None
        async for event in stream:
            self.facts.published.append(event)
            if event.position is None:
                continue
            if event.position > self.durable.position:
                words = f"{type(event).__name__} was published before it was durable"
                self.facts.breaks(DURABLE, words)
            # What was written, and not known to be when a commit failed, is only read again.
            gaps = self._missed(last, event.position)
            if gaps > sum(one.what in {"lose", "unsure"} for one in self.facts.injected):
                words = f"subscribers saw position {event.position} after {last}"
                self.facts.breaks(DURABLE, words)
            last = event.position

    def _missed(self, last: int | None, position: int) -> float:
        """How many gaps subscribers have seen in this life; infinity when it went back."""
        if last is not None and position <= last:
            return inf
        self._gaps += last is not None and position != last + 1
        return self._gaps

    async def _deliver(self, delivery: Delivery) -> None:
        if self._dead:
            await asyncio.sleep(HANG)
        if not self.durable.has_delivery(delivery.delivery_id):
            words = f"{delivery.reply.text!r} was delivered before it was durable"
            self.facts.breaks(DURABLE, words)
        self._mark("delivered", delivery)
        self.facts.delivered.append(delivery)
        self.moment(DELIVER)
        await asyncio.sleep(0)

    # --- what the stage tells ---

    @property
    def log(self) -> list[Entry]:
        """The journal so far."""
        return self.disk.entries(KEY)

    def began(self, ran: Ran) -> None:
        """A tool begins."""
        if self._dead:
            raise ProcessKilled
        self.facts.ran.append(ran)
        self._mark("ran", ran)
        if ran.effect != "read" and ran.call_id and not self.durable.has_call(ran.call_id):
            self.facts.breaks(DURABLE, f"{ran!r} was started before that was durable")

    def ended(self, ran: Ran, how: str, result: Any = None) -> None:
        """A tool has ended."""
        if not self._dead:
            ran.ended = how
            ran.result = result

    def attempts(self, attempt: Attempt) -> None:
        """A run of the agent begins."""
        if self._dead:
            raise ProcessKilled
        others = [
            one
            for one in self.facts.attempts
            if one.active and one.life == self.life and not _is_fenced(one)
        ]
        if others and not _is_fenced(attempt):
            other = others[0]
            words = (
                f"turn {attempt.turn}, attempt {attempt.number} began while turn {other.turn}, "
                f"attempt {other.number} ran and was not fenced"
            )
            self.facts.breaks(ONE, words)
        self.facts.attempts.append(attempt)

    def raised(self, attempt: Attempt, error: BaseException) -> None:
        """A run of the agent ends by an error."""
        attempt.where = in_words(error)
        attempt.raised = error.with_traceback(None)
        if not self._dead and isinstance(error, Exception):
            self._mark("raised", attempt)

    def _appended(self, key: SessionKey, entries: Sequence[Entry]) -> str:
        del key
        what = self.moment(RECORD)
        if what != "lose":
            now = self.loop.time()
            self.facts.marks += [Mark(now, "entry", entry) for entry in entries]
        return what

    def _mark(self, kind: str, what: Any) -> None:
        self.facts.marks.append(Mark(self.loop.time(), kind, what))

    # --- injections ---

    def moment(self, kind: str) -> str:
        """A moment has come; what is to happen at it happens, or is given back to be done."""
        if self._dead:
            return ""
        count = self._counts[kind] = self._counts[kind] + 1
        todo = self._todo.get((kind, count))
        return "" if todo is None else self._inject_all(todo, kind)

    def _step(self) -> None:
        """Between two steps of the loop."""
        if self._dead:
            raise ProcessKilled
        self._steps += 1
        if self._steps > STEPS:
            raise Endless
        todo = self._todo.get((STEP, self._steps))
        if todo is not None:
            self._inject_all(todo, STEP)
            if self._dead:
                raise ProcessKilled

    def _inject_all(self, todo: list[Inject], kind: str) -> str:
        given = ""
        for inject in todo:
            if self._at_rest:
                continue
            self._mark("inject", inject)
            self.facts.injected.append(inject)
            given = self._clean.copy().run(self._inject, inject.what, kind) or given
        if self._dead and kind in {CALL, END}:
            raise ProcessKilled
        if given == "crash":
            raise RuntimeDied
        return given

    def _inject(self, what: str, kind: str) -> str:
        policy = POLICY_OF.get(what)
        if policy is not None:
            self._send(Sent("", f"injected {len(self.facts.sent) + 1}", policy))
            return ""
        match what:
            case "stop":
                self._stop(AfterWave())
            case "stop now":
                self._stop(Now())
            case "crash":
                return self._crash(kind)
            case "kill":
                self._dead = True
                self.disk.disconnect()
            case "restart":
                self._restart()
            case "deadline":
                self.loop.advance(DEADLINE)
            case _:
                return what
        return ""

    def _crash(self, kind: str) -> str:
        if kind in {CALL, END}:
            return "crash"
        for attempt in reversed(self.facts.attempts):
            if attempt.active and attempt.life == self.life and attempt.task is not None:
                attempt.task.cancel("the runtime dies")
                break
        return ""


def _name_of(task: asyncio.Task[Any]) -> str:
    """A task, without its address, which is another one each time."""
    name = getattr(task.get_coro(), "__qualname__", "?")
    place = stands_at(task)
    return f"{name}, at {place}" if place else name


def _is_fenced(attempt: Attempt) -> bool:
    return attempt.control is not None and attempt.control.fenced
