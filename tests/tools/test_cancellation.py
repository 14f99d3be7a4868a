from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from wavebreak.messages.errors import TokenHeld, WavebreakError
from wavebreak.tools.cancellation import CancellationToken

if TYPE_CHECKING:
    from collections.abc import Generator


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def logged() -> Generator[list[str]]:
    lines: list[str] = []
    logger.enable("wavebreak")
    sink = logger.add(lambda message: lines.append(str(message)), format="{message}")
    yield lines
    logger.remove(sink)
    logger.disable("wavebreak")


def test_a_new_token_is_not_cancelled_and_has_no_reason() -> None:
    token = CancellationToken()
    assert not token.is_cancelled
    assert token.cancel_reason is None
    assert token.time_left is None


def test_a_cancelled_token_says_so_and_why() -> None:
    token = CancellationToken()
    assert token.cancel("user left")
    assert token.is_cancelled
    assert token.cancel_reason == "user left"
    assert repr(token) == "<CancellationToken cancelled: user left>"


def test_the_first_reason_stands() -> None:
    token = CancellationToken()
    token.cancel("first")
    assert not token.cancel("second")
    assert token.cancel_reason == "first"


def test_a_token_can_be_cancelled_without_a_reason() -> None:
    token = CancellationToken()
    token.cancel()
    assert token.cancel_reason == "Operation cancelled"


def test_an_empty_reason_cancels_too() -> None:
    token = CancellationToken()
    token.cancel("")
    assert token.is_cancelled
    assert token.cancel_reason == ""


# Threads


def test_of_many_threads_that_cancel_one_wins_and_the_callbacks_are_called_once() -> None:
    calls: list[str | None] = []
    barrier = threading.Barrier(8)
    token = CancellationToken()
    for _ in range(5):
        token.add_callback(lambda: calls.append(token.cancel_reason))

    def cancel(number: int) -> bool:
        barrier.wait()
        return token.cancel(f"thread {number}")

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(cancel, range(8)))
    assert sum(won) == 1
    assert calls == [f"thread {won.index(True)}"] * 5


def test_a_callback_added_while_another_thread_cancels_is_called_exactly_once() -> None:
    for _ in range(30):
        token = CancellationToken()
        calls: list[int] = []
        barrier = threading.Barrier(2)

        def add(token: CancellationToken, barrier: threading.Barrier, calls: list[int]) -> None:
            barrier.wait()
            for number in range(20):
                token.add_callback(lambda number=number: calls.append(number))  # type: ignore[misc]

        thread = threading.Thread(target=add, args=(token, barrier, calls))
        thread.start()
        barrier.wait()
        token.cancel("now")
        thread.join()
        assert sorted(calls) == list(range(20))


def test_of_two_that_cancel_at_the_same_moment_the_first_stands() -> None:
    token = CancellationToken()

    class Lock:
        """Lets another cancel in, just before the lock is taken."""

        def __init__(self) -> None:
            self.real, self.meanwhile = token._lock, ["other"]

        def __enter__(self) -> None:
            if self.meanwhile:
                token.cancel(self.meanwhile.pop())
            self.real.acquire()

        def __exit__(self, *args: object) -> None:
            self.real.release()

    lock: Any = Lock()
    token._lock = lock
    assert not token.cancel("one")
    assert token.cancel_reason == "other"


def test_callbacks_are_called_in_the_thread_that_cancels() -> None:
    token = CancellationToken()
    names: list[str] = []
    token.add_callback(lambda: names.append(threading.current_thread().name))
    thread = threading.Thread(target=token.cancel, name="canceller")
    thread.start()
    thread.join()
    assert names == ["canceller"]


def test_a_signal_handler_may_cancel_while_the_lock_is_held() -> None:
    token = CancellationToken()
    with token._lock:
        assert token.cancel("signal")
    assert token.cancel_reason == "signal"


# Deadline


def test_the_deadline_cancels_without_a_loop_with_operation_timeout() -> None:
    clock = Clock()
    token = CancellationToken(deadline=3, clock=clock)
    assert token.time_left == 3
    clock.now += 2.9
    assert not token.is_cancelled
    clock.now += 0.1
    assert token.is_cancelled
    assert token.cancel_reason == "Operation timeout"
    assert token.time_left == 0


