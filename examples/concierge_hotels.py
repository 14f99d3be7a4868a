"""The concierge's world: twelve invented hotels, and a front desk that takes its time."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

FRIDAY, SATURDAY = 4, 5
WEEKEND = 1.2
"""Rooms cost this many times as much in the nights of Friday and Saturday."""

SLOWEST, QUICKEST = 2.5, 0.5
"""Seconds that a question to the front desk takes."""


class Hotel(BaseModel):
    """A hotel as the search shows it.

    Args:
        hotel_id: what the other tools take.
        amenities: in the words of :mod:`concierge_words`.
        nightly: euros for a double room from Sunday to Thursday.
    """

    model_config = ConfigDict(frozen=True)

    hotel_id: str
    name: str
    city: str
    stars: int
    amenities: tuple[str, ...]
    nightly: int


class Hold(BaseModel):
    """A room that is kept for the guest.

    Args:
        code: what the guest shows at the desk.
        total: euros for the whole stay.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    hotel_id: str
    hotel: str
    arrival: date
    nights: int
    total: int


class _Row(NamedTuple):
    name: str
    city: str
    stars: int
    amenities: str
    nightly: int
    full: str  # days of the month on which no room is left


_ROWS = (
    _Row("Azulejo House", "Lisbon", 3, "breakfast wifi", 96, "24 25"),
    _Row("Miradouro Palace", "Lisbon", 5, "pool spa breakfast view gym", 238, ""),
    _Row("The Yellow Tram", "Lisbon", 4, "pool breakfast wifi", 142, "1 2"),
    _Row("Sardine & Sons", "Lisbon", 2, "wifi pets", 71, "12 13 14"),
    _Row("Ringstrasse Court", "Vienna", 5, "spa gym breakfast parking", 264, ""),
    _Row("Hotel Walzer", "Vienna", 4, "breakfast wifi pets", 133, "5 6"),
    _Row("Prater Lodge", "Vienna", 3, "pool parking wifi", 104, ""),
    _Row("Nyhavn Loft", "Copenhagen", 4, "view breakfast wifi", 189, "17 18"),
    _Row("The Bicycle", "Copenhagen", 3, "wifi gym", 118, ""),
    _Row("Lantern Ryokan", "Kyoto", 4, "spa breakfast view", 172, "3 4 5"),
    _Row("Bamboo Gate", "Kyoto", 3, "breakfast parking wifi", 109, ""),
    _Row("Kamo River Hotel", "Kyoto", 5, "pool spa gym breakfast view", 251, ""),
)

CITIES = tuple(dict.fromkeys(row.city for row in _ROWS))
NAMES = tuple(row.name for row in _ROWS)


class FrontDesk:
    """Knows every hotel, and answers after a while, as a booking service does.

    Args:
        speed: how many times faster than a real one it is.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._hotels = {hotel.hotel_id: hotel for hotel in map(_hotel, _ROWS)}
        self._full = {
            hotel.hotel_id: row.full.split()
            for hotel, row in zip(self._hotels.values(), _ROWS, strict=True)
        }
        self.holds: list[Hold] = []

    async def takes_a_while(self, *what: object) -> None:
        """Wait as long as this question takes; an equal one takes as long."""
        chance = Random(repr(what))  # noqa: S311 - a delay, not a secret
        await asyncio.sleep(chance.uniform(QUICKEST, SLOWEST) / self._speed)

    def hotels(self, city: str, amenities: tuple[str, ...]) -> list[Hotel]:
        """Find the hotels of a city that have everything asked for."""
        return [
            hotel
            for hotel in self._hotels.values()
            if hotel.city == city and set(amenities) <= set(hotel.amenities)
        ]

    def is_free(self, hotel_id: str, arrival: date, nights: int) -> bool:
        """Tell whether a room is left in all of these nights."""
        full = self._full[hotel_id]
        return not any(str(night.day) in full for night in _nights(arrival, nights))

    def price(self, hotel_id: str, arrival: date, nights: int) -> int:
        """Add up the euros for a stay."""
        nightly = self._hotels[hotel_id].nightly
        return round(
            sum(
                nightly * (WEEKEND if night.weekday() in {FRIDAY, SATURDAY} else 1)
                for night in _nights(arrival, nights)
            )
        )

    def hold(self, hotel_id: str, arrival: date, nights: int) -> Hold:
        """Keep a room; doing it twice keeps two."""
        hold = Hold(
            code=f"H-{len(self.holds) + 1:03}",
            hotel_id=hotel_id,
            hotel=self._hotels[hotel_id].name,
            arrival=arrival,
            nights=nights,
            total=self.price(hotel_id, arrival, nights),
        )
        self.holds.append(hold)
        return hold


def _hotel(row: _Row) -> Hotel:
    return Hotel(
        hotel_id=row.name.lower().removeprefix("the ").replace(" & ", "-").replace(" ", "-"),
        name=row.name,
        city=row.city,
        stars=row.stars,
        amenities=tuple(row.amenities.split()),
        nightly=row.nightly,
    )


def _nights(arrival: date, nights: int) -> list[date]:
    return [arrival + timedelta(days=day) for day in range(nights)]
