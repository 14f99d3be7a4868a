"""Real threads against the loop: everything that is sent is accounted for, exactly once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, ClassVar, TypeAlias

import pykka
import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.exit import Exit
from wavebreak.actors.future import Future
from wavebreak.actors.mailbox import Envelope, Lane
from wavebreak.actors.reference import LoopActorRef
from wavebreak.messages.errors import MailboxFull, WouldDeadlock

pytestmark = pytest.mark.real_time

THREADS = 4
EACH = 60


Message: TypeAlias = tuple[int, int]


class Ledger(AsyncioActor):
    """Notes what it handles and what was left over; every seventh takes it a turn of the loop."""

    capacity: ClassVar[int | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[Message] = []
        self.letters: list[Message] = []

    def on_receive(self, message: Message | str) -> Any:
        if isinstance(message, str):
            raise SystemExit(message)
        self.handled.append(message)
        return self.later(message) if message[1] % 7 == 0 else message

    async def later(self, message: Message) -> Message:
        await asyncio.sleep(0)
        return message

    def dead_letter(self, envelope: Envelope) -> None:
        self.letters.append(envelope.message)


class Narrow(Ledger):
    capacity = 5


@pytest.fixture(autouse=True)
def quick_switching() -> Generator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


async def ended(ref: LoopActorRef[Any]) -> Exit:
    end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ref.watch(lambda notice: end.set_result(notice) if isinstance(notice, Exit) else None)
    return await end


class Sender:
    """One thread's sends, and what became of them: every third an ask, the others tells."""

    def __init__(self, ref: LoopActorRef[Any], number: int, begin: threading.Barrier) -> None:
        self.ref = ref
        self.number = number
        self.begin = begin
        self.told: list[Message] = []
        self.refused: list[Message] = []
        self.asked: dict[Message, Future[Any]] = {}

    def run(self) -> None:
        self.begin.wait()
        for n in range(EACH):
            message = (self.number, n)
            if n % 3 == 0:
                self.asked[message] = self.ref.ask(message, block=False)
                continue
            try:
                self.ref.put(message, Lane(n % 3))
            except (pykka.ActorDeadError, MailboxFull):
                self.refused.append(message)
            else:
                self.told.append(message)

    def answered(self) -> list[Message]:
        """Those asks that were answered; each of the others was told why not."""
        answered: list[Message] = []
        for message, asked in self.asked.items():
            assert asked.done(), "who asked is left waiting"
            error = asked.error()
            if error is None:
                assert asked.get() == message
                answered.append(message)
            else:
                assert isinstance(error, pykka.ActorDeadError | MailboxFull)
        return answered


async def storm(kind: type[Ledger], ticks: int, end: Callable[[LoopActorRef[Ledger]], Any]) -> None:
    """Let threads tell and ask while the actor ends, then look for what is missing.

    Args:
        kind: of actor.
        ticks: turns of the loop after which it ends.
        end: makes it end.
    """
    actor = kind()
    ref = actor._actor_launch()
    begin = threading.Barrier(THREADS + 1)
    senders = [Sender(ref, number, begin) for number in range(THREADS)]
    running = asyncio.gather(*(asyncio.to_thread(sender.run) for sender in senders))
    await asyncio.to_thread(begin.wait)
    for _ in range(ticks):
        await asyncio.sleep(0)
    end(ref)
    await running
    await ended(ref)

    told = [message for sender in senders for message in sender.told]
    answered = [message for sender in senders for message in sender.answered()]
    tells_handled = [message for message in actor.handled if message[1] % 3]
    assert len(actor.handled) == len(set(actor.handled))
    assert sorted(tells_handled + actor.letters) == sorted(told)
    assert actor.dead_letters == len(actor.letters)
    assert set(answered) <= set(actor.handled)
    for sender in senders:
        assert len(sender.told) + len(sender.refused) + len(sender.asked) == EACH
        # What one thread sent by one lane was handled in the order in which it was sent.
        for lane in (1, 2):
            mine = [n for number, n in tells_handled if number == sender.number and n % 3 == lane]
            assert mine == sorted(mine)


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_nothing_is_lost_when_threads_send_while_the_actor_stops(ticks: int) -> None:
    await storm(Ledger, ticks, lambda ref: ref.stop(block=False))


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_nothing_is_lost_when_threads_send_while_the_actor_is_killed(ticks: int) -> None:
    await storm(Ledger, ticks, lambda ref: ref.tell_control("die"))


@pytest.mark.parametrize("ticks", [1, 5, 21])
async def test_nothing_is_lost_when_the_mailbox_is_full_besides(ticks: int) -> None:
    await storm(Narrow, ticks, lambda ref: ref.stop(block=False))


