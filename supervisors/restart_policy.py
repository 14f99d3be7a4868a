"""When something that ended is started again: pure."""

from __future__ import annotations

from typing import NamedTuple


class Backoff(NamedTuple):
    """How long to wait before a repetition.

    Args:
        minimum: seconds before the first one.
        maximum: seconds that are never exceeded, but for the jitter.
        jitter: a share of the wait that is added at random, so that many do not return at once.
    """

    minimum: float = 0.1
    maximum: float = 10.0
    jitter: float = 0.2

    def delay(self, repetition: int, draw: float) -> float:
        """Seconds to wait: ``min(maximum, minimum * 2**n) * (1 .. 1 + jitter)``.

        Args:
            repetition: how many there were before.
            draw: a random number from 0 to 1.
        """
        doubled = self.minimum * 2.0 ** min(repetition, 64)
        return min(self.maximum, doubled) * (1.0 + self.jitter * draw)


class RestartPolicy(NamedTuple):
    """How often, and after how long, an attempt that died is followed by another.

    Args:
        max_attempts: attempts in all, the first one included.
        backoff: the wait before each further one.
    """

    max_attempts: int = 3
    backoff: Backoff = Backoff()

    def retry_after(self, attempt: int, draw: float) -> float | None:
        """Seconds until the attempt after ``attempt``; None when that was the last one.

        Args:
            attempt: the number of the attempt that died, from 1.
            draw: a random number from 0 to 1.
        """
        if attempt >= self.max_attempts:
            return None
        return self.backoff.delay(attempt - 1, draw)
