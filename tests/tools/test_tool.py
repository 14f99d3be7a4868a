from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, PlainSerializer

from wavebreak.messages.errors import InvalidArguments, InvalidResult, ToolDefinitionError
from wavebreak.messages.reasons import Effect
from wavebreak.tools.call import ToolCall
from wavebreak.tools.tool import Tool, tool

if TYPE_CHECKING:
    from ipaddress import IPv4Address


class Guest(BaseModel):
    name: str
    age: int = 30


class Board(StrEnum):
    NONE = "none"
    FULL = "full"


@dataclass
class Point:
    x: int
    y: int


@tool
async def search(city: str, nights: int = 1, *, board: Board = Board.NONE) -> list[str]:
    """Search for hotels.

    In a city.
    """
    return [city] * nights


@tool(effect="read")
def price(hotel: str, guests: Annotated[list[Guest], Field(min_length=1)]) -> float:
    return 1.5 * len(guests)


def define(function: Callable[..., Any], **options: Any) -> Tool[..., Any]:
    return Tool[..., Any](function, **options)


def words_of(error: pytest.ExceptionInfo[BaseException]) -> str:
    return str(error.value)


# What a tool is


def test_calling_a_tool_makes_a_call_and_runs_nothing() -> None:
    ran: list[str] = []

    @tool
    def note(text: str) -> None:
        ran.append(text)

    call = note("a")
    assert isinstance(call, ToolCall)
    assert call.tool is note
    assert ran == []


def test_a_tool_tells_its_name_description_effect_and_options() -> None:
    @tool(effect="idempotent", timeout=3, protected=True, carry=timedelta(minutes=2), version="7")
    async def hold(room: int) -> None:
        """Hold a room."""

    assert hold.name == "hold"
    assert hold.description == "Hold a room."
    assert hold.effect is Effect.IDEMPOTENT
    assert hold.timeout == 3.0
    assert hold.protected is True
    assert hold.carry == 120.0
    assert hold.version == "7"
    assert repr(hold) == "<Tool hold (idempotent)>"


def test_a_tool_without_options_is_a_once_that_is_carried_and_has_no_timeout() -> None:
    assert search.effect is Effect.ONCE
    assert search.carry is True
    assert search.timeout is None
    assert search.protected is False
    assert search.version == ""


def test_name_and_description_can_be_given() -> None:
    @tool(name="find-rooms", description="Finds.")
    def f(city: str) -> str:
        """Not this."""
        return city

    assert (f.name, f.description) == ("find-rooms", "Finds.")


def test_the_description_is_the_docstring_without_its_indentation() -> None:
    assert search.description == "Search for hotels.\n\nIn a city."
    assert price.description == ""


def test_a_plain_function_is_blocking_and_an_async_one_is_not() -> None:
    assert price.blocking
    assert not search.blocking


def test_a_function_that_says_that_it_gives_an_awaitable_is_async() -> None:
    async def inner(x: int) -> int:
        return x

    @tool
    def later(x: int) -> Awaitable[int]:
        return inner(x)

    @tool
    def soon(x: int) -> Coroutine[Any, Any, int]:
        return inner(x)

    assert not later.blocking
    assert not soon.blocking
    assert later.accept(3) == (3, 3)
    assert soon.accept(3) == (3, 3)


def test_a_decorated_async_function_stays_async() -> None:
    def logged(function: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
        @functools.wraps(function)
        def wrapper(x: int) -> Awaitable[int]:
            return function(x)

        return wrapper

    async def double(x: int) -> int:
        return 2 * x

    made = tool(logged(double))
    assert not made.blocking
    assert made.name == "double"


def test_the_function_itself_is_at_hand() -> None:
    assert price.function("x", [1, 2]) == 3.0


def test_the_json_schema_is_that_of_the_arguments() -> None:
    assert search.json_schema == {
        "type": "object",
        "title": "search",
        "properties": {
            "city": {"type": "string", "title": "City"},
            "nights": {"type": "integer", "title": "Nights", "default": 1},
            "board": {"$ref": "#/$defs/Board", "default": "none"},
        },
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"Board": {"type": "string", "title": "Board", "enum": ["none", "full"]}},
    }


def test_the_json_schema_tells_what_annotations_say_of_an_argument() -> None:
    @tool(name="a-b")
    def f(size: Annotated[int, Field(ge=1, description="in square metres")]) -> int:
        return size

    assert f.json_schema["properties"]["size"] == {
        "type": "integer",
        "minimum": 1,
        "description": "in square metres",
        "title": "Size",
    }


def test_a_tool_without_arguments_has_a_schema_too() -> None:
    @tool
    def now() -> str:
        return "now"

    assert now.json_schema["properties"] == {}
    assert now().arguments == {}


