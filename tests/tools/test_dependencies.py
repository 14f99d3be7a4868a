from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol, Self

import pytest

from wavebreak.messages.errors import DependencyError
from wavebreak.tools.dependencies import Dependencies, Given, Scope, TurnInfo, dep

TURN = TurnInfo("acme", "s1", ("ann", None))


class Pool:
    def __init__(self, name: str = "pool") -> None:
        self.name = name


class Client:
    def __init__(self, owner: str = "") -> None:
        self.owner = owner


class Managed:
    """Is a context manager itself, like many clients and connections."""

    entered = False

    def __enter__(self) -> Self:
        self.entered = True
        return self

    def __exit__(self, *args: object) -> None:
        self.entered = False

    async def __aenter__(self) -> Self:
        self.entered = True
        return self

    async def __aexit__(self, *args: object) -> None:
        self.entered = False


def within(scope: Scope, function: Any, *args: Any) -> Any:
    context = contextvars.copy_context()
    scope.activate(context)
    return context.run(function, *args)


def scope_of(mapping: Given) -> Scope:
    return Dependencies(mapping).scope(TURN)


# Values and plain factories


def test_a_value_is_given_as_it_is() -> None:
    pool = Pool()
    assert within(scope_of({Pool: pool}), dep, Pool) is pool


def test_a_value_may_be_of_a_subclass() -> None:
    class Better(Pool):
        pass

    pool = Better()
    assert within(scope_of({Pool: pool}), dep, Pool) is pool


def test_a_callable_value_of_the_type_is_a_value_and_no_factory() -> None:
    class Call:
        def __call__(self, turn: TurnInfo) -> str:
            raise AssertionError

    call = Call()
    assert within(scope_of({Call: call}), dep, Call) is call


def test_a_factory_gets_the_turn_and_is_called_once_for_each_turn() -> None:
    turns: list[TurnInfo] = []

    def make(turn: TurnInfo) -> Client:
        turns.append(turn)
        return Client(turn.tenant)

    dependencies = Dependencies({Client: make})
    scope = dependencies.scope(TURN)
    assert turns == []
    first = within(scope, dep, Client)
    assert first.owner == "acme"
    assert within(scope, dep, Client) is first
    assert turns == [TURN]
    assert within(dependencies.scope(TURN), dep, Client) is not first


def test_a_factory_is_called_once_also_when_threads_ask_at_the_same_time() -> None:
    made: list[Client] = []
    barrier = threading.Barrier(4)

    def make(turn: TurnInfo) -> Client:
        made.append(Client())
        threading.Event().wait(0.02)  # time for the others to come
        return made[-1]

    scope = scope_of({Client: make})

    def ask() -> None:
        barrier.wait()
        within(scope, dep, Client)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_factory_may_ask_for_other_dependencies() -> None:
    scope = scope_of({Client: lambda turn: Client(dep(Pool).name), Pool: lambda turn: Pool("p")})
    assert within(scope, dep, Client).owner == "p"


def test_factories_that_ask_for_each_other_are_told_as_a_circle() -> None:
    def client(turn: TurnInfo) -> Client:
        return Client(dep(Pool).name)

    def pool(turn: TurnInfo) -> Pool:
        return Pool(dep(Client).owner)

    scope = scope_of({Client: client, Pool: pool})
    with pytest.raises(DependencyError, match=r"in a circle: Client -> Pool -> Client"):
        within(scope, dep, Client)


def test_a_factory_that_failed_is_called_again() -> None:
    calls: list[int] = []

    def make(turn: TurnInfo) -> Client:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no network")
        return Client()

    scope = scope_of({Client: make})
    with pytest.raises(OSError, match=r"no network"):
        within(scope, dep, Client)
    assert isinstance(within(scope, dep, Client), Client)


def test_a_class_is_a_factory_of_itself() -> None:
    class PerTurn:
        def __init__(self, turn: TurnInfo) -> None:
            self.turn = turn

    assert within(scope_of({PerTurn: PerTurn}), dep, PerTurn).turn is TURN


def test_a_protocol_is_given_by_a_factory() -> None:
    class Speaks(Protocol):
        def speak(self) -> str: ...

    class Dog:
        def speak(self) -> str:
            return "wuff"

    dog = Dog()
    mapping: Given = {Speaks: lambda turn: dog}
    assert within(scope_of(mapping), dep, Speaks) is dog


def test_a_thing_that_could_be_opened_is_not_if_it_is_of_the_type() -> None:
    scope = scope_of({Managed: lambda turn: Managed()})
    assert not scope.needs_opening
    assert not within(scope, dep, Managed).entered


# What is missing or wrong


