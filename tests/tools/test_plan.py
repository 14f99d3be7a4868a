from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from wavebreak.messages.errors import InvalidArguments, PlanError
from wavebreak.tools.call import DeferredCall
from wavebreak.tools.plan import Plan, Planned, Results
from wavebreak.tools.tool import tool


class Room(BaseModel):
    number: int
    tags: dict[str, list[str]] = {}


@dataclass
class Offer:
    room: Room
    price: float


@tool
async def find(city: str) -> list[Offer]:
    return [Offer(Room(number=len(city)), 10.0)]


@tool
async def hold(room: int, note: str = "") -> str:
    return f"{room}{note}"


@tool
async def send(texts: list[str], extra: Any = None) -> int:
    return len(texts)


OFFERS = [Offer(Room(number=7, tags={"view": ["sea", "hill"]}), 12.5)]


def names(waves: tuple[tuple[Planned[Any], ...], ...]) -> list[list[str]]:
    return [[planned.name for planned in wave] for wave in waves]


# Waves


def test_an_empty_plan_has_no_waves() -> None:
    assert Plan().waves() == ()
    assert len(Plan()) == 0


def test_calls_that_need_nothing_are_one_wave_in_the_order_added() -> None:
    plan = Plan()
    added = [plan.add(find(city)) for city in "abc"]
    assert plan.waves() == (tuple(added),)
    assert list(plan) == added
    assert len(plan) == 3


def test_a_call_comes_a_wave_after_those_it_is_added_after() -> None:
    plan = Plan()
    a = plan.add(find("a"))
    b = plan.add(find("b"), after=(a,))
    c = plan.add(find("c"))
    d = plan.add(find("d"), after=[b, c])
    assert names(plan.waves()) == [["find#1", "find#3"], ["find#2"], ["find#4"]]
    assert d.dependencies == (b, c)


def test_after_may_be_one_call() -> None:
    plan = Plan()
    a = plan.add(find("a"))
    b = plan.add(find("b"), after=a)  # type: ignore[arg-type]
    assert plan.waves() == ((a,), (b,))


def test_a_dependency_can_be_added_later() -> None:
    plan = Plan()
    a = plan.add(find("a"))
    b = plan.add(find("b"))
    assert a.after(b) is a
    assert plan.waves() == ((b,), (a,))


def test_a_call_that_takes_a_result_depends_on_the_call_that_gives_it() -> None:
    plan = Plan()
    found = plan.add(find("a"))
    held = plan.add(hold(found.result[0].room.number))
    sent = plan.add(send([held.result], extra={"deep": (found.result,)}))
    assert held.dependencies == (found,)
    assert set(sent.dependencies) == {held, found}
    assert plan.waves() == ((found,), (held,), (sent,))


def test_a_chain_may_be_long() -> None:
    plan = Plan()
    last = plan.add(find("x"))
    for _ in range(3000):
        last = plan.add(find("x"), after=(last,))
    assert len(plan.waves()) == 3001


@settings(max_examples=40)
@given(st.lists(st.sets(st.integers(0, 30), max_size=4), max_size=30))
def test_every_call_is_in_the_first_wave_that_its_dependencies_allow(wants: list[set[int]]) -> None:
    plan = Plan()
    calls: list[Planned[Any]] = []
    for number, want in enumerate(wants):
        after = [calls[one] for one in sorted(want) if one < number]
        calls.append(plan.add(find("x"), after=after))
    level = {planned: number for number, wave in enumerate(plan.waves()) for planned in wave}
    assert set(level) == set(calls)
    for planned in calls:
        before = [level[dependency] for dependency in planned.dependencies]
        assert level[planned] == max(before, default=-1) + 1


# References


def test_the_result_stands_as_an_argument_and_is_resolved() -> None:
    plan = Plan()
    found = plan.add(find("a"))
    held = plan.add(hold(found.result[0].room.number, note="!"))
    assert isinstance(held.call, DeferredCall)
    call = held.resolve({found: OFFERS})
    assert call.arguments == {"room": 7, "note": "!"}
    assert call.tool is hold


def test_items_and_attributes_of_any_depth_are_resolved() -> None:
    plan = Plan()
    found = plan.add(find("a"))
    sent = plan.add(send(found.result[0].room.tags["view"], extra=found.result[-1].price))
    assert sent.resolve({found: OFFERS}).arguments == {"texts": ["sea", "hill"], "extra": 12.5}


def test_references_within_lists_tuples_and_dicts_are_resolved() -> None:
    plan = Plan()
    a, b = plan.add(hold(1)), plan.add(hold(2))
    sent = plan.add(send(texts=[a.result, b.result, "x"], extra={"t": (a.result, [b.result])}))
    assert sent.resolve({a: "A", b: "B"}).arguments == {
        "texts": ["A", "B", "x"],
        "extra": {"t": ("A", ["B"])},
    }


def test_a_reference_passes_for_any_type_of_argument() -> None:
    plan = Plan()
    found = plan.add(find("a"))
    sent = plan.add(send([], extra=found.result))
    assert sent.dependencies == (found,)
    assert sent.resolve({found: OFFERS}).arguments["extra"] is OFFERS


def test_a_result_may_have_attributes_of_any_name() -> None:
    plan = Plan()
    found = plan.add(send(["x"]))
    reference: Any = found.result
    call = plan.add(hold(reference.planned.path._planned))

    class Deep:
        _planned = 4

    class Middle:
        path = Deep()

    class Top:
        planned = Middle()

    assert call.resolve({found: Top()}).arguments["room"] == 4


