from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka._envelope import Envelope as PykkaEnvelope

from wavebreak.actors.mailbox import Envelope, Lane, Mailbox
from wavebreak.messages.errors import MailboxFull


class RecordingLoop:
    """Stands in for a loop that does not run; notes who was to be called, and from where."""

    def __init__(self) -> None:
        self.closed = False
        self.closes_at_wake = False
        self.called: list[Callable[[], object]] = []

    def is_closed(self) -> bool:
        return self.closed

    def call_soon_threadsafe(self, call: Callable[[], object], *, context: Context | None) -> None:
        del context
        if self.closes_at_wake:
            self.closed = True
            raise RuntimeError("Event loop is closed")
        self.called.append(call)


def a_mailbox(*, capacity: int | None = None) -> tuple[Mailbox, RecordingLoop]:
    loop = RecordingLoop()
    return Mailbox(cast("asyncio.AbstractEventLoop", loop), capacity=capacity), loop


def put(mailbox: Mailbox, message: object, lane: Lane = Lane.ORDINARY) -> int:
    return mailbox.put(Envelope(message), lane)


def read(mailbox: Mailbox) -> list[Any]:
    messages: list[Any] = []
    while (envelope := mailbox.pop()) is not None:
        messages.append(envelope.message)
    return messages


def nothing() -> None:
    pass


# --- lanes and stamps -------------------------------------------------------------------------


def test_control_is_read_before_supervision_before_ordinary() -> None:
    mailbox, _ = a_mailbox()
    put(mailbox, "o1")
    put(mailbox, "s1", Lane.SUPERVISION)
    put(mailbox, "c1", Lane.CONTROL)
    put(mailbox, "o2")
    put(mailbox, "c2", Lane.CONTROL)
    put(mailbox, "s2", Lane.SUPERVISION)
    assert read(mailbox) == ["c1", "c2", "s1", "s2", "o1", "o2"]


def test_stamps_grow_in_the_order_of_the_puts_over_all_lanes() -> None:
    mailbox, _ = a_mailbox()
    stamps = [put(mailbox, n, lane) for n, lane in enumerate([Lane.ORDINARY, *Lane, Lane.CONTROL])]
    assert stamps == [1, 2, 3, 4, 5]
    assert mailbox.last_stamp == 5


def test_stamps_go_on_where_an_earlier_mailbox_ended() -> None:
    loop = cast("asyncio.AbstractEventLoop", RecordingLoop())
    assert put(Mailbox(loop, last_stamp=41), "m") == 42


Op = tuple[str, Lane]
ops = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "pop", "unbounded"]), st.sampled_from(Lane)),
    max_size=60,
)


@given(ops)
def test_it_behaves_as_three_queues_would(steps: list[Op]) -> None:
    mailbox, _ = a_mailbox(capacity=3)
    model: dict[Lane, list[int]] = {lane: [] for lane in Lane}
    for stamp_or_none, (what, lane) in enumerate(steps):
        waiting = sorted((lane, stamp) for lane, queue in model.items() for stamp in queue)
        assert mailbox.pending == bool(waiting)
        assert mailbox.empty() == (not waiting)
        assert mailbox.qsize() == len(waiting)
        if what == "pop":
            envelope = mailbox.pop()
            assert (envelope.stamp if envelope else None) == (waiting[0][1] if waiting else None)
            if waiting:
                model[waiting[0][0]].pop(0)
            continue
        full = lane is Lane.ORDINARY and what == "put" and len(model[lane]) >= 3
        try:
            stamp = mailbox.put(Envelope(stamp_or_none), lane, bounded=what == "put")
        except MailboxFull:
            assert full
        else:
            assert not full
            assert stamp == mailbox.last_stamp
            model[lane].append(stamp)
    left = [envelope.stamp for envelope in mailbox.close()]
    assert left == [stamp for lane in Lane for stamp in model[lane]]


# --- bounds -----------------------------------------------------------------------------------


def test_the_ordinary_lane_is_bounded_and_the_error_names_the_bound() -> None:
    mailbox, _ = a_mailbox(capacity=2)
    put(mailbox, 1)
    put(mailbox, 2)
    with pytest.raises(MailboxFull, match="capacity than 2"):
        put(mailbox, 3)
    assert read(mailbox) == [1, 2]
    put(mailbox, 4)
    assert read(mailbox) == [4]


def test_a_refused_message_takes_no_stamp() -> None:
    mailbox, _ = a_mailbox(capacity=0)
    with pytest.raises(MailboxFull):
        put(mailbox, 1)
    assert mailbox.last_stamp == 0


def test_the_other_lanes_and_the_frameworks_own_puts_are_not_bounded() -> None:
    mailbox, _ = a_mailbox(capacity=0)
    put(mailbox, "control", Lane.CONTROL)
    put(mailbox, "supervision", Lane.SUPERVISION)
    mailbox.put(Envelope("own"), bounded=False)
    assert read(mailbox) == ["control", "supervision", "own"]


def test_a_message_that_was_read_holds_no_other_and_may_be_put_again() -> None:
    mailbox, _ = a_mailbox()
    put(mailbox, 1)
    put(mailbox, 2)
    first = mailbox.pop()
    assert first is not None
    assert first.next is None
    assert mailbox.put(first) == 3
    assert read(mailbox) == [2, 1]


# --- waking the reader ------------------------------------------------------------------------


def test_a_burst_wakes_the_reader_once() -> None:
    mailbox, loop = a_mailbox()
    mailbox.attach(nothing, None)
    for n in range(100):
        put(mailbox, n, Lane(n % 3))
    assert loop.called == [nothing]