def test_a_missing_dependency_is_told_with_the_remedy() -> None:
    scope = scope_of({Pool: Pool()})
    with pytest.raises(DependencyError, match=r"no dependency Client: .*deps={Client: \.\.\.}"):
        within(scope, dep, Client)
    with pytest.raises(DependencyError, match=r"it was given Pool"):
        within(scope, dep, Client)
    with pytest.raises(DependencyError, match=r"it was given nothing"):
        within(scope_of({}), dep, Client)


def test_outside_of_a_turn_there_is_nothing() -> None:
    with pytest.raises(DependencyError, match=r"dep\(Pool\) was called outside of a turn"):
        dep(Pool)


def test_a_key_that_is_no_type_is_refused() -> None:
    with pytest.raises(DependencyError, match=r"'pool' is not a type"):
        Dependencies({"pool": Pool()})  # type: ignore[dict-item]


def test_a_value_of_another_type_is_refused_with_what_to_do_for_a_double() -> None:
    with pytest.raises(DependencyError, match=r"'x' is neither a Pool nor a function.*lambda turn"):
        Dependencies({Pool: "x"})


def test_what_has_to_be_awaited_and_does_not_look_like_it_is_told() -> None:
    async def make() -> Client:
        return Client()

    @asynccontextmanager
    async def manager() -> AsyncGenerator[Client]:
        yield Client()

    factories: list[Callable[[TurnInfo], object]] = [lambda turn: make(), lambda turn: manager()]
    for factory in factories:
        scope = scope_of({Client: factory})
        assert not scope.needs_opening
        with pytest.raises(DependencyError, match=r"Client gave .* has to be awaited: make it an"):
            within(scope, dep, Client)


# What is opened


async def test_an_async_factory_is_awaited_when_the_scope_is_opened() -> None:
    async def make(turn: TurnInfo) -> Client:
        await asyncio.sleep(1)
        return Client(turn.session_id)

    scope = scope_of({Client: make})
    assert scope.needs_opening
    await scope.open()
    assert not scope.needs_opening
    assert within(scope, dep, Client).owner == "s1"
    assert within(scope, dep, Client) is within(scope, dep, Client)
    await scope.close()


async def test_context_managers_are_entered_on_opening_and_left_on_closing_last_first() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def client(turn: TurnInfo) -> AsyncGenerator[Client]:
        log.append("client in")
        yield Client(turn.tenant)
        log.append("client out")

    @contextmanager
    def pool(turn: TurnInfo) -> Generator[Pool]:
        log.append("pool in")
        yield Pool()
        log.append("pool out")

    scope = scope_of({Client: client, Pool: pool})
    assert scope.needs_opening
    await scope.open()
    await scope.open()
    assert within(scope, dep, Client).owner == "acme"
    assert isinstance(within(scope, dep, Pool), Pool)
    assert log == ["client in", "pool in"]
    await scope.close()
    await scope.close()
    assert log == ["client in", "pool in", "pool out", "client out"]


async def test_a_generator_is_a_context_manager_without_its_decorator() -> None:
    log: list[str] = []

    async def client(turn: TurnInfo) -> AsyncGenerator[Client]:
        yield Client("a")
        log.append("client out")

    def pool(turn: TurnInfo) -> Generator[Pool]:
        yield Pool("b")
        log.append("pool out")

    scope = scope_of({Client: client, Pool: pool})
    await scope.open()
    assert within(scope, dep, Client).owner == "a"
    assert within(scope, dep, Pool).name == "b"
    await scope.close()
    assert log == ["pool out", "client out"]


async def test_a_factory_that_says_that_it_gives_a_context_manager_is_opened() -> None:
    class Manager:
        async def __aenter__(self) -> Client:
            return Client("entered")

        async def __aexit__(self, *args: object) -> None:
            pass

    def make(turn: TurnInfo) -> AbstractAsyncContextManager[Client]:
        return Manager()

    scope = scope_of({Client: make})
    assert scope.needs_opening
    await scope.open()
    assert within(scope, dep, Client).owner == "entered"
    await scope.close()


async def test_an_object_with_an_async_call_is_an_async_factory() -> None:
    class Factory:
        async def __call__(self, turn: TurnInfo) -> Client:
            return Client("made")

    scope = scope_of({Client: Factory()})
    assert scope.needs_opening
    await scope.open()
    assert within(scope, dep, Client).owner == "made"


async def test_a_plain_context_manager_that_was_not_seen_is_left_on_closing_too() -> None:
    log: list[str] = []

    @contextmanager
    def pool() -> Generator[Pool]:
        yield Pool()
        log.append("out")

    scope = scope_of({Pool: lambda turn: pool()})
    assert not scope.needs_opening
    assert isinstance(within(scope, dep, Pool), Pool)
    await scope.close()
    assert log == ["out"]


