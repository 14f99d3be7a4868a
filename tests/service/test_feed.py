from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wavebreak import ActorSystem, Delta, MemoryJournal, Turn
from wavebreak.actors.hub import EventHub
from wavebreak.actors.machine.state import Running, SessionState
from wavebreak.messages.events import Event, SessionOpened, TurnRestarted
from wavebreak.messages.ids import SessionKey
from wavebreak.service.feed import Feed
from wavebreak.service.state import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

ANN = SessionKey("", "ann")


async def echo(turn: Turn) -> str:
    return turn.text


def opened(position: int) -> Event:
    return SessionOpened(
        tenant="", session_id="ann", position=position, at=1.0, epoch=position, uid="u"
    )


def delta(text: str, start: int, turn: int = 1, attempt: int = 1) -> Event:
    return Delta(
        tenant="", session_id="ann", turn=turn, attempt=attempt, at=1.0, text=text, start=start
    )


class Stage:
    """A session of which a test says what is journaled, published and seen, and when."""

    def __init__(self) -> None:
        self.hub = EventHub()
        self.journal = MemoryJournal(keep_entries=1000)
        self.seen: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()

    def feed(self, after: int | None) -> Feed:
        live = self.hub.subscribe(ANN)
        return Feed(ANN, live, self.journal, lambda: self.seen, after=after)

    def happens(self, *events: Event) -> None:
        for event in events:
            if event.position is not None:
                self.journal.append(ANN, [event])
            self.hub.publish(ANN, event)

    def is_seen(self, position: int, preview: str = "", turn: int = 1, attempt: int = 1) -> None:
        running = Running(turn, attempt, (), None) if attempt else None
        state = SessionState(ANN, position, running, turn=turn)
        self.seen.set_result(Standing(state, preview))


async def told(feed: Feed, count: int) -> Sequence[str]:
    words: list[str] = []
    for _ in range(count):
        async with asyncio.timeout(1):
            item = await feed.next()
        assert item is not None
        event = item.event
        words.append(
            event.text
            if isinstance(event, Delta)
            else item.kind
            if item.position is None
            else str(item.position)
        )
    return words


async def nothing_more(feed: Feed) -> bool:
    try:
        async with asyncio.timeout(1):
            await feed.next()
    except TimeoutError:
        return True
    return False


async def test_what_happens_while_a_reader_comes_is_told_once() -> None:
    stage = Stage()
    stage.happens(opened(1), opened(2))
    with stage.feed(after=1) as feed:
        stage.happens(opened(3))
        reading = asyncio.create_task(told(feed, 4))
        await asyncio.sleep(0)
        stage.happens(opened(4))
        stage.is_seen(4)
        stage.happens(opened(5))
        assert await reading == ["2", "3", "4", "5"]
        assert await nothing_more(feed)


async def test_who_begins_now_is_told_nothing_that_was_seen_before() -> None:
    stage = Stage()
    with stage.feed(after=None) as feed:
        stage.happens(opened(1), opened(2))
        stage.is_seen(2)
        stage.happens(opened(3))
        assert await told(feed, 1) == ["3"]
        assert await nothing_more(feed)


async def test_pieces_that_the_preview_has_already_are_not_told_again() -> None:
    stage = Stage()
    with stage.feed(after=None) as feed:
        stage.happens(delta("a", 0), delta("b", 1))
        stage.is_seen(1, "ab")
        stage.happens(delta("c", 2))
        assert await told(feed, 2) == ["catch_up", "c"]
        assert await nothing_more(feed)


async def test_pieces_of_turns_and_attempts_that_are_over_are_not_told() -> None:
    stage = Stage()
    with stage.feed(after=None) as feed:
        stage.happens(delta("old", 0, turn=1), delta("older attempt", 0, turn=2, attempt=1))
        stage.is_seen(9, "", turn=2, attempt=2)
        stage.happens(delta("new", 0, turn=2, attempt=2), delta("next", 0, turn=3))
        assert await told(feed, 2) == ["new", "next"]
        assert await nothing_more(feed)


async def test_pieces_of_a_turn_that_has_ended_meanwhile_are_not_told() -> None:
    stage = Stage()
    with stage.feed(after=None) as feed:
        stage.happens(delta("late", 0, turn=2))
        stage.is_seen(9, "", turn=2, attempt=0)
        assert await nothing_more(feed)


