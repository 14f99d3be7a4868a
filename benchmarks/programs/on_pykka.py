"""The cases of ``suite.py`` on stock Pykka: each actor is a thread.

A session is two actors, since one that runs its turn hears nothing meanwhile: the session, and the
runtime of its turn. Between its waves the runtime looks at an event that the session sets. The
calls of a wave run in a pool of threads that all share, which is as wide as they need.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pykka
from programs.measuring import (
    BURST,
    CALL_SECONDS,
    CALLS,
    SECOND_MESSAGE_AFTER,
    STARTS_WITHIN,
    WAVES,
    Meter,
    Talks,
    memory,
    take_part,
)

if TYPE_CHECKING:
    from programs.measuring import Figures, Order


class Adder(pykka.ThreadingActor):
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        """Take a number."""
        self.total += message
        return self.total


def tell(order: Order) -> Figures:
    """Tell one actor many things, from the thread that is there."""
    adders = [Adder.start() for _ in range(order.sessions or 1)]
    with Meter() as meter:
        for _ in range(order.count // BURST):
            for number in range(BURST):
                adders[number % len(adders)].tell(1)
            # One loop answers behind all that it was told, a hundred threads each for itself.
            pykka.get_all([adder.ask(0, block=False) for adder in adders])
    assert sum(pykka.get_all([adder.ask(0, block=False) for adder in adders])) == order.count
    pykka.ActorRegistry.stop_all()
    return meter.figures()


def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    adder = Adder.start()
    with Meter() as meter:
        for _ in range(order.count):
            adder.ask(1)
    adder.stop()
    return meter.figures()


def spawn(order: Order) -> Figures:
    """Start many actors, look at the memory, stop them."""
    before = memory()
    with Meter() as starting:
        adders = [Adder.start() for _ in range(order.count)]
        adders[-1].ask(0)
    held = memory() - before
    with Meter() as stopping:
        stopped = [adder.stop(block=False) for adder in adders]
        pykka.get_all(stopped)
    return {"start": starting.seconds, "stop": stopping.seconds, "bytes": held / order.count}


class World:
    """What all sessions share.

    Many threads count in it, and without a lock, which would cost up to a third of a turn: a
    program has none there, and a run of which a count was lost is refused as odd.
    """

    def __init__(self, order: Order) -> None:
        self.talks, self.order = Talks(order.sessions), order
        self.answered = [threading.Event() for _ in range(order.sessions)]
        wide = order.sessions * CALLS if order.busy else 8
        self.calls = ThreadPoolExecutor(max_workers=min(wide, 4_000))

    def call(self, number: int, wave: int, place: int) -> int:
        """Be the tool."""
        self.talks.call_begins(number, place)
        if self.order.busy:
            time.sleep(CALL_SECONDS)
            self.talks.call_ends(number)
        return wave * CALLS + place


class SessionActor(pykka.ThreadingActor):
    """A session."""

    def __init__(self, number: int, world: World) -> None:
        super().__init__()
        self.number, self.world = number, world
        self.runtime = RuntimeActor.start(number, world, self.actor_ref)
        self.stop_turn: threading.Event | None = None

    def on_receive(self, message: Any) -> None:
        """Take what the user writes, or how a turn ended: its reply, if any, and what it did."""
        if isinstance(message, str):
            if self.stop_turn is None:
                self._start({})
            else:
                self.stop_turn.set()
            return
        reply, done = message
        stopped = self.stop_turn is not None and self.stop_turn.is_set()
        self.stop_turn = None
        if reply is None or stopped:
            self._start(done)
            return
        self.world.talks.replies += 1
        self.world.answered[self.number].set()

    def _start(self, done: dict[tuple[int, int], int]) -> None:
        self.stop_turn = threading.Event()
        self.runtime.tell((self.stop_turn, done))

    def on_stop(self) -> None:
        """Take the runtime along."""
        self.runtime.stop(block=False)


class RuntimeActor(pykka.ThreadingActor):
    """Runs the turns of a session."""

    def __init__(self, number: int, world: World, session: pykka.ActorRef[SessionActor]) -> None:
        super().__init__()
        self.number, self.world, self.session = number, world, session

    def on_receive(self, message: tuple[threading.Event, dict[tuple[int, int], int]]) -> None:
        """Run a turn."""
        stop, done = message
        self.session.tell((self._agent(stop, done), done))

    def _agent(self, stop: threading.Event, done: dict[tuple[int, int], int]) -> str | None:
        talks = self.world.talks
        talks.turn_begins(self.number)
        total = 0
        for wave in range(WAVES):
            if stop.is_set():
                return None
            talks.wave_begins(self.number)
            new = [place for place in range(CALLS) if (wave, place) not in done]
            calls = [self.world.calls.submit(self.world.call, self.number, wave, p) for p in new]
            for place, call in zip(new, calls, strict=True):
                done[wave, place] = call.result()
            total += sum(done[wave, place] for place in range(CALLS))
        return str(total)


def _converse(number: int, session: pykka.ActorRef[SessionActor], world: World) -> None:
    order, answered = world.order, world.answered[number]
    time.sleep(STARTS_WITHIN * number / order.sessions)
    for _ in range(order.rounds):
        answered.clear()
        session.tell("one")
        if order.interrupts:
            time.sleep(SECOND_MESSAGE_AFTER)
            answered.clear()
            world.talks.second_message(number)
            session.tell("two")
        answered.wait()


def turns(order: Order) -> Figures:
    """Run every session's conversation, each user in a thread."""
    world = World(order)
    with Meter() as meter:
        sessions = [SessionActor.start(number, world) for number in range(order.sessions)]
        users = [
            threading.Thread(target=_converse, args=(number, session, world))
            for number, session in enumerate(sessions)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join()
        pykka.ActorRegistry.stop_all()
    world.calls.shutdown()
    return {**meter.figures(), **world.talks.figures()}


if __name__ == "__main__":
    take_part({"tell": tell, "ask": ask, "spawn": spawn, "turns": turns})