def test_any_name_can_be_an_argument() -> None:
    @tool
    def odd(schema: int, copy: int, json: int, _hidden: int, model_config: int) -> int:
        return schema + copy + json + _hidden + model_config

    call = odd(1, 2, json=3, _hidden=4, model_config=5)
    assert call.arguments == {
        "schema": 1,
        "copy": 2,
        "json": 3,
        "_hidden": 4,
        "model_config": 5,
    }


def test_annotations_may_name_types_of_the_function_around() -> None:
    class Local(BaseModel):
        x: int

    @tool
    def plain(local: Local) -> Local:
        return local

    @tool(effect="read")
    async def with_options(local: Local) -> list[Local]:
        return [local]

    assert plain(Local(x=1)).json_arguments == {"local": {"x": 1}}
    assert with_options.bind({"local": {"x": 2}}).arguments == {"local": Local(x=2)}


def test_a_tool_may_be_an_attribute_of_a_class() -> None:
    class Agent:
        find = search

    assert Agent().find("Bonn").arguments["city"] == "Bonn"


# What is no tool


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effect": "write"}, "effect='write' is none of 'read', 'idempotent', 'once'"),
        ({"effect": None}, "effect=None is none of"),
        ({"timeout": 0}, "timeout=0: give more than 0 seconds, or None"),
        ({"timeout": -1.5}, "timeout=-1.5"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": True}, "timeout=True is not a number of seconds"),
        ({"timeout": "3"}, "timeout='3' is not a number of seconds"),
        ({"protected": True}, "protected=True needs a timeout"),
        ({"protected": 1, "timeout": 1}, "protected=1 is neither True nor False"),
        ({"carry": -1}, "carry=-1: give True, False, or a duration"),
        ({"carry": float("nan")}, "carry=nan"),
        ({"carry": timedelta(seconds=-1)}, "carry=datetime.timedelta"),
        ({"carry": "1h"}, "carry='1h'"),
        ({"version": 2}, "version=2 is not a text"),
        ({"name": ""}, "name='': a tool's name is a text without spaces"),
        ({"name": "two words"}, "name='two words'"),
        ({"name": 3}, "name=3"),
        ({"description": 3}, "description=3 is not a text"),
    ],
)
def test_a_bad_option_is_refused_by_its_value(options: dict[str, Any], words: str) -> None:
    def f(x: int) -> int:
        return x

    with pytest.raises(ToolDefinitionError) as error:
        define(f, **options)
    assert words in words_of(error)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match=r"efect"):
        tool(efect="read")  # type: ignore[call-overload]


def test_arguments_without_names_are_refused() -> None:
    def many(*cities: str) -> str:
        return "".join(cities)

    def named(**cities: str) -> str:
        return "".join(cities)

    def positional(city: str, /) -> str:
        return city

    with pytest.raises(
        ToolDefinitionError, match=r"'many': argument 'cities' is variadic.*take a list"
    ):
        define(many)
    with pytest.raises(ToolDefinitionError, match=r"'named': argument 'cities' is variadic key"):
        define(named)
    with pytest.raises(
        ToolDefinitionError, match=r"'positional': argument 'city' is positional-only"
    ):
        define(positional)


def test_an_argument_without_annotation_is_refused() -> None:
    def f(city: str, nights: int) -> str:
        return f"{city}{nights}"

    del f.__annotations__["city"]
    with pytest.raises(
        ToolDefinitionError, match=r"argument 'city' has no annotation; annotate it"
    ):
        define(f)


def test_a_function_that_does_not_say_what_it_returns_is_refused() -> None:
    def f(city: str) -> str:
        return city

    del f.__annotations__["return"]
    with pytest.raises(ToolDefinitionError, match=r"'f' does not say what it returns.*-> None"):
        define(f)


def test_a_method_is_refused_with_what_to_do_instead() -> None:
    class Hotel:
        def search(self, city: str) -> str:
            return city

    with pytest.raises(ToolDefinitionError, match=r"'self' has no annotation; a method cannot"):
        tool(Hotel.search)
    with pytest.raises(ToolDefinitionError, match=r"is not a function: .*write one that calls it"):
        tool(Hotel().search)


def test_what_is_no_function_is_refused() -> None:
    async def rooms(city: str) -> AsyncIterator[str]:
        yield city

    def cities() -> Iterator[str]:
        yield "Bonn"

    for no_function in (3, Guest, functools.partial(len, "abc"), search):
        with pytest.raises(ToolDefinitionError, match=r"is not a function"):
            define(no_function)  # type: ignore[arg-type]
    with pytest.raises(ToolDefinitionError, match=r"rooms is a generator: .*whole result"):
        define(rooms)
    with pytest.raises(ToolDefinitionError, match=r"cities is a generator"):
        define(cities)


