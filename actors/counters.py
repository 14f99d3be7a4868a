"""Counters: what a system tells whoever measures it, and what it counts by itself."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    Label = tuple[str, tuple[tuple[str, str], ...]]


class Metrics(Protocol):
    """Where a program wants to be told what happens, to export it; called from any thread.

    It is only told of what is out of the ordinary: cancellations, refusals, what was abandoned.
    """

    def count(self, name: str, value: int, /, **labels: str) -> None:
        """So many more of something happened."""
        ...

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Something took so many seconds."""
        ...


class _Observed:
    """How often something was observed, the sum of its seconds, and the longest."""

    __slots__ = ("longest", "often", "total")

    def __init__(self) -> None:
        self.often = 0
        self.total = 0.0
        self.longest = 0.0


EXITS = (SystemExit, asyncio.CancelledError)
"""What a program's plain function may raise beside an ``Exception``; as good as any other error."""


class Counters:
    """Counts in memory, and passes on to the program's own metrics.

    Args:
        metrics: the program's; what it raises is logged, once, and harms nothing.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._counts: dict[Label, int] = {}
        self._observed: dict[Label, _Observed] = {}
        self._has_failed = False

    def count(self, name: str, value: int = 1, /, **labels: str) -> None:
        """Count ``value`` more of ``name``."""
        label = (name, tuple(labels.items()))
        with self._lock:
            self._counts[label] = self._counts.get(label, 0) + value
        if self._metrics is not None:
            try:
                self._metrics.count(name, value, **labels)
            except (Exception, *EXITS) as error:  # noqa: BLE001 - it must not stop what is counted
                self._failed(error)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Note that ``name`` took so many seconds."""
        label = (name, tuple(labels.items()))
        with self._lock:
            observed = self._observed.get(label)
            if observed is None:
                observed = self._observed[label] = _Observed()
            observed.often += 1
            observed.total += seconds
            observed.longest = max(observed.longest, seconds)
        if self._metrics is not None:
            try:
                self._metrics.observe(name, seconds, **labels)
            except (Exception, *EXITS) as error:  # noqa: BLE001 - as above
                self._failed(error)

    def snapshot(self) -> Mapping[str, float]:
        """What was counted so far, by names such as ``cancellations{reason="superseded"}``.

        Of what was observed: ``_count``, ``_sum`` and ``_max``.
        """
        with self._lock:
            named: dict[str, float] = {_named(*of): value for of, value in self._counts.items()}
            for (name, labels), observed in self._observed.items():
                named[_named(f"{name}_count", labels)] = observed.often
                named[_named(f"{name}_sum", labels)] = observed.total
                named[_named(f"{name}_max", labels)] = observed.longest
        return dict(sorted(named.items()))

    def _failed(self, error: BaseException) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.opt(exception=error).error(
                "metrics={!r} failed; this is told once", self._metrics
            )


def _named(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels)
    return f"{name}{{{inside}}}" if inside else name
