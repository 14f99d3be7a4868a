"""Actors of every kind are ended at random under one system, and nothing is lost; seeded."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pykka
import pytest

from wavebreak import (
    AcceptanceUnknown,
    ActorError,
    ActorSystem,
    AfterWave,
    AsyncioActor,
    ChildSpec,
    CompletedCall,
    Enqueue,
    MessageStatus,
    NodeKind,
    NodeState,
    Now,
    Reply,
    SessionActor,
    SessionError,
    SessionFailed,
    Supervisor,
    Turn,
    TurnOutcome,
    current_call,
    tool,
)
from wavebreak.supervisors.life import kill
from wavebreak.testing import QuietEvent

from .auditing import Audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wavebreak import Delivery, Policy, Session, Tool, TreeNode
    from wavebreak.actors.reference import LoopActorRef

LONG: Final = 100_000.0
"""Virtual seconds after which something is said to hang."""

SESSIONS: Final = 200
STEPS: Final = 600
KINDS: Final = 15
"""Of trouble."""
OURS: Final = 8
"""How often one of the actors that sessions are made of is ended: fewer than end the system."""

ERRORS: Final[tuple[type[BaseException], ...]] = (
    ValueError,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
)


class Trouble:
    """Decides by its dice what goes wrong; as long as it is on."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - it shall be the same every time
        self.on = True
        self.done: Counter[str] = Counter()

    @property
    def has_had_all(self) -> bool:
        """Whether each kind of trouble has happened."""
        return len(self.done) == KINDS and min(self.done.values()) > 0

    def maybe(self, share: float, what: str) -> bool:
        happens = self.on and self.dice.random() < share
        self.done[what] += happens
        return happens

    def error(self) -> BaseException:
        return self.dice.choice(ERRORS)("chaos")