async def test_a_preview_that_begins_anew_is_told_from_its_beginning() -> None:
    stage = Stage()
    again = TurnRestarted(
        tenant="", session_id="ann", turn=1, attempt=1, at=1.0, cause="another", discard=True
    )
    with stage.feed(after=None) as feed:
        stage.is_seen(1, "abcdef")
        assert await told(feed, 1) == ["catch_up"]
        stage.happens(again, delta("x", 0))
        assert await told(feed, 2) == ["turn_restarted", "x"]


async def test_a_reader_that_is_broken_off_at_any_moment_loses_nothing() -> None:
    stage = Stage()
    stage.happens(*map(opened, range(1, 4)))
    with stage.feed(after=0) as feed:
        assert await nothing_more(feed)  # it waits for the look
        stage.is_seen(3)
        assert await told(feed, 3) == ["1", "2", "3"]
        assert await nothing_more(feed)
        stage.happens(opened(4))
        assert await told(feed, 1) == ["4"]


async def test_a_long_past_is_read_in_pieces() -> None:
    stage = Stage()
    stage.journal = MemoryJournal(keep_entries=10_000)
    for position in range(1, 1201):
        stage.journal.append(ANN, [opened(position)])
    stage.is_seen(1200)
    with stage.feed(after=100) as feed:
        assert await told(feed, 1100) == [str(position) for position in range(101, 1201)]
        assert len(feed._ready) == 0


async def test_what_goes_while_it_is_read_is_told_as_a_gap() -> None:
    stage = Stage()
    stage.journal = MemoryJournal(keep_entries=1)
    for position in range(1, 1001):
        stage.journal.append(ANN, [opened(position)])
    stage.is_seen(1000)
    with stage.feed(after=0) as feed:
        assert await told(feed, 500) == [str(position) for position in range(1, 501)]
        stage.journal.snapshot(ANN, None)
        item = await feed.next()
        assert item is not None
        assert (item.kind, item.data) == ("gap", '{"after":500,"next":1000}')
        assert await told(feed, 1) == ["1000"]
        stage.happens(opened(1001))
        assert await told(feed, 1) == ["1001"]


async def test_the_end_of_what_goes_while_it_is_read_is_a_gap_too() -> None:
    stage = Stage()
    stage.happens(opened(1))
    stage.is_seen(3)
    with stage.feed(after=0) as feed:
        assert await told(feed, 2) == ["1", "gap"]
        stage.happens(opened(4))
        assert await told(feed, 1) == ["4"]


async def test_what_a_session_did_not_live_to_tell_is_told_out_of_the_journal() -> None:
    stage = Stage()
    stage.happens(opened(1))
    stage.is_seen(1)
    with stage.feed(after=None) as feed:
        stage.happens(opened(2))
        for position in range(3, 700):  # it lost its journal, which had all that
            stage.journal.append(ANN, [opened(position)])
        stage.happens(opened(700), delta("a", 0, turn=9))
        assert await told(feed, 700) == [*map(str, range(2, 701)), "a"]
        assert await nothing_more(feed)


async def test_what_neither_a_session_nor_the_journal_tells_is_a_gap() -> None:
    stage = Stage()
    stage.is_seen(1)
    with stage.feed(after=None) as feed:
        stage.happens(opened(2))
        stage.hub.publish(ANN, opened(5))
        assert await told(feed, 3) == ["2", "gap", "5"]
        assert await nothing_more(feed)


async def test_a_reader_that_begins_with_what_was_erased_is_told_of_the_gap() -> None:
    stage = Stage()
    stage.happens(opened(8), opened(9))  # a session of that name was erased after 7
    stage.is_seen(9)
    with stage.feed(after=5) as feed:
        assert await told(feed, 3) == ["gap", "8", "9"]


async def test_a_feed_that_is_closed_is_subscribed_no_more() -> None:
    async with ActorSystem(echo, journal=MemoryJournal()) as system:
        live = system.session("ann").events()
        seen: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        with Feed(ANN, live, MemoryJournal(), lambda: seen) as feed:
            assert system.subscribers == 1
            assert await nothing_more(feed)
        assert system.subscribers == 0
