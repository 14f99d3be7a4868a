"""What has to hold of every conversation, whatever is done to it meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from wavebreak import (
    ActorSystem,
    CallEnded,
    DeliveryKind,
    Event,
    MessageAccepted,
    MessageEnded,
    MessageStatus,
    Reply,
    Turn,
    TurnEnded,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wavebreak.testing import RecordingDeliver

Key = tuple[str, str]


class Audit:
    """Watches a system, and says at the end what did not hold.

    ``most`` is how many unfenced runtimes a session had at once.
    """

    def __init__(self) -> None:
        self.events: dict[Key, list[Event]] = defaultdict(list)
        self.problems: list[str] = []
        self.most = 0
        self._turns: dict[Key, list[Turn]] = defaultdict(list)

    def watch(self, system: ActorSystem) -> None:
        """Take note of every event from here on; they are all there when the system is closed."""
        system.on(Event, self._note)

    def _note(self, event: Event) -> None:
        self.events[event.tenant, event.session_id].append(event)

    def agent(
        self, agent: Callable[[Turn], Awaitable[str | Reply]]
    ) -> Callable[[Turn], Awaitable[str | Reply]]:
        """The same agent, of which the runs that are not fenced are counted."""

        async def counted(turn: Turn) -> str | Reply:
            turns = self._turns[turn.tenant, turn.session_id]
            turns.append(turn)
            unfenced = [one for one in turns if not one._engine.control.fenced]
            self.most = max(self.most, len(unfenced))
            try:
                return await agent(turn)
            finally:
                # By identity: what is newer stays.
                turns[:] = [one for one in turns if one is not turn]

        return counted

    def check(self, deliver: RecordingDeliver | None = None, *, all_ended: bool = True) -> None:
        """Fail for everything that did not hold.

        Args:
            deliver: what was delivered, if it is to be looked at.
            all_ended: whether every accepted message must have ended.
        """
        for key, events in self.events.items():
            self._check_positions(key, events)
            self._check_messages(key, events, all_ended=all_ended)
            self._check_turns(key, events, all_ended=all_ended)
            if deliver is not None:
                self._check_deliveries(key, events, deliver)
        if self.most > 1:
            self.problems.append(f"{self.most} unfenced runtimes of one session at once")
        assert not self.problems, "\n".join(self.problems)

    def _expect(self, what: str, *, holds: bool) -> None:
        if not holds:
            self.problems.append(what)

    def _check_positions(self, key: Key, events: list[Event]) -> None:
        positions = [event.position for event in events if event.position is not None]
        wanted = list(range(positions[0], positions[0] + len(positions))) if positions else []
        self._expect(f"{key}: positions {positions}", holds=positions == wanted)

    def _check_messages(self, key: Key, events: list[Event], *, all_ended: bool) -> None:
        accepted = Counter(e.message.message_id for e in events if isinstance(e, MessageAccepted))
        ended = Counter(e.message_id for e in events if isinstance(e, MessageEnded))
        for id_, count in accepted.items():
            self._expect(f"{key}: {id_} accepted {count} times", holds=count == 1)
        for id_, count in ended.items():
            self._expect(f"{key}: {id_} ended {count} times", holds=count == 1)
        if all_ended:
            self._expect(f"{key}: {accepted - ended} not ended", holds=not accepted - ended)

    def _check_turns(self, key: Key, events: list[Event], *, all_ended: bool) -> None:
        started = [e.turn for e in events if isinstance(e, TurnStarted)]
        ended = [e.turn for e in events if isinstance(e, TurnEnded)]
        self._expect(f"{key}: turns {started}", holds=started == sorted(set(started)))
        self._expect(f"{key}: turns ended {ended}", holds=ended == sorted(set(ended)))
        if all_ended:
            self._expect(f"{key}: turns {started} ended {ended}", holds=started == ended)
        calls = Counter(e.call_id for e in events if isinstance(e, CallEnded) and not e.late)
        self._expect(f"{key}: calls ended {calls}", holds=all(n == 1 for n in calls.values()))

    def _check_deliveries(self, key: Key, events: list[Event], deliver: RecordingDeliver) -> None:
        answered = Counter(
            e.message_id
            for e in events
            if isinstance(e, MessageEnded) and e.status is MessageStatus.ANSWERED
        )
        mine = deliver.of(key[1], key[0])
        told = Counter(id_ for one in mine if one.kind is DeliveryKind.REPLY for id_ in one.answers)
        ids = Counter(one.delivery_id for one in mine)
        self._expect(f"{key}: answered {answered}, delivered {told}", holds=answered == told)
        self._expect(f"{key}: delivered {ids}", holds=all(n == 1 for n in ids.values()))
