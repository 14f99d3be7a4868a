"""The cases of ``suite.py`` on Ray: each actor is a process, and a message goes to another one."""

# What it imports is in no environment that types are checked in.
# pyright: basic, reportMissingImports=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from programs.measuring import BURST, Meter, take_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from programs.measuring import Figures, Order


class Adder:
    """Adds up the numbers that it is told, and gives the sum to who asks."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        """Take a number."""
        self.total += number
        return self.total


ADDER: Any = ray.remote(num_cpus=0)(Adder)


def with_ray(work: Callable[[Order], Figures]) -> Callable[[Order], Figures]:
    """Have Ray run around a case."""

    def case(order: Order) -> Figures:
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        try:
            return work(order)
        finally:
            ray.shutdown()

    return case


def _started() -> Any:
    adder = ADDER.remote()
    ray.get(adder.add.remote(0))
    return adder


def tell(order: Order) -> Figures:
    """Tell one actor many things."""
    adder = _started()
    with Meter() as meter:
        for _ in range(order.count // BURST):
            for _ in range(BURST):
                adder.add.remote(1)
            ray.get(adder.add.remote(0))
    assert ray.get(adder.add.remote(0)) == order.count
    return meter.figures()


def ask(order: Order) -> Figures:
    """Ask one actor, one question after the other."""
    adder = _started()
    with Meter() as meter:
        for _ in range(order.count):
            ray.get(adder.add.remote(1))
    return meter.figures()


def spawn(order: Order) -> Figures:
    """Start actors, and stop them; their memory is that of processes, and not looked at."""
    with Meter() as starting:
        adders = [ADDER.remote() for _ in range(order.count)]
        ray.get([adder.add.remote(0) for adder in adders])
    with Meter() as stopping:
        for adder in adders:
            ray.kill(adder)
    return {"start": starting.seconds, "stop": stopping.seconds}


if __name__ == "__main__":
    take_part({"tell": with_ray(tell), "ask": with_ray(ask), "spawn": with_ray(spawn)})
