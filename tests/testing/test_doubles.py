from __future__ import annotations

import asyncio

import pytest

from wavebreak.messages.ids import DeliveryId
from wavebreak.messages.message import Delivery, Reply
from wavebreak.messages.reasons import DeliveryKind
from wavebreak.testing import Count, RecordingDeliver


def delivery(text: str, session_id: str = "s") -> Delivery:
    return Delivery(
        delivery_id=DeliveryId(f"{session_id}-{text}"),
        kind=DeliveryKind.REPLY,
        tenant="",
        session_id=session_id,
        turn=1,
        reply=Reply(text=text),
    )


async def test_what_is_delivered_is_kept_in_order() -> None:
    deliver = RecordingDeliver()
    await deliver(delivery("one"))
    await deliver(delivery("two", "other"))
    assert deliver.texts == ["one", "two"]
    assert [one.reply.text for one in deliver.of("other")] == ["two"]
    assert deliver.of("other", "tenant") == []


async def test_it_fails_as_often_as_it_is_told_and_counts_the_tries() -> None:
    deliver = RecordingDeliver()
    deliver.fail(2)
    deliver.fail(error=LookupError("no such chat"))
    for error in (OSError, OSError, LookupError):
        with pytest.raises(error):
            await deliver(delivery("one"))
    await deliver(delivery("one"))
    assert deliver.texts == ["one"]
    assert deliver.attempts[DeliveryId("s-one")] == 4
    await deliver.until_tried(4)


async def test_it_hangs_until_it_is_let_go() -> None:
    deliver = RecordingDeliver()
    deliver.hang()
    task = asyncio.create_task(deliver(delivery("one")))
    await asyncio.sleep(100)
    assert deliver.texts == []
    deliver.let_go()
    deliver.let_go()
    assert await deliver.until(1) == [delivery("one")]
    await task


async def test_a_count_wakes_each_waiter_at_its_number() -> None:
    count = Count("things")
    woken: list[int] = []

    async def wait(number: int) -> None:
        await count.reach(number)
        woken.append(number)

    waiters = [asyncio.create_task(wait(number)) for number in (2, 1, 0)]
    await asyncio.sleep(1)
    assert woken == [0]
    waiters[0].cancel()
    count.add()
    await asyncio.sleep(1)
    assert woken == [0, 1]
    count.add()
    assert repr(count) == "<2 things>"
    await asyncio.gather(*waiters, return_exceptions=True)
    assert woken == [0, 1]


async def test_a_count_wakes_a_waiter_from_another_thread() -> None:
    count = Count("things")
    waiter = asyncio.create_task(count.reach(1))
    await asyncio.sleep(0)
    await asyncio.to_thread(count.add)
    await waiter
