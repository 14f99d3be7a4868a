from __future__ import annotations

from typing import NamedTuple

from wavebreak.messages.making import maker


class Place(NamedTuple):
    row: int
    seat: str


def test_a_named_tuple_is_made_of_its_fields_in_their_order_as_by_its_class() -> None:
    made = maker(Place)((3, "b"))
    assert made == Place(3, "b")
    assert type(made) is Place
    assert (made.row, made.seat) == (3, "b")
