from __future__ import annotations

import pytest

from wavebreak.messages.errors import InvalidArguments, ToolDefinitionError, UnknownTool
from wavebreak.tools.registry import Toolbox
from wavebreak.tools.tool import tool


@tool
def search_hotels(city: str) -> str:
    return city


@tool
def book_room(room: int) -> int:
    return room


def test_a_call_is_made_by_the_tools_name() -> None:
    call = Toolbox([search_hotels, book_room]).call("book_room", {"room": "3"})
    assert call.tool is book_room
    assert call.arguments == {"room": 3}


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InvalidArguments, match="tool 'book_room': argument 'room' is missing"):
        Toolbox([book_room]).call("book_room", {})


def test_an_unknown_name_is_refused_with_what_it_may_mean() -> None:
    box = Toolbox([search_hotels, book_room])
    with pytest.raises(UnknownTool, match="no tool 'search_hotel'; did you mean 'search_hotels'"):
        box.call("search_hotel", {})
    with pytest.raises(UnknownTool, match="no tool 'zzz'; there are 'book_room', 'search_hotels'"):
        box.call("zzz", {})
    with pytest.raises(UnknownTool, match=r"no tool \[\]"):
        box.call([], {})  # type: ignore[arg-type]
    with pytest.raises(UnknownTool, match="was given none"):
        Toolbox().call("x", {})


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolDefinitionError, match="two tools are named 'book_room'"):
        Toolbox([book_room, search_hotels, book_room])


def test_what_is_no_tool_is_refused() -> None:
    with pytest.raises(ToolDefinitionError, match="is not a tool: put @tool on the function"):
        Toolbox([len])  # type: ignore[list-item]


def test_the_tools_can_be_looked_through() -> None:
    box = Toolbox([search_hotels, book_room])
    assert list(box) == [search_hotels, book_room]
    assert len(box) == 2
    assert "book_room" in box
    assert "other" not in box
    assert box["book_room"] is book_room
