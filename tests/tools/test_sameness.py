"""What makes two calls of a tool equal, by its own word."""

from __future__ import annotations

from typing import Any

import pytest

from wavebreak import ToolDefinitionError, tool


def folded(city: str, **_: object) -> str:
    return city.casefold()


def of_both(a: int, b: int) -> object:
    return {"b": b, "a": [a, None]}


def as_it_is(city: str) -> str:
    return city


def an_object(city: str) -> object:
    return object()


def not_a_number(city: str) -> float:
    return float("nan")


def an_error(city: str) -> float:
    return len(city) / 0


def of_a_town(town: str) -> str:
    return town


def of_nothing() -> int:
    return 1


@tool(effect="read", same_as=folded)
async def weather(city: str, *, units: str = "C") -> str:
    return f"{city} {units}"


@tool(effect="read")
async def plain(city: str) -> str:
    return city


def test_calls_are_equal_by_what_the_tool_says_of_their_arguments() -> None:
    assert weather("Rome").equality == weather("ROME", units="F").equality
    assert weather("Rome").equality != weather("Oslo").equality
    assert weather("Rome").same_as == '"rome"'


def test_a_tool_without_it_goes_by_its_arguments() -> None:
    assert plain("Rome").same_as is None
    assert plain("Rome").equality != plain("rome").equality


def test_a_key_is_canonical_json() -> None:
    @tool(effect="read", same_as=of_both)
    async def both(a: int, b: int) -> int:
        return a + b

    assert both(1, 2).same_as == '{"a":[1,null],"b":2}'


def test_another_version_is_another_tool_whatever_it_says() -> None:
    @tool(effect="read", name="plain", version="2", same_as=as_it_is)
    async def second(city: str) -> str:
        return city

    @tool(effect="read", name="plain", version="1", same_as=as_it_is)
    async def first(city: str) -> str:
        return city

    assert first("Rome").equality != second("Rome").equality


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (an_object, "not JSON serializable"),
        (not_a_number, "not JSON compliant"),
        (an_error, "ZeroDivisionError"),
    ],
)
def test_what_is_no_key_is_told_with_the_tool_and_its_arguments(gives: Any, words: str) -> None:
    @tool(effect="read", same_as=gives)
    async def fetch(city: str) -> str:
        return city

    with pytest.raises(ToolDefinitionError) as caught:
        _ = fetch("Rome").equality
    assert words in str(caught.value)
    assert "'city': 'Rome'" in str(caught.value)


async def _async_key(city: str) -> str:
    return city


@pytest.mark.parametrize(
    ("same_as", "words"),
    [
        ("city", "is no plain function"),
        (_async_key, "is no plain function"),
        (of_a_town, "by name"),
        (of_nothing, "by name"),
    ],
)
def test_what_does_not_take_the_arguments_is_refused(same_as: Any, words: str) -> None:
    with pytest.raises(ToolDefinitionError, match=words):

        @tool(effect="read", same_as=same_as)
        async def fetch(city: str) -> str:
            return city
