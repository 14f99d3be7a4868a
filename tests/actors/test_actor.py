from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import pykka
import pytest
from pykka.messages import ProxyCall

from wavebreak.actors.actor import BURST, AsyncioActor, Lifecycle
from wavebreak.actors.exit import Exit
from wavebreak.actors.future import Future
from wavebreak.actors.mailbox import Envelope, Lane, Mailbox
from wavebreak.actors.reference import LoopActorRef
from wavebreak.messages.errors import ActorError, MailboxFull


class Recorder(AsyncioActor):
    """Notes what it gets; calls what is callable, and awaits what that gives if it can."""

    def __init__(self, *, mailbox: Mailbox | None = None) -> None:
        super().__init__(mailbox=mailbox)
        self.seen: list[object] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.seen.append(message)
        return message


Do: TypeAlias = Callable[[Recorder], Any]
A = TypeVar("A", bound=AsyncioActor)


def do(handler: Do) -> Do:
    """Give a lambda its type."""
    return handler


def actor_of(ref: LoopActorRef[A]) -> A:
    actor = ref._actor
    assert actor is not None
    return actor


@contextmanager
def count_tasks() -> Generator[list[object]]:
    """Note the coroutines that tasks are made of meanwhile."""
    made: list[object] = []
    real = asyncio.Task

    def make(coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return real(coroutine, **options)

    asyncio.Task = make  # type: ignore[assignment, misc]
    try:
        yield made
    finally:
        asyncio.Task = real  # type: ignore[misc]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(ref: LoopActorRef[Any]) -> Exit:
    end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ref.watch(lambda notice: end.set_result(notice) if isinstance(notice, Exit) else None)
    return await end


# --- starting ---------------------------------------------------------------------------------


async def test_start_hands_its_arguments_to_init_and_runs_on_start_before_any_message() -> None:
    order: list[object] = []

    class Named(AsyncioActor):
        def __init__(self, name: str, *, suffix: str) -> None:
            order.append(name + suffix)
            super().__init__()

        def on_start(self) -> None:
            order.append("start")

        def on_receive(self, message: Any) -> Any:
            order.append(message)

    ref = Named.start("a", suffix="b")
    ref.tell("m")
    await ref.stop(block=False)
    assert order == ["ab", "start", "m"]


def test_start_without_a_running_loop_says_what_to_do() -> None:
    with pytest.raises(ActorError, match="start_on"):
        Recorder.start()
    with pytest.raises(ActorError, match="start_on"):
        Recorder()


def test_start_on_a_closed_loop_is_refused() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(ActorError, match="open"):
        Recorder.start_on(loop)


def test_an_actor_may_be_started_on_a_loop_that_does_not_run_yet() -> None:
    loop = asyncio.new_event_loop()
    ref = Recorder.start_on(loop)
    ref.tell("early")
    asked = ref.ask("too", block=False)
    assert loop.run_until_complete(asked) == "too"
    assert actor_of(ref).seen == ["early", "too"]
    loop.run_until_complete(ref.stop(block=False))
    loop.close()


async def test_a_subclass_that_forgets_super_is_told() -> None:
    class Forgetful(AsyncioActor):
        def __init__(self) -> None:
            pass

    with pytest.raises(ActorError, match="super"):
        Forgetful.start()


async def test_an_init_that_raises_tells_the_starter_and_leaves_nothing() -> None:
    class Broken(AsyncioActor):
        registered = True

        def __init__(self) -> None:
            super().__init__()
            raise ValueError("init")

    with pytest.raises(ValueError, match="init"):
        Broken.start()
    assert pykka.ActorRegistry.get_by_class(Broken) == []


async def test_its_lifecycle_goes_down_the_list() -> None:
    seen: list[Lifecycle] = []

    class Observer(AsyncioActor):
        def __init__(self) -> None:
            super().__init__()
            seen.append(self.lifecycle)

        def on_start(self) -> None:
            seen.append(self.lifecycle)

        def on_receive(self, message: Any) -> Any:
            seen.append(self.lifecycle)
            return self

        def on_stop(self) -> None:
            seen.append(self.lifecycle)

    ref = Observer.start()
    actor = await ref.ask("who", block=False)
    await ref.stop(block=False)
    assert [*seen, actor.lifecycle] == list(Lifecycle)


# --- messages ---------------------------------------------------------------------------------


async def test_messages_are_handled_in_the_order_in_which_they_were_sent() -> None:
    ref = Recorder.start()
    for n in range(200):
        ref.tell(n)
    actor = actor_of(ref)
    await ref.stop(block=False)
    assert actor.seen == list(range(200))


async def test_stop_stays_behind_earlier_messages_and_before_later_ones() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    ref.tell("before")
    asked = ref.ask("asked before", block=False)
    stopped = ref.stop(block=False)
    late = ref.ask("after", block=False)
    assert await asked == "asked before"
    assert await stopped
    with pytest.raises(pykka.ActorDeadError):
        await late
    assert actor.seen == ["before", "asked before"]


async def test_an_actor_stops_itself_behind_earlier_messages() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    ref.tell(do(lambda it: it.stop()))
    ref.tell("earlier than the stop")
    await ref.ask("too", block=False)
    await ended(ref)
    assert actor.seen == ["earlier than the stop", "too"]


async def test_control_is_handled_before_supervision_before_ordinary() -> None:
    ref = Recorder.start()
    ref.tell("o1")
    ref.put("s1", Lane.SUPERVISION)
    ref.tell_control("c1")
    ref.put("o2")
    ref.put("c2", Lane.CONTROL)
    actor = actor_of(ref)
    await ref.stop(block=False)
    assert actor.seen == ["c1", "c2", "s1", "o1", "o2"]


async def test_control_overtakes_what_waits_behind_an_async_message() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    let_go = asyncio.Event()
    ref.tell(do(lambda it: let_go.wait()))
    ref.tell("ordinary")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ref.tell_control("control")
    let_go.set()
    await ref.stop(block=False)
    assert actor.seen == ["control", "ordinary"]


async def test_the_ordinary_lane_is_bounded_with_a_typed_error() -> None:
    class Narrow(Recorder):
        capacity = 2

    ref = Narrow.start()
    actor = actor_of(ref)
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(MailboxFull, match="2"):
        ref.tell(3)
    ref.put("own", bounded=False)
    ref.tell_control("control")
    await settle()
    await ref.ask("room again", block=False)
    await ref.stop(block=False)
    assert actor.seen == ["control", 1, 2, "own", "room again"]


async def test_an_unexpected_message_does_no_harm() -> None:
    ref = AsyncioActor.start()
    ref.tell("unexpected")
    assert await ref.ask("unexpected", block=False) is None
    assert await ref.stop(block=False)


async def test_a_handler_may_answer_later_than_it_returns() -> None:
    taken: list[pykka.Future[Any]] = []

    class Later(AsyncioActor):
        def handle(self, envelope: Envelope) -> Any:
            if envelope.message == "later" and envelope.reply_to is not None:
                taken.append(envelope.reply_to)
                envelope.reply_to = None
                return None
            return super().handle(envelope)

        def on_receive(self, message: Any) -> Any:
            return message

    ref = Later.start()
    asked = ref.ask("later", block=False)
    assert await ref.ask("now", block=False) == "now"
    assert not asked.done()
    await ref.stop(block=False)
    taken[0].set("at last")
    assert await asked == "at last"


async def test_an_answer_that_was_given_already_is_left_alone() -> None:
    ref = Recorder.start()
    asked = ref.ask(do(lambda it: "of the handler"), block=False)
    asked.set("of somebody else")
    failing = ref.ask(do(lambda it: 1 / 0), block=False)
    failing.set("of somebody else")
    assert await ref.ask("goes on", block=False) == "goes on"
    assert await asked == "of somebody else"
    await ref.stop(block=False)


# --- async handlers and hooks -----------------------------------------------------------------


async def test_handlers_and_hooks_may_be_async() -> None:
    order: list[object] = []

    class Async(AsyncioActor):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(1)
            order.append("start")

        async def on_receive(self, message: Any) -> Any:
            await asyncio.sleep(1)
            order.append(message)
            return f"answer to {message}"

        async def on_stop(self) -> None:  # type: ignore[override]
            await asyncio.sleep(1)
            order.append("stop")

    ref = Async.start()
    assert await ref.ask("m", block=False) == "answer to m"
    assert await ref.stop(block=False)
    assert order == ["start", "m", "stop"]


async def test_a_later_message_waits_for_the_async_one_before_it() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)

    async def slow(it: Recorder) -> None:
        it.seen.append("begin")
        await asyncio.sleep(1)
        it.seen.append("end")

    for message in (slow, "plain", slow, "last"):
        ref.tell(message)
    await ref.stop(block=False)
    assert actor.seen == ["begin", "end", "plain", "begin", "end", "last"]


