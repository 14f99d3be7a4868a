"""What is remembered of messages: a mapping as any other, of which a change costs little."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from wavebreak.actors.machine.remembering import REMEMBERED, remember, trim
from wavebreak.actors.machine.state import Remembered
from wavebreak.messages.message import MessageOutcome
from wavebreak.messages.reasons import MessageStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN = Remembered("", None)


def ended(message_id: str) -> Remembered:
    return Remembered("", MessageOutcome(message_id=message_id, status=MessageStatus.DROPPED))


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
            known = trim(known)
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
