from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator
from types import TracebackType
from typing import Any, TypeVar

import pykka
import pytest
from loguru import logger

from wavebreak.actors.actor import AsyncioActor, Lifecycle
from wavebreak.actors.exit import AskFailed, Exit, ExitKind, Notice
from wavebreak.actors.mailbox import Envelope
from wavebreak.actors.reference import LoopActorRef

DEADLY = [SystemExit, KeyboardInterrupt, asyncio.CancelledError]


class Mortal(AsyncioActor):
    """Does what it is told at each point of its life; an async one does it after a turn."""

    def __init__(
        self, plan: dict[str, BaseException] | None = None, *, later: bool = False
    ) -> None:
        super().__init__()
        self.plan = plan or {}
        self.later = later
        self.order: list[object] = []
        self.failure: tuple[Any, ...] = ()

    def _do(self, what: str) -> Any:
        return self._do_later(what) if self.later else self._do_now(what)

    def _do_now(self, what: str) -> str:
        self.order.append(what)
        if what in self.plan:
            raise self.plan[what]
        return f"did {what}"

    async def _do_later(self, what: str) -> str:
        await asyncio.sleep(0)
        return self._do_now(what)

    def on_start(self) -> Any:
        return self._do("start")

    def on_receive(self, message: Any) -> Any:
        return self._do(message)

    def on_stop(self) -> Any:
        return self._do("stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        self.failure = (exception_type, exception_value, traceback)
        return self._do("failure")


class Bystander(AsyncioActor):
    def on_receive(self, message: Any) -> Any:
        return message


both_ways = pytest.mark.parametrize("later", [False, True], ids=["plain", "async"])
each_deadly = pytest.mark.parametrize("deadly", DEADLY)


A = TypeVar("A", bound=AsyncioActor)


def actor_of(ref: LoopActorRef[A]) -> A:
    actor = ref._actor
    assert actor is not None
    return actor


async def ended(ref: LoopActorRef[Any]) -> Exit:
    end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ref.watch(lambda notice: end.set_result(notice) if isinstance(notice, Exit) else None)
    return await end


@pytest.fixture
def logged() -> Generator[list[str]]:
    """What is logged meanwhile, as level and text."""
    lines: list[str] = []
    logger.enable("wavebreak")
    sink = logger.add(lambda line: lines.append(str(line)), format="{level} {message}", level=0)
    yield lines
    logger.remove(sink)
    logger.disable("wavebreak")


# --- BaseException ends one actor -------------------------------------------------------------


@both_ways
@each_deadly
async def test_a_deadly_tell_ends_this_actor_with_its_cause_and_no_other(
    deadly: type[BaseException], *, later: bool
) -> None:
    cause = deadly()
    ref, bystander = Mortal.start({"tell": cause}, later=later), Bystander.start()
    actor = actor_of(ref)
    ref.tell("tell")
    assert await ended(ref) == Exit(ExitKind.KILLED, cause, "receive")
    assert actor.order == ["start", "tell", "failure"]
    assert actor.failure[:2] == (deadly, cause)
    assert actor.lifecycle is Lifecycle.STOPPED
    assert await bystander.ask("alive", block=False) == "alive"
    await bystander.stop(block=False)


@both_ways
@each_deadly
async def test_who_asked_for_a_deadly_thing_gets_actor_dead_with_the_cause(
    deadly: type[BaseException], *, later: bool
) -> None:
    cause = deadly()
    ref = Mortal.start({"ask": cause}, later=later)
    with pytest.raises(pykka.ActorDeadError) as caught:
        await ref.ask("ask", block=False)
    assert caught.value.__cause__ is cause
    assert ref.exit == Exit(ExitKind.KILLED, cause, "receive")


@both_ways
@each_deadly
async def test_a_deadly_on_start_ends_this_actor_and_answers_who_waits(
    deadly: type[BaseException], *, later: bool
) -> None:
    cause = deadly()
    ref = Mortal.start({"start": cause}, later=later)
    actor = actor_of(ref)
    asked = ref.ask("early", block=False)
    ref.tell("told")
    with pytest.raises(pykka.ActorDeadError):
        await asked
    assert ref.exit == Exit(ExitKind.KILLED, cause, "start")
    assert actor.order == ["start"]
    assert actor.dead_letters == 1


@both_ways
@each_deadly
async def test_a_deadly_on_stop_is_noticed_and_who_asked_to_stop_is_answered(
    deadly: type[BaseException], *, later: bool
) -> None:
    cause = deadly()
    ref = Mortal.start({"stop": cause}, later=later)
    assert await ref.stop(block=False)
    assert ref.exit == Exit(ExitKind.KILLED, cause, "stop")


@both_ways
@each_deadly
async def test_a_deadly_on_failure_changes_nothing_about_the_end(
    deadly: type[BaseException], *, later: bool
) -> None:
    cause = ValueError()
    ref = Mortal.start({"tell": cause, "failure": deadly()}, later=later)
    ref.tell("tell")
    assert await ended(ref) == Exit(ExitKind.FAILED, cause, "receive")


@both_ways
async def test_a_generator_exit_ends_the_actor_too(*, later: bool) -> None:
    # Of a coroutine it cannot be told from the loop having been closed: no hook is awaited then.
    ref = Mortal.start({"ask": GeneratorExit()}, later=later)
    with pytest.raises(pykka.ActorDeadError):
        await ref.ask("ask", block=False)
    assert ref.exit is not None
    assert ref.exit.kind is ExitKind.KILLED


# --- errors -----------------------------------------------------------------------------------


@both_ways
async def test_a_failing_tell_ends_the_actor_by_on_failure(*, later: bool) -> None:
    cause = ValueError("why")
    ref = Mortal.start({"tell": cause}, later=later)
    actor = actor_of(ref)
    ref.tell("tell")
    stopped = ref.stop(block=False)
    assert await ended(ref) == Exit(ExitKind.FAILED, cause, "receive")
    assert actor.order == ["start", "tell", "failure"]
    assert actor.failure == (ValueError, cause, cause.__traceback__)
    assert await stopped


@both_ways
async def test_a_failing_ask_is_the_answer_and_the_actor_lives_on(*, later: bool) -> None:
    cause = ValueError("why")
    ref = Mortal.start({"ask": cause}, later=later)
    notices: list[Notice] = []
    ref.watch(notices.append)
    with pytest.raises(ValueError, match="why"):
        await ref.ask("ask", block=False)
    assert notices == [AskFailed(cause)]
    assert await ref.ask("next", block=False) == "did next"
    assert await ref.stop(block=False)
    assert notices[1:] == [Exit(ExitKind.NORMAL, None, "stop")]


@both_ways
async def test_a_failing_on_start_is_noticed_and_nothing_is_handled(*, later: bool) -> None:
    cause = ValueError("why")
    ref = Mortal.start({"start": cause}, later=later)
    actor = actor_of(ref)
    notices: list[Notice] = []
    ref.watch(notices.append)
    asked = ref.ask("early", block=False)
    stopped = ref.stop(block=False)
    with pytest.raises(pykka.ActorDeadError) as caught:
        await asked
    assert caught.value.__cause__ is cause
    assert notices == [Exit(ExitKind.FAILED, cause, "start")]
    assert await stopped
    assert actor.order == ["start"]


@both_ways
async def test_a_failing_on_stop_is_noticed(*, later: bool) -> None:
    cause = ValueError("why")
    ref = Mortal.start({"stop": cause}, later=later)
    assert await ref.stop(block=False)
    assert ref.exit == Exit(ExitKind.FAILED, cause, "stop")


async def test_the_exit_of_an_actor_that_was_stopped_is_normal() -> None:
    ref = Mortal.start()
    assert await ref.stop(block=False)
    assert ref.exit == Exit(ExitKind.NORMAL, None, "stop")


@both_ways
async def test_an_end_with_an_error_is_logged_once_and_with_its_phase(
    logged: list[str], *, later: bool
) -> None:
    ref = Mortal.start({"tell": ValueError("the reason")}, later=later)
    ref.tell("tell")
    await ended(ref)
    errors = [line for line in logged if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "failed in receive" in errors[0]
    assert "the reason" in errors[0]


async def test_a_failing_on_stop_is_logged(logged: list[str]) -> None:
    ref = Mortal.start({"stop": ValueError("the reason")})
    await ref.stop(block=False)
    assert any("the reason" in line for line in logged if line.startswith("ERROR"))


# --- teardown ---------------------------------------------------------------------------------


@both_ways
async def test_teardown_answers_all_who_asked_and_counts_what_was_told(*, later: bool) -> None:
    letters: list[object] = []

    class Noting(Mortal):
        def dead_letter(self, envelope: Envelope) -> None:
            letters.append(envelope.message)

    ref = Noting.start({"tell": ValueError()}, later=later)
    actor = actor_of(ref)
    ref.tell("tell")
    asks = [ref.ask(n, block=False) for n in range(3)]
    stopped = ref.stop(block=False)
    ref.tell("told")
    actor.stop()
    for asked in asks:
        with pytest.raises(pykka.ActorDeadError, match="Noting"):
            await asked
    assert await stopped
    assert letters == ["told"]
    assert actor.dead_letters == 1


async def test_dead_letters_are_counted_and_logged_by_default(logged: list[str]) -> None:
    ref = Mortal.start()
    actor = actor_of(ref)
    stopped = ref.stop(block=False)
    ref.tell("too late")
    ref.tell("later still")
    await stopped
    assert actor.dead_letters == 2
    assert sum("dead letter" in line for line in logged) == 2


async def test_a_dead_letter_hook_that_raises_keeps_nobody_from_being_answered() -> None:
    class Careless(Mortal):
        def dead_letter(self, envelope: Envelope) -> None:
            raise SystemExit

    ref = Careless.start()
    actor = actor_of(ref)
    stopped = ref.stop(block=False)
    ref.tell("too late")
    asked = ref.ask("too late", block=False)
    ref.tell("too late")
    assert await stopped
    assert asked.done()
    assert actor.dead_letters == 2


async def test_what_is_put_while_the_actor_stops_is_refused() -> None:
    stops, let_go = asyncio.Event(), asyncio.Event()

    class Slow(AsyncioActor):
        def on_stop(self) -> Any:
            stops.set()
            return let_go.wait()

    ref = Slow.start()
    stopped = ref.stop(block=False)
    await stops.wait()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("while it stops")
    let_go.set()
    assert await stopped


async def test_an_ask_that_stops_the_actor_is_answered_when_it_has_stopped() -> None:
    class Leaver(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            self._stop()
            return "the last word"

        def on_stop(self) -> Any:
            return asyncio.sleep(1)

    ref = Leaver.start()
    asked = ref.ask("leave", block=False)
    waiting = ref.ask("and this?", block=False)
    assert await asked == "the last word"
    assert ref.exit == Exit(ExitKind.NORMAL, None, "stop")
    with pytest.raises(pykka.ActorDeadError):
        await waiting


# --- cancellation from outside ----------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_cancelling_the_task_of_a_handler_ends_the_actor_and_answers_its_asker(
    turns: int,
) -> None:
    begun = asyncio.Event()

    class Hangs(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            begun.set()
            return asyncio.Event().wait()

    ref, bystander = Hangs.start(), Bystander.start()
    await asyncio.sleep(0)
    asked, behind = ref.ask(1, block=False), ref.ask(2, block=False)
    if turns:
        await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
    else:
        assert not actor_of(ref).drain()  # the task is made, and has had no turn yet
    task = actor_of(ref)._actor_task
    assert task is not None
    task.cancel()
    for future in (asked, behind):
        with pytest.raises(pykka.ActorDeadError):
            await future
    assert ref.exit is not None
    assert isinstance(ref.exit.cause, asyncio.CancelledError)
    assert await bystander.ask("alive", block=False) == "alive"
    await bystander.stop(block=False)


def test_the_end_of_the_program_ends_those_who_are_in_the_middle_of_something() -> None:
    order: list[str] = []

    class Hangs(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            return asyncio.Event().wait()

        def on_failure(
            self,
            exception_type: type[BaseException] | None,
            exception_value: BaseException | None,
            traceback: TracebackType | None,
        ) -> Any:
            return self.clean_up()

        async def clean_up(self) -> None:
            await asyncio.sleep(0)
            order.append("cleaned up")

    async def main() -> tuple[LoopActorRef[Hangs], Any]:
        ref = Hangs.start()
        asked = ref.ask("hang", block=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return ref, asked

    ref, asked = asyncio.run(main())
    assert order == ["cleaned up"]
    assert ref.exit is not None
    with pytest.raises(pykka.ActorDeadError):
        asked.get()


def test_a_loop_that_is_closed_in_the_middle_of_a_message_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wavebreak.actors.future._LOOK_AGAIN", 0.01)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # that the task is destroyed

    class Hangs(AsyncioActor):
        def on_receive(self, message: Any) -> Any:
            return asyncio.Event().wait()

    ref = Hangs.start_on(loop)
    asked = ref.ask("hang", block=False)
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def another() -> None:
        await Bystander.start().stop(block=False)

    asyncio.run(another())
    del loop
    gc.collect()
    with pytest.raises(pykka.ActorDeadError):
        asked.get()


# --- in the middle of everything --------------------------------------------------------------


@both_ways
async def test_of_many_actors_only_the_deadly_ones_end(*, later: bool) -> None:
    refs = [
        Mortal.start({"go": SystemExit()} if n % 3 == 0 else None, later=later) for n in range(30)
    ]
    answers = await asyncio.gather(
        *(wait_for(ref.ask("go", block=False)) for ref in refs), return_exceptions=True
    )
    for n, (ref, answer) in enumerate(zip(refs, answers, strict=True)):
        assert ref.is_alive() == (n % 3 != 0)
        assert isinstance(answer, pykka.ActorDeadError) == (n % 3 == 0)
    await asyncio.gather(*(wait_for(ref.stop(block=False)) for ref in refs))


async def wait_for(future: pykka.Future[Any]) -> Any:
    return await future


@pytest.mark.parametrize("error", [ValueError(), ExceptionGroup("why", [ValueError()])])
def test_any_exception_is_a_failure(error: Exception) -> None:
    assert Exit.of(error, "receive").kind is ExitKind.FAILED


def test_a_base_exception_group_is_a_kill() -> None:
    group = BaseExceptionGroup("why", [SystemExit()])
    assert Exit.of(group, "start") == Exit(ExitKind.KILLED, group, "start")


async def test_what_another_actors_stop_gave_is_a_message_as_any_other() -> None:
    actor, other = Mortal.start(), Mortal.start()
    stopped = other.stop(block=False)
    order = actor.proxy().order
    actor.tell(stopped)
    assert (await actor.ask(stopped, block=False)).startswith("did ")
    assert await stopped
    assert (await order)[1:] == [stopped, stopped]
    assert await actor.stop(block=False)
