"""A hotel concierge whom one can interrupt, without any model behind it.

    python examples/concierge.py [--speed N] [--script]
    wavebreak serve examples/concierge.py:service

In a terminal it is a chat: write while it works, and watch it end its wave, keep what it had found
out, and start again with it. Without a terminal, or with --script, it plays a conversation.

The tools and the agent are in this file. Beside it: concierge_hotels.py (the hotels and their front
desk), concierge_words.py (how sentences are understood), concierge_screen.py (what you see).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from wavebreak import ActorSystem, dep, tool
from wavebreak.examples.concierge_hotels import FrontDesk, Hold, Hotel
from wavebreak.examples.concierge_screen import Screen, chat, play_script
from wavebreak.examples.concierge_words import PLACES, Heard, Wishes, hear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavebreak import Turn
    from wavebreak.journal.base import Journal

SCRIPT_SPEED = 3.0
"""How many times faster the script is played: it is to be watched, not waited for."""

MOST_OFFERS = 4


class Offer(NamedTuple):
    """A hotel that has a room, and what the stay costs."""

    hotel: Hotel
    total: int
    nightly: int


# The tools. What they need is given to the system below, and found by its type.


@tool(effect="read")
async def understand(text: str) -> Heard:
    """Understand a sentence."""
    await dep(FrontDesk).takes_a_while("understand", text)
    return hear(text, date.today())  # noqa: DTZ011 - "tomorrow" is meant as people mean it


@tool(effect="read")
async def search(city: str, amenities: tuple[str, ...]) -> list[Hotel]:
    """Find the hotels of a city that have all of these."""
    desk = dep(FrontDesk)
    await desk.takes_a_while("search", city, amenities)
    return desk.hotels(city, amenities)


@tool(effect="read")
async def availability(hotel_id: str, arrival: date, nights: int) -> bool:
    """Ask a hotel whether a room is left."""
    desk = dep(FrontDesk)
    await desk.takes_a_while("availability", hotel_id, arrival, nights)
    return desk.is_free(hotel_id, arrival, nights)


@tool(effect="read")
async def price(hotel_id: str, arrival: date, nights: int) -> int:
    """Ask a hotel what the whole stay costs, in euros."""
    desk = dep(FrontDesk)
    await desk.takes_a_while("price", hotel_id, arrival, nights)
    return desk.price(hotel_id, arrival, nights)


@tool(effect="once")
async def hold_room(hotel_id: str, arrival: date, nights: int) -> Hold:
    """Have a hotel keep a room. This must not happen twice."""
    desk = dep(FrontDesk)
    await desk.takes_a_while("hold", hotel_id, arrival, nights)
    return desk.hold(hotel_id, arrival, nights)


# The agent: waves of calls, one after the other. It may be stopped between any two of them; the
# next turn then makes the same calls again, and those that were answered are not started anew.


async def concierge(turn: Turn) -> str:
    """Answer everything that the guest has written since the last reply."""
    heard = await turn.wave(*(understand(message.as_text()) for message in turn.messages))
    wishes = turn.state(Wishes)
    for sentence in heard:
        wishes = wishes.after(sentence)
    want = next((sentence.want for sentence in reversed(heard) if sentence.want), None)
    if want == "cheaper":
        wishes = wishes.cheaper_than(wishes.cheapest or cheapest_seen(turn))
    turn.save(wishes)
    if want == "thanks":
        return "You are welcome. Have a good stay!"
    if wishes.city is None or wishes.arrival is None or wishes.nights is None:
        return wishes.question
    offers = await find_offers(turn, wishes, wishes.city, wishes.arrival, wishes.nights)
    if not offers:
        return f"I am sorry, I found nothing {wishes.in_words}. Shall I look for something else?"
    turn.save(wishes.offered(offers[0].nightly))
    if want != "hold":
        return "\n".join([f"I found {wishes.in_words}:", *map(in_words, offers)])
    picked = pick(offers, next((s.pick for s in reversed(heard) if s.pick), None))
    hold = await turn.one(hold_room(picked.hotel.hotel_id, wishes.arrival, wishes.nights))
    return confirmation(turn, hold)


async def find_offers(
    turn: Turn, wishes: Wishes, city: str, arrival: date, nights: int
) -> list[Offer]:
    """Search, then ask every hotel found for a room and its price, all of them at once."""
    hotels = await turn.one(search(city, wishes.amenities))
    answers = await turn.wave(
        *(availability(hotel.hotel_id, arrival, nights) for hotel in hotels),
        *(price(hotel.hotel_id, arrival, nights) for hotel in hotels),
    )
    free, totals = answers[: len(hotels)], answers[len(hotels) :]
    offers = [
        Offer(hotel, total, round(total / nights))
        for hotel, is_free, total in zip(hotels, free, totals, strict=True)
        if is_free
    ]
    fitting = [o for o in offers if wishes.budget is None or o.nightly <= wishes.budget]
    return sorted(fitting, key=lambda offer: offer.nightly)[:MOST_OFFERS]


def cheapest_seen(turn: Turn) -> int | None:
    """Look into what an interrupted turn has left: euros a night of the cheapest hotel asked."""
    if turn.previous is None:
        return None
    nightly = [
        round(call.result / call.arguments["nights"])
        for call in turn.previous.completed
        if call.tool == price.name
    ]
    return min(nightly, default=None)


def confirmation(turn: Turn, hold: Hold) -> str:
    """Tell the guest what is held, also what an interrupted turn had held already."""
    words = (
        f"Held for you: {hold.hotel}, {hold.nights} nights from {hold.arrival:%d %B}, "
        f"{hold.total} euros in all. Your code is {hold.code}."
    )
    earlier = [
        Hold.model_validate(call.result)
        for call in (turn.previous.completed if turn.previous else ())
        if call.tool == hold_room.name
    ]
    others = [f"{one.hotel} ({one.code})" for one in earlier if one.code != hold.code]
    if not others:
        return words
    return f"{words} Before you wrote again I had held {', '.join(others)}; that stands too."


def pick(offers: Sequence[Offer], words: str | None) -> Offer:
    """Choose the offer that the guest means; they are sorted by price."""
    if words in PLACES:
        return offers[min(PLACES.index(words), len(offers) - 1)]
    return next((offer for offer in offers if offer.hotel.name == words), offers[0])


def in_words(offer: Offer) -> str:
    """Describe an offer in a line."""
    hotel = offer.hotel
    return (
        f"  {hotel.name} ({'*' * hotel.stars}), {offer.nightly} euros a night, "
        f"{offer.total} in all; {', '.join(hotel.amenities)}"
    )


def service(journal: Journal) -> ActorSystem:
    """Make the system that `wavebreak serve` serves."""
    return ActorSystem(concierge, journal=journal, deps={FrontDesk: FrontDesk(1.0)})


async def run(*, speed: float, scripted: bool) -> None:
    """Open the concierge's desk, and talk."""
    screen = Screen()
    system = ActorSystem(concierge, deliver=screen.deliver, deps={FrontDesk: FrontDesk(speed)})
    screen.watch(system)
    async with system:
        session = system.session("guest")
        if scripted:
            await play_script(session, screen)
        else:
            await chat(session, screen)


def main() -> int:
    """Run the command line and give its exit status."""
    words = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(description=words[0], epilog=words[2])
    parser.add_argument(
        "--speed",
        type=positive,
        default=os.environ.get("CONCIERGE_SPEED"),
        metavar="N",
        help=f"how many times faster its world is: 1, or {SCRIPT_SPEED:g} for the script, unless "
        "the variable CONCIERGE_SPEED says otherwise",
    )
    parser.add_argument("--script", action="store_true", help="play a conversation")
    options = parser.parse_args()
    scripted = options.script or not sys.stdin.isatty()
    speed = options.speed or (SCRIPT_SPEED if scripted else 1.0)
    try:
        asyncio.run(run(speed=speed, scripted=scripted))
    except KeyboardInterrupt:
        print()
        return 130
    return 0


def positive(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"{text}: give a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return value


if __name__ == "__main__":
    sys.exit(main())
