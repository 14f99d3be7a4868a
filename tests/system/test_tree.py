"""The tree of a system as data."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from pydantic import ValidationError

from wavebreak import (
    AcceptanceUnknown,
    ActorSystem,
    AsyncioActor,
    Backoff,
    ChildSpec,
    NodeKind,
    NodeState,
    Now,
    SessionActor,
    SqliteJournal,
    Strategy,
    Supervisor,
    SystemClosed,
    TreeNode,
    Turn,
)
from wavebreak.testing import RecordingDeliver, gate

from ..journal.disks import Disk
from .conversing import swallow_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def echo(turn: Turn) -> str:
    return turn.text


async def held(turn: Turn) -> str:
    return str(await turn.one(turn.call("hold", {})))


class Worker(AsyncioActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message


def nodes_of(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from nodes_of(child)


def find(system: ActorSystem, name: str, limit: int | None = None) -> TreeNode:
    (found,) = [node for node in nodes_of(system.tree(limit=limit)) if node.id == name]
    return found


async def test_the_tree_names_everything_that_runs() -> None:
    pool = ChildSpec(
        "pool",
        Supervisor,
        args=((ChildSpec("w", Worker),),),
        kwargs={"strategy": Strategy.SIMPLE_ONE_FOR_ONE},
    )
    system = ActorSystem(echo, deliver=RecordingDeliver(), children=(ChildSpec("db", Worker), pool))
    async with system:
        await (await system.session("ann", tenant="acme").send("a")).outcome()
        tree = system.tree(limit=None)
        assert [node.id for node in nodes_of(tree)] == [
            *("root", "children", "db", "pool"),
            *("conversations", "runtimes", "sessions", "acme/ann", "deliveries", "threads"),
        ]
        assert {node.state for node in nodes_of(tree)} == {NodeState.RUNNING}
        assert find(system, "pool").kind is NodeKind.SUPERVISOR
        assert find(system, "acme/ann").kind is NodeKind.SESSION
        assert find(system, "acme/ann").detail == "idle"
        assert len({node.ref for node in nodes_of(tree) if node.ref}) == 9
        with pytest.raises(ValidationError):
            tree.id = "mine"  # type: ignore[misc]
        assert TreeNode.model_validate_json(tree.model_dump_json()) == tree
    with pytest.raises(SystemClosed):
        system.tree()


async def test_sessions_runtimes_and_pools_are_counted_and_as_many_listed_as_one_likes() -> None:
    hold = gate("hold")
    pool = ChildSpec(
        "pool",
        Supervisor,
        args=((ChildSpec("w", Worker),),),
        kwargs={"strategy": Strategy.SIMPLE_ONE_FOR_ONE},
    )
    async with ActorSystem(held, tools=(hold.tool("x"),), children=(pool,)) as system:
        for number in range(30):
            system.session(str(number)).send("a")
        await hold.reached(30)
        supervisor: Any = system.child("pool")
        for _ in range(5):
            await supervisor.start_child()
        for limit, listed in ((0, 0), (3, 3), (None, 30)):
            sessions, runtimes = (
                find(system, "conversations", limit).children[place] for place in (1, 0)
            )
            assert (sessions.count, len(sessions.children)) == (30, listed)
            assert (runtimes.count, len(runtimes.children)) == (30, listed)
            assert find(system, "pool", limit).count == 5
        assert runtimes.children[0].detail == "turn 1, attempt 1"
        assert runtimes.children[0].kind is NodeKind.RUNTIME
        hold.let_go()


async def test_restarts_are_counted_and_what_is_down_or_between_two_lives_is_told() -> None:
    class Fragile(SessionActor):
        def on_receive(self, message: object) -> None:
            raise RuntimeError(message)

    slow = ChildSpec("slow", Worker, backoff=Backoff(minimum=5, jitter=0))
    async with ActorSystem(
        echo, session_actor=Fragile, children=(ChildSpec("db", Worker), slow)
    ) as system:
        system.child("db").tell(ValueError("broken"))
        await asyncio.sleep(6)
        system.child("slow").tell(ValueError("broken"))
        session = system.session("ann")
        for _ in range(3):
            session.tell("die")
            await asyncio.sleep(0)
        await asyncio.sleep(0.15)
        assert find(system, "db").restarts == 1
        assert find(system, "slow").state is NodeState.RESTARTING
        ann = find(system, str(session.key))
        assert (ann.state, ann.restarts, ann.ref) == (NodeState.RESTARTING, 2, "")
        await system.children.terminate_child("db")
        assert find(system, "db").state is NodeState.DOWN
        await asyncio.sleep(10)
        assert find(system, str(session.key)).restarts == 3
        assert find(system, "slow").state is NodeState.RUNNING


async def test_a_runtime_that_nobody_waits_for_any_more_is_told_as_abandoned() -> None:
    enough = asyncio.Event()

    async def agent(turn: Turn) -> str:
        await swallow_until(enough)
        return turn.text

    async with ActorSystem(agent) as system:
        session = system.session("ann")
        await session.send("a")
        await session.stop(Now(grace=1))
        (runtime,) = find(system, "runtimes").children
        assert runtime.state is NodeState.ABANDONED
        enough.set()


async def test_the_tree_is_there_while_children_start_and_stop_and_the_system_closes() -> None:
    seen: list[list[tuple[str, str]]] = []

    class Slow(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(1)

        async def on_stop(self) -> None:  # type: ignore[override]
            await asyncio.sleep(1)

    async def look() -> None:
        while True:
            await asyncio.sleep(0.3)
            try:
                tree = system.tree(limit=None)
            except SystemClosed:
                return
            seen.append([(node.id, node.state) for node in nodes_of(tree)])

    system = ActorSystem(echo, children=(ChildSpec("slow", Slow),))
    looking = asyncio.create_task(look())
    async with system:
        await (await system.session("ann").send("a")).outcome()
    await looking
    states = [dict(one) for one in seen]
    assert states[0]["root"] == NodeState.STARTING
    assert states[-1]["root"] == NodeState.STOPPING
    assert {one.get("slow") for one in states} >= {NodeState.STOPPING}


async def test_the_writer_of_a_journal_is_in_the_tree_with_what_troubles_it(tmp_path: Path) -> None:
    with Disk() as disk:
        journal = SqliteJournal(tmp_path / "journal.db", vfs=disk.name)
        async with ActorSystem(echo, journal=journal) as system:
            assert system.tree().children[0].id == "journal"

            def writer() -> tuple[NodeState, int, int]:
                node = find(system, "journal")
                assert node.kind is NodeKind.JOURNAL
                return node.state, node.restarts, node.count

            assert writer() == (NodeState.RUNNING, 0, 0)
            disk.fail("write", "-wal", apsw.SQLITE_FULL, times=10_000)
            waits = system.session("ann").send("a")
            await asyncio.sleep(5)
            state, restarts, waiting = writer()
            assert (state, restarts) == (NodeState.RESTARTING, 0)
            assert waiting > 0
            assert "full" in find(system, "journal").detail.lower()
            disk.heal()
            await (await waits).outcome()
            assert writer() == (NodeState.RUNNING, 0, 0)
            disk.fail("sync", "-wal", apsw.SQLITE_IOERR_FSYNC)
            disk.fail("open", "journal.db", apsw.SQLITE_CANTOPEN, times=1000)
            with pytest.raises(AcceptanceUnknown):
                await system.session("ben").send("b")
            await asyncio.sleep(5)
            assert writer()[:2] == (NodeState.RESTARTING, 1)
            disk.heal()
            await (await system.session("ben").send("c")).outcome()
            assert writer() == (NodeState.RUNNING, 1, 0)