def test_annotations_that_cannot_be_resolved_are_refused() -> None:
    def f(address: IPv4Address) -> str:
        return str(address)

    with pytest.raises(ToolDefinitionError, match=r"IPv4Address.*not under TYPE_CHECKING"):
        define(f)


def test_types_that_pydantic_does_not_know_are_refused() -> None:
    class Strange:
        pass

    def takes(x: Strange) -> str:
        return repr(x)

    def gives(x: int) -> Strange:
        del x
        return Strange()

    local = {"Strange": Strange}
    with pytest.raises(ToolDefinitionError, match=r"arguments of tool 'takes' cannot be validated"):
        define(takes, local_names=local)
    with pytest.raises(ToolDefinitionError, match=r"result of tool 'gives' cannot be validated"):
        define(gives, local_names=local)


def test_a_default_that_is_not_valid_is_refused() -> None:
    def f(nights: int = 1) -> int:
        return nights

    f.__defaults__ = (None,)
    with pytest.raises(ToolDefinitionError, match=r"default of argument 'nights', None, is not va"):
        define(f)


def test_an_argument_without_a_json_schema_is_told_when_the_schema_is_asked_for() -> None:
    @tool
    def f(call: Callable[[], None]) -> None:
        call()

    with pytest.raises(ToolDefinitionError, match=r"arguments of tool 'f' have no JSON schema"):
        _ = f.json_schema


# Arguments


def test_arguments_are_validated_when_the_call_is_made() -> None:
    call = search("Bonn", nights=2)
    assert call.arguments == {"city": "Bonn", "nights": 2, "board": Board.NONE}
    assert list(call.arguments) == ["city", "nights", "board"]
    assert price("x", guests=[Guest(name="A")]).arguments["guests"] == [Guest(name="A")]


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "tool 'search': argument 'city' is missing"),
        ((3,), {}, "argument 'city' = 3: Input should be a valid string"),
        (("x", "two"), {}, "argument 'nights' = 'two': Input should be a valid integer"),
        (("x",), {"nights": None}, "argument 'nights' = None"),
        (("x",), {"rooms": 1}, "unexpected argument 'rooms' = 1; it takes city, nights, board"),
        (("x", 1, "full"), {}, "positional argument 3 = 'full' is one too many"),
        (("x",), {"city": "y"}, "argument 'city' = 'y': Got multiple values"),
        (("x",), {"board": "half"}, "argument 'board' = 'half'"),
    ],
)
def test_a_wrong_argument_is_refused_by_tool_name_and_value(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArguments) as error:
        search(*args, **kwargs)
    assert words in words_of(error)
    assert words_of(error).startswith("tool 'search': ")


def test_all_wrong_arguments_are_told_and_long_values_are_cut() -> None:
    with pytest.raises(InvalidArguments) as error:
        search(3, nights="x" * 500)  # type: ignore[arg-type]
    assert "'city' = 3" in words_of(error)
    assert "…" in words_of(error)
    assert len(words_of(error)) < 300


def test_an_argument_within_an_argument_is_told_by_its_place() -> None:
    with pytest.raises(InvalidArguments, match=r"argument 'guests\.0\.age' = 'old'"):
        price.bind({"hotel": "x", "guests": [{"name": "A", "age": "old"}]})


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    @tool
    def f(tags: list[str] = []) -> int:  # noqa: B006
        return len(tags)

    f().arguments["tags"].append("x")
    assert f().arguments == {"tags": []}


def test_a_default_may_be_a_pydantic_field() -> None:
    @tool
    def f(size: int = Field(default=3, ge=1)) -> int:
        return size

    assert f().arguments == {"size": 3}
    with pytest.raises(InvalidArguments, match=r"argument 'size' = 0"):
        f(0)


def test_what_a_call_was_given_can_be_changed_without_changing_the_call() -> None:
    guests = [Guest(name="A")]
    call = price("x", guests)
    guests.append(Guest(name="B"))
    assert len(call.arguments["guests"]) == 1


# A model's words


