"""What the concierge understands: plain sentences, by simple rules, with no model at all."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from wavebreak.examples.concierge_hotels import CITIES, NAMES

_AMENITIES = {
    "pool": r"pool|swim\w*",
    "breakfast": r"breakfast",
    "parking": r"parking|garage|car park",
    "spa": r"spa|sauna",
    "gym": r"gym|fitness",
    "pets": r"pets?|dogs?|cats?",
    "view": r"view",
    "wifi": r"wi-?fi|internet",
}
_NUMBERS = {"one": 1, "a": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_NUMBER = rf"(\d+|{'|'.join(_NUMBERS)})"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH = rf"({'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)})\b"

PLACES = ("first", "second", "third", "fourth")

Want = Literal["cheaper", "hold", "thanks"]


class Heard(BaseModel):
    """What one message says; None and empty where it says nothing.

    Args:
        budget: euros a night.
        without: amenities that are wanted no more.
        pick: which of the offers: "cheapest", "first" to "fourth", or a hotel's name.
    """

    model_config = ConfigDict(frozen=True)

    city: str | None = None
    arrival: date | None = None
    nights: int | None = None
    budget: int | None = None
    amenities: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    want: Want | None = None
    pick: str | None = None


class Wishes(BaseModel):
    """What the guest wants so far: the session's state.

    Args:
        budget: euros a night, at most.
        cheapest: euros a night of the cheapest hotel that was offered.
    """

    model_config = ConfigDict(frozen=True)

    city: str | None = None
    arrival: date | None = None
    nights: int | None = None
    budget: int | None = None
    amenities: tuple[str, ...] = ()
    cheapest: int | None = None

    def after(self, heard: Heard) -> Self:
        """Give the wishes as they are once a message has been heard."""
        moved = heard.city not in {None, self.city}
        amenities = dict.fromkeys((*self.amenities, *heard.amenities))
        return self.model_copy(
            update={
                "city": heard.city or self.city,
                "arrival": heard.arrival or self.arrival,
                "nights": heard.nights or self.nights,
                "budget": heard.budget or (None if moved else self.budget),
                "amenities": tuple(one for one in amenities if one not in heard.without),
                "cheapest": None if moved else self.cheapest,
            }
        )

    def offered(self, cheapest: int) -> Self:
        """Remember what was offered."""
        return self.model_copy(update={"cheapest": cheapest})

    def cheaper_than(self, nightly: int | None) -> Self:
        """Lower the budget below that, if anything is known."""
        return self if nightly is None else self.model_copy(update={"budget": nightly - 1})

    @property
    def question(self) -> str:
        """What to ask next."""
        if self.city is None:
            return f"Where would you like to stay? I know {', '.join(CITIES)}."
        if self.arrival is None:
            return f"{self.city}, with pleasure. When do you arrive?"
        return "And for how many nights?"

    @property
    def in_words(self) -> str:
        """Where, and with what."""
        words = [f"in {self.city}"]
        if self.amenities:
            words.append(f"with {' and '.join(self.amenities)}")
        if self.budget is not None:
            words.append(f"for at most {self.budget} euros a night")
        return " ".join(words)


def hear(text: str, today: date) -> Heard:
    """Understand a sentence.

    Args:
        text: for example "A hotel in Lisbon from 12 June, 3 nights, under 160, with a pool".
        today: what "tomorrow" and "friday" are counted from.
    """
    words = text.lower()
    named = [name for name, pattern in _AMENITIES.items() if re.search(rf"\b({pattern})\b", words)]
    without = [
        name for name in named if re.search(rf"\b(no|without)( an?)? ({_AMENITIES[name]})\b", words)
    ]
    return Heard(
        city=next((city for city in CITIES if city.lower() in words), None),
        arrival=_arrival(words, today),
        nights=_nights(words),
        budget=_budget(words),
        amenities=tuple(name for name in named if name not in without),
        without=tuple(without),
        want=_want(words),
        pick=_pick(words),
    )


def _arrival(words: str, today: date) -> date | None:
    if found := re.search(r"\b(\d{4})-(\d\d)-(\d\d)\b", words):
        return _date(*map(int, found.groups()))
    if found := re.search(rf"\b(\d\d?)(?:st|nd|rd|th)?(?: of)? {_MONTH}", words):
        return _next(int(found[1]), found[2], today)
    if found := re.search(rf"\b{_MONTH} (\d\d?)(?:st|nd|rd|th)?\b", words):
        return _next(int(found[2]), found[1], today)
    days = {"today": 0, "tonight": 0, "tomorrow": 1}
    days.update((day, (n - today.weekday()) % 7 or 7) for n, day in enumerate(_WEEKDAYS))
    ahead = next((days[name] for name in days if name in words), None)
    return None if ahead is None else today + timedelta(days=ahead)


def _next(day: int, month: str, today: date) -> date | None:
    number = next(n for n, name in enumerate(_MONTHS, start=1) if name.startswith(month[:3]))
    this_year = _date(today.year, number, day)
    if this_year is None or this_year >= today:
        return this_year
    return _date(today.year + 1, number, day)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None  # the 31st of June: not heard, so the concierge asks


def _nights(words: str) -> int | None:
    if found := re.search(rf"\b{_NUMBER}( more)? nights?\b", words):
        return _number(found[1])
    if re.search(r"\b(a|one) week\b", words):
        return 7
    return None


def _budget(words: str) -> int | None:
    limit = r"under|below|up to|at most|max(?:imum)?|less than|budget(?: of| is)?"
    found = re.search(rf"\b(?:{limit}) (?:€ ?)?(\d+)|€ ?(\d+)|\b(\d+) ?(?:€|euros?)", words)
    return next((int(group) for group in found.groups() if group), None) if found else None


def _want(words: str) -> Want | None:
    if re.search(r"\b(hold|book|reserve|take)\b", words):
        return "hold"
    if re.search(r"\b(cheaper|less expensive|too expensive)\b", words):
        return "cheaper"
    if re.search(r"\b(thanks|thank you|bye|goodbye)\b", words):
        return "thanks"
    return None


def _pick(words: str) -> str | None:
    named = (name for name in NAMES if name.lower().removeprefix("the ") in words)
    found = re.search(rf"\b({'|'.join((*PLACES, 'cheapest'))})\b", words)
    return next(named, found[1] if found else None)


def _number(word: str) -> int:
    return _NUMBERS.get(word) or int(word)
