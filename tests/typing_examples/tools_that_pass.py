"""What type checkers have to know of tools, calls and plans; nothing here is run.

``assert_type`` fails the check when a type is not exactly the one that is named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

from pydantic import BaseModel

from wavebreak.tools import (
    CancellationToken,
    Dependencies,
    Plan,
    Planned,
    Tool,
    Toolbox,
    ToolCall,
    TurnInfo,
    current_call,
    dep,
    run_waves,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Room(BaseModel):
    number: int
    price: float


class Pool:
    """A dependency."""


@tool
async def search(city: str, nights: int = 1, *, quiet: bool = False) -> list[Room]:
    """An async tool."""
    del city, quiet
    return [Room(number=nights, price=1.0)]


@tool
def count(rooms: list[Room]) -> int:
    """A blocking tool."""
    return len(rooms)


@tool(effect="once", timeout=5, protected=True, carry=timedelta(minutes=5), version="2")
async def book(room: int, note: str | None = None) -> str:
    """An async tool with options."""
    return f"{room}{note}"


@tool(effect="read")
def price(room: Room) -> float:
    """A blocking tool with options."""
    return room.price


async def nothing() -> None:
    pass


def later(room: int) -> Awaitable[None]:
    del room
    return nothing()


def a_call_has_the_type_of_its_result() -> None:
    assert_type(search("Rome"), ToolCall[list[Room]])
    assert_type(search("Rome", 2, quiet=True), ToolCall[list[Room]])
    assert_type(search(nights=2, city="Rome"), ToolCall[list[Room]])
    assert_type(count([]), ToolCall[int])
    assert_type(book(3), ToolCall[str])
    assert_type(book(3, note=None), ToolCall[str])
    assert_type(price(Room(number=1, price=2.0)), ToolCall[float])
    assert_type(tool(later)(3), ToolCall[None])
    assert_type(tool(effect="read")(later)(3), ToolCall[None])
    assert_type(tool(nothing)(), ToolCall[None])


def a_call_keeps_its_type() -> None:
    assert_type(search("Rome").fresh(), ToolCall[list[Room]])
    assert_type(search("Rome").again(), ToolCall[list[Room]])
    assert_type(search.bind({"city": "Rome"}), ToolCall[list[Room]])
    assert_type(count.restore(3), int)
    anything: ToolCall[object] = search("Rome")
    del anything


def a_tool_is_a_value() -> None:
    tools: list[Tool[..., Any]] = [search, count, book, price]
    assert_type(Toolbox(tools).call("search", {"city": "Rome"}), ToolCall[Any])
    assert_type(search.json_schema, dict[str, Any])
    assert_type(search.name, str)
    maker: Callable[[int], ToolCall[str]] = book
    del maker


async def a_result_stands_as_an_argument_of_its_type() -> None:
    plan = Plan()
    found = plan.add(search("Rome"))
    assert_type(found, Planned[list[Room]])
    assert_type(found.result, list[Room])
    counted = plan.add(count(found.result))
    priced = plan.add(price(found.result[0]), after=(counted,))
    booked = plan.add(book(found.result[0].number, note=None), after=[counted, priced])
    results = await run_waves(plan, cancel_token=CancellationToken(deadline=3))
    assert_type(results[found], list[Room])
    assert_type(results[counted], int)
    assert_type(results[booked], str)
    mapping: Mapping[Planned[Any], Any] = results
    del mapping


@asynccontextmanager
async def open_pool(turn: TurnInfo) -> AsyncGenerator[Pool]:
    del turn
    yield Pool()


async def make_pool(turn: TurnInfo) -> Pool:
    del turn
    return Pool()


async def dependencies_have_the_type_that_was_asked_for() -> None:
    assert_type(dep(Pool), Pool)
    Dependencies({Pool: Pool()})
    Dependencies({Pool: lambda turn: Pool() if turn.tenant else None})
    Dependencies({Pool: make_pool, Room: open_pool})
    await run_waves(Plan(), deps={Pool: lambda turn: (turn.session_id, turn.senders)})


def the_current_call_is_typed() -> None:
    assert_type(current_call().time_left, float | None)
    assert_type(current_call().token, CancellationToken)
    assert_type(current_call().token.is_cancelled, bool)
    assert_type(current_call().token.cancel_reason, str | None)
    assert_type(current_call().token.child(), CancellationToken)
