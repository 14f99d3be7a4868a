from __future__ import annotations

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from wavebreak.messages.errors import InvalidSetting
from wavebreak.messages.policies import AfterWave, Debounce, Enqueue, How, Now, Policy


def test_the_ways_have_the_seconds_that_the_design_says() -> None:
    assert AfterWave().patience == 30.0
    assert Now().grace == 5.0


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_seconds_are_a_number_of_zero_or_more(seconds: float) -> None:
    with pytest.raises(ValidationError):
        AfterWave(patience=seconds)
    with pytest.raises(ValidationError):
        Now(grace=seconds)


def test_zero_seconds_are_allowed() -> None:
    assert AfterWave(patience=0).patience == 0.0
    assert Now(grace=0).grace == 0.0


@pytest.mark.parametrize(
    "policy", [AfterWave(patience=1.5), Now(grace=0.0), Now(), Enqueue()], ids=repr
)
def test_a_policy_comes_back_from_json_as_the_one_it_was(policy: Policy) -> None:
    adapter: TypeAdapter[Policy] = TypeAdapter(Policy)
    back = adapter.validate_json(adapter.dump_json(policy))
    assert back == policy
    assert type(back) is type(policy)


def test_a_turn_is_stopped_by_a_policy() -> None:
    assert set(get_args(How)) < set(get_args(Policy))


def test_a_policy_can_be_a_key_and_cannot_be_changed() -> None:
    policies: list[Policy] = [AfterWave(), AfterWave(), AfterWave(patience=1.0), Now()]
    assert len(dict.fromkeys(map(hash, policies))) == 3
    with pytest.raises(ValidationError):
        AfterWave().patience = 1.0  # type: ignore[misc]


def test_a_window_that_would_end_before_it_was_ever_quiet_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"quiet=5, max_wait=1.*give a max_wait of quiet"):
        Debounce(5, 1)
    assert Debounce(5, 5).max_wait == 5
