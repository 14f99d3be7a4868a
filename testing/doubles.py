"""Doubles for what an embedding program gives to the system."""

from __future__ import annotations

import asyncio
from collections import Counter

from ..messages.ids import DeliveryId
from ..messages.message import Delivery
from .counting import Count


class RecordingDeliver:
    """A ``deliver`` that keeps what it is given, and can fail or hang first.

    ``deliveries`` has what was acknowledged, in order; ``attempts`` counts the tries for each
    delivery id, the failed ones too.
    """

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.attempts: Counter[DeliveryId] = Counter()
        self._tries = Count("tries to deliver")
        self._done = Count("deliveries")
        self._failures: list[BaseException] = []
        self._gate: asyncio.Event | None = None

    async def __call__(self, delivery: Delivery) -> None:
        """Deliver, as the system does."""
        self.attempts[delivery.delivery_id] += 1
        self._tries.add()
        if self._gate is not None:
            await self._gate.wait()
        if self._failures:
            raise self._failures.pop(0)
        self.deliveries.append(delivery)
        self._done.add()

    @property
    def texts(self) -> list[str]:
        """The texts that reached the user, in order."""
        return [delivery.reply.text for delivery in self.deliveries]

    def of(self, session_id: str, tenant: str = "") -> list[Delivery]:
        """Give what reached the user of one session, in order."""
        mine = (tenant, session_id)
        return [one for one in self.deliveries if (one.tenant, one.session_id) == mine]

    def fail(self, times: int = 1, error: BaseException | None = None) -> None:
        """Raise at the next tries.

        Args:
            times: how many.
            error: what to raise; by default an ``OSError``.
        """
        self._failures.extend([error or OSError("the channel is down")] * times)

    def hang(self) -> None:
        """Let every try from now on wait for :meth:`let_go`."""
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        """End what :meth:`hang` began; call it on the loop."""
        if self._gate is not None:
            self._gate.set()
            self._gate = None

    async def until(self, count: int = 1) -> list[Delivery]:
        """Wait until ``count`` deliveries were acknowledged in all, and give them all."""
        await self._done.reach(count)
        return self.deliveries

    async def until_tried(self, count: int = 1) -> None:
        """Wait until a delivery was tried ``count`` times in all."""
        await self._tries.reach(count)
