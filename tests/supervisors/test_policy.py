from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavebreak.actors.exit import Exit, ExitKind
from wavebreak.messages.errors import InvalidSetting, Shutdown
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.policy import Action, Budget, Stamps, is_normal, repetition
from wavebreak.supervisors.restart_policy import Backoff

NORMAL = Exit(ExitKind.NORMAL, None, "stop")
ENDS = st.sampled_from(
    [
        NORMAL,
        Exit.of(Shutdown(), "receive"),
        Exit.of(Shutdown("reason"), "receive"),
        Exit.of(ValueError("no"), "receive"),
        Exit.of(SystemExit(1), "receive"),
        Exit.of(OSError("no"), "stop"),
    ]
)
GAPS = st.lists(st.floats(0, 10), max_size=40)
BUDGETS = st.builds(Budget, st.integers(0, 5), st.floats(0.1, 10))


def spec(restart: Restart) -> ChildSpec:
    return ChildSpec("child", lambda: None, restart=restart)


def stamps_after(budget: Budget, gaps: list[float]) -> list[tuple[float, Action, Stamps]]:
    """Spend as a supervisor does, until it is exceeded."""
    now = 1000.0
    stamps: Stamps = ()
    spent: list[tuple[float, Action, Stamps]] = []
    for gap in gaps:
        now += gap
        action, stamps = budget.spend(stamps, now)
        spent.append((now, action, stamps))
        if action is Action.ESCALATE:
            break
    return spent


@given(budget=BUDGETS, gaps=GAPS)
def test_a_budget_is_exceeded_exactly_when_more_restarts_than_it_has_lie_in_a_period(
    budget: Budget, gaps: list[float]
) -> None:
    times: list[float] = []
    for now, action, _ in stamps_after(budget, gaps):
        times.append(now)
        within = sum(1 for one in times if one >= now - budget.period)
        assert (action is Action.ESCALATE) is (within > budget.intensity)


@given(budget=BUDGETS, gaps=GAPS)
def test_stamps_are_in_order_and_never_more_than_the_budget_and_one(
    budget: Budget, gaps: list[float]
) -> None:
    for now, _, stamps in stamps_after(budget, gaps):
        assert len(stamps) <= budget.intensity + 1
        assert stamps[-1] == now
        assert all(one <= two for one, two in pairwise(stamps))
        assert all(stamp >= now - budget.period for stamp in stamps)


@given(restart=st.sampled_from(list(Restart)), ended=ENDS, budget=BUDGETS)
def test_who_is_not_restarted_costs_nothing(restart: Restart, ended: Exit, budget: Budget) -> None:
    before = (1.0, 2.0)
    verdict = budget.decide(spec(restart), ended, before, 3.0)
    dropped = restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and is_normal(ended))
    assert (verdict.action is Action.DROP) is dropped
    if dropped:
        assert verdict.stamps == before
    else:
        assert verdict == budget.spend(before, 3.0)


def test_a_stamp_as_old_as_the_period_still_counts() -> None:
    budget = Budget(1, 5.0)
    assert budget.spend((0.0,), 5.0).action is Action.ESCALATE
    assert budget.spend((0.0,), 5.001) == (Action.RESTART, (5.001,))


def test_the_default_is_one_restart_in_five_seconds() -> None:
    assert Budget() == Budget(intensity=1, period=5.0)


def test_a_budget_of_none_is_exceeded_by_the_first_restart() -> None:
    assert Budget(0, 5.0).spend((), 1.0).action is Action.ESCALATE


@pytest.mark.parametrize("ended", [NORMAL, Exit.of(Shutdown(), "receive")])
def test_a_stop_and_a_shutdown_are_normal_ends(ended: Exit) -> None:
    assert is_normal(ended)


def test_any_other_end_is_abnormal() -> None:
    assert not is_normal(Exit.of(ValueError("no"), "stop"))
    assert not is_normal(Exit.of(SystemExit(0), "receive"))


@pytest.mark.parametrize("budget", [Budget(-1), Budget(True), Budget(1, 0), Budget(1, -1.0)])
def test_a_budget_that_means_nothing_is_refused(budget: Budget) -> None:
    with pytest.raises(InvalidSetting):
        budget.check()


def test_backoff_begins_anew_after_a_quiet_time() -> None:
    backoff = Backoff(minimum=1.0, maximum=8.0)
    assert repetition(backoff, 5, 7.9) == 5
    assert repetition(backoff, 5, 8.0) == 0
    assert repetition(None, 5, 0.0) == 0