def test_a_resolved_argument_is_validated() -> None:
    plan = Plan()
    found = plan.add(find("a"))
    held = plan.add(hold(found.result[0].room.number))
    room = Room(number=1)
    vars(room)["number"] = "many"
    wrong = [Offer(room, 1.0)]
    with pytest.raises(InvalidArguments, match="tool 'hold': argument 'room' = 'many'"):
        held.resolve({found: wrong})


@pytest.mark.parametrize("offers", [[], [Offer(Room(number=1), 1.0)]])
def test_a_reference_that_leads_nowhere_is_told(offers: list[Offer]) -> None:
    plan = Plan()
    found = plan.add(find("a"))
    sent = plan.add(send(found.result[0].room.tags["view"]))
    words = r"tool 'send': find#1\.result\[0\]\.room\.tags\['view'\] leads nowhere: .*Error"
    with pytest.raises(InvalidArguments, match=words):
        sent.resolve({found: offers})


def test_fresh_and_again_survive_the_resolution() -> None:
    plan = Plan()
    a = plan.add(hold(1))
    for call, flags in (
        (hold(1, note=a.result), (False, False)),
        (hold(1, note=a.result).fresh(), (True, False)),
        (hold(1, note=a.result).again(), (False, True)),
        (hold(1, note=a.result).fresh().again(), (True, True)),
    ):
        resolved = plan.add(call).resolve({a: "A"})
        assert (call.is_fresh, call.is_again) == flags
        assert (resolved.is_fresh, resolved.is_again) == flags


def test_a_call_without_references_is_itself() -> None:
    plan = Plan()
    call = hold(1)
    assert plan.add(call).resolve({}) is call


def test_a_call_with_references_cannot_be_looked_at_before() -> None:
    plan = Plan()
    call = hold(1, note=plan.add(hold(2)).result)
    for look in (
        lambda: call.arguments,
        lambda: call.json_arguments,
        lambda: call.equality,
    ):
        with pytest.raises(
            PlanError, match=r"hold\(1, note=hold#1\.result\) takes results of a pl"
        ):
            look()


def test_missing_and_unknown_arguments_are_told_when_the_call_is_made() -> None:
    note = Plan().add(hold(2)).result
    with pytest.raises(InvalidArguments, match="tool 'hold': missing a required argument: 'room'"):
        hold(note=note)  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments, match="unexpected keyword argument 'x'; it takes room, n"):
        hold(1, x=note)  # type: ignore[call-arg]


def test_a_result_is_not_known_while_the_plan_is_put_together() -> None:
    result: Any = Plan().add(find("a")).result
    looks: list[Callable[[], object]] = [
        lambda: bool(result),
        lambda: list(result),
        lambda: len(result),
        lambda: "x" in result,
        lambda: str(result),
        lambda: f"{result[0]}",
        lambda: result == 3,
        lambda: {result},
    ]
    for look in looks:
        with pytest.raises(PlanError, match=r"find#1\.result.* is not known while the plan is put"):
            look()
    assert repr(result[0].room) == "find#1.result[0].room"
    with pytest.raises(TypeError):
        _ = result + 1


# What is refused


def test_what_is_no_call_is_refused() -> None:
    with pytest.raises(PlanError, match=r"call the tool, plan\.add\(find\(\.\.\.\)\)"):
        Plan().add(find)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"plan\.add\(3\): that is not a tool call"):
        Plan().add(3)  # type: ignore[arg-type]


def test_a_dependency_of_another_plan_is_refused_by_name() -> None:
    plan, other = Plan(), Plan()
    foreign = other.add(hold(1))
    with pytest.raises(PlanError, match=r"hold#1: hold\(room=1.* belongs to another plan: find#1"):
        plan.add(find("a"), after=(foreign,))
    with pytest.raises(PlanError, match="belongs to another plan: hold#1 cannot come after it"):
        plan.add(hold(1, note=foreign.result))
    assert len(plan) == 0


def test_a_dependency_that_is_no_planned_call_is_refused_by_name() -> None:
    plan = Plan()
    plan.add(find("a"))
    with pytest.raises(
        PlanError, match="'find' is not a planned call: hold#2 cannot come after it"
    ):
        plan.add(hold(1), after=("find",))  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"find\(city='b'\) is not a planned call"):
        plan.add(hold(1), after=(find("b"),))  # type: ignore[arg-type]
    assert len(plan) == 1


def test_a_circle_is_refused_with_the_calls_in_it() -> None:
    plan = Plan()
    a = plan.add(find("a"))
    b = plan.add(find("b"), after=(a,))
    c = plan.add(hold(1), after=(b,))
    plan.add(hold(2), after=(c,))
    with pytest.raises(
        PlanError, match=r"in a circle \(find#1 -> hold#3 -> find#2 -> find#1\): leave out one"
    ):
        a.after(c)
    with pytest.raises(PlanError, match=r"\(find#1 -> find#1\)"):
        a.after(a)
    assert plan.waves()[0] == (a,)


# Results


def test_results_are_a_mapping_by_planned_call() -> None:
    plan = Plan()
    a, b = plan.add(hold(1)), plan.add(hold(2))
    results = Results({a: "A"})
    assert results[a] == "A"
    assert dict(results) == {a: "A"}
    assert len(results) == 1
    assert b not in results
    assert repr(results) == "{hold#1: 'A'}"


def test_a_planned_call_reads_like_one() -> None:
    assert repr(Plan().add(hold(1))) == "<Planned hold#1: hold(room=1, note='')>"
