"""What is remembered of messages: a mapping as any other, of which a change costs little."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from wavebreak.actors.machine.remembering import (
    AT_MOST,
    KEPT_FOR,
    REMEMBERED,
    remember,
    trim,
)
from wavebreak.actors.machine.state import Remembered
from wavebreak.messages.message import MessageOutcome
from wavebreak.messages.reasons import MessageStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN = Remembered("", None)


def ended(message_id: str, fingerprint: str = "", at: float = 0.0) -> Remembered:
    outcome = MessageOutcome(message_id=message_id, status=MessageStatus.DROPPED)
    return Remembered(fingerprint, outcome, at)


def named(count: int) -> dict[str, Remembered]:
    """Messages whose ids the program gave, one ended in each second."""
    return {f"m{number}": ended(f"m{number}", "print", number) for number in range(count)}


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["open", "end", "trim"]))))
def test_it_is_what_a_plain_mapping_would_be_in_the_same_order(
    changes: list[tuple[int, str]],
) -> None:
    known: Mapping[str, Remembered] = {}
    plain: dict[str, Remembered] = {}
    for number in range(REMEMBERED - 30):
        known = remember(known, f"old{number}", ended(f"old{number}"))
        plain[f"old{number}"] = ended(f"old{number}")
    for number, change in [*changes, *((number, "trim") for number in range(60, 120))]:
        key = f"m{number}" if number % 2 else f"old{number}"
        if change == "trim":
            known = trim(known, 0.0)
            for _ in range(2):
                if len(plain) >= REMEMBERED:
                    del plain[next(key for key, kept in plain.items() if kept.outcome is not None)]
        kept = ended(key) if change == "end" else OPEN
        known = remember(known, key, kept)
        plain[key] = kept
    assert list(known.items()) == list(plain.items())
    assert known == plain
    assert len(known) == len(plain)
    assert ("old3" in known) == ("old3" in plain)


def test_a_mapping_that_was_changed_is_what_it_was() -> None:
    known: Mapping[str, Remembered] = {f"m{number}": OPEN for number in range(100)}
    first = remember(known, "m1", ended("m1"))
    second = remember(first, "new", OPEN)
    assert known["m1"] is OPEN
    assert "new" not in first
    assert (first["m1"], list(second)[-1]) == (ended("m1"), "new")


def test_a_change_of_many_does_not_copy_them_all() -> None:
    known: Mapping[str, Remembered] = {f"m{number}": OPEN for number in range(500)}

    def size(mapping: Mapping[str, Remembered]) -> int:
        parts = [getattr(mapping, name) for name in ("_changed", "_gone")]
        return sum(map(sys.getsizeof, parts))

    sizes: list[int] = []
    for number in range(100):
        known = remember(known, f"m{number % 500}", ended(f"m{number}"))
        sizes.append(size(known))
    assert max(sizes) < sys.getsizeof({f"m{number}": OPEN for number in range(100)})


def test_an_id_of_the_programs_is_kept_for_a_day_however_many_come() -> None:
    known: Mapping[str, Remembered] = named(2 * REMEMBERED)
    assert trim(known, KEPT_FOR - 1) == known
    assert "m0" in trim(known, 0.0)
    assert next(iter(trim(known, KEPT_FOR + 1))) == "m2"


def test_an_id_that_was_made_up_goes_when_it_is_none_of_the_latest() -> None:
    known: Mapping[str, Remembered] = {
        f"m{number}": ended(f"m{number}", "", number) for number in range(REMEMBERED)
    }
    assert next(iter(trim(known, 1.0))) == "m1"
    assert len(trim(known, 1.0)) == REMEMBERED - 1


def test_what_a_busy_day_has_left_shrinks_with_each_message_that_comes() -> None:
    known: Mapping[str, Remembered] = named(REMEMBERED + 100)
    for number in range(200):
        known = remember(trim(known, 2 * KEPT_FOR), f"new{number}", OPEN)
    assert len(known) == REMEMBERED
    assert "m0" not in known


def test_there_is_a_bound_for_the_ids_of_a_day() -> None:
    known: Mapping[str, Remembered] = named(AT_MOST)
    assert len(trim(known, 1.0)) == AT_MOST - 1
    assert len(trim(named(AT_MOST - 1), 1.0)) == AT_MOST - 1