async def test_an_async_handler_holds_up_no_other_actor() -> None:
    slow, quick = Recorder.start(), Recorder.start()
    let_go = asyncio.Event()
    held = slow.ask(do(lambda it: let_go.wait()), block=False)
    assert await quick.ask("quick", block=False) == "quick"
    assert not held.done()
    let_go.set()
    assert await held
    await asyncio.gather(slow.stop(block=False), quick.stop(block=False))


async def test_an_asyncio_future_is_awaited_and_a_pykka_future_is_a_value() -> None:
    ref = Recorder.start()
    loop = asyncio.get_running_loop()
    native = loop.create_future()
    loop.call_soon(native.set_result, 1)
    ours = Future.completed(2)
    assert await ref.ask(do(lambda it: native), block=False) == 1
    assert await ref.ask(do(lambda it: ours), block=False) is ours
    await ref.stop(block=False)


async def test_an_idle_actor_and_a_plain_handler_cost_no_task() -> None:
    with count_tasks() as made:
        ref = Recorder.start()
        for n in range(10):
            ref.tell(n)
        await ref.ask("plain", block=False)
        assert made == []
        assert len(asyncio.all_tasks()) == 1
        await ref.ask(do(lambda it: asyncio.sleep(0)), block=False)
        assert len(made) == 1
        await ref.stop(block=False)


