"""Deliveries that channels ask for: at least once, in order for each session, until they end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from wavebreak import (
    ActorSystem,
    DeadLetterKind,
    DeliveryKind,
    DeliveryStream,
    HeldDelivery,
    InvalidMessage,
    InvalidSetting,
    MemoryJournal,
    SqliteJournal,
    SystemClosed,
    Turn,
    WouldDeadlock,
)
from wavebreak.actors.outbound import Outbound
from wavebreak.journal.base import Journal
from wavebreak.supervisors.life import kill

from .killing import image
from .test_durability import SlowJournal

LONG = 1000.0
"""Virtual seconds after which something is said to hang."""


async def echo(turn: Turn) -> str:
    return turn.text


async def talkative(turn: Turn) -> str:
    turn.say(f"{turn.text} 1")
    turn.say(f"{turn.text} 2")
    return f"{turn.text} 3"


def pulled(agent: Any = echo, **options: Any) -> ActorSystem:
    return ActorSystem(agent, deliver="pull", **options)


async def ask(system: ActorSystem, session_id: str, text: str) -> None:
    receipt = await system.session(session_id).send(text)
    await receipt.outcome()


async def first_of(stream: DeliveryStream) -> HeldDelivery:
    async with asyncio.timeout(LONG):
        return await anext(stream)


async def nothing_from(stream: DeliveryStream) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await anext(stream)


def text_of(held: HeldDelivery) -> str:
    return held.delivery.reply.text


async def test_each_reply_is_handed_to_one_consumer_once_it_is_acknowledged() -> None:
    async with pulled() as system, system.deliveries() as one, system.deliveries() as other:
        await ask(system, "ann", "hello")
        held = await first_of(one)
        await nothing_from(other)
        assert (text_of(held), held.attempt) == ("hello", 1)
        assert held.delivery.kind is DeliveryKind.REPLY
        assert await held.ack()
        assert not await held.ack(), "once is enough"
        assert not await held.nack("too late")
        await nothing_from(one)
    assert system.dead_letters == ()


async def test_the_next_delivery_of_a_session_waits_for_the_end_of_the_one_before() -> None:
    async with pulled(talkative) as system, system.deliveries() as stream:
        await ask(system, "ann", "a")
        held = await first_of(stream)
        await ask(system, "ben", "b")
        others = [text_of(await first_of(stream))]
        assert others == ["b 1"], "no other session is held up"
        await nothing_from(stream)
        await held.ack()
        held = await first_of(stream)
        assert text_of(held) == "a 2"
        await held.reject("the user has blocked the bot")
        held = await first_of(stream)
        assert text_of(held) == "a 3"
        await held.ack()
    letters = [one for one in system.dead_letters if one.session_id == "ann"]
    assert [(one.kind, one.cause) for one in letters] == [
        (DeadLetterKind.DELIVERY, "the user has blocked the bot")
    ]


async def test_what_is_refused_is_handed_out_again_and_given_up_after_its_attempts() -> None:
    loop = asyncio.get_running_loop()
    async with pulled(deliver_attempts=3) as system, system.deliveries() as stream:
        await ask(system, "ann", "hello")
        tries: list[tuple[int, str]] = []
        at: list[float] = []
        for reason, after in (("busy", 7.0), ("down", None), ("gone", None)):
            held = await first_of(stream)
            tries.append((held.attempt, held.delivery.delivery_id))
            at.append(loop.time())
            assert await held.nack(reason, after)
        assert [attempt for attempt, _ in tries] == [1, 2, 3]
        assert len({id_ for _, id_ in tries}) == 1
        assert at[1] - at[0] == pytest.approx(7.0)
        assert 0 < at[2] - at[1] < 7
        (letter,) = system.dead_letters
        assert letter.cause == "gone"
        assert system.counters()["dead_letters"] == 1
        await ask(system, "ann", "more")
        assert text_of(await first_of(stream)) == "more"


async def test_a_delivery_that_nobody_answers_for_is_handed_out_again_when_its_lease_is_over() -> (
    None
):
    loop = asyncio.get_running_loop()
    async with pulled() as system, system.deliveries(lease=60) as stream:
        await ask(system, "ann", "hello")
        began = loop.time()
        forgotten = await first_of(stream)
        again = await first_of(stream)
        assert 60 <= loop.time() - began < 62
        assert again.delivery == forgotten.delivery
        assert again.attempt == 2
        assert not await forgotten.nack("slow"), "it is another one's"
        assert await forgotten.ack(), "it was delivered, after all"
        assert not await again.ack()
        await nothing_from(stream)


async def test_an_acknowledgement_counts_while_the_delivery_waits_to_be_tried_again() -> None:
    async with pulled(talkative) as system, system.deliveries(lease=10) as stream:
        await ask(system, "ann", "a")
        held = await first_of(stream)
        await asyncio.sleep(10.01)  # the lease is over
        assert await held.ack()
        assert text_of(await first_of(stream)) == "a 2"
        await asyncio.sleep(5)
        assert not await held.ack()


async def test_the_lease_is_as_long_as_an_attempt_may_take_unless_the_consumer_says_otherwise() -> (
    None
):
    async with pulled(deliver_timeout=5.0) as system:
        await ask(system, "ann", "hello")
        async with system.deliveries() as stream:
            await first_of(stream)
            held = await first_of(stream)
            assert held.attempt == 2
            await held.nack("", 0)
        async with system.deliveries(lease=math.inf) as stream:
            held = await first_of(stream)
            await asyncio.sleep(100_000)
            assert await held.ack()


async def test_what_a_consumer_holds_when_it_goes_away_is_handed_to_the_next() -> None:
    async with pulled() as system:
        for name in ("ann", "ben"):
            await ask(system, name, name)
        async with system.deliveries() as stream:
            texts = {text_of(await first_of(stream)), text_of(await first_of(stream))}
        assert texts == {"ann", "ben"}
        async with system.deliveries() as stream:
            held = [await first_of(stream), await first_of(stream)]
            assert {one.attempt for one in held} == {1}, "it only went away"
            assert [await one.ack() for one in held] == [True, True]


async def fail_at_the_first(system: ActorSystem) -> None:
    async with system.deliveries() as stream:
        await first_of(stream)
        raise ZeroDivisionError("by zero")


async def test_a_consumer_that_fails_has_failed_with_what_it_holds() -> None:
    async with pulled(deliver_attempts=2) as system:
        await ask(system, "ann", "poison")
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await fail_at_the_first(system)
        (letter,) = system.dead_letters
        assert letter.cause == "ZeroDivisionError: by zero"


async def test_a_consumer_that_is_cancelled_while_it_waits_takes_nothing_along() -> None:
    async with pulled() as system:
        stream = system.deliveries()
        waiting = asyncio.create_task(first_of(stream))
        await asyncio.sleep(1)
        other = asyncio.create_task(first_of(stream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await ask(system, "ann", "hello")
        assert text_of(await other) == "hello"


async def test_a_delivery_that_comes_in_the_moment_of_a_cancellation_goes_to_another() -> None:
    async with pulled() as system:
        stream = system.deliveries()
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(1)
        asking = asyncio.create_task(ask(system, "ann", "hello"))
        # A look in every round of the loop: the one who waits runs on in the round after.
        while not stream.holds:
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asking
        held = await first_of(system.deliveries())
        assert (text_of(held), held.attempt) == ("hello", 1)


async def test_a_stream_holds_no_more_at_the_same_time_than_it_may() -> None:
    async with pulled() as system:
        for number in range(5):
            await ask(system, f"s{number}", f"{number}")
        async with system.deliveries(prefetch=2) as few, system.deliveries() as many:
            first, second = await first_of(few), await first_of(few)
            waiting = asyncio.create_task(first_of(few))
            await asyncio.sleep(1)
            assert not waiting.done()
            assert len({text_of(await first_of(many)) for _ in range(2)}) == 2
            await second.ack()
            held = await waiting
            assert len({text_of(one) for one in (first, second, held)}) == 3


async def test_several_consumers_share_the_work() -> None:
    taken: Counter[int] = Counter()

    async def consume(system: ActorSystem, number: int) -> None:
        async for held in system.deliveries():
            taken[number] += 1
            await asyncio.sleep(1)  # the channel takes its time
            held.ack()

    async with pulled(close_within=60) as system:
        consumers = [asyncio.create_task(consume(system, number)) for number in range(4)]
        for number in range(40):
            await ask(system, f"s{number}", "hello")
    await asyncio.gather(*consumers)
    assert sum(taken.values()) == 40
    assert set(taken.values()) == {10}


async def test_somebody_who_knows_only_the_id_acknowledges_by_it() -> None:
    async with pulled(talkative) as system, system.deliveries(lease=3600) as stream:
        await ask(system, "ann", "a")
        held = await first_of(stream)
        id_ = held.delivery.delivery_id
        await asyncio.sleep(100)  # the channel confirms by a callback
        assert await system.acknowledge(id_)
        assert not await system.acknowledge(id_)
        assert not await system.acknowledge("another")
        assert not await held.ack()
        assert text_of(await first_of(stream)) == "a 2"
        with pytest.raises(InvalidMessage):
            system.acknowledge("")


@pytest.mark.parametrize(
    "wrong", [{"lease": 0}, {"lease": -1}, {"lease": "x"}, {"lease": 10**400}, {"prefetch": 0}]
)
async def test_a_stream_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    async with pulled() as system:
        with pytest.raises(InvalidSetting, match=next(iter(wrong))):
            system.deliveries(**wrong)


async def test_what_cannot_be_said_of_a_delivery_is_refused_and_says_nothing() -> None:
    async with pulled() as system, system.deliveries() as stream:
        await ask(system, "ann", "hello")
        held = await first_of(stream)
        for after in (-1, math.inf, math.nan, 10**400, "soon", True):
            with pytest.raises(InvalidMessage, match="retry_after"):
                held.nack("busy", after)  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match="reason"):
            held.reject(3)  # type: ignore[arg-type]
        assert await held.ack()


async def test_a_system_has_a_deliver_or_is_asked_and_says_which() -> None:
    async def deliver(delivery: object) -> None:
        del delivery

    async with ActorSystem(echo) as system:
        with pytest.raises(InvalidSetting, match=r"no deliver.*deliver='pull'"):
            system.deliveries()
    async with ActorSystem(echo, deliver=deliver) as system:
        with pytest.raises(InvalidSetting, match=r"deliver=<function.*deliver='pull'"):
            system.deliveries()
        with pytest.raises(InvalidSetting):
            system.acknowledge("x")
    with pytest.raises(InvalidSetting, match="'push'"):
        ActorSystem(echo, deliver="push")  # type: ignore[arg-type]
    with pytest.raises(SystemClosed):
        pulled().deliveries()


# --- the end ---


async def test_closing_hands_out_what_is_there_to_those_who_ask_and_ends_their_streams() -> None:
    texts: list[str] = []

    async def consume(system: ActorSystem) -> None:
        async for held in system.deliveries():
            await asyncio.sleep(0.5)
            texts.append(text_of(held))
            await held.ack()

    async with pulled(talkative) as system:
        consumer = asyncio.create_task(consume(system))
        await ask(system, "ann", "a")
    await consumer
    assert texts == ["a 1", "a 2", "a 3"]
    assert system.dead_letters == ()


async def test_closing_waits_for_no_consumer_for_ever() -> None:
    loop = asyncio.get_running_loop()
    async with pulled(close_within=8) as system:
        stream = system.deliveries()
        await ask(system, "ann", "a")
        held = await first_of(stream)
        before = loop.time()
    assert loop.time() - before == pytest.approx(4)
    with pytest.raises(SystemClosed):
        await held.ack()
    assert [one async for one in stream] == []
    stream.close()


async def test_closing_does_not_wait_for_consumers_that_are_not_there() -> None:
    loop = asyncio.get_running_loop()
    async with pulled() as system:
        await ask(system, "ann", "a")
        await first_of(system.deliveries())  # nobody has that stream any more
        await asyncio.sleep(31)
        before = loop.time()
    assert loop.time() == before
    (letter,) = system.dead_letters
    assert (letter.kind, letter.session_id) == (DeadLetterKind.DELIVERY, "ann")
    assert "in memory" in letter.cause


async def test_what_was_not_acknowledged_is_handed_out_after_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with pulled(talkative, journal=SqliteJournal(path)) as system:
        async with system.deliveries() as stream:
            await ask(system, "ann", "a")
            await (await first_of(stream)).ack()
            before = await first_of(stream)
        assert text_of(before) == "a 2"
    assert system.dead_letters == (), "the journal has it"
    async with (
        pulled(talkative, journal=SqliteJournal(path)) as system,
        system.deliveries() as stream,
    ):
        held = await first_of(stream)
        assert held.delivery == before.delivery
        await held.ack()
        held = await first_of(stream)
        assert text_of(held) == "a 3"
        await held.ack()
    async with pulled(journal=SqliteJournal(path)) as system:
        await nothing_from(system.deliveries())


async def test_what_a_killed_process_had_handed_out_comes_again_under_its_id(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with (
        pulled(talkative, journal=SqliteJournal(path)) as system,
        system.deliveries() as stream,
    ):
        await ask(system, "ann", "a")
        await (await first_of(stream)).ack()
        held = await first_of(stream)
        await asyncio.sleep(1)
        killed = image(path, "killed")
        await held.ack()
        await asyncio.sleep(1)
        killed_later = image(path, "killed-later")
    for at, texts in ((killed, ["a 2", "a 3"]), (killed_later, ["a 3"])):
        ids: list[str] = []
        async with (
            pulled(journal=SqliteJournal(at)) as system,
            system.deliveries() as stream,
        ):
            for text in texts:
                again = await first_of(stream)
                assert text_of(again) == text
                ids.append(again.delivery.delivery_id)
                await again.ack()
            await nothing_from(stream)
        assert (held.delivery.delivery_id in ids) == (at is killed)


# --- trouble ---


async def test_consumers_notice_nothing_of_a_death_of_who_hands_out() -> None:
    async with pulled(talkative) as system, system.deliveries(lease=60) as stream:
        await ask(system, "ann", "a")
        held = await first_of(stream)
        waiting = asyncio.create_task(first_of(stream))
        await asyncio.sleep(0)
        for _ in range(3):
            before = outbound(system).place.actor
            kill_who_hands_out(system)
            await asyncio.sleep(1)
            assert before is not outbound(system).place.actor
        assert not waiting.done()
        assert await held.ack()
        assert text_of(await waiting) == "a 2"
        again = await first_of(stream)
        assert (text_of(again), again.attempt) == ("a 2", 2), "the lease goes on, too"


async def test_a_lease_is_over_in_time_though_who_hands_out_died_meanwhile() -> None:
    async with pulled() as system, system.deliveries(lease=60) as stream:
        await ask(system, "ann", "a")
        await first_of(stream)
        waiting = asyncio.create_task(first_of(stream))
        await asyncio.sleep(1)
        kill_who_hands_out(system)
        assert (await waiting).attempt == 2


async def test_an_acknowledgement_that_the_journal_lost_is_not_asked_for_again() -> None:
    journal = SlowJournal()
    journal.commit_all()
    async with pulled(talkative, journal=journal) as system, system.deliveries() as stream:
        await ask(system, "ann", "a")
        held = await first_of(stream)
        journal.lose_next = True
        assert await held.ack()
        await asyncio.sleep(1)  # the session is started again
        for text in ("a 2", "a 3"):
            held = await first_of(stream)
            assert text_of(held) == text
            await held.ack()
        await nothing_from(stream)
        await ask(system, "ann", "b")
        assert text_of(await first_of(stream)) == "b 1"


class Rude:
    """Consumers that do everything that they may, and some things that they should not."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - nothing is kept secret
        self.heard: defaultdict[str, list[str]] = defaultdict(list)
        self.at_work: set[str] = set()

    async def consume(self, system: ActorSystem) -> None:
        while system._tree is not None:
            with contextlib.suppress(ZeroDivisionError):
                async with system.deliveries(lease=20, prefetch=2) as stream:
                    async for held in stream:
                        if not await self.serve(held):
                            break

    async def serve(self, held: HeldDelivery) -> bool:
        """Answer for a delivery, or not; False to go away."""
        name, draw = held.delivery.session_id, self.draw
        assert name not in self.at_work, "two consumers have deliveries of one session"
        self.at_work.add(name)
        await asyncio.sleep(draw.random())
        self.at_work.remove(name)
        match draw.randint(0, 7):
            case 0:
                held.nack("busy", draw.choice([None, 0, 3]))
            case 1:
                raise ZeroDivisionError
            case 2:
                return False
            case 3:
                await asyncio.sleep(25)  # beyond its lease: whoever has it now has it
            case _:
                if await held.ack():
                    self.heard[name].append(text_of(held))
        return True


