from __future__ import annotations

import asyncio
import threading

import pytest

from wavebreak.messages.errors import CancelledException, WaveFailed
from wavebreak.messages.reasons import CallStatus, Effect
from wavebreak.testing import GateError, Run, gate
from wavebreak.tools import CancellationToken, Plan, run_waves, tool


@tool(effect="read", timeout=3, version="2", carry=False)
async def search(city: str, nights: int = 1) -> str:
    """Search for rooms."""
    return f"{nights} nights in {city}"


@tool
def book(room: str) -> str:
    return f"booked {room}"


async def test_a_held_call_waits_until_it_is_let_go_and_then_does_its_work() -> None:
    g = gate("search")
    held = g.hold(search)
    call = asyncio.create_task(held.function(city="Rome"))
    await g.reached()
    await asyncio.sleep(100)
    assert not call.done()
    assert (g.arrived, g.waiting) == (1, 1)
    g.let_go()
    assert await call == "1 nights in Rome"
    assert g.waiting == 0


async def test_a_gate_that_was_opened_holds_nothing_any_more_until_it_is_shut() -> None:
    g = gate("search")
    held = g.hold(search)
    g.let_go()
    assert await held.function(city="Rome") == "1 nights in Rome"
    g.shut()
    call = asyncio.create_task(held.function(city="Bern", nights=2))
    await g.reached(2)
    assert g.waiting == 1
    g.let_go(1)
    assert await call == "2 nights in Bern"


async def test_calls_are_let_go_one_by_one_in_the_order_in_which_they_came() -> None:
    g = gate("search")
    held = g.hold(search)
    done: list[str] = []

    async def one(city: str) -> None:
        done.append(await held.function(city=city))

    calls = [asyncio.create_task(one(city)) for city in ("Rome", "Bern", "Oslo")]
    await g.reached(3)
    g.let_go(1)
    await asyncio.sleep(1)
    assert done == ["1 nights in Rome"]
    g.let_go(2)
    await asyncio.gather(*calls)
    assert done == ["1 nights in Rome", "1 nights in Bern", "1 nights in Oslo"]


async def test_more_may_be_let_go_than_have_come() -> None:
    g = gate("search")
    held = g.hold(search)
    g.let_go(1)
    await held.function(city="Rome")
    second = asyncio.create_task(held.function(city="Bern"))
    await g.reached(2)
    assert g.waiting == 1
    g.let_go(1)
    await second


async def test_a_held_call_can_be_made_to_fail_instead_of_its_work() -> None:
    g = gate("search")
    held = g.hold(search)
    call = asyncio.create_task(held.function(city="Rome"))
    await g.reached()
    g.fail(LookupError("no rooms"))
    with pytest.raises(LookupError, match="no rooms"):
        await call
    with pytest.raises(LookupError, match="no rooms"):
        await held.function(city="Bern")


async def test_one_call_can_fail_and_the_next_work() -> None:
    g = gate("search")
    held = g.hold(search)
    g.fail(OSError("once"), 1)
    g.let_go(1)
    with pytest.raises(OSError, match="once"):
        await held.function(city="Rome")
    assert await held.function(city="Rome") == "1 nights in Rome"


async def test_a_held_call_that_is_cancelled_is_counted_and_gone() -> None:
    g = gate("search")
    call = asyncio.create_task(g.hold(search).function(city="Rome"))
    await g.reached()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (g.cancelled, g.waiting) == (1, 0)


async def test_a_stubborn_call_waits_on_though_it_is_cancelled() -> None:
    g = gate("search")
    call = asyncio.create_task(g.hold(search, stubborn=True).function(city="Rome"))
    await g.reached()
    for _ in range(2):
        call.cancel()
        await asyncio.sleep(1)
    assert not call.done()
    assert g.cancelled == 2
    g.let_go()
    assert await call == "1 nights in Rome"


async def test_a_blocking_tool_is_held_in_its_thread_and_holds_up_no_time() -> None:
    g = gate("book")
    call = asyncio.create_task(asyncio.to_thread(g.hold(book).function, room="12"))
    await g.reached()
    await asyncio.sleep(100)
    assert not call.done()
    g.let_go()
    assert await call == "booked 12"