async def test_many_threads_ask_and_each_gets_its_own_answer() -> None:
    ref = Ledger.start()

    def work(number: int) -> list[object]:
        return [ref.ask((number, n)) for n in range(20)]

    answers = await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(THREADS)))
    assert answers == [[(number, n) for n in range(20)] for number in range(THREADS)]
    assert await asyncio.to_thread(ref.stop)


async def test_a_thread_asks_tells_stops_and_is_refused_afterwards() -> None:
    ref = Ledger.start()

    def work() -> None:
        ref.tell((0, 1))
        assert ref.ask((0, 2)) == (0, 2)
        assert ref.ask((0, 7), timeout=5) == (0, 7)
        assert ref.stop() is True
        assert ref.stop() is False
        with pytest.raises(pykka.ActorDeadError):
            ref.ask((0, 3))

    await asyncio.to_thread(work)
    assert not ref.is_alive()


async def test_a_thread_gives_up_waiting_and_the_actor_lives_on() -> None:
    let_go = asyncio.Event()

    class Slow(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            return let_go.wait()

    ref = Slow.start()

    def work() -> None:
        with pytest.raises(pykka.Timeout):
            ref.ask("slow", timeout=0.005)

    await asyncio.to_thread(work)
    let_go.set()
    assert await ref.ask("again", block=False)
    assert await asyncio.to_thread(ref.stop)


async def test_a_stock_actor_of_pykka_and_one_of_ours_talk_to_each_other() -> None:
    class Stock(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return ours.ask(message) if isinstance(message, tuple) else message

    class Bridge(AsyncioActor):
        async def on_receive(self, message: Any) -> Any:
            return await Future.bridge(stock.ask(message, block=False))

    ours = Ledger.start()
    stock = Stock.start()
    bridge = Bridge.start()
    assert await bridge.ask("from the loop", block=False) == "from the loop"
    assert await bridge.ask((1, 1), block=False) == (1, 1)
    await asyncio.gather(bridge.stop(block=False), ours.stop(block=False))
    assert await Future.bridge(stock.stop(block=False))


async def test_actors_of_two_loops_ask_each_other() -> None:
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()

    class Relay(AsyncioActor):
        async def on_receive(self, message: Any) -> Any:
            peer, depth = message
            if depth == 0:
                return "bottom"
            return await peer.ask((self.actor_ref, depth - 1), block=False)

    class Base(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            return threading.get_ident()

    here, there = Base.start(), Base.start_on(other)
    assert await here.ask(0, block=False) == threading.get_ident()
    assert await there.ask(0, block=False) == thread.ident
    with pytest.raises(WouldDeadlock):
        here.ask(0)
    one, two = Relay.start(), Relay.start_on(other)
    assert await one.ask((two, 1), block=False) == "bottom"
    for ref in (here, there, one, two):
        assert await ref.stop(block=False)
    other.call_soon_threadsafe(other.stop)
    thread.join()
    other.close()


async def test_starting_from_many_threads_at_once_starts_each_once() -> None:
    loop = asyncio.get_running_loop()
    begin = threading.Barrier(THREADS)

    def work() -> list[LoopActorRef[Ledger]]:
        begin.wait()
        return [Ledger.start_on(loop) for _ in range(20)]

    lists = await asyncio.gather(*(asyncio.to_thread(work) for _ in range(THREADS)))
    refs = [ref for refs in lists for ref in refs]
    assert await refs[-1].ask((0, 1), block=False) == (0, 1)
    assert AsyncioActor._actor_living.on(loop) == len(refs) == 20 * THREADS
    for stopped in [ref.stop(block=False) for ref in refs]:
        assert await stopped
    assert AsyncioActor._actor_living.on(loop) == 0


async def test_watching_from_threads_while_the_actor_ends_tells_each_exactly_once() -> None:
    for _ in range(10):
        ref = Ledger.start()
        begin = threading.Barrier(THREADS + 1)
        told: list[object] = []

        def work(
            ref: LoopActorRef[Ledger] = ref,
            begin: threading.Barrier = begin,
            told: list[object] = told,
        ) -> None:
            begin.wait()
            for _ in range(20):
                ref.watch(told.append)

        jobs = asyncio.gather(*(asyncio.to_thread(work) for _ in range(THREADS)))
        await asyncio.to_thread(begin.wait)
        ref.stop(block=False)
        await jobs
        await ended(ref)
        assert told == [ref.exit] * (20 * THREADS)


FORKING = """
import os, threading, time
from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.future import Future
from wavebreak.actors.reference import LoopActorRef

for lock in (AsyncioActor._actor_lock, Future._lock, LoopActorRef._lock):
    is_held = threading.Event()

    def hold():
        with lock:
            is_held.set()
            time.sleep(0.05)

    threading.Thread(target=hold).start()
    is_held.wait()
    child = os.fork()
    if not child:
        os._exit(0 if lock.acquire(blocking=False) else 1)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a forked process has a lock that nobody will release")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_gets_no_lock_that_a_thread_of_the_other_one_holds() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