def test_a_call_is_bound_from_a_models_words() -> None:
    @tool
    def f(day: date, point: Point, tags: set[str], kind: Literal["a", "b"] = "a") -> int:
        return day.day + point.x + len(tags) + len(kind)

    call = f.bind({"day": "2026-03-01", "point": {"x": "1", "y": 2}, "tags": ["u", "u"]})
    assert call.arguments == {
        "day": date(2026, 3, 1),
        "point": Point(1, 2),
        "tags": {"u"},
        "kind": "a",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "argument 'city' is missing"),
        ({"city": "x", "town": "y"}, "unexpected argument 'town' = 'y'"),
        ({"city": ["x"]}, "argument 'city' = ['x']"),
        ({"city": "x", "nights": "many"}, "argument 'nights' = 'many'"),
        ({"city": object()}, "are no JSON"),
        ({1: "x"}, "unexpected argument '1'"),
        (["x"], "['x'] are no arguments; give a dict by name"),
        ("x", "'x' are no arguments"),
        (None, "None are no arguments"),
    ],
)
def test_a_models_wrong_words_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidArguments) as error:
        search.bind(arguments)
    assert words in words_of(error)
    assert "tool 'search'" in words_of(error)


def test_an_alias_is_a_name_for_models() -> None:
    @tool
    def f(start: Annotated[str, Field(alias="from")]) -> str:
        return start

    assert f.bind({"from": "Bonn"}).arguments == {"start": "Bonn"}
    assert f("Bonn").json_arguments == {"start": "Bonn"}
    assert f.bind(f("Bonn").json_arguments).equality == f("Bonn").equality


# Results


def test_a_result_is_validated_against_the_return_annotation() -> None:
    @tool
    def f() -> list[Guest]:
        return []

    value, form = f.accept([{"name": "A"}])
    assert value == [Guest(name="A")]
    assert form == [{"name": "A", "age": 30}]


@pytest.mark.parametrize("value", ["text", "tëxt", 3, 2.5, True, None])
def test_a_plain_result_is_its_own_json_form(value: Any) -> None:
    def f() -> Any: ...

    f.__annotations__["return"] = type(value) if value is not None else None
    made = define(f)
    assert made.accept(value) == (value, value)
    assert made.restore(value) == value


def test_a_wrong_result_is_told_with_the_tools_name() -> None:
    @tool
    def count() -> int:
        return 1

    with pytest.raises(InvalidResult, match=r"tool 'count' returned 'many', which its annotation"):
        count.accept("many")


def test_a_result_that_json_cannot_hold_is_told_with_the_tools_name() -> None:
    @tool
    def anything() -> Any:
        return object()

    @tool
    def text() -> str:
        return "\ud800"

    with pytest.raises(InvalidResult, match=r"tool 'anything' returned .*cannot be serialised"):
        anything.accept(object())
    with pytest.raises(InvalidResult, match=r"tool 'anything' returned .*cannot be serialised"):
        anything.accept({"a": [lambda: 3]})
    with pytest.raises(InvalidResult, match=r"tool 'text' returned .*cannot be serialised"):
        text.accept("\ud800")


def test_a_result_that_refers_to_itself_cannot_be_serialised() -> None:
    @tool
    def anything() -> Any:
        return None

    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidResult, match=r"cannot be serialised"):
        anything.accept(circle)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e300])
def test_floats_that_json_does_not_know_survive(value: float) -> None:
    @tool
    def ratio() -> float:
        return value

    valid, form = ratio.accept(value)
    assert valid == value
    assert ratio.restore(form) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Guest, Guest(name="A")),
        (Point, Point(1, 2)),
        (tuple[int, str], (1, "a")),
        (set[date], {date(2026, 1, 2)}),
        (Decimal, Decimal("1.10")),
        (bytes, b"\xc3\xa4"),
        (dict[int, Guest], {1: Guest(name="B")}),
        (list[float], [1.0, float("inf")]),
        (Guest | None, None),
        (int, 2**80),
    ],
)
def test_a_result_is_the_same_after_its_json_form(kind: Any, value: Any) -> None:
    def f() -> Any: ...

    f.__annotations__["return"] = kind
    made = define(f)
    valid, form = made.accept(value)
    restored = made.restore(form)
    assert valid == value
    assert restored == value
    assert type(restored) is type(value)


def test_a_recorded_result_that_does_not_validate_any_more_is_told() -> None:
    @tool
    def count() -> int:
        return 1

    @tool
    def guest() -> Guest:
        return Guest(name="A")

    with pytest.raises(InvalidResult, match=r"recorded result 'many' of tool 'count'.*version"):
        count.restore("many")
    with pytest.raises(InvalidResult, match=r"recorded result {'nom': 'A'} of tool 'guest'"):
        guest.restore({"nom": "A"})


def test_a_type_may_have_a_json_form_of_its_own() -> None:
    @tool
    def f(n: Annotated[int, PlainSerializer(lambda n: f"<{n}>", return_type=str)]) -> int:
        return n

    assert f(3).json_arguments == {"n": "<3>"}