# --- context variables ------------------------------------------------------------------------


async def test_everything_of_an_actor_runs_in_its_own_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: dict[str, str] = {}

    class Contextual(AsyncioActor):
        def on_start(self) -> None:
            seen["start"] = variable.get()
            variable.set("the actor's")

        def on_receive(self, message: Any) -> Any:
            seen[message] = variable.get()
            if message == "async":
                return self.later()
            return None

        async def later(self) -> None:
            await asyncio.sleep(0)
            seen["later"] = variable.get()
            variable.set("set in a task")

        def on_stop(self) -> None:
            seen["stop"] = variable.get()

    variable.set("the starter's")
    ref = Contextual.start()
    variable.set("the sender's")
    await ref.ask("plain", block=False)
    await ref.ask("async", block=False)
    await ref.stop(block=False)
    assert seen == {
        "start": "the starter's",
        "plain": "the actor's",
        "async": "the actor's",
        "later": "the actor's",
        "stop": "set in a task",
    }
    assert variable.get() == "the sender's"


async def test_draining_runs_in_the_context_of_the_drained() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    ref = Recorder.start()
    await ref.ask("running", block=False)
    variable.set("the drainer's")
    asked = ref.ask(do(lambda it: variable.get()), block=False)
    assert actor_of(ref).drain()
    assert asked.get() == "default"
    await ref.stop(block=False)


# --- fairness ---------------------------------------------------------------------------------


async def test_a_flooded_actor_lets_the_others_of_its_loop_have_their_turn() -> None:
    flooded, other = Recorder.start(), Recorder.start()
    actor = actor_of(flooded)
    await asyncio.gather(flooded.ask(-1, block=False), other.ask(0, block=False))
    for n in range(10 * BURST):
        flooded.tell(n)
    seen_by_then = await other.ask(do(lambda it: len(actor.seen)), block=False)
    assert seen_by_then <= 1 + BURST
    await asyncio.gather(flooded.stop(block=False), other.stop(block=False))
    assert len(actor.seen) == 1 + 10 * BURST


async def test_an_actor_that_tells_itself_for_ever_starves_nobody() -> None:
    ref = Recorder.start()

    def again(it: Recorder) -> None:
        it.seen.append(0)
        it.actor_ref.tell(again)

    ref.tell(again)
    other = Recorder.start()
    assert await other.ask("alive", block=False) == "alive"
    assert 0 < len(actor_of(ref).seen) <= 3 * BURST
    ref.tell_control(do(lambda it: it._stop()))
    await ended(ref)
    await other.stop(block=False)


