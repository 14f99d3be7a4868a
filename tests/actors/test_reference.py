from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.exit import AskFailed, Exit, ExitKind, Notice
from wavebreak.actors.future import Future
from wavebreak.actors.mailbox import Lane
from wavebreak.actors.reference import LoopActorRef
from wavebreak.messages.errors import MailboxFull, WouldDeadlock


class Echo(AsyncioActor):
    """Answers with what it was asked, and raises what it was given to raise."""

    def __init__(self) -> None:
        super().__init__()
        self.label = "none"
        self.seen: list[object] = []

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.seen.append(message)
        return message


def actor_of(ref: LoopActorRef[Echo]) -> Echo:
    actor = ref._actor
    assert actor is not None
    return actor


async def ended(ref: LoopActorRef[Any]) -> Exit:
    end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ref.watch(lambda notice: end.set_result(notice) if isinstance(notice, Exit) else None)
    return await end


# --- on the loop's own thread nothing blocks --------------------------------------------------


async def test_a_blocking_ask_on_the_loop_raises_before_anything_is_enqueued() -> None:
    ref = Echo.start()
    with pytest.raises(WouldDeadlock, match=r"ask\(\.\.\., block=False\)"):
        ref.ask("never")
    with pytest.raises(WouldDeadlock):
        ref.ask("never", timeout=1)
    assert await ref.ask("first", block=False) == "first"
    assert actor_of(ref).seen == ["first"]
    await ref.stop(block=False)


async def test_a_blocking_stop_on_the_loop_raises_before_anything_is_enqueued() -> None:
    ref = Echo.start()
    with pytest.raises(WouldDeadlock, match=r"stop\(\.\.\., block=False\)"):
        ref.stop()
    assert await ref.ask("alive", block=False) == "alive"
    assert await ref.stop(block=False)


async def test_an_assignment_through_a_proxy_on_the_loop_raises_and_assigns_nothing() -> None:
    ref = Echo.start()
    proxy = ref.proxy()
    with pytest.raises(WouldDeadlock, match="proxy"):
        proxy.label = "never"
    assert await ref.proxy().label == "none"
    await ref.stop(block=False)


async def test_stop_all_on_the_loop_of_a_registered_actor_raises_and_stops_nothing() -> None:
    class Registered(Echo):
        registered = True

    ref = Registered.start()
    with pytest.raises(WouldDeadlock):
        pykka.ActorRegistry.stop_all()
    assert ref.is_alive()
    await asyncio.gather(*pykka.ActorRegistry.stop_all(block=False))
    assert not ref.is_alive()


async def test_waiting_on_the_loop_for_an_actor_to_stop_raises() -> None:
    ref = Echo.start()
    with pytest.raises(WouldDeadlock):
        ref.actor_stopped.wait()
    await ref.stop(block=False)
    assert ref.actor_stopped.wait()


async def test_what_does_not_block_gives_our_future() -> None:
    ref = Echo.start()
    asked = ref.ask(1, block=False)
    assert isinstance(asked, Future)
    with pytest.raises(WouldDeadlock):
        asked.get()
    assert await asked == 1
    assert asked.get() == 1
    stopped = ref.stop(block=False)
    assert isinstance(stopped, Future)
    assert await stopped is True


async def test_a_blocking_ask_of_an_actor_of_another_loop_is_allowed() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ref = Echo.start_on(loop)
    assert ref.ask("hello") == "hello"
    assert ref.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# --- stopping ---------------------------------------------------------------------------------


async def test_stop_says_whether_the_actor_was_alive() -> None:
    ref = Echo.start()
    both = [ref.stop(block=False), ref.stop(block=False)]
    assert [await stopped for stopped in both] == [True, True]
    assert await ref.stop(block=False) is False


async def test_who_asks_to_stop_while_the_actor_stops_waits_for_its_end_too() -> None:
    stops, let_go = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        def on_stop(self) -> Any:
            stops.set()
            return let_go.wait()

    ref = Slow.start()
    first = ref.stop(block=False)
    await stops.wait()
    second = ref.stop(block=False)
    await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    let_go.set()
    assert (await first, await second) == (True, True)
    assert ref.exit == Exit(ExitKind.NORMAL, None, "stop")


async def test_who_asks_to_stop_in_the_middle_of_teardown_is_told_that_it_has_ended() -> None:
    ref = Echo.start()
    stops: list[Future[bool]] = []
    first = ref.stop(block=False)
    refused = ref.ask("late", block=False)
    refused.add_done_callback(lambda done: stops.append(ref.stop(block=False)))
    assert await first
    assert await stops[0]
    assert ref._watchers is None


async def test_who_stops_an_actor_that_fails_before_is_told_that_it_has_ended() -> None:
    ref = Echo.start()
    ref.tell(ValueError())
    assert await ref.stop(block=False) is True


