from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from wavebreak.testing import Leak, LeakCheck

if TYPE_CHECKING:
    from collections.abc import Callable


async def fail() -> None:
    message = "nobody looks"
    raise LookupError(message)


def test_a_task_that_is_left_fails_the_run_and_is_named() -> None:
    kept: list[asyncio.Task[bool]] = []

    async def main() -> None:
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

    with pytest.raises(Leak, match="forgotten"):
        LeakCheck().run(main())


def test_a_cancelled_task_has_a_few_ticks_to_end() -> None:
    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(tidy())
        await asyncio.sleep(0)
        task.cancel()

    LeakCheck().run(main())


def test_an_exception_that_nobody_retrieved_fails_the_test_that_made_it() -> None:
    async def main() -> None:
        # The task is not kept, and its loop ends before it is collected.
        asyncio.create_task(fail())  # noqa: RUF006
        await asyncio.sleep(0)

    check = LeakCheck()
    with pytest.raises(Leak, match="never retrieved") as caught, check:
        check.run(main())
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_callback_that_raises_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon([].pop)
        await asyncio.sleep(0)

    with pytest.raises(Leak, match="Exception in callback"):
        LeakCheck().run(main())


def test_a_thread_that_is_left_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavebreak.testing.leaks.THREAD_END", 0.01)
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="left over", args=(2,))
    try:
        with pytest.raises(Leak, match="left over"), LeakCheck():
            thread.start()
    finally:
        go.set()
        thread.join()


def test_an_error_of_the_test_itself_comes_first() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon([].pop)
        await asyncio.sleep(0)
        await fail()

    with pytest.raises(LookupError), LeakCheck() as check:
        check.run(main())


def test_the_run_gives_the_result() -> None:
    async def main() -> str:
        return "done"

    assert LeakCheck().run(main()) == "done"


def use(work: Callable[[], None]) -> None:
    with LeakCheck():
        work()


def test_a_thread_that_ends_soon_is_no_leak() -> None:
    use(threading.Timer(0.01, lambda: None).start)
