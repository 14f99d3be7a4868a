from __future__ import annotations

import asyncio

from wavebreak import ActorSystem, Delta, MemoryJournal, Now, Turn, tool
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import gate


@tool(effect="read")
async def search(query: str) -> str:
    return f"found {query}"


async def agent(turn: Turn) -> str:
    for piece in ("I am ", "looking "):
        turn.delta(piece)
    await turn.one(search(turn.text))
    return "done"


async def test_a_session_is_seen_while_it_works_and_not_made_by_looking() -> None:
    with gate("search").holding(search) as at_search:
        async with ActorSystem(agent) as system:
            assert system.view("ann") is None
            receipt = await system.session("ann").send("a hotel")
            await at_search.reached()
            view = system.view("ann")
            assert view is not None
            assert (view.status, view.turn, view.wave) == ("running", 1, 1)
            seen = await system.session("ann").look()
            assert seen.preview == "I am looking "
            assert seen.state.running is not None
            at_search.let_go()
            await receipt.outcome()
            assert (await system.session("ann").look()).preview == ""
            assert system.view("bob") is None
        assert list(await system.journal.history(SessionKey("", "bob"), 9)) == []


@tool(effect="read")
async def ask_a_hotel(name: str) -> str:
    await asyncio.sleep(len(name))
    return name


async def test_a_view_names_the_tools_at_work_as_long_as_they_are() -> None:
    async def shopping(turn: Turn) -> str:
        await turn.wave(ask_a_hotel("ten letter"), search(turn.text), ask_a_hotel("three"))
        await asyncio.sleep(10)
        return await turn.one(search(turn.text))

    async with ActorSystem(shopping) as system:

        def at_work() -> tuple[str, ...]:
            view = system.view("ann")
            assert view is not None
            return view.tools

        receipt = await system.session("ann").send("a hotel")
        await asyncio.sleep(1)
        assert at_work() == ("ask_a_hotel", "ask_a_hotel")
        await asyncio.sleep(5)
        assert at_work() == ("ask_a_hotel",)
        await asyncio.sleep(8)
        assert at_work() == (), "between two waves the agent is at work, and no tool"
        await receipt.outcome()
        assert at_work() == ()


async def test_a_piece_of_the_preview_says_where_it_begins() -> None:
    async with ActorSystem(agent) as system:
        session = system.session("ann")
        with session.events() as events:
            await (await session.send("a hotel")).outcome()
        starts = [(e.start, e.text) async for e in events if isinstance(e, Delta)]
    assert starts == [(0, "I am "), (5, "looking ")]


async def test_the_turns_that_run_are_listed_and_one_that_stops_is_not_active() -> None:
    with gate("search").holding(search) as at_search:
        async with ActorSystem(agent) as system:
            assert system.active_turns() == {}
            receipt = await system.session("ann", tenant="acme").send("a hotel")
            await at_search.reached()
            ((key, turn),) = system.active_turns().items()
            assert key == SessionKey("acme", "ann")
            assert (turn.turn, turn.active) == (1, True)
            assert turn.created_at > 0
            stopped = system.session("ann", tenant="acme").stop()
            await asyncio.sleep(0)
            assert [turn.active for turn in system.active_turns().values()] == [False]
            at_search.let_go()
            await stopped
            assert (await receipt.outcome()).status == "cancelled"
            assert system.active_turns() == {}


async def test_cancelling_the_active_turn_ends_it_now_and_starts_no_session() -> None:
    journal = MemoryJournal()
    with gate("search").holding(search) as at_search:
        async with ActorSystem(agent, journal=journal) as system:
            receipt = await system.session("ann").send("a hotel")
            await at_search.reached()
            result = await system.cancel_active("ann", reason="Task cancelled")
            assert (result.turn, result.outcome) == (1, "stopped")
            assert (await receipt.outcome()).status == "cancelled"
            assert (await system.cancel_active("ann", how=Now())).turn is None
            assert (await system.cancel_active("nobody")).turn is None
            assert (await system.cancel_active("nobody", message_id="m1")).turn is None
    assert list(await journal.sessions(None, None, 9)) == [SessionKey("", "ann")]


async def test_a_sweep_lets_go_of_what_rests_and_of_nothing_else() -> None:
    with gate("search").holding(search) as at_search:
        async with ActorSystem(agent) as system:
            await system.session("ann", tenant="acme").send("a hotel")
            await at_search.reached()
            assert system.sweep() == []
            at_search.let_go()
            await asyncio.sleep(1)
            assert system.sweep(tenant="other") == []
            assert system.sweep(tenant="acme") == [SessionKey("acme", "ann")]
            await asyncio.sleep(0.1)
            assert system.view("ann", tenant="acme") is None
            again = await system.session("ann", tenant="acme").send("once more")
            assert (await again.outcome()).turn == 2