async def test_a_stop_that_waits_is_one_object() -> None:
    ref = Echo.start()
    stopped: object = ref.stop(block=False)
    assert ref.actor_inbox.first is stopped
    ref.tell(1)
    later = ref.stop(block=False)
    assert ref.actor_inbox.queue is not None
    assert list(ref.actor_inbox.queue) == [1, later]
    assert await later


async def test_a_full_mailbox_can_be_stopped() -> None:
    class Narrow(Echo):
        capacity = 1

    ref = Narrow.start()
    ref.tell(1)
    with pytest.raises(MailboxFull):
        ref.tell(2)
    full = ref.ask(3, block=False)
    with pytest.raises(MailboxFull):
        await full
    assert await ref.stop(block=False)


async def test_a_stopped_actor_takes_nothing_and_says_so() -> None:
    ref = Echo.start()
    assert ref.is_alive()
    assert not ref.actor_stopped.is_set()
    await ref.stop(block=False)
    assert not ref.is_alive()
    assert ref.actor_stopped.is_set()
    with pytest.raises(pykka.ActorDeadError, match="Echo"):
        ref.tell(1)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell_control(1)
    with pytest.raises(pykka.ActorDeadError):
        ref.put(1, Lane.SUPERVISION)
    with pytest.raises(pykka.ActorDeadError):
        await ref.ask(1, block=False)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


@pytest.mark.real_time
async def test_a_thread_may_wait_for_the_stop_event() -> None:
    ref = Echo.start()
    assert not await asyncio.to_thread(ref.actor_stopped.wait, 0.001)
    waits = asyncio.create_task(asyncio.to_thread(ref.actor_stopped.wait))
    ref.tell("something")
    await ref.stop(block=False)
    assert await waits


# --- watching ---------------------------------------------------------------------------------


async def test_a_watcher_is_told_of_a_failed_ask_apart_from_the_end() -> None:
    ref = Echo.start()
    notices: list[Notice] = []
    ref.watch(notices.append)
    error = ValueError("ask")
    with pytest.raises(ValueError, match="ask"):
        await ref.ask(error, block=False)
    assert notices == [AskFailed(error)]
    assert ref.is_alive()
    await ref.stop(block=False)
    assert notices == [AskFailed(error), Exit(ExitKind.NORMAL, None, "stop")]


async def test_a_watcher_is_told_of_the_end_once_with_its_cause() -> None:
    ref = Echo.start()
    notices: list[Notice] = []
    ref.watch(notices.append)
    error = ValueError("tell")
    ref.tell(error)
    assert await ended(ref) == Exit(ExitKind.FAILED, error, "receive")
    assert notices == [ref.exit]


async def test_who_watches_too_late_is_told_at_once() -> None:
    ref = Echo.start()
    await ref.stop(block=False)
    notices: list[Notice] = []
    unwatch = ref.watch(notices.append)
    assert notices == [ref.exit]
    unwatch()


async def test_who_watches_no_more_is_told_nothing() -> None:
    ref = Echo.start()
    notices: list[Notice] = []
    others: list[Notice] = []
    unwatch = ref.watch(notices.append)
    ref.watch(others.append)
    unwatch()
    unwatch()
    await ref.stop(block=False)
    assert notices == []
    assert len(others) == 1


async def test_a_watcher_that_raises_disturbs_neither_the_actor_nor_the_others() -> None:
    def leave(_notice: Notice) -> None:
        raise SystemExit

    ref = Echo.start()
    notices: list[Notice] = []
    ref.watch(leave)
    ref.watch(notices.append)
    with pytest.raises(KeyError):
        await ref.ask(KeyError(), block=False)
    assert await ref.stop(block=False)
    assert len(notices) == 2


# --- what is made only when somebody asks -----------------------------------------------------


async def test_the_urn_is_made_once_and_is_that_of_the_actor() -> None:
    ref = Echo.start()
    urn = ref.actor_urn
    assert urn.startswith("urn:uuid:")
    assert ref.actor_urn == urn
    assert actor_of(ref).actor_urn == urn
    assert urn in str(ref)
    assert urn != Echo.start().actor_urn
    await ref.stop(block=False)


def test_threads_that_ask_for_the_urn_at_once_get_the_same() -> None:
    loop = asyncio.new_event_loop()
    for _ in range(50):
        ref = Echo.start_on(loop)
        begin = threading.Barrier(3)
        urns: set[str] = set()

        def ask(
            ref: LoopActorRef[Echo] = ref,
            begin: threading.Barrier = begin,
            urns: set[str] = urns,
        ) -> None:
            begin.wait()
            urns.add(ref.actor_urn)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(urns) == 1
    loop.close()


async def test_an_actor_has_one_reference_and_it_knows_the_loop() -> None:
    ref = Echo.start()
    assert actor_of(ref).actor_ref is ref
    assert ref.loop is asyncio.get_running_loop()
    assert ref.actor_class is Echo
    assert isinstance(ref, pykka.ActorRef)
    await ref.stop(block=False)
    assert ref._actor is None
