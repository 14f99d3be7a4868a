"""What the routes share: the system, the settings, who may come in, and what is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ..actors.machine.evolve import fold
from ..actors.machine.state import SessionState, begun
from ..journal.base import BrowsableJournal
from ..messages.errors import InvalidSetting
from .feed import Feed
from .limits import Body, Buckets
from .problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.session_face import Session
    from ..messages.events import Event
    from ..messages.ids import SessionKey
    from ..system import ActorSystem
    from .access import Access
    from .settings import ServiceSettings


class Standing(NamedTuple):
    """How a session is.

    Args:
        state: all that is known of it; None if nothing is.
        preview: what the running attempt has shown of its reply.
        floor: above it lie the positions of this session; 0 unless one of its name was erased.
    """

    state: SessionState | None
    preview: str = ""
    floor: int = 0

    @property
    def position(self) -> int:
        """Of the last event."""
        return self.floor if self.state is None else self.state.position

    @property
    def turn(self) -> int:
        """The last turn."""
        return 0 if self.state is None else self.state.turn

    @property
    def attempt(self) -> int:
        """The running attempt, or 0."""
        running = None if self.state is None else self.state.running
        return 0 if running is None else running.attempt


class Service:
    """The service over one system.

    Args:
        system: whose sessions are served.
        settings: how.
        access: the tokens that count.

    Raises:
        InvalidSetting: the system's journal cannot be looked into.
    """

    def __init__(self, system: ActorSystem, settings: ServiceSettings, access: Access) -> None:
        journal = system.journal
        if not isinstance(journal, BrowsableJournal):
            msg = (
                f"the journal {journal!r} cannot be looked into: give it events(), sessions() and "
                "peek() as BrowsableJournal says, or take another"
            )
            raise InvalidSetting(msg)
        self.system = system
        self.settings = settings
        self.access = access
        self.journal = journal
        self.draining = False
        self.streams = 0
        self.waits = 0
        self.requests = 0
        self.bodies: set[Body] = set()
        self.buckets = Buckets(settings.rate, settings.burst)

    def session(self, key: SessionKey) -> Session:
        """A handle of a session."""
        return self.system.session(key.session_id, tenant=key.tenant)

    async def standing(self, key: SessionKey) -> Standing:
        """How a session is; one that rests is not started for that.

        Raises:
            JournalCorrupt: its record cannot be read.
            SystemClosed: the system does not run.
        """
        if self.system.view(key.session_id, tenant=key.tenant) is not None:
            look = await self.session(key).look()
            return Standing(look.state, look.preview, look.state.floor)
        recorded = await self.journal.peek(key)
        state, floor = recorded.snapshot, recorded.floor
        if not isinstance(state, SessionState):
            if not recorded.entries:
                return Standing(None, floor=floor)
            state = begun(key, floor)
        return Standing(fold(state, recorded.entries), floor=floor)

    def feed(
        self,
        key: SessionKey,
        after: int | None,
        *,
        has: int = 0,
        wanted: Callable[[Event], bool] | None = None,
        over: Callable[[Standing], bool] | None = None,
    ) -> Feed:
        """A session's events behind a position; subscribed at once. See :class:`Feed`.

        Raises:
            SystemClosed: the system does not run.
        """
        loop = asyncio.get_running_loop()
        live = self.session(key).events()

        def standing() -> asyncio.Future[Standing]:
            return loop.create_task(self.standing(key))

        return Feed(
            key, live, self.journal, standing, after=after, has=has, wanted=wanted, over=over
        )

    def drain(self) -> None:
        """Refuse new messages from here on, also those of which the bodies are still to come."""
        self.draining = True
        for body in tuple(self.bodies):
            body.expire()

    def enter_stream(self) -> None:
        """Count one more stream.

        Raises:
            ProblemError: there are as many as may be, or the service ends.
        """
        self.check_open()
        if self.streams >= self.settings.most_streams:
            detail = f"{self.streams} streams are open, and that is the most: try again later"
            raise ProblemError(503, "too-many-streams", detail, {"Retry-After": "5"})
        self.streams += 1

    def leave_stream(self) -> None:
        """Count one less."""
        self.streams -= 1

    def check_open(self) -> None:
        """See to it that the service does not end.

        Raises:
            ProblemError: it does.
        """
        if self.draining:
            detail = "the service ends: send it again, with the same message_id, when it is back"
            raise ProblemError(503, "closing", detail, {"Retry-After": "2"})