def outbound(system: ActorSystem) -> Outbound:
    tree = system._tree
    assert tree is not None
    return tree.outbound


def kill_who_hands_out(system: ActorSystem) -> None:
    actor = outbound(system).place.actor
    assert actor is not None
    kill(actor.actor_ref)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_consumers_do_every_session_hears_everything_in_order(
    seed: int, tmp_path: Path
) -> None:
    journal: Journal = SqliteJournal(tmp_path / "j.db") if seed % 4 == 0 else MemoryJournal()
    rude = Rude(seed)
    async with pulled(talkative, journal=journal, deliver_attempts=1000) as system:
        consumers = [asyncio.create_task(rude.consume(system)) for _ in range(3)]
        for _ in range(8):
            name = rude.draw.choice("abc")
            await ask(system, name, name)
            if rude.draw.random() < 0.2:
                kill_who_hands_out(system)
        async with asyncio.timeout(LONG * 10):
            while outbound(system).queues:
                await asyncio.sleep(1)
    async with asyncio.timeout(LONG):
        await asyncio.gather(*consumers)
    assert system.dead_letters == ()
    for name, texts in rude.heard.items():
        turns = len(texts) // 3
        assert texts == [f"{name} {number}" for _ in range(turns) for number in (1, 2, 3)]
    assert sum(len(texts) for texts in rude.heard.values()) == 24


# --- in threads ---


@pytest.mark.real_time
def test_a_thread_iterates_where_the_system_has_a_loop_of_its_own() -> None:
    with pulled(talkative) as system, system.deliveries() as stream:
        system.session("ann").send("a").get()
        texts: list[str] = []
        for held in stream:
            texts.append(text_of(held))
            assert held.ack().get()
            if len(texts) == 3:
                break
        assert texts == ["a 1", "a 2", "a 3"]
        stream.close()
        assert list(stream) == []


@pytest.mark.real_time
async def test_on_the_loops_own_thread_a_plain_for_is_refused() -> None:
    async with pulled() as system:
        with pytest.raises(WouldDeadlock):
            next(system.deliveries())


@pytest.mark.real_time
def test_a_system_that_closes_ends_the_iterations_of_threads() -> None:
    texts: list[str] = []

    def consume(system: ActorSystem) -> None:
        for held in system.deliveries():
            texts.append(text_of(held))
            held.ack()

    with pulled(talkative) as system:
        thread = threading.Thread(target=consume, args=(system,))
        thread.start()
        system.session("ann").send("a").get().outcome().get()
    thread.join(10)
    assert not thread.is_alive()
    assert texts == ["a 1", "a 2", "a 3"]
