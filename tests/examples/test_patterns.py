"""Each of the short examples does what it says at its top that it prints."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
PRINTS: Final = " prints:\n\n"
PATTERNS: Final = sorted(
    path.stem
    for path in EXAMPLES.glob("*.py")
    if f"{path.name}{PRINTS}" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PATTERNS)
async def test_an_example_prints_what_it_says(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example = import_module(f"wavebreak.examples.{name}")
    says = inspect.cleandoc(example.__doc__ or "").partition(PRINTS)[2]
    await example.main()
    assert capsys.readouterr().out == f"{inspect.cleandoc(says)}\n"


def test_the_patterns_are_all_there() -> None:
    assert PATTERNS == [
        "booking_rollback",
        "burst_collection",
        "channel_worker",
        "message_queue",
        "status_question",
        "timeout_with_partial_results",
        "token_life",
        "user_stop",
    ]