# --- draining ---------------------------------------------------------------------------------


async def test_drain_handles_what_waits_at_once() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    assert not actor.drain()  # not running yet
    await ref.ask("running", block=False)
    assert actor.drain()  # nothing waits
    for n in range(3 * BURST):
        ref.tell(n)
    assert actor.drain()
    assert actor.seen == ["running", *range(3 * BURST)]
    await ref.stop(block=False)
    assert not actor.drain()


async def test_drain_handles_only_as_many_as_wait_at_the_call() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)

    def again(it: Recorder) -> None:
        it.seen.append("again")
        it.actor_ref.tell("more")

    ref.tell(again)
    assert not actor.drain()
    assert actor.seen == ["running", "again"]
    await ref.stop(block=False)
    assert actor.seen == ["running", "again", "more"]


async def test_drain_does_nothing_in_the_middle_of_a_message() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    drained: list[bool] = []

    def handler(it: Recorder) -> None:
        it.actor_ref.tell("later")
        drained.append(it.drain())
        it.seen.append("end of the first")

    async def slow(it: Recorder) -> None:
        it.actor_ref.tell("later still")
        drained.append(it.drain())
        await asyncio.sleep(0)
        drained.append(it.drain())
        it.seen.append("end of the second")

    await ref.ask(handler, block=False)
    await ref.ask(slow, block=False)
    await ref.stop(block=False)
    assert drained == [False, False, False]
    assert actor.seen == ["end of the first", "later", "end of the second", "later still"]


async def test_drain_from_the_answer_of_a_message_waits_for_the_next_turn() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    drained: list[bool] = []
    asked = ref.ask("first", block=False)
    ref.tell("second")
    asked.add_done_callback(lambda done: drained.append(actor.drain()))
    await ref.stop(block=False)
    assert drained == [False]
    assert actor.seen == ["first", "second"]


async def test_actors_may_drain_each_other_in_the_middle_of_a_message() -> None:
    one, two = Recorder.start(), Recorder.start()
    first, second = actor_of(one), actor_of(two)
    await asyncio.gather(one.ask(0, block=False), two.ask(0, block=False))
    results: list[bool] = []

    def outer(it: Recorder) -> None:
        two.tell(inner)
        results.append(second.drain())
        it.seen.append("outer")

    def inner(it: Recorder) -> None:
        one.tell("for the first")
        results.append(first.drain())
        it.seen.append("inner")

    await one.ask(outer, block=False)
    assert results == [False, True]
    await asyncio.gather(one.stop(block=False), two.stop(block=False))
    assert first.seen == [0, "outer", "for the first"]
    assert second.seen == [0, "inner"]


async def test_drain_that_meets_an_async_message_leaves_the_rest_to_its_end() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)
    ref.tell("plain")
    ref.tell(do(lambda it: asyncio.sleep(1)))
    ref.tell("behind")
    assert not actor.drain()
    assert actor.seen == ["running", "plain"]
    await ref.stop(block=False)
    assert actor.seen == ["running", "plain", "behind"]


async def test_drain_from_a_task_in_the_actors_own_context_does_nothing() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)
    results: list[bool] = []

    async def work() -> None:
        ref.tell("waits")
        results.append(actor.drain())

    async def in_a_copy() -> None:
        ref.tell("waits too")
        results.append(actor.drain())

    own = actor._actor_context
    await asyncio.get_running_loop().create_task(work(), context=own)
    await asyncio.get_running_loop().create_task(in_a_copy(), context=own.copy())
    assert results == [False, True]
    assert actor.seen == ["running", "waits", "waits too"]
    await ref.stop(block=False)


async def test_drain_may_meet_the_stop() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)
    stopped = ref.stop(block=False)
    ref.tell("late")
    assert not actor.drain()
    assert stopped.get()
    assert actor.lifecycle is Lifecycle.STOPPED


# --- handing a message over -------------------------------------------------------------------


async def test_a_free_actor_handles_at_once_what_it_is_handed_in_its_own_context() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)
    variable.set("the sender's")
    ref.hand("at once")
    actor.hand(do(lambda it: it.seen.append(variable.get())))
    assert actor.seen == ["running", "at once", "default"]
    await ref.stop(block=False)


