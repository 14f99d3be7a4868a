from __future__ import annotations

import json
from datetime import date
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavebreak.messages.errors import InvalidArguments
from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.messages.reasons import CallStatus, Effect
from wavebreak.messages.records import CallRecord
from wavebreak.tools.call import equality_of
from wavebreak.tools.tool import tool

TEXT = st.text(max_size=5)


@tool
def search(city: str, nights: int = 1, extra: Any = None) -> str:
    return city


@tool
def on(day: date, tags: set[str]) -> str:
    return f"{day}{tags}"


def test_a_call_is_immutable() -> None:
    call = search("Bonn")
    with pytest.raises(AttributeError):
        call.tool = search  # type: ignore[misc]
    with pytest.raises(AttributeError):
        call.arguments = {}  # type: ignore[misc]
    with pytest.raises(AttributeError):
        call.other = 1  # type: ignore[attr-defined]


def test_a_call_reads_like_one() -> None:
    assert repr(search("Bonn", nights=2)) == "search(city='Bonn', nights=2, extra=None)"


def test_fresh_and_again_are_calls_of_their_own() -> None:
    call = search("Bonn")
    assert (call.is_fresh, call.is_again) == (False, False)
    assert (call.fresh().is_fresh, call.fresh().is_again) == (True, False)
    assert (call.again().is_fresh, call.again().is_again) == (False, True)
    both = call.again().fresh()
    assert (both.is_fresh, both.is_again) == (True, True)
    assert (call.is_fresh, call.is_again) == (False, False)
    assert both.arguments == call.arguments
    assert both.equality == call.equality


@tool
def plain(number: int, share: float, text: str, flag: bool, nothing: None) -> str:
    return text


def _made(*args: Any, **kwargs: Any) -> tuple[str, str] | None:
    try:
        call = plain(*args, **kwargs)
        return repr(call), repr(call.json_arguments)
    except InvalidArguments:
        return None


@given(
    st.tuples(
        st.integers() | st.booleans() | st.floats() | st.just("3"),
        st.floats() | st.integers(),
        st.text(st.characters(exclude_categories=())),
        st.booleans() | st.just(1),
        st.none() | st.just(0),
    )
)
def test_arguments_in_their_order_are_validated_as_those_in_another(args: tuple[Any, ...]) -> None:
    names = ("number", "share", "text", "flag", "nothing")
    named = dict(zip(names, args, strict=True))
    other = _made(**dict(reversed(named.items())))
    assert _made(*args) == other
    assert _made(**named) == other


def test_arguments_that_need_no_change_are_none_of_the_callers_own() -> None:
    args = (1, 0.5, "a", True, None)
    assert plain(*args).arguments is not plain(*args).arguments
    named: dict[str, Any] = {"number": 1, "share": 0.5, "text": "a", "flag": True, "nothing": None}
    assert plain(**named).arguments is not named
    with pytest.raises(InvalidArguments, match="nothing"):
        plain(1, 0.5, "a", True)  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments, match="one too many"):
        plain(1, 0.5, "a", True, None, 6)  # type: ignore[call-arg]


@pytest.mark.parametrize(("place", "kind"), [(0, int), (1, float), (2, str), (3, bool)])
def test_what_only_says_that_it_is_of_a_type_is_no_argument_of_that_type(
    place: int, kind: type[object]
) -> None:
    args: list[Any] = [1, 0.5, "a", True, None]
    args[place] = Mock(spec=kind)
    assert args[place].__class__ is kind
    with pytest.raises(
        InvalidArguments, match=r"<Mock spec='\w+' id='\d+'>: Input should be a valid"
    ):
        plain(*args)


def test_the_json_form_of_plain_arguments_is_the_arguments() -> None:
    call = search("Bönn", nights=2)
    assert call.json_arguments == {"city": "Bönn", "nights": 2, "extra": None}
    assert call.json_arguments is call.json_arguments


def test_the_json_form_of_other_arguments_is_json() -> None:
    call = on(date(2026, 1, 2), {"a"})
    assert call.arguments == {"day": date(2026, 1, 2), "tags": {"a"}}
    assert call.json_arguments == {"day": "2026-01-02", "tags": ["a"]}
    assert json.loads(json.dumps(call.json_arguments)) == call.json_arguments


@pytest.mark.parametrize("extra", [object(), {"x": lambda: 1}, "\ud800", ["\udfff"]])
def test_arguments_that_json_cannot_hold_are_refused(extra: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"tool 'search': .*cannot be serialised"):
        _ = search("Bonn", extra=extra).json_arguments


def test_floats_that_json_does_not_know_survive_the_journal() -> None:
    @tool
    def scale(factor: float) -> float:
        return factor

    call = scale(float("-inf"))
    assert call.json_arguments == {"factor": "-Infinity"}
    assert scale.bind(call.json_arguments).arguments == {"factor": float("-inf")}
    assert scale.bind(call.json_arguments).equality == call.equality


def test_equal_calls_are_equal_whatever_way_the_arguments_were_given() -> None:
    assert search("Bonn", 1).equality == search(nights=1, city="Bonn").equality
    assert search("Bonn").equality == search.bind({"nights": "1", "city": "Bonn"}).equality
    assert search("Bonn").equality != search("Köln").equality
    assert search("Bonn").equality != search("Bonn", 2).equality


def test_tool_and_version_are_part_of_a_calls_identity() -> None:
    @tool(name="search", version="2")
    def newer(city: str, nights: int = 1, extra: Any = None) -> str:
        return city

    @tool(name="find")
    def other(city: str, nights: int = 1, extra: Any = None) -> str:
        return city

    assert len({one("Bonn").equality for one in (search, newer, other)}) == 3


def test_the_order_of_keys_does_not_matter() -> None:
    assert (
        search("B", extra={"a": 1, "b": 2}).equality == search("B", extra={"b": 2, "a": 1}).equality
    )


def test_values_that_look_alike_are_not_equal() -> None:
    values = [1, "1", True, None, "None", [1], {"1": 1}, 1.5]
    assert len({search("B", extra=value).equality for value in values}) == len(values)


@settings(max_examples=20)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=4,
    )
)
def test_a_record_of_a_call_is_equal_to_it_also_after_the_journal(extra: Any) -> None:
    call = search("Bonn", extra=extra)
    record = CallRecord(
        call_id=CallId("1"),
        tool=call.tool.name,
        version=call.tool.version,
        arguments=call.json_arguments,
        effect=Effect.READ,
        idempotency_key=IdempotencyKey("k"),
        wave=1,
        status=CallStatus.COMPLETED,
    )
    read = CallRecord.model_validate_json(record.model_dump_json())
    assert equality_of(record.tool, record.version, record.arguments) == call.equality
    assert equality_of(read.tool, read.version, read.arguments) == call.equality
