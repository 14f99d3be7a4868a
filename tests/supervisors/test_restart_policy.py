from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavebreak.supervisors.restart_policy import Backoff, RestartPolicy

DRAWS = st.floats(0.0, 1.0)
REPETITIONS = st.integers(0, 10_000)


def test_by_default_a_turn_has_three_attempts_in_all() -> None:
    policy = RestartPolicy()
    assert policy.retry_after(1, 0.0) is not None
    assert policy.retry_after(2, 0.0) is not None
    assert policy.retry_after(3, 0.0) is None
    assert policy.retry_after(4, 0.0) is None


def test_by_default_the_wait_is_short_and_grows_to_ten_seconds() -> None:
    assert Backoff() == Backoff(minimum=0.1, maximum=10.0, jitter=0.2)
    assert RestartPolicy() == RestartPolicy(max_attempts=3, backoff=Backoff())


def test_a_policy_of_one_attempt_never_retries() -> None:
    assert RestartPolicy(max_attempts=1).retry_after(1, 0.5) is None


def test_the_wait_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(minimum=0.5, maximum=3.0, jitter=0.0)
    waits = [backoff.delay(repetition, 0.7) for repetition in range(5)]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_first_repetition_waits_the_minimum() -> None:
    policy = RestartPolicy(max_attempts=5, backoff=Backoff(0.5, 10.0, 0.0))
    waits = [policy.retry_after(attempt, 0.0) for attempt in range(1, 6)]
    assert waits == [0.5, 1.0, 2.0, 4.0, None]


def test_jitter_adds_a_share_of_the_wait() -> None:
    backoff = Backoff(minimum=1.0, maximum=8.0, jitter=0.25)
    assert backoff.delay(0, 0.0) == 1.0
    assert backoff.delay(0, 1.0) == 1.25
    assert backoff.delay(1, 0.5) == pytest.approx(2.25)
    assert backoff.delay(9, 1.0) == 10.0


@given(repetition=REPETITIONS, draw=DRAWS)
def test_a_wait_stays_within_its_bounds_however_often_it_is_repeated(
    repetition: int, draw: float
) -> None:
    backoff = Backoff(minimum=0.1, maximum=10.0, jitter=0.2)
    assert 0.1 <= backoff.delay(repetition, draw) <= 12.0


@given(repetition=REPETITIONS, draw=DRAWS)
def test_a_later_repetition_never_waits_less(repetition: int, draw: float) -> None:
    backoff = Backoff()
    assert backoff.delay(repetition, draw) <= backoff.delay(repetition + 1, draw)