async def test_an_async_factory_may_ask_for_what_was_given_before_it() -> None:
    async def client(turn: TurnInfo) -> Client:
        return Client(dep(Pool).name)

    async def pool(turn: TurnInfo) -> Pool:
        return Pool("p")

    scope = scope_of({Pool: pool, Client: client})
    await scope.open()
    assert within(scope, dep, Client).owner == "p"
    with pytest.raises(DependencyError, match=r"outside of a turn"):
        dep(Pool)
    wrong = scope_of({Client: client, Pool: pool})
    with pytest.raises(DependencyError, match=r"Pool is made when the turn starts, and is not the"):
        await wrong.open()


async def test_when_one_cannot_be_opened_those_before_it_are_closed() -> None:
    log: list[str] = []
    fails = True

    @asynccontextmanager
    async def client(turn: TurnInfo) -> AsyncGenerator[Client]:
        try:
            yield Client()
        finally:
            log.append("client out")

    async def pool(turn: TurnInfo) -> Pool:
        if fails:
            raise OSError("no pool")
        return Pool()

    scope = scope_of({Client: client, Pool: pool})
    with pytest.raises(OSError, match=r"no pool"):
        await scope.open()
    assert log == ["client out"]
    assert scope.needs_opening
    with pytest.raises(DependencyError, match=r"Client is made when the turn starts"):
        within(scope, dep, Client)
    fails = False
    await scope.open()
    assert isinstance(within(scope, dep, Client), Client)
    await scope.close()
    assert log == ["client out", "client out"]


async def test_all_are_closed_although_one_fails_to() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def client(turn: TurnInfo) -> AsyncGenerator[Client]:
        try:
            yield Client()
        finally:
            log.append("client out")

    @asynccontextmanager
    async def pool(turn: TurnInfo) -> AsyncGenerator[Pool]:
        yield Pool()
        raise OSError("cannot close")

    scope = scope_of({Client: client, Pool: pool})
    await scope.open()
    with pytest.raises(OSError, match=r"cannot close"):
        await scope.close()
    assert log == ["client out"]


async def test_after_the_turn_nothing_is_made_any_more() -> None:
    scope = scope_of({Client: lambda turn: Client(), Pool: Pool()})
    await scope.close()
    with pytest.raises(DependencyError, match=r"Client was asked for after the turn was over"):
        within(scope, dep, Client)
    assert isinstance(within(scope, dep, Pool), Pool)


def test_closing_what_was_never_opened_is_harmless() -> None:
    asyncio.run(scope_of({Pool: Pool()}).close())


# Override


def test_an_override_holds_within_its_block_and_for_new_turns() -> None:
    real, fake, faker = Pool("real"), Pool("fake"), Pool("faker")
    dependencies = Dependencies({Pool: real, Client: Client("c")})
    before = dependencies.scope(TURN)
    with dependencies.override({Pool: fake}):
        assert within(dependencies.scope(TURN), dep, Pool) is fake
        assert within(dependencies.scope(TURN), dep, Client).owner == "c"
        assert within(before, dep, Pool) is real
        with dependencies.override({Pool: faker}):
            assert within(dependencies.scope(TURN), dep, Pool) is faker
        assert within(dependencies.scope(TURN), dep, Pool) is fake
    assert within(dependencies.scope(TURN), dep, Pool) is real


def test_an_override_ends_with_an_error_and_in_any_order() -> None:
    dependencies = Dependencies({Pool: Pool("real")})

    def name() -> str:
        return str(within(dependencies.scope(TURN), dep, Pool).name)

    with pytest.raises(ValueError, match=r"x"), dependencies.override({Pool: Pool("fake")}):
        raise ValueError("x")
    assert name() == "real"
    first = dependencies.override({Pool: Pool("first")})
    second = dependencies.override({Pool: Pool("second")})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert name() == "second"
    second.__exit__(None, None, None)
    assert name() == "real"


def test_an_override_can_add_what_was_not_given_and_needs_opening_itself() -> None:
    async def make(turn: TurnInfo) -> Client:
        return Client()

    dependencies = Dependencies()
    with dependencies.override({Client: make}):
        assert dependencies.scope(TURN).needs_opening
    assert not dependencies.scope(TURN).needs_opening


def test_overrides_of_two_systems_do_not_meet() -> None:
    one, other = Dependencies({Pool: Pool("one")}), Dependencies({Pool: Pool("other")})
    with one.override({Pool: Pool("fake")}):
        assert within(other.scope(TURN), dep, Pool).name == "other"


def test_an_override_is_checked_as_well() -> None:
    with (
        pytest.raises(DependencyError, match=r"neither a Pool"),
        Dependencies().override({Pool: "x"}),
    ):
        pass