def test_the_reader_is_woken_again_only_after_it_got_none() -> None:
    mailbox, loop = a_mailbox()
    mailbox.attach(nothing, None)
    put(mailbox, 1)
    mailbox.pop()
    put(mailbox, 2)
    assert len(loop.called) == 1
    assert read(mailbox) == [2]
    put(mailbox, 3)
    assert len(loop.called) == 2


def test_a_reader_that_attaches_is_woken_if_something_waits() -> None:
    mailbox, loop = a_mailbox()
    mailbox.attach(nothing, None)
    assert loop.called == []
    mailbox.detach()
    put(mailbox, 1)
    assert loop.called == []
    mailbox.attach(nothing, None)
    assert loop.called == [nothing]
    assert read(mailbox) == [1]


def test_what_waits_outlives_the_reader() -> None:
    mailbox, loop = a_mailbox()
    mailbox.attach(nothing, None)
    put(mailbox, 1)
    mailbox.detach()
    put(mailbox, 2)
    other = [].clear
    mailbox.attach(other, None)
    assert loop.called == [nothing, other]
    assert read(mailbox) == [1, 2]


async def test_on_the_loops_own_thread_the_reader_is_woken_in_its_own_context() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    context = contextvars.copy_context()
    context.run(variable.set, "the reader's")
    variable.set("the sender's")
    seen: list[str] = []
    mailbox = Mailbox(asyncio.get_running_loop())
    mailbox.attach(lambda: seen.append(variable.get()), context)
    put(mailbox, 1)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == ["the reader's"]


async def test_another_thread_wakes_the_reader_on_the_loop() -> None:
    woken = asyncio.Event()
    threads: list[int] = []

    def wake() -> None:
        threads.append(threading.get_ident())
        woken.set()

    mailbox = Mailbox(asyncio.get_running_loop())
    mailbox.attach(wake, None)
    await asyncio.to_thread(put, mailbox, 1)
    await woken.wait()
    assert threads == [threading.get_ident()]


# --- closing ----------------------------------------------------------------------------------


def test_closing_hands_back_what_was_left_in_reading_order_and_refuses_the_rest() -> None:
    mailbox, _ = a_mailbox()
    put(mailbox, "o")
    put(mailbox, "c", Lane.CONTROL)
    assert [envelope.message for envelope in mailbox.close()] == ["c", "o"]
    assert mailbox.closed
    with pytest.raises(pykka.ActorDeadError):
        put(mailbox, "late")
    with pytest.raises(pykka.ActorDeadError):
        mailbox.attach(nothing, None)
    assert mailbox.close() == []


def test_only_an_empty_mailbox_closes_for_passivation() -> None:
    mailbox, _ = a_mailbox()
    put(mailbox, 1)
    assert not mailbox.close_if_empty()
    put(mailbox, 2)
    assert read(mailbox) == [1, 2]
    assert mailbox.close_if_empty()
    with pytest.raises(pykka.ActorDeadError):
        put(mailbox, 3)


def test_a_put_into_a_mailbox_of_a_closed_loop_is_refused() -> None:
    mailbox, loop = a_mailbox()
    loop.closed = True
    with pytest.raises(pykka.ActorDeadError):
        put(mailbox, 1)
    assert mailbox.empty()


def test_a_put_whose_wake_up_finds_the_loop_closed_leaves_nothing_behind() -> None:
    mailbox, loop = a_mailbox()
    mailbox.attach(nothing, None)
    loop.closes_at_wake = True
    for lane in Lane:
        loop.closed = False
        with pytest.raises(pykka.ActorDeadError):
            put(mailbox, 1, lane)
    assert mailbox.empty()
    assert mailbox.close() == []


def test_nothing_is_lost_between_threads_that_put_and_one_that_reads_and_closes() -> None:
    for _ in range(20):
        mailbox, _ = a_mailbox()
        begin = threading.Barrier(5)
        refused: list[tuple[int, int]] = []
        stamps: list[int] = []

        def work(
            thread: int,
            mailbox: Mailbox = mailbox,
            begin: threading.Barrier = begin,
            refused: list[tuple[int, int]] = refused,
            stamps: list[int] = stamps,
        ) -> None:
            begin.wait()
            for n in range(50):
                try:
                    stamps.append(put(mailbox, (thread, n), Lane((thread + n) % 3)))
                except pykka.ActorDeadError:
                    refused.append((thread, n))

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        begin.wait()
        taken = [envelope for _ in range(60) if (envelope := mailbox.pop()) is not None]
        taken += mailbox.close()
        for thread in threads:
            thread.join()
        everything = [envelope.message for envelope in taken] + refused
        assert sorted(everything) == [(thread, n) for thread in range(4) for n in range(50)]
        assert sorted(stamps) == sorted(envelope.stamp for envelope in taken)
        assert len(set(stamps)) == len(stamps)


# --- Pykka's protocol, and size ---------------------------------------------------------------


def test_pykkas_own_envelopes_are_taken_too() -> None:
    mailbox, _ = a_mailbox()
    future = pykka.ThreadingFuture[int]()
    assert mailbox.put(PykkaEnvelope("m", future)) == 1
    envelope = mailbox.get()
    assert (envelope.message, envelope.reply_to) == ("m", future)


def test_get_does_not_wait() -> None:
    mailbox, _ = a_mailbox()
    with pytest.raises(LookupError, match="attach"):
        mailbox.get()


def test_an_idle_mailbox_holds_no_container() -> None:
    mailbox, _ = a_mailbox(capacity=10)
    for lane in Lane:
        put(mailbox, lane, lane)
    read(mailbox)
    held = [getattr(mailbox, name) for name in Mailbox.__slots__]
    assert not any(isinstance(value, list | dict | set | tuple | Envelope) for value in held)
    assert sys.getsizeof(mailbox) <= 160
