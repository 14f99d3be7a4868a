"""What a stream tells: a session's events from some position on, without gap or duplicate."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import BaseModel

from ..messages.events import Delta, Event, TurnRestarted

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ..actors.hub import EventStream
    from ..journal.base import BrowsableJournal
    from ..messages.ids import SessionKey
    from .state import Standing

_PAGE: Final = 500
"""Events that are read from the journal at a time."""


class Gap(BaseModel):
    """Events in between are not kept any more: ask for the session as it is.

    Args:
        after: the last position that the reader has.
        next: the position from which on the stream goes on.
    """

    after: int
    next: int


class CatchUp(BaseModel):
    """What the running turn has shown of its reply so far; stands for the deltas that are gone.

    Args:
        turn: the turn.
        attempt: its attempt.
        text: the whole preview; it takes the place of what was shown before.
    """

    turn: int
    attempt: int
    text: str


class Closed(BaseModel):
    """The stream ends.

    Args:
        reason: why; "shutdown", "too_slow" and "revoked" are not the conversation's doing.
    """

    reason: str


class Item(NamedTuple):
    """One thing that a stream tells; ``position`` is its id, if it has one."""

    kind: str
    data: str
    position: int | None = None
    event: Event | None = None


def item_of(event: Event) -> Item:
    """An event as a stream tells it."""
    return Item(getattr(event, "kind", "event"), event.model_dump_json(), event.position, event)


def closed(reason: str) -> Item:
    """The last item of a stream."""
    return Item("close", Closed(reason=reason).model_dump_json())


class Feed:
    """The events of one session behind a position: those of the journal, then the live ones.

    Subscribed from when it is made to :meth:`close`, best by ``with``. Waiting for it may be
    broken off at any moment: nothing is lost by that.

    Args:
        key: the session.
        live: its events from now on.
        journal: where the older ones are.
        standing: tells how the session is.
        after: the position behind which to begin; None for nothing that was.
        has: the position of the last event that the reader has, if ``wanted`` has to see earlier
            ones to know what it wants.
        wanted: of which events to tell; of all if not given.
        over: whether there is nothing to wait for, after what was; asked when that is known.
    """

    def __init__(
        self,
        key: SessionKey,
        live: EventStream,
        journal: BrowsableJournal,
        standing: Callable[[], asyncio.Future[Standing]],
        *,
        after: int | None = None,
        has: int = 0,
        wanted: Callable[[Event], bool] | None = None,
        over: Callable[[Standing], bool] | None = None,
    ) -> None:
        self._key = key
        self._live = live
        self._journal = journal
        self._standing = standing
        self._after = after
        self._has = has
        self._wanted = wanted
        self._over = over
        self._ended = False
        self._ready: deque[Item] = deque()
        self._floor = 0
        """The position of the last event that was looked at."""
        self._target = 0
        """The position up to which the journal is to be read."""
        self._held: Event | None = None
        """A live event before which some are missing."""
        self._told: Standing | None = None
        self._caught_up = False
        self._begins_anew = 0
        self._step: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Subscribe no more."""
        self._live.close()
        if self._step is not None and not self._step.cancel() and not self._step.cancelled():
            self._step.exception()  # nobody wants to know any more

    async def begin(self) -> None:
        """See how the session is; what happens from here on is told."""
        if self._told is None:
            await self._go_back()

    async def next(self) -> Item | None:
        """The next item; None at the end, which comes when the system closes.

        Raises:
            SubscriberTooSlow: the reader fell too far behind.
            JournalCorrupt: the session's record cannot be read.
        """
        while not self._ready:
            if self._ended:
                return None
            if self._told is None or self._floor < self._target:
                await self._go_back()
            elif not self._caught_up:
                self._catch_up(self._told)
            elif self._over is not None and self._over(self._told):
                self._ended = True
            else:
                await self._listen()
        return self._ready.popleft()

    async def _listen(self) -> None:
        event = self._held
        if event is None:
            try:
                event = await anext(self._live)
            except StopAsyncIteration:
                self._ended = True
                self._ready.append(closed("shutdown"))
                return
            if event.position is not None and event.position > self._floor + 1:
                # What a session did not live to tell is in the journal, if it is anywhere.
                self._held, self._target = event, event.position - 1
                return
        self._held = None
        self._take(event)

    def at_hand(self) -> Item | None:
        """The next item if it is there already."""
        return self._ready.popleft() if self._ready else None

    async def _go_back(self) -> None:
        """Read a little of what was; in a task of its own, so that who waits may be broken off."""
        if self._step is None:
            work = self._begin() if self._told is None else self._read()
            self._step = asyncio.get_running_loop().create_task(work)
        await asyncio.shield(self._step)
        self._step = None

    async def _begin(self) -> None:
        self._told = await self._standing()
        position, after = self._told.position, self._after
        self._target = position
        if after is None:
            self._floor = position
            return
        self._has = max(after, self._has)
        if self._has > position:  # ids of another life: what they stand for is not here
            self._ready.append(_gap(self._has, position + 1))
            self._floor = self._has = position
            return
        # Who has nothing misses nothing of a session of that name that was erased.
        self._floor = after or min(self._told.floor, position)
        self._has = max(self._floor, self._has)

    async def _read(self) -> None:
        """Read a page of what was, up to the target; what came later is among the live ones."""
        target = self._target
        events = await self._journal.events(self._key, self._floor, _PAGE)
        for event in events:
            if (event.position or 0) <= target:
                self._take(event)
        if self._floor < target and len(events) < _PAGE:
            self._miss(target + 1)  # the rest is not kept any more
            self._floor = target

    def _catch_up(self, told: Standing) -> None:
        self._caught_up = True
        if told.preview:
            caught = CatchUp(turn=told.turn, attempt=told.attempt, text=told.preview)
            self._ready.append(Item("catch_up", caught.model_dump_json()))

    def _take(self, event: Event) -> None:
        if event.position is not None:
            if event.position <= self._floor:
                return
            self._miss(event.position)
            self._floor = event.position
        elif isinstance(event, Delta) and self._is_past(event):
            return
        elif isinstance(event, TurnRestarted):
            self._begins_anew = event.turn
        wanted = self._wanted is None or self._wanted(event)
        if wanted and self._floor > self._has:
            self._ready.append(item_of(event))

    def _miss(self, position: int) -> None:
        """Tell that what is before a position is not there, if something is missing there."""
        last = max(self._floor, self._has)
        if position > last + 1:
            self._ready.append(_gap(last, position))

    def _is_past(self, delta: Delta) -> bool:
        """Whether the look that was taken has this piece already."""
        told = self._told
        if told is None or delta.turn > told.turn or delta.turn == self._begins_anew:
            return False
        if delta.turn < told.turn or delta.attempt < told.attempt or not told.attempt:
            return True
        return delta.attempt == told.attempt and delta.start < len(told.preview)


def _gap(after: int, following: int) -> Item:
    return Item("gap", Gap(after=after, next=following).model_dump_json())
