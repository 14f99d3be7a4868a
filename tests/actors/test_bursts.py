"""Messages that are told one upon the other: they need no envelope, and nothing else changes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import pykka
import pytest

from wavebreak.actors.actor import BURST, AsyncioActor
from wavebreak.actors.exit import Exit, ExitKind
from wavebreak.actors.future import Future
from wavebreak.actors.mailbox import Envelope, Lane, Mailbox
from wavebreak.actors.reference import LoopActorRef
from wavebreak.messages.errors import MailboxFull


class Recorder(AsyncioActor):
    """Notes what it gets; calls what is callable, and awaits what that gives if it can."""

    capacity: ClassVar[int | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.letters: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.seen.append(message)
        return message

    def note(self, message: Any) -> None:
        self.seen.append(message)

    def dead_letter(self, envelope: Envelope) -> None:
        self.letters.append(envelope.message)


Do: TypeAlias = Callable[[Recorder], Any]


def do(handler: Do) -> Do:
    """Give a lambda its type."""
    return handler


def fails(_: Recorder) -> None:
    raise ValueError


def actor_of(ref: LoopActorRef[Any]) -> Recorder:
    actor = ref._actor
    assert isinstance(actor, Recorder)
    return actor


async def started(kind: type[Recorder] = Recorder) -> tuple[LoopActorRef[Recorder], Recorder]:
    ref: LoopActorRef[Recorder] = kind.start()
    actor = actor_of(ref)
    await ref.ask(do(lambda _: None), block=False)
    return ref, actor


async def ended(ref: LoopActorRef[Any]) -> Exit:
    end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ref.watch(lambda notice: end.set_result(notice) if isinstance(notice, Exit) else None)
    return await end


def burst(ref: LoopActorRef[Recorder], *messages: Any) -> deque[Any]:
    """Tell all of it, and give the queue that it is in."""
    for message in messages:
        ref.tell(message)
    queue = ref.actor_inbox.queue
    assert queue is not None
    return queue


# --- order ------------------------------------------------------------------------------------


async def test_tells_and_asks_are_handled_in_the_order_in_which_they_were_sent() -> None:
    ref, actor = await started()
    answers: list[Future[Any]] = []
    for n in range(3 * BURST):
        if n % 5 == 3:
            answers.append(ref.ask(n, block=False))
        elif n % 7 == 3:
            ref.put(n)
        else:
            ref.tell(n)
    assert ref.actor_inbox.qsize() == 3 * BURST
    assert [await answer for answer in answers] == [n for n in range(3 * BURST) if n % 5 == 3]
    await ref.stop(block=False)
    assert actor.seen == list(range(3 * BURST))
    assert ref.actor_inbox.queue is None


async def test_what_is_told_to_an_idle_actor_needs_no_envelope() -> None:
    ref, actor = await started()
    assert list(burst(ref, 1)) == [1]
    assert ref.actor_inbox.first is None
    await asyncio.sleep(0)
    assert actor.seen == [1]
    assert ref.actor_inbox.queue is None
    await ref.stop(block=False)


async def test_an_idle_actor_holds_no_queue() -> None:
    ref, actor = await started()
    burst(ref, 1, 2, 3)
    await ref.ask(4, block=False)
    await asyncio.sleep(0)
    assert actor.seen == [1, 2, 3, 4]
    assert ref.actor_inbox.queue is None
    assert ref.actor_inbox.empty()
    await ref.stop(block=False)


async def test_the_other_lanes_overtake_a_burst_in_the_middle() -> None:
    ref, actor = await started()

    def urgent(it: Recorder) -> None:
        ref.put("supervision", Lane.SUPERVISION)
        ref.tell_control("control")

    burst(ref, 1, 2, urgent, 3, 4)
    await ref.stop(block=False)
    assert actor.seen == [1, 2, "control", "supervision", 3, 4]


async def test_a_message_that_takes_its_time_holds_up_the_burst_behind_it() -> None:
    ref, actor = await started()
    let_go = asyncio.Event()
    burst(ref, 1, 2, do(lambda _: let_go.wait()), 3)
    while actor.seen != [1, 2]:
        await asyncio.sleep(0)
    burst(ref, 4)
    await asyncio.sleep(0)
    assert actor.seen == [1, 2]
    let_go.set()
    await ref.stop(block=False)
    assert actor.seen == [1, 2, 3, 4]


async def test_what_is_told_while_a_burst_is_handled_comes_behind_it() -> None:
    ref, actor = await started()
    burst(ref, 1, do(lambda _: ref.tell("late")), 2, 3)
    while "late" not in actor.seen:
        await asyncio.sleep(0)
    await ref.stop(block=False)
    assert actor.seen == [1, 2, 3, "late"]


async def test_proxies_and_envelopes_keep_their_place_in_a_burst() -> None:
    ref, actor = await started()
    told, put = Envelope("told"), Envelope("put")
    ref.tell(1)
    ref.tell(2)
    ref.tell(told)  # as a message, which it is as good as any other
    ref.proxy().note.defer("proxy")
    ref.actor_inbox.put(put)
    ref.tell(3)
    await ref.stop(block=False)
    assert actor.seen == [1, 2, told, "proxy", "put", 3]


async def test_one_that_dispatches_by_itself_sees_an_envelope_with_a_stamp_of_each() -> None:
    class Dispatcher(Recorder):
        def handle(self, envelope: Envelope) -> Any:
            self.seen.append((envelope.stamp, envelope.message))
            return super().handle(envelope)

        def on_receive(self, message: Any) -> Any:
            return message

    ref = Dispatcher.start()
    actor = actor_of(ref)
    for n in range(3):
        ref.tell(n)
    await ref.ask("asked", block=False)
    assert actor.seen == [(1, 0), (2, 1), (3, 2), (4, "asked")]
    await ref.stop(block=False)


async def test_a_burst_is_handled_in_the_context_of_the_actor() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    ref, actor = await started()
    variable.set("the sender's")
    note = do(lambda it: it.seen.append(variable.get()))
    burst(ref, note, note, note)
    await ref.stop(block=False)
    assert actor.seen == ["default"] * 3


# --- bounds -----------------------------------------------------------------------------------


async def test_a_burst_is_bounded_with_what_waits_beside_it() -> None:
    class Narrow(Recorder):
        capacity = 4

    ref, actor = await started(Narrow)
    burst(ref, 1, 2, 3)
    asked = ref.ask(4, block=False)
    with pytest.raises(MailboxFull, match="4"):
        ref.tell(5)
    with pytest.raises(MailboxFull):
        await ref.ask(5, block=False)
    ref.put("own", bounded=False)
    ref.tell_control("control")
    with pytest.raises(MailboxFull):
        ref.tell(5)
    assert await asked == 4
    ref.tell(5)
    await ref.stop(block=False)
    assert actor.seen == ["control", 1, 2, 3, 4, "own", 5]


async def test_in_the_middle_of_a_burst_there_is_room_for_what_was_handled() -> None:
    class Narrow(Recorder):
        capacity = 3

    ref, actor = await started(Narrow)

    def fill(_: Recorder) -> None:
        ref.tell("a")
        with pytest.raises(MailboxFull):
            ref.tell("b")

    burst(ref, fill, 1, 2)
    while len(actor.seen) < 3:
        await asyncio.sleep(0)
    await ref.stop(block=False)
    assert actor.seen == [1, 2, "a"]


async def test_two_flooded_actors_have_their_turns() -> None:
    order: list[str] = []

    class Flooded(Recorder):
        def on_receive(self, message: Any) -> Any:
            order.append(message)

    one, two = Flooded.start(), Flooded.start()
    for _ in range(10 * BURST):
        one.tell("one")
        two.tell("two")
    await asyncio.gather(one.stop(block=False), two.stop(block=False))
    assert len(order) == 20 * BURST
    for turn in range(19):
        assert len(set(order[turn * BURST : (turn + 1) * BURST])) == 1
    assert set(order[::BURST]) == {"one", "two"}
    assert order[:: 2 * BURST] == ["one"] * 10


async def test_the_loop_has_its_turn_in_the_middle_of_a_long_burst() -> None:
    ref, actor = await started()
    burst(ref, *range(3 * BURST))
    await asyncio.sleep(0)
    assert len(actor.seen) == BURST
    await ref.stop(block=False)
    assert actor.seen == list(range(3 * BURST))


# --- ends in the middle -----------------------------------------------------------------------


async def test_a_message_that_fails_ends_the_actor_in_the_middle_of_a_burst() -> None:
    ref, actor = await started()
    burst(ref, 1, fails, 2, 3)
    asked = ref.ask(4, block=False)
    exit_ = await ended(ref)
    assert (exit_.kind, exit_.phase) == (ExitKind.FAILED, "receive")
    assert isinstance(exit_.cause, ValueError)
    with pytest.raises(pykka.ActorDeadError):
        await asked
    assert (actor.seen, actor.letters, actor.dead_letters) == ([1], [2, 3], 2)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(5)


async def test_one_that_fails_later_ends_the_actor_in_the_middle_of_a_burst() -> None:
    async def later(it: Recorder) -> None:
        await asyncio.sleep(0)
        fails(it)

    ref, actor = await started()
    burst(ref, 1, later, 2, 3)
    assert isinstance((await ended(ref)).cause, ValueError)
    assert (actor.seen, actor.letters) == ([1], [2, 3])


async def test_an_ask_that_fails_in_the_middle_of_a_burst_ends_nothing() -> None:
    ref, actor = await started()
    burst(ref, 1, 2)
    asked = ref.ask(fails, block=False)
    ref.tell(3)
    with pytest.raises(ValueError, match=r"^$"):
        await asked
    await ref.stop(block=False)
    assert actor.seen == [1, 2, 3]


async def test_a_stop_in_the_middle_of_a_burst_leaves_the_rest() -> None:
    ref, actor = await started()
    burst(ref, 1, 2)
    stopped = ref.stop(block=False)
    ref.tell(3)
    asked = ref.ask(4, block=False)
    assert await stopped
    with pytest.raises(pykka.ActorDeadError):
        await asked
    assert (actor.seen, actor.letters) == ([1, 2], [3])


async def test_an_actor_that_stops_itself_leaves_the_rest_of_the_burst() -> None:
    ref, actor = await started()
    burst(ref, 1, do(lambda it: it._stop()), 2, 3)
    assert (await ended(ref)).kind is ExitKind.NORMAL
    assert (actor.seen, actor.letters) == ([1], [2, 3])


async def test_an_actor_that_is_given_up_in_the_middle_of_a_burst_handles_no_more() -> None:
    ref, actor = await started()
    burst(ref, 1, do(lambda _: ref.give_up()), 2, 3)
    assert (await ended(ref)).kind is ExitKind.KILLED
    await asyncio.sleep(0)
    assert (actor.seen, actor.letters) == ([1], [2, 3])


async def test_nothing_is_told_while_the_actor_stops() -> None:
    let_go = asyncio.Event()

    class Slow(Recorder):
        def on_stop(self) -> Any:
            return let_go.wait()

    ref, actor = await started(Slow)
    burst(ref, 1, 2)
    stopped = ref.stop(block=False)
    queue = burst(ref, 3)
    while ref.is_alive():
        await asyncio.sleep(0)
    assert ref.actor_inbox.queue is queue
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(4)
    let_go.set()
    assert await stopped
    assert (actor.seen, actor.letters) == ([1, 2], [3])


def test_nothing_is_told_to_an_actor_whose_loop_was_closed() -> None:
    loop = asyncio.new_event_loop()
    ref = Recorder.start_on(loop)
    burst(ref, 1, 2, 3)
    loop.close()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(4)


async def test_only_an_actor_without_a_burst_before_it_retires() -> None:
    ref, actor = await started()
    burst(ref, 1, 2)
    assert not actor.retire()
    await ref.ask(3, block=False)
    assert actor.retire()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(4)
    assert actor.seen == [1, 2, 3]


async def test_what_is_handed_over_comes_behind_what_is_left_of_a_burst() -> None:
    ref, actor = await started()
    burst(ref, *range(BURST + 2))
    await asyncio.sleep(0)
    assert len(actor.seen) == BURST
    assert ref.actor_inbox.pending
    assert not ref.take("now")
    assert not actor.retire()
    actor.hand("handed")
    await ref.stop(block=False)
    assert actor.seen == [*range(BURST + 2), "handed"]


async def test_a_burst_is_drained_at_once() -> None:
    ref, actor = await started()
    burst(ref, 1, 2, 3)
    assert actor.drain()
    assert actor.seen == [1, 2, 3]
    ref.tell(4)
    await ref.stop(block=False)
    assert actor.seen == [1, 2, 3, 4]


async def test_what_was_handled_is_let_go_while_the_burst_goes_on() -> None:
    class Load:
        pass

    ref, _ = await started()
    load = Load()
    gone = weakref.ref(load)
    alive: list[bool] = []
    burst(ref, 0, load, 2, do(lambda it: it.seen.clear()), do(lambda _: alive.append(bool(gone()))))
    del load
    await ref.stop(block=False)
    gc.collect()
    assert alive == [False]


# --- the mailbox, and threads that come too late ----------------------------------------------


async def a_mailbox() -> Mailbox:
    mailbox = Mailbox(asyncio.get_running_loop())
    mailbox.attach(lambda: None, None)
    return mailbox


def read(mailbox: Mailbox) -> list[Any]:
    messages: list[Any] = []
    while (envelope := mailbox.pop()) is not None:
        assert envelope.next is None
        messages.append(envelope.message)
    return messages


def told(mailbox: Mailbox, *messages: Any) -> deque[Any]:
    for message in messages:
        mailbox.tell(message)
    assert mailbox.queue is not None
    return mailbox.queue


async def test_a_queue_is_thrown_away_when_it_was_read() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2, 3)
    assert read(mailbox) == [1, 2, 3]
    assert mailbox.queue is None
    assert told(mailbox, 4, 5) is not queue
    assert read(mailbox) == [4, 5]


async def test_what_is_appended_to_a_queue_that_was_thrown_away_is_found_again() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2)
    assert read(mailbox) == [1, 2]
    queue.extend(["late", "later"])
    mailbox.retrace(queue, "later")
    mailbox.retrace(queue, "late")
    assert not queue
    assert read(mailbox) == ["late", "later"]


async def test_what_was_told_by_two_threads_is_in_its_place_when_each_of_them_goes_on() -> None:
    # One thread's was read, the other one's came too late; and it is one and the same object.
    mailbox = await a_mailbox()
    queue = told(mailbox, 0, "again")
    assert read(mailbox) == [0, "again"]
    queue.append("again")
    mailbox.retrace(queue, "again")  # of the thread whose message was read
    mailbox.retrace(queue, "again")  # of the one that was too late, which now tells more
    mailbox.tell("more")
    assert read(mailbox) == ["again", "more"]


async def test_what_came_too_late_for_a_mailbox_that_closed_is_refused_once() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2)
    assert len(mailbox.close()) == 2
    mailbox.retrace(queue, 2)  # it was left in the mailbox, and handed back
    queue.extend(["late", "later"])
    for message in ("later", "late"):
        with pytest.raises(pykka.ActorDeadError):
            mailbox.retrace(queue, message)
    assert not queue


async def test_what_was_read_before_the_queue_was_thrown_away_is_not_told_twice() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2)
    assert read(mailbox) == [1, 2]
    told(mailbox, 3, 4)
    mailbox.retrace(queue, 2)
    assert read(mailbox) == [3, 4]


async def test_a_queue_that_is_still_read_is_left_alone() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2)
    mailbox.retrace(queue, 2)
    assert read(mailbox) == [1, 2]


async def test_a_reader_that_comes_later_is_woken_for_a_queue() -> None:
    mailbox = await a_mailbox()
    told(mailbox, 1, 2)
    mailbox.detach()
    woken: list[int] = []
    mailbox.attach(lambda: woken.append(1), None)
    await asyncio.sleep(0)
    assert woken == [1]
    assert read(mailbox) == [1, 2]


async def test_a_reader_that_comes_later_is_woken_for_a_queue_that_was_not_thrown_away() -> None:
    mailbox = await a_mailbox()
    queue = told(mailbox, 1, 2)
    mailbox.pop()
    mailbox.pop()
    assert mailbox.queue is queue
    mailbox.detach()
    woken: list[int] = []
    mailbox.attach(lambda: woken.append(1), None)
    await asyncio.sleep(0)
    assert woken == [1]  # or nobody would be woken for what is appended
    assert read(mailbox) == []
    assert mailbox.queue is None


async def test_sifting_looks_into_a_queue_and_keeps_its_order() -> None:
    mailbox = await a_mailbox()
    told(mailbox, 1, 2, 3)
    mailbox.put(Envelope(4))
    told(mailbox, 5)
    out = mailbox.sift(lambda envelope: envelope.message % 2 == 1)
    assert [envelope.message for envelope in out] == [2, 4]
    assert mailbox.qsize() == 3
    assert read(mailbox) == [1, 3, 5]


async def test_closing_hands_back_a_queue_in_reading_order() -> None:
    mailbox = await a_mailbox()
    told(mailbox, 1, 2)
    mailbox.put(Envelope(3))
    mailbox.put(Envelope("control"), Lane.CONTROL)
    assert [envelope.message for envelope in mailbox.close()] == ["control", 1, 2, 3]
    assert mailbox.empty()
    with pytest.raises(pykka.ActorDeadError):
        mailbox.tell(4)


class Slipping(deque[Any]):
    """Just before something is appended, all is read and the queue thrown away."""

    def __init__(self, ref: LoopActorRef[Any], before: Callable[[], object]) -> None:
        super().__init__(burst(ref, 1, 2))
        ref.actor_inbox.queue = self
        self.before = before

    def append(self, message: Any) -> None:
        self.before()
        super().append(message)


async def test_a_tell_that_comes_too_late_for_a_queue_is_told_again() -> None:
    ref, actor = await started()
    Slipping(ref, lambda: actor._actor_context.run(actor._actor_pump))
    ref.tell(3)
    assert actor.seen == [1, 2]
    await ref.stop(block=False)
    assert actor.seen == [1, 2, 3]


async def test_a_tell_that_comes_too_late_for_the_actor_is_refused() -> None:
    ref, actor = await started()
    Slipping(ref, ref.give_up)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(3)
    assert (actor.seen, actor.letters) == ([], [1, 2])


@pytest.mark.real_time
async def test_threads_that_tell_while_the_actor_goes_idle_lose_nothing() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        ref, actor = await started()
        begin = threading.Barrier(4)

        def tell(thread: int) -> None:
            begin.wait()
            for n in range(500):
                ref.tell((thread, n))

        await asyncio.gather(*(asyncio.to_thread(tell, thread) for thread in range(4)))
        await ref.stop(block=False)
    finally:
        sys.setswitchinterval(interval)
    for thread in range(4):
        assert [n for by, n in actor.seen if by == thread] == list(range(500))
    assert len(actor.seen) == 2000


@pytest.mark.real_time
async def test_threads_that_tell_while_the_actor_ends_know_what_became_of_each() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turns in range(5):
            ref, actor = await started()
            begin = threading.Barrier(4)
            sent: list[Any] = []

            def tell(
                thread: int,
                ref: LoopActorRef[Recorder] = ref,
                begin: threading.Barrier = begin,
                sent: list[Any] = sent,
            ) -> None:
                begin.wait()
                for n in range(200):
                    try:
                        ref.tell((thread, n))
                    except pykka.ActorDeadError:
                        return
                    sent.append((thread, n))

            telling = asyncio.gather(*(asyncio.to_thread(tell, thread) for thread in range(4)))
            for _ in range(turns):
                await asyncio.sleep(0)
            await ref.stop(block=False)
            await telling
            assert sorted(actor.seen + actor.letters) == sorted(sent)
    finally:
        sys.setswitchinterval(interval)
