from __future__ import annotations

from datetime import date

import pytest

from wavebreak.examples.concierge_hotels import CITIES, FrontDesk
from wavebreak.examples.concierge_words import Heard, Wishes, hear

TODAY = date(2026, 6, 3)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("Hello", Heard()),
        (
            "A hotel in Lisbon from 12 June, 3 nights, under 160, with a pool and breakfast",
            Heard(
                city="Lisbon",
                arrival=date(2026, 6, 12),
                nights=3,
                budget=160,
                amenities=("pool", "breakfast"),
            ),
        ),
        (
            "kyoto on 2027-01-09 for two nights",
            Heard(city="Kyoto", arrival=date(2027, 1, 9), nights=2),
        ),
        ("friday for a week", Heard(arrival=date(2026, 6, 5), nights=7)),
        ("wednesday", Heard(arrival=date(2026, 6, 10))),
        ("tomorrow, one night", Heard(arrival=date(2026, 6, 4), nights=1)),
        ("March 1st", Heard(arrival=date(2027, 3, 1))),
        ("31 June", Heard()),
        ("maybe 2 of us", Heard()),
        ("at most € 90", Heard(budget=90)),
        ("120 euros", Heard(budget=120)),
        ("without pool, but with parking", Heard(amenities=("parking",), without=("pool",))),
        ("my dog comes too", Heard(amenities=("pets",))),
        ("something cheaper?", Heard(want="cheaper")),
        ("hold it", Heard(want="hold")),
        ("book the cheapest", Heard(want="hold", pick="cheapest")),
        ("I take the second one", Heard(want="hold", pick="second")),
        ("reserve the bicycle", Heard(want="hold", pick="The Bicycle")),
        ("thanks, bye", Heard(want="thanks")),
    ],
)
def test_plain_sentences_are_understood(text: str, heard: Heard) -> None:
    assert hear(text, TODAY) == heard


def test_wishes_add_up_over_messages_and_can_be_taken_back() -> None:
    wishes = Wishes()
    for text in ("Lisbon, 3 nights", "with pool and spa", "no spa, under 200", "from friday"):
        wishes = wishes.after(hear(text, TODAY))

    assert wishes == Wishes(
        city="Lisbon", arrival=date(2026, 6, 5), nights=3, budget=200, amenities=("pool",)
    )


def test_another_city_forgets_the_prices_of_the_first() -> None:
    wishes = Wishes(city="Lisbon", budget=80, cheapest=96).after(Heard(city="Kyoto"))

    assert (wishes.city, wishes.budget, wishes.cheapest) == ("Kyoto", None, None)


def test_the_concierge_asks_for_what_is_missing() -> None:
    questions = [
        Wishes().question,
        Wishes(city="Kyoto").question,
        Wishes(city="Kyoto", arrival=TODAY).question,
    ]

    assert [
        next(word for word in ("Where", "When", "how many") if word in question)
        for question in questions
    ] == ["Where", "When", "how many"]


def test_every_city_has_several_hotels_with_rooms_prices_and_amenities() -> None:
    desk = FrontDesk()

    for city in CITIES:
        hotels = desk.hotels(city, ())
        assert len(hotels) >= 2
        for hotel in hotels:
            assert hotel.amenities
            assert desk.price(hotel.hotel_id, date(2026, 6, 8), 2) == 2 * hotel.nightly
            assert desk.is_free(hotel.hotel_id, date(2026, 6, 8), 2)


def test_weekends_cost_more_and_full_days_have_no_room() -> None:
    desk = FrontDesk()

    assert desk.price("yellow-tram", date(2026, 6, 5), 1) == 170
    assert not desk.is_free("yellow-tram", date(2026, 5, 31), 2)


def test_holding_twice_keeps_two_rooms() -> None:
    desk = FrontDesk()

    codes = [desk.hold("bamboo-gate", TODAY, 1).code for _ in range(2)]

    assert codes == ["H-001", "H-002"]
