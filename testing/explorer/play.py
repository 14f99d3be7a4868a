"""Plays one schedule: the users, the lives of the system, and what is injected."""

from __future__ import annotations

import asyncio
import contextvars
import random
import threading
from typing import TYPE_CHECKING, Any

from ...system import ActorSystem
from ..disk import SimulatedDisk
from ..virtual_time import Deadlock
from .blame import in_words, stands_at
from .facts import KEY, Facts, Mark
from .injections import STEPS, Endless, Injections
from .knowledge import Durable
from .leftovers import check_subscribers, look_for_leftovers, unseen
from .names import DURABLE, ENDS, LEFT, ONE
from .script import DELIVER, RECORD, STEP
from .stage import ProcessKilled
from .subject import GiveState
from .users import HANG, Users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...actors.machine.state import SessionState
    from ...actors.session_face import Session
    from ...messages.entries import Entry
    from ...messages.ids import SessionKey
    from ...messages.message import Delivery
    from .facts import Attempt, Ran
    from .loop import ScheduleLoop
    from .room import Room
    from .script import Schedule
    from .subject import Subject


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
        deadlines = any(one.what == "deadline" for one in schedule.inject)
        self.users = Users(self, deadlines=deadlines)
        self.injections = Injections(self, schedule.inject)
        self._order = None if schedule.order is None else random.Random(schedule.order)  # noqa: S311
        self.dead = False
        self.again = False
        self._now = 0.0
        self.session: Session | None = None
        self._main: asyncio.Task[Any] | None = None
        self.clean = contextvars.copy_context()
        self._errors: list[dict[str, Any]] = []
        self.at_rest = False
        self.hung = False
        self._threads = {thread.name for thread in threading.enumerate()}

    # --- the run ---

    def run(self) -> Facts:
        """Play it, and give what is known then."""
        facts, room = self.facts, self._room
        random.seed(self._schedule.order or 0)
        while True:
            self.loop.begin(self._order, self.injections.step)
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
        facts.steps = self.injections.steps
        facts.moments = {STEP: facts.steps, **self.injections.counts}
        facts.log = list(self.log)
        shelf = self.disk.shelves.get(KEY)
        facts.history = [] if shelf is None else list(shelf.history)
        return facts

    def _one_life(self) -> bool:
        """One life of the system; whether another follows."""
        self.again = self.dead = False
        self.session = None
        self.users.begin()
        life = self._life()
        try:
            self.loop.run_until_complete(life)
        except ProcessKilled:
            self.disk.kill()
            self._room.bury(self.loop)
            self.mark("life", "the system starts again")
            return True
        except Deadlock:
            self.hangs("nothing is scheduled, and nobody does anything")
        except Endless:
            self.hangs(f"it goes round in circles: {STEPS} steps")
        else:
            self._look_around()
            if self.again and not self.facts.broken:
                self.mark("life", "the system starts again")
                return True
            return False
        self._room.bury(self.loop)
        return False

    def hangs(self, why: str) -> None:
        """Note that the run does not end by itself."""
        facts = self.facts
        if facts.broken:
            return
        # All that comes now is the end of a run that has gone wrong.
        facts.told = len(facts.marks)
        facts.unseen = unseen(self.loop, self._threads)
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
        reader = None if stream is None else self.loop.create_task(self.users.read(stream))
        try:
            self.session = system.session(KEY.session_id, tenant=KEY.tenant)
            for sent in self.facts.sent:
                if sent.is_open:
                    self.users.follow(sent)
            await self.users.drive(subject.script)
            await self._rest()
            if stream is not None:
                stream.close()
                check_subscribers(system, self.facts)
        except asyncio.CancelledError:
            if not self.again:
                raise
        self.session = None
        await system.__aexit__(None, None, None)
        if reader is not None:
            await reader
        await self._last_ticks()

    def _look_around(self) -> None:
        """Note what the closed system has left."""
        if self._runs():  # a tool that does not heed its cancellation; its process ends here
            self._room.bury(self.loop)
            return
        look_for_leftovers(self.loop, self.facts, self._errors)
        if self.facts.broken or self.loop.timers:
            self._room.bury(self.loop)

    async def _last_ticks(self) -> None:
        me = asyncio.current_task()
        for _ in range(20):
            others = [task for task in asyncio.all_tasks() if task is not me]
            if not others:
                return
            # A sender may be about to try again; he finds that the system is closed.
            await asyncio.sleep(0.1)

    def _reported(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        if not self.dead:
            self._errors.append(context)

    async def _rest(self) -> None:
        """Wait until the session has come to rest, and look at its state."""
        calm = 0
        for _ in range(300):
            await self.users.all_told()
            if self.hung:
                return
            state = await self._state()
            self.facts.state, self.facts.log_at_rest = state, len(self.log)
            busy = state.running or state.outbox or self.users.wait or self._runs()
            calm = 0 if busy else calm + 1
            if calm > 1:
                return
            # From here on nothing new happens, but what was begun may still have its end.
            self.at_rest = self.at_rest or calm > 0
            await asyncio.sleep(1.0)
        self.facts.breaks(LEFT, "the session does not come to rest")

    def _runs(self) -> bool:
        return any(not ran.ended and ran.life == self.life for ran in self.facts.ran)

    async def _state(self) -> SessionState:
        assert self.session is not None, "it is asked while the system runs"
        state: SessionState = await self.session.ask(GiveState())
        return state

    def restart(self) -> None:
        """Close the system, and open it again."""
        if self._main is not None and not self.again and self.session is not None:
            self.again = True
            self._main.cancel()

    async def _deliver(self, delivery: Delivery) -> None:
        if self.dead:
            await asyncio.sleep(HANG)
        if not self.durable.has_delivery(delivery.delivery_id):
            words = f"{delivery.reply.text!r} was delivered before it was durable"
            self.facts.breaks(DURABLE, words)
        self.mark("delivered", delivery)
        self.facts.delivered.append(delivery)
        self.injections.moment(DELIVER)
        await asyncio.sleep(0)

    # --- what the stage tells ---

    @property
    def log(self) -> list[Entry]:
        """The journal so far."""
        return self.disk.entries(KEY)

    def began(self, ran: Ran) -> None:
        """A tool begins."""
        if self.dead:
            raise ProcessKilled
        self.facts.ran.append(ran)
        self.mark("ran", ran)
        if ran.effect != "read" and ran.call_id and not self.durable.has_call(ran.call_id):
            self.facts.breaks(DURABLE, f"{ran!r} was started before that was durable")

    def ended(self, ran: Ran, how: str, result: Any = None) -> None:
        """A tool has ended."""
        if not self.dead:
            ran.ended = how
            ran.result = result

    def attempts(self, attempt: Attempt) -> None:
        """A run of the agent begins."""
        if self.dead:
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
        if not self.dead and isinstance(error, Exception):
            self.mark("raised", attempt)

    def _appended(self, key: SessionKey, entries: Sequence[Entry]) -> str:
        del key
        what = self.injections.moment(RECORD)
        if what != "lose":
            now = self.loop.time()
            self.facts.marks += [Mark(now, "entry", entry) for entry in entries]
        return what

    def mark(self, kind: str, what: Any) -> None:
        """Put something on the timeline."""
        self.facts.marks.append(Mark(self.loop.time(), kind, what))


def _is_fenced(attempt: Attempt) -> bool:
    return attempt.control is not None and attempt.control.fenced
