from __future__ import annotations

import asyncio

from wavebreak.benchmarks.replaying.recorded import Conversation, Exchange, ServiceCall
from wavebreak.benchmarks.replaying.world import Desk, Script, Wanted

FIRST = ServiceCall("Hotels", "SearchHotel", {"where": "Oslo"}, ({"name": "Inn"},))
SECOND = FIRST._replace(results=({"name": "Palace"},))
TALK = Conversation("a", (Exchange("One", (FIRST,), "Inn"), Exchange("Two", (SECOND,), "Palace")))
WANTED = Wanted(method="SearchHotel", parameters={"where": "Oslo"}, books=False)


def desk(session: str = "a", seed: int = 1, speed: float = 1.0) -> Desk:
    return Desk(Script(session, TALK, (0.0, 1.0)), seed=seed, speed=speed)


async def seconds(one: Desk, message: str = "m0") -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await one.understand(message, "One")
    return loop.time() - began


async def test_an_equal_call_takes_as_long_every_time_and_in_every_system() -> None:
    one = desk()

    assert await seconds(one) == await seconds(one) == await seconds(desk())
    assert len({await seconds(some) for some in (one, desk("b"), desk(seed=2))}) == 3


async def test_time_runs_as_fast_as_asked() -> None:
    assert abs(await seconds(desk(speed=10.0)) - await seconds(desk()) / 10.0) < 1e-6


async def test_equal_calls_are_answered_with_the_recorded_results_in_their_order() -> None:
    one = desk()

    answers = [await one.serve("SearchHotel", {"where": "Oslo"}, books=False) for _ in range(3)]

    assert answers == [[{"name": "Inn"}], [{"name": "Palace"}], [{"name": "Palace"}]]


async def test_messages_are_understood_and_answered_as_recorded() -> None:
    one = desk()

    assert await one.understand("m1", "Two") == [WANTED]
    assert await one.compose(["m0", "m1"], 2) == "Inn\nPalace"


def test_results_and_replies_that_were_not_recorded_are_noted() -> None:
    one = desk()
    one.check({"m0": [WANTED]}, [(WANTED, [{"name": "Palace"}])])
    one.check_reply(["m0"], "Inn")
    assert one.tape.wrong == []

    one.check({"m0": []}, [(WANTED, [])])
    one.check_reply(["m0"], "Palace")
    assert len(one.tape.wrong) == 3
