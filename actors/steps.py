"""One step after the other: at once as long as nothing has to be awaited, then in a task.

A step is something to be awaited, and what to do then; that may give a further step. So plain
handlers and hooks cost no task, and async ones take the same path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from types import CoroutineType, coroutine
from typing import Any, TypeAlias

import pykka

Then: TypeAlias = "Callable[[Any, BaseException | None], Step | None]"
"""Takes the result, or what was raised, and gives the next step, if there is one."""

Step: TypeAlias = tuple[Awaitable[Any], Then]

_PLAIN = frozenset((bool, bytes, dict, float, int, list, set, str, tuple, type(None)))
"""What is answered most often, and need not be looked at for long."""


def is_awaitable(result: object) -> bool:
    """Say whether a result is to be awaited; a Pykka future is a value, as it is in Pykka."""
    kind = type(result)
    return kind not in _PLAIN and (
        kind is CoroutineType
        or (hasattr(kind, "__await__") and not isinstance(result, pykka.Future))
    )


def call(function: Callable[[], Any], then: Then) -> Step | None:
    """Call a function and go on with ``then``, unless its result has to be awaited before."""
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - an exit too is told to ``then``, not the loop
        return then(None, error)
    if result is not None and is_awaitable(result):
        return result, then
    return then(result, None)


def begin(
    step: Step,
    at_end: Callable[[], object],
    *,
    loop: asyncio.AbstractEventLoop,
    context: Context,
    name: str,
) -> asyncio.Task[None]:
    """Make the task that awaits a step and all that follow it.

    Args:
        step: the first one.
        at_end: called after the last one, still in the task.
        loop: where to run it.
        context: the context variables to run it in; it may be entered at this moment.
        name: of the task.

    Returns:
        the task; nothing but a fault of ``then`` or ``at_end`` is ever raised out of it.
    """
    steps = _run(step, at_end)
    # As far as _started(): a task that is cancelled before its first turn would otherwise never
    # come to the ``try``, and nobody would hear of it.
    steps.send(None)
    # Not loop.create_task: an eager task factory would run on here, and enter the context twice.
    return asyncio.Task(steps, loop=loop, context=context, name=name)


@coroutine
def _started() -> Generator[None, None, None]:
    yield


async def _run(first: Step, at_end: Callable[[], object]) -> None:
    step: Step | None = first
    begun = False
    while step is not None:
        awaitable, then = step
        result: object = None
        error: BaseException | None = None
        try:
            if not begun:
                begun = True
                await _started()
            result = await awaitable
        except GeneratorExit as exit_:
            # The loop was closed and this coroutine is garbage: it may await nothing any more.
            _break_off(step, exit_)
            return
        except BaseException as caught:  # noqa: BLE001 - told to ``then``, which sees to the rest
            error = caught
            _close(awaitable)
        step = then(result, error)
        # A frame that its own exception leads to would be a cycle.
        del result, error
    at_end()


def _break_off(step: Step | None, exit_: GeneratorExit) -> None:
    while step is not None:
        awaitable, then = step
        _close(awaitable)
        step = then(None, exit_)


def _close(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine, which would complain if it had never been begun."""
    if isinstance(awaitable, CoroutineType):
        awaitable.close()