async def test_a_blocking_tool_can_be_made_to_fail() -> None:
    g = gate("book")
    call = asyncio.create_task(asyncio.to_thread(g.hold(book).function, room="12"))
    await g.reached()
    g.fail(OSError("line is dead"))
    with pytest.raises(OSError, match="line is dead"):
        await call


def test_a_thread_that_is_never_let_go_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavebreak.testing.gates.HELD_TOO_LONG", 0.01)
    g = gate("book")
    with pytest.raises(GateError, match="let it go"):
        g.hold(book).function(room="12")
    assert g.waiting == 0


def test_a_gate_holds_no_tool_of_another_name() -> None:
    with pytest.raises(GateError, match=r"gate\('book'\)"):
        gate("search").hold(book)
    with pytest.raises(GateError, match=r"gate\('book'\)"), gate("search").holding(book):
        pass


def test_a_held_tool_is_the_same_tool_in_all_else() -> None:
    held = gate("search").hold(search)
    assert held is not search
    assert held.json_schema == search.json_schema
    assert (held.name, held.effect, held.timeout, held.version, held.carry) == (
        "search",
        Effect.READ,
        3.0,
        "2",
        False,
    )
    assert held(city="Rome").equality == search(city="Rome").equality
    assert held(city="Rome").tool is held


async def test_a_tool_is_held_in_place_only_within_the_block() -> None:
    call = search(city="Rome")
    with gate("search").holding(search) as g:
        task = asyncio.create_task(call.tool.function(**call.arguments))
        await g.reached()
        g.let_go()
        await task
    assert await search.function(city="Bern") == "1 nights in Bern"
    assert g.arrived == 1


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_gate_makes_a_tool_of_its_own(blocking: bool) -> None:
    g = gate("price")
    price = g.tool(120, blocking=blocking, effect="read")
    assert (price.name, price.effect, price.blocking) == ("price", Effect.READ, blocking)
    assert price("a room").equality == price(text="a room").equality
    g.let_go()
    function = price.function
    assert (await asyncio.to_thread(function) if blocking else await function()) == 120


def test_a_gate_can_be_let_go_from_another_thread(real_run: Run) -> None:
    g = gate("search")

    def other() -> None:
        g.reached_blocking()
        g.let_go()

    async def main() -> str:
        thread = threading.Thread(target=other)
        thread.start()
        found: str = await g.hold(search).function(city="Rome")
        thread.join()
        return found

    assert real_run(main) == "1 nights in Rome"


def test_a_thread_that_waits_for_calls_in_vain_is_told_how_many_came() -> None:
    with pytest.raises(TimeoutError, match="0 of 2 calls at gate 'search'"):
        gate("search").reached_blocking(2, timeout=0.01)


def test_a_gate_serves_several_loops_one_after_the_other(run: Run) -> None:
    g = gate("search")

    async def main() -> str:
        call = asyncio.create_task(g.hold(search).function(city="Rome"))
        await asyncio.sleep(1)
        g.let_go(1)
        found: str = await call
        return found

    assert run(main) == run(main) == "1 nights in Rome"


async def test_a_wave_is_interrupted_in_its_middle_at_the_same_place_every_time() -> None:
    g = gate("search")
    plan, token = Plan(), CancellationToken()
    first = plan.add(g.hold(search)(city="Rome"))
    plan.add(search(city="Bern"), after=(first,))
    running = asyncio.create_task(run_waves(plan, cancel_token=token))
    await g.reached()
    token.cancel("the user wrote again")
    g.let_go()
    with pytest.raises(CancelledException) as caught:
        await running
    assert caught.value.wave_num == 2
    assert list(caught.value.partial_results.values()) == ["1 nights in Rome"]


async def test_the_timeout_of_a_blocking_tool_runs_out_in_virtual_time_while_it_is_held() -> None:
    g = gate("book")
    plan = Plan()
    plan.add(g.tool("booked", blocking=True, timeout=60)())
    running = asyncio.create_task(run_waves(plan))
    await g.reached()
    # Its thread goes on, as threads do, and is let go once the wave has given it up.
    asyncio.get_running_loop().call_later(600, g.let_go)
    with pytest.raises(WaveFailed) as caught:
        await running
    g.let_go()
    assert [record.status for record in caught.value.records] == [CallStatus.UNKNOWN]