def test_a_deadline_of_zero_is_over_at_once_on_the_real_clock() -> None:
    assert CancellationToken(deadline=0).is_cancelled
    assert not CancellationToken(deadline=1000).is_cancelled


def test_a_deadline_that_came_first_is_the_reason_although_nobody_looked() -> None:
    clock = Clock()
    token = CancellationToken(deadline=3, clock=clock)
    clock.now += 3
    assert not token.cancel("too late")
    assert token.cancel_reason == "Operation timeout"


def test_whoever_sees_the_deadline_calls_the_callbacks() -> None:
    clock = Clock()
    token = CancellationToken(deadline=3, clock=clock)
    calls: list[str | None] = []
    token.add_callback(lambda: calls.append(token.cancel_reason))
    clock.now += 3
    assert calls == []
    assert token.is_cancelled
    assert calls == ["Operation timeout"]
    token.add_callback(lambda: calls.append("late"))
    assert calls == ["Operation timeout", "late"]


def test_adding_a_callback_looks_at_the_deadline() -> None:
    clock = Clock()
    token = CancellationToken(deadline=3, clock=clock)
    clock.now += 3
    calls: list[int] = []
    token.add_callback(lambda: calls.append(1))
    assert calls == [1]


@pytest.mark.parametrize("deadline", [-1, float("nan")])
def test_a_bad_deadline_is_refused_by_its_value(deadline: float) -> None:
    with pytest.raises(ValueError, match=f"deadline={deadline}: give seconds"):
        CancellationToken(deadline=deadline)


# Callbacks


def test_callbacks_are_called_once_in_order() -> None:
    token = CancellationToken()
    calls: list[int] = []
    token.add_callback(lambda: calls.append(1))
    token.add_callback(lambda: calls.append(2))
    token.cancel("x")
    token.cancel("y")
    assert calls == [1, 2]


def test_a_callback_added_after_the_cancellation_is_called_at_once() -> None:
    token = CancellationToken()
    token.cancel("x")
    calls: list[str | None] = []
    token.add_callback(lambda: calls.append(token.cancel_reason))
    assert calls == ["x"]


def test_a_raising_callback_does_not_stop_the_others_and_is_logged(logged: list[str]) -> None:
    token = CancellationToken()
    calls: list[int] = []

    def broken() -> None:
        raise ValueError("broken")

    token.add_callback(broken)
    token.add_callback(lambda: calls.append(2))
    assert token.cancel("x")
    assert calls == [2]
    assert "a cancellation callback failed" in logged[0]
    token.add_callback(broken)
    assert len(logged) == 2


def test_a_callback_that_exits_does_so_after_the_others() -> None:
    token = CancellationToken()
    calls: list[int] = []

    def leave() -> None:
        raise SystemExit(3)

    token.add_callback(leave)
    token.add_callback(lambda: calls.append(2))
    with pytest.raises(SystemExit):
        token.cancel("x")
    assert calls == [2]
    assert token.is_cancelled


def test_a_callback_can_be_taken_back() -> None:
    token = CancellationToken()
    calls: list[int] = []
    same = lambda: calls.append(1)  # noqa: E731
    take_back = token.add_callback(same)
    token.add_callback(same)
    take_back()
    take_back()
    token.cancel("x")
    assert calls == [1]
    take_back()


def test_a_callback_may_use_the_token() -> None:
    token = CancellationToken()
    calls: list[str] = []

    def more() -> None:
        assert token.is_cancelled
        assert not token.cancel("again")
        token.add_callback(lambda: calls.append("inner"))
        calls.append("outer")

    token.add_callback(more)
    token.cancel("x")
    assert calls == ["inner", "outer"]


# Children


def test_a_child_is_cancelled_with_its_parent_for_its_reason() -> None:
    parent = CancellationToken()
    child = parent.child()
    grandchild = child.child()
    parent.cancel("x")
    assert child.is_cancelled
    assert (child.cancel_reason, grandchild.cancel_reason) == ("x", "x")


def test_a_parent_is_not_cancelled_with_its_child() -> None:
    parent = CancellationToken()
    child, other = parent.child(), parent.child()
    child.cancel("own")
    assert not parent.is_cancelled
    assert not other.is_cancelled
    parent.cancel("x")
    assert child.cancel_reason == "own"
    assert other.cancel_reason == "x"