class Worker(AsyncioActor):
    """One of the program's own children."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble

    def on_start(self) -> None:
        if self.trouble.maybe(0.2, "a child does not start"):
            raise self.trouble.error()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message


class ThreadWorker(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message


class Storm:
    """A system, what is done to it, and what has to hold.

    Args:
        seed: of its dice.
        threads: whether children and tools in threads are there, too.
        pause: seconds between two steps at most.
    """

    def __init__(self, seed: int, *, threads: bool, pause: float) -> None:
        self.trouble = Trouble(seed)
        self.pause = pause
        self.audit = Audit()
        self.started: Counter[tuple[str, str]] = Counter()
        self.failed: dict[tuple[str, str], str] = {}
        self.undone: Counter[str] = Counter()
        self.book, self.block = self._tools()
        self.outcomes: dict[str, MessageStatus] = {}
        self.sent: list[asyncio.Task[None]] = []
        self.sends = 0
        self.blocks = threads
        self.gone = 0
        quiet = {"intensity": 1_000_000, "period": 1.0}
        workers = [ChildSpec(f"loop-{n}", Worker, args=(self.trouble,)) for n in range(5)]
        if threads:
            workers += [ChildSpec(f"thread-{n}", ThreadWorker) for n in range(3)]
        self.trouble.on = False
        self.system = ActorSystem(
            self.audit.agent(self._agent),
            tools=(self.book, self.block),
            session_actor=self._session_actor(),
            deliver=self._deliver,
            children=(ChildSpec("workers", Supervisor, args=(workers,), kwargs=quiet),),
            idle_after=5.0,
            threads=8,
        )
        self.audit.watch(self.system)

    # --- what runs ---

    async def _agent(self, turn: Turn) -> str:
        trouble = self.trouble
        await turn.settle(
            *(self._book(turn.text)(turn.session_id, f"{turn.text} {n}") for n in range(2))
        )
        if trouble.maybe(0.1, "an agent raises"):
            raise trouble.error()
        if trouble.maybe(0.05, "an attempt is tried again"):
            raise OSError("chaos")
        return turn.text

    def _book(self, text: str) -> Tool[[str, str], str]:
        """The tool for a text; always the same one, or a later attempt would make other calls."""
        return self.block if self.blocks and len(text) % 3 == 0 else self.book

    def _tools(self) -> tuple[Tool[[str, str], str], Tool[[str, str], str]]:
        async def undo(call: CompletedCall, _result: str) -> None:
            await asyncio.sleep(self.trouble.dice.random() * self.pause)
            if self.trouble.maybe(0.3, "an undoing fails"):
                raise self.trouble.error()
            self.undone[call.call_id] += 1

        async def book(session_id: str, what: str) -> str:
            turn = self._start(session_id, what)
            await asyncio.sleep(self.trouble.dice.random() * self.pause)
            if self.trouble.maybe(0.03, "a tool exits"):
                self.failed[session_id, what] = turn
                if self.trouble.maybe(0.5, "a session dies before it has heard of that"):
                    asyncio.get_running_loop().call_soon(self._kill_session_of, session_id)
                raise SystemExit
            return what

        def block(session_id: str, what: str) -> str:
            self._start(session_id, what)
            QuietEvent().wait(0.001)
            return what

        return tool(compensate=undo)(book), tool(compensate=undo)(block)

    def _start(self, session_id: str, what: str) -> str:
        """Count the start of a call, and give its turn."""
        turn = current_call().call_id.partition(".")[0]
        if self.failed.pop((session_id, what), turn) != turn:
            # It failed in a turn that could not be rolled back: the next one makes it anew.
            del self.started[session_id, what]
        self.started[session_id, what] += 1
        return turn

    async def _deliver(self, _delivery: Delivery) -> None:
        if self.trouble.maybe(0.1, "a channel fails"):
            raise self.trouble.error()

    def _session_actor(self) -> type[SessionActor]:
        trouble = self.trouble

        class Fragile(SessionActor):
            def on_start(self) -> None:
                if trouble.maybe(0.1, "a session does not start"):
                    raise trouble.error()

            def on_receive(self, message: Any) -> None:
                raise message

            def on_turn_ended(self, event: object) -> None:
                if trouble.maybe(0.02, "a hook exits"):
                    raise SystemExit

        return Fragile

    # --- what is done to it ---

    async def rage(self) -> None:
        """Do so many things, each of which may end something."""
        self.trouble.on = True
        dice = self.trouble.dice
        ways = [self._send] * 8 + [self._stop, self._break_session, self._kill_session]
        ways += [
            self._roll_back,
            self._roll_back,
            self._kill_runtime,
            self._break_child,
            self._kill_ours,
        ]
        for number in range(10 * STEPS):
            if number >= STEPS and (self.blocks or self.trouble.has_had_all):
                break  # what is rare may take longer, since not all of a run is of its dice
            dice.choice(ways)(number)
            await asyncio.sleep(dice.random() * self.pause)
        self.trouble.on = False

    def _session(self) -> Session:
        return self.system.session(f"s{self.trouble.dice.randrange(SESSIONS)}")

    def _send(self, number: int) -> None:
        policies: list[Policy] = [AfterWave(), Now(grace=0.1), Enqueue()]
        policy = self.trouble.dice.choice(policies)
        self.sends += 1
        self.sent.append(asyncio.create_task(self._see_to(self._session(), f"m{number}", policy)))

    async def _see_to(self, session: Session, text: str, policy: Policy) -> None:
        """Send until it is accepted, and ask until the outcome is known, as a program would."""
        while True:
            try:
                receipt = await session.send(text, message_id=text, policy=policy)
                outcome = await receipt.outcome()
            except (AcceptanceUnknown, SessionFailed):
                await asyncio.sleep(self.pause * 10)
            else:
                assert text not in self.outcomes
                self.outcomes[text] = outcome.status
                return

    def _stop(self, _number: int) -> None:
        self.sent.append(asyncio.create_task(self._stopped(self._session())))

    @staticmethod
    async def _stopped(session: Session) -> None:
        with contextlib.suppress(SessionError):
            await session.stop(Now(grace=0.1))

    def _roll_back(self, _number: int) -> None:
        tree = self.system._tree
        assert tree is not None
        running = list(tree.runtimes.children)
        if running:
            session = self.system.session(self.trouble.dice.choice(running).session_id)
            self.sent.append(asyncio.create_task(self._rolled_back(session)))

    async def _rolled_back(self, session: Session) -> None:
        with contextlib.suppress(SessionError):
            result = await session.rollback(grace=0.1)
            self.trouble.done["a turn is rolled back"] += result.outcome is TurnOutcome.ROLLED_BACK

    def _break_session(self, _number: int) -> None:
        self.trouble.done["a session is broken"] += 1
        self._session().tell(self.trouble.error())

    def _kill_session(self, _number: int) -> None:
        tree = self.system._tree
        assert tree is not None
        self._kill_one("a session is killed", [cell.ref for cell in tree.door.cells.values()])

    def _kill_session_of(self, session_id: str) -> None:
        tree = self.system._tree
        if tree is not None:
            cells = [cell for key, cell in tree.door.cells.items() if key.session_id == session_id]
            self._kill_one("a session is killed", [cell.ref for cell in cells])

    def _kill_runtime(self, _number: int) -> None:
        tree = self.system._tree
        assert tree is not None
        runtimes = [child.runtime for child in tree.runtimes.children.values() if child.runtime]
        if runtimes:  # only one of them: asked for its reference, it becomes an actor
            runtime = self.trouble.dice.choice(runtimes)
            self._kill_one("a runtime is killed", [runtime.actor_ref])

    def _kill_ours(self, _number: int) -> None:
        tree = self.system._tree
        assert tree is not None
        if self.gone < OURS:
            places = (tree.door.place, tree.runtimes.place, tree.outbound.place)
            actors = [place.actor for place in places]
            self._kill_one("one of ours", [actor.actor_ref for actor in actors if actor])
            self.gone += 1

    def _kill_one(self, what: str, refs: list[LoopActorRef[Any] | None]) -> None:
        alive = [ref for ref in refs if ref is not None and ref.is_alive()]
        if alive:
            self.trouble.done[what] += 1
            kill(self.trouble.dice.choice(alive))

    def _break_child(self, _number: int) -> None:
        with contextlib.suppress(ActorError):
            supervisor: Any = self.system.child("workers")
            children = [one.life for one in supervisor._actor.everyone if one.life is not None]
            life = self.trouble.dice.choice(children)
            with contextlib.suppress(pykka.ActorDeadError):
                life.ref.tell(self.trouble.error())
                self.trouble.done["a child is broken"] += 1

    # --- what has to hold ---

    async def calm(self) -> None:
        """Everything that was sent has its outcome, and everything that was there is there."""
        await asyncio.gather(*self.sent)
        for number in range(SESSIONS):
            outcome = None
            while outcome is None:
                with contextlib.suppress(SessionFailed, AcceptanceUnknown):
                    receipt = await self.system.session(f"s{number}").send(
                        "hello", message_id="hello"
                    )
                    outcome = await receipt.outcome()
            assert outcome.reply == Reply(text="hello")
        while unsettled := [node for node in self._nodes() if node.state is not NodeState.RUNNING]:
            assert all(node.kind is not NodeKind.SUPERVISOR for node in unsettled)
            await asyncio.sleep(self.pause)

    def check(self) -> None:
        assert len(self.outcomes) == self.sends
        twice = {what: times for what, times in self.started.items() if times > 1}
        assert twice == {}, "once is once"
        assert self.undone, "some calls were undone"
        self.audit.check()

    def _nodes(self) -> list[TreeNode]:
        return [node for node in _all(self.system.tree()) if node.kind is not NodeKind.SESSION]


def _all(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from _all(child)


async def weather(storm: Storm) -> None:
    async with asyncio.timeout(LONG), storm.system:
        await storm.rage()
        await storm.calm()
    storm.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_in_chaos_every_message_has_its_outcome_and_nothing_is_done_twice(seed: int) -> None:
    storm = Storm(seed, threads=False, pause=0.2)
    await weather(storm)
    assert storm.trouble.has_had_all, storm.trouble.done


@pytest.mark.slow
@pytest.mark.real_time
async def test_in_chaos_with_threads_too() -> None:
    await weather(Storm(7, threads=True, pause=0.005))
