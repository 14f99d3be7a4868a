from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wavebreak.messages.ids import CallId, Fence, SessionKey, idempotency_key


def test_a_session_is_named_by_its_tenant_and_its_id() -> None:
    assert str(SessionKey("acme", "s1")) == "acme/s1"
    assert str(SessionKey("", "s1")) == "s1"
    assert SessionKey("a", "b") != SessionKey("b", "a")


def test_a_fence_differs_in_each_of_its_parts() -> None:
    fence = Fence(1, 2, 3)
    assert fence == Fence(epoch=1, turn=2, attempt=3)
    assert len({fence, Fence(2, 2, 3), Fence(1, 3, 3), Fence(1, 2, 4)}) == 4


def test_a_later_fence_is_greater() -> None:
    assert Fence(1, 2, 3) < Fence(1, 2, 4) < Fence(1, 3, 1) < Fence(2, 1, 1)


@given(st.tuples(*[st.integers(1, 999)] * 4), st.tuples(*[st.integers(1, 999)] * 4))
def test_calls_have_different_keys(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    keys = [idempotency_key("u", CallId(".".join(map(str, call)))) for call in (one, two)]
    assert (keys[0] == keys[1]) == (one == two)


def test_the_same_call_of_another_session_has_another_key() -> None:
    call = CallId("1.1.1.1")
    assert idempotency_key("u", call) != idempotency_key("v", call)
    assert idempotency_key("u", call) == "u-1.1.1.1"
