"""What a tool's compensation has to be."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from wavebreak import CompletedCall, ToolDefinitionError, UnknownTool, tool
from wavebreak.messages.ids import IdempotencyKey
from wavebreak.tools import Toolbox
from wavebreak.tools.compensation import undo_key


async def undo(call: CompletedCall, result: str) -> None: ...


def undo_blocking(call: CompletedCall, result: str) -> None: ...


def one_argument(call: CompletedCall) -> None: ...


def three_arguments(call: CompletedCall, result: str, more: str) -> None: ...


class Undo:
    async def __call__(self, call: CompletedCall, result: str) -> None: ...

    def plainly(self, call: CompletedCall, result: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "blocking"),
    [
        (undo, False),
        (undo_blocking, True),
        (Undo(), False),
        (Undo().plainly, True),
        (partial(undo), False),
    ],
)
def test_it_may_be_any_function_of_a_call_and_its_result(function: Any, blocking: bool) -> None:
    @tool(compensate=function)
    async def book() -> str:
        return ""

    assert book.compensation is not None
    assert book.compensation.blocking is blocking


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compensate": undo, "effect": "read"}, "a read has nothing to undo"),
        ({"compensate": "undo"}, "is no function"),
        ({"compensate": one_argument}, "has to take"),
        ({"compensate": three_arguments}, "has to take"),
    ],
)
def test_what_cannot_undo_a_call_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolDefinitionError, match=words):

        @tool(**options)
        async def book() -> str:
            return ""


def test_a_toolbox_knows_what_undoes_the_calls_of_its_tools_and_of_those_that_were_called() -> None:
    @tool(compensate=undo)
    async def given() -> str:
        return ""

    @tool(compensate=undo, version="2")
    async def called() -> str:
        return ""

    toolbox = Toolbox((given,))
    assert toolbox.compensating("given", "") is given
    with pytest.raises(UnknownTool):
        toolbox.compensating("called", "2")
    toolbox.remember(called)
    assert toolbox.compensating("called", "2") is called
    with pytest.raises(UnknownTool, match="version '1'"):
        toolbox.compensating("called", "1")


def test_an_undoing_has_a_key_of_its_own() -> None:
    assert undo_key(IdempotencyKey("uid-1.1.1.1")) == "uid-1.1.1.1-undo"
