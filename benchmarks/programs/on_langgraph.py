"""The turns of ``suite.py`` on LangGraph: a graph with a node for each wave, and a checkpointer.

When the user writes again, the graph is left after the node that runs, and invoked again with the
new message; what was finished is in the state of its thread.
"""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
import operator
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from programs.measuring import (
    CALLS,
    SECOND_MESSAGE_AFTER,
    WAVES,
    Meter,
    Talks,
    begin,
    take_part,
    tool_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from programs.measuring import Figures, Order


def _merge(old: dict[str, int], new: dict[str, int] | None) -> dict[str, int]:
    """Add results; None forgets them all."""
    return {} if new is None else {**old, **new}


class State(TypedDict):
    """What is kept of a conversation."""

    messages: Annotated[list[str], operator.add]
    done: Annotated[dict[str, int], _merge]
    reply: str


class Bot:
    """The graph, and what its sessions share."""

    def __init__(self, talks: Talks, order: Order, saver: Any) -> None:
        self.talks, self.order = talks, order
        self.tool = tool_of(talks, order)
        self.stopped = [False] * order.sessions
        graph = StateGraph(State)
        names = [f"wave {number}" for number in range(WAVES)]
        for number, name in enumerate(names):
            graph.add_node(name, self._node(number))
        graph.add_node("reply", self._reply)
        graph.add_edge(START, names[0])
        for name, behind in zip(names, [*names[1:], "reply"], strict=True):
            graph.add_conditional_edges(name, self._next(behind), [behind, END])
        graph.add_edge("reply", END)
        self.graph = graph.compile(checkpointer=saver)

    def _next(self, behind: str) -> Callable[[State, Any], str]:
        def choose(state: State, config: RunnableConfig) -> str:
            del state
            return END if self.stopped[int(config["configurable"]["thread_id"])] else behind

        return choose

    def _node(self, wave: int) -> Callable[[State, Any], Any]:
        async def node(state: State, config: RunnableConfig) -> dict[str, Any]:
            number = int(config["configurable"]["thread_id"])
            if not wave:
                self.talks.turn_begins(number)
            self.talks.wave_begins(number)
            new = [p for p in range(CALLS) if f"{wave}.{p}" not in state["done"]]
            results = await asyncio.gather(*(self.tool(number, wave, place) for place in new))
            return {"done": {f"{wave}.{p}": r for p, r in zip(new, results, strict=True)}}

        return node

    async def _reply(self, state: State, config: RunnableConfig) -> dict[str, Any]:
        del config
        self.talks.replies += 1
        return {"reply": str(sum(state["done"].values())), "done": None}

    async def converse(self, number: int) -> None:
        """Be the user of a session, and the loop that runs its turns."""
        await begin(number, self.order)
        for _ in range(self.order.rounds):
            self.stopped[number] = False
            if self.order.interrupts:
                asyncio.get_running_loop().call_later(SECOND_MESSAGE_AFTER, self._second, number)
            await self._turn(number, "one")
            while self.stopped[number]:
                self.stopped[number] = False
                await self._turn(number, "two")

    def _second(self, number: int) -> None:
        self.talks.second_message(number)
        self.stopped[number] = True

    async def _turn(self, number: int, text: str) -> None:
        config: Any = {"configurable": {"thread_id": str(number)}}
        given: Any = {"messages": [text], "done": {}, "reply": ""}
        await self.graph.ainvoke(given, config)


@asynccontextmanager
async def saver_of(order: Order) -> AsyncGenerator[Any, None]:
    """Keep the conversations in memory or on the disk."""
    if not order.durable:
        yield InMemorySaver()
        return
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncSqliteSaver.from_conn_string(str(Path(folder, "saved.db"))) as saver:
            yield saver


async def turns(order: Order) -> Figures:
    """Run every session's conversation."""
    talks = Talks(order.sessions)
    async with saver_of(order) as saver:
        bot = Bot(talks, order, saver)
        with Meter() as meter:
            await asyncio.gather(*(bot.converse(number) for number in range(order.sessions)))
    return {**meter.figures(), **talks.figures()}


if __name__ == "__main__":
    take_part({"turns": turns})
