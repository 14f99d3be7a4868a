"""What type checkers have to refuse of tools, calls and plans; nothing here is run.

Every line that is wrong says so in a comment. mypy (``warn_unused_ignores``, and the code in the
comment) and pyright (the setting below) both fail when a line is not refused any more.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any

from wavebreak.tools import (
    CancellationToken,
    Dependencies,
    Plan,
    Planned,
    Toolbox,
    ToolCall,
    current_call,
    dep,
    run_waves,
    tool,
)


class Pool:
    """A dependency."""


@tool
async def search(city: str, nights: int = 1, *, quiet: bool = False) -> list[str]:
    """An async tool."""
    del nights, quiet
    return [city]


@tool(effect="once")
def book(room: int) -> str:
    """A blocking tool with options."""
    return str(room)


def wrong_arguments() -> None:
    search()  # type: ignore[call-arg]
    search(3)  # type: ignore[arg-type]
    search("Rome", "two")  # type: ignore[arg-type]
    search("Rome", 2, True)  # type: ignore[call-arg]
    search("Rome", rooms=2)  # type: ignore[call-arg]
    search("Rome", quiet="yes")  # type: ignore[arg-type]
    book("three")  # type: ignore[arg-type]


def wrong_results() -> None:
    texts: ToolCall[list[int]] = search("Rome")  # type: ignore[assignment]
    number: ToolCall[int] = book(3)  # type: ignore[assignment]
    del texts, number


async def a_call_is_no_result() -> None:
    await search("Rome")  # type: ignore[misc]
    search("Rome")[0]  # type: ignore[index]
    len(book(3))  # type: ignore[arg-type]


def wrong_options() -> None:
    tool(effect="write")  # type: ignore[call-overload]
    tool(timeout="3s")  # type: ignore[call-overload]
    tool(protected="yes")  # type: ignore[call-overload]
    tool(carry="1h")  # type: ignore[call-overload]
    tool(retires=3)  # type: ignore[call-overload]
    tool(3)  # type: ignore[call-overload]


def calls_cannot_be_changed() -> None:
    call = search("Rome")
    call.tool = search  # type: ignore[misc]
    call.arguments = {}  # type: ignore[misc]
    call.is_fresh = True  # type: ignore[misc]


async def plans_are_typed() -> None:
    plan = Plan()
    found = plan.add(search("Rome"))
    plan.add(book(found.result))  # type: ignore[arg-type]
    plan.add(book(found.result[0]))  # type: ignore[arg-type]
    plan.add(search)  # type: ignore[arg-type]
    plan.add("search")  # type: ignore[arg-type]
    plan.add(search("Rome"), after=("found",))  # type: ignore[arg-type]
    found.after("found")  # type: ignore[arg-type]
    wrong: Planned[str] = found  # type: ignore[assignment]
    results = await run_waves(plan)
    number: int = results[found]  # type: ignore[assignment]
    results[found] = []  # type: ignore[index]
    results["found"]  # type: ignore[index]
    await run_waves([search("Rome")])  # type: ignore[arg-type]
    await run_waves(plan, cancel_token=True)  # type: ignore[arg-type]
    await run_waves(plan, on_event="print")  # type: ignore[arg-type]
    del wrong, number


def dependencies_are_typed() -> None:
    pool: int = dep(Pool)  # type: ignore[assignment]
    dep("Pool")  # type: ignore[arg-type]
    Dependencies({"Pool": Pool()})  # type: ignore[dict-item]
    Dependencies([Pool()])  # type: ignore[arg-type]
    del pool


def tokens_are_typed() -> None:
    token = CancellationToken(deadline="3s")  # type: ignore[arg-type]
    token.cancel(3)  # type: ignore[arg-type]
    token.is_cancelled()  # type: ignore[operator]
    token.is_cancelled = True  # type: ignore[misc]
    token.add_callback("stop")  # type: ignore[arg-type]
    token.add_callback(lambda reason: None)  # type: ignore[arg-type, misc]


def calls_by_name_take_a_mapping() -> None:
    box = Toolbox([search, book])
    box.call("search", ["Rome"])  # type: ignore[arg-type]
    Toolbox([len])  # type: ignore[list-item]
    left: float = current_call().time_left  # type: ignore[assignment]
    anything: dict[str, Any] = box.call("search", {}).arguments
    del left, anything