async def test_what_is_handed_to_a_busy_actor_waits_behind_what_waits() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    ref.hand("before it runs")

    def handler(it: Recorder) -> None:
        it.seen.append("begin")
        it.hand("handed inside")
        it.seen.append("end")

    await ref.ask(handler, block=False)
    ref.tell("waits")
    ref.hand("behind")
    await ref.ask(do(lambda it: asyncio.sleep(1)), block=False)
    assert actor.seen == ["before it runs", "begin", "end", "handed inside", "waits", "behind"]
    await ref.stop(block=False)


async def test_what_is_handed_to_an_actor_that_awaits_waits_for_the_end_of_that() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)

    async def slow(it: Recorder) -> None:
        await asyncio.sleep(1)
        it.seen.append("slow")

    asked = ref.ask(slow, block=False)
    await settle()
    ref.hand("handed")
    assert actor.seen == []
    await asked
    await ref.stop(block=False)
    assert actor.seen == ["slow", "handed"]


async def test_what_is_told_in_the_middle_of_what_was_handed_over_is_not_forgotten() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)
    ref.hand(do(lambda it: it.actor_ref.tell("told inside")))
    await settle()
    ref.hand(do(lambda it: asyncio.sleep(1)))
    ref.tell("behind the async one")
    await ref.stop(block=False)
    assert actor.seen == ["running", "told inside", "behind the async one"]


async def test_a_deadly_message_that_is_handed_over_ends_the_actor_and_not_the_sender() -> None:
    ref = Recorder.start()
    await ref.ask("running", block=False)

    def deadly(it: Recorder) -> None:
        raise SystemExit

    ref.hand(deadly)
    assert ref.exit is not None
    assert isinstance(ref.exit.cause, SystemExit)
    with pytest.raises(pykka.ActorDeadError):
        ref.hand("late")


async def test_what_is_handed_from_a_task_in_the_actors_own_context_is_queued() -> None:
    ref = Recorder.start()
    actor = actor_of(ref)
    await ref.ask("running", block=False)

    async def work() -> None:
        ref.hand("queued")
        assert actor.seen == ["running"]

    await asyncio.get_running_loop().create_task(work(), context=actor._actor_context)
    await ref.stop(block=False)
    assert actor.seen == ["running", "queued"]


# --- proxies ----------------------------------------------------------------------------------


class Counter(AsyncioActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, n: int, *, times: int = 1) -> int:
        self.count += n * times
        return self.count

    async def add_later(self, n: int) -> int:
        await asyncio.sleep(0)
        return self.add(n)

    def fail(self) -> None:
        raise ValueError("by proxy")


async def test_methods_and_attributes_are_reached_by_proxy() -> None:
    ref = Counter.start()
    proxy = ref.proxy()
    assert await proxy.add(2) == 2
    assert await proxy.add(2, times=3) == 8
    assert await proxy.add_later(1) == 9
    assert await proxy.count == 9
    proxy.add.defer(1)
    assert await proxy.count == 10
    with pytest.raises(ValueError, match="by proxy"):
        await proxy.fail()
    with pytest.raises(AttributeError):
        _ = proxy.missing
    assert await ref.ask(ProxyCall(("add",), (5,), {}), block=False) == 15
    await ref.stop(block=False)


@pytest.mark.real_time
async def test_a_proxy_works_from_a_foreign_thread() -> None:
    ref = Counter.start()

    def work() -> list[int]:
        proxy = ref.proxy()
        results = [proxy.add(1).get(), proxy.add(1).get()]
        proxy.count = 40
        results.append(ref.proxy().count.get(timeout=5))
        with pytest.raises(ValueError, match="by proxy"):
            proxy.fail().get()
        return results

    assert await asyncio.to_thread(work) == [1, 2, 40]
    await ref.stop(block=False)


@pytest.mark.real_time
async def test_an_async_method_is_called_by_proxy_from_a_foreign_thread() -> None:
    ref = Counter.start()
    proxy = ref.proxy()
    assert await asyncio.to_thread(lambda: proxy.add_later(3).get()) == 3
    await ref.stop(block=False)