def test_a_child_born_after_its_parent_was_cancelled_is_cancelled() -> None:
    parent = CancellationToken()
    parent.cancel("x")
    assert parent.child().cancel_reason == "x"


def test_a_child_sees_its_parents_deadline_and_has_one_of_its_own() -> None:
    clock = Clock()
    parent = CancellationToken(deadline=5, clock=clock)
    child = parent.child()
    hasty = parent.child(deadline=2)
    assert (child.time_left, hasty.time_left) == (5, 2)
    clock.now += 2
    assert (child.cancel_reason, hasty.cancel_reason) == (None, "Operation timeout")
    clock.now += 3
    assert child.cancel_reason == "Operation timeout"
    assert parent.child().cancel_reason == "Operation timeout"


def test_a_childs_callbacks_are_called_when_the_parent_is_cancelled() -> None:
    parent = CancellationToken()
    child = parent.child()
    calls: list[str | None] = []
    child.add_callback(lambda: calls.append(child.cancel_reason))
    parent.cancel("x")
    assert calls == ["x"]


def test_a_childs_callbacks_are_called_although_nobody_keeps_the_child() -> None:
    parent = CancellationToken()
    calls: list[int] = []
    parent.child().child().add_callback(lambda: calls.append(1))
    gc.collect()
    parent.cancel("x")
    assert calls == [1]


def test_a_token_for_a_whole_program_does_not_keep_the_tokens_of_its_requests() -> None:
    parent = CancellationToken()
    child = parent.child()
    take_back = child.add_callback(lambda: None)
    gone = weakref.ref(child)
    del child
    assert gone() is not None
    take_back()
    del take_back
    gc.collect()
    assert gone() is None
    for _ in range(100):
        parent.child()
    gc.collect()
    assert len(parent._callbacks) == 0


def test_a_child_that_was_cancelled_leaves_nothing_with_its_parent() -> None:
    parent = CancellationToken()
    child = parent.child()
    child.add_callback(lambda: None)
    child.cancel("x")
    assert len(parent._callbacks) == 0


# Reset


def test_a_reset_token_is_as_new() -> None:
    token = CancellationToken()
    token.cancel("x")
    token.reset()
    assert not token.is_cancelled
    assert token.cancel_reason is None
    assert token.cancel("y")
    assert token.cancel_reason == "y"


def test_callbacks_are_not_called_again_after_a_reset() -> None:
    token = CancellationToken()
    calls: list[int] = []
    token.add_callback(lambda: calls.append(1))
    token.cancel("x")
    token.reset()
    token.cancel("y")
    assert calls == [1]


def test_callbacks_that_were_not_called_stay_over_a_reset() -> None:
    token = CancellationToken()
    calls: list[int] = []
    token.add_callback(lambda: calls.append(1))
    token.reset()
    token.cancel("y")
    assert calls == [1]


def test_a_reset_starts_the_deadline_anew() -> None:
    clock = Clock()
    token = CancellationToken(deadline=3, clock=clock)
    clock.now += 4
    assert token.is_cancelled
    token.reset()
    assert not token.is_cancelled
    assert token.time_left == 3
    clock.now += 3
    assert token.is_cancelled


def test_a_token_that_is_held_is_not_reset() -> None:
    token = CancellationToken()
    token.hold()
    token.hold()
    token.cancel("x")
    token.release()
    with pytest.raises(TokenHeld, match="held by a running turn or plan: reset it when") as error:
        token.reset()
    assert isinstance(error.value, RuntimeError)
    assert isinstance(error.value, WavebreakError)
    assert token.cancel_reason == "x"
    token.release()
    token.reset()
    assert not token.is_cancelled


def test_a_reset_child_of_a_cancelled_parent_is_cancelled_again() -> None:
    parent = CancellationToken()
    child = parent.child()
    parent.cancel("x")
    assert child.is_cancelled
    child.reset()
    assert child.cancel_reason == "x"


def test_a_child_stays_cancelled_when_its_parent_is_reset_and_follows_it_after_its_own() -> None:
    parent = CancellationToken()
    child = parent.child()
    parent.cancel("x")
    parent.reset()
    assert child.cancel_reason == "x"
    assert not parent.child().is_cancelled
    child.reset()
    assert not child.is_cancelled
    calls: list[int] = []
    child.add_callback(lambda: calls.append(1))
    parent.cancel("y")
    assert child.cancel_reason == "y"
    assert calls == [1]
