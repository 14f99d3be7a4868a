"""What a supervisor does when a child has ended: the acts that follow the policy's verdict."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from ..messages.errors import ChildStartFailed, TooManyAbandoned
from .child_spec import Restart
from .children import Child, ChildState, ReportKind
from .life import Life
from .policy import Action, Stamps, repetition
from .settings import AutoShutdown, Settings, Strategy

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from .child_spec import Started


class ChildDown(NamedTuple):
    """To the supervisor itself: a child has ended, and nobody had told it to."""

    life: Life


class Retry(NamedTuple):
    """To the supervisor itself: a child is to be started again.

    It is read behind what was sent before, so a stop or a terminate can come between.
    """

    child: Child
    token: object
    paid: bool


class Restarts:
    """The part of a supervisor that starts again what has ended."""

    _loop: asyncio.AbstractEventLoop
    _settings: Settings
    _stamps: Stamps
    _children: dict[Any, Child]
    _template: Child | None
    _held_back: list[Retry]
    _timers: set[asyncio.TimerHandle]

    if TYPE_CHECKING:

        async def _start(self, child: Child) -> Started: ...
        async def _stop_in_reverse(self, children: Sequence[Child]) -> None: ...
        def _tell_self(self, message: ChildDown | Retry) -> None: ...
        def _end(self, reason: str) -> None: ...
        def _report(
            self,
            kind: ReportKind,
            child: Child,
            life: Life | None,
            *,
            cause: BaseException | None = None,
            action: Action | None = None,
        ) -> None: ...

    async def _down(self, life: Life) -> None:
        child = life.child
        ended = life.ended
        if child.life is not life or ended is None:
            return
        now = self._loop.time()
        verdict = self._settings.budget.decide(child.spec, ended, self._stamps, now)
        self._stamps = verdict.stamps
        child.life, child.state = None, ChildState.DOWN
        child.repetition = repetition(child.spec.backoff, child.repetition, now - life.since)
        self._report(ReportKind.ENDED, child, life, action=verdict.action)
        if verdict.action is Action.RESTART:
            await self._begin_restart(child)
        elif verdict.action is Action.ESCALATE:
            self._give_up(child)
        else:
            self._drop(child)
            self._auto_end(child)

    async def _retry(self, retry: Retry) -> None:
        child = retry.child
        if child.retry is not retry.token:
            return
        if not retry.paid:
            verdict = self._settings.budget.spend(self._stamps, self._loop.time())
            self._stamps = verdict.stamps
            if verdict.action is Action.ESCALATE:
                self._give_up(child)
                return
        await self._restart(child)

    async def _begin_restart(self, child: Child) -> None:
        """Start again at once, or, with backoff, have all that depends on it down until then."""
        if child.spec.backoff is None:
            await self._restart(child)
            return
        await self._stop_group(child)
        self._try_later(child, paid=True)

    async def _restart(self, child: Child) -> None:
        """Start a child and whom it takes along; the first that does not start is tried again."""
        for one in await self._stop_group(child):
            try:
                await self._start(one)
            except ChildStartFailed:
                self._try_later(one, paid=False)
                return
            except TooManyAbandoned:
                self._hold_back(one)
                return

    async def _stop_group(self, child: Child) -> list[Child]:
        """Stop what has to be started together with a child; those, in the order of their start."""
        child.state = ChildState.DOWN
        child.retry = None
        group = self._group(child)
        if len(group) > 1:
            await self._stop_in_reverse(group)
        return [one for one in group if self._children.get(one.key) is one]

    def _group(self, child: Child) -> list[Child]:
        if self._settings.strategy is Strategy.ONE_FOR_ALL:
            return list(self._children.values())
        if self._settings.strategy is Strategy.REST_FOR_ONE:
            everyone = list(self._children.values())
            return everyone[everyone.index(child) :]
        return [child]

    def _try_later(self, child: Child, *, paid: bool) -> None:
        retry = self._mark(child, paid=paid)
        backoff = child.spec.backoff
        if backoff is None:
            self._tell_self(retry)
            return
        wait = backoff.delay(child.repetition, random.random())  # noqa: S311 - it only spreads
        child.repetition += 1

        def due() -> None:
            self._timers.discard(timer)
            self._tell_self(retry)

        timer = self._loop.call_later(wait, due)
        self._timers.add(timer)

    def _hold_back(self, child: Child) -> None:
        """Wait until a thread that was given up ends after all: back-pressure instead of growth."""
        logger.warning("child {!r} waits: too many threads were abandoned", child.spec.id)
        self._held_back.append(self._mark(child, paid=True))

    def _mark(self, child: Child, *, paid: bool) -> Retry:
        child.state = ChildState.RESTARTING
        child.retry = token = object()
        return Retry(child, token, paid)

    def _drop(self, child: Child) -> None:
        """Let a child be down; what is never started again is forgotten."""
        child.life, child.state, child.retry = None, ChildState.DOWN, None
        if child.spec.restart is Restart.TEMPORARY or self._template is not None:
            self._remove(child)

    def _remove(self, child: Child) -> None:
        # By identity: another one of that id may be there.
        if self._children.get(child.key) is child:
            del self._children[child.key]

    def _auto_end(self, child: Child) -> None:
        if not child.spec.significant or self._settings.auto_shutdown is AutoShutdown.NEVER:
            return
        if self._settings.auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and any(
            one.spec.significant and one.state is not ChildState.DOWN
            for one in self._children.values()
        ):
            return
        self._end("its significant children have ended")

    def _give_up(self, child: Child) -> None:
        logger.error("child {!r} was restarted too often: its supervisor ends", child.spec.id)
        self._report(ReportKind.EXCEEDED, child, None)
        self._drop(child)
        often = self._settings.budget.intensity
        self._end(f"child {child.spec.id!r} was restarted more than {often} times")