async def test_an_assignment_by_proxy_that_fails_is_raised_to_who_assigns() -> None:
    class Guarded(AsyncioActor):
        @property
        def fixed(self) -> int:
            return 1

    ref = Guarded.start()
    proxy = ref.proxy()

    def work() -> None:
        with pytest.raises(AttributeError):
            proxy.fixed = 2

    await asyncio.to_thread(work)
    await ref.stop(block=False)


# --- staying alive ----------------------------------------------------------------------------


async def test_an_idle_actor_that_nobody_refers_to_is_not_collected() -> None:
    seen: list[str] = []

    class Waiting(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            seen.append(message)

    reference = weakref.ref(Waiting.start())
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    ref = reference()
    assert ref is not None
    ref.tell("still there")
    await ref.stop(block=False)
    assert seen == ["still there"]


async def test_a_stopped_actor_is_let_go_of() -> None:
    ref = Recorder.start()
    actor = weakref.ref(actor_of(ref))
    await ref.ask(do(lambda it: asyncio.sleep(0)), block=False)
    await ref.stop(block=False)
    await asyncio.sleep(0)
    gc.collect()
    assert actor() is None
    assert AsyncioActor._actor_living.on(asyncio.get_running_loop()) == 0


def test_those_left_on_a_closed_loop_are_buried_when_another_loop_begins() -> None:
    old = asyncio.new_event_loop()
    ref = Recorder.start_on(old)
    old.run_until_complete(ref.ask("running", block=False))
    asked = ref.ask("never", block=False)
    ref.tell("left")
    old.close()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("late")

    async def another() -> None:
        await Recorder.start().stop(block=False)

    asyncio.run(another())
    with pytest.raises(pykka.ActorDeadError, match="Recorder"):
        asked.get()
    assert not ref.is_alive()
    assert ref.exit is not None
    assert isinstance(ref.exit.cause, ActorError)


# --- Pykka's registry -------------------------------------------------------------------------


async def test_actors_are_kept_out_of_pykkas_registry_unless_their_class_says_otherwise() -> None:
    class Registered(Recorder):
        registered = True

    plain, registered = Recorder.start(), Registered.start()
    assert pykka.ActorRegistry.get_all() == [registered]
    assert pykka.ActorRegistry.get_by_urn(registered.actor_urn) is registered
    assert all(pykka.ActorRegistry.stop_all(block=False))
    assert await registered.stop(block=False)
    assert pykka.ActorRegistry.get_all() == []
    assert plain.is_alive()
    await plain.stop(block=False)


def test_the_docs_say_what_stop_all_does_not_see() -> None:
    assert "stop_all" in (AsyncioActor.__doc__ or "")


# --- a mailbox that belongs to somebody else --------------------------------------------------


async def test_a_foreign_mailbox_keeps_its_messages_over_incarnations() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    mailbox.put(Envelope("before the first"))
    first = Recorder.start(mailbox=mailbox)
    one = actor_of(first)
    await first.ask("first", block=False)
    first.tell(do(lambda it: it._stop()))
    asked = first.ask("for the next", block=False)
    await ended(first)
    assert not asked.done()
    mailbox.put(Envelope("in between"))
    second = Recorder.start(mailbox=mailbox)
    two = actor_of(second)
    assert await asked == "for the next"
    await second.stop(block=False)
    assert one.seen == ["before the first", "first"]
    assert two.seen == ["for the next", "in between"]
    assert not mailbox.closed
    assert one.dead_letters == 0


async def test_a_stop_that_came_too_late_does_not_stop_the_next_incarnation() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    first = Recorder.start(mailbox=mailbox)
    stops = [first.stop(block=False), first.stop(block=False)]
    assert [await stopped for stopped in stops] == [True, True]
    second = Recorder.start(mailbox=mailbox)
    assert await second.ask("alive", block=False) == "alive"
    assert await second.stop(block=False)


async def test_stamps_are_seen_by_the_handler() -> None:
    stamps: list[int] = []

    class Stamped(AsyncioActor):
        def handle(self, envelope: Envelope) -> Any:
            stamps.append(envelope.stamp)
            return super().handle(envelope)

        def on_receive(self, message: Any) -> Any:
            pass

    ref = Stamped.start()
    told = [ref.put("o"), ref.put("c", Lane.CONTROL)]
    await ref.stop(block=False)
    assert told == [1, 2]
    assert stamps == [2, 1, 3]
