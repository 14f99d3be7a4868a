from __future__ import annotations

import threading
from typing import Any

from wavebreak.actors.counters import Counters


class Recorded:
    """A program's metrics, that keep what they are told, and may fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails = fails

    def count(self, name: str, value: int, /, **labels: str) -> None:
        self._tell("count", name, value, labels)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        self._tell("observe", name, seconds, labels)

    def _tell(self, *told: Any) -> None:
        self.told.append(told)
        if self.fails:
            raise RuntimeError("the exporter is down")


def test_counts_are_kept_by_name_and_labels() -> None:
    counters = Counters()
    counters.count("cancellations", reason="superseded")
    counters.count("cancellations", 2, reason="stopped")
    counters.count("cancellations", reason="superseded")
    counters.count("dead_letters")
    assert counters.snapshot() == {
        'cancellations{reason="stopped"}': 2,
        'cancellations{reason="superseded"}': 2,
        "dead_letters": 1,
    }


def test_of_what_takes_time_the_number_the_sum_and_the_longest_are_kept() -> None:
    counters = Counters()
    for seconds in (0.5, 2.0, 1.0):
        counters.observe("interrupt_latency", seconds, reason="superseded")
    assert counters.snapshot() == {
        'interrupt_latency_count{reason="superseded"}': 3,
        'interrupt_latency_max{reason="superseded"}': 2.0,
        'interrupt_latency_sum{reason="superseded"}': 3.5,
    }


def test_the_programs_metrics_are_told_all_of_it_and_their_failure_harms_nothing() -> None:
    for fails in (False, True):
        metrics = Recorded(fails=fails)
        counters = Counters(metrics)
        counters.count("dead_letters")
        counters.observe("interrupt_latency", 0.5, reason="stopped")
        assert metrics.told == [
            ("count", "dead_letters", 1, {}),
            ("observe", "interrupt_latency", 0.5, {"reason": "stopped"}),
        ]
        assert counters.snapshot()["dead_letters"] == 1


def test_nothing_is_lost_when_threads_count_at_the_same_time() -> None:
    counters = Counters()
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        for _ in range(1000):
            counters.count("refused_messages", error="MailboxFull")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot() == {'refused_messages{error="MailboxFull"}': 4000}
