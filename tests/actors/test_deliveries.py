"""One worker hands over what needs no waiting; whoever has to wait keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from wavebreak.actors.deliveries import Deliveries
from wavebreak.actors.outbound import DeliveryRules, Finish, HandOver, Outbound
from wavebreak.messages.commands import DeliveryDone
from wavebreak.messages.ids import DeliveryId, SessionKey
from wavebreak.messages.message import Delivery, Reply
from wavebreak.messages.reasons import DeliveryKind, DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from wavebreak.actors.reference import LoopActorRef

Reports = list[tuple[str, DeliveryStatus, str]]


def hand_over(session: str, number: int) -> HandOver:
    delivery = Delivery(
        delivery_id=DeliveryId(f"{session}-{number}"),
        kind=DeliveryKind.REPLY,
        tenant="",
        session_id=session,
        turn=number,
        reply=Reply(text=f"{session} {number}"),
    )
    return HandOver(SessionKey("", session), delivery)


def start(
    deliver: Callable[[Delivery], Any], timeout: float = 10.0, outbound: Outbound | None = None
) -> tuple[Any, Reports]:
    reports: Reports = []

    def report(key: SessionKey, done: DeliveryDone) -> None:
        del key
        reports.append((done.delivery_id, done.status, done.detail))

    def retry_after(failed: int) -> float:
        return float(failed)

    def given_up(key: SessionKey, delivery: Delivery, why: str) -> None:
        del key, delivery, why

    loop = asyncio.get_running_loop()
    rules = DeliveryRules(2, timeout, retry_after)
    started = Deliveries.start(
        outbound or Outbound(loop), deliver, rules, report, now=loop.time, given_up=given_up
    )
    return started, reports


async def end(deliveries: LoopActorRef[Any]) -> None:
    await deliveries.ask(Finish(60.0), block=False)
    await deliveries.stop(block=False)


async def test_a_channel_that_takes_things_at_once_costs_one_task_for_a_burst() -> None:
    tasks: set[asyncio.Task[Any] | None] = set()
    taken: list[str] = []

    async def deliver(delivery: Delivery) -> None:
        tasks.add(asyncio.current_task())
        taken.append(delivery.reply.text)

    deliveries, reports = start(deliver)
    await asyncio.sleep(0)
    for number in range(100):
        deliveries.hand(hand_over(f"s{number % 50}", number // 50))
    await end(deliveries)

    assert len(tasks) == 1
    assert sorted(taken) == sorted(f"s{n % 50} {n // 50}" for n in range(100))
    assert {status for _, status, _ in reports} == {DeliveryStatus.DELIVERED}
    for session in range(50):
        mine = [text for text in taken if text.startswith(f"s{session} ")]
        assert mine == [f"s{session} 0", f"s{session} 1"]


async def test_a_channel_that_has_to_wait_keeps_no_other_session_waiting() -> None:
    loop = asyncio.get_running_loop()
    at: dict[str, float] = {}
    held = asyncio.Event()

    async def deliver(delivery: Delivery) -> None:
        if delivery.session_id == "slow":
            await held.wait()
        elif delivery.session_id.startswith("second"):
            await asyncio.sleep(1)
        at[delivery.reply.text] = loop.time()

    deliveries, _ = start(deliver)
    await asyncio.sleep(0)
    begun = loop.time()
    for session in ("slow", "a", "second 1", "second 2", "b"):
        deliveries.hand(hand_over(session, 1))
    deliveries.hand(hand_over("slow", 2))
    await asyncio.sleep(3)
    deliveries.hand(hand_over("c", 1))
    await asyncio.sleep(1)
    held.set()
    await end(deliveries)

    since = {text: when - begun for text, when in at.items()}
    assert since == {
        "a 1": 0,
        "b 1": 0,
        "second 1 1": 1,
        "second 2 1": 1,
        "c 1": 3,
        "slow 1": 4,
        "slow 2": 4,
    }


async def test_every_delivery_has_contextvars_of_its_own() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []

    async def deliver(delivery: Delivery) -> None:
        seen.append(who.get())
        who.set(delivery.session_id)
        if delivery.turn:
            await asyncio.sleep(1)
            seen.append(who.get())

    deliveries, _ = start(deliver)
    await asyncio.sleep(0)
    for session, number in (("a", 0), ("b", 1), ("c", 0), ("b", 0)):
        deliveries.hand(hand_over(session, number))
    await end(deliveries)

    assert seen == ["nobody", "nobody", "nobody", "b", "nobody"]


async def test_a_channel_that_hangs_is_given_its_time_and_tried_again() -> None:
    loop = asyncio.get_running_loop()
    attempts: list[float] = []

    async def deliver(delivery: Delivery) -> None:
        del delivery
        attempts.append(loop.time())
        await asyncio.sleep(100)

    deliveries, reports = start(deliver, timeout=5)
    await asyncio.sleep(0)
    begun = loop.time()
    deliveries.hand(hand_over("a", 1))
    await end(deliveries)

    assert [when - begun for when in attempts] == [0, 6]
    assert [(id_, status) for id_, status, _ in reports] == [("a-1", DeliveryStatus.DEAD_LETTERED)]
    assert "TimeoutError" in reports[0][2]


async def test_what_a_channel_raises_before_and_after_it_waits_is_told_alike() -> None:
    async def deliver(delivery: Delivery) -> None:
        if delivery.session_id == "late":
            await asyncio.sleep(1)
        if delivery.session_id == "cancelled":
            raise asyncio.CancelledError
        if delivery.session_id == "exit":
            raise SystemExit(3)
        raise ValueError("no")

    deliveries, reports = start(deliver)
    await asyncio.sleep(0)
    for session in ("early", "late", "cancelled", "exit"):
        deliveries.hand(hand_over(session, 1))
    await end(deliveries)

    details = {id_: detail for id_, _, detail in reports}
    assert details["early-1"] == details["late-1"] == "ValueError: no"
    assert details["cancelled-1"].startswith("CancelledError")
    assert details["exit-1"].startswith("SystemExit")


async def test_a_channel_that_cancels_its_own_task_holds_up_nobody_for_good() -> None:
    taken: list[str] = []

    async def deliver(delivery: Delivery) -> None:
        if delivery.session_id == "wild":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
        taken.append(delivery.session_id)

    deliveries, _ = start(deliver)
    await asyncio.sleep(0)
    for session in ("wild", "a", "b"):
        deliveries.hand(hand_over(session, 1))
    await end(deliveries)

    assert taken == ["a", "b"]


async def test_of_a_session_that_is_forgotten_no_word_is_kept_in_mind() -> None:
    async def deliver(delivery: Delivery) -> None:
        raise ConnectionError(delivery.reply.text)

    outbound = Outbound(asyncio.get_running_loop())
    deliveries, _ = start(deliver, outbound=outbound)
    for session in ("ann", "bob"):
        deliveries.tell(hand_over(session, 1))
    await asyncio.sleep(10)
    assert set(outbound.delivered) == {"ann-1", "bob-1"}
    outbound.forget(SessionKey("", "ann"))
    assert set(outbound.delivered) == {"bob-1"}
    await end(deliveries)
